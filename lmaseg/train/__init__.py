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

from lmaseg.train.loop import TrainProgress, Validate, train
from lmaseg.train.mixture import Mixture
from lmaseg.train.start import fresh_network, with_classes
from lmaseg.train.store import FrameStore, load_frames
from lmaseg.train_options import TrainOptions

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
