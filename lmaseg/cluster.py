"""The workers of a job on Ray: actors, one for each device, on this machine or on a cluster."""

import os
import time
from collections.abc import Sequence
from typing import Any

from lmaseg.batch.executor import Executor, Failure, InProcess, Outcome, Task
from lmaseg.batch.package import FOLDER, Package, own_package
from lmaseg.batch.resources import Resources
from lmaseg.errors import BackendError, BatchError, first_line

STORE_BYTES = 100 << 20  # tasks and their results are small: frames never pass through Ray
MOST_FAILED_STARTS = 3  # of workers in a row, for each worker wanted
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_worker_niceness": "0",  # of 15 by default, at which anything else on the machine goes first
}


def executor_for(resources: Resources, *, device: str = "auto", module_folder: str | None = None) -> Executor:
    """The workers, which compute on `device` as in `Job`; one on this machine is this process itself and needs no Ray.

    `module_folder` is where modules that build a network may be imported from. Raises BackendError if Ray is not
    installed, or there is no such cluster.
    """
    if resources.address is None and (resources.workers or 1) == 1:
        return InProcess(resources.cpus, module_folder)
    ray = _connect(resources)
    there, gpus, cpus = ray.cluster_resources(), resources.gpus, resources.cpus or 1
    if gpus is None:
        gpus = 1.0 if (device == "auto" or device.startswith("cuda")) and there.get("GPU", 0) else 0.0
    room = there.get("GPU", 0) / gpus if gpus else there.get("CPU", 1) / cpus
    workers = resources.workers or max(1, int(room))
    own = max(1, (os.cpu_count() or 1) // workers) if resources.address is None else cpus
    threads = resources.cpus or int(os.environ.get("OMP_NUM_THREADS", own))
    options = {"num_gpus": gpus, "num_cpus": cpus if resources.address else 1, "max_restarts": 0}
    return RayExecutor(ray, workers, threads, module_folder, options)


class RayExecutor(Executor):
    """Workers that are Ray's actors, with Ray's `options`; one that is lost is started anew, wherever there is room."""

    def __init__(
        self, ray: Any, workers: int, threads: int, module_folder: str | None, options: dict[str, Any]
    ) -> None:
        self._ray, self.workers = ray, workers
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
        pending = [*self._starting, *self._busy]
        if not pending:
            return []
        ended, _ = self._ray.wait(pending, timeout=seconds)
        if ended:
            ended, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0)
        outcomes = (self._ended(reference) for reference in ended)
        return [outcome for outcome in outcomes if outcome is not None]

    def under_way(self) -> int:
        return 0  # workers tell at the end of a chunk

    def close(self, *, at_once: bool) -> None:
        actors = [*self._starting.values(), *self._idle.values(), *(actor for _, actor, _ in self._busy.values())]
        for actor in actors:
            self._ray.kill(actor)
        self._ray.shutdown()

    def _start(self) -> None:
        actor = self._ray.remote(worker_class()).options(**self._options).remote(str(FOLDER.parent), *self._arguments)
        self._starting[actor.where.remote()] = actor

    def _ended(self, reference: Any) -> Outcome | None:
        """The outcome of a task; None if the answer was that a worker has started."""
        if reference in self._starting:
            actor = self._starting.pop(reference)
            try:
                where, package = self._ray.get(reference)
                self._born += 1
                self._failed_starts = 0
                require_same(where, package)
                self._idle[f"{self._born}@{where}"] = actor
            except self._ray.exceptions.RayError as error:
                self._start_failed(error)
            return None
        name, actor, task = self._busy.pop(reference)
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._ray.kill(actor)
            self._start()
            return Outcome(name, task, Failure(f"its worker was lost ({first_line(error)})"))
        self._idle[name] = actor
        return Outcome(name, task, result)

    def _start_failed(self, error: Exception) -> None:
        self._failed_starts += 1
        if self._failed_starts > MOST_FAILED_STARTS * self.workers:
            why = f"workers cannot be started ({first_line(error)})"
            raise BatchError(f"{why}: see that every machine has this lmaseg installed") from error
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
    """Refuse a worker that would compute with another lmaseg than this process. Raises BatchError: says in what they
    differ."""
    why = own_package().difference(package)
    if why:
        raise BatchError(f"the worker {where} would compute otherwise ({why}): install the same lmaseg everywhere")


def _connect(resources: Resources) -> Any:
    """The module ray, connected to a cluster."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise BackendError("many workers need Ray: pip install 'lmaseg[cluster]', or use --workers 1") from error
    own = {"num_cpus": resources.workers, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    options = own if resources.address is None else {}
    try:
        ray.init(resources.address or "local", log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        place = f"{resources.address or 'this machine'} ({first_line(error)})"
        raise BackendError(f"there is no Ray cluster at {place}: ray start --head starts one") from error
    return ray
