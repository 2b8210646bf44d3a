"""What `lmaseg train` trains on and validates with."""

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lmaseg.cli.console import say
from lmaseg.cli.data import load_clips
from lmaseg.cli.interrupt import INTERRUPTED
from lmaseg.cli.train_options import Data

if TYPE_CHECKING:
    import threading

    from lmaseg.datasets.clip import Clip
    from lmaseg.labels import LabelSet
    from lmaseg.models import LocalMemoryNet
    from lmaseg.train import Mixture, TrainOptions, Validate

HELD_OUT = 5  # one labelled frame in so many validates where nothing else does

OnFrame = Callable[[str, int, int], None]
ClipsByName = dict[str, list["Clip"]]


def teach(data: Data, net: "LocalMemoryNet", out: Path, on_frame: OnFrame, stop: "threading.Event") -> "list[Clip]":
    """Clips of --unlabelled with the teacher's labels, stored beside the run; earlier ones are kept. Raises Exit: it
    was interrupted."""
    from torch import distributed

    from lmaseg.cli.network import load_network
    from lmaseg.evaluate import rank_and_world
    from lmaseg.train.teacher import Teaching, label_sources, taught_clips

    folder, name = out / "taught", data.teacher_net or "its own"
    teaching = Teaching(
        f"{data.teacher or 'own weights'}, {name} network", net.labels.names, data.teacher_every, data.teacher_sure
    )

    def show(name: str, count: int) -> None:
        on_frame(f"reading labels of {name}", count, count)

    rank, world = rank_and_world()
    done = True
    if rank == 0:
        teacher = load_network(data.teacher, str(next(net.parameters()).device), data.teacher_net)
        sources = data.unlabelled or []
        done = label_sources(teacher, sources, teaching, net.labels, folder, on_frame=show, stop=stop)
    if world > 1:
        distributed.barrier()
    if not done:
        say(f"interrupted; the labels so far are in {folder}, and --resume continues from there")
        raise typer.Exit(INTERRUPTED)
    return taught_clips(folder, net.labels)


def validation_clips(data: Data, net: "LocalMemoryNet", past: int) -> ClipsByName:
    """The val splits that are there, and the folder to validate with."""
    from lmaseg.labels import label_set

    paths: dict[str, Any] = {"folder": data.val_folder}
    if data.val and data.camvid and (data.camvid / "val").is_dir():
        paths["camvid"] = data.camvid
    if data.val and data.cityscapes and (data.cityscapes / "gtFine" / "val").is_dir():
        paths["cityscapes"] = data.cityscapes
    labels = label_set(data.val_classes) if data.val_classes else net.labels
    return load_clips(paths, "val", labels, past, stills=data.stills)


def split(data: Data, training: ClipsByName, validation: ClipsByName) -> tuple[ClipsByName, ClipsByName]:
    """Clips to train on and to validate with.

    Those held out are as asked or, where nothing else validates, a fifth.
    """
    held, kept = [], training
    if data.hold_out is not None:
        held = [clip for each in training.values() for clip in each if fnmatch(clip.name, data.hold_out)]
        kept = {
            name: [clip for clip in each if not fnmatch(clip.name, data.hold_out)] for name, each in training.items()
        }
        if not held:
            raise typer.BadParameter(f"no clip is named like {data.hold_out!r}: give a pattern such as '0006R0*'")
    elif data.val and not validation:
        parts = {name: _divided(each) for name, each in training.items()}
        kept = {name: first for name, (first, _) in parts.items()}
        held = [clip for _, second in parts.values() for clip in second]
        if held:
            count = sum(len(clip.labelled) for clip in held)
            say(f"{count} labelled frames are held out to validate with: --no-val trains on all of them")
    kept = {name: each for name, each in kept.items() if each}
    return kept, validation | ({"held out": held} if held else {})


def _divided(clips: list["Clip"]) -> tuple[list["Clip"], list["Clip"]]:
    """Every fifth clip apart or, of fewer clips, the last fifth of each."""
    if len(clips) >= HELD_OUT:
        return [clip for i, clip in enumerate(clips) if i % HELD_OUT != 2], clips[2::HELD_OUT]
    kept, held = [], []
    for clip in clips:
        ends = clip.labelled
        if len(ends) < HELD_OUT:
            kept.append(clip)
            continue
        at = ends[-len(ends) // HELD_OUT]
        kept.append(replace(clip, frames=clip.frames[:at]))
        held.append(replace(clip, name=clip.frames[at].name, frames=clip.frames[at:]))
    return kept, held


def make_mixture(net: "LocalMemoryNet", data: Data, clips: ClipsByName, past: int, on_frame: OnFrame) -> "Mixture":
    """All data sets in memory on the network's device, in the shares asked for."""
    from lmaseg.train import Mixture, load_frames

    stores = {}
    for name, each in clips.items():
        stores[name] = load_frames(
            each,
            labels=net.labels,
            size=net.preprocess.size,
            past=past,
            device=next(net.parameters()).device,
            on_frame=lambda done, to_do, name=name: on_frame(f"reading {name}", done, to_do),  # type: ignore[misc]
        )
    mixture = Mixture(stores, data.mix)
    shares = mixture.frequencies(net.spec.classes).tolist()
    if missing := [name for name, share in zip(net.labels.names, shares, strict=True) if not share]:
        off = missing == [net.labels.names[0]]
        hint = "; do the ids in the label maps begin at 1? The first class has id 0" if off else ""
        say(f"no pixel to train on is labelled {', '.join(missing)}{hint}")
    return mixture


def make_validation(clips: ClipsByName, options: "TrainOptions", memory: int) -> "Validate | None":
    """Mean IoU of every set, streamed with the memory (if the stage has one and frames are neighbours) and without.

    Of videos also the strict mVC8 and the flicker. The first set's mean IoU is what decides which weights are best;
    with a memory it must not be less than without.
    """
    from lmaseg.evaluate import evaluate
    from lmaseg.train import Validate
    from lmaseg.train.store import WIDEST_STEP

    plans: list[tuple[list[Clip], int, list[str]]] = []  # clips, past frames to attend to, names of the scores
    for name, each in clips.items():
        video = all(clip.step <= WIDEST_STEP for clip in each)  # neighbouring frames are near in time
        measures = ("mIoU", "mVC8 strict", "flicker") if video else ("mIoU",)
        for past in (memory, 0) if video and options.stage != "base" else (0,):
            plans.append((each, past, [f"{name} memory {past} {measure}" for measure in measures]))
    if not plans:
        return None

    def score(net: "LocalMemoryNet") -> dict[str, float]:
        scores: dict[str, float] = {}
        for clips, past, names in plans:
            found = evaluate(net, clips, memory=past)
            values = found.mean_iou, found.temporal["mvc8Strict"], found.temporal["flicker"]
            scores |= dict(zip(names, values, strict=False))
        return scores

    without = plans[1][2][0] if plans[0][1] else None
    return Validate([name for *_, names in plans for name in names], score, without_memory=without)


def usual_size(data: Data) -> tuple[int, int] | None:
    """The size at which a data set's frames are kept; None where there is only a folder of one's own, or nothing."""
    if data.camvid:
        return 360, 480
    return (512, 1024) if data.cityscapes else None


def own_size(folder: tuple[Path, Path], labels: "LabelSet", highest: int, stride: int) -> tuple[int, int]:
    """The size (height, width) of a folder's first picture, at most so high, in multiples of the stride."""
    from lmaseg.datasets.folder import folder_clips

    height, width = folder_clips(*folder, labels)[0].image(0).shape[:2]
    scale = min(1.0, highest / height)
    rows, columns = (max(4 * stride, round(side * scale / stride) * stride) for side in (height, width))
    return rows, columns
