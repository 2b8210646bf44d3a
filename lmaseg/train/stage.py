"""What each stage trains and how its step runs: one small module per stage, chosen once."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lmaseg.models import LocalMemoryNet
from lmaseg.models.halves import Features, tensor_of
from lmaseg.models.projections import Encoded
from lmaseg.train.losses import AuxiliaryHead


class Outputs(NamedTuple):
    """What a stage makes of a batch of clips."""

    last: list[Tensor]
    """(B, classes, ., .) logits of the last frame, the main ones first."""
    before: Tensor | None = None
    """Those of the frame before it, given the frames before that; None where there are none, or no one asked."""


class Stage(nn.Module):
    """Clips (B, T, 3, H, W), preprocessed, in the order of time -> `Outputs`.

    A stage holds the whole network; what it does not train is frozen.

    Args:
        net: the network.
        two: whether the frame before the last is of interest, too, to the stages that see it.
    """

    def __init__(self, net: LocalMemoryNet, *, two: bool = False) -> None:
        super().__init__()
        self.net, self.two = net, two

    def outputs_at(self, auxiliary: float) -> list[float]:
        """The share in the loss of each output of the last frame."""
        raise NotImplementedError

    def decode_last(self, encoded: Encoded, frames: int) -> tuple[Tensor, Tensor | None]:
        """Logits of the last frame of encoded clips of so many frames, given those before, and `Outputs.before`."""
        *before, last = recall_clips(self.net, encoded, frames, wanted=2 if self.two and frames > 2 else 1)
        return self.net.decoder(last), self.net.decoder(before[0]) if before else None


class BaseStage(Stage):
    """Encoder and decoder on single frames, with an auxiliary head."""

    def __init__(self, net: LocalMemoryNet, *, two: bool = False) -> None:
        super().__init__(net, two=two)
        self.auxiliary = AuxiliaryHead(int(net.encoder.channels), net.spec.classes)  # type: ignore[arg-type]
        for part in (net.projections, net.fusion):
            part.requires_grad_(False)

    def forward(self, clips: Tensor) -> Outputs:
        features = self.net.encoder(_frames(clips[:, -1:]))
        return Outputs([self.net.decoder(features), self.auxiliary(tensor_of(features))])

    def outputs_at(self, auxiliary: float) -> list[float]:
        return [1.0, auxiliary]


class MemoryStage(Stage):
    """Projections and fusion; encoder and decoder stay as they are, batch-norm statistics included."""

    def __init__(self, net: LocalMemoryNet, *, two: bool = False) -> None:
        super().__init__(net, two=two)
        for part in (net.encoder, net.decoder):
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> "MemoryStage":
        super().train(mode)
        self.net.encoder.eval()
        self.net.decoder.eval()
        return self

    def forward(self, clips: Tensor) -> Outputs:
        with torch.no_grad():
            features = self.net.encoder(_frames(clips))
        last, before = self.decode_last(self.net.projections(features), clips.shape[1])
        return Outputs([last], before)

    def outputs_at(self, auxiliary: float) -> list[float]:
        return [1.0]


class JointStage(Stage):
    """Everything, on the last frame with its memory and, so that single frames stay as good, without.

    Batch-norm statistics stay: the decoder reads two kinds of features, whose mixed statistics would fit neither.
    """

    def train(self, mode: bool = True) -> "JointStage":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, clips: Tensor) -> Outputs:
        encoded, frames = self.net.projections(self.net.encoder(_frames(clips))), clips.shape[1]
        last, before = self.decode_last(encoded, frames)
        alone = self.net.decode(Encoded(*(part[frames - 1 :: frames] for part in encoded)))
        return Outputs([last, alone], before)

    def outputs_at(self, auxiliary: float) -> list[float]:
        return [1.0, auxiliary]


STAGES: dict[str, type[BaseStage] | type[MemoryStage] | type[JointStage]] = {
    "base": BaseStage,
    "memory": MemoryStage,
    "joint": JointStage,
}


def _frames(clips: Tensor) -> Tensor:
    return clips.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # (B * T, 3, H, W)


def recall_clips(net: LocalMemoryNet, encoded: Encoded, frames: int, wanted: int = 1) -> list[Features]:
    """What the decoder reads of the last frames of clips, as many as are wanted, each given all those before it.

    In float32: dot products of half precision are too coarse for a softmax over hundreds of neighbours. A recurrent
    memory goes through the clips frame by frame, as where it is used.

    Args:
        encoded: (B * frames, ., h, w), clip by clip.
    """
    exact = encoded._replace(**{part: getattr(encoded, part).float() for part in encoded._fields if part != "features"})
    ordered = [Encoded(*(part[at::frames] for part in exact)) for at in range(frames)]
    keys, values = [frame.key for frame in ordered], [frame.value for frame in ordered]
    read = []
    for at in range(0 if net.recurrent else frames - wanted, frames):
        past = slice(max(0, at - net.spec.memory_frames) if net.recurrent else 0, at)
        stacked = [torch.stack(line[past], dim=1) for line in (keys, values)] if at else []
        features, value = net.recall(ordered[at], *stacked)
        values[at] = value.float()
        read.append(features)
    return read[-wanted:]
