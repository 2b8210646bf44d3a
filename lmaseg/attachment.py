"""Any single-frame network as a video network: `attach` puts the memory between its two halves."""

import difflib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from lmaseg.errors import LmasegWarning
from lmaseg.labels import LabelSet, own_label_set
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, build_memory, start_keys, with_memory
from lmaseg.models.cut import OnFrom, UpTo, last_layer
from lmaseg.models.halves import (
    Carrier,
    FirstHalf,
    SecondHalf,
    WholeDecoder,
    WholeEncoder,
    described,
    logits_of,
)
from lmaseg.models.remembering import evaluating

PROBE = (128, 192)  # pixels: large enough for every usual stride, small enough to be quick
Noise = Callable[[Sequence[int]], Tensor]  # from (height, width) to a frame
LARGEST_MULTIPLE = 64  # pixels: no usual network needs sides that more divides


def attach(
    network: nn.Module,
    decoder: nn.Module | None = None,
    *,
    at: str | None = None,
    feature: int | str | None = None,
    labels: LabelSet | None = None,
    preprocess: Preprocess | None = None,
    memory_frames: int | None = None,
    window: int = 7,
    key_channels: int | None = None,
    value_channels: int | None = None,
    fusion: str = "blend",
    frames: Tensor | None = None,
    builder: str = "",
) -> LocalMemoryNet:
    """A video network around the modules given, which it shares; its memory works untrained, and better trained.

    `attach(network)` cuts the network just before the layer that makes its class channels, `attach(network, at="name")`
    at the end of that layer; `attach(encoder, decoder)` calls the decoder with whatever the encoder returns. With an
    empty memory, the logits are those of the network, bit for bit, resized bilinearly if not as large as the frame.

    Args:
        network: (B, 3, H, W) -> features or, to be cut, logits; must take any size whose sides are multiples of the
            stride at the cut, or of a power of two times it, up to 64.
        decoder: the encoder's output -> logits (B, classes, ., .), or a mapping with them under "logits" or "out".
        at: dotted name of the layer to cut after, as in `network.named_modules()`.
        feature: index or key of the memory's tensor where the encoder returns several; the others pass it by.
        labels: what the classes mean; None numbers them.
        preprocess: what frames must be like; None means RGB in [0, 1], at 512x1024.
        memory_frames, window, key_channels, value_channels, fusion: as in `ModelSpec`; None takes what is usual.
        frames: (N, 3, H, W), preprocessed, of what the network will see, for `start_keys`; None starts at random.
        builder: where checkpoints find a function that returns this video network, "package.module:function".

    >>> net = attach(nn.Conv2d(3, 16, 4, stride=4), nn.ConvTranspose2d(16, 5, 4, stride=4), window=3)
    >>> assert net.stride == 4 and net.spec.classes == 5

    Raises:
        ValueError: no such layer, or no single one; features that are no 4-d map of one stride; labels of another
            number of classes.
    """
    parts = [network, decoder] if decoder else [network]
    weight = next(chain.from_iterable(part.parameters() for part in parts), torch.empty(0))
    noise = partial(_noise, weight)
    with evaluating(*parts):
        first, second = _halves(network, decoder, at, feature, noise)
        classes = _probe(first, second, noise)
    if labels and len(labels) != classes:
        raise ValueError(f"the network has classes={classes}, not {len(labels)}")
    spec = ModelSpec(builder, classes)
    if memory_frames != 0:
        spec = with_memory(spec, first.channels, memory_frames=memory_frames, window=window, fusion=fusion)
        widths = key_channels or spec.key_channels, value_channels or spec.value_channels
        spec = replace(spec, key_channels=widths[0], value_channels=widths[1])
    memory = (part.to(weight) for part in build_memory(spec, first))
    labels, preprocess = labels or numbered_labels(classes), preprocess or Preprocess()
    net = LocalMemoryNet(first, second, *memory, spec=spec, labels=labels, preprocess=preprocess)
    if frames is not None:
        start_keys(net, frames)
    return net.train(network.training)


def numbered_labels(classes: int) -> LabelSet:
    """Classes without a meaning, in colours spread around the wheel. Raises ValueError: more classes than fit into a
    label map, beside the id for unlabelled pixels."""
    return own_label_set(f"{classes} classes", [{"name": f"class {i}"} for i in range(classes)])


def attach_or_leave(network: nn.Module, **options: Any) -> LocalMemoryNet:
    """As `attach(network, ...)`, but a network that cannot be cut is left whole, without a memory, and warned of.
    Raises ValueError: it cannot be used on frames of any size at all."""
    try:
        return attach(network, **options)
    except ValueError as error:
        whole = attach(nn.Identity(), network, **options | {"memory_frames": 0})
        whole.encoder.channels = 0  # type: ignore[assignment]
        warnings.warn(
            f"the network has no memory, every frame is segmented alone: {error}", LmasegWarning, stacklevel=2
        )
        return whole


def _halves(
    network: nn.Module, decoder: nn.Module | None, at: str | None, feature: int | str | None, noise: Noise
) -> tuple[FirstHalf, SecondHalf]:
    if decoder is not None and at is None:
        encoder = WholeEncoder(network, feature)
        return encoder, WholeDecoder(encoder, decoder)
    if decoder is None and feature is None:
        if at is None:
            first = UpTo(network, last_layer(network, noise(PROBE)), before=True)
        else:
            first = UpTo(network, _listed_name(network, at))
        return first, OnFrom(first)
    raise ValueError("attach takes a network, with at= or not, or an encoder and a decoder, with feature= or not")


def _listed_name(network: nn.Module, at: str) -> str:
    """The name under which `named_modules` lists a layer, which may have several."""
    names = {module: name for name, module in network.named_modules()}
    try:
        return names[network.get_submodule(at)]
    except AttributeError as error:
        near = difflib.get_close_matches(at, names.values()) or list(names.values())[-3:]
        raise ValueError(f"the network has no layer {at!r}: there are, among others, {', '.join(near)}") from error


def _probe(first: FirstHalf, second: SecondHalf, noise: Noise) -> int:
    """How many classes there are, by dry runs; leaves channels, stride and multiple in the first half."""
    features = _features(first, noise(PROBE)).tensor
    first.channels = features.shape[1]
    first.stride = first.multiple = max(1, round(PROBE[0] / max(1, features.shape[-2])))
    while True:
        try:
            return _classes(first, second, noise)
        except _NotAtThisSizeError:
            if first.multiple * 2 > LARGEST_MULTIPLE:
                raise
            first.multiple *= 2


class _NotAtThisSizeError(ValueError):
    """A size that is a multiple of more may fit yet."""


def _classes(first: FirstHalf, second: SecondHalf, noise: Noise) -> int:
    """How many the network has, if it is what it must be on a frame whose sides are odd multiples."""
    multiple = first.multiple
    sides = [(-(-side // multiple) | 1) * multiple for side in PROBE]
    frame = noise(sides)
    try:
        carrier = _features(first, frame)
        logits = logits_of(second.output(carrier))
    except (RuntimeError, AssertionError) as error:
        fails = f"the network fails on a frame of {_size(sides)} pixels ({error})"
        raise _NotAtThisSizeError(f"{fails}: it must take all sizes that are multiples of {multiple}") from error
    cells = carrier.tensor.shape[-2:]
    if [count * first.stride for count in cells] != sides:
        found = f"a frame of {_size(sides)} pixels has {_size(cells)} of them"
        raise _NotAtThisSizeError(f"the stride of the features is not constant, or not {first.stride}: {found}")
    if isinstance(first, UpTo):
        _require_same(first, carrier, logits, frame)
    scale, rest = divmod(sides[0], logits.shape[-2])
    second.logit_stride = scale if not rest and [side * scale for side in logits.shape[-2:]] == sides else 1
    return logits.shape[1]


def _features(first: FirstHalf, frame: Tensor) -> Carrier:
    carrier: Carrier = first(frame)
    features = carrier.tensor
    if not isinstance(features, Tensor):
        raise ValueError(f"the features are {described(features)}: say with feature= which one is the memory's")
    if features.ndim != 4:
        raise ValueError(f"the features are {described(features)}, not a map (B, channels, h, w): attach elsewhere")
    return carrier


def _require_same(first: UpTo, carrier: Carrier, logits: Tensor, frame: Tensor) -> None:
    """The network in two must compute what it does in one piece, calling the layer at the cut once."""
    calls = []
    with first.network.get_submodule(first.at).register_forward_hook(lambda *_: calls.append(first.at)):
        whole = logits_of(first.network(frame))
    if len(calls) != 1:
        raise ValueError(f"the network calls its layer {first.at!r} {len(calls)} times: cut after one that runs once")
    if not torch.equal(logits, whole):
        place = "before" if first.before else "after"
        raise ValueError(f"cut {place} {first.at!r} the network computes something else: cut elsewhere")


def _noise(weight: Tensor, sides: Sequence[int]) -> Tensor:
    """(1, 3, *sides), always the same, in the type and place of a network's weights."""
    return torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0)).to(weight)


def _size(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
