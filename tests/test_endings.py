"""How a run ends that cannot go on: soon, in one sentence, with what there is kept and playable."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import av
import pytest
from marks import slow
from media import CLOCK, packets, write_video
from rtsp_server import RtspServer
from test_cli import run_cli
from test_cli_run import maps, times

from lmaseg.video import VideoWriter

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("small_network")]

SMALL = ("--size", "32", "--memory", "0")
FRAMES = 120


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Twelve seconds with sound, a key frame of the output every four."""
    path = tmp_path_factory.mktemp("source") / "in.mp4"
    return write_video(path, [i * 9000 for i in range(FRAMES)], CLOCK, audio=12.0, rate=10)


def error_of(capsys):
    """The one line that a failed run says."""
    *others, said = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert all(" frames/s" in line for line in others)  # how far it was
    return said


def when_there(path, act):
    """Do something as soon as a file exists."""

    def watch():
        while not path.exists():
            time.sleep(0.002)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        ("removed", "video"),
        ("moved", "all"),
        slow("removed", "maps"),
        slow("removed", "all"),
        slow("moved", "video"),
        slow("moved", "maps"),
    ],
)
def test_an_output_folder_that_vanishes(source, tmp_path, capsys, monkeypatch, loss, wanted):
    folder, moved = tmp_path / "out", tmp_path / "moved"
    folder.mkdir()
    outputs = {
        "video": ["-o", folder / "out.mp4"],
        "maps": ["-o", folder / "maps"],
        "all": ["-o", folder / "out.mp4", "--labels", folder / "maps", "--json", folder / "lines.jsonl"],
    }[wanted]
    if wanted == "video":  # the last frames are held back until the folder is gone
        first = threading.Event()
        monkeypatch.setattr(VideoWriter, "write", waiting(VideoWriter.write, 40, first))
        thread = threading.Thread(target=lambda: (first.wait(), lose(folder, moved, loss), first.clear()), daemon=True)
        thread.start()
    else:
        thread = when_there(folder / "maps.part" / "000040.png", lambda: lose(folder, moved, loss))
    assert run_cli("run", source, *outputs, *SMALL) == 1
    thread.join()
    assert "see that its folder is there" in error_of(capsys)
    assert not folder.exists()
    if loss == "moved" and wanted != "maps":
        assert len(times(moved / "out.part.mp4")) >= 40
    if loss == "moved" and wanted != "video":
        assert len(maps(moved / "maps.part")) >= 40


def lose(folder, moved, loss):
    if loss == "moved":
        folder.rename(moved)
        return
    while folder.exists():  # a file may be made while others are removed
        shutil.rmtree(folder, ignore_errors=True)


def waiting(write, after, reached):
    """`write` that from the `after`th call on sets an event and waits until it is cleared again."""
    calls = []

    def act(*arguments):
        calls.append(1)
        if len(calls) == after + 1:
            reached.set()
            while reached.is_set():
                time.sleep(0.002)
        return write(*arguments)

    return act


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for 192 KB, and what gives it more."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not sys.platform.startswith("linux") or os.geteuid() or not mount("size=192k"):
        pytest.skip("needs the right to mount a small disk")
    yield folder, lambda: mount("remount,size=16m")
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", ["out.mp4", slow("out.mkv")])
def test_a_full_disk_leaves_a_part_that_plays_and_is_gone_on_from(source, small_disk, capsys, name):
    folder, give_room = small_disk
    command = ("run", source, "-o", folder / name, "--view", "side-by-side", "--crf", 12, *SMALL)
    assert run_cli(*command) == 1
    assert "No space left on device): see that its folder is there" in error_of(capsys)
    part = folder / name.replace("out", "out.part")
    kept = times(part)
    assert 20 < len(kept) < FRAMES
    assert kept[:-10] == times(source)[: len(kept) - 10]  # frames shown before the last ones may be missing
    assert {path.name for path in folder.iterdir()} == {part.name, f"{name}.unfinished"}
    assert give_room()
    assert run_cli(*command, "--resume") == 0
    assert times(folder / name) == times(source)
    sound = [data for time, data in packets(source) if name == "out.mp4" or time >= 0]  # MKV holds none before 0
    assert [data for _, data in packets(folder / name)] == sound
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("outputs", [["-o", "maps"], ["-o", "-", "--json", "lines.jsonl"]], ids=["maps", "lines"])
def test_a_full_disk_for_other_outputs(source, small_disk, capsys, monkeypatch, outputs):
    folder, _ = small_disk
    (folder / "ballast").write_bytes(bytes(188_000))
    monkeypatch.chdir(folder)
    assert run_cli("run", source, *outputs, *SMALL) == 1
    assert "No space left on device" in error_of(capsys)
    monkeypatch.undo()


def test_a_file_that_may_not_grow_ends_the_run(source, tmp_path, capsys):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # Python ignores the signal that goes with it
        code = run_cli("run", source, "-o", tmp_path / "out.mp4", "--view", "side-by-side", "--crf", 12, *SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    assert "cannot write" in error_of(capsys)
    assert 20 < len(times(tmp_path / "out.part.mp4")) < FRAMES


@pytest.mark.parametrize(
    "more", [slow([], id="video"), pytest.param(["--labels", "maps", "--json", "lines.jsonl"], id="more")]
)
def test_an_encoder_that_fails_on_the_way(source, tmp_path, capsys, monkeypatch, more):
    encode, calls = VideoWriter._encode, []

    def fail_at_last(writer, frame):
        calls.append(frame)
        if len(calls) > 60:
            raise av.ExternalError(0x20545845, "Generic error in an external library")
        encode(writer, frame)

    monkeypatch.setattr(VideoWriter, "_encode", fail_at_last)
    monkeypatch.chdir(tmp_path)
    assert run_cli("run", source, "-o", "out.mp4", *more, *SMALL) == 1
    said = error_of(capsys)
    assert "cannot write out.mp4 (Generic error in an external library): try another codec or size" in said
    assert times(tmp_path / "out.part.mp4") == times(source)[:60]
    if more:
        assert len(maps(tmp_path / "maps.part")) == (tmp_path / "lines.part.jsonl").read_text().count("\n") == 60
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    "more", [["-o", "-"], slow(["-o", "-", "--pipe", "mkv"]), slow(["-o", "maps", "--json", "-"])], ids=str
)
def test_a_pipe_whose_reader_left_is_one_sentence(source, tmp_path, more):
    reading, writing = os.pipe()
    os.close(reading)
    process = start(source, *more, stdout=writing, cwd=tmp_path)
    os.close(writing)
    said = process.communicate(timeout=90)[1]
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "(Broken pipe): see why" in said


def start(source, *arguments, **options):
    command = [sys.executable, "-m", "lmaseg", "run", str(source), *map(str, arguments), *SMALL]
    # Whatever runs the tests in the background may have Ctrl-C ignored, which children take over.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def stalled(tmp_path):
    """An RTSP stream that gives some seconds of video and then is silent."""
    data = write_video(tmp_path / "in.ts", range(150), size=(320, 240), codec="mpeg2video", keyframes=10).read_bytes()
    server = RtspServer(data, after=lambda server, connection: server.released.wait(100))
    yield server
    server.close()


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(stalled, tmp_path):
    output = tmp_path / "out.mkv"
    process = start(stalled.url, "-o", output, "--labels", tmp_path / "maps")
    while not (tmp_path / "maps.part" / "000142.png").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the stream is waited for
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert time.monotonic() - began < 3
    assert process.returncode == 130
    assert "Traceback" not in said
    assert len(times(tmp_path / "out.part.mkv")) > 0
    assert not output.exists()


@pytest.mark.slow
def test_ctrl_c_once_ends_when_the_stream_has_had_its_time(stalled, tmp_path):
    process = start(stalled.url, "-o", tmp_path / "out.mkv", "--labels", tmp_path / "maps")
    while not (tmp_path / "maps.part" / "000142.png").exists() and process.poll() is None:
        time.sleep(0.01)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 20
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted after ")
    assert len(times(tmp_path / "out.part.mkv")) == len(maps(tmp_path / "maps.part"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "address"])
def test_ctrl_c_while_a_source_does_not_answer(tmp_path, kind):
    silent = socket.create_server(("127.0.0.1", 0))
    address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/street"
    process = start("-" if kind == "pipe" else address, "-o", tmp_path / "out.mkv", stdin=subprocess.PIPE)
    if kind == "pipe":
        process.stdin.write("G" * 100_000)  # more than a pipe holds: it is being read
        process.stdin.flush()
    else:
        connection, _ = silent.accept()
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code = process.wait(timeout=30)
    assert time.monotonic() - began < 5
    process.stdin.close()
    assert (code, process.stderr.read()) == (130, "interrupted\n")
    process.stderr.close()
    assert list(tmp_path.iterdir()) == []
    silent.close()
    if kind == "address":
        connection.close()
