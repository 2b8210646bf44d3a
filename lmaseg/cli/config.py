"""The options of a command as keys of a TOML file."""

import inspect
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import typer
from typer.models import OptionInfo

from lmaseg._version import __version__
from lmaseg.paths import read_text

UNSET = "\ue000"  # of private use: stands in for what a command needs while its settings are printed

Command = Callable[..., Any]


class Key:
    """An option or argument of a command, as a file names it: its long name without the dashes before it."""

    def __init__(self, parameter: inspect.Parameter) -> None:
        kind, info = get_args(parameter.annotation)
        self.parameter = parameter.name
        self.required = parameter.default is parameter.empty
        if get_origin(kind) in (UnionType, Union):
            kind = next(part for part in get_args(kind) if part is not NoneType)
        self._flag, self._many = kind is bool, get_origin(kind) in (list, tuple)
        self.name = _long_name(parameter.name, info)
        self.note = (info.help or "") if getattr(info, "hidden", False) else ""

    def given(self, value: Any, file: Path) -> Any:
        """A value of the file as the command line would give it, in words. Raises BadParameter: what no words can be
        made of, or a list where one value is taken."""
        values = value if isinstance(value, list) else [value]
        right = all(isinstance(each, str | int | float) and isinstance(each, bool) == self._flag for each in values)
        if not right or (value is values and not self._many):
            wanted = "true or false" if self._flag else "text or numbers" if self._many else "text or a number"
            raise typer.BadParameter(f"in {file}, {self.name} takes {wanted}, not {value}")
        return [*map(str, values)] if self._many else str(value)

    @property
    def placeholder(self) -> Any:
        """A placeholder for a required value that was not given."""
        return [UNSET] if self._many else UNSET


def keys_of(command: Command, leave_out: set[str]) -> dict[str, Key]:
    """The keys of a command, by name, from the signature that its command line is made of."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    keys = [Key(parameter) for parameter in parameters if parameter.name not in leave_out]
    return {key.name: key for key in keys}


def read_config(file: Path, command: str, keys: Mapping[str, Key], commands: list[str]) -> dict[str, Any]:
    """The values that a file has for a command, by parameter.

    Keys outside of tables are for any command, those in the table named after the command win over them; the tables of
    other commands are left alone.

    Raises:
        BadParameter: a file that cannot be read, a key the command does not have, or a value of another type.
    """
    content = _parsed(file)
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    for name in tables.keys() - set(commands):
        raise typer.BadParameter(f"{file} has a table [{name}], which is no command{_nearest(name, commands)}")
    found = {}
    for name, value in ({n: v for n, v in content.items() if n not in tables} | tables.get(command, {})).items():
        key = keys.get(name.replace("_", "-"))
        if key is None:
            raise typer.BadParameter(f"in {file}, {name} is no option of lmaseg {command}{_nearest(name, keys)}")
        found[key.parameter] = key.given(value, file)
    return found


def written_config(command: str, keys: Mapping[str, Key], values: Mapping[str, Any]) -> str:
    """Settings as a file that gives them again; comments name those without a value and say what --help does not."""
    known = {name: _plain(values[key.parameter]) for name, key in keys.items()}
    unset = [name for name, value in known.items() if value in (None, UNSET, [UNSET])]
    notes = {name: key.note for name, key in keys.items() if key.note}
    lines = [f"# lmaseg {__version__}", f"[{command}]"]
    for name in (name for name in known if name not in unset):
        lines.append(f"{name} = {toml(known[name])}" + (f"  # {notes[name]}" if name in notes else ""))
    lines += [f"# {name}: {notes[name]}" for name in unset if name in notes]
    others = [name for name in unset if name not in notes]
    return "\n".join([*lines, *([f"# not set: {', '.join(others)}"] if others else [])])


def toml(value: Any) -> str:
    """A value as TOML writes it: as JSON does, but for numbers that JSON lacks and one character."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file))
    except FileNotFoundError:
        raise typer.BadParameter(f"{file} does not exist: check its name") from None
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read ({error.strerror}): give a TOML file") from error
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not TOML ({error}): write lines such as memory = 4") from error


def _long_name(parameter: str, info: Any) -> str:
    """ "reset-at-cuts" of --reset-at-cuts/--no-reset-at-cuts, "ss" of -ss, "source" of an argument SOURCE...."""
    if not isinstance(info, OptionInfo):
        return (info.metavar or parameter).strip("[].").lower()
    # typer keeps the first of the names given to an option in Annotated as its "default".
    declared = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    names = [name.split("/")[0] for name in declared] or [f"--{parameter.replace('_', '-')}"]
    return max(names, key=len).lstrip("-")


def _nearest(name: str, known: Any) -> str:
    close = get_close_matches(name.replace("_", "-"), list(known), n=1, cutoff=0.0)
    return f": did you mean {close[0]}?" if close else ""


def _plain(value: Any) -> Any:
    """A parameter's value as TOML can hold it, and as its parser reads it."""
    if isinstance(value, Enum | Path):
        return str(value)
    if isinstance(value, dict):  # NAME=WEIGHT,...
        return ",".join(f"{name}={weight:g}" for name, weight in value.items())
    if isinstance(value, tuple) and all(isinstance(side, int) for side in value):  # HxW
        return "x".join(map(str, value))
    if isinstance(value, tuple) and all(isinstance(name, str) for name in value):  # NAME,...
        return ",".join(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
