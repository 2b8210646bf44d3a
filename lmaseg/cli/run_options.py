"""The options of `lmaseg run`, some of which other commands on videos take, too."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lmaseg.cli.options import INPUT, OUTPUT, PICTURE, parse_time
from lmaseg.cli.run_job import Ids, Pipe


class ViewName(StrEnum):
    """What an output video shows; keys of `lmaseg.render.VIEWS`."""

    OVERLAY = "overlay"
    MASK = "mask"
    SIDE_BY_SIDE = "side-by-side"
    CONTOUR = "contour"


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Videos, folders of images, quoted globs such as 'frames/*.png', addresses (rtsp://, https://), a camera "
        "(camera:0), or - for standard input.",
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A video, a folder of images, a quoted glob such as 'frames/*.png', or an address (https://).",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="A video (.mp4 .mkv .mov .webm) to draw into; a folder for label maps, or for the videos of several "
        "SOURCEs; - for label maps on standard output.",
    ),
]
Start = Annotated[
    Any,
    typer.Option(
        "-ss", parser=parse_time, metavar="TIME", help="Start here: 90.5 or 0:01:30.5.", rich_help_panel=INPUT
    ),
]
Duration = Annotated[
    Any,
    typer.Option("-t", parser=parse_time, metavar="TIME", help="Take this much of the source.", rich_help_panel=INPUT),
]
End = Annotated[
    Any,
    typer.Option(
        "-to", parser=parse_time, metavar="TIME", help="Stop here, counted in the source.", rich_help_panel=INPUT
    ),
]
Stride = Annotated[int, typer.Option(min=1, help="Take every Nth frame; times are kept.", rich_help_panel=INPUT)]
Deinterlace = Annotated[bool, typer.Option(help="Filter frames marked as interlaced.", rich_help_panel=INPUT)]
Strict = Annotated[bool, typer.Option("--strict", help="End at the first damaged packet.", rich_help_panel=INPUT)]
Live = Annotated[bool, typer.Option("--live", help="Drop frames rather than lag behind.", rich_help_panel=INPUT)]
Labels = Annotated[
    Path | None,
    typer.Option(help="Also write one indexed PNG label map per frame into this folder.", rich_help_panel=OUTPUT),
]
Confidence = Annotated[
    Path | None,
    typer.Option(
        help="Also write one 16-bit PNG per frame into this folder: how probable the classes are.",
        rich_help_panel=OUTPUT,
    ),
]
LabelIds = Annotated[
    Ids,
    typer.Option(
        help="Ids in label maps: the weights' classes, or Cityscapes train or label ids.", rich_help_panel=OUTPUT
    ),
]
PipeFormat = Annotated[
    Pipe,
    typer.Option(
        "--pipe", help="Label maps on standard output: bare bytes, or a lossless grey video.", rich_help_panel=OUTPUT
    ),
]
Codec = Annotated[
    str | None,
    typer.Option(help="Video codec: h264 hevc av1 vp9 ffv1; default: as the suffix wants.", rich_help_panel=OUTPUT),
]
Crf = Annotated[
    float | None,
    typer.Option(min=0, max=63, help="Constant rate factor: lower is better and larger.", rich_help_panel=OUTPUT),
]
Lines = Annotated[
    Path | None,
    typer.Option("--json", help="Write time and class shares of each frame, a JSON line each.", rich_help_panel=OUTPUT),
]
Report = Annotated[
    Path | None,
    typer.Option(help="Write figures, settings and class shares over time to this JSON.", rich_help_panel=OUTPUT),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with what a run of the same command left unfinished.", rich_help_panel=OUTPUT),
]
View = Annotated[ViewName, typer.Option(help="What the video shows.", rich_help_panel=PICTURE)]
Opacity = Annotated[
    float, typer.Option(min=0, max=1, help="Of the class colours over the picture.", rich_help_panel=PICTURE)
]
Classes = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="Draw only these classes.", rich_help_panel=PICTURE)
]
Legend = Annotated[bool, typer.Option("--legend", help="Name the classes in a corner.", rich_help_panel=PICTURE)]
ResetAtCuts = Annotated[
    bool, typer.Option(help="Forget the past where the video cuts to another shot.", rich_help_panel=INPUT)
]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Draw the class shares over time.", rich_help_panel=OUTPUT),
]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Show the overlay in the terminal, where there is one.", rich_help_panel=OUTPUT),
]
