"""Networks for inference: batch norms inside convolutions, convolutions of the same input as one. Exact in float32."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Module = TypeVar("Module", bound=nn.Module)
Convolution = TypeVar("Convolution", nn.Conv2d, nn.ConvTranspose2d)


def fold(net: Module) -> Module:
    """A copy of an evaluating network whose modules are what their own `folded()` makes of them, where they have one.

    In a module with `NORMS`, from a convolution's name to a batch norm's, each norm goes into its convolution first.
    """
    net = copy.deepcopy(net).eval()
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            for convolution, norm in getattr(child, "NORMS", {}).items():
                setattr(child, convolution, absorb(getattr(child, convolution), getattr(child, norm)))
                setattr(child, norm, nn.Identity())
            folded: Callable[[], nn.Module] | None = getattr(child, "folded", None)
            if folded is not None:
                setattr(parent, name, folded())
    return net


def absorb(convolution: Convolution, norm: nn.Module) -> Convolution:
    """The convolution followed by an evaluating batch norm, as one convolution."""
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, norm, transpose=isinstance(convolution, nn.ConvTranspose2d))


def channels_of(norm: nn.Module, channels: slice) -> nn.BatchNorm2d:
    """The part of an evaluating batch norm that acts on some of its channels."""
    assert isinstance(norm, nn.BatchNorm2d)
    state = {name: tensor[channels] for name, tensor in norm.state_dict().items() if tensor.ndim}
    part = nn.BatchNorm2d(len(state["weight"]), eps=norm.eps).eval().to(norm.weight)
    part.load_state_dict(state, strict=False)  # all but the count of batches, which evaluation does not read
    return part


def merge_convolutions(parts: list[nn.Conv2d]) -> nn.Conv2d:
    """One convolution with the output channels of several that read the same input, in their order."""
    settings: dict[str, Any] = {
        name: getattr(parts[0], name) for name in ("in_channels", "kernel_size", "stride", "padding", "dilation")
    }
    merged = nn.Conv2d(out_channels=sum(part.out_channels for part in parts), **settings)
    biases = [part.bias for part in parts if part.bias is not None]
    merged.load_state_dict({"weight": torch.cat([part.weight for part in parts]), "bias": torch.cat(biases)})
    return merged.to(parts[0].weight)
