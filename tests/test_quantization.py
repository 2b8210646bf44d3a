import numpy as np
import pytest
import torch
from marks import slow
from media import write_video
from torch import nn
from torch.nn import functional as F

import lmaseg
from lmaseg import CAMVID, Segmenter, checkpoint
from lmaseg.calibration import calibrate
from lmaseg.cli import main
from lmaseg.kernels.bytes import to_bytes
from lmaseg.models import ModelSpec, Preprocess, build, precision
from lmaseg.models.activations import Deferred, Levels, wide_of
from lmaseg.models.folding import fold
from lmaseg.models.quantization import QuantizedConvolution, meaning
from lmaseg.stream import preprocess

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN"),
]
BACKBONES = ("lean", "erfnet", slow("pspnet50"))


def run_cli(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def pictures(count, height=64, width=96):
    """Blurred noise that moves a little: neighbouring pixels are alike, as in photographs."""
    noise = torch.rand(1, 3, height // 8, width // 8 + count, generator=torch.Generator().manual_seed(0))
    big = F.interpolate(noise, (height, width + 8 * count), mode="bicubic").clamp(0, 1).mul(255).byte()[0]
    return [big[:, :, 3 * i : 3 * i + width].permute(1, 2, 0).contiguous().numpy() for i in range(count)]


def fresh(backbone, memory_frames=2):
    torch.manual_seed(0)
    spec = ModelSpec(
        backbone, 11, memory_frames=memory_frames, window=3, key_channels=8, value_channels=16, fusion="sigmoid"
    )
    net = build(spec, CAMVID, Preprocess(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3), size=(64, 96)))
    with torch.no_grad():  # norms that have seen pictures: fresh ones let activations vanish or grow
        for _ in range(8):
            net.decode(net.encode(torch.rand(2, 3, 64, 96) * 4 - 2))
    return net.eval()


@pytest.fixture(scope="module", params=BACKBONES)
def net(request, one_thread):
    net = fresh(request.param)
    calibrate(net, pictures(4))
    return net


def of(convolution, low=0.0, high=4.0):
    ranges = {"c": (low, high), "c.input": (-1.0, 1.0), "c.addend": (-1.0, 1.0)}
    return QuantizedConvolution("c", convolution, ranges, torch.float32)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 4, "dilation": 4},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": (3, 1), "padding": (1, 0)},
        {"kernel_size": 1, "bias": False},
    ],
)
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("add", [True, False])
def test_a_convolution_its_addition_and_its_relu_are_within_a_step_of_those_in_floating_point(options, relu, add):
    torch.manual_seed(0)
    exact = nn.Conv2d(8, 16, **options)
    x = torch.rand(2, 8, 12, 20) * 2 - 1
    y = exact(x)
    other = torch.rand_like(y) * 2 - 1
    found = of(exact, 0.0 if relu else -4.0)(x)
    if add:
        y, found = y + other, other + found
    if relu:
        y, found = F.relu(y), F.relu(found, inplace=True)
    assert isinstance(found, Deferred)
    assert found.shape == y.shape
    assert (found.levels.wide - y).abs().max() < 0.08
    assert (found.levels.wide - y).abs().mean() < 0.02
    assert (wide_of(found) - y).abs().max() < 0.08


def test_sums_of_the_largest_bytes_are_exact_on_any_cpu():
    """Without VNNI two products are added in 16 bits, which must hold them."""
    exact = nn.Conv2d(16, 16, 3, bias=False)
    nn.init.constant_(exact.weight, 0.5)
    ranges = {"c": (0.0, 255.0), "c.input": (0.0, 1.0)}
    x = torch.ones(1, 16, 8, 8)
    found = QuantizedConvolution("c", exact, ranges, torch.float32)(x)
    torch.testing.assert_close(wide_of(found), exact(x).detach(), rtol=1e-4, atol=1e-3)


def test_what_is_added_stays_as_it_is_for_others():
    convolution = of(nn.Conv2d(8, 8, 1))
    first = convolution(torch.rand(1, 8, 4, 4)).levels
    before = first.values.clone()
    assert not torch.equal((first + convolution(first)).levels.values, before)
    assert torch.equal(first.values, before)


@pytest.mark.parametrize("limits", [(0.0, 3.0), (-2.0, 5.0), (-4.0, -1.0), (0.0, 0.0)])
def test_bytes_hold_zero_and_reach_to_both_limits(limits):
    scale, zero = meaning(limits)
    x = torch.tensor([min(0.0, limits[0]), 0.0, max(0.0, limits[1])]).view(1, 3, 1, 1)
    again = Levels(to_bytes(x, scale, zero), scale, zero, torch.float32).wide
    assert again[0, 1] == 0
    assert (again - x).abs().max() <= scale


def test_ranges_are_those_of_the_activations_themselves():
    """Observed numbers pass through everything that bytes pass through later."""
    net, seen = fresh("lean"), {}
    calibrate(net, pictures(1))
    folded = fold(net)
    for path in ("encoder.context.join.conv.input", "encoder.meet_middle.join.conv"):
        convolution = folded.get_submodule(path.removesuffix(".input"))
        kept = 0 if path.endswith(".input") else 1
        convolution.register_forward_hook(lambda _, x, y, path=path, kept=kept: seen.update({path: (x[0], y)[kept]}))
    frame = preprocess(torch.from_numpy(pictures(1)[0])[None], net.preprocess, (64, 96), torch.float32)
    with torch.no_grad():
        folded.encode(frame)
    for path, numbers in seen.items():
        assert net.ranges[path][1] == pytest.approx(numbers.max().item(), rel=0.2)


def test_labels_are_those_of_floating_point_but_for_a_few(net):
    exact, quantized = (Segmenter(net, dtype=dtype) for dtype in (torch.float32, torch.int8))
    same = [np.mean(exact(frame) == quantized(frame)) for frame in pictures(6)]
    assert np.mean(same) > 0.9


def test_batches_chunks_and_repeats_give_the_same_bits(net):
    frames = pictures(7)
    one = Segmenter(net, dtype=torch.int8)
    labels = [one(frame) for frame in frames]
    one.reset()
    assert all(np.array_equal(one(frame), before) for frame, before in zip(frames, labels, strict=True))
    batched = Segmenter(net, dtype=torch.int8, batch=3)
    found = [*batched.submit(frames[:3]).result(), *batched.submit(frames[3:6]).result()]
    assert all(map(np.array_equal, found, labels))
    chunk = Segmenter(net, dtype=torch.int8)
    assert np.array_equal([chunk(frame) for frame in frames[2:]][2:], labels[4:])


def test_a_checkpoint_keeps_the_ranges_and_its_tensors(net, tmp_path, capsys):
    plain, ready = tmp_path / "plain.safetensors", tmp_path / "ready.safetensors"
    ranges, net.ranges = net.ranges, {}
    checkpoint.save(net, plain, about={"licence": "none"}, half=True)
    net.ranges = ranges
    checkpoint.save_ranges(plain, ranges, ready, about={"calibrated": "yes"})
    again = lmaseg.load(ready)
    assert again.ranges == ranges
    assert lmaseg.load(plain).ranges == {}
    assert checkpoint.read_header(ready).about == {"licence": "none", "calibrated": "yes"}
    assert abs(ready.stat().st_size - plain.stat().st_size) < 20_000
    float32 = Segmenter(lmaseg.load(plain), dtype=torch.float32)
    assert np.array_equal(Segmenter(again, dtype=torch.float32)(pictures(1)[0]), float32(pictures(1)[0]))
    assert float32.digest == Segmenter(again, dtype=torch.float32).digest != Segmenter(again, dtype=torch.int8).digest


def test_weights_that_were_not_calibrated_say_how_they_are(tmp_path, capsys):
    with pytest.raises(ValueError, match="lmaseg calibrate measures it on a few frames"):
        Segmenter(fresh("lean"), dtype=torch.int8)
    weights, video = tmp_path / "net.safetensors", write_video(tmp_path / "in.mp4", range(4))
    checkpoint.save(fresh("lean"), weights, about={})
    arguments = "run", video, "--weights", weights, "--labels", tmp_path / "maps", "--dtype", "int8"
    assert run_cli(*arguments) == 2
    assert "lmaseg calibrate" in " ".join(capsys.readouterr().err.split())
    assert run_cli("calibrate", weights, "--frames", video, "--count", "2") == 0
    assert "of the pixels the label" in " ".join(capsys.readouterr().err.split())
    assert run_cli(*arguments) == 0
    assert len(list((tmp_path / "maps").iterdir())) == 4
    assert run_cli("info", weights) == 0
    assert "activations" in capsys.readouterr().out


def test_auto_takes_int8_where_there_are_8_bit_instructions_and_no_tiles_of_bfloat16(monkeypatch):
    net = fresh("lean")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)
    assert precision.choose_dtype(net) == torch.float32
    calibrate(net, pictures(1))
    assert precision.choose_dtype(net) == torch.int8
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert precision.choose_dtype(net) == torch.int8
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert precision.choose_dtype(net) == torch.bfloat16


@pytest.mark.parametrize(
    ("most", "dtype"),
    [("AVX512_CORE_VNNI", torch.float32), ("avx2", torch.float32), ("AVX512_CORE_BF16", torch.bfloat16)],
)
def test_bfloat16_is_left_where_onednn_is_held_to_instructions_without_it(monkeypatch, most, dtype):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False, raising=False)
    assert precision.choose_dtype(fresh("lean")) == torch.bfloat16
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert precision.choose_dtype(fresh("lean")) == dtype


def test_calibration_refuses_what_it_cannot_calibrate():
    with pytest.raises(ValueError, match="no frames to calibrate on"):
        calibrate(fresh("lean"), [])
    with pytest.raises(ValueError, match="only networks of lmaseg's own"):
        calibrate(lmaseg.attach(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1))), pictures(1))
