"""Training in stages that start from each other's checkpoints: a single-frame base, its memory, both together.

>>> net = lmaseg.train.fresh_network(CAMVID, size=(360, 480))  # doctest: +SKIP
>>> with camvid_source as source:  # doctest: +SKIP
...     for progress in lmaseg.train.train(net, Mixture([source]), TrainOptions(), folder=Path("runs/base")):
...         print(progress.step, progress.loss)
"""

from lmaseg.train.loop import TrainProgress, Validate, train
from lmaseg.train.network import adapted_network, fresh_network
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
    "adapted_network",
    "fresh_network",
    "load_frames",
    "train",
]
