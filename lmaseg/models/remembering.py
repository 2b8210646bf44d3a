"""The memory of a network: which kinds there are, how one is built, exchanged, and given a start."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmaseg.models.fusion import BlendFusion, NormalizedSigmoidFusion, ReducedSigmoidFusion, SigmoidFusion
from lmaseg.models.halves import CarryingFusion, CarryingProjections, FirstHalf, inner, tensor_of
from lmaseg.models.lma import LocalMemoryNet
from lmaseg.models.projections import KeyProjections, LikenessProjections, NoProjections, Projections
from lmaseg.models.spec import ModelSpec


class Memory(NamedTuple):
    """A kind of memory: its parts, and the widths it has unless others are asked for."""

    fusion: Callable[[int, int], nn.Module]
    """From value channels and feature channels."""
    projections: Callable[[int, int, int], nn.Module]
    """From feature channels, key channels and value channels."""
    key_channels: int
    value_channels: int | None
    """None: the values are the features themselves."""
    frames: int = 4
    """Past frames held: one is enough where averages run on through the video."""


def _projections(channels: int, key_channels: int, value_channels: int) -> nn.Module:
    if value_channels == channels:
        return KeyProjections(channels, key_channels)
    return Projections(channels, key_channels, value_channels)


FUSIONS = {
    "blend": Memory(BlendFusion, LikenessProjections, 32, None, frames=1),
    "sigmoid": Memory(SigmoidFusion, _projections, 16, 64),
    "sigmoid-do1": Memory(NormalizedSigmoidFusion, _projections, 16, 64),
    "sigmoid-down1": Memory(ReducedSigmoidFusion, _projections, 128, None),
}
"""By the name of the fusion; those called sigmoid are of the authors' code, under their names there."""


def with_memory(
    spec: ModelSpec, channels: int, *, memory_frames: int | None = None, window: int = 7, fusion: str = "blend"
) -> ModelSpec:
    """The spec with a memory of the usual widths for its fusion, and of the usual frames unless they are given, on
    features of that many channels. Raises ValueError:
    a fusion that is not known, or an even window."""
    require_known("fusion", fusion, FUSIONS)
    kind = FUSIONS[fusion]
    return replace(
        spec,
        memory_frames=kind.frames if memory_frames is None else memory_frames,
        window=window,
        key_channels=min(kind.key_channels, channels),
        value_channels=kind.value_channels or channels,
        fusion=fusion,
    )


def build_memory(spec: ModelSpec, encoder: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Fresh projections and fusion for what an encoder returns; stand-ins if the spec has no memory.

    Args:
        encoder: knows its `channels`; a `FirstHalf` returns its features in a `Carrier`, which both then read.

    Raises:
        ValueError: a fusion that is not known or cannot take such values.
    """
    projections: nn.Module = NoProjections()
    fusion: nn.Module = nn.Identity()
    if spec.has_memory:
        require_known("fusion", spec.fusion, FUSIONS)
        memory, channels = FUSIONS[spec.fusion], int(encoder.channels)  # type: ignore[arg-type]
        projections = memory.projections(channels, spec.key_channels, spec.value_channels)
        fusion = memory.fusion(spec.value_channels, channels)
    if isinstance(encoder, FirstHalf):
        return CarryingProjections(projections), CarryingFusion(fusion)
    return projections, fusion


def adapted_network(
    net: LocalMemoryNet,
    *,
    size: tuple[int, int] | None = None,
    window: int | None = None,
    memory_frames: int | None = None,
    fusion: str | None = None,
) -> LocalMemoryNet:
    """The network for another working size, window, memory or fusion; None keeps what it has.

    Another fusion is fresh, and so are projections that do not fit it; a single-frame network gets a fresh memory, a
    `blend` unless another fusion is asked for. What stays is shared with the network given.

    Raises:
        ValueError: a fusion that is not known, an even window, or a network that `attach_or_leave` left whole.
    """
    spec, channels = net.spec, int(net.encoder.channels)  # type: ignore[arg-type]
    if channels == 0:
        raise ValueError("this network was found no place in for a memory: give it none, or attach one at a layer")
    if not spec.has_memory or fusion not in (None, spec.fusion):
        spec = with_memory(spec, channels, fusion=fusion or "blend")
        if net.spec.has_memory:
            spec = replace(spec, window=net.spec.window, memory_frames=net.spec.memory_frames)
    wanted = {"window": window, "memory_frames": memory_frames}
    spec = replace(spec, **{name: value for name, value in wanted.items() if value is not None})  # type: ignore[arg-type]
    adapted = with_spec(net, spec)
    if _alike(net.projections, adapted.projections):
        adapted.projections = net.projections
    if spec.fusion == net.spec.fusion:
        adapted.fusion = net.fusion
    adapted.preprocess = replace(net.preprocess, size=size or net.preprocess.size)
    adapted.ranges = net.ranges
    return adapted


def with_spec(net: LocalMemoryNet, spec: ModelSpec) -> LocalMemoryNet:
    """The same encoder and decoder, with a fresh memory as a spec says."""
    memory = (part.to(next(net.parameters())) for part in build_memory(spec, net.encoder))
    other = LocalMemoryNet(net.encoder, net.decoder, *memory, spec=spec, labels=net.labels, preprocess=net.preprocess)
    return other.train(net.training)


def without_memory(net: LocalMemoryNet) -> LocalMemoryNet:
    """The network that segments every frame alone, with the same encoder and decoder."""
    single = with_spec(net, ModelSpec(net.spec.backbone, net.spec.classes))
    single.ranges = net.ranges
    return single


def _alike(part: nn.Module, other: nn.Module) -> bool:
    """Whether two projections have the same parameters, but for their values."""
    shapes = [{name: tensor.shape for name, tensor in each.state_dict().items()} for each in (part, other)]
    return type(inner(part)) is type(inner(other)) and shapes[0] == shapes[1]


REGRESSION_STEPS = 200


@contextmanager
def evaluating(*parts: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each layer returns to its own mode."""
    modes = {module: module.training for part in parts for module in part.modules()}
    for part in parts:
        part.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def has_fresh_keys(net: LocalMemoryNet) -> bool:
    """Whether the memory is a `blend` whose keys nobody has trained or started."""
    projections = inner(net.projections)
    if not isinstance(projections, LikenessProjections):
        return False
    fresh = LikenessProjections(projections.key.in_channels, projections.key.out_channels, 0).key.weight
    return torch.equal(projections.key.weight.cpu(), fresh)


@torch.no_grad()
def start_keys(net: LocalMemoryNet, frames: Tensor) -> None:
    """Make the keys of a `blend` the principal components of the features of some frames: they tell places apart best.

    Other memories are left as they are.

    Args:
        frames: (N, 3, H, W), preprocessed, a few that show what the network will see.
    """
    projections = inner(net.projections)
    if not isinstance(projections, LikenessProjections):
        return
    channels = projections.key.in_channels
    total, products = torch.zeros(channels, dtype=torch.float64), torch.zeros(channels, channels, dtype=torch.float64)
    cells = 0
    with evaluating(net):
        for frame in frames:
            features = tensor_of(net.encode(frame[None]).features)[0].flatten(1).double().cpu()  # (F, h * w)
            total += features.sum(1)
            products += features @ features.T
            cells += features.shape[1]
    mean = total / cells
    covariance = products / cells - mean.outer(mean)
    directions = torch.linalg.eigh(covariance).eigenvectors.flip(1).T[: projections.key.out_channels]
    projections.key.weight.copy_(directions[..., None, None])
    projections.key.bias.copy_(-directions @ mean)  # type: ignore[union-attr]


@torch.no_grad()
def start_gate(net: LocalMemoryNet, frames: Tensor, spared: Mapping[str, float]) -> None:
    """Make the gate of a `blend` close where the network sees certain classes, as far as one layer on the features can:
    by logistic regression on a few frames. For what is thinner than an average over past frames can follow, as poles.

    Other memories are left as they are.

    Args:
        frames: as in `start_keys`.
        spared: from the name of a class to how far the gate closes where the network is certain of it: 1 is wholly, and
            more wholly where it is less certain, too.

    Raises:
        ValueError: a class that the network does not know.
    """
    fusion = inner(net.fusion)
    for name in spared:
        require_known("class", name, dict.fromkeys(net.labels.names))
    if not isinstance(fusion, BlendFusion):
        return
    ids = [net.labels.names.index(name) for name in spared]
    cells, seen = [], []
    with evaluating(net):
        for frame in frames:
            encoded = net.encode(frame[None])
            features = tensor_of(encoded.features)
            probable = F.adaptive_avg_pool2d(
                net.decode(encoded).float().softmax(1), (features.shape[2], features.shape[3])
            )
            cells.append(features[0].flatten(1).T.float())
            seen.append((probable[0, ids].flatten(1) * probable.new_tensor([*spared.values()])[:, None]).sum(0))
    openness, closing = fusion.SPARING
    inputs, target = torch.cat(cells), openness * (1 - torch.cat(seen)).clamp(min=0)
    with torch.enable_grad():
        weight, bias = inputs.new_zeros(inputs.shape[1], requires_grad=True), inputs.new_zeros((), requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=REGRESSION_STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            error = F.binary_cross_entropy_with_logits(inputs @ weight + bias, target)
            error.backward()  # type: ignore[no-untyped-call]
            return error

        optimizer.step(loss)  # type: ignore[no-untyped-call]
    fusion.gate.weight.zero_()
    fusion.gate.weight[0, : len(weight), 0, 0] = weight.detach()
    fusion.log_closing.fill_(math.log(closing))
    fusion.gate.bias.fill_(bias.detach() + fusion.HEAD_START)  # type: ignore[union-attr]


def require_known(kind: str, name: str, known: Mapping[str, object]) -> None:
    """Raise ValueError for a name that is not among those known."""
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}: this version knows {', '.join(known)}")
