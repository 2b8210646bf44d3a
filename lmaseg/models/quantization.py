"""Convolutions in 8 bits: the encoder and the decoder of a network through oneDNN's own operators, on a CPU.

Activations are unsigned bytes with one scale and zero point a tensor, weights signed bytes with a scale per output
channel (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018). A network's own `forward` runs unchanged: its convolutions return a `Deferred`, which waits for the addition
and the ReLU that follow, so that all three are one operator and bytes pass from convolution to convolution. Whatever
else the network does to them, it does to floating point numbers.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from lmaseg.kernels.bytes import to_bytes
from lmaseg.models.activations import Activation, Convolution, Deferred, Levels, is_activation, levels_of, wide_of
from lmaseg.models.folding import fold
from lmaseg.models.halves import Carrier
from lmaseg.models.lma import LocalMemoryNet

Ranges = Mapping[str, tuple[float, float]]
"""Least and largest values of activations, as in `LocalMemoryNet.ranges`."""

QUANTIZED = ("encoder", "decoder")
"""The parts of a network whose convolutions are quantized; keys, attention and fusion stay as they are."""
SHARE = 0.9999
"""Of the values of an activation in one frame, at each end: what lies beyond is clipped."""
SAMPLES = 200_000  # values of one activation that its range is found by


class ObservedConvolution(Convolution):
    """A convolution in floating point that widens the ranges of what it reads and returns."""

    def __init__(self, path: str, convolution: nn.Conv2d, ranges: dict[str, tuple[float, float]]) -> None:
        super().__init__(path, convolution)
        self.convolution = convolution
        self._ranges = ranges

    def levels(self, pending: Deferred) -> Levels:
        y = self.wide(pending)
        self._observe(self.path, y)
        return Levels(y, 1.0, 0, y.dtype)

    def wide(self, pending: Deferred) -> Tensor:
        x = pending.input
        if isinstance(x, Tensor):
            self._observe(f"{self.path}.input", x)
        y = self.convolution(wide_of(x))
        if pending.addend is not None:
            if isinstance(pending.addend, Tensor):
                self._observe(f"{self.path}.addend", pending.addend)
            y = y + wide_of(pending.addend)
        return F.relu(y) if pending.relu else y

    def _observe(self, path: str, values: Tensor) -> None:
        values = values.flatten()
        some = values[:: max(1, len(values) // SAMPLES)].float().cpu().numpy()
        low, high = np.quantile(some, (1 - SHARE, SHARE)).tolist()  # sorts no more than it must, unlike torch's
        before = self._ranges.get(path, (0.0, 0.0))
        self._ranges[path] = min(low, before[0]), max(high, before[1])


class QuantizedConvolution(Convolution):
    """A convolution of bytes, with the addition and the ReLU that follow it."""

    def __init__(self, path: str, convolution: nn.Conv2d, ranges: Ranges, dtype: torch.dtype) -> None:
        super().__init__(path, convolution)
        weight, outputs = convolution.weight.detach().float(), convolution.out_channels
        scale = weight.abs().amax((1, 2, 3)).clamp(min=1e-8) / weight_levels()
        quantized = (weight / scale.view(-1, 1, 1, 1)).round().to(torch.int8)
        self.weight = torch.ops.onednn.qconv_prepack(quantized, scale, 1.0, 0, *self.settings)
        self.weight_meaning = scale, torch.zeros(outputs, dtype=torch.int8)
        self.bias = None if convolution.bias is None else convolution.bias.detach().float()
        self.input_meaning = meaning(ranges.get(f"{path}.input"))
        self.addend_meaning = meaning(ranges.get(f"{path}.addend"))
        self.output_meaning = meaning(ranges.get(path))
        self.dtype = dtype

    def levels(self, pending: Deferred) -> Levels:
        post = "relu" if pending.relu else "none"
        if pending.addend is None:
            values = self._convolve(pending.input, self.output_meaning, torch.uint8, post, [], "")
            return Levels(values, *self.output_meaning, self.dtype)
        addend = self._levels(pending.addend, self.addend_meaning)
        values = self._convolve(
            pending.input,
            self.output_meaning,
            torch.uint8,
            *(addend.scale, addend.zero, "sum", 1.0, post, [], ""),
            accumulated=addend.values.clone(memory_format=torch.channels_last),
        )
        return Levels(values, *self.output_meaning, self.dtype)

    def wide(self, pending: Deferred) -> Tensor:
        return self._convolve(pending.input, (1.0, 0), self.dtype, "relu" if pending.relu else "none", [], "")

    def _levels(self, x: "Tensor | Activation", meaning: tuple[float, int]) -> Levels:
        return x.levels if isinstance(x, Activation) else Levels(to_bytes(x, *meaning), *meaning, self.dtype)

    def _convolve(
        self,
        x: "Tensor | Activation",
        output_meaning: tuple[float, int],
        dtype: torch.dtype,
        *post: Any,
        accumulated: Tensor | None = None,
    ) -> Tensor:
        levels = self._levels(x, self.input_meaning)
        operator = (
            torch.ops.onednn.qconv2d_pointwise.default
            if accumulated is None
            else torch.ops.onednn.qconv2d_pointwise.binary
        )
        y: Tensor = operator(
            *(levels.values, levels.scale, levels.zero, self.weight, *self.weight_meaning),
            *([] if accumulated is None else [accumulated]),
            *(self.bias, *self.settings, *output_meaning, dtype, *post),
        )
        return y


@cache
def weight_levels() -> int:
    """The largest weight in bytes for which this CPU's sums of products are exact: 127 or 63.

    Without instructions for such sums (VNNI) oneDNN adds two products in 16 bits, where those of large weights do not
    fit; so weights have 7 bits there.
    """
    most, size = 127, (16, 16, 3, 3)
    weight = torch.full(size, most, dtype=torch.int8)
    scale, zero, settings = torch.ones(16), torch.zeros(16, dtype=torch.int8), ([1, 1], [0, 0], [1, 1], 1)
    packed = torch.ops.onednn.qconv_prepack(weight, scale, 1.0, 0, *settings)
    x = torch.full((1, 16, 8, 8), 255, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    operator = torch.ops.onednn.qconv2d_pointwise.default
    y = operator(x, 1.0, 0, packed, scale, zero, None, *settings, 1.0, 0, torch.float32, "none", [], "")
    return most if bool((y == 255 * most * weight[0].numel()).all()) else most // 2


def meaning(limits: tuple[float, float] | None) -> tuple[float, int]:
    """The scale and the zero point of bytes that reach from the least to the largest value, and hold zero."""
    if limits is None:
        return 1.0, 0
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = max(high - low, 1e-8) / 255
    return scale, round(-low / scale)


def inference_network(net: LocalMemoryNet, dtype: torch.dtype, wide: torch.dtype) -> LocalMemoryNet:
    """A folded copy of an evaluating network that computes in a type, torch.int8 or a floating point one.

    `wide` is the floating point type of frames, logits and memory, and of what is not quantized in an int8 network.

    Raises:
        ValueError: int8 for a network without ranges of its activations, on another device than a CPU, or by a torch
            that was built without oneDNN.
    """
    folded = fold(net)
    if dtype == torch.int8:
        if not net.ranges:
            raise ValueError(
                "int8 needs to know how large the activations of these weights are: lmaseg calibrate measures it on a "
                "few frames and keeps it in the checkpoint"
            )
        if next(net.parameters()).device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            raise ValueError("int8 is computed on CPUs, by a torch with oneDNN: choose bfloat16 or float32 here")
        folded = _swapped(folded, lambda path, old: QuantizedConvolution(path, old, net.ranges, wide))
    return folded.to(dtype=wide, memory_format=torch.channels_last)  # type: ignore[call-overload]


def observed(net: LocalMemoryNet, ranges: dict[str, tuple[float, float]]) -> LocalMemoryNet:
    """A folded copy of an evaluating network, in float32, that fills `ranges` with those of the frames it sees."""
    return _swapped(fold(net), lambda path, old: ObservedConvolution(path, old, ranges))


def _swapped(net: LocalMemoryNet, swap: Callable[[str, nn.Conv2d], nn.Module]) -> LocalMemoryNet:
    """The network with its convolutions swapped for others, given their paths."""
    for part in QUANTIZED:
        module = getattr(net, part)
        for parent_path, parent in list(module.named_modules(prefix=part)):
            for name, child in parent.named_children():
                if isinstance(child, nn.Conv2d):
                    setattr(parent, name, swap(f"{parent_path}.{name}", child))
        module.register_forward_hook(_finish)
    return net


def _finish(module: nn.Module, inputs: Any, output: Any) -> Any:
    """What leaves a quantized part: floating point numbers for the memory, bytes for what goes with them."""
    if isinstance(output, Carrier):
        return Carrier(wide_of(output.tensor), tree_map(levels_of, output.rest, is_leaf=is_activation))
    return wide_of(output)
