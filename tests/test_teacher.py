"""Labels from a teacher: at several sizes, mirrored, only where it is sure, and kept for a run that goes on."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from media import write_video
from PIL import Image
from test_cli import run_cli

from lmaseg import checkpoint
from lmaseg.errors import DatasetError
from lmaseg.labels import CAMVID, CITYSCAPES, label_set
from lmaseg.train import fresh_network, teacher
from lmaseg.train.teacher import Teaching, label_sources, sure_labels, taught_clips

TEACHING = Teaching("a network", CAMVID.names, every=0.1, sure=0.0)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def net():
    """A small network of 19 classes, with weights of chance."""
    torch.manual_seed(0)
    made = fresh_network(CITYSCAPES, size=(32, 40)).eval()
    with torch.no_grad():
        made.decoder.output_conv.weight.mul_(30)  # so that it is surer here than there
    return made


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


class TestSureLabels:
    def test_a_mirrored_picture_has_mirrored_labels(self, net, image):
        labels = sure_labels(net, image, CITYSCAPES, 0.0)
        mirrored = sure_labels(net, image[:, ::-1], CITYSCAPES, 0.0)
        assert labels.shape == (48, 64)
        assert len(np.unique(labels)) > 1
        assert (labels == mirrored[:, ::-1]).mean() > 0.99

    def test_what_is_not_sure_is_left_out(self, net, image):
        maps = [sure_labels(net, image, CITYSCAPES, sure) for sure in (*np.linspace(0, 0.3, 7), 1.0)]
        left_out = [(labels == 255).mean() for labels in maps]
        assert left_out == sorted(left_out)
        assert left_out[0] == 0
        assert left_out[-1] == 1
        assert any(0 < share < 1 for share in left_out)
        assert all((labels == maps[0])[labels != 255].all() for labels in maps)

    def test_probabilities_of_merged_classes_are_added_up(self, net, image):
        coarse = label_set("road,car")
        everything = replace(coarse, train_ids=(0, 13), covers=(tuple(range(13)), tuple(range(13, 19))))
        assert (sure_labels(net, image, everything, 0.5) != 255).all()  # one of two has at least half
        alone = sure_labels(net, image, coarse, 0.0)
        assert (alone == 255).any()  # where the 17 other classes together are more probable


class TestLabelSources:
    def sources(self, folder):
        write_video(folder / "drive.mp4", range(10))  # at 25 frames per second
        (folder / "stills").mkdir()
        for name in "ab":
            Image.fromarray(np.full((48, 64, 3), ord(name), np.uint8)).save(folder / "stills" / f"{name}.png")
        return [folder / "drive.mp4", folder / "stills"]

    def test_frames_at_their_distance_and_all_pictures(self, net, tmp_path):
        assert label_sources(net, self.sources(tmp_path), TEACHING, CAMVID, tmp_path / "taught")
        names = sorted(path.stem for path in (tmp_path / "taught" / "labels").iterdir())
        videos = [f"00_drive_{number:06d}" for number in (0, 3, 6, 9)]
        assert names == [*videos, "01_stills_a", "01_stills_b"]
        assert sorted(path.stem for path in (tmp_path / "taught" / "images").iterdir()) == names
        clips = taught_clips(tmp_path / "taught", CAMVID)
        assert sum(len(clip.labelled) for clip in clips) == 6
        assert all(clip.label(i).max() < 11 for clip in clips for i in clip.labelled)

    def test_what_is_done_is_kept(self, net, tmp_path, monkeypatch):
        sources, stop, labelled = self.sources(tmp_path), threading.Event(), []

        def counted(*arguments):
            labelled.append(arguments)
            stop.set()
            return np.zeros((48, 64), np.uint8)

        monkeypatch.setattr(teacher, "sure_labels", counted)
        assert not label_sources(net, sources, TEACHING, CAMVID, tmp_path / "taught", stop=stop)
        assert len(labelled) == 1
        assert label_sources(net, sources, TEACHING, CAMVID, tmp_path / "taught")
        assert len(labelled) == 6
        assert label_sources(net, sources, TEACHING, CAMVID, tmp_path / "taught")
        assert len(labelled) == 6

    def test_labels_made_otherwise_are_not_mixed_with(self, net, tmp_path):
        sources = self.sources(tmp_path)[1:]
        label_sources(net, sources, TEACHING, CAMVID, tmp_path / "taught")
        with pytest.raises(DatasetError, match=r"sure=0\.0.* not by .*sure=0\.9.*remove it to label anew"):
            label_sources(net, sources, replace(TEACHING, sure=0.9), CAMVID, tmp_path / "taught")
        (tmp_path / "taught" / "teacher.json").write_text("{")
        with pytest.raises(DatasetError, match="is damaged"):
            label_sources(net, sources, TEACHING, CAMVID, tmp_path / "taught")

    def test_a_teacher_of_other_things(self, net, tmp_path):
        with pytest.raises(DatasetError, match="have no class in common"):
            label_sources(net, [], TEACHING, label_set("lawn,shed"), tmp_path / "taught")


class TestCommand:
    def test_videos_and_a_teacher_are_enough(self, net, tmp_path, capsys):
        write_video(tmp_path / "drive.mp4", range(10))
        checkpoint.save(net, tmp_path / "teacher.safetensors", about={})
        taught = ["--unlabelled", tmp_path / "drive.mp4", "--teacher", tmp_path / "teacher.safetensors"]
        settings = ["--teacher-every", 0.08, "--teacher-sure", 0, "--size", "64x96", "--batch", 2, "--device", "cpu"]
        command = ["train", *taught, *settings, "--steps", 2, "-o", tmp_path / "run"]
        assert run_cli(*command, "--minutes", 0) == 0
        maps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "taught" / "labels").iterdir()}
        assert len(maps) == 5
        assert json.loads((tmp_path / "run" / "taught" / "teacher.json").read_text())["finished"]
        assert run_cli(*command, "--resume") == 0
        again = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "taught" / "labels").iterdir()}
        assert again == maps
        about = checkpoint.read_header(tmp_path / "run" / "final.safetensors").about
        assert about["data"] == "taught 4 frames (100%)"
        assert "held out memory 0 mIoU" in about["scores"]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (["--unlabelled", "a.mp4"], "--unlabelled goes with --teacher or --teacher-net"),
            (["--teacher", "a.safetensors"], "--unlabelled goes with --teacher or --teacher-net"),
            (["--teacher-net", "hf:a"], "--unlabelled goes with --teacher or --teacher-net"),
            (["--teacher-every", "0"], "the seconds between labelled frames are above 0"),
        ],
    )
    def test_a_wrong_command_line(self, given, message, tmp_path, capsys):
        assert run_cli("train", *given, "-o", tmp_path / "run") == 2
        assert message in " ".join(capsys.readouterr().err.split())
