"""`lmaseg eval` as a person meets it: the table, the files it writes, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from test_cli import call

import lmaseg
from lmaseg.checkpoint import save
from lmaseg.cli.eval import evaluate
from lmaseg.errors import DatasetError, VideoError
from lmaseg.labels import CITYSCAPES
from lmaseg.models import ModelSpec, build
from lmaseg.train import fresh_network

HEIGHT, WIDTH = 40, 56
CLASSES = 11


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten noisy frames whose labels are three bands that slowly move."""
    root = tmp_path_factory.mktemp("camvid")
    rng = np.random.default_rng(0)
    for folder in ("val", "valannot"):
        (root / folder).mkdir()
    for number in range(10):
        ids = np.repeat(np.array([0, 1, 3], np.uint8), (10 + number, 14, 16 - number))[:, None].repeat(WIDTH, 1)
        image = rng.integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8) + ids[..., None] * np.uint8(60)
        Image.fromarray(image).save(root / f"val/A_{2 * number:03d}.png")
        Image.fromarray(ids).save(root / f"valannot/A_{2 * number:03d}.png")
    return root


def test_table_json_and_predictions(camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(
        evaluate,
        camvid=camvid,
        memory=2,
        batch=3,
        size=40,
        compare_memory=True,
        json_file=tmp_path / "scores.json",
        predictions=tmp_path / "maps",
    )
    shown = capsys.readouterr()
    assert shown.out == ""
    for words in (
        "camvid val: 10 labelled frames",
        "memory off",
        "own past",
        "memory on",
        "difference",
        "bicyclist",
        "mVC8",
    ):
        assert words in shown.err
    check_json(json.loads((tmp_path / "scores.json").read_text()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "scores.json"]
    maps = sorted((tmp_path / "maps").iterdir())
    assert [path.name for path in maps] == [f"A_{2 * number:03d}.png" for number in range(10)]
    assert np.asarray(Image.open(maps[0])).shape == (HEIGHT, WIDTH)


def check_json(scores: dict[str, Any]) -> None:
    for found, memory in ((scores, 2), (scores["ownPast"], 2), (scores["withoutMemory"], 0)):
        assert len(found["classScores"]) == CLASSES
        assert set(found["temporal"]) == {"mvc8", "mvc8Strict", "mvc16", "mvc16Strict", "flicker"}
        assert found["frames"] == 10
        assert found["settings"]["memory"] == memory
        assert np.sum(found["counts"]) == 10 * HEIGHT * WIDTH
    assert [found["settings"]["ownPast"] for found in (scores, scores["ownPast"])] == [False, True]
    assert scores["settings"]["split"] == "val"
    assert scores["settings"]["weights"] == "bundled"
    assert 0 <= scores["averageScoreClasses"] <= scores["averageScoreCategories"] <= 1


def test_a_finer_network_is_scored_on_the_classes_that_cover_its_own(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "net.safetensors"
    save(fresh_network(CITYSCAPES, size=(40, 56)), weights, about={})
    folder = camvid / "val", camvid / "valannot"
    for name, data in {"set": {"camvid": camvid}, "folder": {"folder": folder, "classes": "camvid"}}.items():
        call(evaluate, **data, weights=weights, memory=0, size=40, device="cpu", json_file=tmp_path / f"{name}.json")
        assert "pavement" in capsys.readouterr().err
    named, spelt = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("set", "folder"))
    assert named["counts"] == spelt["counts"]
    assert named["unknownClasses"] == []
    assert all(row[-1] == 0 for row in named["counts"])  # of the 19 classes none is foreign to CamVid


def test_spoilt_frames_alone_are_scored(camvid: Path, tmp_path: Path) -> None:
    call(evaluate, camvid=camvid, memory=2, size=40, compare_memory=True, spoil=0.2, json_file=tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    for found in (scores, scores["withoutMemory"], scores["ownPast"]):
        assert found["frames"] == 2
        assert set(found["temporal"].values()) == {None}  # they do not follow each other
    assert scores["settings"]["spoil"] == 0.2


def test_an_untrained_memory_is_compared_where_weights_have_none(camvid: Path, tmp_path: Path) -> None:
    trained = lmaseg.load()
    single = build(ModelSpec(trained.spec.backbone, 19), CITYSCAPES, trained.preprocess)
    single.load_state_dict({name: trained.state_dict()[name] for name in single.state_dict()})
    save(single, tmp_path / "single.safetensors", about={})
    options: dict[str, Any] = {"camvid": camvid, "size": 40, "weights": tmp_path / "single.safetensors"}
    with pytest.raises(typer.BadParameter, match="no memory to compare: --memory 1 gives them an untrained one"):
        call(evaluate, **options, compare_memory=True)
    call(evaluate, **options, compare_memory=True, memory=2, json_file=tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["counts"] != scores["withoutMemory"]["counts"]
    assert scores["counts"] != scores["ownPast"]["counts"]


def test_pictures_that_do_not_follow_each_other_are_told_from_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what they show, not by their consecutive numbers."""
    folders = tmp_path / "images", tmp_path / "labels"
    for folder in folders:
        folder.mkdir()
    for number in range(4):
        scene = np.random.default_rng(number).integers(0, 256, (3, 4, 3), np.uint8)
        Image.fromarray(scene).resize((WIDTH, HEIGHT), Image.NEAREST).save(folders[0] / f"{number}.png")
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(folders[1] / f"{number}.png")
    hint = "if they are no frames of a video, add --stills"
    for stills in (False, True):
        call(evaluate, folder=folders, size=40, stills=stills, json_file=tmp_path / "scores.json", overwrite=True)
        assert (hint in " ".join(capsys.readouterr().err.split())) == (not stills)
        flicker = json.loads((tmp_path / "scores.json").read_text())["temporal"]["flicker"]
        assert (flicker is None) == stills
    for number in range(1, 4):
        shutil.copy(folders[0] / "0.png", folders[0] / f"{number}.png")
    call(evaluate, folder=folders, size=40, json_file=tmp_path / "scores.json", overwrite=True)
    assert hint not in " ".join(capsys.readouterr().err.split())


def test_one_column_without_comparison(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(evaluate, camvid=camvid, memory=0, size=40)
    shown = capsys.readouterr().err
    assert "IoU" in shown
    assert "memory off" not in shown
    assert "difference" not in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give one of --cityscapes PATH, --camvid PATH and --folder IMAGES LABELS"),
        ({"camvid": Path("a"), "cityscapes": Path("b")}, "give one of --cityscapes PATH"),
        ({"camvid": Path("a"), "classes": "camvid"}, "data sets have their own"),
        ({"camvid": Path("a"), "stills": True}, "the other data sets are video"),
        ({"camvid": Path("a"), "compare_memory": True, "memory": 0}, "leave out --memory 0"),
        ({"camvid": Path("a"), "predictions": Path("p"), "at_working_size": True}, "leave out --at-working-size"),
        ({"camvid": Path("a"), "spoil": 0.0}, "the share of the frames to spoil is above 0 and at most 1, not 0.0"),
    ],
)
def test_wrong_command_lines(options: dict[str, Any], said: str) -> None:
    with pytest.raises(typer.BadParameter) as error:
        call(evaluate, **options)
    assert said in str(error.value)


def test_a_working_size_the_network_cannot_have(camvid: Path) -> None:
    with pytest.raises(typer.BadParameter, match="a working size of 8 pixels is not between"):
        call(evaluate, camvid=camvid, size=8)


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="point --camvid at the folder that holds val/ and valannot/"):
        call(evaluate, camvid=tmp_path)


def test_outputs_are_not_replaced_unasked(camvid: Path, tmp_path: Path) -> None:
    kept = tmp_path / "scores.json"
    kept.write_text("mine")
    with pytest.raises(VideoError, match="already exists: add -y to overwrite"):
        call(evaluate, camvid=camvid, json_file=kept, overwrite=False)
    assert kept.read_text() == "mine"
