"""The reader of Cityscapes, on a tiny tree made here: what it finds, and what it says of a tree that is broken."""

from pathlib import Path

import numpy as np
import pytest
from trees import SIZE, message, write_ids, write_image

from lmaseg.datasets.cityscapes import LABEL_IDS, cityscapes_clips, to_label_ids
from lmaseg.labels import CITYSCAPES


class TestCityscapes:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """Two cities; a short sequence labelled at its 20th frame, and a long one labelled twice, 30 frames apart."""
        for city, sequence, label, first in (
            ("aa", 3, 19, 0),
            ("aa", 4, 19, 0),
            ("bb", 0, 294, 275),
            ("bb", 0, 324, 305),
        ):
            stem = f"{city}_{sequence:06d}_{label:06d}"
            write_image(tmp_path / f"leftImg8bit/val/{city}/{stem}_leftImg8bit.png", label % 256)
            write_ids(tmp_path / f"gtFine/val/{city}/{stem}_gtFine_labelIds.png", 7, 0, 3, 26, 33)
            for number in range(first, first + 30):
                name = f"{city}_{sequence:06d}_{number:06d}_leftImg8bit.png"
                write_image(tmp_path / "leftImg8bit_sequence/val" / city / name, number % 256)
        return tmp_path

    def test_a_clip_is_a_label_and_the_frames_before_it(self, root: Path) -> None:
        clips = cityscapes_clips(root, past=4)
        assert [clip.name for clip in clips] == [
            "aa_000003_000019",
            "aa_000004_000019",
            "bb_000000_000294",
            "bb_000000_000324",
        ]
        last = clips[-1]
        assert [frame.name[-3:] for frame in last.frames] == ["320", "321", "322", "323", "324"]
        assert last.labelled == (4,)
        assert [int(last.image(i)[0, 0, 0]) for i in range(5)] == [64, 65, 66, 67, 68]
        assert last.image(0).shape == (*SIZE, 3)

    def test_labels_are_train_ids(self, root: Path) -> None:
        clip = cityscapes_clips(root, past=1)[0]
        label = clip.label(1)
        assert label is not None
        assert label.dtype == np.uint8
        assert label.flat[:6].tolist() == [0, 255, 255, 13, 18, 0]
        assert clip.label(0) is None
        assert clip.labels == CITYSCAPES

    def test_overlapping_clips_are_one(self, root: Path) -> None:
        stem = "bb_000000_000290"
        write_image(root / f"leftImg8bit/val/bb/{stem}_leftImg8bit.png")
        write_ids(root / f"gtFine/val/bb/{stem}_gtFine_labelIds.png", 7)
        joined = cityscapes_clips(root, past=4)[2]
        assert [int(frame.name[-6:]) for frame in joined.frames] == list(range(286, 295))
        assert joined.labelled == (4, 8)
        assert len(cityscapes_clips(root, past=3)) == 4
        assert len(cityscapes_clips(root, past=2)) == 5

    def test_single_frames_need_no_sequences(self, root: Path) -> None:
        (root / "leftImg8bit_sequence").rename(root / "elsewhere")
        assert [len(clip) for clip in cityscapes_clips(root, past=0)] == [1, 1, 1, 1]
        assert message(lambda: cityscapes_clips(root, past=4)) == (
            f"the folder {root}/leftImg8bit_sequence/val is missing: the 4 frames before each label come from it: "
            "extract it, or evaluate with --memory 0"
        )

    def test_there_are_no_frames_before_the_first(self, root: Path) -> None:
        for path in root.glob("*/val/bb/*"):
            path.unlink()
        assert [len(clip) for clip in cityscapes_clips(root, past=25)] == [20, 20]

    def test_ids_of_the_wrong_kind(self, root: Path) -> None:
        wrong = write_ids(root / "gtFine/val/aa/aa_000003_000019_gtFine_labelIds.png", 1, 255)
        clips = cityscapes_clips(root, past=0)
        said = "holds id 255, which is none of the Cityscapes labelIds (0 to 33): extract gtFine again"
        assert message(lambda: clips[0].label(0)) == f"{wrong} {said}"

    def test_a_missing_past_frame(self, root: Path) -> None:
        (root / "leftImg8bit_sequence/val/bb/bb_000000_000322_leftImg8bit.png").unlink()
        assert message(lambda: cityscapes_clips(root, past=4)) == (
            "bb_000000_000322_leftImg8bit.png is missing in leftImg8bit_sequence, one of the 4 frames before "
            "bb_000000_000324_gtFine_labelIds.png: extract leftImg8bit_sequence_trainvaltest.zip again, "
            "or use a smaller --memory"
        )
        assert len(cityscapes_clips(root, past=1)) == 4

    def test_a_missing_image_and_a_missing_label(self, root: Path) -> None:
        image = root / "leftImg8bit/val/aa/aa_000004_000019_leftImg8bit.png"
        label = root / "gtFine/val/bb/bb_000000_000294_gtFine_labelIds.png"
        image.rename(root / "kept.png")
        assert message(lambda: cityscapes_clips(root, past=0)) == (
            f"{image} is missing, the image of aa_000004_000019_gtFine_labelIds.png: extract leftImg8bit again"
        )
        (root / "kept.png").rename(image)
        label.unlink()
        assert message(lambda: cityscapes_clips(root, past=0)) == (
            f"{label} is missing, the label of bb_000000_000294_leftImg8bit.png: extract gtFine again"
        )

    def test_not_a_cityscapes_tree(self, root: Path, tmp_path: Path) -> None:
        assert message(lambda: cityscapes_clips(root / "gtFine", past=0)) == (
            f"the folder {root}/gtFine/gtFine/val is missing: "
            "point --cityscapes at the folder that holds leftImg8bit/ and gtFine/"
        )
        for path in (root / "gtFine").rglob("*.png"):
            path.unlink()
        assert "holds no label maps: it needs CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png" in message(
            lambda: cityscapes_clips(root, past=0)
        )

    def test_a_name_out_of_order(self, root: Path) -> None:
        odd = write_ids(root / "gtFine/val/aa/aa_19_gtFine_labelIds.png", 7)
        assert message(lambda: cityscapes_clips(root, past=0)) == (
            f"{odd} is not named CITY_SEQUENCE_FRAME_gtFine_labelIds.png: restore its name or remove it"
        )

    @pytest.mark.slow
    def test_predictions_go_back_to_label_ids(self) -> None:
        labels = pytest.importorskip("cityscapesscripts.helpers.labels")
        train_ids = np.arange(256, dtype=np.uint8).reshape(2, 128)
        label_ids = to_label_ids(train_ids)
        assert label_ids.shape == train_ids.shape
        assert [labels.id2label[i].trainId for i in label_ids.flat[:19]] == list(range(19))
        assert not label_ids.flat[19:].any()

    @pytest.mark.slow
    def test_the_encoding_is_the_official_one(self) -> None:
        labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
        official = {label.id: label.trainId for label in labels if label.id >= 0}
        ours = LABEL_IDS.classes
        assert [ours.get(i, -1) for i in range(256)] == [official.get(i, -1) for i in range(256)]
