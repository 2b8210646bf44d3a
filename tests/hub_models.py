"""Small random networks of every architecture of transformers that segments, saved as they come from the hub."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from torch import nn

from lmaseg import CAMVID

SMALL_VIT = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
MODELS = {
    "segformer": lambda transformers, labels: transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 24, 32],
            num_attention_heads=[1, 2, 2, 4],
            decoder_hidden_size=32,
            **labels,
        )
    ),
    "upernet": lambda transformers, labels: transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(
            backbone_config=transformers.ConvNextConfig(
                hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], out_features=[f"stage{i}" for i in (1, 2, 3, 4)]
            ),
            hidden_size=32,
            auxiliary_in_channels=16,
            auxiliary_channels=16,
            **labels,
        )
    ),
    "dpt": lambda transformers, labels: transformers.DPTForSemanticSegmentation(
        transformers.DPTConfig(
            image_size=64,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=16,
            **SMALL_VIT,
            **labels,
        )
    ),
    "beit": lambda transformers, labels: transformers.BeitForSemanticSegmentation(
        transformers.BeitConfig(
            image_size=64, out_indices=[1, 2, 3, 4], use_relative_position_bias=True, **SMALL_VIT, **labels
        )
    ),
    "mobilevit": lambda transformers, labels: transformers.MobileViTForSemanticSegmentation(
        transformers.MobileViTConfig(
            image_size=64,
            hidden_sizes=[12, 16, 20],
            neck_hidden_sizes=[8, 8, 16, 16, 20, 20, 24],
            num_attention_heads=2,
            aspp_out_channels=16,
            output_stride=16,
            **labels,
        )
    ),
    "mobilenet_v2": lambda transformers, labels: transformers.MobileNetV2ForSemanticSegmentation(
        transformers.MobileNetV2Config(depth_multiplier=0.25, output_stride=16, **labels)
    ),
}
PROCESSORS = {
    "segformer": "SegformerImageProcessorPil",
    "upernet": "SegformerImageProcessorPil",
    "dpt": "DPTImageProcessorPil",
    "beit": "BeitImageProcessorPil",
    "mobilevit": "MobileViTImageProcessorPil",
    "mobilenet_v2": "MobileNetV2ImageProcessorPil",
}


@cache
def saved_model(name: str, names: tuple[str, ...] = CAMVID.names) -> Path:
    """A folder with a network of that architecture for classes of these names, and its image processor."""
    transformers = pytest.importorskip("transformers", reason="networks of the hub need transformers")
    folder = Path(mkdtemp()) / name
    torch.manual_seed(0)
    model = MODELS[name](transformers, {"id2label": dict(enumerate(names)), "label2id": {}})
    for parameter in model.parameters():
        if parameter.ndim == 4:
            nn.init.kaiming_normal_(parameter)  # transformers' own start is so small that all pixels get one class
    model.save_pretrained(folder)
    getattr(transformers, PROCESSORS[name])().save_pretrained(folder)
    return folder
