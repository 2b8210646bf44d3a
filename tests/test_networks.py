"""Every network through the shared tester."""

import pytest
import torch
from hub_models import saved_model
from network_tester import NetworkTests
from torch import nn
from torch.nn import functional as F

from lmaseg import CAMVID, CITYSCAPES
from lmaseg.hub import hub_network
from lmaseg.models import BACKBONES, ModelSpec, Preprocess, build, lean, with_memory
from lmaseg.models.halves import Carrier, FirstHalf


class TestErfnet(NetworkTests):
    def make(self):
        return build(with_memory(ModelSpec("erfnet", 11), 128), CAMVID, Preprocess())


class TestLean(NetworkTests):
    def make(self):
        return build(with_memory(ModelSpec("lean", 19), lean.Encoder.channels), CITYSCAPES, Preprocess())


@pytest.mark.slow
class TestPspnet50(NetworkTests):
    frame_size = (33, 49)

    def make(self):
        return build(with_memory(ModelSpec("pspnet50", 19), 2048, memory_frames=2), CITYSCAPES, Preprocess())


@pytest.mark.slow
class TestErfnetOfTheAuthors(NetworkTests):
    test_compiled = test_exported = None  # as TestErfnet

    def make(self):
        return build(with_memory(ModelSpec("erfnet", 11), 128, fusion="sigmoid-do1"), CAMVID, Preprocess())


@pytest.mark.slow
class TestPspnet50OfTheAuthors(NetworkTests):
    frame_size = (33, 49)
    test_compiled = test_exported = None  # as TestPspnet50

    def make(self):
        spec = with_memory(ModelSpec("pspnet50", 19), 2048, memory_frames=2, fusion="sigmoid-down1")
        return build(spec, CITYSCAPES, Preprocess())


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
        return build(with_memory(ModelSpec("skipping", 11), 12), CAMVID, Preprocess())


@pytest.mark.slow
class HubNetworkTests(NetworkTests):
    """Networks of transformers, cut where `attach` finds it."""

    attached = True
    architecture = ""

    def make(self):
        return hub_network(str(saved_model(self.architecture)))


class TestSegformer(HubNetworkTests):
    architecture = "segformer"


class TestUpernet(HubNetworkTests):
    architecture, any_size = "upernet", False


class TestDpt(HubNetworkTests):
    architecture, idle = "dpt", ("layers.0.residual_layer1", "dpt.layernorm")


class TestBeit(HubNetworkTests):
    architecture, any_size = "beit", False
    idle = ("beit.layers.3",)  # its code counts from one, and leaves the last layer out


class TestMobilevit(HubNetworkTests):
    architecture, any_size = "mobilevit", False


class TestMobilenetV2(HubNetworkTests):
    architecture, any_size, idle = "mobilenet_v2", False, ("conv_1x1",)
