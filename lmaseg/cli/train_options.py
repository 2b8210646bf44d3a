"""What `lmaseg train` trains on and starts from; how it trains is `lmaseg.train.TrainOptions`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lmaseg.settings import setting

DATA, START = "Data", "Start"

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of this run: weights, history and state.")]
Resume = Annotated[bool, typer.Option(help="Continue the run in --out, if there is one.")]


@dataclass(frozen=True)
class Data:
    """What to train on and to validate with."""

    camvid: Path | None = setting(
        None, "CamVid: train/ trainannot/ and, to validate, val/ valannot/.", panel=DATA, shown=True
    )
    cityscapes: Path | None = setting(None, "Cityscapes: leftImg8bit/ and gtFine/.", panel=DATA, shown=True)
    folder: tuple[Path, Path] | None = setting(
        None, "Your own: images, and PNG class ids.", panel=DATA, shown=True, form="IMAGES LABELS"
    )
    unlabelled: list[Path] | None = setting(
        None,
        "A video or a folder of pictures without labels, which the teacher labels; give it once for each.",
        panel=DATA,
        shown=True,
        form="VIDEO",
    )
    teacher: Path | None = setting(
        None, "Weights of the network that labels --unlabelled.", panel=DATA, shown=True, form="WEIGHTS"
    )
    teacher_net: str | None = setting(
        None,
        "A teacher attached by a function, or a network of the hub; with its own weights if there is no --teacher.",
        panel=DATA,
        form="MODULE:FUNCTION|hf:NAME",
    )
    teacher_every: float = setting(1.0, "Seconds between the frames of a video that the teacher labels.", panel=DATA)
    teacher_sure: float = setting(
        0.7, "Least probability, averaged over sizes and mirrored, at which its label is kept.", panel=DATA
    )
    mix: Any = setting(None, "Shares of the data sets.", panel=DATA, form="NAME=WEIGHT,...")
    hold_out: str | None = setting(
        None,
        "Train without the clips named so ('0006R0*') and validate with them; a still is a clip named like its file.",
        panel=DATA,
        form="PATTERN",
    )
    val: bool = setting(True, "Validate with the val splits of the data sets, or with a share held out.", panel=DATA)
    val_folder: tuple[Path, Path] | None = setting(
        None, "Validate with this, too.", panel=DATA, shown=True, form="IMAGES LABELS"
    )
    val_classes: str | None = setting(
        None,
        "What the label maps of --val-folder mean, as --classes does; by default the network's classes.",
        panel=DATA,
        form="NAMES|FILE.toml",
    )

    def __post_init__(self) -> None:
        if bool(self.unlabelled) != bool(self.teacher or self.teacher_net):
            raise ValueError(
                "--unlabelled goes with --teacher or --teacher-net: give the videos and what is to label them"
            )
        if not self.teacher_every > 0 or not 0 <= self.teacher_sure < 1:
            raise ValueError("the seconds between labelled frames are above 0, the least probability is in [0, 1)")


@dataclass(frozen=True)
class Start:
    """The network to train."""

    init: Path | None = setting(
        None, "Start from this checkpoint; by default the weights that come with lmaseg.", panel=START, shown=True
    )
    net: str | None = setting(
        None,
        "Another network to start from, as in lmaseg run.",
        panel=START,
        shown=True,
        form="hf:NAME|MODULE:FUNCTION",
    )
    backbone: str | None = setting(
        None, "Start from a fresh network with this backbone instead.", panel=START, shown=True, form="NAME"
    )
    classes: str | None = setting(
        None,
        "cityscapes, camvid, NAME,NAME,... or a TOML file: what the network tells apart, and what the ids in the "
        "label maps of --folder mean; by default the checkpoint's classes.",
        panel=START,
        shown=True,
        form="NAMES|FILE.toml",
    )
    size: Any = setting(
        None,
        "Frames are kept at this size; by default CamVid's, Cityscapes', that of --init or --net, or else that of "
        "your own, up to 480 pixels high.",
        panel=START,
        shown=True,
        form="HxW",
    )
    window: int | None = setting(None, "Attention window, odd, in feature cells.", panel=START)
    memory: int | None = setting(None, "Past frames the network remembers.", panel=START)
    fusion: str | None = setting(
        None, "How the memory joins the frame: blend, sigmoid-do1, sigmoid or residual.", panel=START
    )
