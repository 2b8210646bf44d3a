"""The workers of a job on Ray: actors, one for each device, on this machine or on a cluster."""

import os
import time
from collections.abc import Sequence
from typing import Any

from lmaseg.batch.executor import Executor, Failure, InProcess, Outcome, Task
from lmaseg.batch.package import FOLDER, Package, own_package
from lmaseg.batch.resources import Resources
from lmaseg.errors import BackendError, BatchError

STORE_BYTES = 100 << 20  # tasks and their results are small: frames never pass through Ray
MOST_FAILED_STARTS = 3  # of workers in a row, for each worker wanted
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_worker_niceness": "0",  # of 15 by default, at which anything else on the machine goes first
}


def executor_for(resources: Resources, *, device: str = "auto", module_folder: str | None = None) -> Executor:
    """The workers; one on this machine is this process itself and needs no Ray.

    Args:
        device: what they compute on, as in `Job`.
        module_folder: where modules that build a network may be imported from.

    Raises:
        BackendError: Ray is not installed, or there is no such cluster.
    """
    if resources.address is None and (resources.workers or 1) == 1:
        return InProcess(resources.cpus, module_folder)
    _connect(resources)
    gpus = _gpus_of(resources, device)
    cpus = resources.cpus or 1
    workers = resources.workers or _room_for(gpus, cpus)
    own = max(1, (os.cpu_count() or 1) // workers) if resources.address is None else cpus
    threads = resources.cpus or int(os.environ.get("OMP_NUM_THREADS", own))
    options = {"num_gpus": gpus, "num_cpus": cpus if resources.address else 1, "max_restarts": 0}
    return RayExecutor(workers, threads, module_folder, options)


class RayExecutor(Executor):
    """Workers that are Ray's actors; one that is lost is started anew, wherever there is room.

    Args:
        workers: how many.
        threads, module_folder: of each `Worker`.
        options: Ray's, for each actor.
    """

    def __init__(self, workers: int, threads: int, module_folder: str | None, options: dict[str, Any]) -> None:
        self.workers = workers
        self._arguments, self._options = (threads, module_folder), options
        self._starting: dict[Any, Any] = {}  # the answer to come -> its actor
        self._idle: dict[str, Any] = {}  # name -> actor
        self._busy: dict[Any, tuple[str, Any, Task]] = {}  # the result to come -> who is at what
        self._born = self._failed_starts = 0
        for _ in range(workers):
            self._start()

    def alive(self) -> Sequence[str]:
        return [*self._idle, *(name for name, _, _ in self._busy.values())]

    def idle(self) -> Sequence[str]:
        return list(self._idle)

    def submit(self, worker: str, task: Task) -> None:
        actor = self._idle.pop(worker)
        self._busy[actor.run.remote(task)] = worker, actor, task

    def wait(self, seconds: float) -> Sequence[Outcome]:
        import ray

        pending = [*self._starting, *self._busy]
        if not pending:
            return []
        ended, _ = ray.wait(pending, timeout=seconds)
        if ended:
            ended, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        outcomes = (self._ended(reference) for reference in ended)
        return [outcome for outcome in outcomes if outcome is not None]

    def under_way(self) -> int:
        return 0  # workers tell at the end of a chunk

    def close(self, *, at_once: bool) -> None:
        import ray

        actors = [*self._starting.values(), *self._idle.values(), *(actor for _, actor, _ in self._busy.values())]
        for actor in actors:
            ray.kill(actor)
        ray.shutdown()

    def _start(self) -> None:
        import ray

        actor = ray.remote(worker_class()).options(**self._options).remote(str(FOLDER.parent), *self._arguments)
        self._starting[actor.where.remote()] = actor

    def _ended(self, reference: Any) -> Outcome | None:
        """The outcome of a task; None if the answer was that a worker has started."""
        import ray

        if reference in self._starting:
            actor = self._starting.pop(reference)
            try:
                where, package = ray.get(reference)
                self._born += 1
                self._failed_starts = 0
                require_same(where, package)
                self._idle[f"{self._born}@{where}"] = actor
            except ray.exceptions.RayError as error:
                self._start_failed(error)
            return None
        name, actor, task = self._busy.pop(reference)
        try:
            result = ray.get(reference)
        except ray.exceptions.RayError as error:
            ray.kill(actor)
            self._start()
            return Outcome(name, task, Failure(f"its worker was lost ({_first_line(error)})"))
        self._idle[name] = actor
        return Outcome(name, task, result)

    def _start_failed(self, error: Exception) -> None:
        self._failed_starts += 1
        if self._failed_starts > MOST_FAILED_STARTS * self.workers:
            raise BatchError(
                f"workers cannot be started ({_first_line(error)}): see that every machine has this lmaseg installed"
            ) from error
        time.sleep(1)
        self._start()


def worker_class() -> type:
    """A `Worker` that computes with the driver's lmaseg wherever that lies on its machine.

    Made here, so that Ray hands over the class itself instead of the name of a module: by that, a worker would import
    whatever lmaseg comes first for it, such as the source tree in the folder where the batch was started.
    """

    class PinnedWorker:
        def __init__(self, parent: str, threads: int | None, module_folder: str | None) -> None:
            import sys
            from pathlib import Path

            if Path(parent, "lmaseg").is_dir():
                sys.path.insert(0, parent)
            from lmaseg.batch.executor import Worker

            self._worker = Worker(threads, module_folder)

        def where(self) -> tuple[str, Any]:
            from lmaseg.batch.package import own_package

            return self._worker.where(), own_package()

        def run(self, task: Any) -> Any:
            return self._worker.run(task)

    return PinnedWorker


def require_same(where: str, package: Package) -> None:
    """Refuse a worker that would compute with another lmaseg than this process.

    Raises:
        BatchError: says in what they differ.
    """
    difference = own_package().difference(package)
    if difference:
        raise BatchError(
            f"the worker {where} would compute otherwise ({difference}): install the same lmaseg everywhere"
        )


def _connect(resources: Resources) -> None:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise BackendError(
            "more than one worker needs Ray: pip install 'lmaseg[cluster]', or use --workers 1"
        ) from error
    try:
        if resources.address is None:
            ray.init(
                "local",
                num_cpus=resources.workers,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                log_to_driver=False,
                logging_level="ERROR",
            )
        else:
            ray.init(resources.address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise BackendError(
            f"there is no Ray cluster at {resources.address or 'this machine'} ({_first_line(error)}): "
            "start one with ray start --head, or leave --address out"
        ) from error


def _gpus_of(resources: Resources, device: str) -> float:
    import ray

    if resources.gpus is not None:
        return resources.gpus
    wanted = device == "auto" or device.startswith("cuda")
    return 1.0 if wanted and ray.cluster_resources().get("GPU", 0) else 0.0


def _room_for(gpus: float, cpus: int) -> int:
    """How many workers the cluster has room for."""
    import ray

    there = ray.cluster_resources()
    return max(1, int(there.get("GPU", 0) / gpus if gpus else there.get("CPU", 1) / cpus))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
