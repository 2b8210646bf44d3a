"""What all commands share: help, completion, how much they say, and settings from a file."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import write_video
from PIL import Image
from street.files import draw_folders
from test_cli import SMALL, run_cli

import lmaseg
from lmaseg.cli import COMMANDS
from lmaseg.cli.config import toml
from lmaseg.models.precision import choose_dtype, dtype_name
from lmaseg.video import VideoReader

pytestmark = pytest.mark.usefixtures("small_network")
WIDTH = 80


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "in.mp4", range(4))


def said(capsys):
    """Standard error as one line."""
    return " ".join(capsys.readouterr().err.split())


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_panels_and_examples_that_fit_80_columns(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    assert run_cli(name, "--help") == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= WIDTH
    assert "…" not in "".join(lines)  # nothing is cut off
    examples = lines[lines.index(" Examples:") :]
    for example in COMMANDS[name][2].strip().splitlines():
        assert f"     {example}" in examples
        assert example.startswith((f"lmaseg {name}", " "))
    assert [line for line in lines if line.startswith("╭─ Options ─")]
    assert name == "info" or sum(line.startswith("╭─") for line in lines) >= 2


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_shows_no_types_of_flags_and_arguments(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    run_cli(*name.split(), "--help")
    shown = capsys.readouterr().out
    assert re.search("--help +-h +Show this message and exit", shown)
    assert not re.search(r"<(bool|path|str|list\[str\])>", shown)


@pytest.mark.parametrize(("name", "usage"), [("run", "SOURCE..."), ("batch", "[SOURCE...]"), ("compare", "SOURCE")])
def test_usage_names_the_sources(name, usage, capsys):
    run_cli(name, "--help")
    assert f"lmaseg {name} [OPTIONS] {usage}\n" in re.sub(" +\n", "\n", capsys.readouterr().out)


def test_examples_are_commands_the_parser_takes(tmp_path, monkeypatch, capsys):
    """Each is run with --print-config, which does nothing but check and print."""
    import shlex

    monkeypatch.chdir(tmp_path)
    for name, (_, _, examples) in COMMANDS.items():
        for example in examples.replace("\\\n", "").strip().splitlines():
            words = shlex.split(re.split(r" {3,}|>", example)[0])
            assert words[:2] == ["lmaseg", name]
            extra = [] if "--print-config" in words else ["--print-config"]
            assert run_cli(*words[1:], *extra) == 0, capsys.readouterr().err
            assert name in tomllib.loads(capsys.readouterr().out)


def test_all_commands_are_listed(capsys):
    assert run_cli("--help") == 0
    listed = capsys.readouterr().out
    assert all(re.search(rf"│ {name} ", listed) for name in COMMANDS)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("lmaseg ", {"run", "info", "train"}),
        ("lmaseg run --pr", {"--print-config", "--preview"}),
        ("lmaseg run --view s", {"side-by-side"}),
    ],
)
def test_shell_completion(typed, offered):
    words = {
        "_LMASEG_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
        "TERMINAL_WIDTH": "80",
    }
    code = "from lmaseg.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **words}, capture_output=True, text=True, timeout=60
    )
    assert offered <= set(done.stdout.split())


# How much is said


def test_quiet_says_nothing_but_errors(clip, tmp_path, capsys):
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "-q", *SMALL) == 0
    assert said(capsys) == ""
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "-q", *SMALL) == 1
    assert "already exists: add -y" in said(capsys)
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "-y", *SMALL) == 0
    assert "4 frames in" in said(capsys)  # quiet lasts for one command


def test_verbose_says_on_what_it_runs(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.undo()  # the bundled network, not the small one
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "-v", "--device", "cpu", *SMALL) == 0
    details = said(capsys)
    for expected in (
        "lean",
        "19 classes",
        "memory of 1 frame,",
        "cpu",
        dtype_name(choose_dtype(lmaseg.load())),
        "thread",
        "kernels",
        "64x88",
        "first",
    ):
        assert expected in details
    assert run_cli("run", clip, "-o", tmp_path / "b.mp4", "--device", "cpu", *SMALL) == 0
    assert "kernels" not in said(capsys)


@pytest.mark.slow
def test_verbose_training_says_on_what_it_runs(tmp_path, capsys):
    data = draw_folders(tmp_path, streets=1, frames=1, rate=1, size=(64, 96), seed=0)
    arguments = ("-o", tmp_path / "run", "--folder", *data, "--size", "64x96", "--crop", "64x96", "--batch", "2")
    short = ("--steps", "1", "--past", "1", "--device", "cpu", "--save-minutes", "9")
    assert run_cli("train", *arguments, *short, "-v") == 0
    assert "on cpu; threads: " in said(capsys)
    assert run_cli("train", "-o", tmp_path / "quiet", *arguments[2:], *short, "-q") == 0
    assert said(capsys) == ""


@pytest.fixture
def fault(monkeypatch):
    """Sources called odd.mp4 meet an error that nobody foresaw."""
    whole = VideoReader.__init__

    def odd(self, path, **options):
        if Path(path).name == "odd.mp4":
            raise ValueError("31 is not [a] valid Type")
        whole(self, path, **options)

    monkeypatch.setattr(VideoReader, "__init__", odd)


def test_what_nobody_foresaw_asks_for_a_report(fault, tmp_path, capsys):
    arguments = ("run", write_video(tmp_path / "odd.mp4", range(2)), "-o", tmp_path / "out.mp4", *SMALL)
    assert run_cli(*arguments) == 1
    sentence = said(capsys)
    assert "(ValueError: 31 is not [a] valid Type): please report it with the command and the output of" in sentence
    assert "Traceback" not in sentence
    assert run_cli(*arguments, "-v") == 1
    assert "Traceback (most recent call last)" in said(capsys)


def test_one_source_s_fault_is_not_the_others_end(fault, tmp_path, capsys):
    sources = [write_video(tmp_path / name, range(2)) for name in ("odd.mp4", "even.mp4")]
    (tmp_path / "out").mkdir()
    assert run_cli("run", *sources, "-o", tmp_path / "out", *SMALL) == 1
    sentence = said(capsys)
    assert "please report it" in sentence
    assert "1 of 2 sources failed" in sentence
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["even.mp4"]


def test_warnings_are_lines(tmp_path, capsys):
    for name in ("i", "l"):
        (tmp_path / name).mkdir()
    for stem, level in (("a", 30_000), ("b", 900), ("c", 900)):
        Image.fromarray(np.full((32, 48), level, np.uint16)).save(tmp_path / "i" / f"{stem}.png")
        Image.fromarray(np.zeros((32, 48), np.uint8)).save(tmp_path / "l" / f"{stem}.png")
    assert run_cli("eval", "--folder", tmp_path / "i", tmp_path / "l", "--memory", "0", *SMALL) == 0
    lines = said(capsys)
    assert f"warning: {tmp_path}/i/b.png has more than 8 bits and comes out nearly black: scale" in lines
    assert "c.png" not in lines


def test_verbose_and_quiet_exclude_each_other(clip, tmp_path, capsys):
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "-v", "-q") == 2
    assert "exclude each other" in said(capsys)


# Settings from a file


def config(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def printed(capsys, *arguments):
    assert run_cli(*arguments, "--print-config") == 0
    return tomllib.loads(capsys.readouterr().out)


def test_a_file_gives_options_and_the_command_line_wins(tmp_path, capsys):
    file = config(
        tmp_path,
        'stride = 2\nview = "mask"\nreset_at_cuts = false\n[run]\nopacity = 1\nsize = 64\nss = "1:30"\nt = 2.5\n'
        "overwrite = true\n[eval]\nsplit = 'test'\n",
    )
    settings = printed(capsys, "run", "a.mp4", "-o", "b.mp4", "--config", file, "--stride", "3")["run"]
    wanted = {"stride": 3, "view": "mask", "reset-at-cuts": False, "opacity": 1.0, "size": 64, "ss": 90.0, "t": 2.5}
    assert wanted | {"overwrite": True, "source": ["a.mp4"], "output": "b.mp4"} == {
        key: settings[key] for key in (*wanted, "overwrite", "source", "output")
    }
    assert "split" not in settings


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_as_windows_writes_it(clip, tmp_path, capsys, encoding):
    (tmp_path / "run.toml").write_text("memory = 3\n", encoding=encoding)
    assert run_cli("run", clip, "-o", tmp_path / "o.mp4", "--config", tmp_path / "run.toml", "--print-config") == 0
    assert tomllib.loads(capsys.readouterr().out)["run"]["memory"] == 3


def test_a_command_s_own_table_wins_over_what_is_for_all(tmp_path, capsys):
    file = config(tmp_path, "memory = 1\n[run]\nmemory = 2\n")
    assert printed(capsys, "run", "--config", file)["run"]["memory"] == 2
    assert printed(capsys, "eval", "--config", file)["eval"]["memory"] == 1


def test_a_run_by_a_file_alone(clip, tmp_path):
    text = f"[run]\nsource = {toml(str(clip))}\noutput = {toml(str(tmp_path / 'maps'))}\nsize = 64\n"
    assert run_cli("run", "--config", config(tmp_path, text)) == 0
    assert len(list((tmp_path / "maps").iterdir())) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "a.mp4", "b c.mp4", "-o", 'o"ut', "--size", "64x96", "-ss", "1:30", "-n", "--classes", "car,road"],
        ["eval", "--folder", "images", "labels", "--memory", "2", "--at-working-size"],
        ["train", "-o", "x", "--camvid", "c", "--mix", "folder=2,camvid=0.5", "--scale", "0.5", "2", "--no-val"],
        ["export", "-o", "net.onnx", "--size", "64x96"],
        ["convert", "a.pth", "-o", "b.safetensors", "--labels", "camvid"],
        ["bench", "--dtype", "float32", "--window", "7"],
        ["info"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_printed_settings_give_themselves_again(arguments, tmp_path, capsys):
    assert run_cli(*arguments, "--print-config") == 0
    first = capsys.readouterr().out
    assert run_cli(arguments[0], "--config", config(tmp_path, first), "--print-config") == 0
    assert capsys.readouterr().out == first


WRONG = [
    ("opacty = 1", "opacty is no option of lmaseg run: did you mean opacity?"),
    ("no-deinterlace = true", "no-deinterlace is no option of lmaseg run: did you mean deinterlace?"),
    ("[rum]\nmemory = 4", "has a table [rum], which is no command: did you mean run?"),
    ('memory = "four"', "'--memory': Input should be a valid integer"),
    ("memory = true", "memory takes text or a number, not True"),
    ("memory = 1.5", "'--memory': Input should be a valid integer"),
    ("strict = 1", "strict takes true or false, not 1"),
    ("output = true", "output takes text or a number, not True"),
    ("output = ['a', 'b']", "output takes text or a number, not ['a', 'b']"),
    ("source = [[1]]", "source takes text or numbers, not [[1]]"),
    ("size = [64, 96]", "size takes text or a number, not [64, 96]"),
    ("size = 'big'", "'big' is neither a height such as 360"),
    ("view = 'x-ray'", "'--view': 'x-ray' is not one of 'overlay', 'mask'"),
    ("opacity = 2", "'--opacity'"),
    ("memory =", "is not TOML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_in_a_file_is_said_in_one_line(text, message, tmp_path, capsys):
    assert run_cli("run", "a.mp4", "-o", tmp_path / "b.mp4", "--config", config(tmp_path, text)) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_pairs_in_a_file(tmp_path, capsys):
    assert run_cli("eval", "--config", config(tmp_path, "folder = ['a']")) == 2
    assert "'--folder'" in said(capsys)
    file = config(tmp_path, "folder = ['a', 'b']")
    assert printed(capsys, "eval", "--config", file)["eval"]["folder"] == ["a", "b"]


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert run_cli("run", "--config", tmp_path / "none.toml") == 2
    assert "none.toml does not exist: check its name" in said(capsys)
    (tmp_path / "binary.toml").write_bytes(b"\x80\x81")
    assert run_cli("run", "--config", tmp_path / "binary.toml") == 2
    assert "binary.toml is not TOML" in said(capsys)


def test_only_what_is_needed_may_be_left_out_of_printing(tmp_path, capsys):
    assert run_cli("run", "--opacity", "7", "--print-config") == 2
    assert "--opacity" in said(capsys)


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.text("\\\"'\n\r\t\0\x7f\x85[]#="),
)


@given(st.one_of(SCALARS, st.lists(SCALARS)))
def test_toml_is_read_back_as_it_was(value):
    assert tomllib.loads(f"key = {toml(value)}") == {"key": value}


def test_paths_are_told_from_text():
    assert toml(str(Path("a\\b"))) == '"a\\\\b"'
