"""Networks of transformers from folders and from a hub: whether they do what transformers does with them."""

import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hub_models import MODELS, saved_model
from media import write_video
from network_tester import assert_close
from PIL import Image
from test_cli import run_cli
from test_export import session, streamed
from torch import nn

import lmaseg
from lmaseg import CAMVID, CITYSCAPES, checkpoint
from lmaseg.batch.schedule import weights_digest
from lmaseg.errors import CheckpointError, LmasegWarning
from lmaseg.hub import HubNetwork, hub_network
from lmaseg.job import Job
from lmaseg.models import Preprocess
from lmaseg.stream import resized
from lmaseg.video import VideoReader

transformers = pytest.importorskip("transformers", reason="networks of the hub need transformers")
pytestmark = pytest.mark.slow
SAMPLE = Path(__file__).parents[1] / "assets" / "street.mp4"


@pytest.fixture(scope="module")
def frame():
    with VideoReader(SAMPLE) as reader:
        return next(iter(reader)).image


def their_labels(folder, frame, **size):
    """What transformers makes of a frame, at a working size of its image processor."""
    model = transformers.AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    size = {"size": size} if size else {"do_resize": False}
    pixels = processor(frame, return_tensors="pt", do_center_crop=False, **size)["pixel_values"]
    options = {"interpolate_pos_encoding": True} if model.config.model_type == "beit" else {}
    with torch.no_grad():
        output = model(pixels, **options)
    return processor.post_process_semantic_segmentation(output, target_sizes=[frame.shape[:2]])[0].numpy()


@pytest.mark.parametrize("name", MODELS)
def test_label_maps_are_those_of_transformers(name, frame):
    folder = saved_model(name)
    square = np.ascontiguousarray(frame[:256, :256])  # DPT of transformers takes nothing else
    segmenter = lmaseg.Segmenter(hub_network(str(folder)), size=(256, 256), memory=0, dtype=torch.float32)
    theirs = their_labels(folder, square)
    assert len(np.unique(theirs)) > 1
    assert (segmenter(square) == theirs).mean() > 0.9999
    if name not in ("mobilevit", "mobilenet_v2"):  # their processors keep the proportions
        assert (segmenter(frame) == their_labels(folder, frame, height=256, width=256)).mean() > 0.9999


@pytest.mark.parametrize("size", [(512, 512), (128, 224), (360, 640), (512, 912), (96, 160)])
def test_run_gives_every_frame_the_labels_of_transformers(tmp_path, size):
    """Of any proportions: those of the frames are 9:16."""
    folder, (height, width) = saved_model("segformer"), size
    out, maps = tmp_path / "out.mp4", tmp_path / "maps"
    options = ("--net", f"hf:{folder}", "--size", f"{height}x{width}", "--memory", "0", "--dtype", "float32")
    assert run_cli("run", SAMPLE, "-o", out, "--labels", maps, "-to", "0.1", *options) == 0
    with VideoReader(out) as reader:
        assert sum(1 for _ in reader) == 3
    with VideoReader(SAMPLE) as reader:
        for source, path in zip(reader, sorted(maps.iterdir()), strict=False):
            ours, theirs = np.asarray(Image.open(path)), their_labels(folder, source.image, height=height, width=width)
            assert len(np.unique(theirs)) > 1
            assert (ours == theirs).mean() > 0.9999, path.name


@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_frames_are_resized_to_the_bytes_of_pillow(frame, resample):
    frames = torch.from_numpy(np.stack([frame, frame[::-1]]))
    ours = resized(frames, Preprocess(resample=resample, as_pillow=True), (512, 512)).numpy()
    for source, picture in zip((frame, frame[::-1]), ours, strict=True):
        theirs = Image.fromarray(source).resize((512, 512), Image.Resampling[resample.upper()])
        assert np.array_equal(picture, np.asarray(theirs))
    assert not np.array_equal(ours, resized(frames, Preprocess(resample=resample), (512, 512)).numpy())


def test_chunks_of_any_length_have_the_labels_of_the_whole():
    net = lmaseg.load(net=f"hf:{saved_model('segformer')}")
    assert net.spec.memory_frames == 1
    with VideoReader(SAMPLE) as reader:
        frames = [frame.image for frame, _ in zip(reader, range(12), strict=False)]
    size = {"size": (64, 96)}

    def label(segmenter, index):
        return segmenter.submit([frames[index]], seconds=[index]).result()[0]

    whole = lmaseg.Segmenter(net, **size)
    labels = [label(whole, index) for index in range(12)]
    alone = lmaseg.Segmenter(net, memory=0, **size)
    assert not np.array_equal(labels[-1], alone(frames[-1]))
    for start in range(1, 12, 2):
        piece = lmaseg.Segmenter(net, **size)
        for index in range(max(0, start // 4 * 4 - 1), start):
            label(piece, index)
        for index in range(start, 12):
            assert np.array_equal(label(piece, index), labels[index])


def test_classes_and_preparation_are_those_of_the_folder():
    net = hub_network(str(saved_model("segformer", CITYSCAPES.names)))
    assert net.labels == CITYSCAPES
    assert net.preprocess.mean == (0.485, 0.456, 0.406)
    assert (net.preprocess.size, net.preprocess.resample) == ((512, 512), "bilinear")
    assert net.preprocess.as_pillow
    assert hub_network(str(saved_model("beit"))).preprocess.resample == "bicubic"
    mobile = hub_network(str(saved_model("mobilevit")))
    assert (mobile.labels, mobile.preprocess.mean, mobile.preprocess.size) == (CAMVID, (0.0, 0.0, 0.0), (224, 224))


def test_ade20k_and_other_classes_have_their_colours():
    begin = ("wall", "building", "sky", "floor", "tree", "ceiling", "road")
    labels = hub_network(str(saved_model("segformer", (*begin, *(f"thing {i}" for i in range(143)))))).labels
    assert labels.colors[0] == (120, 120, 120)
    assert labels.colors[149] == (92, 0, 255)
    assert labels.train_ids[6] == CITYSCAPES.names.index("road")
    others = hub_network(str(saved_model("segformer", ("Road", "cheese", "cheese")))).labels
    assert others.names == ("road", "cheese 1", "cheese 2")
    assert others.colors[0] == CITYSCAPES.colors[0]
    assert len(set(others.colors)) == 3


def test_a_folder_without_an_image_processor_gets_that_of_its_architecture(tmp_path):
    model = MODELS["mobilenet_v2"](transformers, {"num_labels": 5})
    model.save_pretrained(tmp_path)
    net = hub_network(str(tmp_path))
    assert (net.preprocess.mean, net.preprocess.size) == ((0.5, 0.5, 0.5), (256, 256))


def test_a_checkpoint_finds_its_network_again(tmp_path):
    folder = saved_model("segformer")
    net = lmaseg.load(net=f"hf:{folder}")
    with torch.no_grad():
        net.encoder.network.model.decode_head.classifier.bias += 1
    checkpoint.save(net, tmp_path / "net.safetensors", about={})
    again = lmaseg.load(tmp_path / "net.safetensors")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in net.state_dict().items())


class Queries(nn.Module):
    """Classes by products with learned queries: there is no layer before which to cut."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 8, 4, stride=4)
        self.queries = nn.Parameter(torch.randn(11, 8))

    def forward(self, frames):
        return torch.einsum("bchw,qc->bqhw", self.features(frames), self.queries)


def test_a_network_that_cannot_be_cut_runs_without_a_memory_and_says_so(tmp_path, monkeypatch, capsys, frame):
    (tmp_path / "their_queries.py").write_text("from test_hub import Queries as build")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    with pytest.warns(LmasegWarning, match="has no memory, every frame is segmented alone: no layer of the network"):
        net = lmaseg.load(net=Queries)
    assert not net.spec.has_memory
    expected = torch.nn.functional.interpolate(net(torch.ones(1, 3, 64, 96))[0], (64, 96))
    assert expected.shape == (1, 11, 64, 96)
    run = ("run", SAMPLE, "-t", "0.2", "-o", "out.mp4", "--net", "their_queries:build", "--size", "64x96")
    assert run_cli(*run) == 0
    assert "every frame is segmented alone" in " ".join(capsys.readouterr().err.split())


def test_unused_parts_are_not_kept():
    model = MODELS["upernet"](transformers, {"num_labels": 5})
    assert not [name for name, _ in HubNetwork(model, bgr=False).named_parameters() if "auxiliary" in name]


def test_a_network_without_weights_for_its_classes_is_refused(tmp_path):
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 2, 4], decoder_hidden_size=32
    )
    transformers.SegformerForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"lacks tensors .*decode_head.*: it was not trained for segmentation"):
        hub_network(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:nowhere/at/all", "there is no folder nowhere/at/all here and no network of that name"),
        ("hf:{}/empty", "has no config.json: give one that save_pretrained wrote"),
        ("hf:{}/vit", "is no usable network for semantic segmentation"),
        ("hf:{}/broken", "is no usable network for semantic segmentation"),
    ],
)
def test_what_is_no_network_is_refused_in_one_sentence(tmp_path, name, message, capsys):
    for folder, content in (("empty", None), ("vit", '{"model_type": "vit"}'), ("broken", "{")):
        (tmp_path / folder).mkdir()
        if content:
            (tmp_path / folder / "config.json").write_text(content)
    assert run_cli("run", SAMPLE, "-o", tmp_path / "out.mp4", "--net", name.format(tmp_path)) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert "Traceback" not in said


SHA = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs: one network, by the name "them/small"."""

    folder: Path

    def do_GET(self):
        path = self.path.partition("?")[0]
        file = self.folder / path.rpartition("/")[2]
        files = [(each.name, each.stat().st_size) for each in self.folder.iterdir()]
        if "them/small" not in path:
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in path:
            listed = [{"type": "file", "path": name, "size": size, "oid": SHA} for name, size in files]
            self.answer(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
        elif path.startswith("/api/"):
            about = {"id": "them/small", "sha": SHA, "siblings": [{"rfilename": name} for name, _ in files]}
            self.answer(200, json.dumps(about).encode(), {"Content-Type": "application/json"})
        elif file.is_file():
            self.answer(200, file.read_bytes(), {"X-Repo-Commit": SHA, "ETag": f'"{file.name}"'})
        else:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def answer(self, status, content, headers):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """`hub(address)` is where the hub is from then on, with an empty cache; the fixture's `address` has one network."""
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def move(address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    handler = type("OwnHub", (Hub,), {"folder": saved_model("segformer")})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        move.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, name="hub", daemon=True).start()
        yield move
        server.shutdown()


def test_a_network_of_the_hub_is_fetched_once_and_found_without_a_connection(hub):
    hub(hub.address)
    first = lmaseg.load(net="hf:them/small")
    hub(NOBODY)
    again = lmaseg.load(net="hf:them/small")
    assert first.spec == again.spec
    assert first.spec.backbone == "hf:them/small"
    states = first.encoder.state_dict(), again.encoder.state_dict()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def said_of(net, capsys, tmp_path):
    """The one line that a command says of such a network, and no more."""
    assert run_cli("run", SAMPLE, "-o", tmp_path / "out.mp4", "--net", net) == 1
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0, said
    return said


def test_a_name_the_hub_does_not_have(hub, capsys, tmp_path):
    hub(hub.address)
    assert "no network of that name for everybody on the Hugging Face hub" in said_of("hf:them/big", capsys, tmp_path)


def test_no_connection(hub, capsys, tmp_path):
    hub(NOBODY)
    assert "hub cannot be reached: try again with a connection" in said_of("hf:them/small", capsys, tmp_path)


def test_without_the_extra(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    said = said_of(f"hf:{saved_model('segformer')}", capsys, tmp_path)
    assert "needs transformers: pip install 'lmaseg[hf]'" in said


def test_a_memory_is_trained_and_scored_as_the_guide_says(tmp_path, capsys):
    """`lmaseg train --stage memory --net hf:FOLDER`, then eval with the checkpoint alone."""
    images, labels, out = tmp_path / "images", tmp_path / "labels", tmp_path / "run"
    images.mkdir()
    labels.mkdir()
    with VideoReader(SAMPLE) as reader:
        for index, (picture, _) in enumerate(zip(reader, range(12), strict=False)):
            name = f"{index:06d}.png"
            Image.fromarray(picture.image).resize((160, 96)).save(images / name)
            truth = Image.open(SAMPLE.parent / "street_labels" / name)
            truth.resize((160, 96), Image.Resampling.NEAREST).save(labels / name)
    net = f"hf:{saved_model('segformer')}"
    given = ("--folder", images, labels)
    assert run_cli("train", "--stage", "memory", "--net", net, *given, "-o", out, "--steps", "2") == 0
    trained = lmaseg.load(out / "final.safetensors")
    assert trained.spec.backbone == net
    fresh = lmaseg.load(net=net)
    changed = [
        name for name, tensor in fresh.state_dict().items() if not torch.equal(tensor, trained.state_dict()[name])
    ]
    assert changed
    assert not [name for name in changed if name.startswith(("encoder", "decoder"))]
    assert run_cli("eval", *given, "--weights", out / "final.safetensors", "--compare-memory") == 0
    assert run_cli("eval", *given, "--net", net, "--compare-memory") == 0
    assert "own past" in capsys.readouterr().err


def small_copy(tmp_path, monkeypatch):
    """A network whose usual working size is small, in the current folder, as `--net hf:net` names it."""
    folder = tmp_path / "net"
    shutil.copytree(saved_model("segformer"), folder)
    about = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(about | {"size": {"height": 64, "width": 96}}))
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", range(6))
    return folder


def test_commands_take_a_network_of_the_hub(tmp_path, monkeypatch, capsys):
    small_copy(tmp_path, monkeypatch)
    net = ("--net", "hf:net")
    assert run_cli("compare", "clip.mp4", "-o", "compared.mp4", *net) == 0
    assert "flickering pixels" in capsys.readouterr().err
    assert run_cli("bench", *net, "--size", "32x64", "--seconds", "0.2") == 0
    assert "hf:net, 11 classes" in capsys.readouterr().err
    assert run_cli("batch", "clip.mp4", "-o", "done", "--labels-only", *net) == 0
    assert run_cli("run", "clip.mp4", "-o", "maps", *net) == 0
    for path in (tmp_path / "maps").iterdir():
        assert path.read_bytes() == (tmp_path / "done" / "clip" / path.name).read_bytes()


def test_batch_sees_that_a_network_of_the_same_name_has_changed(tmp_path, monkeypatch, capsys):
    folder = small_copy(tmp_path, monkeypatch)
    job = ("batch", "clip.mp4", "-o", "done", "--labels-only", "--net", "hf:net")
    for done_before in ("(0 before)", "(1 before)"):
        assert run_cli(*job) == 0
        assert done_before in capsys.readouterr().err
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    changed = {name: tensor * 1.5 for name, tensor in weights.items()}
    safetensors.torch.save_file(changed, folder / "model.safetensors", {"format": "pt"})
    assert run_cli(*job, "-y") == 0
    assert "(0 before)" in capsys.readouterr().err


def test_batch_tells_networks_of_the_hub_apart_by_what_was_fetched(hub):
    hub(hub.address)
    fetched = weights_digest(Job("", net="hf:them/small"))
    assert fetched == weights_digest(Job("", net=f"hf:{saved_model('segformer')}"))
    assert fetched != weights_digest(Job("", net=f"hf:{saved_model('upernet')}"))


def test_a_memory_is_trained_on_unlabelled_video_as_the_guide_says(tmp_path, monkeypatch):
    """The network itself is the teacher."""
    small_copy(tmp_path, monkeypatch)
    taught = ("--unlabelled", "clip.mp4", "--teacher-net", "hf:net", "--teacher-every", "0.04", "--teacher-sure", "0")
    short = ("--steps", "2", "--batch", "1", "--crop", "32x64", "--past", "1", "--no-val")
    assert run_cli("train", "--stage", "memory", "--net", "hf:net", *taught, "-o", "run", *short) == 0
    assert len(list((tmp_path / "run" / "taught" / "labels").glob("*.png"))) == 6
    assert run_cli("run", "clip.mp4", "-o", "maps", "--weights", "run/final.safetensors") == 0
    assert len(list((tmp_path / "maps").iterdir())) == 6


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx"])
def test_an_export_has_the_labels_of_the_network(tmp_path, name):
    net, path = f"hf:{saved_model('segformer')}", tmp_path / name
    if path.suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    assert run_cli("export", "--net", net, "-o", path, "--size", "64x96") == 0
    program = torch.export.load(path).module() if path.suffix == ".pt2" else session(path).run

    def step(frame, keys, values):
        if path.suffix == ".pt2":
            return program(frame, keys, values)
        inputs = {"frame": frame.numpy(), "keys": keys.numpy(), "values": values.numpy()}
        return map(torch.from_numpy, program(["logits", "key", "value"], inputs))

    frames = torch.rand(6, 1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    for logits, expected in streamed(step, lmaseg.load(net=net), frames):
        assert_close(logits, expected)
        assert (logits.argmax(1) == expected.argmax(1)).float().mean() >= 0.999
