"""Settings that say what they are: a field of a frozen dataclass, its meaning, and how the command line shows it."""

from dataclasses import field
from typing import Any


def setting(
    default: Any,
    text: str,
    panel: str,
    flag: str = "",
    *,
    shown: bool = False,
    form: str | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """A field of settings with its meaning.

    Args:
        text: what it is, in a sentence or two.
        panel: under which heading `--help` lists it.
        flag: its options where they are not its name, such as "--lr" or "--output -o".
        shown: whether `--help` does where all fields are options; the others are for files of settings.
        form: how a value is written, such as "HxW".
        least, most: the bounds of a number.
    """
    told = {"text": text, "panel": panel, "shown": shown, "flag": flag, "form": form, "least": least, "most": most}
    return field(default=default, metadata=told)
