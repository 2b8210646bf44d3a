import inspect
import io
import json
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import lmaseg
from lmaseg import CAMVID, CITYSCAPES, __version__, checkpoint
from lmaseg.cli import main
from lmaseg.cli.common import with_common_options
from lmaseg.cli.console import say
from lmaseg.cli.options import parse_size, parse_time
from lmaseg.train import with_classes
from lmaseg.video import VideoReader, VideoWriter

SMALL = ("--size", "64")


def run_cli(*arguments):
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


def call(command, **options):
    """What a command returns for these options by name; others have their defaults."""
    whole = with_common_options(command, command.__name__, [])
    known = inspect.signature(whole).parameters.values()
    return whole(**{each.name: each.default for each in known if each.default is not each.empty} | options)


@pytest.fixture
def clip(tmp_path):
    """Eight frames of 96x64 at 10 per second, a square moving over noise."""
    path = tmp_path / "in put [1].mp4"
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (64, 96, 3), dtype=np.uint8)
    with VideoWriter(path, width=96, height=64, time_base=Fraction(1, 10), rate=10) as writer:
        for i in range(8):
            image = ground.copy()
            image[20:40, 5 * i : 5 * i + 20] = 200
            writer.write(image, i)
    return path


def times(path):
    with VideoReader(path) as reader:
        return [float(frame.time) for frame in reader]


def ids(folder):
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


def test_a_video_and_its_label_maps(clip, tmp_path, capsys):
    output, maps, report = tmp_path / "out.mp4", tmp_path / "maps", tmp_path / "report.json"
    assert run_cli("run", clip, "-o", output, "--labels", maps, "--report", report, *SMALL) == 0
    assert times(output) == pytest.approx([i / 10 for i in range(8)])
    written = ids(maps)
    assert list(written) == [f"{i:06d}.png" for i in range(8)]
    assert all(labels.shape == (64, 96) and labels.max() < 19 for labels in written.values())
    assert Image.open(maps / "000000.png").getpalette()[:3] == list(CITYSCAPES.colors[0])
    said = capsys.readouterr()
    assert said.out == ""
    assert "8 frames in" in said.err
    assert "out.mp4" in said.err
    figures = json.loads(report.read_text())
    assert (figures["frames"], figures["complete"], figures["width"], figures["height"]) == (8, True, 96, 64)
    assert sum(figures["class_shares"].values()) == pytest.approx(1, abs=1e-4)
    expected = np.mean([(labels == 0).mean() for labels in written.values()])
    assert figures["class_shares"]["road"] == pytest.approx(expected, abs=1e-5)
    assert figures["settings"]["size"] == 64


def test_memory_changes_the_labels(clip, tmp_path):
    assert run_cli("run", clip, "-o", tmp_path / "with", *SMALL) == 0
    assert run_cli("run", clip, "-o", tmp_path / "without", "--memory", 0, *SMALL) == 0
    with_memory, without = ids(tmp_path / "with"), ids(tmp_path / "without")
    assert (with_memory["000000.png"] == without["000000.png"]).all()
    assert any((with_memory[name] != without[name]).any() for name in with_memory)


def test_a_piece_has_the_labels_and_times_of_the_whole(clip, tmp_path):
    assert run_cli("run", clip, "-o", tmp_path / "whole", *SMALL) == 0
    outputs = ["-o", tmp_path / "p.mp4", "--labels", tmp_path / "piece"]
    assert run_cli("run", clip, *outputs, "-ss", "0.5", "-t", "0.2", *SMALL) == 0
    whole, piece = ids(tmp_path / "whole"), ids(tmp_path / "piece")
    assert list(piece) == ["000000.png", "000001.png"]
    assert (piece["000000.png"] == whole["000005.png"]).all()
    assert (piece["000001.png"] == whole["000006.png"]).all()
    assert times(tmp_path / "p.mp4") == pytest.approx([0.5, 0.6])


def test_train_ids(clip, tmp_path):
    weights = tmp_path / "camvid.safetensors"
    checkpoint.save(with_classes(lmaseg.load(), CAMVID), weights, about={})
    for ids_of in ("class", "train"):
        arguments = ("--weights", weights, "--ids", ids_of, *SMALL)
        assert run_cli("run", clip, "-o", tmp_path / ids_of, *arguments) == 0
    for name, labels in ids(tmp_path / "class").items():
        mapped = np.asarray(CAMVID.train_ids)[labels]
        assert (np.asarray(Image.open(tmp_path / "train" / name)) == mapped).all()
    assert Image.open(tmp_path / "train" / "000000.png").getpalette()[:57] == list(CITYSCAPES.palette[:57])


def test_image_folders_and_globs_keep_their_stems(tmp_path):
    (tmp_path / "frames").mkdir()
    for stem in ("a2", "a10"):
        Image.new("RGB", (64, 64), (90, 90, 90)).save(tmp_path / "frames" / f"{stem}.jpg")
    assert run_cli("run", tmp_path / "frames", "-o", tmp_path / "maps", *SMALL) == 0
    assert sorted(ids(tmp_path / "maps")) == ["a10.png", "a2.png"]
    assert run_cli("run", tmp_path / "frames" / "a1*.jpg", "-o", tmp_path / "one", *SMALL) == 0
    assert list(ids(tmp_path / "one")) == ["a10.png"]


def test_outputs_that_exist(clip, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    output.write_text("precious")
    assert run_cli("run", clip, "-o", output, *SMALL) == 1
    assert "already exists: add -y" in capsys.readouterr().err
    assert run_cli("run", clip, "-o", output, "-n", *SMALL) == 1
    assert output.read_text() == "precious"
    assert run_cli("run", clip, "-o", output, "-y", *SMALL) == 0
    assert len(times(output)) == 8


WRONG = [
    (["run", "nowhere.mp4", "-o", "out.mp4"], 1, "nowhere.mp4 does not exist"),
    (["run", "text.mp4", "-o", "out.mp4"], 1, "text.mp4 is not a video"),
    (["run", "{clip}", "-o", "no/such/out.mp4"], 1, "no/such does not exist: make it first"),
    (["run", "{clip}", "-o", "out.mp4", "--weights", "text.mp4"], 1, "text.mp4 is not a whole safetensors file"),
    (["run", "{clip}", "-o", "out.mp4", "--weights", "none.safetensors"], 1, "there are no weights at"),
    (["run", "{clip}", "-o", "out.mp4", "--weights", "net.pth"], 1, "lmaseg convert net.pth -o net.safetensors"),
    (
        ["run", "{clip}", "-o", "out.mp4", "--weights", "cityscapes"],
        1,
        "called cityscapes: lmaseg has lma-street",
    ),
    (["eval", "--folder", "empty", "empty", "--weights", "cityscapes"], 1, "called cityscapes: lmaseg has lma-street"),
    (["run", "{clip}", "-o", "out.mp4", "--device", "warp"], 1, "'warp' is not available here: use --device auto"),
    (["run", "{clip}", "-o", "out.mp4", "--codec", "mpeg9"], 1, "'mpeg9'"),
    (["run", "{clip}", "-o", "out.mp4", "-ss", "99"], 1, "no frame"),
    (["run", "empty", "-o", "out.mp4"], 1, "no images"),
    (["run", "{clip}", "-o", "out.mp4", "--size", "7"], 2, "7 pixels is not between 32 and 8192"),
    (["run", "{clip}", "-o", "out.mp4", "--size", "big"], 2, "'big' is neither a height such as 360"),
    (["run", "{clip}", "-o", "out.mp4", "-ss", "5", "-to", "2"], 2, "not after the start"),
    (["run", "{clip}", "-o", "out.xyz"], 2, "ends in none of"),
    (["run", "{clip}", "-o", "out", "--labels", "maps"], 2, "--labels goes with a video"),
    (["run", "-"], 2, "name an output for standard input: -o out.mkv"),
    (["run", "rtsp://me:secret@host/a"], 2, "name an output for rtsp://me:***@host/a"),
    (["run", "7"], 2, "name an output for 7: -o out.mkv"),
    (["run", "{clip}", "-o", "out.png"], 1, "out.png takes one image, and"),
    (["run", "{clip}", "-o", "out.mp4", "--opacity", "2"], 2, "--opacity"),
    (["run", "{clip}", "-o", "out.mp4", "--frobnicate"], 2, "--frobnicate"),
    (["fly"], 2, "fly"),
    (["info", "text.mp4"], 1, "not a whole safetensors file"),
    (["compare", "{clip}", "-o", "no/such/out.mp4"], 1, "make it first"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_what_is_wrong_is_said_in_one_line(arguments, code, message, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("this is no video" * 100)
    (tmp_path / "net.pth").write_text("published")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert run_cli(*(argument.format(clip=clip) for argument in arguments)) == code
    said = capsys.readouterr().err.strip()
    assert message in said
    assert said.startswith("error: ")
    assert "\n" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_video_without_frames(tmp_path, capsys):
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert run_cli("run", path, "-o", tmp_path / "out.mp4") == 1
    assert "has no video in it" in capsys.readouterr().err


@pytest.mark.timeout(120)
def test_ctrl_c_keeps_a_playable_part(tmp_path):
    source, output = tmp_path / "long.mp4", tmp_path / "out.mp4"
    with VideoWriter(source, width=96, height=64, time_base=Fraction(1, 10), rate=10) as writer:
        for i in range(500):
            writer.write(np.full((64, 96, 3), i % 200, np.uint8), i)
    command = [sys.executable, "-m", "lmaseg", "run", source, "-o", output, "--labels", tmp_path / "maps", *SMALL]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    started = tmp_path / "maps.part" / "000003.png"
    while not started.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted after" in said
    assert "out.part.mp4" in said
    assert "Traceback" not in said
    assert not output.exists()
    assert not (tmp_path / "maps").exists()
    kept = times(tmp_path / "out.part.mp4")
    assert 3 < len(kept) < 500
    assert len(list((tmp_path / "maps.part").iterdir())) == len(kept)


def test_version_and_help(capsys):
    assert run_cli("--version") == 0
    assert capsys.readouterr().out.strip() == f"lmaseg {__version__}"
    assert run_cli("run", "--help") == 0
    assert "Segment videos" in capsys.readouterr().out


def test_info_prints_what_a_checkpoint_is(capsys):
    assert run_cli("info", "lma-street") == 0
    said = " ".join(capsys.readouterr().out.split())
    spec = checkpoint.read_header(checkpoint.BUNDLED).spec
    for expected in (
        spec.backbone,
        f"{spec.memory_frames} frames",
        "cityscapes",
        "bicycle",
        "480x640",
        "training data",
        "Recipe",
    ):
        assert expected in said


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1:30", 90), ("00:01:30.5", 90.5), ("1500ms", 1.5), (".5", 0.5), ("2s", 2)]
)
def test_times_as_ffmpeg_writes_them(text, seconds):
    assert parse_time(text) == pytest.approx(seconds)


def test_sizes():
    assert parse_size("360") == 360
    assert parse_size("360x640") == (360, 640)


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_break_between_words_on_a_terminal_and_nowhere_in_a_file(terminal, monkeypatch):
    sentence = "eleven words that together take up more than one line here"
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=20)
    monkeypatch.setattr(sys.modules["lmaseg.cli.console"], "console", console)
    say(sentence)
    lines = written.getvalue().splitlines()
    assert (len(lines) > 1) == terminal
    assert " ".join(line.rstrip() for line in lines) == sentence
