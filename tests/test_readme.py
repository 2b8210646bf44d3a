"""What the README and the guides show works: every command parses, and commands and Python examples run.

They run on small stand-ins for the files that they name.
"""

import doctest
import re
import shlex
import shutil
import tomllib
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main
from media import write_video
from pages import PAGES, README, ROOT, anchors, blocks, links, named, shell_lines
from PIL import Image
from test_cli import run_cli
from test_convert import erfnet_weights

from lmaseg import checkpoint
from lmaseg.cli import app

OTHERS = ("pip install", "pytest", "ruff check", "python tests/", "torchrun")  # run by .ci/run, or by tests named so

ELSEWHERE = {
    "camera:0": "there is no camera; tests/test_video_inputs.py has one that is made up",
    "rtsp://": "there is no such host; tests/test_video_inputs.py reads and loses connections",
    "--device cuda": "not every machine has a GPU",
    "torchrun": "tests/test_evaluate.py runs several processes",
    "--workers 4": "Ray is started by the tests that are marked cluster",
    "--address auto": "there is no cluster; tests/test_cluster.py starts one on this machine",
    "hf:": "the network is fetched from the hub; tests/test_hub.py reads networks from folders",
    "export -o net.onnx": "tests/test_export.py runs it, and the example that reads its file",
    "--status": "there is no job; tests/test_batch.py asks for one's",
}
QUICK = {  # so that a few seconds suffice: what comes last on a command line holds
    "train": "--size 64x96 --crop 64x64 --batch 2 --steps 1 --no-bfloat16 --device cpu",
    "bench": "--size 64x96 --memory 1 --window 3 --seconds 0",
    "run": "--size 48",
    "compare": "--size 48",
    "batch": "--size 48",
    "eval": "--size 48",
    "calibrate": "--size 48 --count 2",
}


LINES = [line for page in PAGES for line in shell_lines(page)]
COMMANDS = {  # each once, in the order in which they occur
    re.split(r"[|>]", part)[0].strip(): None
    for line in LINES
    for part in line.split("&&")
    if "lmaseg " in part and "pip install" not in part
}


def words(command):
    """The name of an lmaseg command, and its arguments."""
    _, name, *arguments = shlex.split(command[command.index("lmaseg ") :])
    return name, arguments


def test_there_is_a_command_for_every_task():
    """`lmaseg info` stands in the text."""
    assert {words(command)[0] for command in COMMANDS} >= set(typer.main.get_command(app).commands) - {"info"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_knows_the_command(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.toml").touch()  # a file of settings is read at once
    name, arguments = words(command)
    with suppress(typer.Exit):  # --print-config has nothing left to do
        typer.main.get_command(app).commands[name].make_context(name, arguments)


@pytest.mark.parametrize("line", dict.fromkeys(LINES))
def test_every_line_is_accounted_for(line):
    for part in line.split(" && "):
        assert part.startswith((*OTHERS, "lmaseg ", "ruff format", "mypy")), part
    extras = re.findall(r'pip install .*"\.\[(\w+)\]"', line)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= known.keys()
    scripts = re.findall(r"python (\S+)", line)
    assert all((ROOT / script).is_file() for script in scripts)


def test_ci_finds_the_two_commands_it_runs():
    install, test = shell_lines(README)[:2]
    assert install.startswith("pip install . && lmaseg run assets/street.mp4 -o out.mp4")
    assert test == 'pip install -e ".[test]" && pytest'


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for target in links(page):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        to = page.parent / file if file else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), target


def test_every_guide_is_linked_to_from_the_readme():
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in links(README) if "://" not in target}
    assert set(PAGES) - {README} <= linked


def pictures(folder, names, images=True, classes=(0, 1, 3)):
    """Pictures of noise, or label maps of three classes one above the other: CamVid's sky, building and road."""
    folder.mkdir(parents=True)
    ids = np.repeat(np.array(classes, np.uint8), 16)[:, None].repeat(64, 1)  # (48, 64)
    for i, name in enumerate(names):
        shown = np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8) if images else ids
        Image.fromarray(shown).save(folder / f"{name}.png")


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A folder with something small under every name that a command reads."""
    root = tmp_path_factory.mktemp("stand-ins")
    (root / "assets").mkdir()
    write_video(root / "assets" / "street.mp4", range(3), size=(640, 360))
    write_video(root / "drive.mp4", range(0, 120, 8), time_base=Fraction(1), audio=0.5)
    shutil.copy(root / "drive.mp4", root / "a.mp4")
    (root / "run.toml").write_text("[run]\nlegend = 'top-left'\n")
    write_video(root / "b.mkv")
    (root / "videos").mkdir()
    write_video(root / "videos" / "c.mp4")
    numbered = [f"A_{i:03d}" for i in range(0, 24, 2)]
    pictures(root / "frames", numbered)
    pictures(root / "images", numbered)
    pictures(root / "labels", numbered, images=False)
    for split in ("train", "val"):
        pictures(root / "CamVid" / split, numbered)
        pictures(root / "CamVid" / f"{split}annot", numbered, images=False)
    stem = "aa_000000_{:06d}"
    pictures(root / "DIR/leftImg8bit/val/aa", [f"{stem}_leftImg8bit".format(19)])
    pictures(root / "DIR/leftImg8bit_sequence/val/aa", [f"{stem}_leftImg8bit".format(i) for i in range(30)])
    pictures(root / "DIR/gtFine/val/aa", [f"{stem}_gtFine_labelIds".format(19)], images=False, classes=(23, 11, 7))
    torch.save(erfnet_weights(), root / "erfnet_lma.pth")
    for name in ("net", "runs/base/final", "runs/memory/final", "runs/mine/final", "runs/own/final"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkpoint.BUNDLED, root / f"{name}.safetensors")
    return root


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_runs(command, stand_ins, tmp_path, monkeypatch, capfdbinary):
    for mark, reason in ELSEWHERE.items():
        if mark in command:
            pytest.skip(reason)
    shutil.copytree(stand_ins, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if "my_net" in command:
        make_attached(tmp_path, monkeypatch)
    name, arguments = words(command)
    (output,) = [arguments[i + 1] for i, each in enumerate(arguments) if each == "-o"] or [None]
    remove(output)  # other commands read it
    before = set(tmp_path.rglob("*"))
    assert run_cli(name, *arguments, *QUICK.get(name, "").split()) == 0, capfdbinary.readouterr().err.decode()
    said = capfdbinary.readouterr()
    written = {str(path.relative_to(tmp_path)) for path in set(tmp_path.rglob("*")) - before}
    if output == "-":
        assert len(said.out) > 100
    elif "--print-config" in arguments:
        assert tomllib.loads(said.out.decode())[name]["legend"] == "top-left"
    elif output:
        assert output.rstrip("/") in written
    assert not [path for path in written if ".part" in path]


def remove(output):
    path = Path(output or "-")
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def test_what_is_run_elsewhere_is_still_shown():
    assert all(mark in "\n".join(LINES) for mark in ELSEWHERE)


def make_attached(folder, monkeypatch):
    """my_net.py, and weights of what it builds, in place of the SegFormer that the guide attaches."""
    builder = """import torch, lmaseg
def build():
    encoder, decoder = torch.nn.Conv2d(3, 8, 8, stride=8), torch.nn.ConvTranspose2d(8, 19, 8, stride=8)
    return lmaseg.attach(encoder, decoder, labels=lmaseg.CITYSCAPES, builder="my_net:build")
"""
    (folder / "my_net.py").write_text(builder)
    monkeypatch.syspath_prepend(str(folder))
    from my_net import build

    checkpoint.save(build(), folder / "segformer.safetensors", about={})


def examples(page):
    """The Python blocks of a page, but that of ONNX, which tests/test_export.py runs."""
    return [block for block in blocks(page, "python") if "onnxruntime" not in block]


def slow_with_the_hub(page):
    """A page as a parameter, marked where an example needs transformers, which takes long to install."""
    marks = [pytest.mark.slow] if any("transformers" in block for block in examples(page)) else []
    return pytest.param(page, marks=marks, id=named(page))


@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize("page", [slow_with_the_hub(page) for page in filter(examples, PAGES)])
def test_the_examples_in_python_run(page, stand_ins, tmp_path, monkeypatch):
    """One after the other, each with what those before it defined."""
    shutil.copytree(stand_ins, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if any("transformers" in block for block in examples(page)):
        pytest.importorskip("transformers", reason="an example takes a network from transformers")
    space = {}
    for block in examples(page):
        if block.startswith(">>> "):
            run_session(block, named(page))
        else:
            exec(compile(block, named(page), "exec"), space)
    if "labels" in space:
        assert space["labels"].shape == (360, 640)


def run_session(block, name):
    """Run a block that looks like an interactive session, and compare what it prints."""
    session = doctest.DocTestParser().get_doctest(block, {}, name, name, 0)
    said = []
    doctest.DocTestRunner().run(session, out=said.append)
    assert session.examples
    assert said == []
