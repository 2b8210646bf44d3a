"""The network a run starts from."""

from torch import nn

from lmaseg.labels import LabelSet
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, adapted_network, build
from lmaseg.models.spec import IMAGENET_MEAN, IMAGENET_STD


def fresh_network(
    labels: LabelSet,
    *,
    size: tuple[int, int],
    backbone: str = "erfnet",
    window: int = 7,
    memory_frames: int = 4,
    fusion: str = "blend",
) -> LocalMemoryNet:
    """An untrained network for these classes, to work at `size` (height, width) pixels.

    Raises ValueError for an unknown backbone or fusion, or an even window.
    """
    preprocess = Preprocess(mean=IMAGENET_MEAN, std=IMAGENET_STD, size=size)
    single = build(ModelSpec(backbone, len(labels)), labels, preprocess)
    return adapted_network(single, window=window, memory_frames=memory_frames, fusion=fusion)


def cap_dropout(net: nn.Module, probability: float) -> None:
    """Lower every dropout that is above this probability."""
    for module in net.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = min(module.p, probability)
