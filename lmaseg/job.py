"""What a source becomes: the one description of a run, and what its outputs depend on."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from lmaseg._version import __version__
from lmaseg.settings import setting

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
"""The fields that decide nothing: the content of the weights and of the source counts, not their names."""

INPUT, NETWORK, PICTURE, OUTPUT = "Input", "Network", "Picture", "Output"  # panels of --help


@dataclass(frozen=True)
class Job:
    """A source, what it becomes and how; what is None is not wanted, or left to its default.

    `lmaseg.run` and `lmaseg.segment` take the fields as keywords, and the command line has an option for each.

    Raises:
        ValueError: an unknown view, palette, corner, kind of ids or pipe, or zones without an output that has them.
    """

    source: str = ""
    """A video, a folder or a glob pattern of images, an address, camera:0, or - for standard input."""

    video: Path | None = None
    """A video to draw into: .mp4, .mkv, .mov, .webm, .avi or .gif. It keeps the source's times and sound. Of one image:
    an image, such as .png."""
    maps: Path | None = setting(None, "A folder for the label map of each frame, as indexed PNG.", OUTPUT, "--labels")
    confidence: Path | None = setting(
        None, "A folder for the probability of each pixel's class, as 16-bit PNG.", OUTPUT
    )
    ids: Ids = setting("class", "Ids in label maps: of the weights' classes, or Cityscapes train or label ids.", OUTPUT)
    lines: Path | None = setting(
        None, "A line of JSON per frame, its time and class shares; - is standard output.", OUTPUT, "--json"
    )
    report: Path | None = setting(None, "A summary as JSON: figures, settings and class shares over time.", OUTPUT)
    plot: Path | None = setting(None, "A picture of the class shares over time.", OUTPUT, form="FILE.png")
    coco: Path | None = setting(None, "Each frame's classes as run-length COCO annotations.", OUTPUT, form="FILE.json")
    zones: Path | None = setting(
        None, "Named polygons; the lines and the report then have their class shares.", OUTPUT, form="FILE.json"
    )
    codec: str | None = setting(None, "Video codec: h264 hevc av1 vp9 ffv1; default: depends on the suffix.", OUTPUT)
    crf: float | None = setting(None, "Constant rate factor: lower is better and larger.", OUTPUT, least=0, most=63)
    pipe: Pipe | None = None
    """Label maps on standard output: bare bytes, or a lossless grey video."""
    sound: bool = True
    """Whether the source's audio and subtitles are copied into the video."""

    start: float | None = setting(None, "Start here: 90.5 or 0:01:30.5.", INPUT, "-ss", form="TIME")
    end: float | None = setting(None, "Stop before this time of the source.", INPUT, "-to", form="TIME")
    stride: int = setting(1, "Take every Nth frame; the frames keep their times.", INPUT, least=1)
    deinterlace: bool = setting(True, "Deinterlace frames that are marked as interlaced.", INPUT)
    strict: bool = setting(False, "End the run at the first damaged packet.", INPUT, "--strict")
    live: bool = setting(False, "Drop frames rather than fall behind the source.", INPUT, "--live")
    reset_at_cuts: bool = setting(True, "Empty the memory where the video cuts to another shot.", INPUT)

    weights: Path | None = setting(
        None,
        "A checkpoint, or a name lmaseg info lists; default: the net's, else the bundled.",
        NETWORK,
        form="FILE|NAME",
    )
    net: str | None = setting(
        None,
        "Another network: of the Hugging Face hub, of a folder (hf:DIR), or what a function of yours returns.",
        NETWORK,
        form="hf:NAME|MODULE:FUNCTION",
    )
    device: str = setting("auto", "auto, cpu, cuda, cuda:N or mps.", NETWORK)
    size: int | tuple[int, int] | None = setting(
        None, "Working size in pixels; default: the shorter side gets the trained height.", NETWORK, form="HEIGHT|HxW"
    )
    memory: int | None = setting(
        None, "Past frames to look back at; 0: none; default: the weights' own.", NETWORK, least=0
    )
    batch: int = setting(1, "Frames labelled at once; more make better use of a GPU.", NETWORK, least=1, most=256)
    dtype: Dtype = setting(
        "auto", "What the network computes in; auto: the fastest here. int8 needs lmaseg calibrate.", NETWORK
    )

    view: View = setting("overlay", "What the video shows.", PICTURE)
    palette: Palette = setting(
        "screen", "Colours: screen is brighter and has outlines, official as in label maps.", PICTURE
    )
    opacity: float = setting(0.5, "Opacity of the class colours, from 0 to 1.", PICTURE, least=0, most=1)
    classes: tuple[str, ...] | None = setting(None, "Draw only these classes.", PICTURE, form="NAME,...")
    legend: Corner | None = setting(
        None,
        "Name the classes in the picture, in this corner: top-left, top-right, bottom-left or bottom-right.",
        PICTURE,
        form="CORNER",
    )
    min_confidence: float = setting(
        0.0,
        "Pixels whose class is less probable than P stay unlabelled: not drawn, and 255 in label maps.",
        PICTURE,
        form="P",
        least=0,
        most=1,
    )
    compare: bool = False
    """Whether the video shows memory off and on side by side instead, with what flickers in white."""
    still: int = setting(
        8, "By how many of 255 levels a pixel may change and still count as unchanged.", PICTURE, least=0, most=255
    )

    def __post_init__(self) -> None:
        for name in (*OUTPUTS, "zones", "weights"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "source", str(self.source))
        if self.zones and not (self.lines or self.report):
            raise ValueError("zones appear in the lines of JSON and the report: ask for one of them")
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
        """Everything the outputs depend on but the source, ready for JSON. `weights`: the digest of what the network
        computes with."""
        settings = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in (*INDECISIVE, *OUTPUTS)
        }
        wanted = {name: getattr(self, name) is not None for name in OUTPUTS}
        return json_like({"lmaseg": __version__, **settings, **wanted, "weights": weights})

    def as_json(self) -> dict[str, Any]:
        """The fields, as JSON can hold them."""
        return json_like(asdict(self))


def digest(content: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of a content that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def json_like(content: Any) -> Any:
    """A content as JSON reads it back; paths become text."""
    return json.loads(json.dumps(content, default=str))
