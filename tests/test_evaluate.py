"""The evaluator: its label maps, many processes, the official scores, and what it says of data it cannot score."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from marks import slow
from PIL import Image

import lmaseg
from lmaseg.datasets.camvid import camvid_clips
from lmaseg.datasets.cityscapes import cityscapes_clips, to_label_ids, write_label_ids
from lmaseg.datasets.clip import Clip, ClipFrame, Picture
from lmaseg.datasets.folder import class_id_encoding, folder_clips
from lmaseg.errors import DatasetError
from lmaseg.evaluate import evaluate
from lmaseg.labels import CAMVID, CITYSCAPES
from lmaseg.models import FeatureMemory, LocalMemoryNet, build
from lmaseg.models.memory import PERIOD
from lmaseg.scores import official_scores
from lmaseg.train import with_classes
from lmaseg.video import VideoReader

ASSETS = Path(__file__).parents[1] / "assets"
SHARED_CAMVID = Path(__file__).parents[2] / "shared" / "camvid"
HEIGHT, WIDTH = 48, 64
MEMORY = 2
NEVER_SCORED = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)  # labelIds of cityscapesscripts' ignored labels


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def camvid_net() -> LocalMemoryNet:
    return with_classes(lmaseg.load(), CAMVID).eval()


@pytest.fixture(scope="module")
def cityscapes_net(camvid_net: LocalMemoryNet) -> LocalMemoryNet:
    """The bundled encoder and memory under 19 outputs of random weights, so that every class is predicted somewhere."""
    torch.manual_seed(1)
    net = build(replace(camvid_net.spec, classes=19), CITYSCAPES, camvid_net.preprocess)
    fresh, trained = net.state_dict(), camvid_net.state_dict()
    net.load_state_dict(
        {name: trained[name] if trained[name].shape == fresh[name].shape else fresh[name] for name in fresh}
    )
    return net.eval()


Drive = list[tuple[Picture, Picture]]


@pytest.fixture(scope="module")
def drive() -> Drive:
    """The first 30 frames of the sample clip, small: RGB images and CamVid ids."""
    size = WIDTH, HEIGHT
    with VideoReader(ASSETS / "street.mp4") as reader:
        images = [Image.fromarray(frame.image).resize(size) for frame in islice(reader, 30)]
    maps = [Image.open(ASSETS / "street_labels" / f"{i:06d}.png").resize(size, Image.NEAREST) for i in range(30)]
    return [(np.asarray(image), np.asarray(ids)) for image, ids in zip(images, maps, strict=True)]


def variant(drive: Drive, number: int) -> Drive:
    """Another street, made cheaply: mirrored, driven backwards, or both."""
    turned = [(np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(ids[:, ::-1])) for image, ids in drive]
    return (drive, turned, drive[::-1], turned[::-1])[number]


def as_clip(name: str, drive: Drive, unlabelled: tuple[int, ...] = ()) -> Clip:
    frames = [
        ClipFrame(f"{name}_{i}", partial(np.copy, image), None if i in unlabelled else partial(np.copy, ids))
        for i, (image, ids) in enumerate(drive)
    ]
    return Clip(name, tuple(frames), CAMVID, class_id_encoding(CAMVID))


@pytest.fixture(scope="module")
def clips(drive: Drive) -> list[Clip]:
    return [
        as_clip("1", drive[:11]),
        as_clip("2", drive[11:23], unlabelled=(0, 1, 2, 3, 4, 7)),
        as_clip("3", variant(drive, 3)[:10]),
    ]


@pytest.fixture(scope="module")
def cityscapes_tree(drive: Drive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cities of 30-frame snippets of the street scene, the 20th frame labelled with every kind of ignored id."""
    root = tmp_path_factory.mktemp("cityscapes")
    for number, (city, first) in enumerate((("aachen", 0), ("aachen", 400), ("bochum", 0), ("ulm", 275))):
        for offset, (image, ids) in enumerate(variant(drive, number)):
            stem = f"{city}_{number:06d}_{first + offset:06d}"
            _save(root / f"leftImg8bit_sequence/val/{city}/{stem}_leftImg8bit.png", image)
            if offset == 19:
                _save(root / f"leftImg8bit/val/{city}/{stem}_leftImg8bit.png", image)
                _save(root / f"gtFine/val/{city}/{stem}_gtFine_labelIds.png", _label_ids(ids, number))
    return root


def _save(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def _label_ids(ids: Picture, seed: int) -> Picture:
    """CamVid ids as labelIds, sprinkled with blocks of all that is never scored and of classes CamVid lacks."""
    table = np.full(256, 255, np.uint8)
    table[: len(CAMVID)] = CAMVID.train_ids
    label_ids = to_label_ids(table[ids])
    rng = np.random.default_rng(seed)
    for label_id in (*NEVER_SCORED, *(12, 19, 22, 27, 28, 31, 32, 33) * 2):
        top, left = rng.integers(0, HEIGHT - 6), rng.integers(0, WIDTH - 6)
        label_ids[top : top + 5, left : left + 6] = label_id
    return label_ids


class Recorder(dict[str, Picture]):
    """Keeps every predicted label map under the name of its frame."""

    def __call__(self, name: str, predicted: Picture) -> None:
        self[name] = predicted


class TestLabelMaps:
    @pytest.mark.parametrize("memory", [MEMORY, slow(0)])
    def test_are_those_from_an_empty_memory_in_the_last_second_of_the_period_before(
        self, camvid_net: LocalMemoryNet, clips: list[Clip], memory: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lmaseg.evaluate.SECOND", 2)
        maps = Recorder()
        evaluate(camvid_net, clips[1:], memory=memory, size=40, on_prediction=maps)
        assert list(maps) == [f"2_{i}" for i in (5, 6, 8, 9, 10, 11)] + [f"3_{i}" for i in range(10)]
        segmenter = lmaseg.Segmenter(camvid_net, size=40, memory=memory)
        for clip in clips[1:]:
            for last in clip.labelled:
                segmenter.reset()
                first = last // (2 * PERIOD) * 2 * PERIOD - 2 if memory else last
                for i in range(max(0, first), last + 1):
                    alone = segmenter.submit([clip.image(i)], seconds=[i // 2]).result()[0]
                assert np.array_equal(maps[clip.frames[last].name], alone)

    @pytest.mark.parametrize("full_resolution", [True, slow(False)])
    def test_batches_change_nothing_but_rounding(
        self, camvid_net: LocalMemoryNet, clips: list[Clip], full_resolution: bool
    ) -> None:
        maps = []
        for batch in (1, 4):
            maps.append(Recorder())
            evaluate(
                camvid_net,
                clips[:3],
                memory=MEMORY,
                size=40,
                dtype=torch.float32,
                batch=batch,
                full_resolution=full_resolution,
                on_prediction=maps[-1],
            )
        assert list(maps[0]) == list(maps[1])
        assert np.mean([maps[0][name] == maps[1][name] for name in maps[0]]) >= 0.9999

    def test_are_what_the_segmenter_says_of_the_whole_video(
        self, camvid_net: LocalMemoryNet, clips: list[Clip]
    ) -> None:
        maps = Recorder()
        evaluate(camvid_net, clips[1:2], memory=MEMORY, size=40, on_prediction=maps)
        segmenter = lmaseg.Segmenter(camvid_net, size=40, memory=MEMORY)
        whole = [segmenter(clips[1].image(i)) for i in range(len(clips[1]))]
        assert all(np.array_equal(maps[f"2_{i}"], whole[i]) for i in clips[1].labelled)

    def test_the_memory_matters(self, camvid_net: LocalMemoryNet, clips: list[Clip]) -> None:
        with_memory, without = (evaluate(camvid_net, clips[:1], memory=m, size=40) for m in (MEMORY, 0))
        assert not np.array_equal(with_memory.counts, without.counts)

    def test_a_frame_in_the_place_of_its_own_past(self, camvid_net: LocalMemoryNet, clips: list[Clip]) -> None:
        maps, exact = Recorder(), torch.float32
        options = {"memory": MEMORY, "size": 40, "batch": 3, "dtype": exact}
        assert evaluate(camvid_net, clips[:1], own_past=True, on_prediction=maps, **options).settings["ownPast"]
        still = lmaseg.Segmenter(camvid_net, size=40, memory=MEMORY, dtype=exact)
        still.memory = FeatureMemory(MEMORY)  # in which the values are those of the frame alone
        for index in (0, 1, 4):
            name, image = clips[0].frames[index].name, clips[0].image(index)
            still.reset()
            expected = [still(image) for _ in range(min(index, MEMORY) + 1)][-1]
            assert np.mean(maps[name] == expected) >= 0.9999


class TestEvaluation:
    @pytest.mark.slow
    def test_counts_equal_torchmetrics(self, camvid_net: LocalMemoryNet, clips: list[Clip]) -> None:
        torchmetrics = pytest.importorskip("torchmetrics.classification")
        maps = Recorder()
        evaluation = evaluate(camvid_net, clips, memory=MEMORY, size=40, on_prediction=maps)
        oracle = torchmetrics.MulticlassConfusionMatrix(11, ignore_index=CAMVID.ignore_index)
        for clip in clips:
            for index in clip.labelled:
                predicted, truth = maps[clip.frames[index].name], clip.label(index)
                oracle.update(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
        assert np.array_equal(evaluation.counts[:, :-1], oracle.compute().numpy())
        assert not evaluation.counts[:, -1].any()
        assert evaluation.frames == sum(len(clip.labelled) for clip in clips)
        assert evaluation.pixel_shares.sum() == pytest.approx(1)

    def test_at_working_size_predictions_and_labels_have_it(
        self, camvid_net: LocalMemoryNet, clips: list[Clip]
    ) -> None:
        maps = Recorder()
        evaluation = evaluate(camvid_net, clips[:1], memory=0, size=32, full_resolution=False, on_prediction=maps)
        assert {predicted.shape for predicted in maps.values()} == {(32, 40)}
        assert evaluation.counts.sum() <= 11 * 32 * 40

    def test_progress_counts_labelled_frames(self, camvid_net: LocalMemoryNet, clips: list[Clip]) -> None:
        seen: list[tuple[int, int]] = []
        evaluate(camvid_net, clips[1:], memory=0, size=32, on_frame=lambda done, to_do: seen.append((done, to_do)))
        assert seen == [(i, 16) for i in range(1, 17)]

    @pytest.mark.slow
    def test_the_own_past_differs_from_the_past(self, camvid_net: LocalMemoryNet, clips: list[Clip]) -> None:
        for full_resolution in (True, False):
            own, on, off = (
                evaluate(
                    camvid_net,
                    clips[:1],
                    memory=memory,
                    size=40,
                    dtype=torch.float32,
                    own_past=own_past,
                    full_resolution=full_resolution,
                )
                for memory, own_past in ((MEMORY, True), (MEMORY, False), (0, False))
            )
            assert not np.array_equal(own.counts, on.counts)
            assert not np.array_equal(own.counts, off.counts)

    def test_nothing_labelled(self, camvid_net: LocalMemoryNet, clips: list[Clip]) -> None:
        with pytest.raises(DatasetError, match="there is no labelled frame to score: give a split that has label maps"):
            evaluate(camvid_net, [replace(clips[0], frames=(ClipFrame("0", clips[0].frames[0].image),))])

    def test_labels_that_change_size(self, camvid_net: LocalMemoryNet, clips: list[Clip]) -> None:
        small = ClipFrame("odd", lambda: np.zeros((40, 40, 3), np.uint8), lambda: np.zeros((40, 40), np.uint8))
        clip = replace(clips[0], frames=(clips[0].frames[0], small))
        with pytest.raises(DatasetError, match="the label of odd has another size than those before"):
            evaluate(camvid_net, [clip], memory=0, size=32)

    @pytest.mark.skipif(not SHARED_CAMVID.is_dir(), reason="needs CamVid in ../shared/camvid")
    @pytest.mark.slow
    def test_camvid_val(self, camvid_net: LocalMemoryNet) -> None:
        torchmetrics = pytest.importorskip("torchmetrics.classification")
        (clip,) = camvid_clips(SHARED_CAMVID, "val")
        clip = replace(clip, frames=clip.frames[:20])
        maps = Recorder()
        evaluation = evaluate(camvid_net, [clip], size=96, on_prediction=maps)
        oracle = torchmetrics.MulticlassConfusionMatrix(11, ignore_index=11)
        for index, predicted in enumerate(maps.values()):
            oracle.update(torch.from_numpy(predicted).long(), torch.from_numpy(clip.label(index)).long())
        assert np.array_equal(evaluation.counts[:, :-1], oracle.compute().numpy())
        assert 0.7 < evaluation.temporal["mvc16Strict"] <= evaluation.temporal["mvc16"] < 1
        assert 0 < evaluation.temporal["flicker"] < 0.2


class TestCityscapes:
    @pytest.mark.slow
    def test_scores_equal_the_official_ones(
        self, cityscapes_net: LocalMemoryNet, cityscapes_tree: Path, tmp_path: Path
    ) -> None:
        clips = cityscapes_clips(cityscapes_tree, past=MEMORY)
        evaluation = evaluate(
            cityscapes_net, clips, memory=MEMORY, size=40, on_prediction=partial(write_label_ids, tmp_path)
        )
        ours, theirs = official_scores(evaluation), official_results(cityscapes_tree, tmp_path)
        assert (evaluation.frames, evaluation.classes_in_mean, len(clips)) == (4, 19, 4)
        for key in ("classScores", "categoryScores"):
            assert ours[key] == pytest.approx({name: theirs[key][name] for name in ours[key]}, abs=1e-9)
        for key in ("averageScoreClasses", "averageScoreCategories"):
            assert ours[key] == pytest.approx(theirs[key], abs=1e-9)
        assert set(theirs["categoryScores"]) - set(ours["categoryScores"]) == {"void"}

    @pytest.mark.slow
    def test_camvid_weights_are_scored_on_the_classes_they_know(
        self, camvid_net: LocalMemoryNet, cityscapes_tree: Path, tmp_path: Path
    ) -> None:
        clips = cityscapes_clips(cityscapes_tree, past=0)
        evaluation = evaluate(camvid_net, clips, memory=0, size=40, on_prediction=partial(write_label_ids, tmp_path))
        ours, theirs = official_scores(evaluation), official_results(cityscapes_tree, tmp_path)
        known = [name for name, iou in ours["classScores"].items() if iou is not None]
        assert ours["unknownClasses"] == [
            *("wall", "traffic light", "terrain", "truck", "bus", "train", "motorcycle", "bicycle"),
        ]
        assert ours["classesInMean"] == len(known) == 11
        assert [ours["classScores"][n] for n in known] == pytest.approx(
            [theirs["classScores"][n] for n in known], abs=1e-9
        )
        assert ours["averageScoreClasses"] == pytest.approx(np.mean([theirs["classScores"][name] for name in known]))
        assert ours["categoryScores"] == pytest.approx({n: theirs["categoryScores"][n] for n in ours["categoryScores"]})

    def test_temporal_figures_need_neighbouring_labels(self, camvid_net: LocalMemoryNet, cityscapes_tree: Path) -> None:
        evaluation = evaluate(camvid_net, cityscapes_clips(cityscapes_tree, past=0), memory=0, size=32)
        assert all(math.isnan(share) for share in evaluation.temporal.values())
        assert set(official_scores(evaluation)["temporal"].values()) == {None}


def official_results(tree: Path, predictions: Path) -> dict:
    """What cityscapesscripts finds for the label PNGs, matched to the ground truth by its own rule."""
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    truths = sorted(str(path) for path in tree.glob("gtFine/val/*/*_gtFine_labelIds.png"))
    finder = SimpleNamespace(predictionPath=str(predictions), predictionWalk=None)
    found = [official.getPrediction(finder, truth) for truth in truths]
    options = SimpleNamespace(**vars(official.args))
    # instance scores need numpy.in1d, which numpy 2.4 no longer has
    options.evalInstLevelScore, options.JSONOutput, options.quiet = False, False, True
    return official.evaluateImgLists(found, truths, options)


class TestClasses:
    def test_cityscapes_weights_on_camvid(self, cityscapes_net: LocalMemoryNet, clips: list[Clip]) -> None:
        maps = Recorder()
        evaluation = evaluate(cityscapes_net, clips[:1], memory=0, size=40, on_prediction=maps)
        segmenter = lmaseg.Segmenter(cityscapes_net, size=40, memory=0)
        covering = np.array([next(i for i, ids in enumerate(CAMVID.covers) if train in ids) for train in range(19)])
        for i in range(11):
            assert np.array_equal(maps[f"1_{i}"], covering[segmenter(clips[0].image(i))])
        assert evaluation.known == (True,) * 11
        assert evaluation.counts[:, -1].sum() == 0

    def test_what_the_data_set_lacks_is_wrong_wherever_it_is_predicted(
        self, cityscapes_net: LocalMemoryNet, clips: list[Clip]
    ) -> None:
        roadless = replace(
            CAMVID,
            names=(*CAMVID.names[:3], "lawn", *CAMVID.names[4:]),  # classes of one name are one class
            train_ids=(*CAMVID.train_ids[:3], 255, *CAMVID.train_ids[4:]),
            covers=(),
        )
        maps = Recorder()
        clip = replace(clips[0], labels=roadless)
        evaluation = evaluate(cityscapes_net, [clip], memory=0, size=40, on_prediction=maps)
        elsewhere = sum(int((maps[f"1_{i}"][clip.label(i) != 11] == 255).sum()) for i in range(11))
        assert not evaluation.known[3]
        assert evaluation.counts[:, -1].sum() == elsewhere > 0
        assert evaluation.pixel_accuracy < 1


WORKER = """
import json, os, sys
from pathlib import Path
import torch
import lmaseg
from lmaseg.datasets.folder import folder_clips
from lmaseg.evaluate import evaluate, process_group
from lmaseg.scores import official_scores

torch.set_num_threads(1)
with process_group("cpu") as device:
    net = lmaseg.load(device=device)
    clips = folder_clips(Path(sys.argv[1]) / "i", Path(sys.argv[1]) / "l", net.labels)
    scores = official_scores(evaluate(net, clips, memory=2, size=32))
    Path(sys.argv[1], f"{os.environ.get('RANK', 'alone')}.json").write_text(json.dumps(scores))
"""


class TestProcesses:
    @pytest.mark.slow
    def test_two_find_what_one_finds_to_the_last_bit(self, drive: Drive, tmp_path: Path) -> None:
        for folder in ("i", "l"):
            (tmp_path / folder).mkdir()
        for number, (start, end) in enumerate(((0, 9), (9, 20), (20, 30))):
            for index, (image, ids) in enumerate(drive[start:end]):
                _save(tmp_path / f"i/drive{number}_{index}.png", image)
                _save(tmp_path / f"l/drive{number}_{index}.png", ids)
        worker = tmp_path / "worker.py"
        worker.write_text(WORKER)
        for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]):
            subprocess.run([sys.executable, *launcher, str(worker), str(tmp_path)], check=True, timeout=200)
        found = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "0", "1")]
        assert all(scores.pop("seconds") > 0 for scores in found)
        assert [scores.pop("settings")["processes"] for scores in found] == [1, 2, 2]
        assert found[0] == found[1] == found[2]
        assert found[0]["frames"] == len(folder_clips(tmp_path / "i", tmp_path / "l", CAMVID)) * 10 == 30
