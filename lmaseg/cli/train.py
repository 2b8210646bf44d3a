"""`lmaseg train`: data in, weights out."""

import os
import shlex
import sys
import threading
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lmaseg.cli.console import say
from lmaseg.cli.interrupt import INTERRUPTED, stop_on_interrupt
from lmaseg.cli.network import describe_device
from lmaseg.cli.options import Device
from lmaseg.cli.train_data import make_mixture, make_validation, training_clips, validation_clips
from lmaseg.cli.train_display import TrainDisplay
from lmaseg.cli.train_options import (
    Auxiliary,
    BatchSize,
    BFloat16,
    CamVid,
    Cityscapes,
    Classes,
    ClassesOption,
    ClassWeights,
    Colour,
    Compile,
    Crop,
    Decay,
    Distant,
    Dropout,
    Ema,
    Epochs,
    EpochSteps,
    Every,
    Folder,
    Fusion,
    HoldOut,
    Init,
    Lovasz,
    Memory,
    Minutes,
    Mix,
    Motion,
    Ohem,
    Out,
    Past,
    Rate,
    Resume,
    Rotation,
    SaveMinutes,
    Scale,
    ScheduleOption,
    Seed,
    Size,
    Stage,
    StageOption,
    Steady,
    Val,
    ValClasses,
    ValFolder,
    WarmUp,
    Window,
)

if TYPE_CHECKING:
    from lmaseg.labels import LabelSet
    from lmaseg.models import LocalMemoryNet
    from lmaseg.train import TrainOptions, TrainProgress


EXAMPLES = """
lmaseg train --camvid CamVid -o runs/base
lmaseg train --stage memory --init runs/base/best.safetensors \\
    --camvid CamVid -o runs/memory
lmaseg train --folder images/ labels/ --classes camvid -o runs/mine
"""

SIZES = {"camvid": (360, 480), "cityscapes": (512, 1024)}  # at which frames are kept unless --size says otherwise


def train(
    out: Out,
    camvid: CamVid = None,
    cityscapes: Cityscapes = None,
    folder: Folder = None,
    mix: Mix = None,
    hold_out: HoldOut = None,
    val: Val = True,
    val_folder: ValFolder = None,
    val_classes: ValClasses = None,
    stage: StageOption = Stage.BASE,
    init: Init = None,
    resume: Resume = False,
    classes: ClassesOption = None,
    size: Size = None,
    window: Window = None,
    memory: Memory = None,
    fusion: Fusion = None,
    epochs: Epochs = None,
    epoch_steps: EpochSteps = None,
    batch: BatchSize = None,
    crop: Crop = None,
    past: Past = None,
    learning_rate: Rate = None,
    schedule: ScheduleOption = None,
    warm_up: WarmUp = None,
    weight_decay: Decay = None,
    ema: Ema = None,
    ohem: Ohem = None,
    lovasz: Lovasz = None,
    steady: Steady = None,
    auxiliary: Auxiliary = None,
    class_weights: ClassWeights = None,
    dropout: Dropout = None,
    scale: Scale = None,
    rotation: Rotation = None,
    colour: Colour = None,
    motion: Motion = None,
    distant: Distant = None,
    seed: Seed = None,
    device: Device = "auto",
    validate_every: Every = None,
    save_minutes: SaveMinutes = None,
    minutes: Minutes = None,
    bfloat16: BFloat16 = None,
    compile: Compile = None,
) -> None:
    """Train a single-frame network, its memory, or both together."""
    settings = dict(locals())
    options = _options(settings)
    with stop_on_interrupt() as stop, TrainDisplay(shown=_rank() == 0) as display:
        progress = _train(settings, options, display, stop)
    if _rank() == 0:
        _conclude(progress, out)
    if progress.stopped and stop.is_set():
        raise typer.Exit(INTERRUPTED)


def _train(
    settings: dict[str, Any], options: "TrainOptions", display: TrainDisplay, stop: threading.Event
) -> "TrainProgress":
    """Put together what the command line names, and train; returns where that ended."""
    from lmaseg import train as library
    from lmaseg.evaluate import process_group
    from lmaseg.labels import label_set

    sets = {name: settings[name] for name in ("camvid", "cityscapes")}
    with process_group(settings["device"]) as device:
        _tune(device)
        if _rank() == 0:
            describe_device(device)
        net = _network(settings, device)
        _require_fit(options, net)
        clips, held = training_clips(
            net.labels, options.past_frames, folder=settings["folder"], hold_out=settings["hold_out"], **sets
        )
        mixture = make_mixture(net, options, clips, mix=settings["mix"] or {}, on_frame=display.reading)
        to_score = validation_clips(
            net,
            options,
            folder=settings["val_folder"],
            folder_labels=label_set(settings["val_classes"]) if settings["val_classes"] else net.labels,
            held_out=held,
            **(sets if settings["val"] else {}),
        )
        display.introduce(net.spec, mixture.describe())
        for progress in library.train(
            net,
            mixture,
            options,
            folder=settings["out"],
            resume=settings["resume"],
            validate=make_validation(to_score, options, net.spec.memory_frames),
            about={"licence": "that of the training data", "recipe": _command()},
            stop=stop,
        ):
            display.update(progress)
    return progress


def _options(settings: dict[str, Any]) -> "TrainOptions":
    """Those of the command's options that are settings of the training; the rest keep their defaults."""
    from lmaseg.train import TrainOptions

    names = [field.name for field in fields(TrainOptions) if settings.get(field.name) is not None]
    given: dict[str, Any] = {
        name: str(value) if isinstance(value := settings[name], StrEnum) else value for name in names
    }
    _require_pair("--crop", given.get("crop"))
    try:
        return TrainOptions(**given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _require_pair(option: str, size: Any) -> None:
    if isinstance(size, int):
        raise typer.BadParameter(f"{option} takes HEIGHTxWIDTH such as 360x480, not {size}")


def _require_fit(options: "TrainOptions", net: "LocalMemoryNet") -> None:
    from lmaseg.train.learner import check_crop

    try:
        check_crop(options.crop, net.stride)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _network(settings: dict[str, Any], device: str) -> "LocalMemoryNet":
    """The checkpoint to start from, or a fresh network, with the changes asked for; on its device."""
    from lmaseg.checkpoint import choose_device, load
    from lmaseg.models import adapted_network
    from lmaseg.train import fresh_network

    _require_pair("--size", settings["size"])
    asked = {"size": settings["size"], "window": settings["window"], "memory_frames": settings["memory"]}
    asked = {name: value for name, value in (asked | {"fusion": settings["fusion"]}).items() if value is not None}
    try:
        if settings["init"]:
            return adapted_network(load(settings["init"], device), **asked)
        torch_seed(settings["seed"] or 0)
        labels = _label_set(settings)
        asked.setdefault("size", SIZES[labels.name])
        return fresh_network(labels, **asked).to(choose_device(device))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _label_set(settings: dict[str, Any]) -> "LabelSet":
    """What was asked for; else Cityscapes' if it is the only data set, else CamVid's."""
    from lmaseg.labels import CAMVID, CITYSCAPES

    wanted = settings["classes"]
    if wanted is None and settings["cityscapes"] and not settings["camvid"]:
        wanted = Classes.CITYSCAPES
    return CITYSCAPES if wanted is Classes.CITYSCAPES else CAMVID


def _tune(device: str) -> None:
    """Let a GPU try which convolutions are fastest, and use TensorFloat-32 where bfloat16 is not used."""
    import torch

    if not device.startswith("cpu"):
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def torch_seed(seed: int) -> None:
    """Make the weights of a fresh network depend on the seed alone."""
    import torch

    torch.manual_seed(seed)


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _command() -> str:
    return shlex.join(["lmaseg", *sys.argv[1:]])


def _conclude(progress: "TrainProgress", out: Path) -> None:
    """One line on what there is now."""
    if progress.stopped:
        say(f"stopped after {progress.step} of {progress.steps} steps; to go on: {_resuming(_command())}")
        return
    best = "" if progress.best is None else f", best score {progress.best:.4f} in {out / 'best.safetensors'}"
    say(f"{progress.steps} steps in {progress.seconds / 60:.1f} min -> {out / 'final.safetensors'}{best}")


def _resuming(command: str) -> str:
    return command if "--resume" in command else f"{command} --resume"
