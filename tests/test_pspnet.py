"""PSPNet: its sizes, its memory, its folding; test_convert.py holds its numbers against the authors'."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lmaseg import CAMVID, Segmenter, checkpoint
from lmaseg.models import FeatureMemory, ModelSpec, Preprocess, build, fold, resnet, with_memory
from lmaseg.models.fusion import ReducedSigmoidFusion

SINGLE = ModelSpec("pspnet50", 11)


@pytest.fixture(scope="module", autouse=True)
def few_blocks():
    """The smallest network that has every kind of block; test_convert.py has the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.BLOCKS, 50, (1, 2, 2, 1))
        yield


def make_net(spec):
    torch.manual_seed(0)
    return build(spec, CAMVID, Preprocess(size=(64, 96))).eval()


@pytest.fixture(scope="module")
def net(few_blocks):
    return make_net(with_memory(SINGLE, 2048, memory_frames=2, window=3, fusion="sigmoid-down1"))


@pytest.fixture(scope="module")
def single(few_blocks):
    return make_net(SINGLE)


@torch.inference_mode()
def stream(net, frames):
    memory, logits = FeatureMemory(2), []
    for frame in frames:
        out, key, value = net(frame, *memory.read())
        memory.push(key, value)
        logits.append(out)
    return logits


def with_varied_norms(net):
    """Batch norms as training leaves them, not as they are born."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return net


@pytest.mark.slow
def test_every_parameter_gets_a_gradient(net):
    net.train()
    frames = torch.rand(2, 2, 3, 64, 96)
    first, key, value = net(frames[0])
    assert first.shape == (2, 11, 64, 96)
    assert key.shape == (2, 128, 9, 13)
    assert value.shape == (2, 2048, 9, 13)
    net(frames[1], key.unsqueeze(1), value.unsqueeze(1))[0].square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    net.eval().zero_grad()
    assert without == []


def test_the_values_are_the_features_themselves(net):
    with torch.inference_mode():
        encoded = net.encode(torch.rand(1, 3, 65, 65))
    assert encoded.value is encoded.features
    assert encoded.query_value is encoded.features


@torch.inference_mode()
def test_sizes_with_a_cell_in_every_corner_are_taken_as_they_are(single):
    frame = torch.rand(1, 3, 65, 89)
    logits, *_ = single(frame)
    features = single.encoder(frame)
    assert features.shape == (1, 2048, 9, 12)
    cells = single.decoder.cls(single.decoder.ppm(features))
    assert torch.equal(logits, F.interpolate(cells, (65, 89), mode="bilinear", align_corners=True))


@torch.inference_mode()
@pytest.mark.parametrize("size", [(64, 88), (58, 82), (65, 82)])
def test_other_sizes_are_padded_to_the_next_such_one_and_cropped_back(single, size):
    frame = torch.rand(1, 3, *size)
    padded = F.pad(frame, (0, 89 - size[1], 0, 65 - size[0]), mode="replicate")
    logits, *_ = single(frame)
    assert logits.shape == (1, 11, *size)
    assert torch.equal(logits, single(padded)[0][..., : size[0], : size[1]])


@torch.inference_mode()
def test_encoder_and_decoder_keep_multiples_of_the_stride(single):
    """Training crops are such, and go through the two without padding."""
    features = single.encoder(torch.rand(1, 3, 32, 48))
    assert features.shape == (1, 2048, 4, 6)
    logits = single.decoder(features)
    assert logits.shape == (1, 11, 32, 48)
    torch.testing.assert_close(logits[..., 25:, :], logits[..., 24:25, :].expand(-1, -1, 7, -1))
    torch.testing.assert_close(logits[..., 41:], logits[..., 40:41].expand(-1, -1, -1, 7))


def test_fusion_reduces_both_values_with_one_convolution():
    fusion = ReducedSigmoidFusion(6, 6, reduced_channels=4).eval()
    query, memory = torch.rand(2, 1, 6, 3, 3)
    reduced = fusion.reduced_bn(fusion.reduce(query) + fusion.reduce(memory)).relu()
    gates = (fusion.gates.query(reduced).sigmoid(), fusion.gates.memory(reduced).sigmoid())
    assert torch.equal(fusion(query, memory), fusion.bn(query * gates[0] + memory * gates[1]).relu())
    with pytest.raises(ValueError, match="values of 6 channels, as the features have, not 4"):
        ReducedSigmoidFusion(4, 6)


@pytest.mark.slow
def test_folding_is_exact_and_leaves_only_the_fusions_norms():
    net = with_varied_norms(make_net(with_memory(SINGLE, 2048, memory_frames=2, window=3, fusion="sigmoid-down1")))
    folded = fold(net)
    frames = torch.rand(2, 1, 3, 64, 72)
    for ours, exact in zip(stream(folded, frames), stream(net, frames), strict=True):
        assert (ours - exact).abs().max() < 1e-4 * exact.abs().max()
    norms = [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == ["fusion.reduced_bn", "fusion.bn"]


def test_a_network_without_a_memory_segments_frames_alone(single, tmp_path):
    frame = torch.rand(1, 3, 65, 65)
    with torch.inference_mode():
        logits, key, value = single(frame)
        assert torch.equal(logits, single.decoder(single.encoder(frame))[..., :65, :65])
        with pytest.raises(ValueError, match="segments every frame alone"):
            single(frame, key.unsqueeze(1), value.unsqueeze(1))
    assert not [name for name in single.state_dict() if not name.startswith(("encoder.", "decoder."))]
    checkpoint.save(single, tmp_path / "single.safetensors", about={})
    again = checkpoint.load(tmp_path / "single.safetensors")
    assert again.spec == SINGLE
    picture = torch.randint(256, (64, 96, 3), dtype=torch.uint8).numpy()
    segmenter = Segmenter(again, dtype=torch.float32)
    first, second = segmenter(picture), segmenter(picture)
    assert first.shape == (64, 96)
    assert (first == second).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_frames": 4}, "key_channels must be at least 1"),
        ({"memory_frames": 4, "key_channels": 8, "value_channels": 8, "fusion": "sigmoid"}, "odd number"),
        ({"window": 3, "key_channels": 8, "value_channels": 8, "fusion": "sigmoid"}, "memory_frames must be at least"),
    ],
)
def test_half_a_memory_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec("pspnet50", 11, **changes)
