"""The parsers of the values of options, and what they mean together."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg.job import Job

if TYPE_CHECKING:
    from lmaseg.labels import LabelSet

input_option = partial(typer.Option, rich_help_panel="Input")  # panels of --help
output_option = partial(typer.Option, rich_help_panel="Output")
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


def parse_pair(text: str) -> tuple[int, int]:
    """ "360x640" (height first) -> (360, 640)."""
    size = parse_size(text)
    if isinstance(size, int):
        raise typer.BadParameter(f"{text!r} is one number: write HEIGHTxWIDTH such as 360x480")
    return size


def parse_time(text: str) -> float:
    """Seconds from ffmpeg's forms: 90, 1:30, 00:01:30.5, 1500ms."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)(ms|us|s)?", text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is not a time: write seconds (90.5) or HH:MM:SS (0:01:30.5)")
    hours, minutes, seconds, unit = match.groups()
    scale = {"ms": 1e-3, "us": 1e-6}.get(unit, 1.0)
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds) * scale


def parse_names(text: str) -> tuple[str, ...]:
    """ "car, pole" -> ("car", "pole")."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_weights(text: str) -> dict[str, float]:
    """ "camvid=3,folder=1" -> {"camvid": 3.0, "folder": 1.0}."""
    try:
        pairs = (part.split("=") for part in text.split(","))
        return {name.strip(): float(weight) for name, weight in pairs}
    except ValueError:
        raise typer.BadParameter(f"{text!r} gives no weights: write for example camvid=3,folder=1") from None


@contextmanager
def refusing() -> Iterator[None]:
    """What the library refuses as a ValueError within this is a wrong command line."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def named_classes(text: str | None) -> "LabelSet | None":
    """The label set that --classes names; None without it."""
    from lmaseg.labels import label_set

    with refusing():
        return label_set(text) if text else None


Duration = Annotated[Any, input_option("-t", parser=parse_time, metavar="TIME", help="How much of the source to take.")]


def with_duration(job: Job, duration: float | None) -> Job:
    """The job that ends so many seconds after its start; a duration wins over an end, as in ffmpeg."""
    start, end = job.start or 0.0, job.end
    if duration is not None:
        end = start + duration
    if end is not None and end <= start:
        raise typer.BadParameter(f"the end ({end:g} s) is not after the start ({start:g} s)")
    return replace(job, end=end)
