"""The network a run starts from."""

from dataclasses import replace

from torch import nn

from lmaseg.labels import LabelSet
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, build

# Those of ImageNet, the usual ones for photographs.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def fresh_network(
    labels: LabelSet,
    *,
    size: tuple[int, int],
    backbone: str = "erfnet",
    window: int = 7,
    memory_frames: int = 4,
    fusion: str = "sigmoid-do1",
) -> LocalMemoryNet:
    """An untrained network for these classes, to work at `size` (height, width) pixels.

    Queries start as keys: alike places match from the first step on. Raises ValueError for an unknown backbone or
    fusion, or an even window.
    """
    spec = ModelSpec(backbone, len(labels), memory_frames, window, key_channels=16, value_channels=64, fusion=fusion)
    net = build(spec, labels, Preprocess(mean=MEAN, std=STD, size=size))
    net.projections.query_key.load_state_dict(net.projections.memory_key.state_dict())  # type: ignore[union-attr]
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

    Only a fusion of another kind loses its weights. Raises ValueError for an unknown fusion or an even window.
    """
    wanted = {"window": window, "memory_frames": memory_frames, "fusion": fusion}
    changes = {name: value for name, value in wanted.items() if value is not None}
    spec = replace(net.spec, **changes)  # type: ignore[arg-type]
    adapted = build(spec, net.labels, replace(net.preprocess, size=size or net.preprocess.size))
    kept = {"encoder", "decoder", "projections"} | ({"fusion"} if spec.fusion == net.spec.fusion else set())
    for name in kept:
        getattr(adapted, name).load_state_dict(getattr(net, name).state_dict())
    return adapted.to(next(net.parameters()).device)


def cap_dropout(net: nn.Module, probability: float) -> None:
    """Lower every dropout that is above this probability."""
    for module in net.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = min(module.p, probability)
