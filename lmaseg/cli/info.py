"""`lmaseg info`: what a checkpoint is."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from lmaseg.cli.options import WeightsArgument

if TYPE_CHECKING:
    from lmaseg.checkpoint import Header
    from lmaseg.models import ModelSpec


def info(weights: WeightsArgument = None) -> None:
    """Print what a checkpoint says of itself: network, classes, preprocessing, training data and licence.

    Of the bundled weights, their model card as well.
    """
    from lmaseg.checkpoint import BUNDLED, read_header

    path = weights or BUNDLED
    table = Table(title=str(path), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for name, value in _rows(read_header(path), path.stat().st_size):
        table.add_row(name, value)
    console = Console(highlight=False, markup=False)
    console.print(table)
    if path == BUNDLED:
        console.print(Markdown(path.with_name("README.md").read_text()))


def _rows(header: "Header", size: int) -> list[tuple[str, str]]:
    preprocess = header.preprocess
    return [
        *_network_rows(header.spec),
        ("classes", f"{header.spec.classes} ({header.labels.name}): {', '.join(header.labels.names)}"),
        ("working size", "{}x{} (height x width)".format(*preprocess.size)),
        ("preprocessing", f"(rgb * {preprocess.scale:.6g} - {_triple(preprocess.mean)}) / {_triple(preprocess.std)}"),
        *header.about.items(),
        ("file size", f"{size / 1e6:.1f} MB"),
    ]


def _network_rows(spec: "ModelSpec") -> list[tuple[str, str]]:
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
