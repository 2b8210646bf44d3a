"""What only a CUDA device can show: `pytest -m gpu`.

`LMASEG_TEST_DEVICE=cpu pytest -m gpu` rehearses as much of it as a CPU can, so that the first run on a GPU does not end
at a mistake of these tests.
"""

import os
import threading
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_attention_cuda import assert_as_reference, case_of, on_gpu
from test_cli import run_cli

import lmaseg
from lmaseg.models import FeatureMemory
from lmaseg.train import FrameStore, Mixture, TrainOptions, fresh_network, train
from lmaseg.train.learner import Learner
from lmaseg.video import VideoReader

DEVICE = os.environ.get("LMASEG_TEST_DEVICE", "cuda")
ON_GPU = DEVICE == "cuda"
STEPS, FALL = (60, 0.95) if ON_GPU else (24, 0.99)
EASY = {"colour": 0.0, "scale": (1.0, 1.0), "rotation": 0.0, "dropout": 0.0, "ohem": 0.0, "lovasz": 0.0}
VIEWS = {"batch": 8, "crop": (64, 96)} if ON_GPU else {"batch": 2, "crop": (32, 48)}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="there is no CUDA device"),
]
needs_gpu = pytest.mark.skipif(not ON_GPU, reason="a CPU cannot stand in here")

SAMPLE = Path(__file__).parents[1] / "assets" / "street.mp4"
STAGES = ["base", "memory", "joint"]


@pytest.fixture(scope="module")
def frames():
    """The first 24 frames of the sample, (360, 640, 3) uint8; in a rehearsal smaller ones."""
    skip = 1 if ON_GPU else 4
    with VideoReader(SAMPLE) as reader:
        return [np.ascontiguousarray(frame.image[::skip, ::skip]) for frame in islice(reader, 24)]


@pytest.fixture(scope="module")
def net():
    return lmaseg.load(device=DEVICE)


@contextmanager
def exact():
    """Convolutions of float32 as exact as on a CPU: not rounded to TensorFloat-32."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


@contextmanager
def no_waiting():
    """What makes the program wait for the GPU raises."""
    if not ON_GPU:
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def replays(monkeypatch):
    """A list that grows with every replay of a CUDA graph."""
    seen, replay = [], torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: (seen.append(graph), replay(graph))[1])
    return seen


def replayed(replays):
    """How many graphs were replayed; a CPU has none."""
    return len(set(map(id, replays))) if ON_GPU else 2


def segmenter_of(net, size=None, **options):
    """At the weights' own size; in a rehearsal at a small one."""
    return lmaseg.Segmenter(net, size if ON_GPU else 64, **options)


def in_batches(segmenter, frames, size):
    """Labels of all frames, so many at a time."""
    parts = [segmenter.submit(frames[i : i + size]).result() for i in range(0, len(frames), size)]
    return np.concatenate(parts)


def agreement(one, other):
    return float((np.asarray(one) == np.asarray(other)).mean())


AWKWARD = [
    (5, {"batch": 2, "frames": 2, "channels": 5, "depth": 20, "height": 9, "width": 10}),
    (21, {"frames": 1, "channels": 16, "depth": 64, "height": 3, "width": 4}),
    (3, {"frames": 6, "channels": 1, "depth": 1, "height": 1, "width": 19}),
    (1, {"frames": 2, "channels": 33, "depth": 17, "height": 17, "width": 1}),
    (7, {"batch": 3, "frames": 4, "channels": 16, "depth": 64, "height": 45, "width": 61}),
    (21, {"frames": 4, "channels": 16, "depth": 64, "height": 33, "width": 65}),
    (5, {"frames": 2, "channels": 128, "depth": 300, "height": 9, "width": 17}),  # values in blocks
]


@needs_gpu
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 1.5e-2)], ids=str
)
@pytest.mark.parametrize(("window", "sizes"), AWKWARD)
def test_attention_and_its_gradients_at_awkward_sizes(window, sizes, dtype, tolerance):
    assert_as_reference(on_gpu, case_of(dtype, **sizes), window, tolerance)


def test_labels_are_those_of_the_cpu(net, frames):
    on_cpu = segmenter_of(lmaseg.load(device="cpu"), dtype=torch.float32)
    expected = [on_cpu(frame) for frame in frames[:8]]
    with exact():
        segmenter = segmenter_of(net, dtype=torch.float32)
        found = [segmenter(frame) for frame in frames[:8]]
    assert agreement(found, expected) >= 0.999
    as_run = segmenter_of(net)
    assert as_run.dtype == torch.bfloat16 or not ON_GPU
    assert agreement([as_run(frame) for frame in frames[:8]], expected) >= 0.98


def test_batches_agree(net, frames):
    with exact():
        one_by_one = in_batches(segmenter_of(net, dtype=torch.float32), frames, 1)
        for batch in (4, 8):
            segmenter = segmenter_of(net, dtype=torch.float32, batch=batch)
            assert agreement(in_batches(segmenter, frames, batch), one_by_one) >= 0.999


class TestGraph:
    """A segmenter that is given less than full batches never records a graph: the other side of every comparison."""

    def test_labels_are_the_same(self, net, frames, replays):
        without = in_batches(segmenter_of(net, batch=3), frames, 2)
        assert replays == []
        recorded = in_batches(segmenter_of(net, batch=2), frames, 2)
        assert len(replays) >= 8 or not ON_GPU
        assert agreement(recorded, without) >= 0.9999

    def test_a_size_that_comes_back_finds_its_memory_empty(self, net, frames, replays):
        smaller = [np.ascontiguousarray(frame[::2, ::2]) for frame in frames]
        order = [*frames[:10], *smaller[:10], *frames[10:20], *smaller[10:20]]
        recorded, without = segmenter_of(net, 192), segmenter_of(net, 192, batch=2)
        for i, frame in enumerate(order):
            assert agreement(recorded(frame), without(frame)) >= 0.9999, i
        assert replayed(replays) >= 2

    def test_a_reset_empties_the_memory(self, net, frames, replays):
        recorded, without = segmenter_of(net), segmenter_of(net, batch=2)
        for i, frame in enumerate(frames):
            if i in (9, 16):
                recorded.reset()
                without.reset()
            resets = [i == 12]
            ours, other = recorded.submit([frame], resets).result(), without.submit([frame], resets).result()
            assert agreement(ours, other) >= 0.9999, i
        assert replayed(replays)

    def test_short_batches_between_full_ones(self, net, frames, replays):
        recorded, without = segmenter_of(net, batch=4), segmenter_of(net, batch=5)
        at = 0
        for count in (4, 4, 4, 1, 4, 3, 4):
            batch = frames[at : at + count]
            assert agreement(recorded.submit(batch).result(), without.submit(batch).result()) >= 0.9999, at
            at += count
        assert replayed(replays)

    def test_two_networks_in_turn(self, net, frames, replays):
        other = lmaseg.load(device=DEVICE)
        with torch.no_grad():
            for parameter in other.decoder.parameters():
                parameter.mul_(1.05)
        pairs = [(segmenter_of(each), segmenter_of(each, batch=2)) for each in (net, other)]
        for i, frame in enumerate(frames[:12]):
            for recorded, without in pairs:
                assert agreement(recorded(frame), without(frame)) >= 0.9999, i
        assert replayed(replays) == 2

    def test_averages_that_begin_and_take_over(self, net, frames, replays):
        recorded, without = segmenter_of(net, batch=2), segmenter_of(net, batch=3)
        for i in range(0, len(frames), 2):
            seconds = [i // 4, (i + 1) // 4]
            pair = frames[i : i + 2]
            ours, other = (each.submit(pair, seconds=seconds).result() for each in (recorded, without))
            assert agreement(ours, other) >= 0.9999, i
        assert replayed(replays) >= 2  # where one average runs, and where two do

    def test_results_outlive_the_next_replay(self, net, frames, replays):
        segmenter = segmenter_of(net)
        expected = [segmenter(frame) for frame in frames]
        segmenter.reset()
        pending = [segmenter.submit([frame]) for frame in frames]
        assert replayed(replays)
        assert agreement([each.result()[0] for each in pending], expected) == 1


@needs_gpu
def test_memory_stays_constant(net, frames):
    segmenter = segmenter_of(net)
    held = []
    for _ in range(3):
        in_batches(segmenter, frames, 1)
        held.append(torch.cuda.memory_allocated())
    assert held[1] == held[2]


def test_submitting_does_not_wait(net, frames):
    segmenter = segmenter_of(net, batch=2)
    in_batches(segmenter, frames, 2)
    with no_waiting():
        pending = [segmenter.submit(frames[:2]), segmenter.submit(frames[2:3], [True])]
    assert [len(each.result()) for each in pending] == [2, 1]


def test_a_video_runs_as_on_the_cpu(tmp_path):
    maps = {}
    for name, device in (("found", DEVICE), ("expected", "cpu")):
        arguments = ["run", str(SAMPLE), "-t", "0.5", "--device", device, "--size", "192" if ON_GPU else "48"]
        assert run_cli(*arguments, "-o", str(tmp_path / f"{name}.mp4"), "--labels", str(tmp_path / name)) == 0
        maps[name] = [np.asarray(Image.open(path)) for path in sorted((tmp_path / name).glob("*.png"))]
    assert len(maps["found"]) == len(maps["expected"]) > 5
    assert agreement(maps["found"], maps["expected"]) >= 0.98


@pytest.fixture
def mixture():
    """Frames of coloured blocks, whose class is their brightness, each with 3 neighbours before it; on the GPU."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(11, (16, 6, 8), generator=generator)
    labels = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2).to(torch.uint8)  # (16, 96, 128)
    images = (labels * 22)[:, None].expand(-1, 3, -1, -1).contiguous()
    store = FrameStore(images.to(DEVICE), labels.to(DEVICE), torch.arange(16), torch.arange(16).clamp(max=3))
    return Mixture({"blocks": store})


def settings(**changed):
    fixed = {"steps": STEPS, **VIEWS, "past": 3, "report_every": STEPS // 4}
    return TrainOptions(**fixed | {"ohem": 0.7, "lovasz": 1.0, "warm_up": 5} | changed)


def blocks_network():
    torch.manual_seed(0)
    return fresh_network(lmaseg.CAMVID, size=(96, 128)).to(DEVICE)


@pytest.mark.parametrize("stage", STAGES)
def test_a_training_step_waits_for_nothing(stage, mixture):
    learner = Learner(blocks_network(), mixture, settings(stage=stage))
    learner.prepare(None)
    for _ in range(4):  # convolutions are tried out, kernels compiled
        learner.take_step()
    with no_waiting():
        for _ in range(4):
            learner.take_step()
    assert np.isfinite(learner.mean_loss())


@pytest.mark.parametrize("stage", STAGES)
def test_training_lowers_the_loss(stage, mixture, tmp_path):
    easy = settings(stage=stage, learning_rate=5e-3, **EASY)
    losses = [each.loss for each in train(blocks_network(), mixture, easy, folder=tmp_path)]
    assert losses[-2] < FALL * losses[0]  # the last one only says that the run has finished


def test_training_resumes(mixture, tmp_path):
    stop = threading.Event()
    for progress in train(blocks_network(), mixture, settings(), folder=tmp_path / "cut", stop=stop):
        if progress.step >= STEPS // 2:
            stop.set()
    assert progress.stopped
    for resumed in train(blocks_network(), mixture, settings(), folder=tmp_path / "cut", resume=True):
        assert resumed.step > STEPS // 2
    assert resumed.finished
    whole = list(train(blocks_network(), mixture, settings(), folder=tmp_path / "whole"))
    rows = {name: (tmp_path / name / "history.csv").read_text().splitlines() for name in ("cut", "whole")}
    assert len(rows["cut"]) == len(rows["whole"])
    last = {name: float(lines[-1].split(",")[1]) for name, lines in rows.items()}
    assert last["cut"] == pytest.approx(last["whole"], rel=0.2)
    assert whole[-1].finished


@needs_gpu
def test_compiled_training_takes_the_same_steps(mixture, tmp_path):
    losses = {}
    for compiled in (False, True):
        changed = settings(steps=10, compile=compiled, dropout=0.0)
        losses[compiled] = next(train(blocks_network(), mixture, changed, folder=tmp_path / str(compiled))).loss
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


@needs_gpu
def test_a_memory_can_be_moved():
    memory = FeatureMemory(2)
    memory.push(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4))
    memory.push(torch.ones(1, 2, 3, 4, device="cuda"), torch.ones(1, 2, 3, 4, device="cuda"))
    keys, _ = memory.read()
    assert keys.device.type == "cuda"
    assert keys.shape[1] == 1
