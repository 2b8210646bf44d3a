"""What is built from a checkout: complete, and of use without a compiler and without the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from media import read, write_video

import lmaseg

ROOT = Path(__file__).parents[1]
GENERATED = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "*.egg-info")

pytestmark = pytest.mark.slow


def bare_environment(*folders):
    """No compiler can be found, and no lmaseg but an installed one."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "CC", "CXX")}
    return {**kept, "PATH": os.pathsep.join(map(str, folders))}


def pip(*arguments, **options):
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what the checkout tracks, without what was built in it."""
    folder = tmp_path_factory.mktemp("sources")
    shutil.copytree(ROOT / "lmaseg", folder / "lmaseg", ignore=GENERATED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    """Built where there is no compiler."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "-w", folder, sources, env=bare_environment(Path(sys.executable).parent))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(sources, tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77")  # the first to build what pyproject.toml asks for
    folder = tmp_path_factory.mktemp("sdist")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=sources, check=True, capture_output=True)
    (found,) = folder.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin folder of an environment with the wheel; what it depends on is that of the running one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", wheel, env=bare_environment())
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "running.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin"


def in_package(folder, *patterns):
    files = [path for path in (folder / "lmaseg").rglob("*") if any(fnmatch(path.name, each) for each in patterns)]
    return {str(path.relative_to(folder)) for path in files}


def test_the_wheel_is_complete_and_holds_no_sources_in_c(sources, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"lmaseg-{lmaseg.__version__}.dist-info"
        said = archive.read(f"{about}/METADATA").decode()
        commands = archive.read(f"{about}/entry_points.txt").decode()
        licence = archive.read(f"{about}/licenses/LICENSE").decode()
    package = {name for name in names if not name.startswith(about)}
    assert package == in_package(sources, "*.py", "py.typed", "*.safetensors", "README.md")
    assert "lmaseg/weights/README.md" in package
    assert "-cp311-abi3-" in wheel.name
    assert licence == (ROOT / "LICENSE").read_text()
    assert "lmaseg = lmaseg.cli:main" in commands
    for line in ("License-Expression: MIT", "Requires-Python: >=3.11", "Requires-Dist: av<19,>=18.1"):
        assert line in said


def test_the_sdist_holds_all_sources_and_builds(sources, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    wanted = in_package(sources, "*.py", "*.c", "*.h", "py.typed", "*.safetensors", "README.md")
    assert in_package(folder, "*") - {"lmaseg"} >= wanted
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    pip("wheel", "--no-deps", "-w", tmp_path / "built", folder)
    (built,) = (tmp_path / "built").iterdir()
    with zipfile.ZipFile(built) as archive:
        libraries = [name for name in archive.namelist() if fnmatch(name, "lmaseg/kernels/_native*")]
    assert len(libraries) == (shutil.which("cc") is not None)


def test_an_installed_wheel_runs_anywhere(installed, tmp_path):
    clip = write_video(tmp_path / "clip.mp4", range(3))
    environment = bare_environment(installed)
    subprocess.run(
        [installed / "lmaseg", "run", clip, "-o", "out.mp4", "--labels", "maps", "--size", "48"],
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    assert read(tmp_path / "out.mp4")[1] == read(clip)[1]
    assert len(list((tmp_path / "maps").iterdir())) == 3
    where = "import lmaseg; from lmaseg import kernels; print(lmaseg.__file__, kernels.available())"
    said = subprocess.run(
        [installed / "python", "-c", where], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    path, available = said.stdout.split()
    assert Path(path).is_relative_to(installed.parent)
    assert available == "False"


def test_the_api_is_typed_for_those_who_use_it(installed, tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api")
    monkeypatch.chdir(tmp_path)  # not the checkout
    user = tmp_path / "user.py"
    user.write_text("import lmaseg\nreveal_type(lmaseg.Segmenter(lmaseg.load()))\nlmaseg.load(1)\n")
    arguments = ["--python-executable", str(installed / "python"), "--cache-dir", str(tmp_path), "--no-incremental"]
    said, _, _ = api.run([*arguments, "--follow-imports=silent", str(user)])
    assert 'Revealed type is "lmaseg.stream.Segmenter"' in said
    assert 'user.py:3: error: Argument 1 to "load" has incompatible type' in said
