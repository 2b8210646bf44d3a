"""One step of training, and everything that a step changes."""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lmaseg.datasets.augment import ClipAugmenter, Views, sample_labels
from lmaseg.models import LocalMemoryNet, has_fresh_keys, start_keys
from lmaseg.models.precision import fastest_dtype
from lmaseg.stream import normalised
from lmaseg.train.average import MovingAverage
from lmaseg.train.learning_rate import rate_factor
from lmaseg.train.losses import class_weights, total_loss, unsteadiness
from lmaseg.train.mixture import Mixture
from lmaseg.train.sampler import Sampler, step_generator, step_seed
from lmaseg.train.stage import STAGES, Outputs
from lmaseg.train.start import cap_dropout
from lmaseg.train_options import TrainOptions

USUAL_CROP = 288, 384
PAST_STREAM = -1000 + 1  # below all of the sampler's
SOME = 13  # frames
BEFORE = 0.5  # share of the frame before the last in the loss


class Learner:
    """A network in one stage of its training.

    `step` counts the steps done, `steps` those to do; `average` is what is scored and saved.
    """

    def __init__(self, net: LocalMemoryNet, mixture: Mixture, options: TrainOptions) -> None:
        crop = options.crop or fitting_crop(mixture.size, net.multiple)
        check_crop(crop, net.multiple)
        ready = distributed.is_available() and distributed.is_initialized()
        self.rank, self.world = (distributed.get_rank(), distributed.get_world_size()) if ready else (0, 1)
        self._options, self._mixture, self._preprocess = options, mixture, net.preprocess
        self._device = next(net.parameters()).device
        if options.dropout is not None:
            cap_dropout(net, options.dropout)
        net.ranges = {}  # of activations that training changes
        self._net = net.requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._fresh_keys = has_fresh_keys(net)
        if self._fresh_keys and options.stage != "base":
            self._start_keys(net)
        self.average = MovingAverage(self._net, options.ema)
        self._stage = STAGES[options.stage](self._net, two=options.steady > 0).to(self._device).train()
        self._parameters = [parameter for parameter in self._stage.parameters() if parameter.requires_grad]
        self._optimizer = _optimizer(self._parameters, options, self._device)
        self._model = self._for_many_processes(self._compiled())
        self._augment = ClipAugmenter(
            crop=crop,
            scale=options.scale,
            rotation=options.rotation,
            colour=options.colour,
            motion=options.motion,
            spoil=options.spoil,
        )
        self._sampler = Sampler(
            mixture,
            batch=options.batch,
            seed=options.seed,
            rank=self.rank,
            world=self.world,
        )
        self._losses: list[Tensor] = []
        self._images = 0
        self.step, self.rate = 0, 0.0
        self._keys_at = -1  # the step after which the average last got its keys

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self._options.steps_for(len(self._mixture), self._options.batch * self.world)

    def prepare(self, state: dict[str, Any] | None) -> None:
        """Begin, or go on from what `state` returned earlier."""
        if state:
            self._stage.load_state_dict(state["stage"])
            self.average.net.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._sampler.drawn = list(state["drawn"])
            self.step = state["step"]
        self._weights = (state["weights"] if state else self._class_weights()).to(self._device)
        if self.world > 1:
            distributed.broadcast(self._weights, 0)

    def state(self) -> dict[str, Any]:
        """All that a step changes. Of random numbers there is nothing to keep: each step seeds its own."""
        return {
            "stage": self._stage.state_dict(),
            "average": self.average.net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "drawn": list(self._sampler.drawn),
            "step": self.step,
            "weights": self._weights,
        }

    def averaged(self) -> LocalMemoryNet:
        """The moving average; the base stage gives a memory that was never trained the keys that suit its features."""
        if self._fresh_keys and self._options.stage == "base" and self._keys_at != self.step:
            self._start_keys(self.average.net)
            self._keys_at = self.step
        return self.average.net

    def take_step(self) -> None:
        """Draw a batch, and move the weights and their average by it."""
        options, step = self._options, self.step
        torch.manual_seed(step_seed(options.seed, step, self.rank))  # for dropout
        generator = step_generator(options.seed, step, self.rank)
        batch = self._sampler.draw(step, self._past(step))
        views = self._augment(batch.images, batch.labels, batch.still, generator)
        seen = normalised(views.images, self._preprocess, white=1)
        try:
            with self._precision():
                outputs = self._model(seen)
        except ValueError as error:
            if "more than 1 value" not in str(error):  # a batch norm's, where one small crop has come down to one
                raise
            raise ValueError(f"{error}: train on larger crops, or on more clips at once") from error
        loss = self._loss(outputs, views)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, options.clip_norm)
        self._set_rate(step)
        self._optimizer.step()
        self.average.update(step)
        self._losses.append(loss.detach())
        self._images += views.images.shape[0] * views.images.shape[1] * self.world
        self.step += 1

    def _loss(self, outputs: Outputs, views: Views) -> Tensor:
        options, weights = self._options, self._weights
        losses = {"ohem": options.ohem, "lovasz": options.lovasz}
        loss = total_loss(outputs.last, views.labels, weights, self._stage.outputs_at(options.auxiliary), **losses)
        if outputs.before is None or views.forth is None:
            return loss
        labels = sample_labels(views.labels, views.forth)  # of what both frames show
        loss = loss + BEFORE * total_loss([outputs.before], labels, weights, [1.0], **losses)
        return loss + options.steady * unsteadiness(outputs.last[0], outputs.before, labels, views.forth)

    def mean_loss(self) -> float:
        """Of the steps since it was last asked for; the only moment at which a GPU is waited for."""
        losses, self._losses = self._losses, []
        return float(torch.stack(losses).mean()) if losses else math.nan

    def take_image_count(self) -> int:
        """Frames that went through the network since it was last asked for."""
        images, self._images = self._images, 0
        return images

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all must ask."""
        flags = torch.tensor([flag], dtype=torch.int32, device=self._device)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags.item())

    def some_frames(self) -> Tensor:
        """(N, 3, H, W) uint8 RGB, 13 at most of the first data set: what keys and ranges are found by."""
        images = self._mixture.stores[0].images
        return images[:: math.ceil(len(images) / SOME)]

    def _start_keys(self, net: LocalMemoryNet) -> None:
        start_keys(net, normalised(self.some_frames(), self._preprocess))

    def _past(self, step: int) -> int:
        """Past frames of the clips of a step; the same in all processes."""
        most = self._options.past_frames
        if most == 0:
            return 0
        generator = step_generator(self._options.seed, step, PAST_STREAM)
        drawn = int(torch.randint(-most, most, (), generator=generator))
        return most if drawn < 0 else drawn + 1

    def _set_rate(self, step: int) -> None:
        options = self._options
        factor = rate_factor(step, self.steps, warm_up=options.warm_up, schedule=options.schedule)
        self.rate = options.peak_rate * factor
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate

    def _class_weights(self) -> Tensor:
        classes = self._net.spec.classes
        if not self._options.class_weights:
            return torch.ones(classes)
        return class_weights(self._mixture.frequencies(classes))

    def _precision(self) -> Any:
        wanted = self._options.bfloat16
        if wanted is None:
            wanted = fastest_dtype(next(self._net.parameters())) == torch.bfloat16
        if not wanted:
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _compiled(self) -> nn.Module:
        if self._options.compile:
            # Not the attention between them: its loop over the window would take minutes to compile.
            self._net.encoder.compile()
            self._net.decoder.compile()
        return self._stage

    def _for_many_processes(self, model: nn.Module) -> nn.Module:
        if self.world == 1:
            return model
        return DistributedDataParallel(model, device_ids=[self._device] if self._device.type == "cuda" else None)


def _optimizer(parameters: Iterable[nn.Parameter], options: TrainOptions, device: torch.device) -> torch.optim.AdamW:
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.peak_rate, fused=device.type in ("cpu", "cuda"))


def check_crop(crop: tuple[int, int], stride: int) -> None:
    """Raise ValueError for a crop (height, width) that the network's stride does not divide, or a tiny one."""
    if min(crop) < 4 * stride or any(side % stride for side in crop):
        raise ValueError(
            f"a crop of {crop[0]}x{crop[1]} pixels does not fit the network: its sides must be multiples of {stride} "
            f"from {4 * stride} on"
        )


def fitting_crop(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """The usual crop, or the largest that the network can take of frames of this size (height, width)."""
    height, width = (min(usual, side) // stride * stride for usual, side in zip(USUAL_CROP, size, strict=True))
    return height, width
