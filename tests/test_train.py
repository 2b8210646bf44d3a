"""Training: its parts, its stages, and that an interrupted run ends like an uninterrupted one."""

import csv
import json
import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from marks import slow
from PIL import Image
from street.files import draw_folders
from test_cli import run_cli
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from lmaseg import attach, checkpoint
from lmaseg.cli.common import with_common_options
from lmaseg.cli.train import _network as network_of
from lmaseg.cli.train import train as train_command
from lmaseg.cli.train_options import Data, Start
from lmaseg.datasets.clip import Clip, ClipFrame
from lmaseg.datasets.folder import class_id_encoding, folder_clips
from lmaseg.errors import CheckpointError, DatasetError, LmasegError
from lmaseg.labels import CAMVID, CITYSCAPES, label_set
from lmaseg.models import LocalMemoryNet, ModelSpec, Preprocess, adapted_network
from lmaseg.models.fusion import BlendFusion, SigmoidFusion
from lmaseg.models.memory import RecurrentMemory
from lmaseg.models.projections import Encoded, LikenessProjections, Projections
from lmaseg.train import (
    FrameStore,
    Mixture,
    TrainOptions,
    Validate,
    fresh_network,
    load_frames,
    train,
    with_classes,
)
from lmaseg.train.learner import Learner
from lmaseg.train.learning_rate import rate_factor
from lmaseg.train.losses import IGNORED, class_weights, lovasz_softmax, segmentation_loss, total_loss, unsteadiness
from lmaseg.train.sampler import Sampler
from lmaseg.train.stage import recall_clips

CPU = torch.device("cpu")
SIZE = (40, 48)


pytestmark = pytest.mark.usefixtures("one_thread")


class TinyEncoder(nn.Module):
    channels = 8
    stride = 8

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, stride=8)
        self.bn = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout2d(0.3)

    def forward(self, x):
        return self.dropout(F.relu(self.bn(self.conv(x))))


def tiny_net(seed=0, projections=Projections, fusion=SigmoidFusion, values=6):
    torch.manual_seed(seed)
    spec = ModelSpec("erfnet", 11, 4, 3, key_channels=4, value_channels=values, fusion="sigmoid")
    return LocalMemoryNet(
        TinyEncoder(),
        nn.ConvTranspose2d(8, 11, 8, stride=8),
        projections(8, 4, values),
        fusion(values, 8),
        spec=spec,
        labels=CAMVID,
        preprocess=Preprocess(size=SIZE),
    )


def random_store(frames=10, past=0, size=SIZE):
    """Noise whose labels can be told from its brightness; every frame has up to `past` neighbours before it."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(11, (frames, 3, 3), generator=generator).repeat_interleave(16, 1).repeat_interleave(16, 2)
    labels = labels[:, : size[0], : size[1]].to(torch.uint8)
    images = (labels * 20)[:, None].expand(-1, 3, -1, -1).contiguous()
    return FrameStore(images, labels, torch.arange(frames), torch.arange(frames).clamp(max=past))


def tiny_mixture(past=0):
    return Mixture({"noise": random_store(past=past)})


def options(**settings):
    defaults = {"steps": 8, "batch": 2, "crop": (32, 32), "past": 2, "report_every": 1}
    return TrainOptions(**defaults | settings)


def run_to_end(folder, settings, *, net=None, **arguments):
    return list(train(net or tiny_net(), tiny_mixture(), settings, folder=folder, **arguments))


def weights_in(folder):
    return torch.load(folder / "state.pt", weights_only=True)["learner"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, dict):
            assert_same(value, other[name])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, other[name]), name
        else:
            assert str(value) == str(other[name]), name


class TestOptions:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"stage": "third"}, "base, memory, joint"),
            ({"schedule": "step"}, "poly, cosine"),
            ({"batch": 0}, "batch"),
            ({"steps": 0}, "steps"),
            ({"scale": (2.0, 1.0)}, "zoom"),
            ({"ema": 1.0}, "ema"),
            ({"seed": -1}, "seed"),
            ({"steady": -1.0}, "steady"),
            ({"dropout": 2.0}, "dropout"),
            ({"validate_every": 0}, "validate_every"),
        ],
    )
    def test_wrong_settings_are_named(self, wrong, message):
        with pytest.raises(ValueError, match=message):
            TrainOptions(**wrong)

    def test_each_stage_has_its_rate_and_its_past(self):
        assert TrainOptions().peak_rate == 1e-3
        assert TrainOptions(stage="memory").peak_rate == 5e-4
        assert TrainOptions(stage="joint", learning_rate=1.0).peak_rate == 1.0
        assert (TrainOptions().past_frames, TrainOptions(stage="memory").past_frames) == (0, 3)


class TestLoss:
    weights = torch.tensor([1.0, 2.0, 0.5])

    def case(self):
        torch.manual_seed(0)
        logits, labels = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8))
        labels[0, :4] = IGNORED
        return logits, labels

    def test_is_the_weighted_cross_entropy_of_labelled_pixels(self):
        logits, labels = self.case()
        expected = F.cross_entropy(logits, labels, weight=self.weights, ignore_index=IGNORED)
        torch.testing.assert_close(segmentation_loss(logits, labels, self.weights), expected)

    def test_hard_examples_are_those_below_the_probability(self):
        logits, labels = self.case()
        losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED)
        hard = (losses > -math.log(0.3)) & (labels != IGNORED)
        share = self.weights[labels[hard]]
        expected = (losses[hard] * share).sum() / share.sum()
        torch.testing.assert_close(segmentation_loss(logits, labels, self.weights, ohem=0.3), expected)

    def test_the_hardest_pixels_count_when_all_are_easy(self):
        labels = torch.zeros(1, 8, 8, dtype=torch.long)
        logits = torch.zeros(1, 3, 8, 8)
        logits[:, 0] = 20
        logits[0, 0, 0, 0] = 15
        assert segmentation_loss(logits, labels, self.weights, ohem=0.5) > 0

    def test_smaller_logits_are_compared_with_a_grid_of_labels(self):
        _, labels = self.case()
        small = torch.randn(2, 3, 2, 2)
        grid = labels[:, 2::4, 2::4]
        expected = segmentation_loss(small, grid, self.weights)
        assert torch.equal(segmentation_loss(small, labels, self.weights), expected)

    def test_without_a_label_there_is_no_loss(self):
        labels = torch.full((1, 8, 8), IGNORED)
        assert segmentation_loss(torch.randn(1, 3, 8, 8), labels, self.weights) == 0

    def test_the_lovasz_loss_of_sure_labels_is_the_mean_of_1_minus_iou(self):
        torch.manual_seed(1)
        labels, sure = torch.randint(3, (2, 9, 9)), torch.randint(3, (2, 9, 9))
        labels[0, :4] = IGNORED
        logits = 100.0 * F.one_hot(sure, 4).permute(0, 3, 1, 2)  # the fourth class is in no label
        truth, guess = labels[:, ::3, ::3], sure[:, ::3, ::3]
        known = truth != IGNORED
        pairs = [((truth == k) & known, (guess == k) & known) for k in range(3)]
        expected = sum(1 - (a & b).sum() / (a | b).sum() for a, b in pairs) / 3
        torch.testing.assert_close(lovasz_softmax(logits, labels), expected)

    def test_the_lovasz_loss_falls_along_its_gradient(self):
        logits, labels = self.case()
        logits.requires_grad_()
        loss = lovasz_softmax(logits, labels)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.abs().sum() > 0
        assert lovasz_softmax(logits - gradient, labels) < loss < 1

    def test_the_lovasz_loss_is_added_to_the_first_output_only(self):
        logits, labels = self.case()
        settings = {"labels": labels, "weights": self.weights, "shares": [1.0, 0.4], "ohem": 0.0}
        plain, added = (total_loss([logits, logits.flip(1)], lovasz=share, **settings) for share in (0.0, 0.5))
        torch.testing.assert_close(added - plain, 0.5 * lovasz_softmax(logits, labels))

    def test_without_a_label_there_is_no_lovasz_loss(self):
        assert lovasz_softmax(torch.randn(1, 3, 8, 8), torch.full((1, 8, 8), IGNORED)) == 0

    def test_two_frames_that_agree_on_every_place_are_steady(self):
        logits, labels = self.case()
        forth = F.affine_grid(
            torch.tensor([[[1.0, 0.0, 2 / 8], [0.0, 1.0, 0.0]]]).repeat(2, 1, 1), logits.shape, align_corners=False
        )
        before = logits.roll(-1, dims=3)  # what it shows at x, the last frame shows at x + 1
        labels[..., -1] = IGNORED
        assert unsteadiness(logits, before, labels, forth) < 1e-6
        assert unsteadiness(logits, logits, labels, forth) > 0.01
        assert unsteadiness(logits, -before, labels, forth) > 0.01

    def test_the_frame_that_is_right_does_not_learn_from_the_other(self):
        labels = torch.zeros(1, 8, 8, dtype=torch.long)
        forth = F.affine_grid(torch.eye(2, 3)[None], [1, 1, 8, 8], align_corners=False)
        right, wrong = torch.zeros(2, 1, 3, 8, 8).unbind(0)
        right[:, 0] = 3
        right.requires_grad_()
        wrong.requires_grad_()
        for pair in ((right, wrong), (wrong, right)):
            kept, drawn = torch.autograd.grad(unsteadiness(*pair, labels, forth), (right, wrong))
            assert not kept.any()
            assert (drawn[:, 0] < 0).all()

    def test_unsteadiness_counts_labelled_places_only(self):
        logits, labels = self.case()
        forth = F.affine_grid(torch.eye(2, 3).repeat(2, 1, 1), logits.shape, align_corners=False)
        known = labels != IGNORED
        expected = (logits.softmax(1) - logits.flip(1).softmax(1)).square().sum(1)[known].mean()
        torch.testing.assert_close(unsteadiness(logits, logits.flip(1), labels, forth), expected)
        assert unsteadiness(logits, logits.flip(1), torch.full_like(labels, IGNORED), forth) == 0

    def test_rare_classes_weigh_more(self):
        frequencies = torch.tensor([0.9, 0.1, 0.0])
        weights = class_weights(frequencies)
        assert weights[0] < weights[1] < weights[2] < float("inf")
        torch.testing.assert_close((weights * frequencies).sum(), torch.tensor(1.0))


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_the_rate_rises_then_falls_to_nearly_nothing(schedule):
    factors = [rate_factor(step, 1000, warm_up=10, schedule=schedule) for step in range(1000)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[9] == factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0 < factors[-1] < 0.005


def write_clip(folder, numbers, labelled, size=(24, 32)):
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for n in numbers:
        Image.fromarray(np.full((*size, 3), n, np.uint8)).save(folder / "images" / f"a_{n:03d}.png")
        if n in labelled:
            Image.fromarray(np.full(size, n % 11, np.uint8)).save(folder / "labels" / f"a_{n:03d}.png")
    return folder_clips(folder / "images", folder / "labels", CAMVID)


class TestStore:
    def load(self, clips, past=2, size=(24, 32), labels=CAMVID):
        return load_frames(clips, labels=labels, size=size, past=past, device=CPU)

    def test_keeps_labelled_frames_and_their_neighbours(self, tmp_path):
        store = self.load(write_clip(tmp_path, range(1, 11), {1, 6, 7}))
        assert store.images[:, 0, 0, 0].tolist() == [1, 4, 5, 6, 7]
        assert store.ends.tolist() == [0, 3, 4]
        assert store.reach.tolist() == [0, 2, 3]
        indices, still = store.pick(torch.tensor([0, 1, 2]), 2)
        assert indices.tolist() == [[0, 0, 0], [1, 2, 3], [2, 3, 4]]
        assert still.tolist() == [True, False, False]

    def test_frames_far_apart_are_stills(self, tmp_path):
        store = self.load(write_clip(tmp_path, range(0, 200, 30), {0, 30, 60}))
        assert len(store.images) == 3
        assert store.reach.tolist() == [0, 0, 0]

    def test_another_size_is_fitted_and_the_rest_is_unlabelled(self, tmp_path):
        store = self.load(write_clip(tmp_path, [7], {7}), size=(48, 48))
        assert (store.labels[0, :36] == 7).all()
        assert (store.labels[0, 36:] == IGNORED).all()
        assert (store.images[0, :, :36] == 7).all()

    def test_labels_become_those_of_the_network(self):
        ids = np.array([[0, 8, 9, 255] * 8] * 32, np.uint8)  # road, vegetation, terrain, unlabelled
        frame = ClipFrame("one", lambda: np.zeros((32, 32, 3), np.uint8), lambda: ids)
        clip = Clip("one", (frame,), CITYSCAPES, class_id_encoding(CITYSCAPES))
        store = self.load([clip], size=(32, 32))
        assert store.labels[0, 0, :4].tolist() == [3, 5, 5, IGNORED]

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            ([[255]], r"no pixel of the 1 label maps from a_001 on is labelled"),
            ([[0, 255]], r"hold only sky \(0\) and unlabelled pixels \(255\): in masks, write 1"),
            ([[1, 12]], r"a_001\.png holds id 12, which is none of the class ids of camvid .*ids seem to begin at 1"),
            ([[0, 12]], r"a_001\.png holds id 12, which is none of the class ids of camvid .*unlabelled\): convert"),
        ],
    )
    def test_label_maps_that_mean_something_else_are_refused(self, tmp_path, ids, message):
        clips = write_clip(tmp_path, [1], {1})
        Image.fromarray(np.resize(np.array(ids, np.uint8), (24, 32))).save(tmp_path / "labels" / "a_001.png")
        with pytest.raises(DatasetError, match=message):
            self.load(clips)

    def test_nothing_to_train_on_is_said(self):
        with pytest.raises(DatasetError, match="no labelled frame"):
            self.load([])

    def test_frequencies_leave_out_the_unlabelled(self):
        store = random_store(frames=2)
        store.labels[0] = 3
        store.labels[1] = IGNORED
        assert store.frequencies(11).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


class TestMixture:
    def test_needs_sources_of_one_size(self):
        with pytest.raises(DatasetError, match="nothing to train on"):
            Mixture({})
        with pytest.raises(DatasetError, match="size"):
            Mixture({"a": random_store(), "b": random_store(size=(32, 32))})

    def test_every_frame_comes_once_a_round(self):
        sampler = Sampler(tiny_mixture(), batch=5, seed=0)
        rounds = [torch.cat([sampler._positions(0, 10 * turn, 10)]).tolist() for turn in range(2)]
        assert sorted(rounds[0]) == sorted(rounds[1]) == list(range(10))
        assert rounds[0] != rounds[1]

    def test_shares_are_kept(self):
        sampler = Sampler(Mixture({"a": random_store(), "b": random_store()}, {"a": 3}), batch=20, seed=0)
        for step in range(50):
            assert len(sampler.draw(step, 0).labels) == 20
        assert sum(sampler.drawn) == 1000
        assert 700 < sampler.drawn[0] < 800

    def test_processes_share_a_draw(self):
        one = Sampler(tiny_mixture(), batch=10, seed=0)
        pair = [Sampler(tiny_mixture(), batch=5, seed=0, rank=rank, world=2) for rank in range(2)]
        for step in range(3):
            whole = one.draw(step, 0).labels
            assert torch.equal(whole, torch.cat([each.draw(step, 0).labels for each in pair]))
        assert one.drawn == pair[0].drawn == pair[1].drawn == [30]


class TestNetwork:
    def test_queries_start_as_keys(self):
        net = fresh_network(CAMVID, size=SIZE, fusion="sigmoid-do1")
        assert torch.equal(net.projections.query_key.weight, net.projections.memory_key.weight)

    def test_other_classes_keep_what_is_known_of_them(self):
        net = fresh_network(CAMVID, size=SIZE)
        own = with_classes(net, label_set("lawn,car,vegetation,shed"))
        assert (own.spec.classes, own.labels.names) == (4, ("lawn", "car", "vegetation", "shed"))
        assert_same(dict(net.encoder.state_dict()), dict(own.encoder.state_dict()))
        before, after = net.decoder.output_conv, own.decoder.output_conv
        for number, known in ((1, 8), (2, 5)):
            assert torch.equal(after.weight[:, number], before.weight[:, known])
            assert torch.equal(after.bias[number], before.bias[known])
        assert not torch.equal(after.weight[:, 0], before.weight[:, 0])
        attached = attach(TinyEncoder(), nn.ConvTranspose2d(8, 11, 8, stride=8), labels=CAMVID, window=3)
        with pytest.raises(ValueError, match="built for its classes"):
            with_classes(attached, CITYSCAPES)

    def test_numbered_classes_take_names(self):
        attached = attach(TinyEncoder(), nn.ConvTranspose2d(8, 11, 8, stride=8), window=3)
        assert attached.labels.names[3] == "class 3"
        assert with_classes(attached, CAMVID) is attached
        assert attached.labels == CAMVID

    def test_adapting_keeps_what_fits(self):
        net = fresh_network(CAMVID, size=SIZE)
        wider = adapted_network(net, window=11, memory_frames=2, size=(64, 64))
        assert (wider.spec.window, wider.spec.memory_frames, wider.preprocess.size) == (11, 2, (64, 64))
        assert_same(dict(net.state_dict()), dict(wider.state_dict()))
        other = adapted_network(net, fusion="sigmoid")
        assert_same(dict(net.encoder.state_dict()), dict(other.encoder.state_dict()))
        with pytest.raises(ValueError, match="fusion"):
            adapted_network(net, fusion="sum")

    def test_projections_are_replaced_where_the_fusion_reads_others(self):
        net = fresh_network(CAMVID, size=SIZE)
        gated = adapted_network(net, fusion="sigmoid")
        assert not hasattr(gated.projections, "log_sharpness")
        assert torch.equal(gated.projections.query_key.weight, gated.projections.memory_key.weight)
        assert adapted_network(gated, window=5).projections is gated.projections

    def test_features_in_a_carrier_are_adapted_alike(self):
        net = attach(TinyEncoder(), nn.ConvTranspose2d(8, 11, 8, stride=8), labels=CAMVID)
        assert adapted_network(net, window=5).projections is net.projections
        other = adapted_network(net, fusion="sigmoid")
        queries, keys = other.projections.projections.query_key, other.projections.projections.memory_key
        assert torch.equal(queries.weight, keys.weight)


def test_frames_are_kept_at_the_size_that_the_start_works_at(tmp_path):
    """Weights given to start from keep their working size; without any, one's own pictures decide."""
    folders = draw_folders(tmp_path, streets=1, frames=1, rate=1, size=(64, 96), seed=0)
    start = tmp_path / "start.safetensors"
    checkpoint.save(fresh_network(CAMVID, size=(96, 160), backbone="lean"), start, about={})
    for given, size in ((Start(init=start), (96, 160)), (Start(), (64, 96)), (Start(size=(32, 48)), (32, 48))):
        assert network_of(given, Data(folder=folders), 0, "cpu").preprocess.size == size


class TestStages:
    def changed(self, stage, make=tiny_net):
        """The parts of the network that a few steps of a stage change, and their buffers."""
        net = make()
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        learner = Learner(net, tiny_mixture(past=4), options(stage=stage, learning_rate=0.1))
        learner.prepare(None)
        for _ in range(4):
            learner.take_step()
        return {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}

    def test_base_trains_the_single_frame_network(self):
        parts = {name.split(".")[0] for name in self.changed("base")}
        assert parts == {"encoder", "decoder"}

    @pytest.mark.parametrize("stage", ["base", "memory", "joint"])
    def test_features_in_a_carrier_are_trained_alike(self, stage):
        def carrying():
            return attach(TinyEncoder(), nn.ConvTranspose2d(8, 11, 8, stride=8), labels=CAMVID, window=3)

        parts = {name.split(".")[0] for name in self.changed(stage)}
        assert {name.split(".")[0] for name in self.changed(stage, carrying)} == parts

    def test_memory_leaves_the_base_as_it_is(self):
        changed = self.changed("memory")
        assert {name.split(".")[0] for name in changed} == {"projections", "fusion"}
        assert "fusion.bn.running_mean" in changed

    def test_joint_trains_everything_but_statistics(self):
        changed = self.changed("joint")
        assert {name.split(".")[0] for name in changed} == {"encoder", "decoder", "projections", "fusion"}
        assert not any("running" in name for name in changed)

    @pytest.mark.parametrize("stage", ["memory", "joint"])
    @pytest.mark.parametrize(("past", "counts"), [(1, False), (2, True)])
    def test_the_frame_before_counts_once_it_has_a_past(self, stage, past, counts):
        def loss(steady):
            learner = Learner(tiny_net(), tiny_mixture(), options(stage=stage, past=past, steady=steady))
            learner.prepare(None)
            learner.take_step()
            return learner.mean_loss()

        assert (loss(5.0) > loss(1.0) > loss(0.0)) == counts

    @pytest.mark.parametrize("stage", ["base", "memory", "joint"])
    def test_the_average_follows(self, stage):
        learner = Learner(tiny_net(), tiny_mixture(past=4), options(stage=stage, learning_rate=0.1))
        learner.prepare(None)
        before = {name: tensor.clone() for name, tensor in learner.average.net.state_dict().items()}
        learner.take_step()
        name = "decoder.weight" if stage == "base" else "fusion.query_content.weight"
        assert not torch.equal(learner.average.net.state_dict()[name], before[name])

    @pytest.mark.parametrize("memory", [1, 2])
    def test_clips_go_through_a_recurrent_memory_as_frames_of_a_video_do(self, memory):
        net = tiny_net(projections=LikenessProjections, fusion=BlendFusion, values=8).eval()
        net.spec = replace(net.spec, memory_frames=memory)
        clips = torch.rand(2, 5, 3, 32, 48)
        encoded = net.encode(clips.flatten(0, 1))
        for end in (1, 3, 5):
            wanted = min(2, end)
            part = Encoded(*(torch.cat([each[:end], each[5 : 5 + end]]) for each in encoded))
            read = recall_clips(net, part, end, wanted)
            for clip, video in enumerate(clips):
                streamed = RecurrentMemory(memory).recall(net, net.encode(video[:end]), [0] * end)
                for ours, (_, theirs) in zip(read, list(streamed)[-wanted:], strict=True):
                    torch.testing.assert_close(ours[clip : clip + 1], theirs)

    def test_keys_that_nobody_trained_begin_as_principal_components(self):
        """Those of the base stage's result, and those that the memory stage starts from."""

        def fresh():
            torch.manual_seed(0)
            return attach(TinyEncoder(), nn.ConvTranspose2d(8, 11, 8, stride=8), labels=CAMVID, window=3)

        base, memory = (Learner(fresh(), tiny_mixture(past=4), options(stage=stage)) for stage in ("base", "memory"))
        unlike = fresh().state_dict()["projections.projections.key.weight"]
        for net in (base.averaged(), memory._net):
            keys = net.state_dict()["projections.projections.key.weight"]
            assert not torch.equal(keys, unlike)
            assert torch.equal(keys, memory._net.state_dict()["projections.projections.key.weight"])
        started = Learner(memory._net, tiny_mixture(past=4), options(stage="base"))
        assert torch.equal(started.averaged().state_dict()["projections.projections.key.weight"], keys)
        covariance = keys.flatten(1) @ keys.flatten(1).T
        torch.testing.assert_close(covariance, torch.eye(8), atol=1e-5, rtol=0)

    def test_dropout_is_capped(self):
        learner = Learner(tiny_net(), tiny_mixture(), options(dropout=0.1))
        assert learner._net.encoder.dropout.p == 0.1

    def test_a_crop_off_the_stride_is_refused(self):
        with pytest.raises(ValueError, match="multiples of 8"):
            Learner(tiny_net(), tiny_mixture(), options(crop=(36, 36)))


class TestRun:
    def test_learns_and_reports(self, tmp_path):
        easy = {"colour": 0.0, "scale": (1.0, 1.0), "rotation": 0.0, "dropout": 0.0}
        settings = options(steps=40, batch=8, learning_rate=0.03, **easy)
        progress = run_to_end(tmp_path / "run", settings)
        assert [record.step for record in progress] == [*range(1, 41), 40]
        assert progress[-1].finished
        assert progress[-2].loss < 0.8 * progress[0].loss
        assert checkpoint.read_header(tmp_path / "run" / "final.safetensors").about["stage"] == "base, 40 of 40 steps"
        with (tmp_path / "run" / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == list(range(1, 41))
        assert float(rows[0]["loss"]) == pytest.approx(progress[0].loss, rel=1e-5)

    def test_keeps_the_best_weights(self, tmp_path):
        scores = iter([0.2, 0.5, 0.3])
        validate = Validate(["mIoU"], lambda net: {"mIoU": next(scores)})
        progress = run_to_end(
            tmp_path, options(steps=12, validate_every=4), validate=validate, about={"licence": "free"}
        )
        assert [record.scores["mIoU"] for record in progress if record.scores] == [0.2, 0.5, 0.3]
        assert progress[-1].best == 0.5
        about = checkpoint.read_header(tmp_path / "best.safetensors").about
        assert about["scores"] == "mIoU 0.5000"
        assert about["stage"] == "base, 8 of 12 steps"
        assert about["licence"] == "free"
        assert "0.3000" in checkpoint.read_header(tmp_path / "final.safetensors").about["scores"]

    def test_a_memory_that_lowers_the_score_is_not_the_best(self, tmp_path):
        scores = iter([(0.6, 0.7), (0.5, 0.4), (0.55, 0.6)])
        validate = Validate(
            ["on", "off"], lambda net: dict(zip(("on", "off"), next(scores), strict=True)), without_memory="off"
        )
        progress = run_to_end(tmp_path, options(steps=3, validate_every=1), validate=validate)
        assert [record.memory_lowers for record in progress if record.scores] == [True, False, True]
        assert progress[-1].best == 0.5
        assert checkpoint.read_header(tmp_path / "best.safetensors").about["stage"] == "base, 2 of 3 steps"

    def test_a_validation_may_do_what_it_likes_with_its_network(self, tmp_path):
        def spoil(net):
            nn.init.zeros_(net.decoder.weight)
            return {"mIoU": 0.5}

        run_to_end(tmp_path / "spoilt", options(validate_every=4), validate=Validate(["mIoU"], spoil))
        run_to_end(tmp_path / "plain", options())
        assert_same(weights_in(tmp_path / "spoilt"), weights_in(tmp_path / "plain"))

    @pytest.mark.parametrize("stage", ["memory", slow("base"), slow("joint")])
    def test_a_killed_run_ends_with_the_same_weights(self, tmp_path, stage):
        settings = options(stage=stage, save_minutes=0.0, validate_every=4)
        validate = Validate(["mIoU"], lambda net: {"mIoU": 0.5})
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        run_to_end(whole, settings, validate=validate)
        for killed_at in (3, 5):
            for record in train(tiny_net(), tiny_mixture(), settings, folder=cut, resume=True, validate=validate):
                if record.step == killed_at:  # reported, but its state is not saved yet
                    break
        run_to_end(cut, settings, resume=True, net=tiny_net(seed=9), validate=validate)
        assert_same(weights_in(whole), weights_in(cut))
        histories = [(folder / "history.csv").read_text().splitlines() for folder in (whole, cut)]
        without_times = [[line.split(",")[:3] for line in lines] for lines in histories]
        assert without_times[0] == without_times[1]

    def test_a_finished_run_resumes_into_nothing(self, tmp_path):
        run_to_end(tmp_path, options())
        records = run_to_end(tmp_path, options(), resume=True)
        assert len(records) == 1
        assert records[0].finished

    def test_a_folder_is_not_overwritten(self, tmp_path):
        run_to_end(tmp_path, options())
        with pytest.raises(CheckpointError, match="--resume"):
            run_to_end(tmp_path, options())

    def test_another_run_is_not_resumed(self, tmp_path):
        run_to_end(tmp_path, options())
        with pytest.raises(CheckpointError, match="batch 2, not 4"):
            run_to_end(tmp_path, options(batch=4), resume=True)
        (tmp_path / "state.pt").write_bytes(b"damaged")
        with pytest.raises(CheckpointError, match="damaged"):
            run_to_end(tmp_path, options(), resume=True)

    def test_time_or_a_request_stops_a_run_and_it_goes_on(self, tmp_path):
        settings = options()
        records = run_to_end(tmp_path, replace(settings, minutes=0.0))
        assert records[-1].stopped
        assert records[-1].step == 0
        stop = threading.Event()
        stopped = []
        for record in train(tiny_net(), tiny_mixture(), settings, folder=tmp_path, resume=True, stop=stop):
            stop.set()
            stopped.append(record)
        assert stopped[-1].stopped
        assert stopped[-1].step == 1
        latest = checkpoint.read_header(tmp_path / "latest.safetensors").about
        assert latest["stage"] == "base, 1 of 8 steps"
        assert run_to_end(tmp_path, settings, resume=True)[-1].finished
        assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["final.safetensors"]

    def test_a_loss_that_explodes_is_an_error(self, tmp_path):
        net = tiny_net()
        nn.init.constant_(net.encoder.conv.weight, float("nan"))
        with pytest.raises(LmasegError, match="learning rate"):
            run_to_end(tmp_path, options(), net=net)


app = typer.Typer()
app.command()(with_common_options(train_command, "train", ["train"]))
SMALL = ["--size", "96x128", "--crop", "64x96", "--batch", "2", "--device", "cpu", "--seed", "1"]


def command(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def losses(folder):
    with (folder / "history.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def one_frame(folder):
    write_clip(folder, [1], {1}, size=(96, 128))
    return folder / "images", folder / "labels"


def draw_yards(folder, count):
    """Grey paths, brown sheds and red balls on green, 160x120, with noise; ids 1, 2, 3 on 0."""
    rng = np.random.default_rng(0)
    colors = np.array([(60, 140, 50), (150, 150, 150), (120, 80, 40), (210, 40, 40)])
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(count):
        ids = np.zeros((120, 160), np.uint8)
        x, y = rng.integers(0, 120), rng.integers(0, 60)
        ids[:, x : x + 30] = 1
        ids[y : y + 40, (x + 60) % 110 : (x + 60) % 110 + 50] = 2
        row, column = rng.integers(15, 105), rng.integers(15, 145)
        ids[np.hypot(*np.ogrid[-row : 120 - row, -column : 160 - column]) < 12] = 3
        image = colors[ids] + rng.integers(-25, 25, (120, 160, 3)) + rng.integers(-20, 20)
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / "images" / f"yard{number}.jpg")
        Image.fromarray(ids).save(folder / "labels" / f"yard{number}.png")


class TestCommand:
    @pytest.mark.slow
    def test_drawn_streets_lower_the_loss(self, tmp_path):
        folders = draw_folders(tmp_path, streets=2, frames=8, rate=1, size=(96, 128), seed=0)
        command("--folder", *folders, "--classes", "camvid", "--steps", 40, *SMALL, "-o", tmp_path / "run")
        values = losses(tmp_path / "run")
        assert values[-1] < 0.9 * values[0]
        net = checkpoint.load(tmp_path / "run" / "final.safetensors")
        assert net.labels == CAMVID
        assert net.preprocess.size == (96, 128)

    def test_stages_start_from_each_other_and_are_validated(self, tmp_path):
        clips = write_clip(tmp_path / "data", range(1, 8), set(range(1, 8)), size=(96, 128))
        assert len(clips) == 1
        images, labels = tmp_path / "data" / "images", tmp_path / "data" / "labels"
        data = ["--folder", images, labels, "--val-folder", images, labels, "--steps", 1]
        command(*data, *SMALL, "-o", tmp_path / "base")
        start = tmp_path / "base" / "best.safetensors"
        memory = ["--stage", "memory", "--init", start, "--window", 5, "--past", 2]
        command(*data, *SMALL, *memory, "-o", tmp_path / "memory")
        base = checkpoint.load(start)
        net = checkpoint.load(tmp_path / "memory" / "final.safetensors")  # this memory may lower the score
        assert base.ranges, "the best weights are ready for int8"
        assert net.ranges.keys() == base.ranges.keys()
        assert net.spec.window == 5
        assert_same(dict(base.encoder.state_dict()), dict(net.encoder.state_dict()))
        header = checkpoint.read_header(tmp_path / "memory" / "final.safetensors")
        assert f"folder memory {net.spec.memory_frames} mIoU" in header.about["scores"]
        assert "folder memory 0 mIoU" in header.about["scores"]

    def test_what_is_held_out_is_validated_instead(self, tmp_path):
        write_clip(tmp_path, [1, 2, 11, 12], {1, 2, 11, 12}, size=(96, 128))  # two clips
        data = ["--folder", tmp_path / "images", tmp_path / "labels", "--hold-out", "a_011"]
        command(*data, "--steps", 1, *SMALL, "-o", tmp_path / "run")
        about = checkpoint.read_header(tmp_path / "run" / "best.safetensors").about
        assert about["data"] == "folder 2 frames (100%)"
        assert about["scores"].startswith("held out memory 0 mIoU")

    @pytest.mark.slow
    def test_val_classes_say_what_the_validated_label_maps_mean(self, tmp_path):
        images, labels = one_frame(tmp_path)
        data = ["--folder", images, labels, "--classes", "cityscapes", "--val-folder", images, labels]
        Image.fromarray(np.full((96, 128), 18, np.uint8)).save(labels / "a_001.png")
        with pytest.raises(DatasetError, match="holds id 18, which is none of the class ids of camvid"):
            command(*data, "--val-classes", "camvid", "--steps", 1, *SMALL, "-o", tmp_path / "wrong")
        command(*data, "--steps", 1, *SMALL, "-o", tmp_path / "run")
        assert "folder memory 0" in checkpoint.read_header(tmp_path / "run" / "best.safetensors").about["scores"]

    def test_own_classes_with_nothing_else_said(self, tmp_path, capsys):
        write_clip(tmp_path, range(1, 11), set(range(1, 11)), size=(72, 96))
        for path in (tmp_path / "labels").iterdir():
            Image.fromarray(np.asarray(Image.open(path)) % 3 + np.uint8(1)).save(path)
        data = ["--folder", tmp_path / "images", tmp_path / "labels"]
        own = ["--classes", "lawn,car,shed,path", "--steps", 1, "--device", "cpu"]
        assert run_cli("train", *data, *own, "-o", tmp_path / "run") == 0
        said = " ".join(capsys.readouterr().err.split())
        assert "2 labelled frames are held out to validate with" in said
        assert "no pixel to train on is labelled lawn; do the ids in the label maps begin at 1?" in said
        net = checkpoint.load(tmp_path / "run" / "best.safetensors")
        assert net.labels.names == ("lawn", "car", "shed", "path")
        assert net.preprocess.size == (72, 96)

    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    def test_twenty_small_pictures_of_own_classes_with_nothing_else_said(self, tmp_path, capsys):
        draw_yards(tmp_path, 20)
        data = ["--folder", tmp_path / "images", tmp_path / "labels"]
        began = time.process_time()
        assert run_cli("train", *data, "--classes", "lawn,path,shed,ball", "-o", tmp_path / "run") == 0
        assert time.process_time() - began < 2 * 300  # five minutes of two cores, whatever else they do
        weights = ["--weights", tmp_path / "run" / "best.safetensors"]
        assert run_cli("eval", *data, *weights, "--stills", "--json", tmp_path / "scores.json") == 0
        scores = json.loads((tmp_path / "scores.json").read_text())
        assert list(scores["classScores"]) == ["lawn", "path", "shed", "ball"]
        assert scores["averageScoreClasses"] > 0.6
        assert run_cli("run", tmp_path / "images", "-o", tmp_path / "out", *weights) == 0
        capsys.readouterr()
        assert run_cli("info", weights[1]) == 0
        assert "lawn, path, shed, ball" in " ".join(capsys.readouterr().out.split())

    def test_a_memory_is_not_taught_by_stills_that_are_numbered(self, tmp_path):
        images, labels = one_frame(tmp_path)
        for number in range(2, 5):
            scene = np.random.default_rng(number).integers(0, 256, (3, 4, 3), np.uint8)
            Image.fromarray(scene).resize((128, 96), Image.NEAREST).save(images / f"a_{number:03d}.png")
            Image.fromarray(np.ones((96, 128), np.uint8)).save(labels / f"a_{number:03d}.png")
        memory = ["--folder", images, labels, "--stage", "memory", "--no-val", "--minutes", 0, *SMALL]
        hint = "if they are no frames of a video, add --stills"
        assert hint in " ".join(command(*memory, "-o", tmp_path / "video").stderr.split())
        assert hint not in " ".join(command(*memory, "--stills", "-o", tmp_path / "stills").stderr.split())

    def test_a_single_crop_too_small_for_a_batch_norm_is_said_to_be_one(self, tmp_path):
        result = command("--folder", *one_frame(tmp_path), *SMALL, "--batch", "1", "--no-val", "-o", tmp_path / "run")
        assert result.exit_code == 2
        assert "train on larger crops" in " ".join(result.stderr.split())

    def test_minutes_end_in_peace(self, tmp_path):
        result = command("--folder", *one_frame(tmp_path), *SMALL, "--minutes", 0, "-o", tmp_path / "run")
        assert result.exit_code == 0
        kept = " and ".join(str(tmp_path / "run" / name) for name in ("state.pt", "latest.safetensors"))
        assert f"kept: {kept}; to continue: " in " ".join(result.stderr.split())
        assert (tmp_path / "run" / "state.pt").is_file()

    @pytest.mark.parametrize(
        "wrong",
        [
            ["--mix", "camvid=1"],
            ["--mix", "folder"],
            ["--crop", "96"],
            ["--crop", "100x100"],
            ["--hold-out", "nothing*"],
            ["--window", "4"],
            ["--ema", "2"],
            ["--stage", "third"],
            ["--backbone", "vgg"],
            ["--backbone", "erfnet", "--init", "x.safetensors"],
        ],
    )
    def test_a_wrong_command_line_is_exit_code_2(self, tmp_path, wrong):
        assert command("--folder", *one_frame(tmp_path), *SMALL, *wrong, "-o", tmp_path / "run").exit_code == 2


MANY = """
import sys
from pathlib import Path
import torch
from lmaseg.evaluate import process_group
sys.path.insert(0, sys.argv[1])
from test_train import options, tiny_mixture, tiny_net
from lmaseg.train import Validate, train

folder = Path(sys.argv[2])
torch.set_num_threads(1)
with process_group("cpu"):
    rank = torch.distributed.get_rank()
    validate = Validate(["mIoU"], lambda net: {"mIoU": float(net.decoder.bias[0])})
    for stage in ("base", "memory"):
        net = tiny_net(seed=rank)
        for progress in train(net, tiny_mixture(), options(stage=stage), folder=folder / stage, validate=validate):
            pass
        torch.save(net.state_dict(), folder / f"{stage}{rank}.pt")
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_processes_train_one_network(tmp_path):
    script = tmp_path / "many.py"
    script.write_text(MANY)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, script, Path(__file__).parent, tmp_path], check=True, env=environment, timeout=170)
    for stage in ("base", "memory"):
        first, second = (torch.load(tmp_path / f"{stage}{rank}.pt", weights_only=True) for rank in range(2))
        for name in first:
            if "running" not in name:
                assert torch.equal(first[name], second[name]), name
        assert (tmp_path / stage / "final.safetensors").is_file()
        assert weights_in(tmp_path / stage)["drawn"] == [32]


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_process_that_is_killed_outright_resumes(tmp_path):
    write_clip(tmp_path / "data", range(1, 6), set(range(1, 6)), size=(96, 128))
    data = ["--folder", tmp_path / "data" / "images", tmp_path / "data" / "labels", *SMALL]
    arguments = [*data, "--steps", 12, "--save-minutes", 0]
    command(*arguments, "-o", tmp_path / "whole")
    call = "import test_train, sys; test_train.command(*sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", call, *map(str, arguments), "-o", tmp_path / "cut"],
        cwd=Path(__file__).parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while not (tmp_path / "cut" / "state.pt").is_file():
        assert process.poll() is None
    process.kill()
    process.wait()
    command(*arguments, "-o", tmp_path / "cut", "--resume")
    assert_same(weights_in(tmp_path / "whole"), weights_in(tmp_path / "cut"))
