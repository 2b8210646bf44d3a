"""The network a command line names."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lmaseg.cli.console import STARTED, detail, warn
from lmaseg.cli.options import refusing

if TYPE_CHECKING:
    from lmaseg.job import Job
    from lmaseg.models import LocalMemoryNet
    from lmaseg.stream import Segmenter


def load_network(weights: Path | None, device: str, net: str | None) -> "LocalMemoryNet":
    """The network of `--weights` and `--net`; what builds one may lie in the current folder."""
    from lmaseg.checkpoint import load

    if net:
        find_modules_here()
    warn_of_overlooked_kernels()
    return load(weights, device, net)


def warn_of_overlooked_kernels() -> None:
    """Say so where the C kernels that were installed are not those of the lmaseg that runs."""
    from lmaseg import kernels

    overlooked = kernels.overlooked()
    if overlooked:
        warn(
            f"no C kernels, although {overlooked} has some: this lmaseg was imported from {kernels.FOLDER.parent}. "
            "Run the command lmaseg, or python from another folder"
        )


def find_modules_here() -> None:
    """Let modules be imported from the current folder, in which an installed command does not look."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that it hides nothing


def make_segmenter(job: "Job", *, describe: bool = True) -> "Segmenter":
    """The network of a job, ready to stream; described if --verbose asks for it. Raises BadParameter: a setting that
    the network cannot work with."""
    from lmaseg import segmentation

    if job.net:
        find_modules_here()
    with refusing():
        segmenter = segmentation.make_segmenter(job)
    warn_of_overlooked_kernels()
    if describe:
        _describe(segmenter, str(job.weights or job.net or "bundled weights"))
    return segmenter


def _describe(segmenter: "Segmenter", source: str) -> None:
    """Details of what computes where."""
    spec = segmenter.net.spec
    frames = segmenter.memory.frames
    memory = f"memory of {frames} frame{'s' * (frames != 1)}, window {spec.window}" if spec.has_memory else "no memory"
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
