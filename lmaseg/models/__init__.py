"""Networks: single-frame encoders and decoders, and the memory that makes video networks of them."""

from collections.abc import Callable

from torch import nn

from lmaseg.labels import LabelSet
from lmaseg.models import erfnet
from lmaseg.models.folding import fold
from lmaseg.models.fusion import NormalizedSigmoidFusion, SigmoidFusion
from lmaseg.models.lma import Encoded, LocalMemoryNet, Projections
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
    "fold",
]

BACKBONES: dict[str, Callable[[int], tuple[erfnet.Encoder, nn.Module]]] = {
    "erfnet": lambda classes: (erfnet.Encoder(), erfnet.Decoder(classes)),
}
"""From a number of classes to an encoder, which knows its `channels` and `stride`, and its decoder."""

FUSIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "sigmoid": SigmoidFusion,
    "sigmoid-do1": NormalizedSigmoidFusion,
}
"""From value channels and feature channels to a fusion, under the names of the authors' code."""


def build(spec: ModelSpec, labels: LabelSet, preprocess: Preprocess) -> LocalMemoryNet:
    """A network with fresh weights, in training mode.

    Raises:
        ValueError: a backbone or fusion that is not known, or a label set of another length than the outputs.
    """
    for kind, name, known in (("backbone", spec.backbone, BACKBONES), ("fusion", spec.fusion, FUSIONS)):
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r}: this version knows {', '.join(known)}")
    if len(labels) != spec.classes:
        raise ValueError(f"the label set {labels.name} has {len(labels)} classes, the network {spec.classes}")
    encoder, decoder = BACKBONES[spec.backbone](spec.classes)
    return LocalMemoryNet(
        encoder,
        decoder,
        Projections(encoder.channels, spec.key_channels, spec.value_channels),
        FUSIONS[spec.fusion](spec.value_channels, encoder.channels),
        spec=spec,
        labels=labels,
        preprocess=preprocess,
    )
