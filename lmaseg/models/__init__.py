"""Networks: single-frame encoders and decoders, and the memory that makes video networks of them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from lmaseg.labels import LabelSet
from lmaseg.models import erfnet, lean, pspnet, resnet
from lmaseg.models.folding import fold
from lmaseg.models.fusion import NormalizedSigmoidFusion, ReducedSigmoidFusion, ResidualFusion, SigmoidFusion
from lmaseg.models.halves import CarryingFusion, CarryingProjections, FirstHalf
from lmaseg.models.lma import (
    Encoded,
    FeatureProjections,
    KeyProjections,
    LocalMemoryNet,
    NoProjections,
    Projections,
)
from lmaseg.models.memory import FeatureMemory
from lmaseg.models.spec import ModelSpec, Preprocess

__all__ = [
    "BACKBONES",
    "FUSIONS",
    "Encoded",
    "FeatureMemory",
    "LocalMemoryNet",
    "ModelSpec",
    "Preprocess",
    "build",
    "build_memory",
    "fold",
    "with_memory",
]


def _pspnet(layers: int, classes: int) -> tuple[nn.Module, nn.Module]:
    encoder = resnet.Encoder(layers)
    return encoder, pspnet.Decoder(encoder.channels, classes)


BACKBONES: dict[str, Callable[[int], tuple[nn.Module, nn.Module]]] = {
    "erfnet": lambda classes: (erfnet.Encoder(), erfnet.Decoder(classes)),
    "lean": lambda classes: (lean.Encoder(), lean.Decoder(classes)),
    "pspnet50": lambda classes: _pspnet(50, classes),
    "pspnet101": lambda classes: _pspnet(101, classes),
}
"""From a number of classes to an encoder, which knows its `channels` and `stride`, and its decoder."""

FUSIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "sigmoid": SigmoidFusion,
    "sigmoid-do1": NormalizedSigmoidFusion,
    "sigmoid-down1": ReducedSigmoidFusion,
    "residual": ResidualFusion,
}
"""From value channels and feature channels to a fusion; all but the last under the names of the authors' code."""


class Memory(NamedTuple):
    """The widths and the fusion of a memory module, as in `ModelSpec`."""

    key_channels: int
    value_channels: int
    fusion: str


MEMORIES = {name: Memory(128, 2048, "sigmoid-down1") for name in ("pspnet50", "pspnet101")}
"""What the authors give a backbone; others get `USUAL_MEMORY`."""
USUAL_MEMORY = Memory(16, 64, "sigmoid-do1")


def with_memory(spec: ModelSpec, *, memory_frames: int = 4, window: int = 7, fusion: str | None = None) -> ModelSpec:
    """The spec with the memory that suits its backbone; `fusion` in place of the one the authors chose."""
    memory = MEMORIES.get(spec.backbone, USUAL_MEMORY)
    chosen = memory if fusion is None else memory._replace(fusion=fusion)
    return replace(spec, memory_frames=memory_frames, window=window, **chosen._asdict())


def build(spec: ModelSpec, labels: LabelSet, preprocess: Preprocess) -> LocalMemoryNet:
    """A network with fresh weights, in training mode.

    Raises:
        ValueError: a backbone or fusion that is not known, a fusion that cannot take such values, or a label set of
            another length than the outputs.
    """
    _require_known("backbone", spec.backbone, BACKBONES)
    if len(labels) != spec.classes:
        raise ValueError(f"the label set {labels.name} has {len(labels)} classes, the network {spec.classes}")
    encoder, decoder = BACKBONES[spec.backbone](spec.classes)
    projections, fusion = build_memory(spec, encoder)
    return LocalMemoryNet(encoder, decoder, projections, fusion, spec=spec, labels=labels, preprocess=preprocess)


def build_memory(spec: ModelSpec, encoder: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Fresh projections and fusion for what an encoder returns; stand-ins if the spec has no memory.

    Args:
        encoder: knows its `channels`; a `FirstHalf` returns its features in a `Carrier`, which both then read.

    Raises:
        ValueError: a fusion that is not known or cannot take such values.
    """
    projections, fusion = _build_memory(spec, int(encoder.channels))  # type: ignore[arg-type]
    if isinstance(encoder, FirstHalf):
        return CarryingProjections(projections), CarryingFusion(fusion)
    return projections, fusion


def _build_memory(spec: ModelSpec, channels: int) -> tuple[nn.Module, nn.Module]:
    if not spec.has_memory:
        return NoProjections(), nn.Identity()
    _require_known("fusion", spec.fusion, FUSIONS)
    fusion = FUSIONS[spec.fusion](spec.value_channels, channels)
    if spec.value_channels == channels:
        return KeyProjections(channels, spec.key_channels), fusion
    projections = FeatureProjections if getattr(fusion, "reads_features", False) else Projections
    return projections(channels, spec.key_channels, spec.value_channels), fusion


def _require_known(kind: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}: this version knows {', '.join(known)}")
