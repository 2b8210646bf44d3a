"""The network a run starts from."""

from dataclasses import replace

from torch import nn

from lmaseg.labels import LabelSet
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, build, build_memory, with_memory
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
    size: tuple[int, int] | None = None,
    window: int | None = None,
    memory_frames: int | None = None,
    fusion: str | None = None,
) -> LocalMemoryNet:
    """The network for another working size, window, memory or fusion; None keeps what it has.

    A fusion of another kind loses its weights, and projections do where it reads other values; a single-frame network
    gets a fresh memory. What stays is shared with the network given. Raises ValueError for an unknown fusion or an even
    window.
    """
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
        labels=net.labels,
        preprocess=replace(net.preprocess, size=size or net.preprocess.size),
    )
    return adapted.to(next(net.parameters()).device)


def _start_queries_as_keys(projections: nn.Module) -> None:
    """Make alike places match from the first step on."""
    own = inner(projections)
    own.query_key.load_state_dict(own.memory_key.state_dict())  # type: ignore[union-attr]


def cap_dropout(net: nn.Module, probability: float) -> None:
    """Lower every dropout that is above this probability."""
    for module in net.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = min(module.p, probability)
