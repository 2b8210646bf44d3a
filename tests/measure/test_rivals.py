"""The scripts that measure rivals and floors: floors by hand, rivals that compute the same, wrong ones left out."""

import flex
import pytest
import rivals
import torch
from floors import Rates, attention_floor, attention_flops, counted_flops
from media import numbered

import lmaseg
from lmaseg import attention
from lmaseg.attention import local_attention
from lmaseg.bench.full import network_parts
from lmaseg.bench.timing import Stopwatch
from lmaseg.bench.workload import Workload

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (64, 96)


def no_compiler(*arguments, **options):
    def call(*operands):
        raise RuntimeError("no C++ compiler\nand much more about it")

    return call


@pytest.fixture
def workload():
    frames = tuple(numbered(i, SIZE[1], SIZE[0]) for i in range(5))
    return Workload(lmaseg.load(), frames, SIZE, memory=2, dtype=torch.float32, batch=2)


@pytest.fixture
def watch():
    return Stopwatch(torch.device("cpu"), {rivals.GROUP: 0})


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


def test_the_arithmetic_of_a_part_is_counted(workload):
    one_by_one = torch.nn.Conv2d(128, 96, 3, padding=1)
    assert counted_flops(lambda: one_by_one(torch.ones(1, 128, 8, 12))) == 2 * 9 * 128 * 96 * 8 * 12
    with torch.inference_mode():
        assert counted_flops(network_parts(workload)["encode"]) > 1e8


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


def test_rivals_compute_the_same_and_others_are_skipped_with_their_reason(workload, watch, monkeypatch):
    monkeypatch.setitem(attention.BACKENDS, "zeros", lambda query, keys, values, window: torch.zeros_like(values[:, 0]))
    monkeypatch.setattr(rivals, "tiled_flex", no_compiler)
    with torch.inference_mode():
        found = rivals.compare_attention(workload, watch)
        labelling = rivals.compare_labelling(workload, watch)
    assert {"lmaseg in float32", "reference in float32", "tiled in float32"} <= found["ran"].keys()
    assert found["ran"]["lmaseg in float32"]["times_ours"] == 1
    assert 0 < found["floor"]["seconds"] < found["ran"]["lmaseg in float32"]["milliseconds"]
    assert "zeros in float32 gives other results, 1 away" in found["skipped"]
    assert "flex_attention in float32 does not run here: no C++ compiler" in found["skipped"]
    assert {"torch in float32", "torch channels last in float32"} <= labelling["ran"].keys()
    assert all(ran["error"] <= rivals.MOST_ERROR for ran in (*found["ran"].values(), *labelling["ran"].values()))


def test_parts_reach_a_share_of_the_matrix_product(workload, watch):
    with torch.inference_mode():
        found = rivals.compare_arithmetic(workload, watch)
    counted = found.keys() - {"fuse"}  # torch does not count what the C kernel does in its place
    assert {"encode", "project", "compensate motion", "attend", "decode", "rates"} == counted
    assert all(part["share_of_matrix_product"] > 0 for name, part in found.items() if name != "rates")
