"""The options of `lmaseg train`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lmaseg.cli.options import parse_size
from lmaseg.cli.train_data import parse_mix


class Stage(StrEnum):
    """What is trained."""

    BASE = "base"
    MEMORY = "memory"
    JOINT = "joint"


class Schedule(StrEnum):
    """How the learning rate falls."""

    POLY = "poly"
    COSINE = "cosine"


class Classes(StrEnum):
    """The classes of a fresh network."""

    CAMVID = "camvid"
    CITYSCAPES = "cityscapes"


DATA, START, RECIPE, RUN = "Data", "Start", "Recipe", "Run"

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of this run: weights, history and state.")]
CamVid = Annotated[
    Path | None, typer.Option(help="CamVid: train/ trainannot/ and, to validate, val/ valannot/.", rich_help_panel=DATA)
]
Cityscapes = Annotated[Path | None, typer.Option(help="Cityscapes: leftImg8bit/ and gtFine/.", rich_help_panel=DATA)]
Folder = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="IMAGES LABELS", help="Your own: images, and PNG class ids.", rich_help_panel=DATA),
]
Mix = Annotated[
    Any,
    typer.Option(parser=parse_mix, metavar="NAME=WEIGHT,...", help="Shares of the sources.", rich_help_panel=DATA),
]
HoldOut = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="Validate with clips named so ('0006R0*') instead.", rich_help_panel=DATA),
]
Val = Annotated[bool, typer.Option(help="Validate with the val splits of the data sets.", rich_help_panel=DATA)]
ValFolder = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="IMAGES LABELS", help="Validate with this, too.", rich_help_panel=DATA),
]
ValClasses = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES|FILE.toml",
        help="What the label maps of --val-folder mean, as --classes does; default: the network's classes.",
        rich_help_panel=DATA,
    ),
]
StageOption = Annotated[Stage, typer.Option(help="What is trained.", rich_help_panel=START)]
Init = Annotated[Path | None, typer.Option(help="Start from this checkpoint.", rich_help_panel=START)]
Resume = Annotated[bool, typer.Option(help="Go on with the run in --out, if there is one.", rich_help_panel=START)]
ClassesOption = Annotated[
    Classes | None, typer.Option(help="Of a fresh network; default: the data set's.", rich_help_panel=START)
]
Size = Annotated[
    Any,
    typer.Option(parser=parse_size, metavar="HxW", help="Frames are kept at this size.", rich_help_panel=START),
]
Window = Annotated[int | None, typer.Option(help="Attention window, odd, in cells of 8 pixels.", rich_help_panel=START)]
Memory = Annotated[int | None, typer.Option(min=1, help="Past frames the network remembers.", rich_help_panel=START)]
Fusion = Annotated[str | None, typer.Option(help="blend, sigmoid-do1, sigmoid or residual.", rich_help_panel=START)]

Epochs = Annotated[int | None, typer.Option(min=1, help="Default: 100.", rich_help_panel=RECIPE)]
EpochSteps = Annotated[
    int | None, typer.Option(min=1, help="Steps of an epoch; default: one look at every frame.", rich_help_panel=RECIPE)
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Clips per step and process: 8.", rich_help_panel=RECIPE)]
Crop = Annotated[
    Any, typer.Option(parser=parse_size, metavar="HxW", help="Pixels of a view: 288x384.", rich_help_panel=RECIPE)
]
Past = Annotated[int | None, typer.Option(min=1, help="Most past frames of a clip: 3.", rich_help_panel=RECIPE)]
Rate = Annotated[
    float | None, typer.Option("--lr", help="Peak: 1e-3 base, 5e-4 memory, 5e-5 joint.", rich_help_panel=RECIPE)
]
ScheduleOption = Annotated[Schedule | None, typer.Option(help="Default: poly.", rich_help_panel=RECIPE)]
WarmUp = Annotated[int | None, typer.Option(min=0, help="Steps: 100.", rich_help_panel=RECIPE)]
Decay = Annotated[float | None, typer.Option(min=0, help="AdamW's: 0.01.", rich_help_panel=RECIPE)]
Ema = Annotated[float | None, typer.Option(help="Decay of the weights' average: 0.998.", rich_help_panel=RECIPE)]
Ohem = Annotated[float | None, typer.Option(help="Learn from pixels less sure than this.", rich_help_panel=RECIPE)]
Lovasz = Annotated[float | None, typer.Option(min=0, help="Weight of the Lovasz loss: 0.", rich_help_panel=RECIPE)]
Steady = Annotated[
    float | None,
    typer.Option(min=0, help="Weight of the difference between successive frames: 40.", rich_help_panel=RECIPE),
]
Auxiliary = Annotated[float | None, typer.Option(min=0, help="Weight of the second loss: 0.4.", rich_help_panel=RECIPE)]
ClassWeights = Annotated[bool | None, typer.Option(help="Weigh rare classes more.", rich_help_panel=RECIPE)]
Dropout = Annotated[float | None, typer.Option(min=0, max=1, help="Cap on dropout.", rich_help_panel=RECIPE)]
Scale = Annotated[
    tuple[float, float] | None, typer.Option(metavar="FROM TO", help="Zoom: 0.5 2.", rich_help_panel=RECIPE)
]
Rotation = Annotated[float | None, typer.Option(min=0, help="Largest roll in degrees: 4.", rich_help_panel=RECIPE)]
Colour = Annotated[float | None, typer.Option(min=0, help="Strength of changes of colour: 1.", rich_help_panel=RECIPE)]
Motion = Annotated[float | None, typer.Option(min=0, help="Speed of the virtual camera: 1.", rich_help_panel=RECIPE)]
Distant = Annotated[
    float | None, typer.Option(help="Share of stills whose past is long before them: 0.1.", rich_help_panel=RECIPE)
]

Seed = Annotated[int | None, typer.Option(min=0, help="Of all chance: 0.", rich_help_panel=RUN)]
Minutes = Annotated[float | None, typer.Option(help="Stop after this long, to resume later.", rich_help_panel=RUN)]
Every = Annotated[int | None, typer.Option(min=1, help="Epochs between validations: 10.", rich_help_panel=RUN)]
SaveMinutes = Annotated[float | None, typer.Option(min=0, help="Between saves of the state: 2.", rich_help_panel=RUN)]
BFloat16 = Annotated[bool | None, typer.Option(help="Mixed precision.", rich_help_panel=RUN)]
Compile = Annotated[bool | None, typer.Option(help="torch.compile the network.", rich_help_panel=RUN)]
