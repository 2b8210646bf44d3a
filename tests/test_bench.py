"""Benchmarks: contenders timed in turn, the ways to label a video, and a report that adds up."""

import sys
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from media import number_of, numbered, write_video

import lmaseg
from lmaseg.bench import bench, full, ways
from lmaseg.bench.timing import LEAST_REPEATS, Contender, Stopwatch, peak_memory, spread
from lmaseg.bench.workload import FRAMES, SPEED, PlainNetwork, Workload, drawn_frames, first_frames
from lmaseg.models import ModelSpec, adapted_network

PARTS = [
    "preprocess",
    "encode",
    "project",
    "remember",
    "compensate motion",
    "attend",
    "fuse",
    "decode",
    "upsample + argmax",
]
SIZE = (64, 96)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def net():
    return lmaseg.load()


@pytest.fixture(scope="module")
def told():
    """What a full benchmark says of its progress."""
    return []


@pytest.fixture(scope="module")
def report(net, told):
    """A full benchmark of a drawn pattern."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ways, "SHORTEST", 5)
        patch.setattr(full, "MEMORIES", (0, 3))
        patch.setattr(full, "SCALES", (0.5, 1.5))
        return bench(
            net,
            size=SIZE,
            memory=2,
            window=5,
            batch=2,
            dtype=torch.float32,
            full=True,
            seconds=0,
            on_progress=lambda *each: told.append(each),
        )


@pytest.fixture
def workload(net):
    frames = tuple(numbered(i, SIZE[1], SIZE[0]) for i in range(5))
    return Workload(net, frames, SIZE, memory=2, dtype=torch.float32, batch=1)


def watch(seconds=0.0):
    return Stopwatch(torch.device("cpu"), {"race": seconds})


def test_report_says_what_was_timed(net, report):
    settings = report.settings
    assert (settings.source_size, settings.working_size) == (SIZE, SIZE)
    assert (settings.memory, settings.window, settings.batch, settings.backbone) == (2, 5, 2, net.spec.backbone)
    assert settings.device == "cpu"
    assert report.environment["versions"]["torch"] == torch.__version__
    assert report.environment["system"]["threads"] == 1


def test_the_memory_off_and_on(report):
    assert [(way.name, way.memory) for way in report.ways] == [("memory off", 0), ("memory on", 2)]
    for way in report.ways:
        for each in (way.model, way.latency, way.end_to_end):
            assert 0 < each.low <= each.median <= each.high
        assert way.model.repeats == LEAST_REPEATS
        assert way.latency.median == 2 * way.model.median  # a batch of two frames, one after the other
        assert way.model_frames_per_second == 1 / way.model.median
        assert way.end_to_end_frames_per_second == 1 / way.end_to_end.median
        if sys.platform == "linux":
            assert way.peak_bytes > 50e6
    assert report.memory_cost.median > 0.3


def test_every_part_is_there_and_they_add_up(report):
    parts = {detail.name: detail for detail in report.details if detail.group == "part of the network"}
    assert list(parts) == PARTS
    around = [detail.name for detail in report.details if detail.group == "part around it"]
    assert around == ["draw", "encode video", "decode video"]
    assert 0.2 < sum(part.ratio.median for part in parts.values()) < 4


def test_the_straightforward_network_gives_the_same_labels(report):
    (plain,) = (detail for detail in report.details if detail.group == "straightforward")
    assert plain.ratio.median > 0.3
    assert report.agreement > 0.9


def test_variants_change_one_setting_at_a_time(report):
    groups = {"past frames": ["0", "3"], "working size": ["32x48", "96x144"]}
    for group, names in groups.items():
        assert [detail.name for detail in report.details if detail.group == group] == names


def test_progress_only_rises_and_ends_at_all(told):
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert list(dict(told)) == ["network", "video to video", "straightforward", "parts", "variants"]


def test_a_video_is_timed_as_far_as_it_goes(net, tmp_path, monkeypatch):
    lengths = []
    timed = ways.run_job

    def noted(job, **rest):
        lengths.append(timed(job, **rest).frames)

    monkeypatch.setattr(ways, "run_job", noted)
    video = write_video(tmp_path / "in.mp4", size=(96, 64))  # 10 frames
    report = bench(net, size=(32, 48), memory=1, window=3, video=video, seconds=0)
    assert report.settings.source_size == (64, 96)
    assert report.settings.working_size == (32, 48)
    assert (report.details, report.agreement) == ((), None)
    assert lengths == [10, 10]
    monkeypatch.setattr(ways, "LONGEST", 4)
    bench(net, size=(32, 48), memory=1, window=3, video=video, seconds=0)
    assert lengths[2:] == [4, 4]
    assert list(tmp_path.iterdir()) == [video]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
def test_parts_in_int8_are_timed_too(workload):
    assert list(full.network_parts(replace(workload, dtype=torch.int8))) == PARTS


def test_a_network_without_a_memory_is_timed_alone_or_with_one_that_is_asked_for(net):
    single = adapted_network(net, window=net.spec.window)
    single.spec = ModelSpec(net.spec.backbone, net.spec.classes)
    report = bench(single, size=(32, 48), seconds=0, full=False)
    assert [way.name for way in report.ways] == ["memory off"]
    assert report.memory_cost is None
    with_one = bench(single, size=(32, 48), seconds=0, memory=2, window=3)
    assert [way.memory for way in with_one.ways] == [0, 2]
    assert with_one.settings.window == 3


def test_a_window_is_odd(net):
    with pytest.raises(ValueError, match="window must be an odd number"):
        bench(net, window=4)


def test_contenders_run_in_turn():
    calls = []
    watch().race("race", [Contender(name, lambda name=name: calls.append(name)) for name in "ab"])
    assert "".join(calls) == "ab" + "aabb" * LEAST_REPEATS


def test_long_contenders_run_once_in_their_turn(monkeypatch):
    monkeypatch.setattr("lmaseg.bench.timing.LONG", 0.05)
    calls = []
    slow = Contender("slow", lambda: (time.sleep(0.06), calls.append("s")))
    fast = Contender("fast", lambda: calls.append("f"))
    watch().race("race", [slow, fast])
    assert "".join(calls) == "sf" + "sff" * LEAST_REPEATS


def test_time_is_per_frame_and_lasts_as_asked():
    began = time.perf_counter()
    contenders = [Contender("one", lambda: time.sleep(0.01)), Contender("ten", lambda: time.sleep(0.01), frames=10)]
    times = watch(0.4).race("race", contenders)
    assert 0.4 < time.perf_counter() - began < 5
    assert times["one"].min() >= 0.01
    assert 0.001 <= times["ten"].min() < 0.01


def test_ratios_are_taken_within_repeats():
    slow, fast = np.array([2.0, 40.0, 6.0]), np.array([1.0, 20.0, 2.0])
    assert spread(slow / fast).median == 2
    assert spread(slow / fast).high > 2.5
    assert spread(slow).median == 6


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a stretch of time")
def test_peak_memory_sees_what_a_call_holds_and_no_more():
    def hold(count):
        return lambda: np.ones(count, np.uint8).max()

    large = peak_memory(hold(300_000_000), torch.device("cpu"))
    small = peak_memory(hold(100_000_000), torch.device("cpu"))
    assert 150e6 < large - small < 250e6


def test_the_plain_network_is_the_segmenter(workload):
    net = adapted_network(workload.net, window=5)
    workload = replace(workload, net=net)
    written, fast = PlainNetwork(net, SIZE, 2), workload.segmenter()
    for frame in workload.frames:  # more than the memory holds
        assert (written(frame) == fast(frame)).mean() > 0.999


def test_a_step_labels_as_many_batches_as_it_says(workload, monkeypatch):
    segmenter = workload.segmenter(batch=2)
    step = workload.step(segmenter, batches=5)
    labelled = []
    submit = segmenter.submit

    def noted(frames, seconds):
        labelled.append(seconds)
        return submit(frames, seconds=seconds)

    monkeypatch.setattr(segmenter, "submit", noted)
    step()
    assert labelled == [[0, 0], [1, 1], [2, 2], [3, 3], [0, 0]]


def test_another_window_leaves_the_network_alone(net):
    before = net.spec.window
    other = adapted_network(net, window=21)
    assert (other.spec.window, net.spec.window) == (21, before)
    assert next(other.parameters()) is next(net.parameters())


def test_the_first_frames_of_a_video(make_video):
    path = make_video(pts=range(0, 120, 2), time_base=Fraction(1, 50))
    assert [number_of(image) for image in first_frames(path, 1, 1)] == list(range(FRAMES))


def test_drawn_frames_move():
    first, second, *_ = first_frames(None, 48, 80)
    assert first.shape == (48, 80, 3)
    assert (first[:, SPEED:] == second[:, :-SPEED]).all()
    assert (first != second).mean() > 0.5
    assert next(drawn_frames(48, 80)).tolist() == first.tolist()
