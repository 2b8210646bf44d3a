"""The labelled data that a command line names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmaseg.cli.console import say

if TYPE_CHECKING:
    from lmaseg.datasets.clip import Clip
    from lmaseg.labels import LabelSet

MOST_LOOKED_AT = 8  # pairs of neighbours
STILLS = "The pictures of --folder are no frames of videos: none follows another."


def load_clips(
    paths: Mapping[str, Any], split: str, labels: "LabelSet", past: int, *, stills: bool = False
) -> "dict[str, list[Clip]]":
    """The clips of each data set that has a path, by its name; DatasetError for files that are missing or do not fit.

    Args:
        paths: the folders of "camvid" and "cityscapes", and for "folder" those of the images and of the label maps.
        split: train, val or test, of CamVid and Cityscapes.
        labels: what the label maps of "folder" mean.
        past: how many frames before each label are needed of Cityscapes.
        stills: whether the pictures of "folder" are no frames of videos.
    """
    from lmaseg.datasets.camvid import camvid_clips
    from lmaseg.datasets.cityscapes import cityscapes_clips
    from lmaseg.datasets.folder import folder_clips

    clips: dict[str, list[Clip]] = {}
    if paths.get("camvid"):
        clips["camvid"] = camvid_clips(paths["camvid"], split)
    if paths.get("cityscapes"):
        clips["cityscapes"] = cityscapes_clips(paths["cityscapes"], split, past=past)
    if paths.get("folder"):
        images, label_maps = paths["folder"]
        clips["folder"] = folder_clips(images, label_maps, labels, stills=stills)
    return clips


def hint_at_stills(clips: "list[Clip]") -> None:
    """Say so if most neighbours in these clips of --folder show different scenes."""
    if look_like_stills(clips):
        say("most neighbouring pictures show different scenes: if they are no frames of a video, add --stills")


def look_like_stills(clips: "list[Clip]") -> bool:
    """Whether most neighbours in these clips show different scenes, judged by a few of them."""
    from lmaseg.cuts import CutDetector

    neighbours = [(clip, index) for clip in clips for index in range(1, len(clip))]
    looked_at = neighbours[:: max(1, -(-len(neighbours) // MOST_LOOKED_AT))]
    cuts = 0
    for clip, index in looked_at:
        is_cut = CutDetector()
        is_cut(clip.image(index - 1))
        cuts += is_cut(clip.image(index))
    return 2 * cuts > len(looked_at)
