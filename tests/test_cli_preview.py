"""The picture in the terminal and the plot of class shares."""

import io
import re
from fractions import Fraction

import numpy as np
import pytest
from media import write_video
from PIL import Image
from rich.console import Console
from test_cli import SMALL, run_cli
from test_render import oklab

from lmaseg import CAMVID
from lmaseg.cli import preview as preview_module
from lmaseg.cli.console import Display, console
from lmaseg.cli.preview import HALF_BLOCK, Preview, fitting, half_blocks
from lmaseg.labels import for_screens
from lmaseg.render import overlay
from lmaseg.shares_plot import HEIGHT as AREA_HEIGHT
from lmaseg.shares_plot import LEFT, TOP, shares_plot
from lmaseg.shares_plot import WIDTH as AREA_WIDTH
from lmaseg.sinks import Labelled
from lmaseg.video import Frame


@pytest.mark.parametrize(
    ("source", "room", "expected"),
    [
        ((640, 360), (80, 22), (78, 22)),
        ((640, 360), (80, 40), (80, 22)),
        ((360, 640), (80, 22), (25, 22)),
        ((64, 48), (120, 30), (80, 30)),
        ((10_000, 2), (80, 22), (80, 1)),
        ((640, 360), (5, 1), (4, 1)),
    ],
)
def test_a_frame_fits_the_room_and_keeps_its_shape(source, room, expected):
    assert fitting(*source, *room) == expected


def test_half_blocks_have_the_upper_pixel_in_front():
    picture = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], np.uint8)
    (line,) = half_blocks(picture)
    assert line == f"\x1b[38;2;1;2;3;48;2;7;8;9m{HALF_BLOCK}\x1b[38;2;4;5;6;48;2;10;11;12m{HALF_BLOCK}\x1b[0m"


def test_the_same_colours_are_not_told_again():
    (line,) = half_blocks(np.zeros((2, 50, 3), np.uint8))
    assert line.count("\x1b[38") == 1
    assert line.count(HALF_BLOCK) == 50


@pytest.mark.parametrize(("color", "number"), [((0, 0, 0), 16), ((255, 255, 255), 231), ((255, 0, 0), 196)])
def test_256_colours(color, number):
    (line,) = half_blocks(np.full((2, 1, 3), color, np.uint8), full_colour=False)
    assert line.startswith(f"\x1b[38;5;{number};48;5;{number}m")


def test_256_colours_keep_the_classes_colours():
    """The road's violet over grey asphalt was grey, and so were dark trees and cars."""
    image, labels = np.full((2, 11, 3), 90, np.uint8), np.arange(11, dtype=np.uint8)[None].repeat(2, 0)
    shown = overlay(image, labels, for_screens(CAMVID))
    lines = half_blocks(shown, full_colour=False)
    colors = np.array([xterm_color(int(number)) for number in re.findall(r"\x1b\[38;5;(\d+);", lines[0])])
    wanted, found = oklab(shown[0])[:, 1:], oklab(colors)[:, 1:]
    assert len(colors) == 11
    colourful = np.linalg.norm(wanted, axis=1) > 4
    assert colourful.sum() == 10  # all but poles
    cosines = (wanted * found).sum(1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(found, axis=1).clip(1e-9)
    assert (cosines[colourful] > np.cos(np.radians(35))).all()


def xterm_color(number):
    """What all terminals show for the 256 colours from 16 on."""
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    return tuple((0, 95, 135, 175, 215, 255)[(number - 16) // step % 6] for step in (36, 6, 1))


def labelled(level):
    image = np.full((48, 64, 3), level, np.uint8)
    return Labelled(Frame(image, level, Fraction(1, 25)), np.full((48, 64), 3, np.uint8))


def make_preview(**options):
    return Preview(CAMVID, **{"opacity": 0.0, "classes": None, **options})


def test_only_the_newest_frame_is_drawn_and_at_most_ten_a_second(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(preview_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(preview_module.time, "thread_time", lambda: 0.0)
    shown_on = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80, height=24)
    preview = make_preview()
    assert not preview.due()
    for level in (10, 20, 30):
        preview.write(labelled(level))
    assert preview.due()
    shown_on.print(preview)
    shown = shown_on.file.getvalue()
    assert "38;2;30;30;30" in shown
    assert "38;2;20;20;20" not in shown
    assert shown.count("\n") == 22
    preview.write(labelled(40))
    clock[0] += 0.05
    assert not preview.due()
    clock[0] += 10
    assert preview.due()


def test_drawing_that_takes_long_is_done_less_often(monkeypatch):
    clock, spent = [100.0], [0.0]

    def draw(*arguments):
        spent[0] += 0.1
        return []

    monkeypatch.setattr(preview_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(preview_module.time, "thread_time", lambda: spent[0])
    monkeypatch.setattr(Preview, "_draw", draw)
    preview = make_preview()
    drawn = 0
    for step in range(1000):  # ten seconds
        clock[0] = 100 + step / 100
        preview.write(labelled(step % 256))
        if preview.due():
            Console(file=io.StringIO()).print(preview)
            drawn += 1
    assert drawn * 0.1 <= preview_module.SHARE * 10 + 0.1


def test_the_class_colours_lie_over_the_picture():
    shown_on = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80, height=24)
    preview = make_preview(opacity=1.0)
    preview.write(labelled(10))
    shown_on.print(preview)
    assert "38;2;{};{};{};48".format(*CAMVID.colors[3]) in shown_on.file.getvalue()


def terminal(monkeypatch):
    """Make the commands' console one that is shown to a person; returns what it writes."""
    written = io.StringIO()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(console, "_file", written)
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "is_interactive", True)
    monkeypatch.setattr(console, "_color_system", Console(color_system="truecolor")._color_system)
    return written


def test_the_preview_stands_above_the_progress_line(monkeypatch):
    written = terminal(monkeypatch)
    preview = make_preview()
    with Display(preview=preview) as display:
        preview.write(labelled(77))
        display.update("in.mp4", 1, 8, "1 of 8 frames")
    shown = written.getvalue()
    assert shown.index("38;2;77;77;77") < shown.rindex("1 of 8")


def test_a_run_with_a_preview(tmp_path, monkeypatch):
    written = terminal(monkeypatch)
    clip = write_video(tmp_path / "in.mp4", range(8))
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--preview", *SMALL) == 0
    assert HALF_BLOCK in written.getvalue()


def test_a_terminal_of_few_colours_is_told_so(tmp_path, monkeypatch):
    written = terminal(monkeypatch)
    monkeypatch.setattr(console, "_color_system", None)
    clip = write_video(tmp_path / "in.mp4", range(2))
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--preview", *SMALL) == 0
    assert "no preview, as this terminal shows less than 256 colours" in written.getvalue()
    assert HALF_BLOCK not in written.getvalue()


def test_without_a_terminal_nothing_is_drawn(tmp_path, capsys):
    clip = write_video(tmp_path / "in.mp4", range(8))
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--preview", *SMALL) == 0
    said = capsys.readouterr()
    assert HALF_BLOCK not in said.err + said.out
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", said.err)


# The plot


def column(picture, share_of_width):
    x = LEFT + round(AREA_WIDTH * share_of_width)
    return np.asarray(picture)[TOP + 2 : TOP + AREA_HEIGHT - 2, x]


def test_the_plot_stacks_the_shares_in_their_colours():
    road, car = CAMVID.names.index("road"), CAMVID.names.index("car")
    none = dict.fromkeys(CAMVID.names, 0.0)
    first, last = none | {"road": 0.75, "car": 0.25}, none | {"road": 0.25, "car": 0.75}
    total = none | {"road": 0.5, "car": 0.5}
    picture = shares_plot([(10, first), (11, first), (12, last), (13, last)], total, CAMVID, "title")
    for place, share in ((0.1, 0.75), (0.5, 0.5), (0.9, 0.25)):
        pixels = column(picture, place)
        assert (pixels == CAMVID.colors[road]).all(-1).mean() == pytest.approx(share, abs=0.02)
        assert (pixels == CAMVID.colors[car]).all(-1).mean() == pytest.approx(1 - share, abs=0.02)
    assert tuple(column(picture, 0.1)[-1]) == CAMVID.colors[road]  # the first of the classes lies at the bottom


@pytest.mark.parametrize("seconds", [1, 7, 400, 90_000])
def test_the_plot_is_drawn_for_any_length(seconds):
    shares = dict.fromkeys(CAMVID.names, 1 / 11)
    step = max(1, seconds // 50)
    picture = shares_plot([(second, shares) for second in range(0, seconds, step)], shares, CAMVID, "title")
    assert len({tuple(pixel) for pixel in column(picture, 0.5).tolist()}) >= 11


def test_run_draws_the_plot(tmp_path):
    clip = write_video(tmp_path / "in.mp4", range(8))
    plot = tmp_path / "shares.png"
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--plot", plot, *SMALL) == 0
    assert Image.open(plot).format == "PNG"
    assert not (tmp_path / "shares.part.png").exists()


def test_plots_that_cannot_be_drawn(tmp_path, capsys):
    clip = write_video(tmp_path / "in.mp4", range(2))
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--plot", tmp_path / "shares.svg", *SMALL) == 2
    assert "--plot draws a PNG picture" in capsys.readouterr().err
    assert run_cli("run", clip, clip, "-o", tmp_path / "out", "--plot", tmp_path / "shares.png", *SMALL) == 2
    assert "no --json, --report, --plot or --coco" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "shares.png").write_text("precious")
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--plot", tmp_path / "shares.png", *SMALL) == 1
    assert (tmp_path / "shares.png").read_text() == "precious"
