"""Fixtures for tests that need media, and how tests share the processor."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many tests at a time as cores: more threads would be in the way

import pytest
import torch
from media import write_video
from small_network import save_small_network, take_small_network

USUAL = 300  # seconds, as in pyproject.toml
MOST_WORKERS = 4  # each holds torch and a network or two

SHARED = Path(__file__).parents[2] / "shared"  # real and broken files, where the checkout has them beside it


def pytest_xdist_auto_num_workers():
    """As many tests at a time as there are cores to run on, but a few at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


TOGETHER = {
    "test_attention_cuda.py",  # one process with Triton's interpreter
    "test_bench.py",  # one full benchmark
    "test_cluster.py",  # one cluster at a time
    "test_evaluate.py",  # one drawn drive
    "test_export.py",  # one export to ONNX
}
"""Files whose tests run in one process, as they share what takes long to make; others run wherever there is room."""


def pytest_collection_modifyitems(items):
    """What has leave to take longer than usual begins first, so that no process is left alone with it at the end."""

    def leave(item):
        return max((seconds for mark in item.iter_markers("timeout") if (seconds := mark.args[0]) > USUAL), default=0)

    items.sort(key=leave, reverse=True)


def pytest_xdist_make_scheduler(config, log):
    """Deals tests out by `TOGETHER`: xdist's own marks of groups do nothing under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return file if file.rpartition("/")[2] in TOGETHER else nodeid

    return Scheduling(config, log)


@pytest.fixture
def make_video(tmp_path):
    """`make_video(name, **options)` writes a small video into the test's folder; see `write_video`."""

    def make(name="in.mp4", **options):
        return write_video(tmp_path / name, **options)

    return make


@pytest.fixture
def shared_file():
    """`shared_file("odd/x.mp4")`: a file beside the checkout; skips the test where there is none."""

    def find(name):
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"{path} is not there")
        return path

    return find


@pytest.fixture(scope="session")
def small_weights():
    """In a folder that every user may enter, unlike those of pytest."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "small.safetensors"
        with pytest.MonkeyPatch.context() as patch:
            take_small_network(patch, path)
            save_small_network(path)
        yield path


@pytest.fixture
def small_network(small_weights, monkeypatch):
    """A network of two layers in the place of the bundled one, for tests that do not depend on how good labels are.

    Commands that run in other processes have the bundled one.
    """
    take_small_network(monkeypatch, small_weights)


@pytest.fixture(scope="module")
def one_thread():
    """Tensors as small as those of tests gain nothing from a second thread, and lose seconds to it when busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
