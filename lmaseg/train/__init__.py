"""Training in stages that start from each other's checkpoints: a single-frame base, its memory, both together.

>>> import torch
>>> from pathlib import Path
>>> from lmaseg.datasets.street_pool import StreetClips
>>> from lmaseg.labels import CAMVID
>>> net = fresh_network(CAMVID, size=(64, 96))
>>> clips = StreetClips(seed=0, frames=2, rates=(0.7, 1.5), size=(64, 96))
>>> street = StreetSource(clips, pool=1, past=0, labels=CAMVID, device=torch.device("cpu"))
>>> options = TrainOptions(epochs=1, epoch_steps=2, batch=2, crop=(64, 96), bfloat16=False)
>>> for progress in train(net, Mixture([street]), options, folder=Path("run")):
...     assert progress.steps == 2
>>> progress.step, sorted(path.name for path in Path("run").glob("*.safetensors"))
(2, ['final.safetensors'])
"""

from lmaseg.train.loop import TrainProgress, Validate, train
from lmaseg.train.network import fresh_network
from lmaseg.train.options import TrainOptions
from lmaseg.train.sources import ClipSource, Mixture, StreetSource
from lmaseg.train.store import FrameStore, load_frames

__all__ = [
    "ClipSource",
    "FrameStore",
    "Mixture",
    "StreetSource",
    "TrainOptions",
    "TrainProgress",
    "Validate",
    "fresh_network",
    "load_frames",
    "train",
]
