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
    MEMORY,
    NET,
    SIZE,
    WEIGHTS,
    input_option,
    output_option,
    parameter,
    parse_names,
    parse_time,
    picture_option,
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
    "maps": output_option("--labels", help="Also write the label map of each frame, an indexed PNG, into this folder."),
    "confidence": output_option(
        help="Also write how probable each pixel's class is, a 16-bit PNG per frame, into this folder."
    ),
    "ids": output_option(
        help="Which ids label maps hold: those of the weights' classes, or Cityscapes train or label ids."
    ),
    "lines": output_option("--json", help="Write a line of JSON for each frame: its time and the share of each class."),
    "report": output_option(help="Write a summary as JSON: figures, settings and class shares over time."),
    "coco": output_option(
        metavar="FILE.json", help="Write the classes of each frame as run-length encoded COCO annotations."
    ),
    "zones": output_option(
        metavar="FILE.json", help="Named polygons; the class shares inside them are added to --json and --report."
    ),
    "plot": output_option(metavar="FILE.png", help="Draw the class shares over time."),
    "codec": output_option(help="Video codec: h264 hevc av1 vp9 ffv1; default: depends on the suffix."),
    "crf": output_option(
        min=0, max=63, help="Constant rate factor: a lower one gives better quality and a larger file."
    ),
    "view": picture_option(help="What the video shows."),
    "opacity": picture_option(min=0, max=1, help="Opacity of the class colours over the picture."),
    "classes": picture_option(parser=parse_names, metavar="NAME,...", help="Draw only these classes."),
    "palette": picture_option(
        help="Colours of the video: screen is brighter and has outlines, official is as in label maps."
    ),
    "legend": picture_option(
        metavar="CORNER",
        help="Name the classes in the picture, in this corner: top-left, top-right, bottom-left or bottom-right.",
    ),
    "min_confidence": picture_option(
        min=0,
        max=1,
        metavar="P",
        help="Pixels whose class is less probable than P stay unlabelled: not drawn, and 255 in label maps.",
    ),
    "still": picture_option(
        min=0, max=255, help="By how many of 255 levels a pixel may change and still count as unchanged."
    ),
    "start": input_option("-ss", parser=parse_time, metavar="TIME", help="Start here: 90.5 or 0:01:30.5."),
    "end": input_option(
        "-to", parser=parse_time, metavar="TIME", help="Stop here, counted from the start of the source."
    ),
    "stride": input_option(min=1, help="Take every Nth frame; the frames keep their times."),
    "deinterlace": input_option(help="Deinterlace frames that are marked as interlaced."),
    "strict": input_option("--strict", help="End the run at the first damaged packet."),
    "live": input_option("--live", help="Drop frames rather than fall behind the source."),
    "reset_at_cuts": input_option(help="Empty the memory where the video cuts to another shot."),
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

Duration = Annotated[Any, input_option("-t", parser=parse_time, metavar="TIME", help="How much of the source to take.")]


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
            found.append(parameter(name, Annotated[kind, option], default))
        return found

    def taken_from(self, given: dict[str, Any]) -> JobMaker:
        """A function that makes jobs with the options of a command line, which are removed from `given`."""
        return partial(Job, **{name: given.pop(name) for name in self.names})
