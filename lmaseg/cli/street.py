"""`lmaseg street`: draw a clip of the procedural street, with its exact labels."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from lmaseg.cli.console import RunDisplay, say
from lmaseg.cli.options import OUTPUT, PICTURE
from lmaseg.cli.outputs import Overwrite, may_replace

EXAMPLES = """
lmaseg street clip.mp4 --labels clip_labels           with its labels
lmaseg street long.mp4 --seed 7 --seconds 60          another street
"""

Output = Annotated[Path, typer.Argument(help="The video to write.")]
Labels = Annotated[
    Path | None,
    typer.Option(help="Also write the label maps (CamVid class ids) into this folder.", rich_help_panel=OUTPUT),
]
Seed = Annotated[int, typer.Option(min=0, help="Another number is another street.", rich_help_panel=PICTURE)]
Seconds = Annotated[float, typer.Option(min=0.05, help="Length of the clip.", rich_help_panel=PICTURE)]
Rate = Annotated[int, typer.Option(min=1, help="Frames per second.", rich_help_panel=PICTURE)]
Height = Annotated[int, typer.Option(min=32, help="Pixels.", rich_help_panel=PICTURE)]
Width = Annotated[int, typer.Option(min=32, help="Pixels.", rich_help_panel=PICTURE)]
Crf = Annotated[
    float,
    typer.Option(
        min=0, max=51, help="Constant rate factor of H.264: lower is better and larger.", rich_help_panel=OUTPUT
    ),
]


def street(
    output: Output,
    labels: Labels = None,
    seed: Seed = 0,
    seconds: Seconds = 5.0,
    rate: Rate = 30,
    height: Height = 360,
    width: Width = 640,
    crf: Crf = 23,
    overwrite: Overwrite = None,
) -> None:
    """Draw a procedural street seen from a driving car, with exact labels."""
    replace = may_replace([path for path in (output, labels) if path], overwrite)

    from contextlib import ExitStack
    from time import monotonic

    from lmaseg.datasets.street import street_clip
    from lmaseg.labels import CAMVID
    from lmaseg.maps import LabelMapWriter
    from lmaseg.video import VideoWriter

    frames, began = round(seconds * rate), monotonic()
    with ExitStack() as stack:
        writer = VideoWriter(
            output, width=width, height=height, time_base=Fraction(1, rate), rate=rate, crf=crf, overwrite=replace
        )
        stack.enter_context(writer)
        maps = stack.enter_context(LabelMapWriter(labels, CAMVID, overwrite=replace)) if labels else None
        display = stack.enter_context(RunDisplay(output.name))
        for i, (image, truth) in enumerate(street_clip(seed, frames=frames, fps=rate, height=height, width=width)):
            writer.write(image, i)
            if maps:
                maps.write(truth, f"{i:06d}")
            display.update(i + 1, frames, monotonic() - began)
    say(f"{frames} frames, {width}x{height} -> {output}")
