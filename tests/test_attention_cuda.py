"""The Triton kernels: in Triton's interpreter, compiled for absent GPUs, and with `-m gpu` on the one that is there.

The interpreter has to be asked for before Triton is imported, so it runs in a process of its own.
"""

import functools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import heavy, slow
from test_attention import random_case

from lmaseg.attention import cuda, local_attention
from lmaseg.errors import BackendError

HAS_GPU = torch.cuda.is_available()


needs_triton = heavy(cuda.HAS_TRITON, reason="triton is not installed")
needs_no_gpu = pytest.mark.skipif(HAS_GPU, reason="compiles in place of a GPU's driver")


@pytest.fixture(scope="module", params=[slow("interpreted"), pytest.param("compiled", marks=pytest.mark.gpu)])
def kernels(request):
    """Calls a function of tensors and numbers where the Triton kernels run, and returns its result on the CPU."""
    if not cuda.HAS_TRITON:
        pytest.skip("triton is not installed")
    if request.param == "compiled":
        if not HAS_GPU:
            pytest.skip("there is no CUDA device")
        yield on_gpu
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), start_interpreter) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def on_gpu(function, *arguments):
    result = function(*(x.cuda() if isinstance(x, torch.Tensor) else x for x in arguments))
    return [x.cpu() for x in result] if isinstance(result, (list, tuple)) else result


def start_interpreter():
    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)
    import triton.language as tl
    from triton.runtime import interpreter

    # Triton 3.6 counts loops by int() of an array of one element, which numpy refuses since 2.4,
    # and multiplies bfloat16 as if its bits were integers.
    patch, dot = interpreter._patch_lang_tensor, interpreter.InterpreterBuilder.create_dot

    def patch_with_index(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    def widened(x):
        if x.dtype != tl.bfloat16:
            return x
        data = interpreter._convert_float(x.data, tl.bfloat16, tl.float32, None).view("float32")
        return interpreter.TensorHandle(data, tl.float32)

    interpreter._patch_lang_tensor = patch_with_index
    # It also patches Triton's language at every call of a function and back; once is enough here, and 10 times faster.
    interpreter._patch_lang = functools.cache(interpreter._patch_lang)
    interpreter._LangPatchScope.restore = lambda self: None
    interpreter.InterpreterBuilder.create_dot = lambda self, a, b, *rest: dot(self, widened(a), widened(b), *rest)


def attend(query, keys, values, window):
    return [local_attention(query, keys, values, window, "cuda")]


def differentiate(query, keys, values, gradient, window, backend="cuda"):
    tensors = [x.detach().requires_grad_() for x in (query, keys, values)]
    attended = local_attention(*tensors, window, backend)
    return [attended.detach(), *torch.autograd.grad(attended, tensors, gradient)]


def case_of(dtype=torch.float32, seed=0, **sizes):
    """A query, keys of logits near 1, values, and the gradient of the result."""
    query, keys, values = random_case(**sizes, dtype=torch.float32, seed=seed)
    gradient = torch.randn(values[:, 0].shape, generator=torch.Generator().manual_seed(seed))
    return [x.to(dtype) for x in (query, keys / keys.shape[2] ** 0.5, values, gradient)]


def assert_as_reference(kernels, case, window, tolerance):
    found = kernels(differentiate, *case, window)
    expected = differentiate(*(x.double() for x in case), window, "reference")
    for name, ours, right in zip(["attended", "query", "keys", "values"], found, expected, strict=True):
        assert ours.dtype == case[0].dtype
        error = (ours.double() - right).abs().max() / right.abs().max().clamp(min=1)
        assert error < tolerance, f"{name}: {error:.1e}"


@pytest.mark.parametrize(
    ("window", "sizes"),
    [
        (5, {"batch": 2, "frames": 2, "channels": 5, "depth": 4, "height": 5, "width": 6}),
        slow(5, {"batch": 2, "frames": 2, "channels": 5, "depth": 20, "height": 9, "width": 10}),
        slow(21, {"frames": 1, "channels": 16, "depth": 64, "height": 3, "width": 4}),
        slow(3, {"frames": 6, "channels": 1, "depth": 1, "height": 1, "width": 19}),
        slow(1, {"frames": 2, "channels": 33, "depth": 17, "height": 17, "width": 1}),
        (5, {"frames": 2, "channels": 8, "depth": 150, "height": 5, "width": 5}),  # values in two blocks
    ],
)
def test_float32_agrees_with_the_reference(kernels, window, sizes):
    assert_as_reference(kernels, case_of(**sizes), window, 1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 1.5e-2)])
def test_half_precision_agrees_with_the_reference(kernels, dtype, tolerance):
    case = case_of(dtype, frames=2, channels=16, depth=24, height=6, width=7)
    assert_as_reference(kernels, case, 7, tolerance)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    frames=st.integers(1, 2),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 17),
    depth=st.integers(1, 17),
    window=st.sampled_from([1, 3, 7, 23]),
    seed=st.integers(0, 99),
)
def test_any_size_agrees_with_the_reference(kernels, frames, height, width, channels, depth, window, seed):
    sizes = {"frames": frames, "channels": channels, "depth": depth, "height": height, "width": width}
    assert_as_reference(kernels, case_of(**sizes, seed=seed), window, 1e-5)


def test_any_strides_are_read(kernels):
    query, keys, values, gradient = case_of(batch=2, frames=3, channels=4, depth=6, height=6, width=11)
    ring = torch.zeros(2, 7, 4, 6, 11)
    ring[:, 2:5] = keys
    views = [
        query.to(memory_format=torch.channels_last),
        ring[:, 2:5],
        values.permute(3, 4, 1, 0, 2).contiguous().permute(3, 2, 4, 0, 1),
        gradient[:1, :, :1, :1].expand(2, 6, 6, 11),
    ]
    assert_as_reference(kernels, views, 5, 1e-5)


def test_large_logits_do_not_overflow(kernels):
    query, keys, values, gradient = case_of(channels=16, height=5, width=5)
    assert_as_reference(kernels, [query * 40, keys * 40, values, gradient], 3, 1e-3)


@pytest.mark.parametrize("which", [0, slow(1), slow(2)])
def test_not_a_number_stays_one(kernels, which):
    case = case_of(channels=4, depth=3, height=6, width=20)[:3]
    case[which][..., 4, 13] = float("nan")
    (found,) = kernels(attend, *case, 3)
    expected = local_attention(*case, 3, "reference").isnan()
    assert found[expected].isnan().all()
    if which < 2:  # the queries around a value that is not a number share its blocks
        assert found[~expected].isfinite().all()


def test_an_empty_batch_gives_an_empty_result(kernels):
    query, keys, values, gradient = (x[:0] for x in case_of())
    attended, *gradients = kernels(differentiate, query, keys, values, gradient, 3)
    assert attended.shape == (0, 4, 5, 6)
    assert [x.shape for x in gradients] == [query.shape, keys.shape, values.shape]


@needs_triton
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v: (q, k[:, :0], v[:, :0]), "memory is empty"),
        (lambda q, k, v: (q, k[..., :-1], v), "do not fit"),
        (lambda q, k, v: (q[0], k, v), r"\(B, C, H, W\)"),
        (lambda q, k, v: (q, k, v.half()), "of one type on one GPU"),
        (lambda q, k, v: (q, k, v), "of one type on one GPU"),
    ],
)
def test_what_the_kernels_would_misread_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        cuda.attend(*change(*case_of()[:3]), 3)


def test_a_missing_triton_is_named(monkeypatch):
    monkeypatch.setattr(cuda, "HAS_TRITON", False)
    with pytest.raises(BackendError, match="pip install triton"):
        local_attention(*case_of()[:3], 3, "cuda")


def check_operators(query, keys, values):
    case = [x.requires_grad_() for x in (query, keys, values)]
    torch.library.opcheck(cuda.attend, (*case, 3))
    with torch.no_grad():
        attended, normaliser = cuda.attend(*case, 3)
        torch.library.opcheck(cuda.attend_backward, (*case, attended, normaliser, torch.ones_like(attended), 3))


@pytest.mark.slow
def test_the_operators_are_well_formed(kernels):
    kernels(check_operators, *case_of(frames=1, height=2, width=3)[:3])


def compile_and_differentiate(query, keys, values, window):
    tensors = [x.requires_grad_() for x in (query, keys, values)]
    compiled = torch.compile(local_attention, backend="aot_eager", fullgraph=True)
    attended = compiled(*tensors, window, "cuda")
    return [attended.detach(), *torch.autograd.grad(attended.sum(), tensors)]


@pytest.mark.slow
def test_torch_compile_takes_it_whole(kernels):
    query, keys, values, gradient = case_of(height=3, width=4)
    found = kernels(compile_and_differentiate, query, keys, values, 3)
    expected = differentiate(query, keys, values, torch.ones_like(gradient), 3, "reference")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class AbsentGpu:
    """Stands for a GPU's driver, so that Triton compiles for it."""

    def __init__(self, capability):
        from triton.backends.compiler import GPUTarget

        self._target = GPUTarget("cuda", capability, 32)

    def get_current_target(self):
        return self._target

    def get_current_device(self):
        return self._target.arch  # kernels are kept by device

    def get_current_stream(self, _):
        return 0


class Recorded:
    """In a kernel's place: keeps the arguments of its calls."""

    def __init__(self):
        self.calls = []

    def __getitem__(self, grid):
        return lambda *args, **kwargs: self.calls.append((args, kwargs))


def compiled(monkeypatch, capability, case, chosen):
    """(name, sizes, binary) of every kernel that attending and differentiating would run, in the chosen sizes."""
    from triton.runtime import driver

    from lmaseg.attention import cuda_kernels

    kernels = {name: getattr(cuda_kernels, name) for name in ("forward", "agree", "backward")}
    recorded = {name: Recorded() for name in kernels}
    monkeypatch.setattr(cuda_kernels, "INTERPRETED", True)
    for name, stand_in in recorded.items():
        monkeypatch.setattr(cuda_kernels, name, stand_in)
    differentiate(*case, 21)
    monkeypatch.setattr(driver, "_active", AbsentGpu(capability))
    for name, kernel in kernels.items():
        tuned = hasattr(kernel, "configs")
        for sizes in [x.all_kwargs() for x in kernel.configs[chosen]] if tuned else [{}]:
            for args, kwargs in recorded[name].calls:
                yield name, sizes, (kernel.fn if tuned else kernel).warmup(*args, grid=(1,), **kwargs, **sizes)


RELEASED = {"channels": 16, "depth": 64, "height": 16, "width": 16}
WIDE = {"channels": 128, "depth": 2048, "height": 3, "width": 5}
LEAST = {"channels": 1, "depth": 1, "height": 1, "width": 1, "frames": 1}


@needs_triton
@needs_no_gpu
@pytest.mark.slow
@pytest.mark.parametrize("channels_last", [True, False])
def test_the_kernels_compile_well_for_hopper(monkeypatch, channels_last):
    """The released network's: products in the matrix units, 16 bytes a load, room for several programs at a time."""
    case = case_of(torch.bfloat16, **RELEASED)
    if channels_last:
        case = [x.movedim(-3, -1).contiguous().movedim(-1, -3) for x in case]
    for name, _, binary in compiled(monkeypatch, 90, case, slice(1)):
        if name != "agree":
            assert "wgmma.mma_async" in binary.asm["ptx"]
            assert "cp.async.cg.shared.global [" in binary.asm["ptx"]
            assert binary.metadata.shared < 64 * 1024


@needs_triton
@needs_no_gpu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "dtype", "sizes", "chosen"),
    [
        (90, torch.bfloat16, RELEASED, slice(None)),
        (90, torch.float32, RELEASED, slice(None)),
        (90, torch.float16, LEAST, slice(None)),
        (90, torch.bfloat16, WIDE, slice(None)),
        (80, torch.float32, WIDE, slice(-1, None)),
        (120, torch.float32, WIDE, slice(-1, None)),
    ],
)
def test_every_kernel_compiles_and_one_size_fits(monkeypatch, capability, dtype, sizes, chosen):
    most = {80: 163, 90: 227, 120: 99}[capability] * 1024  # bytes of shared memory
    least = {}
    for name, _, binary in compiled(monkeypatch, capability, case_of(dtype, **sizes), chosen):
        kind = name, *sorted((key, value) for key, value in binary.src.constants.items() if isinstance(value, bool))
        least[kind] = min(least.get(kind, most + 1), binary.metadata.shared)
    assert len(least) >= 4
    assert max(least.values()) <= most
