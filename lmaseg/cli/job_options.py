"""The options of commands that segment videos: each is a field of `Job`, with its type and its default."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from lmaseg.cli.options import (
    BATCH,
    DEVICE,
    INPUT,
    MEMORY,
    NET,
    OUTPUT,
    PICTURE,
    SIZE,
    WEIGHTS,
    parse_names,
    parse_time,
)
from lmaseg.job import Job

JobMaker = Callable[..., Job]
"""Makes a job of a source and what else is not an option; what is given to it wins over the options."""

OPTIONS: dict[str, Any] = {
    "source": typer.Argument(
        metavar="SOURCE",
        help="A video, a folder of images, a quoted glob such as 'frames/*.png', or an address (https://).",
    ),
    "video": typer.Option("--output", "-o", help="The video to write: .mp4 .mkv .mov .webm."),
    "maps": typer.Option(
        "--labels", help="Also write one indexed PNG label map per frame into this folder.", rich_help_panel=OUTPUT
    ),
    "confidence": typer.Option(
        help="Also write one 16-bit PNG per frame into this folder: how probable the classes are.",
        rich_help_panel=OUTPUT,
    ),
    "ids": typer.Option(
        help="Ids in label maps: the weights' classes, or Cityscapes train or label ids.", rich_help_panel=OUTPUT
    ),
    "lines": typer.Option(
        "--json", help="Write time and class shares of each frame, a JSON line each.", rich_help_panel=OUTPUT
    ),
    "report": typer.Option(
        help="Write figures, settings and class shares over time to this JSON.", rich_help_panel=OUTPUT
    ),
    "coco": typer.Option(
        metavar="FILE.json",
        help="Write the classes of each frame as COCO annotations, with run lengths.",
        rich_help_panel=OUTPUT,
    ),
    "zones": typer.Option(
        metavar="FILE.json",
        help="Add the class shares in these named polygons to --json and --report.",
        rich_help_panel=OUTPUT,
    ),
    "plot": typer.Option(metavar="FILE.png", help="Draw the class shares over time.", rich_help_panel=OUTPUT),
    "codec": typer.Option(
        help="Video codec: h264 hevc av1 vp9 ffv1; default: as the suffix wants.", rich_help_panel=OUTPUT
    ),
    "crf": typer.Option(
        min=0, max=63, help="Constant rate factor: lower is better and larger.", rich_help_panel=OUTPUT
    ),
    "view": typer.Option(help="What the video shows.", rich_help_panel=PICTURE),
    "opacity": typer.Option(min=0, max=1, help="Of the class colours over the picture.", rich_help_panel=PICTURE),
    "classes": typer.Option(
        parser=parse_names, metavar="NAME,...", help="Draw only these classes.", rich_help_panel=PICTURE
    ),
    "palette": typer.Option(
        help="Colours: brighter, with outlines, or the official ones of label maps.", rich_help_panel=PICTURE
    ),
    "legend": typer.Option(
        metavar="CORNER",
        help="Name the classes that are there: top-left, top-right, bottom-left or bottom-right.",
        rich_help_panel=PICTURE,
    ),
    "min_confidence": typer.Option(
        min=0,
        max=1,
        metavar="P",
        help="Leave pixels unlabelled whose class is less probable: not drawn, 255 in label maps.",
        rich_help_panel=PICTURE,
    ),
    "still": typer.Option(
        min=0,
        max=255,
        help="Levels of 255 by which a pixel may change and still count as still.",
        rich_help_panel=PICTURE,
    ),
    "start": typer.Option(
        "-ss", parser=parse_time, metavar="TIME", help="Start here: 90.5 or 0:01:30.5.", rich_help_panel=INPUT
    ),
    "end": typer.Option(
        "-to", parser=parse_time, metavar="TIME", help="Stop here, counted in the source.", rich_help_panel=INPUT
    ),
    "stride": typer.Option(min=1, help="Take every Nth frame; times are kept.", rich_help_panel=INPUT),
    "deinterlace": typer.Option(help="Filter frames marked as interlaced.", rich_help_panel=INPUT),
    "strict": typer.Option("--strict", help="End at the first damaged packet.", rich_help_panel=INPUT),
    "live": typer.Option("--live", help="Drop frames rather than lag behind.", rich_help_panel=INPUT),
    "reset_at_cuts": typer.Option(help="Forget the past where the video cuts to another shot.", rich_help_panel=INPUT),
    "weights": WEIGHTS,
    "net": NET,
    "device": DEVICE,
    "size": SIZE,
    "memory": MEMORY,
    "batch": BATCH,
}
READING = ("start", "end", "stride", "deinterlace", "strict")
LOOK = ("view", "palette", "opacity", "classes", "legend", "min_confidence")
NETWORK = ("weights", "net", "device", "size", "memory", "batch", "reset_at_cuts")

Duration = Annotated[
    Any,
    typer.Option("-t", parser=parse_time, metavar="TIME", help="Take this much of the source.", rich_help_panel=INPUT),
]


@dataclass(frozen=True)
class JobOptions:
    """Annotates the parameter of a command that takes a `JobMaker`: these fields of `Job` become its options."""

    names: tuple[str, ...]
    required: tuple[str, ...] = ()

    def parameters(self) -> list[inspect.Parameter]:
        """The options, as parameters that typer understands."""
        kinds, defaults = get_type_hints(Job), {field.name: field.default for field in fields(Job)}
        found = []
        for name in self.names:
            option = OPTIONS[name]
            kind: Any = Any if option.parser else Path if name in self.required else kinds[name]
            needed = name in self.required or defaults[name] is MISSING
            default = inspect.Parameter.empty if needed else defaults[name]
            found.append(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
                )
            )
        return found

    def taken_from(self, given: dict[str, Any]) -> JobMaker:
        """What makes the jobs of a command line; takes its values out of those given."""
        return partial(Job, **{name: given.pop(name) for name in self.names})
