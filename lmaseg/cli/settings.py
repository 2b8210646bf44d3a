"""The options of a command, from frozen dataclasses whose fields say what they are (`lmaseg.train.options.setting`)."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer

from lmaseg.cli.options import parse_size

Command = Callable[..., Any]


def with_settings(command: Command) -> Command:
    """A command with an option for every field of the dataclasses among its parameters, which it is given whole.

    What a dataclass does not take is a wrong command line.
    """
    signature = inspect.signature(command, eval_str=True)
    kinds: dict[str, Any] = {
        name: each.annotation for name, each in signature.parameters.items() if is_dataclass(each.annotation)
    }

    @wraps(command)
    def run(**given: Any) -> Any:
        for name, kind in kinds.items():
            values = {each.name: given.pop(each.name) for each in fields(kind)}
            try:
                given[name] = kind(**values)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from error
        return command(**given)

    run.__signature__ = signature.replace(parameters=list(_flat(signature)))  # type: ignore[attr-defined]
    return run


def _flat(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    for parameter in signature.parameters.values():
        if not is_dataclass(parameter.annotation):
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        kinds = get_type_hints(parameter.annotation)
        for each in fields(parameter.annotation):
            yield inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if each.default is MISSING else each.default,
                annotation=_option(each, kinds[each.name]),
            )


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
