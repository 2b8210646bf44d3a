"""`lmaseg compare`: a video with memory off and on side by side."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmaseg.cli.console import say
from lmaseg.cli.interrupt import INTERRUPTED, unless_interrupted
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import PICTURE, Batch, Device, Memory, Net, Size, Weights, end_time
from lmaseg.cli.outputs import Overwrite, check_apart, may_replace
from lmaseg.cli.run_job import segment, video_writer
from lmaseg.cli.run_options import (
    Codec,
    Crf,
    Deinterlace,
    Duration,
    End,
    Opacity,
    ResetAtCuts,
    Source,
    Start,
    Strict,
    Stride,
)
from lmaseg.cli.run_report import summarise, warnings_of

if TYPE_CHECKING:
    from lmaseg.stream import Segmenter

EXAMPLES = """
lmaseg compare drive.mp4 -o cmp.mp4                   side by side
lmaseg compare drive.mp4 -o cmp.mp4 -ss 1:30 -t 20    20 s from 1:30
lmaseg compare drive.mp4 -o cmp.mp4 --still 12        a noisy video
"""

Output = Annotated[Path, typer.Option("--output", "-o", help="The video to write: .mp4 .mkv .mov .webm.")]
Still = Annotated[
    int,
    typer.Option(
        min=0,
        max=255,
        help="Levels of 255 by which a pixel may change and still count as still.",
        rich_help_panel=PICTURE,
    ),
]


def compare(
    source: Source,
    output: Output,
    codec: Codec = None,
    crf: Crf = None,
    overwrite: Overwrite = None,
    opacity: Opacity = 0.5,
    still: Still = 8,
    start: Start = None,
    duration: Duration = None,
    end: End = None,
    stride: Stride = 1,
    deinterlace: Deinterlace = True,
    strict: Strict = False,
    weights: Weights = None,
    net: Net = None,
    device: Device = "auto",
    size: Size = None,
    memory: Memory = None,
    batch: Batch = 1,
    reset_at_cuts: ResetAtCuts = True,
) -> None:
    """Show a video labelled without and with memory, side by side, with what flickers in white.

    A pixel flickers where its label changes from one frame to the next although the picture there hardly does (see
    --still). The last line has the share of such pixels among the still ones, memory off and on.
    """
    end = end_time(start, duration, end)
    if memory == 0:
        raise typer.BadParameter("this compares no memory with some: leave out --memory 0")
    replace = may_replace([output], overwrite)
    check_apart([output], [source])

    from lmaseg.comparison import ComparingSegmenter, ComparisonVideo
    from lmaseg.images import open_source

    segmenter = make_segmenter(weights, device, size, memory, batch, net, kind=ComparingSegmenter)
    _require_memory(segmenter)
    opening = partial(
        open_source,
        source,
        start=start,
        end=end,
        stride=stride,
        warm_up=segmenter.memory.frames,
        deinterlace=deinterlace,
        strict=strict,
    )
    with unless_interrupted(opening) as reader:
        writer = video_writer(
            output,
            source,
            reader,
            size=(2 * reader.width, reader.height),
            codec=codec,
            crf=crf,
            start=start,
            end=end,
            overwrite=replace,
        )
        video = ComparisonVideo(writer, segmenter.net.labels, opacity=opacity, still=still)
        progress = segment(source, reader, segmenter, [video], reset_at_cuts=reset_at_cuts)
        summarise(progress, reader, [output], warnings_of(reader, writer))
    off, on = video.shares
    say(f"flickering pixels, of those that are still: {off:.2%} with memory off, {on:.2%} with memory on")
    if progress.stopped:
        raise typer.Exit(INTERRUPTED)


def _require_memory(segmenter: "Segmenter") -> None:
    if not segmenter.memory.frames:
        raise typer.BadParameter("these weights have no memory to compare with: --memory 4 gives them an untrained one")
