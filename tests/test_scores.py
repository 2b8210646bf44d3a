"""What an evaluation ends with: classes matched between label sets, and scores under their official names."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmaseg.datasets.folder import write_class_ids
from lmaseg.errors import DatasetError
from lmaseg.labels import CAMVID, CITYSCAPES, LabelSet, own_label_set
from lmaseg.scores import Evaluation, official_scores, translate_classes


class TestClasses:
    def test_the_same_classes_need_no_train_ids(self) -> None:
        ours = LabelSet("ours", ("a", "b"), ((0, 0, 0), (1, 1, 1)), (255, 255))
        table, known = translate_classes(ours, ours)
        assert table[:3].tolist() == [0, 1, 255]
        assert known == (True, True)

    def test_a_coarser_class_takes_in_all_that_it_covers(self) -> None:
        table, known = translate_classes(CITYSCAPES, CAMVID)
        assert [CAMVID.names[i] for i in table[:19]] == [
            *("road", "pavement", "building", "building", "fence", "pole", "sign", "sign", "tree", "tree", "sky"),
            *("pedestrian", "bicyclist", "car", "car", "car", "car", "bicyclist", "bicyclist"),
        ]
        assert known == (True,) * 11

    def test_a_finer_class_keeps_its_counterpart_alone(self) -> None:
        table, known = translate_classes(CAMVID, CITYSCAPES)
        assert table[:11].tolist() == list(CAMVID.train_ids)
        assert sum(known) == 11

    @pytest.mark.parametrize("name", ["class {}", "LABEL_{}"])
    def test_numbered_classes_are_those_of_the_data(self, name: str) -> None:
        """Of a network whose classes have no names, such as one of the hub that was trained on somebody's own."""
        numbered = own_label_set("theirs", [{"name": name.format(i).lower()} for i in range(len(CAMVID))])
        for sets in ((numbered, CAMVID), (CAMVID, numbered)):
            table, known = translate_classes(*sets)
            assert table[:12].tolist() == [*range(len(CAMVID)), 255]
            assert all(known)
        with pytest.raises(DatasetError, match="have no class in common"):
            translate_classes(numbered, CITYSCAPES)

    def test_nothing_in_common(self) -> None:
        ours = LabelSet("ours", ("a", "b"), ((0, 0, 0), (1, 1, 1)), (255, 255))
        with pytest.raises(DatasetError) as error:
            translate_classes(ours, CITYSCAPES)
        assert str(error.value) == (
            "ours and cityscapes have no class in common: choose weights that know the classes of the data"
        )

    def test_predictions_of_a_folder_keep_their_ids(self, tmp_path: Path) -> None:
        ids = np.array([[0, 10], [255, 3]], np.uint8)
        write_class_ids(tmp_path, "frame_7", ids)
        assert [path.name for path in tmp_path.iterdir()] == ["frame_7.png"]
        assert np.array_equal(np.asarray(Image.open(tmp_path / "frame_7.png")), ids)


def test_official_scores_are_plain_json() -> None:
    counts = np.zeros((11, 12), np.int64)
    counts[0, :2] = 3, 1
    evaluation = Evaluation(CAMVID, (True,) * 10 + (False,), counts, {"mvc8": math.nan}, 1, 2.0, {"memory": 4})
    scores = json.loads(json.dumps(official_scores(evaluation), allow_nan=False))
    assert scores["classScores"]["sky"] == 0.75
    assert scores["classScores"]["building"] == 0
    assert scores["classScores"]["tree"] is None
    assert scores["averageScoreClasses"] == 0.375
    assert scores["categoryScores"]["sky"] == 0.75
    assert scores["temporal"] == {"mvc8": None}
    assert scores["settings"] == {"memory": 4}
    assert (scores["frames"], scores["seconds"], scores["unknownClasses"]) == (1, 2.0, ["bicyclist"])
