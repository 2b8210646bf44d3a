"""Options that more than one command takes, and the parsers of their values."""

import inspect
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg.job import Dtype

if TYPE_CHECKING:
    from lmaseg.labels import LabelSet

input_option = partial(typer.Option, rich_help_panel="Input")  # panels of --help
output_option = partial(typer.Option, rich_help_panel="Output")
picture_option = partial(typer.Option, rich_help_panel="Picture")
network_option = partial(typer.Option, rich_help_panel="Network")


def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter of a command, from which typer makes an option or an argument."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def parse_size(text: str) -> int | tuple[int, int]:
    """ "360" -> 360; "360x640" (height first) -> (360, 640)."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip().lower())
    if not match:
        raise typer.BadParameter(f"{text!r} is neither a height such as 360 nor HEIGHTxWIDTH such as 360x640")
    height, width = match.groups()
    return int(height) if width is None else (int(height), int(width))


def parse_time(text: str) -> float:
    """Seconds from ffmpeg's forms: 90, 1:30, 00:01:30.5, 1500ms."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)(ms|us|s)?", text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is not a time: write seconds (90.5) or HH:MM:SS (0:01:30.5)")
    hours, minutes, seconds, unit = match.groups()
    scale = {"ms": 1e-3, "us": 1e-6}.get(unit, 1.0)
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds) * scale


def named_classes(text: str | None) -> "LabelSet | None":
    """The label set that --classes names; None without it."""
    from lmaseg.labels import label_set

    try:
        return label_set(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def end_time(start: float | None, duration: float | None, end: float | None) -> float | None:
    """Where to stop in the source; a duration wins over an end, as in ffmpeg."""
    if duration is not None:
        end = (start or 0.0) + duration
    if end is not None and end <= (start or 0.0):
        raise typer.BadParameter(f"the end ({end:g} s) is not after the start ({start or 0:g} s)")
    return end


def parse_names(text: str) -> tuple[str, ...]:
    """ "car, pole" -> ("car", "pole")."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


WEIGHTS: Any = network_option(
    metavar="FILE|NAME",
    help="A checkpoint, or a name lmaseg info lists; default: those of --net, else the bundled ones.",
)
NET: Any = network_option(
    "--net",
    metavar="hf:NAME|MODULE:FUNCTION",
    help="Another network: of the Hugging Face hub, of a folder (hf:DIR), or what a function of yours returns.",
)
DEVICE: Any = network_option(help="auto, cpu, cuda, cuda:N or mps.")
MEMORY: Any = network_option(
    min=0, help="Past frames the network looks back at; 0: none; default: as the weights were trained."
)
BATCH: Any = network_option(min=1, max=256, help="Frames labelled at once; more make better use of a GPU.")
SIZE: Any = network_option(
    parser=parse_size,
    metavar="HEIGHT|HxW",
    help="Working size of the network; default: the shorter side is scaled to the size the weights were trained at.",
)
DTYPE: Any = network_option(
    help="What the network computes in; auto: the fastest on this machine. int8 needs weights prepared by lmaseg "
    "calibrate."
)
Weights = Annotated[Path | None, WEIGHTS]
Net = Annotated[str | None, NET]
Device = Annotated[str, DEVICE]
Memory = Annotated[int | None, MEMORY]
Batch = Annotated[int, BATCH]
Size = Annotated[Any, SIZE]
DtypeName = Annotated[Dtype, DTYPE]
Classes = Annotated[
    str | None,
    input_option(
        metavar="NAMES|FILE.toml",
        help="What the ids in the label maps of --folder mean: cityscapes, camvid, NAME,NAME,... or a TOML file; "
        "default: the weights' classes.",
    ),
]
