"""The sources of a batch, and what their outputs are called."""

import csv
import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lmaseg.errors import BatchError
from lmaseg.images import gathered, name_of
from lmaseg.paths import is_clutter, read_text
from lmaseg.pictures import SUFFIXES

# what the first column of a CSV may be called, in lower case
COLUMNS = ("source", "path", "video", "file", "filename", "input")


def find_sources(arguments: Sequence[str], listing: Path | None = None) -> dict[str, str]:
    """The sources that arguments and a list name, in that order, each once: absolute paths by their outputs' names.

    Args:
        arguments: videos, patterns of videos, folders or patterns of images.
        listing: a text file with one of these a line (`#` begins a remark), or a .csv whose first column holds them
            and whose column `name`, if there is one, says what their outputs are called. Paths may be quoted, `;` and
            tabs may stand between columns, and the text may be UTF-8 or UTF-16.

    Raises:
        BatchError: no source at all, a list that cannot be read, or two sources of one name.
        VideoError: several images that no pattern means.
    """
    named = [(path, "") for argument in gathered(arguments) for path in _expanded(argument)]
    if listing is not None:
        named += [(path, name) for text, name in _listed(listing) for path in _expanded(text)]
    names: dict[str, str] = {}
    for path, name in named:
        names.setdefault(absolute(path), name or name_of(path))
    if not names:
        raise BatchError("no source is named: give videos, a pattern such as 'videos/*.mp4', or --list FILE")
    paths: dict[str, str] = {}
    for path, name in names.items():
        if not name or name.startswith(".") or Path(name).name != name:
            raise BatchError(f"{name!r} cannot name the outputs of {path}: give a name without / or dot")
        if name in paths:
            remedy = "give them names of their own in a CSV with the columns source,name (--list)"
            raise BatchError(f"{paths[name]} and {path} are both called {name}: {remedy}")
        paths[name] = path
    return paths


def absolute(path: str | os.PathLike[str]) -> str:
    """A path that means the same in every working folder."""
    return os.path.abspath(os.path.expanduser(path))


def _expanded(argument: str) -> list[str]:
    """The sources a pattern means: the videos that match, or the images that do as one source."""
    if os.path.exists(argument) or not glob.has_magic(argument):
        return [argument]
    matches = sorted(glob.glob(os.path.expanduser(argument), recursive=True))
    matches = [match for match in matches if not is_clutter(Path(match))]
    images = [match for match in matches if match.lower().endswith(SUFFIXES)]
    if matches and len(images) == len(matches):
        return [argument]
    others = [match for match in matches if match not in set(images)]
    if not others:
        raise BatchError(f"{argument} matches nothing: check the pattern")
    return others


def _listed(listing: Path) -> list[tuple[str, str]]:
    """(source, name or "") for each line."""
    try:
        text = read_text(listing)
    except FileNotFoundError:
        raise BatchError(f"the list {listing} does not exist: check its name") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BatchError(f"the list {listing} cannot be read ({error}): give a text file or a CSV") from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if listing.suffix.lower() not in (".csv", ".tsv"):
        return [(_bare(line), "") for line in lines]
    mark = next((mark for mark in ";\t" if mark in (lines or [""])[0]), ",")
    read = csv.reader(lines, delimiter=mark, skipinitialspace=True)
    rows = [[_bare(cell) for cell in row] for row in read if row and row[0].strip()]
    has_titles = bool(rows) and rows[0][0].lower() in COLUMNS
    titles = [cell.lower() for cell in rows[0]] if has_titles else []
    column = titles.index("name") if "name" in titles else None
    return [(row[0], row[column] if column is not None and column < len(row) else "") for row in rows[has_titles:]]


def _bare(text: str) -> str:
    """A line or a cell without the quotes around it or a remark behind it, unless they are part of a file's name."""
    text = text.strip()
    if os.path.exists(text):
        return text
    quoted = re.match(r"""(["'])(.+?)\1\s*(#.*)?$""", text)
    return quoted[2] if quoted else re.split(r"\s+#", text)[0]
