"""What each stage trains and how its step runs: one small module per stage, chosen once."""

import torch
from torch import Tensor, nn

from lmaseg.models import LocalMemoryNet
from lmaseg.models.lma import Encoded
from lmaseg.train.losses import AuxiliaryHead


class Stage(nn.Module):
    """Clips (B, T, 3, H, W), preprocessed, in the order of time -> logits of the last frame, the main ones first.

    A stage holds the whole network; what it does not train is frozen.
    """

    def outputs_at(self, auxiliary: float) -> list[float]:
        """The share of each output in the loss."""
        raise NotImplementedError


class BaseStage(Stage):
    """Encoder and decoder on single frames, with an auxiliary head."""

    def __init__(self, net: LocalMemoryNet) -> None:
        super().__init__()
        self.net = net
        self.auxiliary = AuxiliaryHead(int(net.encoder.channels), net.spec.classes)  # type: ignore[arg-type]
        for part in (net.projections, net.fusion):
            part.requires_grad_(False)

    def forward(self, clips: Tensor) -> list[Tensor]:
        features = self.net.encoder(_frames(clips[:, -1:]))
        return [self.net.decoder(features), self.auxiliary(features)]

    def outputs_at(self, auxiliary: float) -> list[float]:
        return [1.0, auxiliary]


class MemoryStage(Stage):
    """Projections and fusion; encoder and decoder stay as they are, batch-norm statistics included."""

    def __init__(self, net: LocalMemoryNet) -> None:
        super().__init__()
        self.net = net
        for part in (net.encoder, net.decoder):
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> "MemoryStage":
        super().train(mode)
        self.net.encoder.eval()
        self.net.decoder.eval()
        return self

    def forward(self, clips: Tensor) -> list[Tensor]:
        with torch.no_grad():
            features = self.net.encoder(_frames(clips))
        last, keys, values = split_clips(self.net.projections(features), clips.shape[1])
        return [self.net.decode(last, keys, values)]

    def outputs_at(self, auxiliary: float) -> list[float]:
        return [1.0]


class JointStage(Stage):
    """Everything, on the last frame with its memory and, so that single frames stay as good, without.

    Batch-norm statistics stay: the decoder reads two kinds of features, whose mixed statistics would fit neither.
    """

    def __init__(self, net: LocalMemoryNet) -> None:
        super().__init__()
        self.net = net

    def train(self, mode: bool = True) -> "JointStage":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, clips: Tensor) -> list[Tensor]:
        last, keys, values = split_clips(self.net.projections(self.net.encoder(_frames(clips))), clips.shape[1])
        return [self.net.decode(last, keys, values), self.net.decode(last)]

    def outputs_at(self, auxiliary: float) -> list[float]:
        return [1.0, auxiliary]


STAGES: dict[str, type[BaseStage] | type[MemoryStage] | type[JointStage]] = {
    "base": BaseStage,
    "memory": MemoryStage,
    "joint": JointStage,
}


def _frames(clips: Tensor) -> Tensor:
    return clips.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # (B * T, 3, H, W)


def _clips(parts: Tensor, frames: int) -> Tensor:
    return parts.reshape(-1, frames, *parts.shape[1:])


def split_clips(encoded: Encoded, frames: int) -> tuple[Encoded, Tensor, Tensor]:
    """Encoded (B * T, ., h, w) frames -> the clips' last frames, and keys and values of those before them.

    In float32: dot products of half precision are too coarse for a softmax over hundreds of neighbours.
    """
    features = _clips(encoded.features, frames)
    query, query_value, keys, values = (_clips(part.float(), frames) for part in encoded[1:])
    last = Encoded(features[:, -1], query[:, -1], query_value[:, -1], keys[:, -1], values[:, -1])
    return last, keys[:, :-1], values[:, :-1]
