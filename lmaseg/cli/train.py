"""`lmaseg train`: data in, weights out."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmaseg.cli.console import say
from lmaseg.cli.data import hint_at_stills, load_clips
from lmaseg.cli.interrupt import INTERRUPTED, stop_on_interrupt
from lmaseg.cli.network import describe_device, load_network
from lmaseg.cli.options import refusing
from lmaseg.cli.settings import job_options
from lmaseg.cli.train_data import (
    make_mixture,
    make_validation,
    own_size,
    split,
    teach,
    usual_size,
    validation_clips,
)
from lmaseg.cli.train_display import TrainDisplay
from lmaseg.cli.train_options import Data, Start
from lmaseg.job import Job
from lmaseg.paths import check_new_folder
from lmaseg.train_options import TrainOptions

if TYPE_CHECKING:
    from lmaseg.labels import LabelSet
    from lmaseg.models import LocalMemoryNet
    from lmaseg.train import TrainProgress


EXAMPLES = """
lmaseg train --folder images/ labels/ --classes lawn,path -o runs/mine
lmaseg train --camvid CamVid --backbone erfnet -o runs/base
lmaseg train --unlabelled drive.mp4 --teacher big.safetensors -o runs/own
lmaseg train --stage memory --init runs/base/best.safetensors \\
    --camvid CamVid -o runs/memory
lmaseg train --print-config                           all settings
"""

HIGHEST = 480  # pixels of one's own frames, unless --size says otherwise
UNKNOWN_SIZE = 480, 640  # until the frames are read


def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of this run: weights, history and state.")],
    data: Data,
    start: Start,
    options: TrainOptions,
    job: Annotated[Job, job_options("device")],
    resume: Annotated[bool, typer.Option(help="Continue the run in --out, if there is one.")] = False,
) -> None:
    """Train a single-frame network, its memory, or both together."""
    check_new_folder(out)

    from lmaseg import train as library
    from lmaseg.evaluate import process_group
    from lmaseg.models.memory import memory_for

    first = int(os.environ.get("RANK", "0")) == 0  # of torchrun's processes, the one that talks and writes
    display = TrainDisplay(shown=first, at_once=True)
    with stop_on_interrupt() as stop, display, refusing(), process_group(job.device) as device:
        _tune(device)
        if first:
            describe_device(device)
        net = _network(start, data, options.seed, device)
        past = options.past_frames
        validation = validation_clips(data, net, memory_for(net, net.spec.memory_frames).reach if past else 0)
        clips = load_clips(vars(data), "train", net.labels, past, stills=data.stills)
        if first and past and data.folder:
            hint_at_stills(clips["folder"])
        if data.unlabelled:
            clips["taught"] = teach(data, net, out, display.update, stop)
        clips, validation = split(data, clips, validation)
        mixture = make_mixture(net, data, clips, past, display.update)
        display.introduce(net.spec, mixture.describe())
        for progress in library.train(
            net,
            mixture,
            options,
            folder=out,
            resume=resume,
            validate=make_validation(validation, options, net.spec.memory_frames),
            about={"licence": "that of the training data", "recipe": _command()},
            stop=stop,
        ):
            display.show(progress)
    if first:
        _conclude(progress, out)
    if progress.stopped and stop.is_set():
        raise typer.Exit(INTERRUPTED)


def _network(start: Start, data: Data, seed: int, device: str) -> "LocalMemoryNet":
    """The checkpoint to start from, or a fresh network, with the changes asked for; on its device."""
    import torch

    from lmaseg.checkpoint import choose_device
    from lmaseg.models import adapted_network
    from lmaseg.train import fresh_network, with_classes

    if start.backbone and (start.init or start.net):
        raise typer.BadParameter("--backbone starts from a fresh network: give it without --init and --net")
    torch.manual_seed(seed)
    labels = _labels(start, data)
    size = start.size or usual_size(data)
    if start.backbone and labels:
        net = fresh_network(labels, size=size or UNKNOWN_SIZE, backbone=start.backbone).to(choose_device(device))
    else:
        net = load_network(start.init, device, start.net)
        net = with_classes(net, labels) if labels else net
    if size is None and data.folder and not (start.init or start.net):
        size = own_size(data.folder, net.labels, HIGHEST, net.multiple)
    return adapted_network(net, size=size, window=start.window, memory_frames=start.memory, fusion=start.fusion)


def _labels(start: Start, data: Data) -> "LabelSet | None":
    """The classes asked for, or those of the only data set; None keeps a checkpoint's that was asked for."""
    from lmaseg.checkpoint import BUNDLED, read_header
    from lmaseg.labels import CAMVID, CITYSCAPES, label_set

    if start.classes:
        return label_set(start.classes)
    if start.init or start.net:
        return None
    if bool(data.camvid) != bool(data.cityscapes):
        return CAMVID if data.camvid else CITYSCAPES
    return read_header(BUNDLED).labels


def _tune(device: str) -> None:
    """Let a GPU try which convolutions are fastest, and use TensorFloat-32 where bfloat16 is not used."""
    import torch

    if not device.startswith("cpu"):
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def _command() -> str:
    return shlex.join(["lmaseg", *sys.argv[1:]])


def _conclude(progress: "TrainProgress", out: Path) -> None:
    """One line on what there is now."""
    if progress.stopped:
        names = "state.pt", "latest.safetensors", "best.safetensors"
        kept = [str(out / name) for name in names if (out / name).exists()]
        done = f"stopped after {progress.step} of {progress.steps} steps"
        again = _command() if "--resume" in _command() else f"{_command()} --resume"
        say(f"{done}, kept: {' and '.join(kept) or 'nothing yet'}; to continue: {again}")
        return
    best = "" if progress.best is None else f", best score {progress.best:.4f} in {out / 'best.safetensors'}"
    if progress.best is None and progress.memory_lowers:
        best = ", none kept as best: the memory lowered the score at every validation"
    say(f"{progress.steps} steps in {progress.seconds / 60:.1f} min -> {out / 'final.safetensors'}{best}")
