"""Measurements too long for every test run: `pytest -m slow`."""

import json
import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import lmaseg
from lmaseg.datasets.camvid import camvid_clips
from lmaseg.evaluate import evaluate
from lmaseg.pipeline import segment_video
from lmaseg.render import View
from lmaseg.sinks import OverlayVideo, Sink
from lmaseg.video import VideoReader, VideoWriter

pytestmark = pytest.mark.slow

FRAMES = 10_000
SIZE = 120  # pixels of height: what these tests compare does not depend on it


def long_video(path, frames):
    """A bright square wandering over noise."""
    ground = np.random.default_rng(0).integers(60, 120, (64, 64, 3), dtype=np.uint8)
    with VideoWriter(path, width=64, height=64, time_base=Fraction(1, 30), rate=30) as writer:
        for i in range(frames):
            image = ground.copy()
            image[i % 40 : i % 40 + 20, i // 40 % 40 : i // 40 % 40 + 20] = 220
            writer.write(image, i)
    return path


def resident_megabytes(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.timeout(1500)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the resident set from /proc")
def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path, capsys):
    output, part = tmp_path / "out.mp4", tmp_path / "maps.part"
    outputs = ["-o", output, "--labels", tmp_path / "maps", "--report", tmp_path / "report.json"]
    source = long_video(tmp_path / "long.mp4", FRAMES)
    process = subprocess.Popen([sys.executable, "-m", "lmaseg", "run", source, *outputs, "--size", "32"])
    resident = {}
    while process.poll() is None:
        done = sum(1 for _ in part.iterdir()) if part.exists() else 0
        if done >= 100:
            resident[done] = resident_megabytes(process.pid)
        time.sleep(0.5)
    assert process.returncode == 0
    with VideoReader(output) as reader:
        assert sum(1 for _ in reader) == FRAMES
    first, last = resident[min(resident)], np.median([resident[n] for n in resident if n > 0.9 * FRAMES])
    with capsys.disabled():
        print(f"\nresident set: {first:.0f} MB after {min(resident)} frames, {last:.0f} MB at the end")
    # Allocators settle for a while; what grows with the video would show as 100 bytes or more a frame.
    assert last - first < 10


class Clock(Sink):
    """Notes the process's CPU seconds at every frame."""

    def __init__(self):
        self.seconds = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def write(self, seen):
        self.seconds.append(time.process_time())


@pytest.mark.timeout(1500)
def test_frames_late_in_a_video_cost_what_early_ones_do(tmp_path, capsys):
    clock, net = Clock(), lmaseg.load()
    with VideoReader(long_video(tmp_path / "long.mp4", 3000)) as reader:
        writer = VideoWriter(tmp_path / "out.mp4", width=64, height=64, time_base=reader.time_base, rate=reader.rate)
        sinks = [OverlayVideo(writer, View(net.labels)), clock]
        for _ in segment_video(reader, lmaseg.Segmenter(net, size=128), sinks):
            pass
    assert len(clock.seconds) == 3000
    each = np.diff(clock.seconds)
    # The lower tenths: what a frame costs where nothing else on the machine slowed it down.
    first, last = (np.percentile(part.reshape(-1, 10).sum(1), 10) for part in (each[:500], each[-500:]))
    with capsys.disabled():
        print(f"\nCPU time of 10 frames: {first * 1e3:.1f} ms among the first 500, {last * 1e3:.1f} ms among the last")
    # What grows with the video would soon exceed either; the noise of a shared machine comes near the stricter one.
    assert last / first < (1.03 if "LMASEG_MEASURE" in os.environ else 1.15)


@pytest.fixture(scope="module")
def val():
    folder = Path(__file__).parents[2] / "shared" / "camvid"
    if not folder.is_dir():
        pytest.skip(f"needs CamVid in {folder}, which is not part of the project")
    return camvid_clips(folder, "val"), folder


@pytest.mark.timeout(1200)
def test_camvid_val_counts_are_torchmetrics(val):
    metrics = pytest.importorskip("torchmetrics.classification")
    oracle = metrics.MulticlassConfusionMatrix(11, ignore_index=11)
    (clip,), _ = val
    truth = {frame.name: clip.label(i) for i, frame in enumerate(clip.frames)}
    maps = {}
    evaluation = evaluate(
        lmaseg.load(), [clip], size=SIZE, on_prediction=lambda name, predicted: maps.update({name: predicted.copy()})
    )
    assert len(maps) == 101
    for name, labels in maps.items():
        oracle.update(torch.from_numpy(labels).long(), torch.from_numpy(truth[name]).long())
    assert (evaluation.counts[:, :11] == oracle.compute().numpy()).all()
    assert evaluation.counts[:, 11].sum() == 0


@pytest.mark.timeout(1200)
def test_camvid_val_by_one_and_two_processes(val, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # one thread and two round differently, and torchrun sets it
    _, folder = val
    arguments = ["-m", "lmaseg", "eval", "--camvid", folder, "--memory", "0", "--size", str(SIZE), "--json"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    counts = []
    for name, launcher in (("one.json", []), ("two.json", torchrun)):
        subprocess.run([sys.executable, *launcher, *arguments, tmp_path / name], check=True)
        counts.append(json.loads((tmp_path / name).read_text())["counts"])
    assert counts[0] == counts[1]
