import pytest
import torch
from safetensors.torch import load_file, save_file

import lmaseg
from lmaseg import checkpoint
from lmaseg.errors import BackendError, CheckpointError
from lmaseg.labels import CITYSCAPES
from lmaseg.models import ModelSpec, Preprocess, build


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    spec = ModelSpec("erfnet", 19, memory_frames=2, window=5, key_channels=8, value_channels=12, fusion="sigmoid")
    return build(spec, CITYSCAPES, Preprocess(std=(0.2, 0.3, 0.4), size=(128, 256))).eval()


@pytest.fixture
def saved(net, tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoint.save(net, path, about={"licence": "none"})
    return path


def rewrite(path, change):
    """The same file with `change(tensors, metadata)` applied."""
    tensors, metadata = load_file(path), dict(checkpoint._open(path).metadata())
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def test_round_trip(net, saved):
    again = lmaseg.load(saved)
    assert (again.spec, again.labels, again.preprocess) == (net.spec, net.labels, net.preprocess)
    assert not again.training
    frame = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(again(frame)[0], net(frame)[0])
    assert checkpoint.read_header(saved).about == {"licence": "none"}
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_half_precision_on_disk_is_float32_in_memory(net, tmp_path):
    checkpoint.save(net, tmp_path / "half.safetensors", about={}, half=True)
    again = lmaseg.load(tmp_path / "half.safetensors")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    torch.testing.assert_close(again.decoder.output_conv.weight, net.decoder.output_conv.weight, rtol=1e-3, atol=1e-4)


def test_bundled_weights_load():
    net = lmaseg.load()
    assert net.labels == CITYSCAPES
    assert net.spec.fusion == "blend"
    assert checkpoint.BUNDLED.stat().st_size < 8e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("fusion.bn.weight"), r"fusion\.bn\.weight is missing"),
        (lambda t, m: t.update(extra=torch.zeros(1)), "extra is unknown"),
        (
            lambda t, m: t.update({"fusion.bn.weight": torch.zeros(7)}),
            r"fusion\.bn\.weight is \(7,\) instead of \(128,\)",
        ),
        (lambda t, m: m.pop("format"), "does not say that it is an lmaseg checkpoint"),
        (lambda t, m: m.pop("spec"), "damaged description"),
        (lambda t, m: m.update(spec="{"), "damaged description"),
        (lambda t, m: m.update(spec=m["spec"].replace("erfnet", "vgg")), "unknown backbone 'vgg'"),
    ],
)
def test_what_does_not_fit_is_named(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match=message):
        lmaseg.load(saved)


def test_a_truncated_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        lmaseg.load(saved)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no weights at .*nowhere\.safetensors"):
        lmaseg.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("device", ["warp", "cuda:99"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(BackendError, match=f"{device}.* is not available here: use --device auto"):
        lmaseg.load(device=device)
