"""A batch's folder: what may be written there, and the report at the end."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lmaseg._version import __version__
from lmaseg.batch.manifest import SourceHistory
from lmaseg.batch.schedule import Schedule, chunks_folder
from lmaseg.errors import BatchError
from lmaseg.job import Job


def check_outputs(
    jobs: Mapping[str, Job], folder: Path, known: Mapping[str, SourceHistory], *, overwrite: bool = False
) -> None:
    """Refuse a batch that would destroy a source, or, unless it may, what is not its own.

    `known` is what its manifest says about each source. Raises BatchError, which names the first output in the way.
    """
    for name, job in jobs.items():
        for output in job.outputs:
            if os.path.exists(output) and os.path.exists(job.source) and output.samefile(job.source):
                raise BatchError(f"{output} is a source itself: give another folder as --output")
        own = name in known or os.path.exists(chunks_folder(folder, name))
        foreign = next((output for output in job.outputs if os.path.exists(output)), None)
        if foreign and not own and not overwrite:
            raise BatchError(f"{foreign} is not of this job: add -y to overwrite it, or give another folder")


def report_of(batch: Schedule, *, complete: bool) -> dict[str, Any]:
    """The report of a batch, ready for JSON."""
    progress = batch.progress()
    return {
        "lmaseg": __version__,
        "settings": batch.states[0].job.as_json() if batch.states else {},
        "complete": complete,
        **asdict(progress),
        "seconds": round(progress.seconds, 3),
        "found_done": sum(state.found_done for state in batch.states),
        "failed": {state.job.source: state.error for state in batch.states if state.error is not None},
        "warnings": {state.job.source: state.warnings for state in batch.states if state.warnings},
    }
