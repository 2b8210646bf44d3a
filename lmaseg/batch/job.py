"""A job's folder: what may be written there, and what is told of it in the end."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lmaseg._version import __version__
from lmaseg.batch.making import Making
from lmaseg.batch.manifest import Past, history
from lmaseg.batch.schedule import Batch
from lmaseg.batch.sources import Source
from lmaseg.errors import BatchError


def check_outputs(
    sources: Sequence[Source], making: Making, pasts: dict[str, Past], *, overwrite: bool = False
) -> None:
    """Refuse a job that would destroy a source, or, unless it may, what is not its own.

    Raises:
        BatchError: names the first output in the way.
    """
    for source in sources:
        outputs = making.outputs(source.name)
        for output in outputs:
            if output.exists() and Path(source.path).exists() and output.samefile(source.path):
                raise BatchError(f"{output} is a source itself: give another folder as --output")
        own = pasts.get(source.name) is not None or making.folder(source.name).exists()
        foreign = next((output for output in outputs if output.exists()), None)
        if foreign and not own and not overwrite:
            raise BatchError(f"{foreign} is not of this job: add -y to overwrite it, or give another folder")


def report_of(batch: Batch, making: Making, *, complete: bool) -> dict[str, Any]:
    """What a job did, as JSON can hold it."""
    progress = batch.progress()
    return {
        "lmaseg": __version__,
        "settings": asdict(making),
        "complete": complete,
        **asdict(progress),
        "seconds": round(progress.seconds, 3),
        "found_done": sum(state.found_done for state in batch.states),
        "failed": {state.source.path: state.error for state in batch.states if state.error is not None},
        "warnings": {state.source.path: state.warnings for state in batch.states if state.warnings},
    }


def status_of(folder: Path) -> dict[str, Past]:
    """What the manifest of a job tells of each source, by name; the job may be running on any machine.

    Raises:
        BatchError: there is no job in the folder.
    """
    pasts = history(folder)
    if not pasts:
        raise BatchError(f"{folder} holds no job that has begun: give the folder that was the --output of lmaseg batch")
    return pasts
