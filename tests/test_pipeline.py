import os
import sys
import threading
from fractions import Fraction

import numpy as np
import pytest
import torch

from lmaseg import CAMVID, Segmenter, VideoError, segment_video
from lmaseg.maps import LabelMapWriter
from lmaseg.models import ModelSpec, Preprocess, build
from lmaseg.pipeline import _step_back
from lmaseg.render import View
from lmaseg.sinks import ClassShares, Labelled, OverlayVideo, Sink
from lmaseg.video import Frame, VideoReader, VideoWriter


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    spec = ModelSpec("erfnet", 11, memory_frames=3, window=3, key_channels=16, value_channels=64, fusion="sigmoid-do1")
    return build(spec, CAMVID, Preprocess(size=(32, 32))).eval()


class Frames:
    """A source made of arrays: what `segment_video` needs of a reader."""

    def __init__(self, images, *, gaps=(), warm_up=0, fail_at=None):
        self._images, self._gaps, self._warm_up, self._fail_at = images, gaps, warm_up, fail_at
        self.frames = len(images) - warm_up

    def stop(self):
        pass

    def __iter__(self):
        for i, image in enumerate(self._images):
            if i == self._fail_at:
                raise VideoError("the source broke")
            name = f"{max(0, i - self._warm_up):06d}"
            yield Frame(image, i, Fraction(1, 10), name, warm_up=i < self._warm_up, after_gap=i in self._gaps)


class Collected(Sink):
    """Keeps what it is given; `slow` seconds a frame, failing at one if asked to."""

    def __init__(self, fail_at=None, started=None):
        self.labels, self.pts, self.closed_by = [], [], "nothing"
        self._fail_at, self._started = fail_at, started

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self.closed_by = kind.__name__ if kind else "end"

    def write(self, seen):
        if len(self.labels) == self._fail_at:
            raise VideoError("the disk is full")
        self.labels.append(seen.labels)
        self.pts.append(seen.frame.pts)
        if self._started:
            self._started.set()


def noise(count, size=32):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (size, size, 3))
    return [(base + rng.integers(0, 20, base.shape)).clip(0, 255).astype(np.uint8) for _ in range(count)]


def run(source, segmenter, sinks, **options):
    for progress in segment_video(source, segmenter, sinks, **options):
        last = progress
    return last


@pytest.mark.timeout(60)
def test_every_frame_reaches_every_sink_in_order(net):
    images, sinks = noise(12), [Collected(), Collected()]
    last = run(Frames(images), Segmenter(net), sinks)
    assert (last.frames, last.total, last.finished) == (12, 12, True)
    alone = Segmenter(net)
    expected = [alone(image) for image in images]
    for sink in sinks:
        assert sink.pts == list(range(12))
        assert sink.closed_by == "end"
        assert all((a == b).all() for a, b in zip(sink.labels, expected, strict=True))
    assert 0 < last.model_seconds <= last.seconds


@pytest.mark.timeout(60)
def test_batches_change_nothing_but_rounding(net):
    images, sinks = noise(7) + [255 - image for image in noise(6)], [Collected(), Collected()]
    for batch, sink in zip((1, 4), sinks, strict=True):
        last = run(Frames(images, gaps=(9,), warm_up=2), Segmenter(net, dtype=torch.float32, batch=batch), [sink])
        assert last.frames == 11
    assert sinks[1].pts == sinks[0].pts == list(range(2, 13))
    assert np.mean([a == b for a, b in zip(*(sink.labels for sink in sinks), strict=True)]) >= 0.9999


@pytest.mark.timeout(60)
def test_a_piece_warmed_up_on_the_frames_before_it_gives_the_labels_of_the_whole(net):
    images, whole, piece = noise(12), Collected(), Collected()
    run(Frames(images), Segmenter(net), [whole])
    run(Frames(images[4:], warm_up=3), Segmenter(net), [piece])
    assert piece.pts == list(range(3, 8))
    assert all((a == b).all() for a, b in zip(piece.labels, whole.labels[7:], strict=True))


@pytest.mark.timeout(60)
def test_gaps_and_cuts_empty_the_memory(net):
    images = noise(3) + [255 - image for image in noise(3)]
    alone = Segmenter(net, memory=0)
    for options, reset in [({}, True), ({"reset_at_cuts": False}, False)]:
        sink = Collected()
        run(Frames(images), Segmenter(net), [sink], **options)
        assert (sink.labels[3] == alone(images[3])).all() == reset
    sink = Collected()
    run(Frames(images, gaps=(2,)), Segmenter(net), [sink])
    assert (sink.labels[2] == alone(images[2])).all()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("failing", ["source", "network", "sink"])
def test_the_first_error_ends_the_run_and_the_outputs_know(net, failing):
    source = Frames(noise(30), fail_at=5 if failing == "source" else None)
    sink = Collected(fail_at=5 if failing == "sink" else None)
    segmenter = Segmenter(net)
    if failing == "network":
        segmenter.submit = lambda *frames: 1 / 0
    with pytest.raises(ZeroDivisionError if failing == "network" else VideoError):
        run(source, segmenter, [sink], reset_at_cuts=False)
    assert sink.closed_by != "end"


@pytest.mark.timeout(60)
def test_stop_ends_after_the_frame_in_hand(net):
    stop, started = threading.Event(), threading.Event()
    sink = Collected(started=started)
    last = None
    for progress in segment_video(Frames(noise(2000)), Segmenter(net), [sink], stop=stop):
        last = progress
        if started.is_set():
            stop.set()
    assert not last.finished
    assert not last.finished
    assert 0 < last.frames == len(sink.labels) < 1900
    assert sink.closed_by not in ("end", "nothing")


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
@pytest.mark.parametrize(("own", "asked"), [(0, 10), (5, 10), (15, 15)])
def test_stages_step_back_and_never_forward(monkeypatch, own, asked):
    seen = []
    monkeypatch.setattr(os, "getpriority", lambda kind, thread: own)
    monkeypatch.setattr(os, "setpriority", lambda kind, thread, niceness: seen.append(niceness))
    _step_back()
    assert seen == [asked]


@pytest.mark.timeout(60)
def test_leaving_the_loop_ends_the_threads(net):
    before = set(threading.enumerate())
    for _ in segment_video(Frames(noise(5000)), Segmenter(net), [Collected()]):
        break
    assert set(threading.enumerate()) <= before


def test_class_shares_add_up():
    shares = ClassShares(CAMVID)
    with shares:
        for pts, value in [(0, 2), (9, 3), (10, 3)]:
            labels = np.full((2, 2), value, np.uint8)
            shares.write(Labelled(Frame(np.zeros((2, 2, 3), np.uint8), pts, Fraction(1, 10), "x"), labels))
    ((_, whole),) = shares.by_part().items()
    assert [whole.total[CAMVID.names[i]] for i in (2, 3)] == pytest.approx([1 / 3, 2 / 3], abs=1e-6)
    assert [(second, values[CAMVID.names[2]]) for second, values in whole.over_time] == [(0, 0.5), (1, 0.0)]


@pytest.mark.timeout(120)
def test_from_a_file_to_a_file_and_label_maps(net, tmp_path):
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    times = [0, 1, 3, 4, 9, 10]
    with VideoWriter(source, width=64, height=48, time_base=Fraction(1, 25), rate=Fraction(25)) as writer:
        for pts, image in zip(times, noise(6, 64), strict=True):
            writer.write(image[:48], pts)
    with VideoReader(source) as reader:
        writer = VideoWriter(
            output, width=reader.width, height=reader.height, time_base=reader.time_base, rate=reader.rate
        )
        folder = LabelMapWriter(tmp_path / "maps", CAMVID)
        maps = Sink(folder, lambda seen: folder.write(seen.labels, seen.frame.name))
        run(reader, Segmenter(net), [OverlayVideo(writer, View(CAMVID)), maps])
    with VideoReader(output) as again:
        assert [float(frame.time) for frame in again] == pytest.approx([pts / 25 for pts in times])
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [f"{i:06d}.png" for i in range(6)]
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "out.mp4", "maps"}
