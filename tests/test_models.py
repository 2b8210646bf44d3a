from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import lmaseg
from lmaseg.attention import reference
from lmaseg.labels import CAMVID
from lmaseg.models import (
    FUSIONS,
    FeatureMemory,
    ModelSpec,
    Preprocess,
    adapted_network,
    build,
    fold,
    start_gate,
    start_keys,
    with_memory,
)
from lmaseg.models.fusion import BlendFusion
from lmaseg.models.memory import RecurrentMemory
from lmaseg.models.motion import compensate_motion
from lmaseg.models.projections import Encoded, LikenessProjections
from lmaseg.stream import preprocess
from lmaseg.video import VideoReader

SPEC = ModelSpec("erfnet", 11, memory_frames=4, window=3, key_channels=16, value_channels=64, fusion="sigmoid-do1")
FOR_ERFNET = [name for name in FUSIONS if name != "sigmoid-down1"]  # which halves the width of PSPNet's features


def make_net(**changes):
    torch.manual_seed(0)
    return build(ModelSpec(**vars(SPEC) | changes), CAMVID, Preprocess()).eval()


def make_net_with(fusion, **changes):
    return make_net(**vars(with_memory(ModelSpec("erfnet", 11), 128, window=3, fusion=fusion, **changes)))


@pytest.fixture(scope="module")
def net():
    return make_net()


@torch.inference_mode()
def stream(net, frames, memory):
    logits = []
    for frame in frames:
        out, key, value = net(frame, *memory.read())
        memory.push(key, value)
        logits.append(out)
    return logits


@pytest.mark.parametrize("fusion", FOR_ERFNET)
def test_shapes_and_gradients_reach_every_parameter(fusion):
    net = make_net_with(fusion).train()
    frames = torch.rand(2, 2, 3, 64, 96)
    first, key, value = net(frames[0])
    assert first.shape == (2, 11, 64, 96)
    assert key.shape == (2, net.spec.key_channels, 8, 12)
    assert value.shape == (2, net.spec.value_channels, 8, 12)
    logits, _, _ = net(frames[1], key.unsqueeze(1), value.unsqueeze(1))
    logits.square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_erfnet_has_the_published_number_of_parameters():
    net = make_net(classes=11)
    single = sum(p.numel() for part in (net.encoder, net.decoder) for p in part.parameters())
    assert single == pytest.approx(2.06e6, rel=0.01)


def test_sizes_off_the_stride_are_padded_and_cropped_back(net):
    with torch.inference_mode():
        logits, key, _ = net(torch.rand(1, 3, 61, 83))
    assert logits.shape == (1, 11, 61, 83)
    assert key.shape[-2:] == (8, 11)


def test_an_empty_memory_is_the_single_frame_network(net):
    frame = torch.rand(1, 3, 64, 64)
    empty = torch.empty(1, 0, 16, 8, 8), torch.empty(1, 0, 64, 8, 8)
    with torch.inference_mode():
        alone = net.decoder(net.encoder(frame))
        assert torch.equal(net(frame)[0], alone)
        assert torch.equal(net(frame, *empty)[0], alone)


def test_the_memory_changes_the_labels_and_its_order_does_not(net):
    frames = torch.rand(5, 1, 3, 64, 64)
    memory = FeatureMemory(4)
    alone = stream(net, frames, FeatureMemory(0))[-1]
    with_memory = stream(net, frames, memory)[-1]
    assert (with_memory - alone).abs().max() > 0.01 * alone.abs().max()
    keys, values = memory.read()
    with torch.inference_mode():
        straight = net(frames[0], keys, values)[0]
        turned = net(frames[0], keys.flip(1), values.flip(1))[0]
    torch.testing.assert_close(turned, straight, rtol=1e-4, atol=1e-5)


class TestBlend:
    """The memory that works untrained."""

    @pytest.fixture(scope="class")
    @staticmethod
    def net():
        return make_net_with("blend")

    def test_moves_features_towards_those_they_resemble(self, net):
        frame, *past = torch.rand(3, 1, 3, 64, 64)
        with torch.inference_mode():
            features, *before = (net.encoder(each) for each in (frame, *past))
            key, *keys = (
                each / each.norm(dim=1, keepdim=True) for each in map(net.projections.key, (features, *before))
            )
            attended = reference.local_attention(80 * key, torch.stack(keys, 1), torch.stack(before, 1), window=3)
            move = attended - features
            distance = move.square().sum(1) / features.square().sum(1)
            share = torch.sigmoid(torch.logit(torch.tensor(0.95)) - 2 * distance / (distance.mean() + 0.02))
            expected = net.decoder(features + share * move)
            _, *own = net(frame)
            assert torch.equal(own[1], features)
            ours, _, _ = net(frame, torch.stack(keys, 1), torch.stack(before, 1))
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)

    def test_a_still_picture_stays_as_it_is(self):
        projections, fusion = LikenessProjections(20, 8, 20), BlendFusion(20, 20)
        features = torch.randn(2, 20, 6, 7)
        encoded = projections(features)
        attended = reference.local_attention(encoded.query, encoded.key[:, None], encoded.value[:, None], window=1)
        assert torch.allclose(fusion(features, attended), features, atol=1e-5)

    def test_closes_where_the_past_is_unlike_but_not_in_a_frame_that_is_unlike_all_over(self):
        def shares(attended):
            return ((BlendFusion(4, 4)(features, attended) - features) / (attended - features)).detach()

        features = torch.ones(1, 4, 8, 8)
        one_unlike = features + 0.1
        one_unlike[..., 2, 3] = 3.0
        found = shares(one_unlike)
        assert (found[..., 2, 3] < 0.01).all()
        assert (found[..., 4:, :] > 0.9).all()
        assert (shares(torch.full_like(features, 3.0)) > 0.7).all()

    def test_an_untrained_memory_steadies_labels(self):
        """Frames that differ by noise alone, seen by the bundled network with a memory it was never trained for."""
        net = adapted_network(lmaseg.load(), memory_frames=4)
        net.fusion.load_state_dict(BlendFusion(net.encoder.channels, net.encoder.channels).state_dict())
        street = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
        street = F.interpolate(street, (96, 128), mode="bicubic")
        noise = torch.randn(8, 1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
        frames = (street + 0.3 * noise) * 2 - 1
        flicker = []
        for memory in (0, 4):
            labels = [logits.argmax(1) for logits in stream(net, frames, FeatureMemory(memory))]
            flicker.append(sum((a != b).float().mean() for a, b in zip(labels[4:], labels[3:], strict=False)))
        assert flicker[0] > 0.01
        assert flicker[1] < 0.7 * flicker[0]

    def test_begins_the_same_everywhere(self):
        assert torch.equal(LikenessProjections(20, 8, 20).key.weight, LikenessProjections(20, 8, 20).key.weight)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_cells_without_features_do_no_harm(self, dtype):
        encoded = LikenessProjections(20, 8, 20).to(dtype)(torch.zeros(1, 20, 3, 3, dtype=dtype))
        assert torch.equal(encoded.key, torch.zeros(1, 8, 3, 3, dtype=dtype))

    def test_keys_can_begin_as_principal_components(self):
        net = make_net_with("blend")
        modes = [module.training for module in net.modules()]
        frames = torch.rand(3, 3, 64, 96)
        start_keys(net, frames)
        assert [module.training for module in net.modules()] == modes
        with torch.inference_mode():
            cells = net.encoder(frames).transpose(0, 1).flatten(1)
            keys = net.projections.key(net.encoder(frames)).transpose(0, 1).flatten(1)
        centred = cells - cells.mean(1, keepdim=True)
        variances = torch.linalg.svdvals(centred.double())[:32].square()
        torch.testing.assert_close(keys.double().square().sum(1), variances, rtol=1e-3, atol=1e-6)
        assert keys.mean(1).abs().max() < 1e-4

    def test_wants_the_features_as_values(self):
        with pytest.raises(ValueError, match="takes values of 128 channels, as the features have, not 64"):
            make_net(fusion="blend")


class TestMotionCompensation:
    """Cells that a turning camera sees, (., h, w), cut from a wider scene."""

    def view(self, down: int, across: int, channels: int = 16) -> torch.Tensor:
        scene = torch.randn(1, channels, 12, 16, generator=torch.Generator().manual_seed(0))
        scene = F.normalize(F.interpolate(scene, (72, 96), mode="bicubic"), dim=1)
        return scene[..., 12 + down : 60 + down, 16 + across : 80 + across]

    @pytest.mark.parametrize(("down", "across"), [(0, 8), (0, -14), (-6, 0), (2, 10)])
    def test_the_past_goes_with_the_picture(self, down, across):
        before, now = self.view(0, 0), self.view(down, across)
        keys, values = compensate_motion(now, before[:, None], 2 * before[:, None])
        inside = slice(max(0, -down), 48 - max(0, down)), slice(max(0, -across), 64 - max(0, across))
        assert torch.equal(keys[:, 0][..., inside[0], inside[1]], now[..., inside[0], inside[1]])
        assert torch.equal(values, 2 * keys)

    def test_what_comes_into_view_takes_the_cells_at_the_edge(self):
        before, now = self.view(0, 0), self.view(0, 8)
        _, values = compensate_motion(now, before[:, None], before[:, None])
        assert torch.equal(values[:, 0, ..., -8:], before[..., -1:].expand(-1, -1, -1, 8))

    def test_a_picture_at_rest_stays_as_it_is(self):
        before = self.view(0, 0)
        now = F.normalize(before + 0.1 * torch.randn(before.shape, generator=torch.Generator().manual_seed(1)), dim=1)
        keys, values = compensate_motion(now, before[:, None], 2 * before[:, None])
        assert torch.equal(keys[:, 0], before)
        assert torch.equal(values[:, 0], 2 * before)

    def test_blocks_move_farther_than_the_picture(self):
        before, now = self.view(0, 0), self.view(0, 6)
        near = self.view(0, 4)
        now = torch.cat([now[..., :48], near[..., 48:]], dim=-1)  # the last of four columns of blocks moved by 4, not 6
        keys, values = compensate_motion(now, before[:, None], 2 * before[:, None])
        assert torch.equal(keys[:, 0, ..., :42], now[..., :42])
        assert torch.equal(keys[:, 0, ..., 48:60], now[..., 48:60])
        assert torch.equal(values, 2 * keys)

    def test_blocks_of_a_spoilt_frame_move_as_the_picture(self):
        before, noise = self.view(0, 0), torch.Generator().manual_seed(1)
        now = F.normalize(self.view(0, 6) + 1.5 * torch.randn(before.shape, generator=noise), dim=1)
        keys, _ = compensate_motion(now, before[:, None], before[:, None])
        assert torch.equal(keys[:, 0, ..., :58], self.view(0, 6)[..., :58])

    def test_each_frame_has_moved_by_itself(self):
        now = torch.cat([self.view(0, 0), self.view(0, 4)])
        past = torch.stack([torch.cat([self.view(0, 8)] * 2), torch.cat([self.view(0, -4)] * 2)], dim=1)
        keys, _ = compensate_motion(now, past, past)
        for frame in range(2):
            assert torch.equal(keys[frame, :, :, :, 12:-12], now[frame, ..., 12:-12].expand(2, -1, -1, -1))

    @pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 2)])
    def test_few_cells(self, size):
        keys = F.normalize(torch.randn(2, 1, 4, *size), dim=2)
        assert torch.equal(compensate_motion(keys[:, 0], keys, keys)[0], keys)

    def test_a_memory_follows_a_turn_that_its_window_is_too_narrow_for(self):
        net = make_net(fusion="blend", memory_frames=1, window=3, value_channels=128, key_channels=32)
        before, now = self.view(0, 0, 128), self.view(0, 8, 128)
        encoded, past = net.projections(now), net.projections(before)
        with torch.inference_mode():
            fused, _ = net.recall(encoded, past.key[:, None], past.value[:, None])
            where_it_was = reference.local_attention(encoded.query, past.key[:, None], past.value[:, None], window=3)
        assert (fused - now)[..., :-8].abs().mean() < 0.1 * (where_it_was - now)[..., :-8].abs().mean()

    def test_fusions_of_the_authors_read_the_past_where_it_was(self, net):
        keys, values = torch.randn(1, 2, 4, 8, 8), torch.randn(1, 2, 4, 8, 8)
        found = net.past_of(net.encode(torch.zeros(1, 3, 64, 64)), keys, values)
        assert found[0] is keys
        assert found[1] is values


class TestAdapting:
    """A network given another memory."""

    def test_a_single_frame_network_gets_a_blend(self):
        single = make_net(memory_frames=0, window=0, key_channels=0, value_channels=0, fusion="")
        net = adapted_network(single, memory_frames=2)
        assert (net.spec.fusion, net.spec.memory_frames, net.spec.value_channels) == ("blend", 2, 128)
        assert net.encoder is single.encoder
        assert not net.training

    def test_another_fusion_has_its_own_widths(self, net):
        changed = adapted_network(net, fusion="blend")
        assert (changed.spec.key_channels, changed.spec.value_channels) == (32, 128)
        assert (changed.spec.memory_frames, changed.spec.window) == (4, 3)

    def test_what_stays_is_shared(self, net):
        longer = adapted_network(net, memory_frames=6, window=5)
        assert longer.projections is net.projections
        assert longer.fusion is net.fusion


@pytest.mark.parametrize("fusion", FOR_ERFNET)
def test_folding_is_exact_and_leaves_the_network_alone(fusion):
    net = make_net_with(fusion)
    for module in net.modules():  # norms as training leaves them, not as they are born
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    folded = fold(net)
    frames = torch.rand(3, 1, 3, 64, 96)
    for ours, exact in zip(
        stream(folded, frames, FeatureMemory(2)), stream(net, frames, FeatureMemory(2)), strict=True
    ):
        assert (ours - exact).abs().max() < 1e-4 * exact.abs().max()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    norms = [module for module in folded.encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert sum(norm.num_features for norm in norms) == 3 + 16 + 64  # the pooled channels of the three downsamplers


def test_a_frame_depends_on_the_last_t_frames_only(net):
    frames = torch.rand(8, 1, 3, 64, 64)
    whole = stream(net, frames, FeatureMemory(4))[-1]
    piece = stream(net, frames[3:], FeatureMemory(4))[-1]
    assert torch.equal(piece, whole)


def test_frames_of_a_batch_do_not_see_each_other(net):
    frames = torch.rand(3, 2, 3, 64, 64)
    both = stream(net, frames, FeatureMemory(2))[-1]
    second = stream(net, frames[:, 1:], FeatureMemory(2))[-1]
    torch.testing.assert_close(both[1:], second, rtol=1e-4, atol=1e-5)


def test_memory_holds_the_newest_frames_oldest_first():
    memory = FeatureMemory(3)
    assert memory.read() == (None, None)
    for i in range(5):
        memory.push(torch.full((1, 2, 4, 4), float(i)), torch.full((1, 3, 4, 4), float(i)))
        assert len(memory) == min(i + 1, 3)
        assert memory.read()[0][0, :, 0, 0, 0].tolist() == list(range(max(0, i - 2), i + 1))
    keys, values = memory.read()
    assert keys.shape == (1, 3, 2, 4, 4)
    assert keys[0, :, 0, 0, 0].tolist() == [2, 3, 4]
    assert torch.equal(keys[:, :, 0], values[:, :, 0])
    memory.clear()
    assert len(memory) == 0
    assert memory.read() == (None, None)


@pytest.mark.parametrize("room", [1, 3, 5])
def test_frames_of_one_video_look_back_on_those_before_them(room):
    memory = FeatureMemory(3, room)
    seen = []  # what each frame looked back on
    for start in range(0, 11, room):
        numbers = torch.arange(start, min(start + room, 11), dtype=torch.float32).view(-1, 1, 1, 1)
        for past in memory.follow(numbers.expand(-1, 2, 4, 4), -numbers.expand(-1, 3, 4, 4)):
            if past.keys is None:
                seen += [[]] * past.frames
                continue
            assert past.keys.shape[2:] == (2, 4, 4)
            assert torch.equal(past.keys[:, :, :1], -past.values[:, :, :1])
            seen += past.keys[:, :, 0, 0, 0].tolist()
        assert memory.settled([]) == (start >= 3 and len(numbers) == room)
    assert seen == [list(range(max(0, i - 3), i)) for i in range(11)]
    assert memory.read()[0][0, :, 0, 0, 0].tolist() == [8, 9, 10]


def recalled(net, encoded, seconds, memory=None, batch=1):
    """What the decoder reads of each frame, through a memory that is given some frames at a time."""
    memory = memory or RecurrentMemory(2)
    with torch.inference_mode():
        return [
            features
            for start in range(0, len(seconds), batch)
            for _, features in memory.recall(
                net, encoded.part(start, min(start + batch, len(seconds))), seconds[start : start + batch]
            )
        ]


class TestRecurrentMemory:
    SECONDS = (5, 6, 6, 7, 7, 7, 8, 8, 9, 11, 11, 12)  # of periods that begin at 4, 8 and 12

    @pytest.fixture(scope="class")
    def net(self):
        return make_net_with("blend", memory_frames=2)

    @pytest.fixture(scope="class")
    def encoded(self, net):
        with torch.inference_mode():
            return net.encode(torch.rand(len(self.SECONDS), 3, 64, 64, generator=torch.Generator().manual_seed(0)))

    def test_a_piece_from_the_last_second_of_the_period_before_is_as_the_whole(self, net, encoded):
        whole = recalled(net, encoded, self.SECONDS)
        for start, first in ((3, 6), (9, 11)):
            assert self.SECONDS[start - 1] < RecurrentMemory.since(Fraction(self.SECONDS[first])) == self.SECONDS[start]
            piece = recalled(net, encoded.part(start, 12), self.SECONDS[start:])
            assert all(map(torch.equal, whole[first:], piece[first - start :]))
            assert not torch.equal(whole[first - 1], piece[first - 1 - start])

    def test_a_label_draws_on_all_frames_of_its_period_and_of_the_second_before(self, net, encoded):
        whole = recalled(net, encoded, self.SECONDS)
        for changed, last, differs in ((0, 5, True), (3, 10, True), (2, 8, False), (9, 11, True), (8, 11, False)):
            other = Encoded(*(part.clone() for part in encoded))
            for part in other:
                part[changed] = part[changed].flip(-1)
            assert torch.equal(whole[last], recalled(net, other, self.SECONDS)[last]) != differs

    def test_batches_change_nothing(self, net, encoded):
        whole = recalled(net, encoded, self.SECONDS)
        assert all(map(torch.equal, whole, recalled(net, encoded, self.SECONDS, batch=5)))

    @pytest.mark.parametrize("seconds", [(6, 8), (7, 9), (9, 7)])
    def test_it_begins_anew_in_a_period_after_a_second_without_frames(self, net, encoded, seconds):
        assert torch.equal(recalled(net, encoded, seconds)[1], encoded.features[1:2])

    def test_it_is_settled_while_full_memories_work_and_none_begins_or_takes_over(self, net, encoded):
        memory, settled = RecurrentMemory(2), []
        assert not memory.settled([5])
        for index, second in enumerate(self.SECONDS):
            recalled(net, encoded.part(index, index + 1), [second], memory)
            settled.append(memory.settled([second, second]))
            following = memory.settled([second, second + 1])
            assert following == (settled[-1] if second in (5, 8, 9, 12) else 0)
        assert settled == [0, 1, 1, 0, 2, 2, 1, 1, 1, 0, 2, 1]

    def test_a_change_of_size_begins_anew(self, net, encoded):
        memory = RecurrentMemory(2)
        recalled(net, encoded.part(0, 3), (7, 7, 7), memory)
        smaller = Encoded(*(part[..., :5] for part in encoded))
        (first,) = recalled(net, smaller.part(0, 1), [7], memory)
        assert torch.equal(first, smaller.features[:1])


def test_the_gate_closes_where_the_network_sees_what_is_to_be_spared():
    net = adapted_network(lmaseg.load(), memory_frames=2)
    net.fusion.load_state_dict(BlendFusion(net.encoder.channels, net.encoder.channels).state_dict())
    with VideoReader(Path(__file__).parents[1] / "assets" / "street.mp4", end=0.3, stride=4) as reader:
        frames = torch.cat(
            [
                preprocess(torch.from_numpy(frame.image)[None], net.preprocess, (96, 128), torch.float32)
                for frame in reader
            ]
        )
    road = net.labels.names.index("road")
    with torch.no_grad():
        encoded = net.encode(frames)
        seen = F.adaptive_avg_pool2d(net.decode(encoded).softmax(1)[:, [road]], encoded.features.shape[-2:])

    def gate():
        weight, bias = net.fusion.gate.weight[:, : encoded.features.shape[1]], net.fusion.gate.bias
        return F.conv2d(encoded.features, weight, bias).sigmoid().detach()

    assert gate().std() < 1e-5
    start_gate(net, frames, {"road": 1})
    assert 0.2 < (seen > 0.5).float().mean() < 0.8
    assert gate()[seen > 0.9].mean() < 0.2
    assert gate()[seen < 0.1].mean() > 0.8
    with pytest.raises(ValueError, match="unknown class 'unicorn'"):
        start_gate(net, frames, {"unicorn": 1})


def test_memory_starts_anew_when_the_size_changes():
    memory = FeatureMemory(3)
    memory.push(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4))
    memory.push(torch.ones(1, 2, 5, 4), torch.ones(1, 3, 5, 4))
    keys, _ = memory.read()
    assert keys.shape == (1, 1, 2, 5, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "vgg"}, "unknown backbone 'vgg': this version knows erfnet"),
        ({"fusion": "sum"}, "unknown fusion 'sum'"),
        ({"window": 4}, "odd number"),
        ({"memory_frames": 0}, "memory_frames must be at least 1"),
        ({"classes": 19}, "camvid has 11 classes, the network 19"),
    ],
)
def test_a_spec_that_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_net(**changes)
