"""Benchmarks: contenders timed in turn, counted floors, rivals that compute the same, and a report that adds up."""

import sys
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from media import number_of, numbered

import lmaseg
from lmaseg import attention
from lmaseg.attention import local_attention
from lmaseg.bench import bench, flex, footage, growth, rivals
from lmaseg.bench.floor import attention_floor, attention_flops
from lmaseg.bench.report import Rates
from lmaseg.bench.timing import LEAST_REPEATS, Contender, Stopwatch, Times, peak_memory
from lmaseg.bench.workload import Straightforward, Workload, with_window
from lmaseg.models import ModelSpec

STAGES = ["preprocess", "encode", "project", "remember", "attend", "fuse", "decode", "upsample + argmax"]
AROUND = ["draw", "decode video", "encode video"]
SIZE = (64, 96)


def no_compiler(*arguments, **options):
    def call(*operands):
        raise RuntimeError("no C++ compiler\nand much more about it")

    return call


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def net():
    return lmaseg.load()


@pytest.fixture
def workload(net):
    frames = tuple(numbered(i, SIZE[1], SIZE[0]) for i in range(5))
    return Workload(net, frames, SIZE, memory=2, dtype=torch.float32, batch=1)


@pytest.fixture(scope="module")
def report(net):
    """Of a drawn view, but with a flex_attention that cannot be compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rivals, "tiled_flex", no_compiler)
        patch.setattr(footage, "FRAMES", 6)
        for name, values in (("MEMORIES", (0, 3)), ("WINDOWS", (7,)), ("SCALES", (0.5, 1.5))):
            patch.setattr(growth, name, values)
        return bench(net, size=SIZE, memory=2, window=5, batch=2, seconds=0)


def test_report_says_what_was_timed(report):
    settings = report.settings
    assert (settings.source_size, settings.working_size) == (SIZE, SIZE)
    assert (settings.memory, settings.window, settings.batch, settings.backbone) == (2, 5, 2, "erfnet")
    assert report.machine.torch == torch.__version__
    assert report.machine.threads == 1
    assert bool(report.machine.kernels) == (report.machine.kernels_missing is None)


def test_network_in_three_ways(report):
    network = report.network
    for spread in (network.straightforward.seconds, network.single_frame.seconds, network.with_memory.seconds):
        assert 0 < spread.low <= spread.median <= spread.high
        assert spread.repeats == LEAST_REPEATS
    assert network.speedup.median > 0.5
    assert network.memory_cost.median > 0.5
    assert network.agreement > 0.9
    assert network.straightforward.peak_bytes > 50e6


def test_every_stage_is_there_and_they_add_up(report):
    stages = report.stages.stages
    assert [stage.name for stage in stages] == STAGES + AROUND
    assert [stage.name for stage in stages if stage.in_network] == STAGES
    assert {stage.name for stage in stages if stage.flops} == {"encode", "project", "attend", "fuse", "decode"}
    assert all(stage.matrix_share > 0 for stage in stages if stage.flops)
    total = sum(stage.seconds.median for stage in stages if stage.in_network)
    assert 0.3 < total / report.stages.network.median < 3
    assert report.stages.rates.flops > 1e9
    assert report.stages.rates.bytes > 1e8


def test_stages_count_the_arithmetic_of_the_network(report):
    flops = {stage.name: stage.flops for stage in report.stages.stages}
    cells = SIZE[0] * SIZE[1] // 64
    assert flops["project"] == 2 * 9 * 128 * (16 + 16 + 64) * cells  # query, key and value: the fusion is residual
    assert flops["attend"] == 2 * 2 * 5**2 * 80 * cells


def test_rivals_compute_the_same_and_the_floor_lies_below(report):
    comparison = report.attention
    assert {"reference", "tiled"} <= {rival.name for rival in comparison.rivals}
    for rival in (*comparison.rivals, *report.labelling.rivals):
        assert rival.error <= rivals.MOST_ERROR
        assert rival.times.median > 0
    assert comparison.floor.seconds < comparison.ours.median
    fastest = comparison.best("reference", "tiled")
    others = [rival.seconds.median for rival in comparison.rivals if rival.name in ("reference", "tiled")]
    assert fastest.seconds.median == min(others)
    assert {rival.name for rival in report.labelling.rivals} == {"torch", "torch channels last"}


def test_what_cannot_run_is_skipped_with_its_reason(report):
    lines = [line for line in report.attention.skipped if "flex_attention" in line]
    assert "flex_attention in float32 does not run here: no C++ compiler" in lines
    assert report.attention.best("flex_attention") is None


def test_growth_changes_one_setting_at_a_time(report):
    values = {s: [p.value for p in report.growth if p.setting == s] for s in ("memory", "window", "size")}
    assert values == {
        "memory": ["0", "3"],
        "window": ["7"],
        "size": ["32x48", "96x144"],
    }
    sizes = [point.seconds.low for point in report.growth if point.setting == "size"]
    assert sizes[0] < sizes[-1]


def test_both_rates_of_frames_are_told(report):
    run = report.end_to_end
    assert run.frames == 6
    assert run.model_frames_per_second == 1 / run.network.median
    assert run.frames_per_second == 1 / run.pipeline.median
    assert run.ratio.median > 0.5


def test_a_wrong_rival_is_not_timed(workload, monkeypatch):
    def zeros(query, keys, values, window):
        return torch.zeros_like(values[:, 0])

    monkeypatch.setitem(attention.BACKENDS, "zeros", zeros)
    monkeypatch.setattr(rivals, "tiled_flex", no_compiler)
    with torch.inference_mode():
        comparison = rivals.compare_attention(workload, Stopwatch(workload.device, 0))
    assert "zeros in float32 gives other results, 1 away" in comparison.skipped
    assert comparison.best("zeros") is None


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("frames", "window"), [(1, 1), (3, 5)])
def test_flex_attention_is_local_attention(frames, window):
    generator = torch.Generator().manual_seed(0)
    query, keys, values = (
        torch.randn(shape, generator=generator)
        for shape in ((2, 16, 9, 21), (2, frames, 16, 9, 21), (2, frames, 32, 9, 21))
    )
    attend = flex.tiled_flex(9, 21, frames, window, query.device, compiled=False)
    expected = local_attention(query, keys, values, window, backend="reference")
    torch.testing.assert_close(attend(query, keys, values), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torch.compile wants a C++ compiler that it finds")
def test_flex_attention_compiles(workload):
    with torch.inference_mode():
        comparison = rivals.compare_attention(workload, Stopwatch(workload.device, 0))
    assert comparison.best("flex_attention").times.median > 0


def test_contenders_run_in_turn():
    calls = []
    contenders = [Contender("a", lambda: calls.append("a")), Contender("b", lambda: calls.append("b"), waits=True)]
    times = Stopwatch(torch.device("cpu"), 0).race(contenders)
    assert "".join(calls) == "ab" + "aab" * LEAST_REPEATS
    assert times.of("a").repeats == LEAST_REPEATS


def test_long_contenders_run_once_in_their_turn(monkeypatch):
    monkeypatch.setattr("lmaseg.bench.timing.LONG", 0.05)
    calls = []
    slow = Contender("slow", lambda: (time.sleep(0.06), calls.append("s")))
    fast = Contender("fast", lambda: calls.append("f"))
    Stopwatch(torch.device("cpu"), 0).race([slow, fast])
    assert "".join(calls) == "sf" + "sff" * LEAST_REPEATS


def test_time_is_per_frame_and_lasts_as_asked():
    began = time.perf_counter()
    contenders = [Contender("one", lambda: time.sleep(0.01)), Contender("ten", lambda: time.sleep(0.01), frames=10)]
    times = Stopwatch(torch.device("cpu"), 0.4).race(contenders)
    assert 0.4 < time.perf_counter() - began < 2
    assert times.of("one").low >= 0.01
    assert 0.001 <= times.of("ten").low < 0.01


def test_ratios_are_taken_within_repeats():
    times = Times({"slow": [2.0, 40.0, 6.0], "fast": [1.0, 20.0, 2.0]})
    assert times.ratio("slow", "fast").median == 2
    assert times.ratio("slow", "fast").high > 2.5
    assert times.of("slow").median == 6


def test_peak_memory_sees_what_a_call_holds():
    peak, added = peak_memory(lambda: np.ones(200_000_000, np.uint8).sum(), torch.device("cpu"))
    assert peak >= 200e6
    if sys.platform == "linux":
        assert 150e6 < added < 400e6


def test_floor_of_attention():
    query, keys, values = torch.empty(1, 16, 64, 128), torch.empty(1, 4, 16, 64, 128), torch.empty(1, 4, 64, 64, 128)
    assert attention_flops(query, keys, values, 21) == 2_312_110_080
    moved = 4 * 64 * 128 * (16 + 4 * 80 + 64)
    assert attention_floor(query, keys, values, 21, Rates(1e9, 1e15)).seconds == pytest.approx(2.31211008)
    assert attention_floor(query, keys, values, 21, Rates(1e15, 1e6)).seconds == pytest.approx(moved / 1e6)
    batch = query.expand(3, -1, -1, -1), keys.expand(3, -1, -1, -1, -1), values.expand(3, -1, -1, -1, -1)
    floor = attention_floor(*batch, 21, Rates(1e9, 1e9))
    assert floor.flops == 2_312_110_080
    assert floor.bytes == 4 * 64 * 128 * (3 * 16 + 6 * 80 + 3 * 64) // 3


def test_straightforward_network_is_the_segmenter(workload):
    net = with_window(workload.net, 5)
    workload = replace(workload, net=net)
    written, fast = Straightforward(net, SIZE, 2), workload.segmenter()
    for frame in workload.frames:  # more than the memory holds
        assert (written(frame) == fast(frame)).mean() > 0.999


def test_another_window_leaves_the_network_alone(net):
    before = net.spec.window
    other = with_window(net, 21)
    assert (other.spec.window, net.spec.window) == (21, before)
    assert next(other.parameters()) is next(net.parameters())


def test_footage_is_the_beginning_of_a_video(make_video):
    path = make_video(pts=range(0, 120, 2), time_base=Fraction(1, 50))
    with footage.open_footage(path, (1, 1)) as pictures:
        assert [number_of(image) for image in pictures.frames] == list(range(48))
        with pictures.read() as reader:
            assert sum(1 for _ in reader) == 48
        kept = pictures.folder
    assert path.exists()
    assert not kept.exists()


def test_footage_of_a_short_video_is_all_of_it(make_video):
    with footage.open_footage(make_video(), (1, 1)) as pictures:
        assert len(pictures.frames) == 10
        assert pictures.end is None


def test_benchmarks_need_a_past_and_an_odd_window(net):
    with pytest.raises(ValueError, match="at least 1 past frame"):
        bench(net, memory=0)
    with pytest.raises(ValueError, match="window must be an odd number"):
        bench(net, window=4)


def test_benchmarks_need_a_memory(net):
    single = with_window(net, net.spec.window)
    single.spec = ModelSpec(net.spec.backbone, net.spec.classes)
    with pytest.raises(ValueError, match="give those of a network with a memory"):
        bench(single)
