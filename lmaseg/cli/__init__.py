"""The command line: one file per command, and the boundary where errors become one line and an exit code."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from lmaseg._version import __version__
from lmaseg.cli import batch, bench, convert, eval, export, info, run, street, train
from lmaseg.cli.console import say
from lmaseg.cli.interrupt import INTERRUPTED
from lmaseg.errors import LmasegError

DONE, FAILED, WRONG_COMMAND = 0, 1, 2

app = typer.Typer(
    help="Label every pixel of every frame of a video.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)
app.command("run")(run.run)
app.command("batch")(batch.batch)
app.command("eval")(eval.evaluate)
app.command("bench")(bench.bench)
app.command("convert")(convert.convert)
app.command("export")(export.export)
app.command("info")(info.info)
app.command("train")(train.train)
app.command("street")(street.street)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"lmaseg {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and leave with its exit code: 0 done, 1 failed, 2 wrong command line, 130 interrupted."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        code = app(args=arguments, prog_name="lmaseg", standalone_mode=False)
    except LmasegError as error:
        return _report(str(error), FAILED)
    except typer.TyperException as error:
        return _report(error.format_message(), WRONG_COMMAND)
    except (KeyboardInterrupt, typer.Abort):
        return _report("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else DONE


def _report(message: str, code: int) -> int:
    say(message, prefix="[bold red]error:[/] " if code != INTERRUPTED else "")
    return code
