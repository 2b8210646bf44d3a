"""`lmaseg batch` on Ray, and what becomes of it when parts of it die: `pytest -m cluster`."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from media import write_video
from test_batch import files, long_video, plain, video_pts

import lmaseg
from lmaseg.batch.manifest import records
from lmaseg.cluster import Resources, executor_for
from lmaseg.errors import BatchError

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="workers on many machines need Ray"),
]

SMALL = ("--size", "32")
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}

STARTED = []  # processes of the test that runs


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    """Every test's Ray in a folder of its own, with a name short enough for its sockets."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    for name, value in (ENVIRONMENT | {"RAY_TMPDIR": folder}).items():
        monkeypatch.setenv(name, value)
    yield
    for process in STARTED:
        process.kill()
    STARTED.clear()
    shutil.rmtree(folder, ignore_errors=True)


def start(*arguments):
    command = [sys.executable, "-m", "lmaseg", "batch", *arguments]
    STARTED.append(subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True))
    return STARTED[-1]


def finish(process):
    said = process.communicate(timeout=600)[1]
    assert "Traceback" not in said
    return process.returncode, " ".join(said.split())


def wait_for(process, folder, wanted, count=1):
    """The first lines of a job's manifest that are wanted."""
    while process.poll() is None:
        found = [record for record in records(folder) if wanted(record)] if folder.exists() else []
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(process.communicate()[1])


def is_chunk(state):
    return lambda record: record.get("task") == "chunk" and record["state"] == state


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """90 frames in 9 s, with sound."""
    return long_video(tmp_path_factory.mktemp("videos") / "in.mp4", 90, audio=9.0)


@pytest.fixture(scope="module")
def whole(video):
    """What a plain run makes of it, on one thread as the workers do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield plain(video, video.parent)
    torch.set_num_threads(before)


def check(output, whole, name="in"):
    """The outputs are there, complete and those of a plain run, and nothing else is."""
    assert files(output / name) == files(whole[1])
    assert video_pts(output / f"{name}.mp4") == video_pts(whole[0])
    assert not (output / ".chunks").exists()
    done = [(r["source"], r["chunk"]) for r in records(output) if is_chunk("done")(r)]
    assert len(done) == len(set(done))


def test_a_killed_worker(video, whole, tmp_path):
    output = tmp_path / "out"
    process = start(video, "-o", output, "--labels", "--chunk", "1", "--workers", "2", *SMALL)
    worker = wait_for(process, output, is_chunk("started"), count=3)[-1]["worker"]
    os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
    code, said = finish(process)
    assert code == 0, said
    retried = [record for record in records(output) if record["state"] == "retried"]
    assert [record["worker"] for record in retried] == [worker]
    assert "its worker was lost" in retried[0]["error"]
    check(output, whole)


def test_a_killed_driver(video, whole, tmp_path):
    output, command = tmp_path / "out", (video, "-o", tmp_path / "out", "--labels", "--chunk", "1", "--workers", "2")
    process = start(*command, *SMALL)
    wait_for(process, output, is_chunk("done"), count=2)
    process.kill()
    process.communicate()
    code, said = finish(start(*command, *SMALL))
    assert code == 0, said
    check(output, whole)
    report = json.loads((output / "report.json").read_text())
    assert 0 < report["frames"] <= 70  # not what was done before


def test_a_lost_node(video, whole, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        output = tmp_path / "out"
        process = start(
            video, "-o", output, "--labels", "--chunk", "1", "--address", cluster.address, "--workers", "2", *SMALL
        )
        wait_for(process, output, is_chunk("started"), count=3)
        cluster.remove_node(nodes[1], allow_graceful=False)
        code, said = finish(process)
        assert code == 0, said
        assert any(record["state"] == "retried" for record in records(output))
        check(output, whole)
    finally:
        cluster.shutdown()


def test_a_full_disk(video, whole, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(output)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        command = (video, "-o", output, "--labels", "--chunk", "1", "--workers", "1", *SMALL)
        code, said = finish(start(*command))
        assert code == 1
        assert "make room, then give the same command again" in said
        assert not list(output.glob("in*"))
        subprocess.run(["mount", "-o", "remount,size=8m", str(output)], check=True)
        code, said = finish(start(*command))
        assert code == 0, said
        check(output, whole)
    finally:
        subprocess.run(["umount", str(output)], check=True)


def test_many_small_videos_and_a_corrupt_one(tmp_path):
    """The driver is killed half way, and the second start does the rest."""
    names = [f"v{i:02d}" for i in range(40)]
    for i, name in enumerate(names):
        write_video(tmp_path / f"{name}.mp4", range(3 + i % 4))
    (tmp_path / "v99.mp4").write_bytes((tmp_path / "v00.mp4").read_bytes()[:400])
    output, command = tmp_path / "out", (tmp_path / "*.mp4", "-o", tmp_path / "out", "--labels-only", "--workers", "2")
    process = start(*command, *SMALL)
    wait_for(process, output, lambda record: record["state"] == "done" and "task" not in record, count=20)
    process.kill()
    process.communicate()
    code, said = finish(start(*command, *SMALL))
    assert code == 1
    assert "40 of 41 sources done" in said
    for i, name in enumerate(names):
        assert len(files(output / name)) == 3 + i % 4
    done = [record["source"] for record in records(output) if is_chunk("done")(record)]
    assert len(done) - len(set(done)) <= 2  # those that a worker had done and the driver not yet heard of


def test_workers_that_cannot_start_are_reported(monkeypatch):
    monkeypatch.setattr("lmaseg.cluster.MOST_FAILED_STARTS", 0)
    executor = executor_for(Resources(workers=2))
    try:
        while len(executor.alive()) < 2:
            executor.wait(1)
        assert sorted(name.partition("@")[0] for name in executor.idle()) == ["1", "2"]
        with pytest.raises(BatchError, match="see that every machine has this lmaseg installed"):
            executor._start_failed(RuntimeError("no module named lmaseg"))
    finally:
        executor.close(at_once=True)


def test_workers_compute_with_the_installed_package_in_the_folder_of_another(video, whole, tmp_path):
    """An installed `lmaseg` in a checkout, whose source tree without C kernels once was what workers imported."""
    installed, checkout = tmp_path / "site", tmp_path / "checkout"
    shutil.copytree(Path(lmaseg.__file__).parent, installed / "lmaseg", ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "lmaseg").mkdir(parents=True)
    (checkout / "lmaseg" / "__init__.py").write_text("raise ImportError('the wrong lmaseg')")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "lmaseg"
    script.write_text(f"import sys; sys.path.insert(1, {str(installed)!r}); from lmaseg.cli import main; main()")
    command = [sys.executable, script, "batch", video, "-o", tmp_path / "out", "--labels", "--workers", "2", *SMALL]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.Popen(
        list(map(str, command)), cwd=checkout, env=environment, stderr=subprocess.PIPE, text=True
    )
    STARTED.append(process)
    code, said = finish(process)
    assert code == 0, said
    check(tmp_path / "out", whole)
