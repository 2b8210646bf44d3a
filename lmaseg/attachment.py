"""Any single-frame network as a video network: `attach` puts the memory between its two halves."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lmaseg.labels import LabelSet, spread_colors
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, build_memory, start_keys, with_memory
from lmaseg.models.cut import OnFrom, UpTo
from lmaseg.models.halves import (
    Carrier,
    FirstHalf,
    SecondHalf,
    WholeDecoder,
    WholeEncoder,
    described,
    logits_of,
)

PROBE = (128, 192)  # pixels: large enough for every usual stride, small enough to be quick


def attach(
    network: nn.Module,
    decoder: nn.Module | None = None,
    *,
    at: str | None = None,
    feature: int | str | None = None,
    channels: int | None = None,
    stride: int | None = None,
    classes: int | None = None,
    labels: LabelSet | None = None,
    preprocess: Preprocess | None = None,
    memory_frames: int = 4,
    window: int = 7,
    key_channels: int | None = None,
    value_channels: int | None = None,
    fusion: str = "blend",
    frames: Tensor | None = None,
    builder: str = "",
) -> LocalMemoryNet:
    """A video network around the modules given, which it shares; its memory works untrained, and better trained.

    Either `attach(encoder, decoder)`: the decoder is called with whatever the encoder returns. Or
    `attach(network, at="layer.name")`: the network runs up to the end of that layer, then on from there. Every layer
    computes once; what the network does before the cut outside of layers is done twice.

    Dry runs in evaluation mode find channels, stride and classes. With an empty memory, the logits are those of the
    network, bit for bit; if they are not as large as the frame, they are then resized to it bilinearly.

    Args:
        network: (B, 3, H, W) -> features or, to be cut, logits; must take any size that the stride at the cut divides.
        decoder: the encoder's output -> logits (B, classes, ., .), or a mapping with them under "logits" or "out".
        at: dotted name of the layer to cut after, as in `network.named_modules()`.
        feature: index or key of the memory's tensor where the encoder returns several; the others pass it by.
        channels, stride, classes: what the dry runs must find.
        labels: what the classes mean; None numbers them.
        preprocess: what frames must be like for the network; None means RGB in [0, 1], at 512x1024.
        memory_frames, window, key_channels, value_channels, fusion: the memory, as in `ModelSpec`; None takes the
            widths that are usual for the fusion. The memory holds `value_channels` numbers per cell and past frame:
            those of `blend` are the features.
        frames: a few (N, 3, H, W) frames, preprocessed, of what the network will see: the keys of `blend` then begin
            as the principal components of their features, and steady a little better. None begins at random, always
            in the same way.
        builder: where checkpoints can find a function that returns this video network, "package.module:function".

    >>> encoder, decoder = nn.Conv2d(3, 16, 4, stride=4), nn.ConvTranspose2d(16, 5, 4, stride=4)
    >>> net = attach(encoder, decoder, window=3)
    >>> net.stride, net.spec.classes
    (4, 5)
    >>> logits, key, value = net(torch.rand(1, 3, 32, 64))
    >>> key.shape, value.shape
    (torch.Size([1, 16, 8, 16]), torch.Size([1, 16, 8, 16]))

    Raises:
        ValueError: what does not fit: no such layer, or not called exactly once; a feature map that is not 4-d; a
            stride that is not constant; other figures than expected.
    """
    first, second = _halves(network, decoder, at, feature)
    with _evaluating(first, second):
        found = _probe(first, second, stride)
    expected = {"channels": channels, "stride": stride, "classes": len(labels) if labels else classes}
    for name, figure in expected.items():
        if figure not in (None, getattr(found, name)):
            raise ValueError(f"the network has {name}={getattr(found, name)}, not {figure}")
    spec = with_memory(
        ModelSpec(builder, found.classes), found.channels, memory_frames=memory_frames, window=window, fusion=fusion
    )
    spec = replace(
        spec,
        key_channels=spec.key_channels if key_channels is None else key_channels,
        value_channels=spec.value_channels if value_channels is None else value_channels,
    )
    projections, fuse = build_memory(spec, first)
    weight = next(network.parameters(), torch.empty(0))
    net = LocalMemoryNet(
        first,
        second,
        projections.to(weight),
        fuse.to(weight),
        spec=spec,
        labels=labels or numbered_labels(found.classes),
        preprocess=preprocess or Preprocess(),
    )
    if frames is not None:
        start_keys(net, frames)
    return net.train(network.training)


def numbered_labels(classes: int) -> LabelSet:
    """Classes without a meaning, in colours spread around the wheel.

    Raises:
        ValueError: more classes than fit into a label map, beside the id for unlabelled pixels.
    """
    if classes > 255:
        raise ValueError(f"a label map holds at most 255 classes, not {classes}")
    return LabelSet(
        name=f"{classes} classes",
        names=tuple(f"class {i}" for i in range(classes)),
        colors=tuple(spread_colors(classes)),
        train_ids=(255,) * classes,
    )


def _halves(
    network: nn.Module, decoder: nn.Module | None, at: str | None, feature: int | str | None
) -> tuple[FirstHalf, SecondHalf]:
    if decoder is not None and at is None:
        encoder = WholeEncoder(network, feature)
        return encoder, WholeDecoder(encoder, decoder)
    if decoder is None and at is not None and feature is None:
        first = UpTo(network, _listed_name(network, at))
        return first, OnFrom(first)
    raise ValueError('attach takes an encoder and a decoder, with feature= or not, or a network and at="layer.name"')


def _listed_name(network: nn.Module, at: str) -> str:
    """The name under which `named_modules` lists a layer, which may have several."""
    names = {module: name for name, module in network.named_modules()}
    try:
        return names[network.get_submodule(at)]
    except AttributeError as error:
        near = difflib.get_close_matches(at, names.values()) or list(names.values())[-3:]
        raise ValueError(f"the network has no layer {at!r}: there are, among others, {', '.join(near)}") from error


class _Found(NamedTuple):
    channels: int
    stride: int
    classes: int


def _probe(first: FirstHalf, second: SecondHalf, stride: int | None) -> _Found:
    """Dry runs; leaves channels and stride in the first half."""
    if stride is None:
        cells = _features(first, PROBE).tensor.shape[-2:]
        stride = max(1, round(PROBE[0] / max(1, cells[0])))
    sides = [
        (-(-side // stride) | 1) * stride for side in PROBE
    ]  # odd multiples: only the stride is sure to divide them
    try:
        carrier = _features(first, sides)
        first.channels, first.stride = carrier.tensor.shape[1], stride
        logits = second(carrier)
    except RuntimeError as error:
        raise ValueError(
            f"the network fails on a frame of {_size(sides)} pixels, sides that its stride {stride} divides: "
            f"attach the memory where its features are coarsest ({error})"
        ) from error
    cells = carrier.tensor.shape[-2:]
    if [count * stride for count in cells] != sides:
        raise ValueError(
            f"the stride of the features is not constant, or not {stride}: "
            f"a frame of {_size(sides)} pixels has {_size(cells)} of them"
        )
    if isinstance(first, UpTo):
        _require_same(first, second, carrier, _noise(first, sides))
    return _Found(first.channels, stride, logits.shape[1])


def _features(first: FirstHalf, sides: Sequence[int]) -> Carrier:
    carrier: Carrier = first(_noise(first, sides))
    features = carrier.tensor
    if not isinstance(features, Tensor):
        raise ValueError(f"the features are {described(features)}: say with feature= which one is the memory's")
    if features.ndim != 4:
        raise ValueError(f"the features are {described(features)}, not a map (B, channels, h, w): attach elsewhere")
    return carrier


def _require_same(first: UpTo, second: SecondHalf, carrier: Carrier, frame: Tensor) -> None:
    """The network in two must compute what it does in one piece, calling the layer at the cut once."""
    calls = []
    with first.network.get_submodule(first.at).register_forward_hook(lambda *_: calls.append(first.at)):
        whole = logits_of(first.network(frame))
    if len(calls) != 1:
        raise ValueError(f"the network calls its layer {first.at!r} {len(calls)} times: cut after one that runs once")
    if not torch.equal(logits_of(second.output(carrier)), whole):
        raise ValueError(
            f"cut after {first.at!r} the network computes something else, as if it changed a layer's output in place "
            "there: cut elsewhere"
        )


def _noise(module: nn.Module, sides: Sequence[int]) -> Tensor:
    """(1, 3, *sides), always the same, in the type and place of the module's weights."""
    noise = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0))
    return noise.to(next(module.parameters(), noise))


@contextmanager
def _evaluating(*halves: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each layer returns to its own mode."""
    modes = {module: module.training for half in halves for module in half.modules()}
    for half in halves:
        half.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _size(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
