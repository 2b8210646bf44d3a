"""`lmaseg convert`: published PyTorch weights in, a checkpoint out."""

from pathlib import Path
from typing import Annotated

import typer

from lmaseg.cli.console import Display, say
from lmaseg.cli.options import network_option, refusing
from lmaseg.cli.outputs import Overwrite, may_replace

EXAMPLES = """
lmaseg convert erfnet_pretrained.pth -o erfnet.safetensors
lmaseg convert erfnet_lma.pth -o net.safetensors --memory-frames 4
"""


def convert(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A .pth file: LMANet with ERFNet or PSPNet, ERFNet's own weights, or semseg's PSPNet."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    memory_frames: Annotated[int, network_option(min=1, help="How many past frames the memory of LMANet holds.")] = 4,
    window: Annotated[
        int, network_option(min=1, help="Side of LMANet's attention window in feature cells, an odd number.")
    ] = 21,
    labels: Annotated[
        str, network_option(metavar="NAMES|FILE.toml", help="The classes of the network's outputs.")
    ] = "cityscapes",
    own_keys: Annotated[
        bool,
        network_option(
            "--own-keys",
            help="LMANet: the memory keeps the keys of kv_M_r4, as the authors' code does on a GPU, not of kv_Q_r4.",
        ),
    ] = False,
    overwrite: Overwrite = None,
) -> None:
    """Convert published PyTorch weights into a checkpoint."""
    may_replace([output], overwrite)

    from lmaseg import checkpoint
    from lmaseg import convert as library
    from lmaseg.labels import label_set

    with refusing(), Display() as display:
        display.update(f"converting {weights}", 0, None)
        classes = label_set(labels)
        net, about = library.convert(
            weights, memory_frames=memory_frames, window=window, labels=classes, own_keys=own_keys
        )
    checkpoint.save(net, output, about=about)
    spec = net.spec
    memory = f"{spec.memory_frames} frames, window {spec.window}"
    if not spec.has_memory:
        memory = f"none; to add one: lmaseg train --stage memory --init {output}"
    say(f"{about['origin']} -> {output}: {spec.backbone}, {spec.classes} classes, memory {memory}")
    if "memory keys" in about and not own_keys:
        say("kv_M_r4.Key and kv_Q_r4.Key differ, and the second serves as both: see --own-keys")
