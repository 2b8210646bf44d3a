"""`lmaseg export`: a checkpoint in, an ONNX file or a torch.export program out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lmaseg.cli.console import Display, say
from lmaseg.cli.network import load_network
from lmaseg.cli.options import network_option, parse_pair, refusing
from lmaseg.cli.outputs import Overwrite, may_replace
from lmaseg.cli.settings import job_options
from lmaseg.job import Job

EXAMPLES = """
lmaseg export -o net.onnx                             frames of any size
lmaseg export -o net.pt2 --size 512x1024              torch.export
"""


def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write: .onnx, or .pt2 for a torch.export program.")
    ],
    job: Annotated[Job, job_options("weights", "net")],
    size: Annotated[
        Any,
        network_option(
            parser=parse_pair, metavar="HxW", help="The only size of frames that the export takes; default: any size."
        ),
    ] = None,
    overwrite: Overwrite = None,
) -> None:
    """Export a network to ONNX or torch.export, for other runtimes."""
    may_replace([output], overwrite)

    from lmaseg import export as library
    from lmaseg.checkpoint import BUNDLED, read_header, weights_file

    network = load_network(job.weights, "cpu", job.net)
    own = job.weights or not job.net
    about = read_header(weights_file(job.weights or BUNDLED)).about if own else {"network": str(job.net)}
    with refusing(), Display() as display:
        display.update(f"exporting to {output}", 0, None)
        library.export(network, output, size=size, about=about)
    frames = f"frames of {size[0]}x{size[1]}" if size else "frames of any size its stride fits"
    say(f"{output} ({output.stat().st_size / 1e6:.1f} MB): {frames}, 0 to {network.spec.memory_frames} past ones")
