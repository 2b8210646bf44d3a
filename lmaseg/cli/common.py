"""The options of every command: settings from a file, verbose and quiet."""

import inspect
from dataclasses import is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from lmaseg.cli.config import Command, keys_of, read_config, written_config
from lmaseg.cli.console import console
from lmaseg.cli.options import parameter
from lmaseg.cli.settings import OptionGroup

CONFIG = "config", "print_config"  # parameters that are no settings themselves


def epilog(name: str, examples: str) -> str:
    """The text below a command's options: its examples, a line each, indented as code in Markdown."""
    lines = [f"    {line}" for line in examples.strip().splitlines()]
    return "\n".join(
        ["Examples:", "", *lines, "", f"Options can also be read from a file: lmaseg {name} --config FILE.toml."]
    )


def with_common_options(command: Command, name: str, commands: list[str]) -> Command:
    """A command that also takes --config, --print-config, --verbose and --quiet; `commands` names all there are."""

    def fill_in(context: typer.Context, file: Path | None) -> Path | None:
        if file and not context.resilient_parsing:
            context.default_map = {**(context.default_map or {}), **read_config(file, name, keys, commands)}
        return file

    def need_nothing(context: typer.Context, wanted: bool) -> bool:
        if wanted:
            placeholders = {key.parameter: key.placeholder for key in keys.values() if key.required}
            context.default_map = {**placeholders, **(context.default_map or {})}
        return wanted

    @wraps(command)
    def run(*, config: Path | None, print_config: bool, verbose: bool, quiet: bool, **given: Any) -> Any:
        if verbose and quiet:
            raise typer.BadParameter("--verbose and --quiet exclude each other: give one of them")
        console.verbose, console.quiet = verbose, quiet
        if print_config:
            print(written_config(name, keys, {**given, "verbose": verbose, "quiet": quiet}))
            return None
        return command(**{name: group.taken_from(given) for name, group in groups.items()}, **given)

    signature = inspect.signature(command, eval_str=True)
    groups = {name: group for name, parameter in signature.parameters.items() if (group := _group(parameter))}
    own = [
        option
        for parameter in signature.parameters.values()
        for option in (groups[parameter.name].parameters() if parameter.name in groups else [parameter])
    ]
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in [*own, *_common_parameters(fill_in, need_nothing)]
    ]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    keys = keys_of(run, leave_out=set(CONFIG))
    return run


def _group(parameter: inspect.Parameter) -> OptionGroup | None:
    """The options that one parameter of a command stands for."""
    if is_dataclass(parameter.annotation):
        return OptionGroup(parameter.annotation)
    _, *metadata = get_args(parameter.annotation)
    return next((each for each in metadata if isinstance(each, OptionGroup)), None)


def _common_parameters(fill_in: Command, need_nothing: Command) -> list[inspect.Parameter]:
    config = typer.Option(
        metavar="FILE.toml",
        is_eager=True,
        callback=fill_in,
        help="Read options from this file; those on the command line override it.",
    )
    print_config = typer.Option(
        "--print-config",
        is_eager=True,
        callback=need_nothing,
        help="Print the settings as a file for --config, and exit.",
    )
    verbose = typer.Option("--verbose", "-v", help="Print more: device, kernels, times.")
    quiet = typer.Option("--quiet", "-q", help="Print nothing but errors.")
    flags = {"print_config": print_config, "verbose": verbose, "quiet": quiet}
    return [
        parameter("config", Annotated[Path | None, config], None),
        *(parameter(name, Annotated[bool, flag], False) for name, flag in flags.items()),
    ]
