"""The options of a command, from frozen dataclasses whose fields say what they are (`lmaseg.train.options.setting`)."""

import inspect
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer

from lmaseg.cli.options import parameter, parse_size


@dataclass(frozen=True)
class Settings:
    """The options of a parameter of a command that takes a dataclass: one for each of its fields."""

    kind: Any

    def parameters(self) -> list[inspect.Parameter]:
        """The options, as parameters that typer understands."""
        kinds = get_type_hints(self.kind)
        return [
            parameter(
                each.name,
                _option(each, kinds[each.name]),
                inspect.Parameter.empty if each.default is MISSING else each.default,
            )
            for each in fields(self.kind)
        ]

    def taken_from(self, given: dict[str, Any]) -> Any:
        """The dataclass, of values that are taken out of those given; what it refuses is a wrong command line."""
        try:
            return self.kind(**{each.name: given.pop(each.name) for each in fields(self.kind)})
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error


def _option(each: "Field[Any]", kind: Any) -> Any:
    said = each.metadata
    parser = {"HxW": _parse_pair, "NAME=WEIGHT,...": parse_weights}.get(said["form"])
    return Annotated[
        Any if parser else kind,
        typer.Option(
            *([said["flag"]] if said["flag"] else []),
            parser=parser,
            metavar=said["form"],
            help=said["text"],
            rich_help_panel=said["panel"],
            hidden=not said["shown"],
            show_default=each.default not in (None, False) and NoneType not in get_args(kind),
        ),
    ]


def _parse_pair(text: str) -> tuple[int, int]:
    size = parse_size(text)
    if isinstance(size, int):
        raise typer.BadParameter(f"{text!r} is one number: write HEIGHTxWIDTH such as 360x480")
    return size


def parse_weights(text: str) -> dict[str, float]:
    """ "camvid=3,folder=1" -> {"camvid": 3.0, "folder": 1.0}."""
    try:
        pairs = (part.split("=") for part in text.split(","))
        return {name.strip(): float(weight) for name, weight in pairs}
    except ValueError:
        raise typer.BadParameter(f"{text!r} gives no weights: write for example camvid=3,folder=1") from None
