"""`lmaseg bench` as a person meets it: tables, bars, the file it writes, and what it refuses."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import typer
from rich.console import Console
from test_cli import call

import lmaseg.bench
from lmaseg.bench.report import Benchmark, Detail, Settings, Spread, Way
from lmaseg.cli import bench_figures
from lmaseg.cli.bench import _shown_on, bench
from lmaseg.environment import environment
from lmaseg.errors import VideoError


def spread(median):
    return Spread(median, 0.9 * median, 1.1 * median, 5)


@pytest.fixture
def report():
    """As of a full benchmark: 8 frames per second without the memory, 5 with it, 4.5 from video to video."""
    settings = Settings("cpu", "erfnet", 11, (360, 480), (360, 480), 4, 7, 1, "float32", 20.0)
    off = Way("memory off", 0, spread(1 / 8), spread(1 / 8), spread(1 / 7), 8.0, 7.0, 310_000_000)
    on = Way("memory on", 4, spread(1 / 5), spread(1 / 5), spread(1 / 4.5), 5.0, 4.5, None)
    details = (
        Detail("part of the network", "upsample + argmax", spread(0.01), spread(0.05)),
        Detail("part of the network", "encode", spread(0.1), spread(0.5)),
        Detail("past frames", "8", spread(0.23), spread(1.15)),
    )
    return Benchmark(environment(), settings, (off, on), spread(1.6), details, 0.9987)


@pytest.fixture
def asked(report, monkeypatch):
    """What the command asks the library for, which answers with `report` at once."""
    options = {}

    def answer(net, *, on_progress, **asked):
        options.update(asked, classes=net.spec.classes)
        on_progress("network", 0.25)
        return report

    monkeypatch.setattr(lmaseg.bench, "bench", answer)
    return options


def test_options_reach_the_library(asked):
    call(
        bench, size=(32, 48), memory=2, window=7, batch=3, dtype="bfloat16", video=Path("v.mp4"), full=True, seconds=1.5
    )
    assert asked == {
        "size": (32, 48),
        "memory": 2,
        "window": 7,
        "batch": 3,
        "dtype": torch.bfloat16,
        "video": Path("v.mp4"),
        "full": True,
        "seconds": 1.5,
        "classes": 19,
    }


def test_what_people_ask_comes_first(asked, capsys):
    call(bench, size=64)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "timing network: 25%" in shown.err
    lines = shown.err.splitlines()
    (off,) = (line.split() for line in lines if line.startswith("memory off"))
    (on,) = (line.split() for line in lines if line.startswith("memory on"))
    assert off == ["memory", "off", "8.0", "7.0", "125", "112", "-", "138", "310"]
    assert on[2:5] == ["5.0", "4.5", "200"]
    assert on[-1] == "unknown"
    assert shown.err.index("memory on") < shown.err.index("upsample + argmax") < shown.err.index("Past frames")
    assert "with the memory the model takes 1.60 times as long (1.44 to 1.76)" in shown.err
    assert "99.87% of the pixels" in shown.err
    assert "frames 360x480, working size 360x480, memory 4, window 7" in shown.err


def test_bars_fit_eighty_columns_without_control_characters(report):
    piped = io.StringIO()
    console = Console(file=piped, width=80)
    for table in (bench_figures.ways_table(report), *bench_figures.detail_tables(report)):
        console.print(table)
    lines = piped.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert all(character.isprintable() for line in lines for character in line)
    (line,) = (line for line in lines if line.startswith("encode") and "█" * bench_figures.BAR_WIDTH in line)
    assert line.split()[-5:] == ["100", "90.0", "-", "110", "50.0%"]
    assert not any("…" in line for line in lines)


def test_json_has_every_figure_and_appears_whole(asked, report, tmp_path):
    call(bench, json_file=tmp_path / "bench.json")
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content.pop("weights") == "bundled"
    assert content.pop("video") == "drawn"
    assert content == json.loads(json.dumps(asdict(report)))
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_outputs_are_not_replaced_unasked(asked, tmp_path):
    kept = tmp_path / "bench.json"
    kept.write_text("mine")
    with pytest.raises(VideoError, match="already exists: add -y to overwrite"):
        call(bench, json_file=kept, overwrite=False)
    assert kept.read_text() == "mine"
    assert asked == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 8}, "a window has an odd number of cells, not 8: 9 would do"),
        ({"size": 8}, "a working size of 8 pixels is not between"),
    ],
)
def test_wrong_command_lines(options, said):
    with pytest.raises(typer.BadParameter) as error:
        call(bench, **options)
    assert said in str(error.value)


@pytest.mark.parametrize(("seconds", "text"), [(0.0000123, "0.01"), (0.0123, "12.3"), (1.23, "1230")])
def test_milliseconds_have_about_three_figures(seconds, text):
    assert bench_figures.milliseconds(seconds) == text


def test_progress_says_how_long_the_rest_takes(monkeypatch):
    times, shown = iter([100.0, 102.0]), []
    monkeypatch.setattr("lmaseg.cli.bench.time.monotonic", lambda: next(times))
    show = _shown_on(SimpleNamespace(update=lambda *what: shown.append(what)))
    show("network", 0.0)
    show("network", 0.25)
    assert shown == [("timing network", 0.0, 1.0, ""), ("timing network", 0.25, 1.0, "0:00:06 left")]
