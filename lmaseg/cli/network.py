"""The network a command line names."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmaseg.models import LocalMemoryNet


def load_network(weights: Path | None, device: str, net: str | None) -> "LocalMemoryNet":
    """The network of a checkpoint; what builds an attached one may lie in the current folder."""
    from lmaseg.checkpoint import load

    if net:
        sys.path.append(os.getcwd())  # an installed command starts without it; last, so that it hides nothing
    return load(weights, device, net)
