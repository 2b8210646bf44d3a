"""Training in stages that start from each other's checkpoints: a single-frame base, its memory, both together.

>>> import torch
>>> from pathlib import Path
>>> from lmaseg.labels import CAMVID
>>> net = fresh_network(CAMVID, size=(64, 96))
>>> images, labels = torch.zeros(4, 3, 64, 96).byte(), torch.zeros(4, 64, 96).byte()  # or what load_frames returns
>>> frames = FrameStore(images, labels, ends=torch.arange(4), reach=torch.zeros(4).long())
>>> options = TrainOptions(epochs=1, epoch_steps=2, batch=2, crop=(64, 96), bfloat16=False)
>>> for progress in train(net, Mixture([ClipSource("sky", frames)]), options, folder=Path("run")):
...     assert progress.steps == 2
>>> progress.step, sorted(path.name for path in Path("run").glob("*.safetensors"))
(2, ['final.safetensors'])
"""

from lmaseg.train.loop import TrainProgress, Validate, train
from lmaseg.train.network import fresh_network
from lmaseg.train.options import TrainOptions
from lmaseg.train.sources import ClipSource, Mixture
from lmaseg.train.store import FrameStore, load_frames

__all__ = [
    "ClipSource",
    "FrameStore",
    "Mixture",
    "TrainOptions",
    "TrainProgress",
    "Validate",
    "fresh_network",
    "load_frames",
    "train",
]
