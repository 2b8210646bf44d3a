"""The state from which an interrupted run resumes, as one file that is whole or absent."""

from pathlib import Path
from typing import Any

import torch

from lmaseg.errors import CheckpointError
from lmaseg.paths import part_path

NAME = "state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers and plain containers of them; the last state stays until the new one is complete."""
    part = part_path(folder / NAME)
    torch.save(state, part)
    part.replace(folder / NAME)


def load_state(folder: Path) -> dict[str, Any] | None:
    """The state a run left in its folder, on the CPU; None if it left none. Raises CheckpointError: a damaged file."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its parts raise on damaged bytes
        raise CheckpointError(f"{path} is damaged ({error}): remove it and start the run again") from error


def check_same_run(state: dict[str, Any], options: dict[str, Any], data: str, folder: Path) -> None:
    """Raise CheckpointError naming what differs between the run that left the state and the one that resumes it."""
    wanted = options | {"data": data}
    left = state["options"] | {"data": state["data"]}
    for name, value in wanted.items():
        if left.get(name) != value:
            raise CheckpointError(
                f"the run in {folder} has {name} {left.get(name)!r}, not {value!r}: resume it with the command that "
                "started it, or start another in an empty folder"
            )
