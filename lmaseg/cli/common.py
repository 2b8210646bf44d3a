"""What every command has: settings from a file, and how much it says."""

import inspect
from copy import copy
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from lmaseg.cli.config import Command, keys_of, read_config, written_config
from lmaseg.cli.console import console
from lmaseg.cli.job_options import JobOptions

SHORT_TYPES = {bool: "", int: "N", float: "N", Path: "PATH", str: "TEXT"}
CONFIG = "config", "print_config"  # parameters that are no settings themselves


def epilog(name: str, examples: str) -> str:
    """What stands below a command's options: its examples, a line each, indented as Markdown wants code."""
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
        makers = {name: options.taken_from(given) for name, options in groups.items()}
        return command(**given, **makers)

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
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[_with_short_type(parameter) for parameter in parameters]
    )
    keys = keys_of(run, leave_out=set(CONFIG))
    return run


def _group(parameter: inspect.Parameter) -> JobOptions | None:
    """The options that one parameter of a command stands for."""
    _, *metadata = get_args(parameter.annotation)
    return next((each for each in metadata if isinstance(each, JobOptions)), None)


def _with_short_type(parameter: inspect.Parameter) -> inspect.Parameter:
    """The same parameter with the words for its type that leave --help most room: none for a flag."""
    kind, info = get_args(parameter.annotation)
    name = next((SHORT_TYPES[part] for part in get_args(kind) or (kind,) if part in SHORT_TYPES), None)
    if name is None or info.metavar is not None:
        return parameter
    info = copy(info)  # others may use the option, too
    info.metavar = name
    return parameter.replace(annotation=Annotated[kind, info])


def _common_parameters(fill_in: Command, need_nothing: Command) -> list[inspect.Parameter]:
    options: dict[str, tuple[Any, Any]] = {
        "config": (
            Annotated[
                Path | None,
                typer.Option(
                    metavar="FILE.toml",
                    is_eager=True,
                    callback=fill_in,
                    help="Read options from this file; those on the command line override it.",
                ),
            ],
            None,
        ),
        "print_config": (
            Annotated[
                bool,
                typer.Option(
                    "--print-config",
                    is_eager=True,
                    callback=need_nothing,
                    help="Print the settings as a file for --config, and exit.",
                ),
            ],
            False,
        ),
        "verbose": (
            Annotated[bool, typer.Option("--verbose", "-v", help="Print more: device, kernels, times.")],
            False,
        ),
        "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")], False),
    }
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
