"""`lmaseg convert`: published PyTorch weights in, a checkpoint out."""

from pathlib import Path
from typing import Annotated

import typer

from lmaseg.cli.console import say
from lmaseg.cli.options import NETWORK
from lmaseg.cli.outputs import Overwrite, may_replace

EXAMPLES = """
lmaseg convert erfnet_pretrained.pth -o erfnet.safetensors
lmaseg convert erfnet_lma.pth -o net.safetensors --memory-frames 4
"""

Weights = Annotated[
    Path,
    typer.Argument(help="A .pth file: LMANet with ERFNet or PSPNet, ERFNet's own weights, or semseg's PSPNet."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")]
MemoryFrames = Annotated[int, typer.Option(min=1, help="Past frames LMANet's memory holds.", rich_help_panel=NETWORK)]
Window = Annotated[
    int, typer.Option(min=1, help="Odd side of LMANet's attention window, in feature cells.", rich_help_panel=NETWORK)
]
Labels = Annotated[
    str,
    typer.Option(metavar="NAMES|FILE.toml", help="What the outputs are.", rich_help_panel=NETWORK),
]
OwnKeys = Annotated[
    bool,
    typer.Option(
        "--own-keys",
        help="LMANet: remember kv_M_r4's keys, as the authors' code does on a GPU, not kv_Q_r4's.",
        rich_help_panel=NETWORK,
    ),
]


def convert(
    weights: Weights,
    output: Output,
    memory_frames: MemoryFrames = 4,
    window: Window = 21,
    labels: Labels = "cityscapes",
    own_keys: OwnKeys = False,
    overwrite: Overwrite = None,
) -> None:
    """Convert published PyTorch weights into a checkpoint."""
    may_replace([output], overwrite)

    from lmaseg import checkpoint
    from lmaseg import convert as library
    from lmaseg.labels import label_set

    try:
        net, about = library.convert(
            weights,
            memory_frames=memory_frames,
            window=window,
            labels=label_set(labels),
            own_keys=own_keys,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    checkpoint.save(net, output, about=about)
    spec = net.spec
    memory = f"{spec.memory_frames} frames, window {spec.window}"
    if not spec.has_memory:
        memory = f"none; to add one: lmaseg train --stage memory --init {output}"
    say(f"{about['origin']} -> {output}: {spec.backbone}, {spec.classes} classes, memory {memory}")
    if "memory keys" in about and not own_keys:
        say("kv_M_r4.Key and kv_Q_r4.Key differ, and the second serves as both: see --own-keys")
