"""What stands for tensors in a quantized network: bytes with a meaning, and convolutions that wait for what follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import register_pytree_node, tree_map

from lmaseg.kernels.bytes import interpolate

RELUS = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
DROPOUTS = {F.dropout, F.dropout2d}
ADDITIONS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}


class Convolution(nn.Module):
    """Base of what takes the place of a convolution and returns a `Deferred`."""

    def __init__(self, path: str, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.path = path
        sides = (convolution.stride, convolution.padding, convolution.dilation)
        self.settings = [*map(list, sides), convolution.groups]

    def forward(self, x: "Tensor | Activation") -> "Deferred":
        return Deferred(self, levels_of(x))

    def levels(self, pending: "Deferred") -> "Levels":
        """What it returns, in bytes."""
        raise NotImplementedError

    def wide(self, pending: "Deferred") -> Tensor:
        """What it returns without an addition, in floating point numbers."""
        raise NotImplementedError


class Activation:
    """What stands for a tensor in a quantized network; floating point numbers for whoever asks for more than bytes."""

    @property
    def levels(self) -> "Levels":
        """Its bytes."""
        raise NotImplementedError

    @property
    def wide(self) -> Tensor:
        """Its floating point numbers."""
        raise NotImplementedError

    def rectified(self) -> "Activation":
        """The same after a ReLU."""
        raise NotImplementedError

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        first = args[0]
        if isinstance(first, Activation):
            if function in RELUS:
                return first.rectified()
            if function is F.interpolate:
                levels = first.levels
                return levels.with_values(_interpolated(levels.values, *args[1:], **kwargs or {}))
            if function in DROPOUTS:
                return first
        if function in ADDITIONS:
            return added(*args)
        args, kwargs = tree_map(wide_of, (args, kwargs or {}), is_leaf=is_activation)
        return function(*args, **kwargs)

    def __add__(self, other: "Tensor | Activation") -> "Tensor | Activation":
        return added(self, other)

    __radd__ = __add__

    @property
    def shape(self) -> torch.Size:
        """Of the tensor that it stands for."""
        return self.levels.values.shape

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.wide, name)


@dataclass(frozen=True)
class Levels(Activation):
    """Bytes and what they mean: value = scale * (byte - zero)."""

    values: Tensor  # (B, C, H, W) uint8, channels last
    scale: float
    zero: int
    dtype: torch.dtype
    """Of the floating point numbers that they are turned into."""

    def with_values(self, values: Tensor) -> "Levels":
        """Other bytes of the same meaning."""
        return Levels(values, self.scale, self.zero, self.dtype)

    @property
    def levels(self) -> "Levels":
        return self

    @cached_property
    def wide(self) -> Tensor:
        return self.values.to(torch.float32).sub_(self.zero).mul_(self.scale).to(self.dtype)

    def rectified(self) -> Activation:
        return self.with_values(self.values.clamp(min=self.zero))


register_pytree_node(
    Levels,
    lambda levels: ([levels.values], (levels.scale, levels.zero, levels.dtype)),
    lambda values, meaning: Levels(*values, *meaning),
)


@dataclass(frozen=True)
class Deferred(Activation):
    """What a convolution will return, once it is known what follows and in which type it is read."""

    convolution: Convolution
    input: "Tensor | Activation"
    addend: "Tensor | Levels | None" = None
    relu: bool = False

    @cached_property
    def levels(self) -> Levels:
        return self.convolution.levels(self)

    @cached_property
    def wide(self) -> Tensor:
        if self.addend is not None or "levels" in self.__dict__:
            return self.levels.wide
        return self.convolution.wide(self)

    def rectified(self) -> Activation:
        return Deferred(self.convolution, self.input, self.addend, relu=True)

    @property
    def open(self) -> bool:
        """Whether an addition may follow."""
        return self.addend is None and not self.relu


def _interpolated(values: Tensor, size: Any = None, mode: str = "nearest", **options: Any) -> Tensor:
    """Bytes of the same meaning, as `torch.nn.functional.interpolate` is asked for them."""
    if mode == "bilinear" and isinstance(size, Sequence) and not options.get("antialias"):
        return interpolate(values, size, align_corners=bool(options.get("align_corners")))
    return F.interpolate(values, size, mode=mode, **options)


def added(one: "Tensor | Activation", other: "Tensor | Activation", *, alpha: float = 1) -> "Tensor | Activation":
    """The sum, as part of a convolution where one of the two is an unfinished one and the other bytes or one, too."""
    for pending, addend in ((one, other), (other, one)):
        if isinstance(pending, Deferred) and pending.open:
            return Deferred(pending.convolution, pending.input, levels_of(addend))
    return torch.add(wide_of(one), wide_of(other))


def wide_of(value: Any) -> Any:
    """The floating point numbers of an activation; anything else as it is."""
    return value.wide if isinstance(value, Activation) else value


def levels_of(value: Any) -> Any:
    """The bytes of an unfinished convolution; anything else as it is."""
    return value.levels if isinstance(value, Deferred) else value


def is_activation(value: Any) -> bool:
    """Whether a value stands for a tensor."""
    return isinstance(value, Activation)
