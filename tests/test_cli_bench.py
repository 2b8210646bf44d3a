"""`lmaseg bench` as a person meets it: tables, bars, the files it writes, and what it refuses."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import typer
from media import write_video
from PIL import Image
from rich.console import Console

import lmaseg.bench
from lmaseg import load
from lmaseg.bench import footage, growth, rivals
from lmaseg.cli import bench_tables
from lmaseg.cli.bench import bench
from lmaseg.errors import VideoError


def no_compiler(*arguments, **options):
    raise RuntimeError("no compiler")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of a small video, at another working size than its own."""
    video = write_video(tmp_path_factory.mktemp("video") / "in.mp4", size=(96, 64))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rivals, "tiled_flex", lambda *arguments, **options: no_compiler)
        patch.setattr(footage, "FRAMES", 4)
        for name, values in (("MEMORIES", (0, 3)), ("WINDOWS", (7,)), ("SCALES", (1.0,))):
            patch.setattr(growth, name, values)
        yield lmaseg.bench.bench(load(), size=(32, 48), memory=1, window=3, video=video, seconds=0)
    torch.set_num_threads(before)


@pytest.fixture
def asked(report, monkeypatch):
    """What the command asks the library for, which answers with `report` at once."""
    options = {}

    def answer(net, *, on_group, **asked):
        options.update(asked, classes=net.spec.classes)
        on_group("everything")
        return report

    monkeypatch.setattr(lmaseg.bench, "bench", answer)
    return options


def test_options_reach_the_library(asked):
    bench(size=(32, 48), memory=2, window=7, batch=3, dtype="bfloat16", video=Path("v.mp4"), seconds=1.5)
    assert asked == {
        "size": (32, 48),
        "memory": 2,
        "window": 7,
        "batch": 3,
        "dtype": torch.bfloat16,
        "video": Path("v.mp4"),
        "seconds": 1.5,
        "classes": 11,
    }


def test_ratios_come_before_times(asked, report, capsys):
    bench(size=64)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.index("straightforward network / with memory") < shown.err.index("frames/s")
    for words in ("timing: everything", "upsample + argmax", "flex_attention in float32 does not run here"):
        assert words in shown.err
    assert f"{report.end_to_end.model_frames_per_second:.1f}" in shown.err
    assert f"{report.end_to_end.frames_per_second:.1f}" in shown.err
    assert "frames 64x96, working size 32x48" in shown.err


def test_bars_fit_eighty_columns_without_control_characters(report):
    piped = io.StringIO()
    console = Console(file=piped, width=80)
    for chart in bench_tables.charts(report):
        console.print(chart.table())
    lines = piped.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert all(character.isprintable() for line in lines for character in line)
    longest = max((row for chart in bench_tables.charts(report)[:1] for row in chart.rows), key=lambda r: r.seconds)
    (line,) = (line for line in lines if line.startswith(longest.label) and "█" * bench_tables.BAR_WIDTH in line)
    assert bench_tables.milliseconds(longest.seconds) in line
    assert not any("…" in line for line in lines)


def test_json_and_plot_appear_whole(asked, report, tmp_path):
    bench(json_file=tmp_path / "bench.json", plot=tmp_path / "bench.png")
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content.pop("weights") == "bundled"
    assert content.pop("video") == "drawn"
    assert content == json.loads(json.dumps(asdict(report)))
    picture = Image.open(tmp_path / "bench.png")
    assert picture.mode == "RGB"
    assert len(picture.getcolors(1 << 24)) > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "bench.png"]


def test_outputs_are_not_replaced_unasked(asked, tmp_path):
    kept = tmp_path / "bench.json"
    kept.write_text("mine")
    with pytest.raises(VideoError, match="already exists: add -y to overwrite"):
        bench(json_file=kept, overwrite=False)
    assert kept.read_text() == "mine"
    assert asked == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 8}, "a window has an odd number of cells, not 8: 9 would do"),
        ({"plot": Path("p.jpg")}, "--plot draws a PNG picture: p.png would do"),
        ({"size": 8}, "a working size of 8 pixels is not between"),
    ],
)
def test_wrong_command_lines(options, said):
    with pytest.raises(typer.BadParameter) as error:
        bench(**options)
    assert said in str(error.value)


@pytest.mark.parametrize(("seconds", "text"), [(0.0000123, "0.01"), (0.0123, "12.3"), (1.23, "1230")])
def test_milliseconds_have_about_three_figures(seconds, text):
    assert bench_tables.milliseconds(seconds) == text


def test_missing_kernels_are_told(report):
    why = "the C kernels were not built: install a C compiler, then reinstall lmaseg"
    without = replace(report, machine=replace(report.machine, kernels=(), kernels_missing=why))
    assert bench_tables.heading(without).endswith(why)
    assert f"missing: {why}" in list(bench_tables.remarks(without))
