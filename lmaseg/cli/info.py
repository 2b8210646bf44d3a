"""`lmaseg info`: what a bug report needs, or what a checkpoint is."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lmaseg.cli.options import named_classes

if TYPE_CHECKING:
    from lmaseg.checkpoint import Header
    from lmaseg.labels import LabelSet
    from lmaseg.models import ModelSpec

EXAMPLES = """
lmaseg info                                           for a bug report
lmaseg info net.safetensors                           what a checkpoint is
lmaseg info lma-street                                the model card
"""

Rows = list[tuple[str, str]]


def info(
    weights: Annotated[
        Path | None,
        typer.Argument(
            metavar="WEIGHTS",
            help="A checkpoint, or the name of the weights that come with lmaseg; default: describe this machine and "
            "installation.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES|FILE.toml",
            help="Print what cityscapes, camvid, NAME,NAME,... or a TOML file mean as classes.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print versions, devices, kernels, encoders and bundled weights, or what a checkpoint contains.

    Given the name of the weights that come with lmaseg, print their model card as well.
    """
    if weights is not None and classes:
        raise typer.BadParameter("--classes shows a label set of its own: leave the weights out")
    if labels := named_classes(classes):
        _show_classes(labels, as_json)
    elif weights is None:
        _show_environment(as_json)
    else:
        _show_checkpoint(weights, as_json)


def _show_environment(as_json: bool) -> None:
    from lmaseg.environment import environment

    found = environment()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = Console(highlight=False)
    for title, section in found.items():
        console.print(f"[bold]{title}[/]")
        for name, value in section.items():
            for row, line in enumerate(_lines(value)):
                console.print(f"  {'' if row else name:<18}{line}", soft_wrap=True, markup=False)


def _show_classes(labels: "LabelSet", as_json: bool) -> None:
    from lmaseg.labels import CITYSCAPES

    if as_json:
        print(json.dumps(asdict(labels), indent=2))
        return
    table = Table("id", "class", "colour", "covers of Cityscapes", title=labels.name, title_justify="left")
    for number, (name, color, covers) in enumerate(zip(labels.names, labels.colors, labels.covers, strict=True)):
        table.add_row(
            str(number), name, "#{:02x}{:02x}{:02x}".format(*color), ", ".join(CITYSCAPES.names[i] for i in covers)
        )
    table.add_row(str(labels.ignore_index), "unlabelled", "", "")
    Console(highlight=False, markup=False).print(table)


def _show_checkpoint(weights: Path, as_json: bool) -> None:
    from lmaseg.checkpoint import BUNDLED, read_header, weights_file

    path = weights_file(weights)
    header = read_header(path)
    if as_json:
        print(json.dumps({"path": str(path), **asdict(header)}, indent=2))
        return
    table = Table(title=str(path), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for row in _rows(header, path.stat().st_size):
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    console.print(table)
    if path == BUNDLED:
        from rich.markdown import Markdown  # a tenth of a second of the start of every other command

        console.print(Markdown(path.with_name("README.md").read_text()))


def _lines(value: Any) -> list[str]:
    """A value as text, a line for each part of one that has parts."""
    if isinstance(value, dict):
        return [f"{name}: {part}" for name, part in value.items()]
    return ["-" if value is None else str(value)]


def _rows(header: "Header", size: int) -> Rows:
    preprocess = header.preprocess
    return [
        *_network_rows(header.spec),
        ("classes", f"{header.spec.classes} ({header.labels.name}): {', '.join(header.labels.names)}"),
        ("working size", "{}x{} (height x width)".format(*preprocess.size)),
        ("preprocessing", f"(rgb * {preprocess.scale:.6g} - {_triple(preprocess.mean)}) / {_triple(preprocess.std)}"),
        ("int8", f"ranges of {len(header.ranges)} activations" if header.ranges else "none: lmaseg calibrate adds it"),
        *header.about.items(),
        ("file size", f"{size / 1e6:.1f} MB"),
    ]


def _network_rows(spec: "ModelSpec") -> Rows:
    if not spec.has_memory:
        return [
            ("network", f"{spec.backbone or 'attached network'}, single frame"),
            ("memory", "none: lmaseg train --stage memory --init FILE adds one"),
        ]
    return [
        ("network", f"{spec.backbone or 'attached network'} with local memory attention"),
        ("memory", f"{spec.memory_frames} frames, window {spec.window}x{spec.window} cells"),
        ("channels", f"key {spec.key_channels}, value {spec.value_channels}"),
        ("fusion", spec.fusion),
    ]


def _triple(values: tuple[float, float, float]) -> str:
    return "({:g}, {:g}, {:g})".format(*values)
