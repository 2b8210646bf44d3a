"""The network a command line names."""

import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lmaseg.cli.console import STARTED, detail, warn
from lmaseg.errors import LmasegWarning

if TYPE_CHECKING:
    from lmaseg.models import LocalMemoryNet
    from lmaseg.stream import Segmenter


def load_network(weights: Path | None, device: str, net: str | None) -> "LocalMemoryNet":
    """The network of `--weights` and `--net`; what builds one may lie in the current folder."""
    from lmaseg.checkpoint import load

    if net:
        sys.path.append(os.getcwd())  # an installed command starts without it; last, so that it hides nothing
    with warnings.catch_warnings(record=True, action="always", category=LmasegWarning) as caught:
        loaded = load(weights, device, net)
    for warning in caught:
        warn(str(warning.message))
    return loaded


def make_segmenter(
    weights: Path | None,
    device: str,
    size: Any,
    memory: int | None,
    batch: int = 1,
    net: str | None = None,
    *,
    confidence: bool = False,
    kind: "type[Segmenter] | None" = None,
) -> "Segmenter":
    """The network, ready to stream; a size it cannot work at is a wrong command line."""
    from lmaseg.stream import Segmenter

    try:
        loaded = load_network(weights, device, net)
        segmenter = (kind or Segmenter)(loaded, size=size, memory=memory, batch=batch, confidence=confidence)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    _describe(segmenter, str(weights or net or "bundled weights"))
    return segmenter


def _describe(segmenter: "Segmenter", source: str) -> None:
    """Details of what computes where."""
    spec = segmenter.net.spec
    memory = f"memory of {segmenter.memory.frames} frames, window {spec.window}" if spec.has_memory else "no memory"
    detail(f"{source}: {spec.backbone or 'attached network'}, {spec.classes} classes, {memory}")
    describe_device(f"{segmenter.device} in {str(segmenter.dtype).removeprefix('torch.')}")
    detail(f"loaded {time.perf_counter() - STARTED:.1f} s after the start")


def describe_device(device: str) -> None:
    """Details of a device and of what helps it."""
    import torch

    from lmaseg import kernels

    levels = kernels.levels()
    compiled = f"C kernels {levels[-1]}" if levels else kernels.why_missing()
    detail(f"on {device}; threads: {torch.get_num_threads()}; {compiled}")
