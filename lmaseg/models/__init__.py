"""Networks: single-frame encoders and decoders, and the memory that makes video networks of them."""

from collections.abc import Callable

from torch import nn

from lmaseg.labels import LabelSet
from lmaseg.models import erfnet, lean, pspnet, resnet
from lmaseg.models.folding import fold
from lmaseg.models.lma import LocalMemoryNet
from lmaseg.models.memory import FeatureMemory
from lmaseg.models.projections import Encoded
from lmaseg.models.quantization import inference_network, observed
from lmaseg.models.remembering import (
    FUSIONS,
    adapted_network,
    build_memory,
    has_fresh_keys,
    require_known,
    start_gate,
    start_keys,
    with_memory,
    without_memory,
)
from lmaseg.models.spec import ModelSpec, Preprocess

__all__ = [
    "BACKBONES",
    "FUSIONS",
    "Encoded",
    "FeatureMemory",
    "LocalMemoryNet",
    "ModelSpec",
    "Preprocess",
    "adapted_network",
    "build",
    "build_memory",
    "fold",
    "has_fresh_keys",
    "inference_network",
    "observed",
    "start_gate",
    "start_keys",
    "with_memory",
    "without_memory",
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


def build(spec: ModelSpec, labels: LabelSet, preprocess: Preprocess) -> LocalMemoryNet:
    """A network with fresh weights, in training mode. Raises ValueError: a backbone or fusion that is not known, a
    fusion that cannot take such values, or a label set of another length than the outputs."""
    require_known("backbone", spec.backbone, BACKBONES)
    if len(labels) != spec.classes:
        raise ValueError(f"the label set {labels.name} has {len(labels)} classes, the network {spec.classes}")
    encoder, decoder = BACKBONES[spec.backbone](spec.classes)
    projections, fusion = build_memory(spec, encoder)
    return LocalMemoryNet(encoder, decoder, projections, fusion, spec=spec, labels=labels, preprocess=preprocess)
