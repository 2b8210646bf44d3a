"""Going on with the part of an output that a killed process left."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from marks import slow
from media import numbered, packets, read, write_video

from lmaseg.paths import part_path
from lmaseg.video import VideoWriter
from lmaseg.video.unfinished import resume_points, taken_over_path

CLOCK = Fraction(1, 30)
PTS = [int(time) for time in np.cumsum(np.random.default_rng(0).choice([1, 2, 3, 12], 200))]
OPTIONS = {"width": 64, "height": 48, "time_base": CLOCK, "rate": 10}


def write_until_killed(path, *, frames, keep=0, **options):
    """Write frames up to a number of them in a process that then ends without closing anything."""
    code = f"""
import os, sys
from fractions import Fraction
sys.path.insert(0, {str(Path(__file__).parent)!r})
from media import numbered
from lmaseg.video import VideoWriter
writer = VideoWriter({str(path)!r}, **{ {**OPTIONS, "keep": keep, **options}!r}).__enter__()
for i, pts in enumerate({PTS[:frames]!r}):
    writer.skip(pts) if i < {keep} else writer.write(numbered(i), pts)
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9


def finish(path, keep, **options):
    with VideoWriter(path, keep=keep, **OPTIONS, **options) as writer:
        for i, pts in enumerate(PTS):
            if i < keep:
                writer.skip(pts)
            else:
                writer.write(numbered(i), pts)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("o.mp4", "h264"),
        slow("o.mov", "hevc"),
        ("o.mkv", "h264"),
        slow("o.webm", "vp9"),
        slow("o.mp4", "av1"),
        ("o.mkv", "ffv1"),
    ],
)
def test_the_result_is_that_of_an_uninterrupted_run(tmp_path, name, codec):
    path = tmp_path / name
    write_until_killed(path, frames=170, codec=codec)
    keep = resume_points(path)[-1]
    assert 30 <= keep < 170
    write_until_killed(path, frames=190, keep=keep, codec=codec)
    again = resume_points(path)[-1]
    assert keep <= again < 190
    finish(path, again, codec=codec)
    numbers, times, _ = read(path)
    assert numbers == list(range(200))
    assert [float(time) for time in times] == pytest.approx([pts / 30 for pts in PTS], abs=0.0016)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["o.avi", "o.gif"])
def test_what_cannot_be_gone_on_with_is_begun_anew(tmp_path, name):
    path = tmp_path / name
    write_until_killed(path, frames=170)
    keep = resume_points(path)[-1]
    finish(path, keep)
    begun = tmp_path / f"whole{path.suffix}"
    finish(begun, 0)
    assert read(path)[:2] == read(begun)[:2]


@pytest.mark.timeout(120)
def test_sound_is_copied_in_full(tmp_path):
    source, path = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_video(source, PTS, CLOCK, audio=20.0)
    write_until_killed(path, frames=170, copy_from=str(source))
    finish(path, resume_points(path)[-1], copy_from=source)
    assert packets(path, "audio") == packets(source, "audio")


def test_the_longer_of_two_parts_is_gone_on_with(tmp_path):
    path = tmp_path / "o.mp4"
    write_until_killed(path, frames=170)
    points = resume_points(path)
    part_path(path).rename(taken_over_path(path))
    part_path(path).write_bytes(b"killed again before anything was in it")
    assert resume_points(path) == points
    assert not taken_over_path(path).exists()


def test_nothing_to_go_on_with(tmp_path):
    assert resume_points(tmp_path / "o.mp4") == [0]
