import importlib.util
import json

import numpy as np
import pytest
import torch
from marks import heavy
from media import copy_beginning
from network_tester import assert_close
from pages import ROOT, python_block
from test_cli import run_cli
from torch import nn

import lmaseg
from lmaseg import CAMVID
from lmaseg.attention import portable, reference
from lmaseg.errors import BackendError
from lmaseg.export import METADATA, export, trace
from lmaseg.models import FeatureMemory, ModelSpec, Preprocess, build

SIZE = (64, 96)


onnx = heavy(
    all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="needs onnx, onnxscript and onnxruntime",
)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 12, 3, stride=4, padding=1)
        self.head = nn.ConvTranspose2d(12, 11, 4, stride=4)

    def forward(self, frames):
        return self.head(self.body(frames).relu())


def small():
    torch.manual_seed(0)
    return lmaseg.attach(Small().eval(), at="body", labels=CAMVID, memory_frames=3, window=5)


@pytest.fixture(scope="module")
def net():
    return small()


@pytest.fixture(scope="module")
def exported(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "net.onnx"
    export(net, path, about={"licence": "none"})
    return path


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path))


def streamed(step, net, frames):
    """What `step` and the network itself make of a video, each with its own memory."""
    ours, exact = FeatureMemory(net.spec.memory_frames), FeatureMemory(net.spec.memory_frames)
    empty = (net.spec.key_channels, net.spec.value_channels)
    for frame in frames:
        cells = [-(-side // net.stride) for side in frame.shape[-2:]]
        with torch.inference_mode():
            past = ours.read()
            if past[0] is None:
                past = tuple(torch.zeros(len(frame), 0, channels, *cells) for channels in empty)
            logits, key, value = step(frame, *past)
            expected, *own = net(frame, *exact.read())
        ours.push(key, value)
        exact.push(*own)
        yield logits, expected


@onnx
@pytest.mark.parametrize("size", [SIZE, (100, 104)])
def test_ten_frames_in_onnx_runtime(net, exported, size):
    run = session(exported).run

    def step(frame, keys, values):
        inputs = {"frame": frame.numpy(), "keys": keys.numpy(), "values": values.numpy()}
        return map(torch.from_numpy, run(["logits", "key", "value"], inputs))

    frames = torch.rand(10, 2, 3, *size, generator=torch.Generator().manual_seed(0))
    for logits, expected in streamed(step, net, frames):
        assert_close(logits, expected)
        assert (logits.argmax(1) == expected.argmax(1)).float().mean() >= 0.999


@onnx
def test_the_onnx_file_says_what_it_is(net, exported):
    loaded = session(exported)
    assert {value.name: value.shape for value in loaded.get_inputs()} == {
        "frame": ["batch", 3, "height", "width"],
        "keys": ["batch", "memory", net.spec.key_channels, "rows", "columns"],
        "values": ["batch", "memory", net.spec.value_channels, "rows", "columns"],
    }
    assert {value.name: value.shape for value in loaded.get_outputs()} == {
        "logits": ["batch", 11, "height", "width"],
        "key": ["batch", net.spec.key_channels, "rows", "columns"],
        "value": ["batch", net.spec.value_channels, "rows", "columns"],
    }
    said = loaded.get_modelmeta().custom_metadata_map
    assert json.loads(said["spec"])["memory_frames"] == 3
    assert json.loads(said["labels"])["names"] == list(CAMVID.names)
    assert json.loads(said["preprocess"])["scale"] == net.preprocess.scale
    assert json.loads(said["about"]) == {"licence": "none"}
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]

    import onnx

    assert onnx.load(exported).opset_import[0].version >= 18


def test_ten_frames_in_a_program(net, tmp_path):
    path = tmp_path / "net.pt2"
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    export(net, path, size=SIZE, about={"licence": "none"})
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    said = {METADATA: ""}
    program = torch.export.load(path, extra_files=said).module()
    frames = torch.rand(10, 1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    for logits, expected in streamed(program, net, frames):
        assert_close(logits, expected)
    assert json.loads(json.loads(said[METADATA])["spec"])["memory_frames"] == 3


def test_a_network_without_memory_has_a_frame_and_logits():
    single = build(ModelSpec("erfnet", 11), CAMVID, Preprocess()).eval()
    program = trace(single, SIZE).module()
    frame = torch.rand(1, 3, *SIZE)
    with torch.inference_mode():
        (logits,) = program(frame)
        assert_close(logits, single(frame)[0])


class Undecided(Small):
    def forward(self, frames):
        return super().forward(frames) * (2 if frames.mean() > 0.1 else 1)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("net.tflite", {}, ValueError, r"ends in none of \.onnx \.pt2"),
        ("net.pt2", {"size": (66, 96)}, ValueError, "66x96 pixels does not fit: take multiples of 4"),
        ("nowhere/net.pt2", {"size": SIZE}, BackendError, r"cannot write .*nowhere/net\.pt2"),
    ],
)
def test_what_cannot_be_exported(net, tmp_path, name, options, error, message):
    with pytest.raises(error, match=message):
        export(net, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_code_that_cannot_be_traced(tmp_path):
    net = lmaseg.attach(Undecided().eval(), at="body")
    with pytest.raises(BackendError, match="torch cannot trace this network"):
        export(net, tmp_path / "net.pt2", size=SIZE)
    assert list(tmp_path.iterdir()) == []


class Spectral(Small):
    """With an operator that ONNX does not have."""

    def forward(self, frames):
        return super().forward(frames) + torch.linalg.svdvals(frames)[..., :1, None].mean(1, keepdim=True)


@onnx
def test_a_network_that_onnx_does_not_take(tmp_path):
    check_refusal_of_onnx(lmaseg.attach(Spectral().eval(), at="body"), tmp_path)


@onnx
def test_what_torch_says_of_networks_that_onnx_does_not_take_is_one_sentence(net, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise torch.onnx.OnnxExporterError("Failed to decompose the FX graph. Next steps:\n- Create an issue")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    check_refusal_of_onnx(net, tmp_path)


def check_refusal_of_onnx(net, tmp_path):
    with pytest.raises(BackendError) as error:
        export(net, tmp_path / "net.onnx", size=SIZE)
    remedy = "ONNX does not take this network, export it as .pt2 or take another network"
    assert str(error.value) == f"cannot write {tmp_path}/net.onnx: {remedy}"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_exporter_is_named(net, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(BackendError, match=r"onnxscript must be there .* pip install 'lmaseg\[export\]'"):
        export(net, tmp_path / "net.onnx")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 8), (7, 10), (5, 13)])
@pytest.mark.parametrize("window", [1, 3, 7, 21])
def test_portable_attention_is_the_attention(height, width, window):
    torch.manual_seed(0)
    query = torch.randn(2, 6, height, width)
    keys, values = torch.randn(2, 3, 6, height, width), torch.randn(2, 3, 5, height, width)
    expected = reference.local_attention(query, keys, values, window)
    assert_close(portable.local_attention(query, keys, values, window), expected)
    empty = portable.local_attention(query, keys[:, :0], values[:, :0], window)
    assert torch.equal(empty, torch.zeros(2, 5, height, width))


@onnx
@pytest.mark.timeout(1200)
def test_the_guides_onnx_example_labels_the_sample_clip_as_torch_does(tmp_path, monkeypatch):
    """The beginning of it: that is 20 frames of 150."""
    block = python_block("onnxruntime")
    (tmp_path / "assets").mkdir()
    copy_beginning(ROOT / "assets" / "street.mp4", tmp_path / "assets" / "street.mp4", 20)
    monkeypatch.chdir(tmp_path)
    net = lmaseg.load()
    assert run_cli("export", "-o", "net.onnx") == 0
    space = {}
    exec(compile(block, "assets/guides/onnx.md", "exec"), space)
    maps = space["maps"]

    import av

    segmenter = lmaseg.Segmenter(net, size=(360, 640), dtype=torch.float32)  # the example scales nothing
    with av.open("assets/street.mp4") as clip:
        equal = [
            (segmenter(picture.to_ndarray(format="rgb24")) == labels).mean()
            for picture, labels in zip(clip.decode(video=0), maps, strict=True)
        ]
    assert len(equal) > 10
    assert np.mean(equal) >= 0.999
