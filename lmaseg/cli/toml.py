"""Settings written as TOML, for `tomllib` to read back."""

import math
import re
from collections.abc import Mapping

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}

Value = bool | int | float | str | list["Value"]


def table(name: str, values: dict[str, Value], notes: Mapping[str, str] | None = None) -> str:
    """A table with its values, a line each, and behind some of them what is noted, as comments."""
    lines = {key: f"{_key(key)} = {written(value)}" for key, value in values.items()}
    remarks = {key: f"  # {note}" for key, note in (notes or {}).items()}
    return "\n".join([f"[{_key(name)}]", *(line + remarks.get(key, "") for key, line in lines.items())])


def written(value: Value) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return repr(value) if math.isfinite(value) else str(value)  # inf, -inf and nan are TOML's names, too


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    control = character < " " or character == "\x7f"
    return ESCAPES.get(character) or (f"\\u{ord(character):04x}" if control else character)
