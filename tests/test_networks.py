"""Every network through the shared tester."""

import pytest
import torch
from network_tester import NetworkTests
from torch import nn
from torch.nn import functional as F

import lmaseg
from lmaseg import CAMVID, CITYSCAPES
from lmaseg.models import BACKBONES, ModelSpec, Preprocess, build, with_memory
from lmaseg.models.halves import Carrier, FirstHalf


class TestErfnet(NetworkTests):
    def make(self):
        return build(with_memory(ModelSpec("erfnet", 11)), CAMVID, Preprocess())


class TestPspnet50(NetworkTests):
    frame_size = (33, 49)

    def make(self):
        return build(with_memory(ModelSpec("pspnet50", 19), memory_frames=2), CITYSCAPES, Preprocess())


class SkippingEncoder(FirstHalf):
    """Features at stride 8, carried together with finer ones for the decoder."""

    channels, stride = 12, 8

    def __init__(self):
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.coarse = nn.Conv2d(8, 12, 3, stride=2, padding=1)

    def forward(self, frames):
        fine = F.relu(self.fine(frames))
        return Carrier(F.relu(self.coarse(fine)), fine)


class SkippingDecoder(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Conv2d(20, classes, 1)

    def forward(self, carrier):
        both = torch.cat([F.interpolate(carrier.tensor, scale_factor=2), carrier.rest], 1)
        return F.interpolate(self.head(both), scale_factor=4)


@pytest.fixture(scope="session")
def skipping():
    """The name of a backbone whose features come in a carrier."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "skipping", lambda classes: (SkippingEncoder(), SkippingDecoder(classes)))
        yield "skipping"


@pytest.mark.usefixtures("skipping")
class TestBackboneWithSkips(NetworkTests):
    def make(self):
        return build(with_memory(ModelSpec("skipping", 11)), CAMVID, Preprocess())


class TestSegformer(NetworkTests):
    attached = True

    def make(self):
        transformers = pytest.importorskip("transformers", reason="SegFormer comes from transformers")
        config = transformers.SegformerConfig(
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 24, 32],
            num_attention_heads=[1, 2, 2, 4],
            decoder_hidden_size=32,
            num_labels=11,
        )
        network = transformers.SegformerForSemanticSegmentation(config)
        return lmaseg.attach(network, at="decode_head.activation", labels=CAMVID, memory_frames=2, builder="nets:make")
