"""What a source becomes: the one description of a run, and its fingerprint."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from lmaseg._version import __version__

View = Literal["overlay", "mask", "side-by-side", "contour"]
Palette = Literal["screen", "official"]
Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
Ids = Literal["class", "train", "label"]
Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Pipe = Literal["gray", "mkv"]

PIPE = Path("-")
"""Standard output."""
OUTPUTS = ("video", "maps", "confidence", "lines", "report", "plot", "coco")
"""The fields of a `Job` that name a file or a folder to write."""
CHOICES = {
    "view": get_args(View),
    "palette": get_args(Palette),
    "legend": (None, *get_args(Corner)),
    "ids": get_args(Ids),
    "dtype": get_args(Dtype),
    "pipe": (None, *get_args(Pipe)),
}
INDECISIVE = ("source", "device", "weights")
"""The fields left out of the fingerprint: the content of the weights and of the source counts, not their names."""


@dataclass(frozen=True)
class Job:
    """A source, what it becomes and how; what is None is not wanted, or left to its default.

    `lmaseg.run` and `lmaseg.segment` take the fields as keywords, and the command line has an option for each.

    Raises:
        ValueError: an unknown view, palette, corner, kind of ids or pipe, or zones without an output that has them.
    """

    source: str
    """A video, a folder or a glob pattern of images, an address, camera:0, or - for standard input."""

    video: Path | None = None
    """A video to draw into: .mp4, .mkv, .mov, .webm, .avi or .gif. It keeps the source's times and sound. Of one image:
    an image, such as .png."""
    maps: Path | None = None
    """A folder for an indexed PNG label map of each frame."""
    confidence: Path | None = None
    """A folder for a 16-bit PNG of each frame: how probable the classes are."""
    lines: Path | None = None
    """A file for a line of JSON per frame, its time and class shares; - is standard output."""
    report: Path | None = None
    """A JSON file for figures, settings and class shares over time."""
    plot: Path | None = None
    """A PNG file for a drawing of the class shares over time."""
    coco: Path | None = None
    """A JSON file for annotations in COCO's form: run lengths of each class of each frame."""
    zones: Path | None = None
    """A JSON file of named polygons; the lines and the report then have the class shares inside each of them."""
    pipe: Pipe | None = None
    """Label maps on standard output: bare bytes, or a lossless grey video."""

    start: float | None = None
    """Seconds after the source's start."""
    end: float | None = None
    """Seconds after the source's start; the frame there is left out."""
    stride: int = 1
    """Every Nth frame is taken."""
    deinterlace: bool = True
    """Whether frames marked as interlaced are filtered."""
    strict: bool = False
    """Whether the first damaged packet ends the run."""
    live: bool = False
    """Whether frames are dropped rather than lagging behind the source."""
    reset_at_cuts: bool = True
    """Whether the past is forgotten where the video cuts to another shot."""

    weights: Path | None = None
    """A checkpoint; None is the bundled one."""
    net: str | None = None
    """Another network, as in `lmaseg.load`: "hf:NAME", or the function that builds it, "package.module:function"."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    size: int | tuple[int, int] | None = None
    """The network's working height, or (height, width), in pixels; None: as the weights were trained."""
    memory: int | None = None
    """Past frames to attend to; None: as the weights want."""
    batch: int = 1
    """Frames labelled at once."""
    dtype: Dtype = "auto"
    """What the network computes in; auto: the fastest here of those that the weights are made for."""

    view: View = "overlay"
    """What the video shows."""
    opacity: float = 0.5
    """Opacity of the class colours over the picture, from 0 to 1."""
    classes: tuple[str, ...] | None = None
    """Names of the classes to draw; None draws all."""
    palette: Palette = "screen"
    """Colours of the video: brighter and with outlines, or the label set's own, as in label maps."""
    legend: Corner | None = None
    """The corner in which the classes that are there are named."""
    min_confidence: float = 0.0
    """The probability below which a pixel is left unlabelled: not drawn, and 255 in label maps."""
    compare: bool = False
    """Whether the video shows memory off and on side by side instead, with what flickers in white."""
    still: int = 8
    """Levels of 255 by which a pixel may change and still count as still, when memory off and on are compared."""

    ids: Ids = "class"
    """Ids in label maps: the weights' classes, or Cityscapes train or label ids."""
    codec: str | None = None
    """h264, hevc, av1, vp9 or ffv1; None: as the video's suffix wants."""
    crf: float | None = None
    """Constant rate factor: lower is better and larger; None takes the encoder's default."""
    sound: bool = True
    """Whether the source's audio and subtitles are copied into the video."""

    def __post_init__(self) -> None:
        for name in (*OUTPUTS, "zones", "weights"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "source", str(self.source))
        if self.zones and not (self.lines or self.report):
            raise ValueError(
                "the class shares of zones appear in the lines of JSON and the report: ask for one of them"
            )
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                choices = ", ".join(map(str, known))
                raise ValueError(f"there is no {name} {getattr(self, name)!r}: choose one of {choices}")

    @property
    def outputs(self) -> list[Path]:
        """The files and folders to write."""
        paths = (getattr(self, name) for name in OUTPUTS)
        return [path for path in paths if path is not None and path != PIPE]

    @property
    def folders(self) -> list[Path]:
        """Those of them that are folders."""
        return [path for path in (self.maps, self.confidence) if path is not None]

    def decisive(self, weights: str) -> dict[str, Any]:
        """Everything the content of the outputs depends on, ready for JSON.

        Args:
            weights: the digest of what the network computes with.
        """
        settings = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in (*INDECISIVE, *OUTPUTS)
        }
        wanted = {name: getattr(self, name) is not None for name in OUTPUTS}
        return json_like({"lmaseg": __version__, **settings, **wanted, "weights": weights})

    def fingerprint(self, weights: str) -> str:
        """A short digest of `decisive`: the same fingerprint and the same source give the same outputs."""
        return digest(self.decisive(weights))

    def as_json(self) -> dict[str, Any]:
        """The fields, as JSON can hold them."""
        return json_like(asdict(self))


def class_ids(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """The ids of classes, given the names of all.

    Raises:
        ValueError: an unknown name, or none.
    """
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"the weights know no class {', '.join(unknown) or 'without a name'}: choose of {', '.join(known)}"
        )
    return [list(known).index(name) for name in names]


def digest(content: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of a content that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def json_like(content: Any) -> Any:
    """A content as JSON reads it back; paths become text."""
    return json.loads(json.dumps(content, default=str))
