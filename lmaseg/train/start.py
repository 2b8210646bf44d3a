"""The network a run starts from."""

from dataclasses import replace

from torch import nn

from lmaseg.attachment import numbered_labels
from lmaseg.labels import LabelSet, counterparts
from lmaseg.models import BACKBONES, LocalMemoryNet, ModelSpec, Preprocess, build, build_memory, with_memory
from lmaseg.models.halves import inner
from lmaseg.models.spec import IMAGENET_MEAN, IMAGENET_STD


def fresh_network(
    labels: LabelSet,
    *,
    size: tuple[int, int],
    backbone: str = "erfnet",
    window: int = 7,
    memory_frames: int = 4,
    fusion: str | None = None,
) -> LocalMemoryNet:
    """An untrained network for these classes, to work at `size` (height, width) pixels.

    Raises ValueError for an unknown backbone or fusion, or an even window.
    """
    single = ModelSpec(backbone, len(labels))
    spec = with_memory(single, memory_frames=memory_frames, window=window, fusion=fusion)
    net = build(spec, labels, Preprocess(mean=IMAGENET_MEAN, std=IMAGENET_STD, size=size))
    _start_queries_as_keys(net.projections)
    return net


def adapted_network(
    net: LocalMemoryNet,
    *,
    labels: LabelSet | None = None,
    size: tuple[int, int] | None = None,
    window: int | None = None,
    memory_frames: int | None = None,
    fusion: str | None = None,
) -> LocalMemoryNet:
    """The network for other classes, or another working size, window, memory or fusion; None keeps what it has.

    Classes that it knew by name, or by the Cityscapes train id that one of its own covers, keep their share of the
    classifier; the rest of it is made anew. A fusion of another kind loses its weights, and projections do where it
    reads other values; a single-frame network gets a fresh memory. What stays is shared with the network given. Raises
    ValueError for an unknown fusion, an even window, or other classes of a network that is not one of lmaseg's own.
    """
    if labels and labels.names != net.labels.names:
        net = _with_classes(net, labels)
    wanted = {"window": window, "memory_frames": memory_frames, "fusion": fusion}
    changes = {name: value for name, value in wanted.items() if value is not None}
    before = net.spec if net.spec.has_memory else with_memory(net.spec)
    spec = replace(before, **changes)  # type: ignore[arg-type]
    projections, new_fusion = build_memory(spec, net.encoder)
    _start_queries_as_keys(projections)
    adapted = LocalMemoryNet(
        net.encoder,
        net.decoder,
        net.projections if type(inner(net.projections)) is type(inner(projections)) else projections,
        net.fusion if spec.fusion == net.spec.fusion else new_fusion,
        spec=spec,
        labels=labels or net.labels,
        preprocess=replace(net.preprocess, size=size or net.preprocess.size),
    )
    return adapted.to(next(net.parameters()).device)


def _with_classes(net: LocalMemoryNet, labels: LabelSet) -> LocalMemoryNet:
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


def _start_queries_as_keys(projections: nn.Module) -> None:
    """Make alike places match from the first step on."""
    own = inner(projections)
    own.query_key.load_state_dict(own.memory_key.state_dict())  # type: ignore[union-attr]


def cap_dropout(net: nn.Module, probability: float) -> None:
    """Lower every dropout that is above this probability."""
    for module in net.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = min(module.p, probability)
