"""`lmaseg.segment` and `lmaseg.run`, and what becomes of outputs that another run writes or has left unfinished."""

import json
import subprocess
import sys
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from media import numbered, write_video
from PIL import Image
from test_cli import run_cli

import lmaseg
from lmaseg import VideoError
from lmaseg.job import Job
from lmaseg.labels import own_label_set
from lmaseg.lock import Lock
from lmaseg.outputs import drawn
from lmaseg.segmentation import make_segmenter, run_job
from lmaseg.sinks import Sink
from lmaseg.unfinished import identify, note_path
from lmaseg.video import VideoReader

FRAMES = 60  # more than a fast network has in hand when a run is stopped after a few
SMALL = {"size": 32, "memory": 1}
COMMAND = ("--size", "32", "--memory", "1")


pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture
def segmenter(small_network):
    return make_segmenter(Job("", **SMALL))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Frames of 1.2 s, a key frame every fourth."""
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    return write_video(path, [2 * i + i % 2 for i in range(FRAMES)], Fraction(1, 100), rate=50, keyframes=4)


def maps(folder):
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


class StopAfter(Sink):
    """Asks the run to stop when some frames are written."""

    def __init__(self, frames):
        self.event, self._left = threading.Event(), frames

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def write(self, seen):
        self._left -= 1
        if self._left == 0:
            self.event.set()


def interrupted(job, segmenter, frames):
    """The report of a run that was stopped."""
    sink = StopAfter(frames)
    return run_job(job, segmenter=segmenter, stop=sink.event, more=[sink])


# From Python


def test_frames_come_lazily_with_labels_picture_time_and_shares(clip, segmenter):
    results = lmaseg.segment(clip, segmenter=segmenter, classes=("road",))
    first = next(results)
    assert (first.labels.shape, first.labels.dtype) == ((48, 64), np.uint8)
    assert (first.image.shape, first.image.dtype, first.name) == ((48, 64, 3), np.uint8, "000000")
    assert isinstance(first.time, Fraction)
    assert sum(first.shares.values()) == pytest.approx(1, abs=1e-5)
    assert first.shares["road"] == pytest.approx((first.labels == 0).mean(), abs=1e-6)
    road = first.labels == 0
    assert (first.overlay() != first.image).any(-1)[~road].sum() == 0
    times = [(2 * i + i % 2) / 100 for i in range(1, FRAMES)]
    assert [float(result.time) for result in results] == pytest.approx(times)


@pytest.mark.parametrize("settings", [{}, {"start": 0.5}, {"stride": 3}])
def test_the_command_the_library_and_the_iterator_give_the_same_labels(clip, segmenter, tmp_path, settings):
    report = lmaseg.run(clip, maps=tmp_path / "maps", report=tmp_path / "report.json", **SMALL, **settings)
    written = maps(tmp_path / "maps")
    for result in lmaseg.segment(clip, segmenter=segmenter, **settings):
        assert (written.pop(result.name) == result.labels).all()
    assert not written
    options = [word for name, value in settings.items() for word in ({"start": "-ss"}.get(name, f"--{name}"), value)]
    assert run_cli("run", clip, "-o", tmp_path / "again", *COMMAND, *options) == 0
    assert maps(tmp_path / "again").keys() == maps(tmp_path / "maps").keys()
    assert all((labels == maps(tmp_path / "maps")[name]).all() for name, labels in maps(tmp_path / "again").items())
    assert json.loads((tmp_path / "report.json").read_text())["class_shares"] == report.shares


def test_settings_that_there_are_not_are_refused_at_once(clip, segmenter, tmp_path):
    with pytest.raises(TypeError, match="opacty"):
        lmaseg.segment(clip, opacty=0.5)
    with pytest.raises(ValueError, match="no view 'upside-down': choose one of overlay, mask"):
        lmaseg.run(clip, video=tmp_path / "a.mp4", view="upside-down")
    with pytest.raises(ValueError, match="would write nothing"):
        lmaseg.run(clip, segmenter=segmenter)
    with pytest.raises(ValueError, match="know no class unicorn: choose of car, pole"):
        drawn(Job("", classes=("car", "unicorn")), own_label_set("two", [{"name": "car"}, {"name": "pole"}]))
    assert list(tmp_path.iterdir()) == []


def test_the_public_names_are_listed():
    assert {"run", "segment", "load", "Segmenter"} <= set(dir(lmaseg))
    assert "import_module" not in dir(lmaseg)


# Reports and what is left unfinished


def test_a_report_named_like_the_video_leaves_the_note_alone(clip, segmenter, tmp_path):
    """out.json beside out.mp4, as a report or as lines: its part once was the note that resuming needs."""
    whole = lmaseg.run(clip, segmenter=segmenter, maps=tmp_path / "whole", report=tmp_path / "whole.json")
    outputs = {"video": tmp_path / "out.mp4", "report": tmp_path / "out.json", "maps": tmp_path / "out"}
    job = Job(str(clip), codec="h264", **outputs)
    stopped = interrupted(job, segmenter, 9)
    assert not stopped.complete
    assert not (tmp_path / "out.json").exists()  # nothing is published of what is not whole
    report = run_job(job, segmenter=segmenter, resume=True)
    assert report.complete
    told = json.loads((tmp_path / "out.json").read_text())
    assert (told["frames"], told["class_shares"]) == (FRAMES, whole.shares)
    assert [each["second"] for each in told["class_shares_per_second"]] == [0, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.json", "out.mp4", "whole", "whole.json"]


def test_a_report_after_resuming_counts_all_frames_and_says_how_many_were_there(clip, segmenter, tmp_path):
    whole = lmaseg.run(clip, segmenter=segmenter, maps=tmp_path / "whole")
    job = Job(str(clip), maps=tmp_path / "maps", report=tmp_path / "r.json", plot=tmp_path / "p.png")
    interrupted(job, segmenter, 7)
    assert {path.name for path in tmp_path.iterdir()} >= {"maps.part", "r.part.json", "maps.unfinished"}
    report = run_job(job, segmenter=segmenter, resume=True)
    assert 5 <= report.resumed_after < FRAMES
    assert (report.frames, report.shares, report.whole) == (FRAMES, whole.shares, whole.whole)
    assert Image.open(tmp_path / "p.png").size[0] > 100
    assert all((labels == maps(tmp_path / "whole")[name]).all() for name, labels in maps(tmp_path / "maps").items())


def test_resuming_a_long_video_labels_only_what_the_memory_needs_again(small_network, tmp_path):
    path = write_video(tmp_path / "in.mp4", range(160), Fraction(1, 4), rate=4)
    segmenter = make_segmenter(Job("", **SMALL))
    lmaseg.run(path, segmenter=segmenter, maps=tmp_path / "whole")
    job = Job(str(path), maps=tmp_path / "maps")
    assert interrupted(job, segmenter, 100).frames >= 100
    handed, submit = [], segmenter.submit
    segmenter.submit = lambda *arguments: handed.append(0) or submit(*arguments)
    report = run_job(job, segmenter=segmenter, resume=True)
    fresh = 160 - report.resumed_after
    assert fresh + 20 <= len(handed) < 140  # of the frames done, those of five seconds at least are needed
    assert all((labels == maps(tmp_path / "whole")[name]).all() for name, labels in maps(tmp_path / "maps").items())


def test_shares_that_were_not_noted_are_not_told(clip, segmenter, tmp_path):
    job = Job(str(clip), maps=tmp_path / "maps")
    interrupted(job, segmenter, 7)
    assert run_job(job, segmenter=segmenter, resume=True).shares is None


@pytest.mark.parametrize(
    ("change", "message"),
    [({"memory": 0}, "another memory"), ({"lines": "lines.jsonl"}, "another lines"), ({"batch": 2}, "another batch")],
)
def test_what_was_made_otherwise_is_not_gone_on_with(clip, segmenter, tmp_path, change, message):
    job = Job(str(clip), maps=tmp_path / "maps")
    interrupted(job, segmenter, 7)
    kept = maps(tmp_path / "maps.part")
    other = Job(str(clip), **{"maps": tmp_path / "maps", **change})
    with pytest.raises(VideoError, match=message):
        run_job(other, segmenter=segmenter, resume=True)
    assert maps(tmp_path / "maps.part").keys() == kept.keys()


def test_an_output_published_before_a_kill_may_be_replaced_by_resuming(clip, segmenter, tmp_path):
    job = Job(str(clip), video=tmp_path / "out.mp4", maps=tmp_path / "maps")
    interrupted(job, segmenter, 7)
    (tmp_path / "out.part.mp4").rename(tmp_path / "out.mp4")
    assert run_job(job, segmenter=segmenter, resume=True).complete
    assert len(maps(tmp_path / "maps")) == FRAMES


def test_identity_is_of_the_head_and_the_size(tmp_path):
    path = tmp_path / "a.mp4"
    found = set()
    for content in (b"1" * 100, b"1" * 101, b"2" + b"1" * 99):
        path.write_bytes(content)
        found.add(identify(str(path)))
    assert len(found) == 3
    assert {identity.partition(" ")[0] for identity in found} == {"100", "101"}


# Two runs, older outputs, sound


@pytest.mark.parametrize("output", ["o.mp4", "maps"])
def test_the_second_of_two_runs_into_one_output_is_refused(clip, tmp_path, output, capsys):
    path = tmp_path / output
    with Lock(note_path(path), path):
        assert run_cli("run", clip, "-o", path, *COMMAND, "-y") == 1
        assert f"{path} is being written by process" in " ".join(capsys.readouterr().err.split())
        assert not path.exists()
    assert run_cli("run", clip, "-o", path, *COMMAND) == 0
    assert [found.name for found in tmp_path.iterdir()] == [output]


def test_older_label_maps_under_our_numbers_are_removed_and_other_files_are_told_of(clip, segmenter, tmp_path):
    folder = tmp_path / "m"
    lmaseg.run(clip, segmenter=segmenter, maps=folder)
    Image.new("RGB", (8, 8)).save(folder / "000950.png")  # somebody's picture
    (folder / "notes.txt").write_text("mine")
    report = lmaseg.run(clip, segmenter=segmenter, maps=folder, end=0.3, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"{i:06d}.png" for i in range(report.frames)),
        "000950.png",
        "notes.txt",
    ]
    removed = f"{FRAMES - report.frames} maps of an earlier run were removed from {folder}"
    assert report.warnings == (removed, f"{folder} holds 2 other files, which were left")


@pytest.mark.timeout(200)
def test_sound_that_cannot_be_copied_from_standard_input_is_told_of(tmp_path):
    source = write_video(tmp_path / "in.mkv", range(5), audio=0.3)
    command = [sys.executable, "-m", "lmaseg", "run", "-", "-o", tmp_path / "out.mkv", *COMMAND]
    with source.open("rb") as stream:
        done = subprocess.run(list(map(str, command)), stdin=stream, capture_output=True, text=True, check=True)
    assert "not copied: audio stream 1 (aac): the source can be read only once" in " ".join(done.stderr.split())


class Camera:
    """A reader that waits for a lost connection until it is told to stop."""

    frames = None

    def __init__(self):
        self._stopped = threading.Event()

    def stop(self):
        self._stopped.set()

    def __iter__(self):
        for i in range(3):
            yield lmaseg.video.Frame(numbered(i), i, Fraction(1, 25), f"{i:06d}")
        self._stopped.wait(60)


def test_a_failing_sink_ends_the_wait_for_a_camera(segmenter):
    class Failing(StopAfter):
        def write(self, seen):
            raise VideoError("the disk is full")

    began = time.monotonic()
    with pytest.raises(VideoError, match="the disk is full"):
        list(lmaseg.segment_video(Camera(), segmenter, [Failing(1)]))
    assert time.monotonic() - began < 30


def test_threads_say_what_they_do(segmenter, clip):
    names = set()

    class Listing(StopAfter):
        def write(self, seen):
            names.update(thread.name for thread in threading.enumerate())

    with VideoReader(clip) as reader:
        list(lmaseg.segment_video(reader, segmenter, [Listing(1)]))
    assert "write" in names
    assert not any("lambda" in name for name in names)
