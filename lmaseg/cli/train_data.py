"""What `lmaseg train` trains on and validates with, from the options that name it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lmaseg.datasets.clip import Clip
    from lmaseg.labels import LabelSet
    from lmaseg.models import LocalMemoryNet
    from lmaseg.train import Mixture, TrainOptions, Validate

OnFrame = Callable[[str, int, int], None]
ClipsByName = dict[str, list["Clip"]]


def parse_mix(text: str) -> dict[str, float]:
    """ "camvid=3,folder=1" -> {"camvid": 3.0, "folder": 1.0}."""
    try:
        pairs = (part.split("=") for part in text.split(","))
        return {name.strip(): float(weight) for name, weight in pairs}
    except ValueError:
        raise typer.BadParameter(f"{text!r} gives no weights: write for example camvid=3,folder=1") from None


def training_clips(
    labels: "LabelSet",
    past: int,
    *,
    camvid: Path | None,
    cityscapes: Path | None,
    folder: tuple[Path, Path] | None,
    hold_out: str | None,
) -> tuple[ClipsByName, list["Clip"]]:
    """The clips to train on, by source, and those held out: clips whose name, that of their first frame, matches."""
    from lmaseg.datasets.camvid import camvid_clips
    from lmaseg.datasets.cityscapes import cityscapes_clips
    from lmaseg.datasets.folder import folder_clips

    clips: ClipsByName = {}
    if camvid:
        clips["camvid"] = camvid_clips(camvid, "train")
    if cityscapes:
        clips["cityscapes"] = cityscapes_clips(cityscapes, "train", past=past)
    if folder:
        clips["folder"] = folder_clips(*folder, labels)
    if hold_out is None:
        return clips, []
    held = [clip for each in clips.values() for clip in each if fnmatch(clip.name, hold_out)]
    kept = {name: [clip for clip in each if not fnmatch(clip.name, hold_out)] for name, each in clips.items()}
    if not held:
        raise typer.BadParameter(f"no clip is named like {hold_out!r}: --hold-out takes a pattern such as '0006R0*'")
    return {name: each for name, each in kept.items() if each}, held


def make_mixture(
    net: "LocalMemoryNet",
    options: "TrainOptions",
    clips: ClipsByName,
    *,
    mix: dict[str, float],
    on_frame: OnFrame,
) -> "Mixture":
    """All sources in memory on the network's device, in the shares asked for."""
    from lmaseg.train import ClipSource, Mixture, load_frames

    labels, size, device = net.labels, net.preprocess.size, next(net.parameters()).device
    sources = []
    for name, each in clips.items():
        store = load_frames(
            each,
            labels=labels,
            size=size,
            past=options.past_frames,
            device=device,
            on_frame=lambda done, to_do, name=name: on_frame(name, done, to_do),  # type: ignore[misc]
        )
        sources.append(ClipSource(name, store))
    if unknown := mix.keys() - {source.name for source in sources}:
        raise typer.BadParameter(f"--mix names {', '.join(sorted(unknown))}, which is no source of this run")
    return Mixture(sources, [mix.get(source.name, 1.0) for source in sources])


def validation_clips(
    net: "LocalMemoryNet",
    options: "TrainOptions",
    *,
    camvid: Path | None = None,
    cityscapes: Path | None = None,
    folder: tuple[Path, Path] | None,
    folder_labels: "LabelSet",
    held_out: list["Clip"],
) -> ClipsByName:
    """The val splits that are there, the folder to validate with, and what was held out."""
    from lmaseg.datasets.camvid import camvid_clips
    from lmaseg.datasets.cityscapes import cityscapes_clips
    from lmaseg.datasets.folder import folder_clips

    past = net.spec.memory_frames if options.past_frames else 0
    clips: ClipsByName = {}
    if camvid and (camvid / "val").is_dir():
        clips["camvid"] = camvid_clips(camvid, "val")
    if cityscapes and (cityscapes / "gtFine" / "val").is_dir():
        clips["cityscapes"] = cityscapes_clips(cityscapes, "val", past=past)
    if folder:
        clips["folder"] = folder_clips(*folder, folder_labels)
    if held_out:
        clips["held out"] = held_out
    return clips


@dataclass(frozen=True)
class _Plan:
    """One evaluation of a validation."""

    name: str
    clips: Sequence["Clip"]
    memory: int
    """Past frames to attend to."""
    video: bool
    """Whether neighbouring frames are near in time."""

    @property
    def scores(self) -> list[str]:
        measures = ("mIoU", "mVC8 strict", "flicker") if self.video else ("mIoU",)
        return [f"{self.name} memory {self.memory} {measure}" for measure in measures]


def make_validation(clips: ClipsByName, options: "TrainOptions", memory: int) -> "Validate | None":
    """Mean IoU of every set, streamed with the memory (if the stage has one and frames are neighbours) and without.

    Of videos also the strict mVC8 and the flicker. The first set's mean IoU is what decides which weights are best.
    """
    from lmaseg.train import Validate

    plans = [plan for name, each in clips.items() for plan in _plans(name, each, options.stage, memory)]
    if not plans:
        return None

    def score(net: "LocalMemoryNet") -> dict[str, float]:
        return {name: value for plan in plans for name, value in _scores(net, plan, options.bfloat16).items()}

    return Validate([name for plan in plans for name in plan.scores], score)


def _plans(name: str, clips: Sequence["Clip"], stage: str, memory: int) -> list[_Plan]:
    from lmaseg.train.store import WIDEST_STEP

    video = all(clip.step <= WIDEST_STEP for clip in clips)
    alone = _Plan(name, clips, 0, video)
    return [_Plan(name, clips, memory, video), alone] if video and stage != "base" else [alone]


def _scores(net: "LocalMemoryNet", plan: _Plan, bfloat16: bool) -> dict[str, float]:
    import torch

    from lmaseg.evaluate import evaluate

    found = evaluate(net, plan.clips, memory=plan.memory, dtype=torch.bfloat16 if bfloat16 else None)
    values = found.mean_iou, found.temporal["mvc8Strict"], found.temporal["flicker"]
    return dict(zip(plan.scores, values, strict=False))
