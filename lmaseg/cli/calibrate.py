"""`lmaseg calibrate`: prepare a checkpoint for int8."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from lmaseg.cli.console import Display, say
from lmaseg.cli.options import input_option, refusing
from lmaseg.cli.outputs import Overwrite, may_replace
from lmaseg.cli.settings import job_options
from lmaseg.job import Job

EXAMPLES = """
lmaseg calibrate net.safetensors --frames drive.mp4
lmaseg calibrate net.safetensors --frames images/ -o net8.safetensors
"""


def calibrate(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A checkpoint, or the name of the weights that come with lmaseg.")
    ],
    frames: Annotated[
        str, input_option(metavar="SOURCE", help="A video, a folder or a glob of images like those to be labelled.")
    ],
    job: Annotated[Job, job_options("size")],
    count: Annotated[int, input_option(min=1, max=256, help="Frames to take, evenly spread.")] = 16,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .safetensors file to write; default: the checkpoint itself."),
    ] = None,
    overwrite: Overwrite = None,
) -> None:
    """Measure how large a network's activations are, so that --dtype int8 can compute with 8-bit numbers.

    The ranges are kept in the checkpoint; its weights stay as they are.
    """
    may_replace([output] if output else [], overwrite)

    from lmaseg import calibration, checkpoint

    path = checkpoint.weights_file(weights)
    net = checkpoint.load(path)
    with refusing(), Display() as display:
        display.update(f"calibrating {path}", 0, None)
        pictures = _spread_frames(frames, count)
        calibration.calibrate(net, pictures, job.size)
        agreement = calibration.int8_agreement(net, pictures, job.size)
    told = f"ranges of {len(net.ranges)} activations"
    if agreement is not None:
        told += f"; on these frames int8 gives {agreement:.1%} of the pixels the label that float32 gives them"
    checkpoint.save_ranges(path, net.ranges, output or path, about={"calibrated": told})
    say(f"{path} -> {output or path}: {told}")


def _spread_frames(source: str, count: int) -> list[Any]:
    """(H, W, 3) uint8 RGB each: so many of a source, evenly spread if it says how many it has."""
    from lmaseg.images import open_source

    with open_source(source) as reader:
        step = max(1, (reader.frames or 0) // count)
        return [frame.image for frame in islice(reader, 0, step * count, step)]
