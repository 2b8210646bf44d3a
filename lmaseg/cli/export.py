"""`lmaseg export`: a checkpoint in, an ONNX file or a torch.export program out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lmaseg.cli.console import Display, say
from lmaseg.cli.network import load_network
from lmaseg.cli.options import Net, Weights, network_option, parse_size
from lmaseg.cli.outputs import Overwrite, may_replace

EXAMPLES = """
lmaseg export -o net.onnx                             frames of any size
lmaseg export -o net.pt2 --size 512x1024              torch.export
"""

Output = Annotated[
    Path, typer.Option("--output", "-o", help="The file to write: .onnx, or .pt2 for a torch.export program.")
]
FrameSize = Annotated[
    Any,
    network_option(
        "--size",
        parser=parse_size,
        metavar="HxW",
        help="The only size of frames that the export takes; default: any size.",
    ),
]


def export(
    output: Output,
    weights: Weights = None,
    net: Net = None,
    size: FrameSize = None,
    overwrite: Overwrite = None,
) -> None:
    """Export a network to ONNX or torch.export, for other runtimes."""
    if isinstance(size, int):
        raise typer.BadParameter(f"an exported network takes frames of a height and a width, such as {size}x{2 * size}")
    may_replace([output], overwrite)

    from lmaseg import export as library
    from lmaseg.checkpoint import BUNDLED, read_header, weights_file

    network = load_network(weights, "cpu", net)
    about = {"network": net} if net and not weights else read_header(weights_file(weights or BUNDLED)).about
    try:
        with Display() as display:
            display.update(f"exporting to {output}", 0, None)
            library.export(network, output, size=size, about=about)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    frames = f"frames of {size[0]}x{size[1]}" if size else "frames of any size its stride fits"
    say(f"{output} ({output.stat().st_size / 1e6:.1f} MB): {frames}, 0 to {network.spec.memory_frames} past ones")
