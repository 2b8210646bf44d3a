"""The C kernels against plain torch, at every level of instructions this machine has, and life without them."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lmaseg import kernels
from lmaseg.attention import cpu, local_attention, reference
from lmaseg.errors import BackendError
from lmaseg.kernels import blend
from lmaseg.kernels.bytes import interpolate, to_bytes
from lmaseg.kernels.upsample import upsample_argmax
from lmaseg.models.fusion import BlendFusion

LEVELS = kernels.levels() or ("",)
DTYPES = (torch.float32, torch.bfloat16)
# Of the largest value: rounding the result, and in bfloat16 the weights too, which the reference rounds as well.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 1e-2}

built = pytest.mark.skipif(not kernels.available(), reason=str(kernels.why_missing()))


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def without_library(monkeypatch, tmp_path):
    """A package folder in which no library was built."""
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    kernels._load.cache_clear()
    yield tmp_path
    kernels._load.cache_clear()


def contiguous(x):
    return x


def channels_last(x):
    return x.movedim(-3, -1).contiguous().movedim(-1, -3)


def transposed(x):
    return x.transpose(-1, -2).contiguous().transpose(-1, -2)


def cut_out(x):
    """A view into a larger map, NaN all around: reading beyond the edge would show."""
    larger = torch.full([side + 3 for side in x.shape], torch.nan, dtype=x.dtype)
    view = larger[tuple(slice(1, 1 + side) for side in x.shape)]
    return view.copy_(x)


def strided(x):
    larger = torch.full([2 * side for side in x.shape], torch.nan, dtype=x.dtype)
    view = larger[tuple(slice(0, None, 2) for _ in x.shape)]
    return view.copy_(x)


LAYOUTS = (contiguous, channels_last, transposed, cut_out, strided)


def attention_case(batch=1, frames=2, channels=5, depth=7, height=9, width=11, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, channels, height, width, generator=generator)
    keys = torch.randn(batch, frames, channels, height, width, generator=generator)
    values = torch.randn(batch, frames, depth, height, width, generator=generator)
    query, keys = (x / channels**0.25 for x in (query, keys))
    return query.to(dtype), keys.to(dtype), values.to(dtype)


def assert_attends(query, keys, values, window, level):
    found = cpu.attend(query, keys, values, window, level)
    torch.set_num_threads(1)  # the reference's many small operations wait for each other on a busy machine
    expected = reference.local_attention(query.double(), keys.double(), values.double(), window)
    assert found.dtype == query.dtype
    assert found.shape == expected.shape
    error = (found.double() - expected).abs().max()
    assert error <= TOLERANCE[query.dtype] * values.abs().max()


@built
@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 2),
    frames=st.integers(1, 6),
    channels=st.integers(1, 35),
    depth=st.integers(1, 140),
    height=st.integers(1, 20),
    width=st.integers(1, 40),
    window=st.sampled_from([1, 3, 5, 9, 15, 31]),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(LAYOUTS),
    level=st.sampled_from(LEVELS),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_attends_like_the_reference(
    batch, frames, channels, depth, height, width, window, dtype, layout, level, threads, seed
):
    if window > 9:  # the reference takes its time
        height, width, frames = min(height, 7), min(width, 24), min(frames, 3)
    case = attention_case(batch, frames, channels, depth, height, width, dtype, seed)
    torch.set_num_threads(threads)
    assert_attends(*(layout(x) for x in case), window, level)


@built
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [16, 32, 48, 64, 96, 112, 128])
def test_reads_whole_vectors_of_values_where_they_lie(depth, dtype, level):
    case = attention_case(frames=3, channels=16, depth=depth, height=6, width=10, dtype=dtype)
    assert_attends(*(channels_last(x) for x in case), 5, level)


@built
def test_reads_a_memory_that_is_not_full():
    query, keys, values = attention_case(frames=4, depth=32)
    ring = [torch.full_like(x, torch.nan) for x in (keys, values)]
    for slots, x in zip(ring, (keys, values), strict=True):
        slots[:, :3] = x[:, :3]
    assert_attends(query, ring[0][:, :3], ring[1][:, :3], 5, "")


@built
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**10, 2.0**50])
def test_logits_of_any_size_leave_the_softmax_stable(scale, dtype, level):
    query, keys, values = attention_case(channels=2, dtype=dtype)
    query, keys = query.mul(2).round() * scale, keys.mul(2).round() * scale  # dot products without rounding
    assert_attends(query, keys, values, 5, level)


def poison(case, which, number):
    case = tuple(x.clone() for x in case)
    case[which][..., 0, 4, 6] = number
    return case


@built
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["query", "keys", "values"])
def test_what_is_not_finite_comes_out_where_the_reference_has_it(which, number, dtype, level):
    case = poison(attention_case(dtype=dtype), which, number)
    expected = reference.local_attention(*(x.float() for x in case), 5)
    found = cpu.attend(*case, 5, level).float()
    tolerance = TOLERANCE[dtype] * 4
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance, equal_nan=True)
    assert found.isnan().any() or found.isinf().any() or which == 1


@built
@pytest.mark.parametrize("level", LEVELS)
def test_equal_values_come_out_unchanged(level):
    query, keys, _ = attention_case(height=24, width=24, dtype=torch.bfloat16)
    values = torch.full((1, 2, 32, 24, 24), 0.7109375, dtype=torch.bfloat16)
    inner = cpu.attend(query, keys, values, 5, level)[..., 2:-2, 2:-2]
    assert (inner == 0.7109375).all()


@built
def test_threads_change_nothing():
    case = attention_case(frames=3, channels=16, depth=40, height=40, width=50)
    logits = torch.randn(1, 19, 40, 50)
    torch.set_num_threads(1)
    attended, labels = cpu.attend(*case, 7), upsample_argmax(logits, 300, 400)
    for threads in (2, 3, 5):
        torch.set_num_threads(threads)
        assert torch.equal(cpu.attend(*case, 7), attended)
        assert torch.equal(upsample_argmax(logits, 300, 400), labels)


@built
def test_several_python_threads_may_call_at_once():
    cases = [attention_case(channels=16, depth=40, height=20, width=30, seed=seed) for seed in range(4)]
    expected = [cpu.attend(*case, 7) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = pool.map(lambda case: cpu.attend(*case, 7), cases)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@built
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v: (q, k, v, 4), "odd number"),
        (lambda q, k, v: (q, k, v, -1), "odd number"),
        (lambda q, k, v: (q, k[:, :0], v[:, :0], 3), "memory is empty"),
        (lambda q, k, v: (q, k[:, :, :1], v, 3), "do not fit"),
        (lambda q, k, v: (q, k, v[:, :1], 3), "do not fit"),
        (lambda q, k, v: (q, k, v[..., :-1], 3), "do not fit"),
        (lambda q, k, v: (q[0], k, v, 3), r"\(B, C, H, W\)"),
        (lambda q, k, v: (q.double(), k.double(), v.double(), 3), "float32 or bfloat16"),
        (lambda q, k, v: (q, k.bfloat16(), v, 3), "of one type"),
        (lambda q, k, v: (q, k, v, 3, "abacus"), "cannot run kernels of level 'abacus'"),
    ],
)
def test_what_does_not_fit_is_never_read(change, message):
    with pytest.raises(ValueError, match=message):
        cpu.attend(*change(*attention_case()))


@built
def test_maps_without_cells_have_nothing_to_attend():
    query, keys, values = attention_case()
    assert cpu.attend(query[..., :0], keys[..., :0], values[..., :0], 3).shape == (1, 7, 9, 0)
    assert cpu.attend(query, keys, values[:, :, :0], 3).shape == (1, 0, 9, 11)
    assert cpu.attend(query[:0], keys[:0], values[:0], 3).shape == (0, 7, 9, 11)


@built
def test_gradients_and_double_precision_are_for_others():
    query, keys, values = attention_case()
    assert cpu.fits(query, keys, values)
    assert not cpu.fits(query.double(), keys.double(), values.double())
    assert not cpu.fits(query, keys, values.bfloat16())
    query.requires_grad_()
    assert not cpu.fits(query, keys, values)
    with torch.no_grad():
        assert cpu.fits(query, keys, values)


def decided_by_torch(logits, height, width, align_corners):
    return F.interpolate(logits.float(), (height, width), mode="bilinear", align_corners=align_corners)


def assert_labels(logits, height, width, align_corners, level):
    found = upsample_argmax(logits, height, width, align_corners, level)
    assert found.dtype == torch.uint8
    assert found.shape == (logits.shape[0], height, width)
    exact = decided_by_torch(logits, height, width, align_corners)
    chosen = exact.gather(1, found[:, None].long())
    assert (exact.amax(1) - chosen[:, 0]).max() < 1e-5  # another class only where rounding decides
    return (found == exact.argmax(1)).float().mean().item()


@built
@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 2),
    classes=st.integers(1, 30),
    source=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    target=st.tuples(st.integers(1, 200), st.integers(1, 300)),
    align_corners=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(LAYOUTS),
    level=st.sampled_from(LEVELS),
    seed=st.integers(0, 99),
)
def test_labels_like_torch(batch, classes, source, target, align_corners, dtype, layout, level, seed):
    logits = torch.randn(batch, classes, *source, generator=torch.Generator().manual_seed(seed)).to(dtype)
    assert_labels(layout(logits), *target, align_corners, level)


@built
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("align_corners", [False, True])
def test_practically_every_pixel_is_torchs(align_corners, level):
    coarse = torch.randn(1, 20, 16, 32, generator=torch.Generator().manual_seed(0))
    logits = channels_last(F.interpolate(coarse, (128, 256), mode="bilinear"))
    assert assert_labels(logits, 256, 512, align_corners, level) >= 0.9999


@built
@pytest.mark.parametrize("level", LEVELS)
def test_of_equal_logits_the_lowest_class_wins(level):
    logits = torch.randn(1, 1, 9, 13).repeat(1, 256, 1, 1)
    logits[:, :3] -= 1
    assert (upsample_argmax(logits, 40, 31, level=level) == 3).all()


@built
@pytest.mark.parametrize(
    ("logits", "size", "message"),
    [
        (torch.zeros(1, 257, 2, 2), (4, 4), "1..256 classes"),
        (torch.zeros(1, 0, 2, 2), (4, 4), "1..256 classes"),
        (torch.zeros(1, 3, 0, 2), (4, 4), "h and w above 0"),
        (torch.zeros(3, 2, 2), (4, 4), r"\(3, 2, 2\)"),
        (torch.zeros(1, 3, 2, 2), (0, 4), "0 x 4"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.float64), (4, 4), "float64"),
    ],
)
def test_logits_that_do_not_fit_are_refused(logits, size, message):
    with pytest.raises(ValueError, match=message):
        upsample_argmax(logits, *size)


@built
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 5, 16, 37, 48])
def test_blends_like_the_fusion_in_plain_torch(channels, dtype, layout, level, monkeypatch):
    torch.manual_seed(0)
    fusion = BlendFusion(channels, channels)
    torch.nn.init.normal_(fusion.gate.weight, std=0.3)
    features = torch.randn(2, channels, 9, 40)
    attended = features + 0.3 * torch.randn(2, channels, 9, 40) * torch.rand(2, 1, 9, 40)
    features[:, :, 3, 4] = 0
    features, attended = (layout(x.to(dtype)) for x in (features, attended))
    with torch.no_grad():
        index = kernels.level_index(level)
        monkeypatch.setattr(kernels, "level_index", lambda _: index)
        assert blend.fits(features, attended)
        found = fusion(features, attended)
        monkeypatch.setattr(blend.kernels, "available", lambda: False)
        expected = fusion(features.float(), attended.float())
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=TOLERANCE[dtype] * expected.abs().max().item())


@built
def test_blending_is_the_same_in_batches_and_with_any_threads_and_leaves_gradients_and_tracing_to_torch():
    torch.manual_seed(0)
    fusion = BlendFusion(8, 8)
    features, attended = torch.randn(3, 8, 40, 50), torch.randn(3, 8, 40, 50)
    with torch.no_grad():
        torch.set_num_threads(1)
        expected = [fusion(features[i : i + 1], attended[i : i + 1]) for i in range(3)]
        torch.set_num_threads(4)
        assert torch.equal(fusion(features, attended), torch.cat(expected))
        program = torch.export.export(fusion, (features, attended)).module()
        torch.testing.assert_close(program(features, attended), torch.cat(expected), rtol=1e-5, atol=1e-5)
    assert not blend.fits(features, attended)
    fusion(features, attended).sum().backward()
    assert fusion.log_closing.grad.abs() > 0


@built
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_are_the_nearest_ones_as_plain_torch_finds_them(dtype, layout, level, monkeypatch):
    x = layout((torch.randn(2, 5, 70, 60, generator=torch.Generator().manual_seed(0)) * 5).to(dtype))
    found = to_bytes(x, 0.031, 117, level)
    assert found.is_contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(kernels, "available", lambda: False)
    assert torch.equal(found, to_bytes(x, 0.031, 117))
    assert {0, 255} <= set(found.unique().tolist())


@built
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(18, 22), (7, 30), (1, 1), (9, 11), (40, 5)])
def test_bytes_are_interpolated_to_the_nearest_ones(size, align_corners, layout, level):
    x = torch.randint(0, 256, (2, 5, 9, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    large = torch.zeros([2 * side for side in x.shape], dtype=torch.uint8)
    views = {cut_out: large[1:3, 2:7, 3:12, 4:15], strided: large[::2, ::2, ::2, ::2]}  # which bytes have no NaN for
    x = views[layout].copy_(x) if layout in views else layout(x)
    found = interpolate(x, size, align_corners=align_corners, level=level)
    exact = F.interpolate(x.float(), size, mode="bilinear", align_corners=align_corners)
    assert found.dtype == torch.uint8
    assert (found.float() - exact).abs().max() < 1.25  # shares are in parts of 256, the result is rounded


def test_numbers_that_are_no_bytes_are_interpolated_by_torch():
    x = torch.rand(1, 3, 6, 8)
    assert torch.equal(interpolate(x, (12, 16)), F.interpolate(x, (12, 16), mode="bilinear", align_corners=False))


def test_bytes_without_a_library_are_torchs(monkeypatch):
    monkeypatch.setattr(kernels, "available", lambda: False)
    x = torch.randint(0, 256, (1, 3, 6, 8), dtype=torch.uint8)
    expected = F.interpolate(x, (12, 16), mode="bilinear", align_corners=False)
    assert torch.equal(interpolate(x, (12, 16)), expected)


@built
def test_operators_keep_their_promises_to_torch():
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(cpu.attend, (*attention_case(), 3), test_utils=tests)
    torch.library.opcheck(upsample_argmax, (torch.randn(2, 3, 4, 5), 8, 9), test_utils=tests)


class Labeller(torch.nn.Module):
    """Both operators with something of torch's around them."""

    def forward(self, query, keys, values):
        attended = cpu.attend(query * 2, keys, values, 3)
        return upsample_argmax(attended + 1, 30, 40)


@built
def test_compile_and_export_pass_through():
    case = attention_case()
    expected = Labeller()(*case)
    compiled = torch.compile(Labeller(), backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(*case), expected)
    exported = torch.export.export(Labeller(), case)
    assert torch.equal(exported.module()(*case), expected)
    called = {str(node.target) for node in exported.graph.nodes}
    assert {"lmaseg.local_attention.default", "lmaseg.upsample_argmax.default"} <= called


@pytest.mark.usefixtures("without_library")
def test_without_a_library_the_reference_attends():
    assert not kernels.available()
    assert kernels.levels() == ()
    assert "install a C compiler" in kernels.why_missing()
    query, keys, values = attention_case()
    assert not cpu.fits(query, keys, values)
    torch.testing.assert_close(
        local_attention(query, keys, values, 3), reference.local_attention(query, keys, values, 3)
    )
    with pytest.raises(BackendError, match="reinstall lmaseg"):
        cpu.attend(query, keys, values, 3)


def test_a_library_that_does_not_load_is_named(without_library):
    (without_library / "_native.abi3.so").write_bytes(b"not a library")
    assert "cannot be loaded" in kernels.why_missing()


@built
def test_a_library_built_from_other_sources_is_refused(monkeypatch):
    kernels._load.cache_clear()
    monkeypatch.setattr(kernels, "ABI_VERSION", -1)
    assert "built from other sources" in kernels.why_missing()
    kernels._load.cache_clear()


def test_building_without_a_compiler_is_no_error(tmp_path):
    pytest.importorskip("setuptools", minversion="77")  # the first to build what pyproject.toml asks for
    arguments = ["build_ext", f"--build-lib={tmp_path}/lib", f"--build-temp={tmp_path}/temp"]
    build = subprocess.run(
        [sys.executable, "-c", "from setuptools import setup; setup()", *arguments],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "CC": str(tmp_path / "no-compiler")},
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stderr
    assert not list(tmp_path.rglob("_native*"))
