"""A network of two layers and a memory, for tests of what happens around a network."""

import torch
from torch import nn

from lmaseg import CITYSCAPES, checkpoint
from lmaseg.models import BACKBONES, ModelSpec, Preprocess, build, with_memory

NAME = "small"


class Encoder(nn.Module):
    channels, stride = 12, 8

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, self.channels, self.stride, stride=self.stride)

    def forward(self, frames):
        return self.features(frames)


def halves(classes):
    return Encoder(), nn.ConvTranspose2d(Encoder.channels, classes, Encoder.stride, stride=Encoder.stride)


def save_small_network(path):
    """Random weights; `BACKBONES` must know `NAME` where they are loaded."""
    torch.manual_seed(0)
    net = build(
        with_memory(ModelSpec(NAME, len(CITYSCAPES)), Encoder.channels), CITYSCAPES, Preprocess(size=(480, 640))
    )
    checkpoint.save(net, path, about={})


def take_small_network(patch, path):
    """Have the weights of a file in the place of those bundled, by a MonkeyPatch."""
    patch.setitem(BACKBONES, NAME, halves)
    patch.setattr(checkpoint, "BUNDLED", path)
