"""Outputs where nothing can be written, and names that the system does not take: a sentence, before the work."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from marks import slow
from media import write_video
from PIL import Image
from test_cli import run_cli

from lmaseg.errors import VideoError
from lmaseg.paths import check_places, part_path
from lmaseg.unfinished import note_path

if sys.platform != "linux":
    pytest.skip("rights and mounts are those of Linux here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("small_network")
NOBODY = 65534
SMALL = ("--size", "32")


@pytest.fixture
def common():
    """A folder that every user may enter and write."""
    folder = Path(tempfile.mkdtemp(prefix="lmaseg-"))
    folder.chmod(0o777)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o777)
    shutil.rmtree(folder)


@contextmanager
def as_nobody():
    """With the rights of a user who has none, as root may write anywhere."""
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(NOBODY)
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def mounted(common):
    """A file system that cannot be written, by root either."""
    folder = common / "mounted"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def data(common):
    """A clip, and two labelled pictures."""
    clip = write_video(common / "clip.mp4", range(3))
    for kind in ("images", "labels"):
        (common / kind).mkdir()
        for name in "ab":
            Image.fromarray(np.zeros((64, 96), np.uint8)).save(common / kind / f"{name}.png")
    for path in [clip, *common.rglob("*.png")]:
        path.chmod(0o644)
    return clip


def commands(data, folder):
    """A command line of each command that writes something into a folder."""
    labelled = "--folder", data.parent / "images", data.parent / "labels"
    return {
        "run": ("run", data, "-o", folder / "x.mp4", *SMALL),
        "run, maps": ("run", data, "-o", folder / "x", *SMALL),
        "run, lines": ("run", data, "-o", data.parent / "y", "--json", folder / "x", *SMALL),
        "run, several": ("run", data, data.parent / "images", "-o", folder / "x", *SMALL),
        "compare": ("compare", data, "-o", folder / "x.mp4", *SMALL),
        "batch": ("batch", data, "-o", folder / "x", *SMALL),
        "eval, scores": ("eval", *labelled, "--json", folder / "x.json"),
        "eval, predictions": ("eval", *labelled, "--predictions", folder / "x"),
        "train": ("train", *labelled, "-o", folder / "x"),
        "train, deeper": ("train", *labelled, "-o", folder / "x" / "y"),
        "export": ("export", "-o", folder / "x.onnx"),
        "convert": ("convert", data, "-o", folder / "x.safetensors"),
    }


def check_refusals(data, folder, capsys):
    for name, arguments in commands(data, folder).items():
        code = run_cli(*arguments)
        said = " ".join(capsys.readouterr().err.split())
        assert code == 1, f"{name}: {said}"
        assert said.startswith("error: cannot write "), f"{name}: {said}"
        assert said.count("error") == 1, f"{name}: {said}"


@pytest.mark.parametrize("rights", [0o555, slow(0)])
def test_a_folder_without_the_right_to_write_or_to_enter(common, data, rights, capsys):
    for name, arguments in commands(data, common / "none").items():  # loads what nobody could not
        if "train" not in name:  # it would make the folder
            run_cli(*arguments)
    capsys.readouterr()
    folder = common / "locked"
    folder.mkdir()
    shutil.copy(data, folder / "clip.mp4")
    folder.chmod(rights)
    with as_nobody():
        check_refusals(data, folder, capsys)
    if rights:
        return
    with as_nobody():
        assert run_cli("run", folder / "clip.mp4", "-o", common / "x.mp4", *SMALL) == 1
    assert "clip.mp4 cannot be looked at (Permission denied)" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_file_system_that_cannot_be_written(mounted, data, capsys):
    check_refusals(data, mounted, capsys)


def test_names_up_to_the_longest_are_written(common, data):
    for name in ("n" * 248 + ".mp4", "é" * 124 + ".mp4", "m" * 255):
        assert run_cli("run", data, "-o", common / name, *SMALL) == 0
        assert (common / name).exists()
    assert not [path for path in common.iterdir() if "~" in path.name]


def test_names_beyond_are_refused_in_a_sentence(common, data, capsys):
    long = "n" * 400
    for arguments in (
        *(arguments for name, arguments in commands(data, common / long).items() if "deeper" not in name),
        ("run", f"{long}.mp4", "-o", common / "z.mp4", *SMALL),
        ("run", data, "-o", common / f"{long}.mp4x", *SMALL),
        ("run", data, "-o", common / f"o{'n' * 248}.mp4x", *SMALL),
        ("eval", "--folder", long, long),
        ("run", data, "-o", common / "z.mp4", "--weights", long),
        ("info", long),
    ):
        assert run_cli(*arguments) in (1, 2)
        said = " ".join(capsys.readouterr().err.split())
        assert said.startswith("error: ")
        assert "should not" not in said, said


def test_parts_of_long_names_are_told_apart():
    names = [Path("n" * 247 + end + ".mp4") for end in "ab"]
    for place in (part_path, note_path):
        places = [place(name) for name in names]
        assert places[0] != places[1]
        assert all(len(os.fsencode(path.name)) <= 255 for path in places)
    assert part_path(Path("a/short.mp4")) == Path("a/short.part.mp4")


def test_a_place_is_not_touched(tmp_path):
    check_places([tmp_path / "x"], overwrite=True)
    assert not list(tmp_path.iterdir())
    with pytest.raises(VideoError, match="does not exist: make it first"):
        check_places([tmp_path / "none" / "x"], overwrite=True)


def linked(commands):
    """The commands of a table that can end well, one for each way to write."""
    left_out = ("run, several", "train", "train, deeper", "export", "convert")
    return {name: arguments for name, arguments in commands.items() if name not in left_out}


@pytest.mark.parametrize("there", [False, slow(True)])
def test_an_output_that_is_a_link_is_written_through_it(data, tmp_path, there):
    for number, arguments in enumerate(linked(commands(data, tmp_path)).values()):
        link = next(word for word in arguments if isinstance(word, Path) and word.parent == tmp_path)
        target = tmp_path / "elsewhere" / f"{number}{link.suffix}"
        target.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        is_folder = not link.suffix and "--json" not in arguments
        if there:
            target.mkdir() if is_folder else target.touch()
        assert run_cli(*arguments, "-y", *SMALL) == 0, arguments
        assert link.is_symlink()
        assert any(target.iterdir()) if is_folder else target.stat().st_size, arguments
        assert not [path.name for path in target.parent.iterdir() if not path.stem.isdigit()]


def test_an_output_that_is_a_pipe_is_refused(data, tmp_path, capsys):
    for name in ("x", "x.mp4", "x.json", "x.png", "x.onnx", "x.safetensors"):
        os.mkfifo(tmp_path / name)
    for name, arguments in commands(data, tmp_path).items():
        code = run_cli(*arguments, *(() if name.startswith("train") else ("-y",)))
        said = " ".join(capsys.readouterr().err.split())
        assert (code, "is a device or a pipe" in said) == (1, True), f"{name}: {said}"


def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(data, tmp_path, capsys):
    for name, arguments in commands(data, tmp_path).items():
        output = next(word for word in arguments if isinstance(word, Path) and tmp_path in word.parents)
        output = output.parent if name == "train, deeper" else output
        file = not output.suffix and name != "run, lines"
        output.touch() if file else output.mkdir()
        code = run_cli(*arguments, *(() if "train" in name else ("-y",)))
        said = " ".join(capsys.readouterr().err.split())
        wrong = "is a file: give the name of a folder" if file else "is a folder: give the name of a"
        assert (code, wrong in said) == (1, True), f"{name}: {said}"
        assert not (data.parent / "y").exists()
        output.unlink() if file else output.rmdir()


def test_a_file_in_the_place_of_a_folder_above_is_said(data, tmp_path, capsys):
    above = tmp_path / "above"
    above.touch()
    for name, arguments in commands(data, above).items():
        code = run_cli(*arguments)
        said = " ".join(capsys.readouterr().err.split())
        assert (code, f"{above} is a file: give the name of a folder" in said) == (1, True), f"{name}: {said}"


def test_a_source_that_cannot_be_looked_at_is_not_the_others_end(data, tmp_path, capsys):
    unreachable = tmp_path / ("n" * 300 + ".mp4")
    for command, more in (("run", ()), ("batch", ("--labels-only",))):
        out = tmp_path / command
        assert run_cli(command, unreachable, data, "-o", out, *more, *SMALL) == 1
        assert len([path for path in out.iterdir() if path.stem == data.stem]) == 1
        assert "1 of 2 sources" in " ".join(capsys.readouterr().err.split())
