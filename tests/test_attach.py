import copy
import sys
import textwrap

import pytest
import torch
from media import write_video
from network_tester import NetworkTests, assert_close
from test_cli import run_cli
from torch import nn
from torch.nn import functional as F

import lmaseg
from lmaseg import CAMVID, checkpoint
from lmaseg.batch.schedule import weights_digest
from lmaseg.errors import CheckpointError
from lmaseg.job import Job
from lmaseg.labels import CITYSCAPES
from lmaseg.models import FUSIONS, Preprocess, fold
from lmaseg.models.halves import logits_of


class Small(nn.Module):
    """Stride 4, a skip connection, functional code and in-place layers on both sides of every cut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.body = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.mix = nn.Conv2d(12, 12, 1)
        self.head = nn.Conv2d(20, 5, 1)

    def forward(self, frames):
        low = self.stem(frames - 0.5)
        high = F.elu(self.mix(self.body(low)))
        both = torch.cat([F.interpolate(high, low.shape[-2:], mode="bilinear"), low.mul(2)], 1)
        return F.interpolate(self.head(both), frames.shape[-2:], mode="bilinear")


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.low = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.high = nn.Conv2d(8, 12, 3, stride=2, padding=1)

    def forward(self, frames):
        low = self.low(frames)
        return [low, self.high(low)]


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(20, 5, 1)

    def forward(self, maps):
        low, high = maps
        return {"out": self.head(torch.cat([low, F.interpolate(high, low.shape[-2:])], 1))}


class TestCutNetwork(NetworkTests):
    attached = True

    def make(self):
        return lmaseg.attach(Small(), at="body", memory_frames=2, builder="elsewhere:make")


class TestPairWithSkips(NetworkTests):
    attached = True

    def make(self):
        return lmaseg.attach(Encoder(), Decoder(), feature=1, memory_frames=2)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture
def frames():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("at", "stride", "channels"), [("stem", 2, 8), ("body.0", 4, 12), ("body", 4, 12), ("mix", 4, 12)]
)
def test_empty_memory_is_the_network_bit_for_bit(small, frames, at, stride, channels):
    net = lmaseg.attach(small, at=at)
    assert (net.stride, net.encoder.channels, net.spec.classes) == (stride, channels, 5)
    with torch.inference_mode():
        logits, key, value = net(frames)
        assert torch.equal(logits, small(frames))
        assert not torch.equal(net(frames, key.unsqueeze(1), value.unsqueeze(1))[0], logits)
        assert torch.equal(net(frames, key.unsqueeze(1)[:, :0], value.unsqueeze(1)[:, :0])[0], logits)
        assert torch.equal(small(frames), logits)  # it is itself again


def test_the_memory_reaches_what_follows_the_cut_and_nothing_else(small, frames):
    net = lmaseg.attach(small, at="body")
    net.fusion = Constant()
    with torch.inference_mode():
        _, key, value = net(frames)
        ours = net(frames, key.unsqueeze(1), value.unsqueeze(1))[0]
        low = small.stem(frames - 0.5)
        high = F.elu(small.mix(torch.full((2, 12, 16, 24), 0.25)))
        both = torch.cat([F.interpolate(high, low.shape[-2:], mode="bilinear"), low.mul(2)], 1)
        expected = F.interpolate(small.head(both), frames.shape[-2:], mode="bilinear")
    assert torch.equal(ours, expected)


class Constant(nn.Module):
    """A fusion that forgets everything."""

    def forward(self, query_value, attended):
        return type(query_value)(torch.full((len(attended), 12, *attended.shape[-2:]), 0.25), query_value.rest)


def test_every_layer_computes_once(small, frames):
    net = lmaseg.attach(small, at="body")
    calls = []
    for name, layer in small.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer._conv_forward = counting(layer._conv_forward, calls, name)
    with torch.inference_mode():
        net(frames)
    for layer in small.modules():
        vars(layer).pop("_conv_forward", None)
    assert calls == ["stem.0", "body.0", "mix", "head"]


def counting(function, calls, name):
    def count(*inputs):
        calls.append(name)
        return function(*inputs)

    return count


def test_logits_of_another_size_are_resized(frames):
    torch.manual_seed(0)
    encoder, decoder = Encoder().eval(), Decoder().eval()
    net = lmaseg.attach(encoder, decoder, feature=-1)
    assert (net.encoder.channels, net.stride, net.spec.classes) == (12, 4, 5)
    with torch.inference_mode():
        alone = decoder(encoder(frames))["out"]
        expected = F.interpolate(alone, frames.shape[-2:], mode="bilinear", align_corners=False)
        assert alone.shape[-2:] != frames.shape[-2:]
        assert torch.equal(net(frames)[0], expected)


def test_a_plain_pair_and_its_settings(frames):
    encoder = nn.Conv2d(3, 6, 3, stride=3, padding=1).eval()
    decoder = nn.ConvTranspose2d(6, 11, 3, stride=3).eval()
    preprocess = Preprocess(mean=(0.5, 0.5, 0.5), size=(96, 96))
    net = lmaseg.attach(encoder, decoder, labels=CAMVID, preprocess=preprocess, window=3, memory_frames=1)
    assert (net.stride, net.spec.classes, net.spec.window, net.spec.memory_frames) == (3, 11, 3, 1)
    assert (net.labels, net.preprocess) == (CAMVID, preprocess)
    with torch.inference_mode():
        assert torch.equal(net(frames[..., :63, :96])[0], decoder(encoder(frames[..., :63, :96])))


def test_modes_and_weights_are_left_as_they_were(frames):
    network = Small().train()
    network.stem[1].eval()
    before = copy.deepcopy(network.state_dict())
    net = lmaseg.attach(network, at="body")
    assert net.training
    assert network.mix.training
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    assert not lmaseg.attach(network.eval(), at="body").training


def test_segments_a_stream_in_batches(small):
    net = lmaseg.attach(small, at="body", preprocess=Preprocess(size=(64, 96)))
    video = [frame.numpy() for frame in (torch.rand(5, 64, 96, 3) * 255).byte()]
    one, several = (lmaseg.Segmenter(net, batch=batch, dtype=torch.float32) for batch in (1, 3))
    labels = [one(frame) for frame in video]
    together = [*several.submit(video[:3]).result(), *several.submit(video[3:]).result()]
    assert all((a == b).mean() > 0.999 for a, b in zip(labels, together, strict=True))


def test_folding_keeps_the_cut(small, frames):
    net = lmaseg.attach(small, at="body").eval()
    folded = fold(net)
    with torch.inference_mode():
        _, key, value = net(frames)
        past = key.unsqueeze(1), value.unsqueeze(1)
        assert_close(folded(frames, *past)[0], net(frames, *past)[0])
    assert folded.encoder.network is not small


class Flat(nn.Module):
    def forward(self, frames):
        return frames.flatten(2)


class Twice(Small):
    def forward(self, frames):
        return super().forward(frames) + super().forward(frames.flip(-1))


class Unused(Small):
    def __init__(self):
        super().__init__()
        self.spare = nn.ReLU()


class InPlace(Small):
    def forward(self, frames):
        low = self.stem(frames)
        low += 1
        return F.interpolate(
            self.head(torch.cat([F.interpolate(self.body(low), scale_factor=2), low], 1)), scale_factor=2
        )


class SideBySide(Small):
    """Both its scales are classified, and then added."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(8, 5, 1)

    def forward(self, frames):
        return super().forward(frames) + F.interpolate(self.other(self.stem(frames)), scale_factor=2)


class Deep(Small):
    """Its body needs sides that 4 divides, its stem only 2."""

    def forward(self, frames):
        low = self.stem(frames)
        return self.head(torch.cat([F.interpolate(self.body(low), scale_factor=2), low], 1))


def test_a_network_coarser_elsewhere_than_at_the_cut_gets_frames_that_fit(frames):
    net = lmaseg.attach(Deep().eval(), at="stem", preprocess=Preprocess(size=(64, 96)))
    assert (net.stride, net.multiple) == (2, 4)
    with torch.inference_mode():
        logits, key, _ = net(frames[..., :62, :90])
    assert (logits.shape[-2:], key.shape[-2:]) == ((62, 90), (32, 46))
    assert lmaseg.Segmenter(net).working_size(62, 90) == (64, 92)


class Auxiliary(Small):
    """A second classifier that only training needs, and a mixing of classes behind the first."""

    def __init__(self):
        super().__init__()
        self.auxiliary = nn.Conv2d(8, 5, 1)
        self.smooth = nn.Conv2d(5, 5, 3, padding=1)

    def forward(self, frames):
        logits = self.smooth(super().forward(frames))
        return {"out": logits, "aux": self.auxiliary(self.stem(frames))}


@pytest.mark.parametrize(("network", "at"), [(Small, "head"), (Auxiliary, "head"), (Deep, "head")])
def test_the_cut_is_found_before_the_layer_that_makes_the_classes(network, at, frames):
    torch.manual_seed(0)
    network = network().eval()
    net = lmaseg.attach(network)
    assert (net.encoder.at, net.encoder.channels, net.stride, net.spec.classes) == (at, 20, 2, 5)
    with torch.inference_mode():
        logits, key, value = net(frames)
        assert torch.equal(logits, F.interpolate(logits_of(network(frames)), frames.shape[-2:], mode="bilinear"))
        assert not torch.equal(net(frames, key.unsqueeze(1), value.unsqueeze(1))[0], logits)


def halves(first, second=None, **options):
    return lambda: lmaseg.attach(first, second or nn.Conv2d(3, 5, 1), **options)


def cut(network, at, **options):
    return lambda: lmaseg.attach(network, at=at, **options)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (halves(Flat()), r"the features are a tensor \(1, 3, .*\), not a map \(B, channels, h, w\)"),
        (halves(nn.AdaptiveAvgPool2d((16, 24))), "stride of the features is not constant, or not 8"),
        (halves(Encoder()), "the features are a list of 2: say with feature= which"),
        (halves(Encoder(), feature=3), "the encoder returns a list of 2, without feature=3"),
        (halves(nn.AvgPool2d(2), labels=CITYSCAPES), "the network has classes=5, not 19"),
        (halves(nn.AvgPool2d(2), Flat()), r"returns a tensor \(1, 3, .*\): it must be logits"),
        (halves(nn.AvgPool2d(2), nn.Conv2d(4, 5, 1)), "the network fails on a frame of"),
        (halves(nn.AvgPool2d(2), nn.Conv2d(3, 300, 1)), "1 to 255 classes, not 300"),
        (halves(nn.AvgPool2d(2), fusion="sum"), "unknown fusion 'sum'"),
        (cut(Small(), "boddy"), "no layer 'boddy': there are, among others, body"),
        (cut(Unused(), "spare"), "does not call its layer 'spare'"),
        (cut(Twice(), "body"), "calls its layer 'body' 2 times"),
        (cut(InPlace(), "body"), "cut after 'body' the network computes something else"),
        (cut(Small(), "body", feature=1), "attach takes a network, with at="),
        (lambda: lmaseg.attach(nn.ReLU()), "no layer of the network is seen to make its 3 classes"),
        (lambda: lmaseg.attach(SideBySide()), r"several layers side by side make the classes, head, other: say at="),
    ],
)
def test_what_does_not_fit_is_said(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion(small, frames, fusion):
    net = lmaseg.attach(small, at="body", fusion=fusion, value_channels=12).eval()
    with torch.inference_mode():
        _, key, value = net(frames)
        assert net(frames, key.unsqueeze(1), value.unsqueeze(1))[0].shape == (2, 5, 64, 96)


def test_keys_begin_from_frames_where_some_are_given(small, frames):
    net = lmaseg.attach(small, at="body", frames=frames)
    with torch.inference_mode():
        features = net.encoder(frames).tensor
        keys = net.projections.projections.key(features)
    assert (net.spec.key_channels, net.spec.value_channels, net.spec.fusion) == (12, 12, "blend")
    assert keys.mean((0, 2, 3)).abs().max() < 1e-4
    variances = keys.var((0, 2, 3))
    assert (variances.diff() <= 1e-6).all()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module that builds a network, importable from the test's folder only."""
    (tmp_path / "their_net.py").write_text(
        textwrap.dedent("""
            import lmaseg
            from torch import nn

            def build(window=3):
                encoder, decoder = nn.Conv2d(3, 6, 8, stride=8), nn.ConvTranspose2d(6, 11, 8, stride=8)
                return lmaseg.attach(encoder, decoder, labels=lmaseg.CAMVID, window=window, builder="their_net:build")

            def wider():
                return build(5)

            def plain():
                return nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.ConvTranspose2d(6, 11, 8, stride=8))

            def other():
                return nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.ConvTranspose2d(6, 12, 8, stride=8))

            def flat():
                return nn.Flatten()

            def nothing():
                return None
        """)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "their_net", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def saved(folder):
    import their_net

    torch.manual_seed(0)
    net = their_net.build().eval()
    checkpoint.save(net, folder / "net.safetensors", about={})
    return net, folder / "net.safetensors"


def test_a_checkpoint_is_loaded_through_its_builder(package, frames):
    net, file = saved(package)
    again = lmaseg.load(file, net="their_net:build")
    assert again.spec.backbone == "their_net:build"
    with torch.inference_mode():
        assert torch.equal(again(frames)[0], net(frames)[0])


def test_a_checkpoint_imports_nothing_by_itself(package):
    _, file = saved(package)
    del sys.modules["their_net"]
    with pytest.raises(CheckpointError, match="name what builds it, --net their_net:build"):
        lmaseg.load(file)
    assert "their_net" not in sys.modules


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("their_net:nowhere", "cannot import 'their_net:nowhere'"),
        ("nobody.net:build", "cannot import 'nobody.net:build'"),
        ("their_net", "write package.module:function"),
        ("their_net:other", "is for 11 classes, but the function given builds a network of 12"),
        ("their_net:nothing", "returns None: it must return a torch.nn.Module"),
        ("their_net:flat", "the network of their_net:flat cannot be used: the network returns a tensor"),
    ],
)
def test_a_builder_that_does_not_fit_is_refused(package, net, message):
    _, file = saved(package)
    with pytest.raises(CheckpointError, match=message):
        lmaseg.load(file, net=net)


def test_a_checkpoint_brings_its_memory_along(package, frames):
    net, file = saved(package)
    again = lmaseg.load(file, net="their_net:wider")
    assert again.spec == net.spec
    with torch.inference_mode():
        past = [part.unsqueeze(1) for part in net(frames)[1:]]
        assert torch.equal(again(frames, *past)[0], net(frames, *past)[0])


def test_a_function_may_return_the_network_itself(package, frames):
    net = lmaseg.load(net="their_net:plain")
    assert (net.encoder.at, net.stride, net.spec.backbone, net.training) == ("1", 8, "their_net:plain", False)
    checkpoint.save(net, package / "plain.safetensors", about={})
    again = lmaseg.load(package / "plain.safetensors", net="their_net:plain")
    with torch.inference_mode():
        past = [part.unsqueeze(1) for part in net(frames)[1:]]
        assert torch.equal(again(frames, *past)[0], net(frames, *past)[0])


def test_commands_take_a_function(package, capsys):
    """Those that --help says take --net; what they are made of is tested elsewhere."""
    _, file = saved(package)
    write_video(package / "clip.mp4", range(6))
    net = ("--net", "their_net:build", "--weights", file)
    assert run_cli("compare", "clip.mp4", "-o", "compared.mp4", *net, "--size", "48") == 0
    assert run_cli("bench", *net, "--size", "32x64", "--seconds", "0.2") == 0
    assert run_cli("export", *net, "-o", "net.pt2", "--size", "32x64") == 0
    assert run_cli("batch", "clip.mp4", "-o", "done", "--labels-only", *net, "--size", "48") == 0
    assert len(list((package / "done" / "clip").iterdir())) == 6


def test_batch_sees_that_a_function_builds_another_network(package):
    same = [weights_digest(Job("", net=f"their_net:{name}")) for name in ("plain", "plain", "build")]
    assert same[0] == same[1] != same[2]


def test_lmasegs_own_networks_take_no_builder():
    with pytest.raises(CheckpointError, match="lmaseg's own lean: leave --net out"):
        lmaseg.load(checkpoint.BUNDLED, net="their_net:build")
