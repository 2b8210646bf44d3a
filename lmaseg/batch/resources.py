"""What a batch may use; apart from the rest, as the command line shows these settings before torch is loaded."""

from dataclasses import dataclass

from lmaseg.settings import setting

WORK = "Work"


@dataclass(frozen=True)
class Resources:
    """The resources a job may use; None means the default."""

    workers: int | None = setting(
        None,
        "How many workers: 1 works in this process, more use Ray; default: 1, or all that a cluster has.",
        WORK,
        shown=True,
        least=1,
    )
    address: str | None = setting(None, "The Ray cluster: auto, or HOST:PORT; default: this machine.", WORK, shown=True)
    gpus: float | None = setting(
        None,
        "GPUs of each worker, also a fraction of one; default: 1 where there are GPUs.",
        WORK,
        shown=True,
        flag="--gpus-per-worker",
        least=0,
    )
    cpus: int | None = setting(
        None,
        "Processor cores of each worker; default: an equal share of this machine's, 1 in a cluster.",
        WORK,
        shown=True,
        flag="--cpus-per-worker",
        least=1,
    )
