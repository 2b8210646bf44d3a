"""What `lmaseg run` writes besides the plain overlay, and what it leaves and takes over when it is killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from media import CLOCK, numbered, packets, psnr, write_video
from PIL import Image
from test_cli import run_cli

from lmaseg import CITYSCAPES
from lmaseg.labels import CITYSCAPES_LABEL_IDS, for_screens
from lmaseg.pictures import SUFFIXES
from lmaseg.render import VIEWS
from lmaseg.video import VideoReader

SMALL = ("--size", "32")


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "in.mp4"
    write_video(path, range(0, 24, 3))
    return path


def times(path):
    with VideoReader(path) as reader:
        return [frame.time for frame in reader]


def maps(folder):
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("view", VIEWS)
def test_views(clip, tmp_path, view):
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--view", view, "--legend", "top-left", *SMALL) == 0
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert (reader.width, reader.height) == ((128 if view == "side-by-side" else 64), 48)
    assert times(tmp_path / "out.mp4") == times(clip)


def pictures(path):
    with VideoReader(path) as reader:
        return np.stack([frame.image for frame in reader])


@pytest.mark.parametrize("palette", ["screen", "official"])
def test_palettes(clip, tmp_path, palette):
    """Videos are drawn in bright colours unless told otherwise, label maps keep the official ones."""
    told = [] if palette == "screen" else ["--palette", palette]
    outputs = "-o", tmp_path / "out.mkv", "--codec", "ffv1", "--labels", tmp_path / "maps"
    assert run_cli("run", clip, *outputs, "--view", "mask", *told, *SMALL) == 0
    colors = {tuple(color) for color in pictures(tmp_path / "out.mkv").reshape(-1, 3).tolist()}
    assert colors <= set((for_screens(CITYSCAPES) if palette == "screen" else CITYSCAPES).colors)
    assert Image.open(tmp_path / "maps" / "000000.png").getpalette()[:57] == list(CITYSCAPES.palette[:57])


def test_unsure_pixels_are_not_drawn_and_255_in_label_maps(clip, tmp_path):
    outputs = "-o", tmp_path / "out.mkv", "--codec", "ffv1", "--labels", tmp_path / "maps", "--json", tmp_path / "lines"
    assert run_cli("run", clip, *outputs, "--min-confidence", 1, *SMALL) == 0
    assert {label for found in maps(tmp_path / "maps").values() for label in found.ravel().tolist()} == {255}
    assert (pictures(tmp_path / "out.mkv") == pictures(clip)).all()
    assert set(json.loads((tmp_path / "lines").read_text().splitlines()[0])["shares"].values()) == {0.0}


def test_annotations_that_pycocotools_reads(clip, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    assert run_cli("run", clip, "-o", tmp_path / "maps", "--coco", tmp_path / "coco.json", *SMALL) == 0
    read = coco.COCO(tmp_path / "coco.json")
    assert [category["name"] for category in read.loadCats(read.getCatIds())] == list(CITYSCAPES.names)
    images = {image["file_name"]: image for image in read.loadImgs(read.getImgIds())}
    for name, labels in maps(tmp_path / "maps").items():
        assert (images[name]["height"], images[name]["width"]) == labels.shape
        drawn = np.full(labels.shape, 255, np.uint8)
        for annotation in read.loadAnns(read.getAnnIds(images[name]["id"])):
            drawn[read.annToMask(annotation) > 0] = annotation["category_id"] - 1
        assert (drawn == labels).all()
    assert len(images) == len(times(clip))


def test_annotations_have_the_names_of_image_files(tmp_path):
    for i in range(2):
        Image.new("RGB", (64, 48), (90 * i, 90, 90)).save(tmp_path / f"street{i}.jpg")
    assert run_cli("run", tmp_path / "*.jpg", "-o", tmp_path / "maps", "--coco", tmp_path / "c.json", *SMALL) == 0
    found = json.loads((tmp_path / "c.json").read_text())["images"]
    assert [image["file_name"] for image in found] == ["street0.jpg", "street1.jpg"]


def test_class_shares_in_zones(clip, tmp_path, capsys):
    zones, report, lines = (tmp_path / name for name in ("zones.json", "report.json", "lines.jsonl"))
    zones.write_text(json.dumps({"left": [[0, 0], [9, 0], [9, 500], [0, 500]]}))
    outputs = "-o", tmp_path / "maps", "--json", lines, "--report", report
    assert run_cli("run", clip, *outputs, "--zones", zones, *SMALL) == 0
    found = maps(tmp_path / "maps")
    wanted = [(labels[:, :10] == 2).mean() for labels in found.values()]
    told = [json.loads(line)["zones"]["left"]["building"] for line in lines.read_text().splitlines()]
    assert told == pytest.approx(wanted, abs=1e-6)
    told = json.loads(report.read_text())["zones"]["left"]
    assert told["class_shares"]["building"] == pytest.approx(np.mean(wanted), abs=1e-6)
    assert told["class_shares_per_second"][0]["second"] == 0

    assert run_cli("run", clip, "-o", tmp_path / "again", "--zones", zones, *SMALL) == 2
    assert "appear in the lines of JSON and the report" in " ".join(capsys.readouterr().err.split())
    zones.write_text(json.dumps({"far": [[900, 0], [950, 0], [950, 500]]}))
    assert run_cli("run", clip, "-o", tmp_path / "a", "--json", tmp_path / "b", "--zones", zones, *SMALL) == 1
    assert "the zone 'far' lies outside" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "a").exists()


def test_unknown_classes_are_named(clip, tmp_path, capsys):
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--classes", "car,boat", *SMALL) == 2
    assert "the weights know no class boat: choose of road, sidewalk" in " ".join(capsys.readouterr().err.split())
    assert run_cli("run", clip, "-o", tmp_path / "out.mp4", "--classes", "car, road", *SMALL) == 0


def test_label_ids_of_the_cityscapes_files(clip, tmp_path):
    for ids in ("class", "label"):
        assert run_cli("run", clip, "-o", tmp_path / ids, "--ids", ids, *SMALL) == 0
    for name, classes in maps(tmp_path / "class").items():
        expected = np.asarray(CITYSCAPES_LABEL_IDS)[classes]
        assert (maps(tmp_path / "label")[name] == expected).all()
    palette = Image.open(tmp_path / "label" / "000000.png").getpalette()
    assert tuple(palette[3 * 26 : 3 * 27]) == CITYSCAPES.colors[CITYSCAPES.names.index("car")]


def test_confidence_maps(clip, tmp_path):
    outputs = ("-o", tmp_path / "out.mp4", "--confidence", tmp_path / "sure")
    assert run_cli("run", clip, *outputs, *SMALL) == 0
    written = maps(tmp_path / "sure")
    assert len(written) == 8
    for confidence in written.values():
        assert (confidence.dtype, confidence.shape) == (np.uint16, (48, 64))
        assert 65535 / 19 < confidence.min() <= confidence.max() <= 65535  # the likeliest of 19 classes


def test_a_line_of_json_per_frame(clip, tmp_path, capsys):
    assert run_cli("run", clip, "-o", tmp_path / "maps", "--json", tmp_path / "lines.jsonl", *SMALL) == 0
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [f"{i:06d}" for i in range(8)]
    assert [line["seconds"] for line in lines] == pytest.approx([i * 3 / 25 for i in range(8)], abs=1e-6)
    for line, labels in zip(lines, maps(tmp_path / "maps").values(), strict=True):
        assert line["shares"]["road"] == pytest.approx((labels == 0).mean(), abs=1e-6)
    assert run_cli("run", clip, "-o", tmp_path / "again", "--json", "-", *SMALL) == 0
    assert capsys.readouterr().out == (tmp_path / "lines.jsonl").read_text()


def test_label_maps_on_standard_output(clip, tmp_path, capfdbinary):
    def piped(*arguments):
        assert run_cli("run", clip, "-o", "-", *arguments, *SMALL) == 0
        return capfdbinary.readouterr().out

    assert run_cli("run", clip, "-o", tmp_path / "maps", *SMALL) == 0
    expected = np.stack(list(maps(tmp_path / "maps").values()))
    assert (np.frombuffer(piped(), np.uint8).reshape(expected.shape) == expected).all()
    (tmp_path / "labels.mkv").write_bytes(piped("--pipe", "mkv"))
    with av.open(tmp_path / "labels.mkv") as container:
        frames = list(container.decode(video=0))
    assert (np.stack([frame.to_ndarray() for frame in frames]) == expected).all()
    assert [frame.time for frame in frames] == pytest.approx([float(time) for time in times(clip)], abs=0.001)


def test_several_sources(clip, tmp_path, capsys):
    write_video(tmp_path / "b.mkv", range(5))
    (tmp_path / "broken.mp4").write_text("no video")
    output, labels = tmp_path / "out", tmp_path / "labels"
    sources = (clip, tmp_path / "broken.mp4", tmp_path / "b.mkv")
    assert run_cli("run", *sources, "-o", output, "--labels", labels, *SMALL) == 1
    said = capsys.readouterr().err
    assert "broken.mp4 is not a video" in said
    assert "1 of 3 sources failed" in said
    assert sorted(path.name for path in output.iterdir()) == ["b.mp4", "in.mp4"]
    assert [len(maps(labels / name)) for name in ("in", "b")] == [8, 5]
    assert run_cli("run", tmp_path / "b.mkv", "-o", tmp_path / "alone", *SMALL) == 0  # nothing of another is remembered
    assert all((maps(labels / "b")[name] == alone).all() for name, alone in maps(tmp_path / "alone").items())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_in_a_picture_out(tmp_path, capsys, suffix):
    """It shows what a video of it would."""
    Image.fromarray(numbered(5)).save(tmp_path / "in.png")
    assert run_cli("run", tmp_path / "in.png", "-o", tmp_path / f"out{suffix}", *SMALL) == 0
    assert run_cli("run", tmp_path / "in.png", "-o", tmp_path / "out.mkv", "--codec", "ffv1", *SMALL) == 0
    with Image.open(tmp_path / f"out{suffix}") as picture:
        drawn = np.asarray(picture.convert("RGB"))
    assert psnr(drawn, pictures(tmp_path / "out.mkv")[0]) > 20 > psnr(drawn, numbered(5))


def test_without_an_output_the_name_is_like_the_source(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    for number in range(2):
        Image.fromarray(numbered(number)).save(tmp_path / "frames" / f"{number}.png")
    shutil.copy(clip, tmp_path / "a.mov")
    before = {path.name for path in tmp_path.iterdir()}
    for sources in (["in.mp4", "a.mov"], ["frames"], ["frames/*1.png"], ["frames/0.png"]):
        assert run_cli("run", *sources, "-y", *SMALL) == 0
        said = capsys.readouterr().err.splitlines()[0]
        assert said.startswith("no --output is given: writing ")
        assert all(Path(word).exists() for word in said.split()[5:] if word != "and")
    assert {path.name for path in tmp_path.iterdir()} - before == {"in_labelled.mp4", "a_labelled.mov", "frames_labels"}
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["0.png", "0_labelled.png", "1.png"]
    assert run_cli("run", "in.mp4", "--json", "lines.json", *SMALL) == 0  # another output is one
    assert {path.name for path in tmp_path.iterdir()} - before >= {"lines.json"}
    assert run_cli("run", "in.mp4", "-n", *SMALL) == 1


def test_nothing_is_written_to_the_null_device(clip, tmp_path, monkeypatch, capsys):
    """Not even in its place, which an output takes when it is complete."""
    monkeypatch.setattr("lmaseg.cli.run.NOTHING", tmp_path / "null")
    os.mkfifo(tmp_path / "null")
    before = sorted(tmp_path.rglob("*"))
    assert run_cli("run", clip, "-o", tmp_path / "null", *SMALL) == 0
    assert "8 frames in " in capsys.readouterr().err
    assert run_cli("run", clip, clip, "-o", tmp_path / "null", *SMALL) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unquoted_pattern_is_one_sequence(tmp_path):
    (tmp_path / "frames").mkdir()
    images = [tmp_path / "frames" / f"f{number:02d}.png" for number in range(4)]
    for number, image in enumerate(images):
        Image.new("RGB", (64, 48), (60 * number, 90, 90)).save(image)
    assert run_cli("run", *images, "-o", tmp_path / "masks", *SMALL) == 0
    assert run_cli("run", tmp_path / "frames" / "*.png", "-o", tmp_path / "quoted", *SMALL) == 0
    written, quoted = maps(tmp_path / "masks"), maps(tmp_path / "quoted")
    assert list(written) == list(quoted) == [image.name for image in images]
    assert all(np.array_equal(written[name], quoted[name]) for name in written)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-o", "out.mp4"], "several SOURCEs take a folder"),
        (["-o", "-"], "several SOURCEs take a folder"),
        (["-o", "out", "--json", "x"], "several SOURCEs take a folder"),
        (["x/in.mp4", "-o", "out"], "two SOURCEs are called in"),
    ],
)
def test_several_sources_that_do_not_go_together(clip, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    assert run_cli("run", clip, "other.mp4", *more, *SMALL) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def long_clip(path):
    write_video(path, [i * 9000 + i % 3 * 400 for i in range(200)], CLOCK, audio=20.0, rate=10)
    return path


def start(source, folder, *more):
    outputs = ("-o", folder / "out.mp4", "--labels", folder / "maps", "--json", folder / "lines.jsonl")
    command = [sys.executable, "-m", "lmaseg", "run", source, *outputs, *SMALL, *more]
    return subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)


def disturb(source, folder, number, frame):
    """End a run by a signal when it has written the label map of a frame."""
    process = start(source, folder, "--resume")
    while not (folder / "maps.part" / f"{frame:06d}.png").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert "Traceback" not in said
    return process.returncode


def check_resumed(source, folder, whole):
    assert start(source, folder, "--resume").wait(timeout=250) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["lines.jsonl", "maps", "out.mp4"]
    assert times(folder / "out.mp4") == times(source)
    assert packets(folder / "out.mp4") == packets(source)
    assert (folder / "lines.jsonl").read_bytes() == (whole / "lines.jsonl").read_bytes()
    expected = maps(whole / "maps")
    assert all((labels == expected.pop(name)).all() for name, labels in maps(folder / "maps").items())
    assert not expected


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_killed_run_is_resumed_to_the_same_result(tmp_path):
    source = long_clip(tmp_path / "long.mp4")
    whole, folder = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    folder.mkdir()
    assert start(source, whole).wait(timeout=200) == 0
    assert disturb(source, folder, signal.SIGKILL, frame=130) == -signal.SIGKILL
    assert (folder / "out.mp4.unfinished").exists()
    other = start(source, folder, "--resume", "--memory", "1")  # another command: refused, nothing lost
    assert "was made with another memory" in other.communicate(timeout=60)[1]
    assert other.returncode == 1
    check_resumed(source, folder, whole)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_signals_at_random_frames(tmp_path, number):
    """Some of each; LMASEG_SIGNALS=20 sends more."""
    chance, source = random.Random(1), long_clip(tmp_path / "long.mp4")
    whole = tmp_path / "whole"
    whole.mkdir()
    assert start(source, whole).wait(timeout=200) == 0
    for i in range(int(os.environ.get("LMASEG_SIGNALS", "2"))):
        folder = tmp_path / f"resumed-{i}"
        folder.mkdir()
        code = disturb(source, folder, number, frame=chance.randrange(190))
        if code != 0:  # otherwise it was done before the signal came
            assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
            if (folder / "out.part.mp4").stat().st_size > 1000:
                assert len(times(folder / "out.part.mp4")) > 0
        check_resumed(source, folder, whole)
