"""Options that more than one command takes, and the parsers of their values."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer


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


Weights = Annotated[Path | None, typer.Option(help="A checkpoint; default: the weights that come with lmaseg.")]
Net = Annotated[
    str | None,
    typer.Option(
        "--net", metavar="MODULE:FUNCTION", help="What builds the network, for weights of one attached in Python."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Memory = Annotated[int | None, typer.Option(min=0, help="Past frames to attend to; 0 segments every frame alone.")]
Batch = Annotated[int, typer.Option(min=1, max=256, help="Frames labelled at once: more keep a GPU busier.")]
Size = Annotated[
    Any,
    typer.Option(
        parser=parse_size,
        metavar="HEIGHT|HxW",
        help="Working size of the network; default: the shorter side as the weights were trained at.",
    ),
]
WeightsArgument = Annotated[
    Path | None, typer.Argument(metavar="[WEIGHTS]", help="A checkpoint; default: the weights that come with lmaseg.")
]
