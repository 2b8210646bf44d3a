"""Every network through the shared tester."""

import pytest
from network_tester import NetworkTests

import lmaseg
from lmaseg import CAMVID, CITYSCAPES
from lmaseg.models import ModelSpec, Preprocess, build, with_memory


class TestErfnet(NetworkTests):
    def make(self):
        return build(with_memory(ModelSpec("erfnet", 11)), CAMVID, Preprocess())


class TestPspnet50(NetworkTests):
    frame_size = (33, 49)

    def make(self):
        return build(with_memory(ModelSpec("pspnet50", 19), memory_frames=2), CITYSCAPES, Preprocess())


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
