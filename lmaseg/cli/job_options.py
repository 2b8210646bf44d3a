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
    DTYPE,
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
        "--labels",
        help="Also write the label map of each frame, an indexed PNG, into this folder.",
        rich_help_panel=OUTPUT,
    ),
    "confidence": typer.Option(
        help="Also write how probable each pixel's class is, a 16-bit PNG per frame, into this folder.",
        rich_help_panel=OUTPUT,
    ),
    "ids": typer.Option(
        help="Which ids label maps hold: those of the weights' classes, or Cityscapes train or label ids.",
        rich_help_panel=OUTPUT,
    ),
    "lines": typer.Option(
        "--json",
        help="Write a line of JSON for each frame: its time and the share of each class.",
        rich_help_panel=OUTPUT,
    ),
    "report": typer.Option(
        help="Write a summary as JSON: figures, settings and class shares over time.", rich_help_panel=OUTPUT
    ),
    "coco": typer.Option(
        metavar="FILE.json",
        help="Write the classes of each frame as run-length encoded COCO annotations.",
        rich_help_panel=OUTPUT,
    ),
    "zones": typer.Option(
        metavar="FILE.json",
        help="Named polygons; the class shares inside them are added to --json and --report.",
        rich_help_panel=OUTPUT,
    ),
    "plot": typer.Option(metavar="FILE.png", help="Draw the class shares over time.", rich_help_panel=OUTPUT),
    "codec": typer.Option(
        help="Video codec: h264 hevc av1 vp9 ffv1; default: depends on the suffix.", rich_help_panel=OUTPUT
    ),
    "crf": typer.Option(
        min=0,
        max=63,
        help="Constant rate factor: a lower one gives better quality and a larger file.",
        rich_help_panel=OUTPUT,
    ),
    "view": typer.Option(help="What the video shows.", rich_help_panel=PICTURE),
    "opacity": typer.Option(
        min=0, max=1, help="Opacity of the class colours over the picture.", rich_help_panel=PICTURE
    ),
    "classes": typer.Option(
        parser=parse_names, metavar="NAME,...", help="Draw only these classes.", rich_help_panel=PICTURE
    ),
    "palette": typer.Option(
        help="Colours of the video: screen is brighter and has outlines, official is as in label maps.",
        rich_help_panel=PICTURE,
    ),
    "legend": typer.Option(
        metavar="CORNER",
        help="Name the classes in the picture, in this corner: top-left, top-right, bottom-left or bottom-right.",
        rich_help_panel=PICTURE,
    ),
    "min_confidence": typer.Option(
        min=0,
        max=1,
        metavar="P",
        help="Pixels whose class is less probable than P stay unlabelled: not drawn, and 255 in label maps.",
        rich_help_panel=PICTURE,
    ),
    "still": typer.Option(
        min=0,
        max=255,
        help="By how many of 255 levels a pixel may change and still count as unchanged.",
        rich_help_panel=PICTURE,
    ),
    "start": typer.Option(
        "-ss", parser=parse_time, metavar="TIME", help="Start here: 90.5 or 0:01:30.5.", rich_help_panel=INPUT
    ),
    "end": typer.Option(
        "-to",
        parser=parse_time,
        metavar="TIME",
        help="Stop here, counted from the start of the source.",
        rich_help_panel=INPUT,
    ),
    "stride": typer.Option(min=1, help="Take every Nth frame; the frames keep their times.", rich_help_panel=INPUT),
    "deinterlace": typer.Option(help="Deinterlace frames that are marked as interlaced.", rich_help_panel=INPUT),
    "strict": typer.Option("--strict", help="End the run at the first damaged packet.", rich_help_panel=INPUT),
    "live": typer.Option("--live", help="Drop frames rather than fall behind the source.", rich_help_panel=INPUT),
    "reset_at_cuts": typer.Option(help="Empty the memory where the video cuts to another shot.", rich_help_panel=INPUT),
    "weights": WEIGHTS,
    "net": NET,
    "device": DEVICE,
    "size": SIZE,
    "memory": MEMORY,
    "batch": BATCH,
    "dtype": DTYPE,
}
READING = ("start", "end", "stride", "deinterlace", "strict")
LOOK = ("view", "palette", "opacity", "classes", "legend", "min_confidence")
NETWORK = ("weights", "net", "device", "size", "memory", "batch", "dtype", "reset_at_cuts")

Duration = Annotated[
    Any,
    typer.Option(
        "-t", parser=parse_time, metavar="TIME", help="How much of the source to take.", rich_help_panel=INPUT
    ),
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
