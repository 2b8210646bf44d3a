"""The README and the guides: their text, and the commands and Python examples in it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "assets" / "guides").glob("*.md"))]


def named(page):
    """A page's path in the repository, for the names of tests."""
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """The code blocks of a page that are in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def shell_lines(page):
    """The lines of all sh blocks of a page, without comments."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [stripped for line in lines if (stripped := re.sub(r"(^|\s)#.*", "", line).strip())]


def python_block(text):
    """The only Python block of all pages in which this text occurs."""
    (block,) = [block for page in PAGES for block in blocks(page, "python") if text in block]
    return block


def anchors(page):
    """What links to the headings of a page end with, as GitHub makes it of them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page):
    """The targets of a page's links."""
    return re.findall(r"\]\(([^)]+)\)", page.read_text())
