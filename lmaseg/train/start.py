"""The network a run starts from."""

from dataclasses import replace

from torch import nn

from lmaseg.attachment import numbered_labels
from lmaseg.labels import LabelSet, counterparts
from lmaseg.models import BACKBONES, LocalMemoryNet, ModelSpec, Preprocess, adapted_network, build
from lmaseg.models.spec import IMAGENET_MEAN, IMAGENET_STD


def fresh_network(
    labels: LabelSet,
    *,
    size: tuple[int, int],
    backbone: str = "erfnet",
    window: int = 7,
    memory_frames: int | None = None,
    fusion: str = "blend",
) -> LocalMemoryNet:
    """An untrained network for these classes, to work at `size` (height, width) pixels.

    Raises ValueError for an unknown backbone or fusion, or an even window.
    """
    preprocess = Preprocess(mean=IMAGENET_MEAN, std=IMAGENET_STD, size=size)
    single = build(ModelSpec(backbone, len(labels)), labels, preprocess)
    return adapted_network(single, window=window, memory_frames=memory_frames, fusion=fusion)


def with_classes(net: LocalMemoryNet, labels: LabelSet) -> LocalMemoryNet:
    """The network for other classes; the same one if they have its own classes' names, or name its numbered ones.

    Classes that it knew by name, or by the Cityscapes train id that one of its own covers, keep their share of the
    classifier; the rest of it is made anew. Raises ValueError for a network that is not one of lmaseg's own.
    """
    if labels.names == net.labels.names or (net.labels.is_numbered and len(labels) == len(net.labels)):
        net.labels = labels
        return net
    if net.spec.backbone not in BACKBONES:
        raise ValueError("an attached network is built for its classes: build it for these ones, or train another")
    before, known = net.state_dict(), counterparts(labels, net.labels)
    fresh, wider = (
        build(replace(net.spec, classes=len(each)), each, net.preprocess)
        for each in (labels, numbered_labels(len(labels) + 1))
    )
    tensors, wider_tensors = fresh.state_dict(), wider.state_dict()
    for name, tensor in tensors.items():
        by_class = [i for i, side in enumerate(tensor.shape) if side != wider_tensors[name].shape[i]]
        if not by_class:
            tensors[name] = before[name]
        for number, old in enumerate(known if by_class else ()):
            if old is not None:
                tensor.select(by_class[0], number).copy_(before[name].select(by_class[0], old))
    fresh.load_state_dict(tensors)
    return fresh.to(next(net.parameters()).device)


def cap_dropout(net: nn.Module, probability: float) -> None:
    """Lower every dropout that is above this probability."""
    for module in net.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = min(module.p, probability)
