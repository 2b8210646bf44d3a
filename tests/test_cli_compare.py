"""`lmaseg compare` as a person meets it."""

import re

import pytest
from media import packets, write_video
from test_cli import run_cli

from lmaseg import CAMVID, save
from lmaseg.models import ModelSpec, Preprocess, build
from lmaseg.video import VideoReader

SMALL = ("--size", "32")


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "in.mp4", range(0, 24, 3), audio=0.9)


def times(path):
    with VideoReader(path) as reader:
        return [frame.time for frame in reader]


def said(capsys):
    return " ".join(capsys.readouterr().err.split())


def test_both_halves_and_a_last_line(clip, tmp_path, capsys):
    output = tmp_path / "cmp.mp4"
    assert run_cli("compare", clip, "-o", output, *SMALL) == 0
    with VideoReader(output) as reader:
        assert (reader.width, reader.height) == (128, 48)
    assert times(output) == times(clip)
    assert packets(output) == packets(clip)
    captured = capsys.readouterr()
    assert captured.out == ""
    shares = re.search(
        r"flickering pixels, of those that are still: ([\d.]+)% with memory off, ([\d.]+)% with memory on",
        captured.err.strip().splitlines()[-1],
    )
    assert all(0 <= float(share) <= 100 for share in shares.groups())


def test_a_piece_of_a_video_with_other_settings(clip, tmp_path):
    options = ("-ss", "0.24", "-t", "0.36", "--opacity", "0", "--still", "0", "--batch", "2", "--codec", "ffv1")
    assert run_cli("compare", clip, "-o", tmp_path / "cmp.mkv", *options, *SMALL) == 0
    assert [float(time) for time in times(tmp_path / "cmp.mkv")] == pytest.approx([0.24, 0.36, 0.48])


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["-o", "cmp.mp4", "--memory", "0"], 2, "leave out --memory 0"),
        (["-o", "cmp.png"], 1, "give a name that ends in .mp4"),
        (["-o", "no/cmp.mp4"], 1, "make it first"),
        (["-o", "cmp.mp4", "-ss", "5", "-to", "2"], 2, "not after the start"),
        (["-o", "cmp.mp4", "--still", "256"], 2, "--still"),
        (["-o", "cmp.mp4", "--codec", "mpeg9"], 1, "'mpeg9'"),
        ([], 2, "Missing option '--output'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(clip, tmp_path, monkeypatch, capsys, more, code, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert run_cli("compare", clip, *more, *SMALL) == code
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert sorted(tmp_path.iterdir()) == before


def test_outputs_that_exist(clip, tmp_path, capsys):
    (tmp_path / "cmp.mp4").write_text("precious")
    assert run_cli("compare", clip, "-o", tmp_path / "cmp.mp4", *SMALL) == 1
    assert "already exists: add -y" in said(capsys)
    assert (tmp_path / "cmp.mp4").read_text() == "precious"


def test_the_source_is_not_written_over(clip, capsys):
    before = clip.read_bytes()
    assert run_cli("compare", clip, "-o", clip, "-y", *SMALL) == 1
    assert "is the source itself" in said(capsys)
    assert clip.read_bytes() == before


def test_weights_without_memory(clip, tmp_path, capsys):
    single = build(ModelSpec("erfnet", 11), CAMVID, Preprocess(size=(64, 96)))
    save(single, tmp_path / "single.safetensors", about={})
    options = ("--weights", tmp_path / "single.safetensors", *SMALL)
    assert run_cli("compare", clip, "-o", tmp_path / "cmp.mp4", *options) == 2
    assert "have no memory to compare with: memory=1 gives them an untrained one" in said(capsys)
    assert not (tmp_path / "cmp.mp4").exists()
