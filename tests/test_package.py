"""The package's own form: layers, lazy names, a light start."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lmaseg

PACKAGE = Path(lmaseg.__file__).parent
GUIDE = Path(__file__).parents[1] / "assets" / "guides" / "contributing.md"

# From the ground up: a module imports from lower layers, from its own subpackage, and from the siblings named in MAY.
LAYERS = [
    {"_version", "errors", "labels", "paths", "lock", "settings", "job", "train_options"},
    {"kernels", "attention", "pictures", "video", "images", "maps", "render", "shares_plot", "metrics", "stages"},
    {"models", "datasets", "cuts", "zones", "decision", "sinks", "coco", "unfinished"},
    {"attachment", "hub", "checkpoint", "convert", "scores"},
    {"stream"},
    {"comparison", "pipeline", "outputs", "report", "segmentation"},
    {"environment", "calibration", "evaluate", "train", "bench", "export", "batch", "cluster"},
    {"cli"},
]
MAY = {
    "paths": {"errors"},
    "lock": {"errors", "paths"},
    "job": {"_version", "settings"},
    "train_options": {"settings"},
    "images": {"pictures", "video"},
    "maps": {"pictures"},
    "video": {"pictures"},
    "attention": {"kernels"},
    "models": {"attention"},
    "hub": {"attachment"},
    "checkpoint": {"attachment", "hub"},
    "convert": {"checkpoint"},
    "coco": {"sinks"},
    "sinks": {"zones"},
    "outputs": {"comparison"},
    "segmentation": {"comparison", "outputs", "pipeline", "report"},
    "bench": {"environment"},
    "cluster": {"batch"},
    "train": {"calibration"},
}
MAY_NOT = {"datasets": {"video", "images", "maps", "render", "metrics", "attention", "kernels", "stages"}}
EVERYWHERE = {"__init__", "__main__"}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def unit(path):
    """The module or subpackage of lmaseg a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_units(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("lmaseg."))


SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if unit(path) not in EVERYWHERE]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = unit(path)
    for other in set(imported_units(path)) - {own}:
        lower = LEVEL[other] < LEVEL[own] and other not in MAY_NOT.get(own, set())
        assert lower or other in MAY.get(own, set()), f"{own} must not import {other}"


def test_the_contributing_guide_shows_the_layers():
    rows = re.findall(r"^\| [^|]+ \| ((?:`\w+` ?)+)\|$", GUIDE.read_text(), re.MULTILINE)
    shown = [set(re.findall(r"\w+", row)) for row in rows]
    assert shown == [layer - {"_version"} for layer in reversed(LAYERS)]


def test_every_public_name_resolves():
    for name in lmaseg.__all__:
        assert getattr(lmaseg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lmaseg.nothing


def modules_after(code):
    listing = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(listing.stdout.split())


def test_help_does_not_wait_for_torch():
    loaded = modules_after("import lmaseg.cli")
    assert loaded.isdisjoint({"torch", "numpy", "av", "PIL"})


def test_the_first_frame_waits_neither_for_torch_compile_nor_for_av():
    code = "import lmaseg, numpy; lmaseg.Segmenter(lmaseg.load(), size=64)(numpy.zeros((64, 96, 3), numpy.uint8))"
    assert modules_after(f"import lmaseg.datasets.folder\n{code}").isdisjoint({"torch._dynamo", "sympy", "av", "rich"})
