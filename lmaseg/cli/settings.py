"""The options of a command, from frozen dataclasses whose fields say what they are (`lmaseg.settings.setting`)."""

import inspect
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields
from functools import partial
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer

from lmaseg.cli.options import parameter, parse_names, parse_pair, parse_size, parse_time, parse_weights, refusing
from lmaseg.job import Job
from lmaseg.settings import setting

PARSERS = {
    "HEIGHT|HxW": parse_size,
    "HxW": parse_pair,
    "TIME": parse_time,
    "NAME,...": parse_names,
    "NAME=WEIGHT,...": parse_weights,
}
"""By the form of a value."""
LOOK = ("view", "palette", "opacity", "classes", "legend", "min_confidence")
READING = ("start", "end", "stride", "deinterlace", "strict")
COMPUTING = ("weights", "net", "device", "size", "memory", "batch", "dtype")

option = partial(setting, shown=True)


@dataclass(frozen=True)
class OptionGroup:
    """The options of a parameter of a command that takes a dataclass: one for each of its fields, or of those named."""

    kind: Any
    names: Sequence[str] = ()

    @property
    def fields(self) -> "list[Field[Any]]":
        """The fields that are options, in the order of the names."""
        known = {each.name: each for each in fields(self.kind)}
        return [known[name] for name in self.names or known]

    def parameters(self) -> list[inspect.Parameter]:
        """The options, as parameters that typer understands."""
        kinds = get_type_hints(self.kind)
        return [
            parameter(
                each.name,
                _option(each, kinds[each.name], hidden=not (self.names or each.metadata["shown"])),
                inspect.Parameter.empty if each.default is MISSING else each.default,
            )
            for each in self.fields
        ]

    def taken_from(self, given: dict[str, Any]) -> Any:
        """The dataclass, of values that are taken out of those given; what it refuses is a wrong command line."""
        with refusing():
            return self.kind(**{each.name: given.pop(each.name) for each in self.fields})


def job_options(*names: str) -> OptionGroup:
    """Annotates a parameter of a command that takes a `Job`: these fields of it become options."""
    return OptionGroup(Job, names)


def _option(each: "Field[Any]", kind: Any, *, hidden: bool) -> Any:
    said = each.metadata
    parser = PARSERS.get(said["form"])
    return Annotated[
        Any if parser else kind,
        typer.Option(
            *said["flag"].split(),
            parser=parser,
            metavar=said["form"],
            help=said["text"],
            rich_help_panel=said["panel"],
            hidden=hidden,
            show_default=each.default is not False and NoneType not in get_args(kind),
            min=said["least"],
            max=said["most"],
        ),
    ]
