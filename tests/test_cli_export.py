import sys
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli_preview import terminal

import lmaseg
from lmaseg import checkpoint
from lmaseg.cli import main


def run_cli(*arguments):
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


@pytest.fixture
def attached(tmp_path, monkeypatch):
    """Weights of a network whose builder lies in the current folder."""
    (tmp_path / "their_net.py").write_text(
        textwrap.dedent("""
            import lmaseg
            from lmaseg.models import Preprocess
            from torch import nn

            def build():
                encoder, decoder = nn.Conv2d(3, 6, 8, stride=8), nn.ConvTranspose2d(6, 11, 8, stride=8)
                preprocess = Preprocess(size=(64, 96))
                return lmaseg.attach(encoder, decoder, labels=lmaseg.CAMVID, preprocess=preprocess)
        """)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    monkeypatch.delitem(sys.modules, "their_net", raising=False)
    space = {}
    exec((tmp_path / "their_net.py").read_text(), space)
    torch.manual_seed(0)
    net = space["build"]().eval()
    checkpoint.save(net, tmp_path / "net.safetensors", about={"licence": "none"})
    return net, tmp_path / "net.safetensors"


@pytest.mark.slow
def test_exports_the_bundled_weights(tmp_path, capsys):
    output = tmp_path / "net.pt2"
    assert run_cli("export", "-o", output, "--size", "64x96") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "frames of 64x96, 0 to 1 past ones" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]
    net, frame = lmaseg.load(), torch.rand(1, 3, 64, 96)
    cells = 64 // net.stride, 96 // net.stride
    past = (torch.zeros(1, 0, channels, *cells) for channels in (net.spec.key_channels, net.spec.value_channels))
    with torch.inference_mode():
        ours = torch.export.load(output).module()(frame, *past)[0]
        assert (ours.argmax(1) == net(frame)[0].argmax(1)).float().mean() > 0.999


def test_a_bar_shows_that_an_export_is_at_work(attached, tmp_path, monkeypatch):
    written = terminal(monkeypatch)
    given = ("--weights", attached[1], "--net", "their_net:build", "--size", "64x99", "-o", tmp_path / "net.pt2")
    assert run_cli("export", *given) == 2  # a size that does not fit
    assert "exporting to " in written.getvalue()


def test_a_bar_shows_that_a_conversion_is_at_work(tmp_path, monkeypatch):
    written = terminal(monkeypatch)
    torch.save({}, tmp_path / "net.pth")
    assert run_cli("convert", tmp_path / "net.pth", "-o", tmp_path / "out.safetensors") == 1
    assert "converting " in written.getvalue()


def test_outputs_are_not_overwritten_unasked(attached, tmp_path, capsys):
    _, weights = attached
    output = tmp_path / "net.pt2"
    output.write_text("precious")
    arguments = ("export", "--weights", weights, "--net", "their_net:build", "-o", output, "--size", "64x96")
    assert run_cli(*arguments) == 1
    assert "add -y to overwrite" in capsys.readouterr().err
    assert output.read_text() == "precious"
    assert run_cli(*arguments, "-y") == 0
    said = {"lmaseg.json": ""}
    torch.export.load(output, extra_files=said)
    assert '\\"licence\\": \\"none\\"' in said["lmaseg.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "net.tflite"), "ends in none of .onnx .pt2"),
        (("-o", "net.pt2", "--size", "64"), "is one number: write HEIGHTxWIDTH such as 360x480"),
        (("-o", "net.pt2", "--size", "64x99"), "take multiples of 8"),
        ((), "Missing option '--output'"),
    ],
)
def test_wrong_command_lines(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_cli("export", *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_run_takes_attached_weights_with_their_builder(attached, tmp_path):
    net, weights = attached
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    arguments = ("run", tmp_path / "a.png", "-o", tmp_path / "maps", "--weights", weights)
    assert run_cli(*arguments, "--net", "their_net:build", "--device", "cpu") == 0
    labels = np.asarray(Image.open(tmp_path / "maps" / "a.png"))
    assert (labels == lmaseg.Segmenter(net)(picture)).mean() > 0.999


def test_attached_weights_ask_for_their_builder(attached, tmp_path, capsys):
    _, weights = attached
    assert run_cli("run", tmp_path / "a.png", "-o", tmp_path / "maps", "--weights", weights) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "holds weights of an attached network: name what builds it, --net" in said
    assert "their_net" not in sys.modules
