import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import slow

from lmaseg.attention import local_attention
from lmaseg.errors import BackendError

PLAIN = ("reference", "tiled")  # in torch, of any precision; test_kernels.py holds the C kernel against them


def random_case(batch=1, frames=2, channels=3, depth=4, height=5, width=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def tensor(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return (
        tensor(batch, channels, height, width),
        tensor(batch, frames, channels, height, width),
        tensor(batch, frames, depth, height, width),
    )


def cell_by_cell(query, keys, values, window):
    """The definition, one output cell at a time, with Python loops."""
    batch, frames, depth, height, width = values.shape
    out = torch.zeros(batch, depth, height, width, dtype=values.dtype)
    radius = window // 2
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                weights, total = [], 0.0
                for t in range(frames):
                    for v in range(y - radius, y + radius + 1):
                        for u in range(x - radius, x + radius + 1):
                            inside = 0 <= v < height and 0 <= u < width
                            dot = float(query[b, :, y, x] @ keys[b, t, :, v, u]) if inside else 0.0
                            total += math.exp(dot)
                            if inside:
                                weights.append((math.exp(dot), values[b, t, :, v, u]))
                out[b, :, y, x] = sum(w * value for w, value in weights) / total
    return out


@pytest.mark.parametrize("backend", PLAIN)
@settings(max_examples=20, deadline=None)
@given(
    frames=st.integers(1, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.integers(1, 5),
    depth=st.integers(1, 5),
    window=st.sampled_from([1, 3, 5, 9]),
    seed=st.integers(0, 99),
)
def test_agrees_with_the_definition(backend, frames, height, width, channels, depth, window, seed):
    case = random_case(2, frames, channels, depth, height, width, seed=seed)
    torch.testing.assert_close(local_attention(*case, window, backend), cell_by_cell(*case, window))


@pytest.mark.parametrize("backend", [slow(name) if name == "reference" else name for name in PLAIN])
def test_gradients(backend):
    query, keys, values = (x.requires_grad_() for x in random_case(depth=2, height=3, width=4))
    assert torch.autograd.gradcheck(lambda *case: local_attention(*case, 3, backend), (query, keys, values))


@pytest.mark.parametrize("backend", PLAIN)
def test_order_of_the_memory_frames_does_not_matter(backend):
    query, keys, values = random_case(frames=4)
    order = [2, 0, 3, 1]
    shuffled = local_attention(query, keys[:, order], values[:, order], 5, backend)
    torch.testing.assert_close(shuffled, local_attention(query, keys, values, 5, backend), rtol=0, atol=1e-14)


@pytest.mark.parametrize("backend", PLAIN)
def test_neighbours_outside_the_frame_take_part_with_logit_zero(backend):
    query, keys, values = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1)
    assert local_attention(query, keys, values, 3, backend).item() == pytest.approx(1 / 9)


@pytest.mark.parametrize("backend", PLAIN)
def test_bfloat16_stays_near_float32(backend):
    case = random_case(frames=4, channels=16, depth=8, height=9, width=9, dtype=torch.float32)
    exact = local_attention(*case, 7)
    rough = local_attention(*(x.bfloat16() for x in case), 7, backend)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v: (q, k, v, 4), "odd number"),
        (lambda q, k, v: (q, k[:, :0], v[:, :0], 3), "memory is empty"),
        (lambda q, k, v: (q, k[:, :, :1], v, 3), "do not fit"),
        (lambda q, k, v: (q, k, v[..., :-1], 3), "do not fit"),
        (lambda q, k, v: (q[0], k, v, 3), r"\(B, C, H, W\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        local_attention(*change(*random_case()))


def test_unknown_backend_is_named_with_the_known_ones():
    with pytest.raises(BackendError, match="'abacus': choose one of reference, tiled, cpu"):
        local_attention(*random_case(), 3, backend="abacus")
