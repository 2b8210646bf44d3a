"""Training in stages that start from each other's checkpoints: a single-frame base, its memory, both together.

>>> import torch
>>> from pathlib import Path
>>> from lmaseg.labels import CAMVID
>>> from lmaseg.train import FrameStore, Mixture, TrainOptions, fresh_network, train
>>> net = fresh_network(CAMVID, size=(64, 96))
>>> images, labels = torch.zeros(4, 3, 64, 96).byte(), torch.zeros(4, 64, 96).byte()  # or what load_frames returns
>>> frames = FrameStore(images, labels, ends=torch.arange(4), reach=torch.zeros(4).long())
>>> options = TrainOptions(steps=2, batch=2, bfloat16=False)
>>> for progress in train(net, Mixture({"sky": frames}), options, folder=Path("run")):
...     assert progress.steps == 2
>>> progress.step, sorted(path.name for path in Path("run").glob("*.safetensors"))
(2, ['final.safetensors'])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmaseg.train.loop import TrainProgress, Validate, train
    from lmaseg.train.mixture import Mixture
    from lmaseg.train.options import TrainOptions
    from lmaseg.train.start import fresh_network, with_classes
    from lmaseg.train.store import FrameStore, load_frames

# Resolved on first use, so that `lmaseg train --help`, which reads the options, does not wait for torch.
_HOMES = {
    "FrameStore": "store",
    "Mixture": "mixture",
    "TrainOptions": "options",
    "TrainProgress": "loop",
    "Validate": "loop",
    "fresh_network": "start",
    "load_frames": "store",
    "train": "loop",
    "with_classes": "start",
}

__all__ = [
    "FrameStore",
    "Mixture",
    "TrainOptions",
    "TrainProgress",
    "Validate",
    "fresh_network",
    "load_frames",
    "train",
    "with_classes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lmaseg.train' has no attribute {name!r}")
    return getattr(import_module(f"lmaseg.train.{_HOMES[name]}"), name)
