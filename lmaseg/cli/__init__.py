"""The command line: one file per command, and the boundary where errors become one line and an exit code."""

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from lmaseg._version import __version__
from lmaseg.cli import batch, bench, calibrate, compare, convert, eval, export, info, run, train
from lmaseg.cli.allocation import keep_freed_memory
from lmaseg.cli.common import epilog, with_common_options
from lmaseg.cli.config import Command
from lmaseg.cli.console import complain, complain_unexpected, console, say, warn
from lmaseg.cli.interrupt import INTERRUPTED
from lmaseg.cli.plain_help import PlainCommand, PlainGroup
from lmaseg.errors import LmasegError

DONE, FAILED, WRONG_COMMAND = 0, 1, 2

app = typer.Typer(
    cls=PlainGroup,
    help="Label every pixel of every frame of a video.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    epilog="lmaseg COMMAND --help has the options and examples of each.",
)
VIDEOS, SCORES, NETWORKS = "Videos", "Scores and times", "Networks"  # panels of --help
COMMANDS: dict[str, tuple[str, Command, str]] = {
    "run": (VIDEOS, run.run, run.EXAMPLES),
    "batch": (VIDEOS, batch.batch, batch.EXAMPLES),
    "compare": (VIDEOS, compare.compare, compare.EXAMPLES),
    "eval": (SCORES, eval.evaluate, eval.EXAMPLES),
    "bench": (SCORES, bench.bench, bench.EXAMPLES),
    "train": (NETWORKS, train.train, train.EXAMPLES),
    "convert": (NETWORKS, convert.convert, convert.EXAMPLES),
    "calibrate": (NETWORKS, calibrate.calibrate, calibrate.EXAMPLES),
    "export": (NETWORKS, export.export, export.EXAMPLES),
    "info": (NETWORKS, info.info, info.EXAMPLES),
}
for _name, (_panel, _command, _examples) in COMMANDS.items():
    app.command(_name, cls=PlainCommand, rich_help_panel=_panel, epilog=epilog(_name, _examples))(
        with_common_options(_command, _name, list(COMMANDS))
    )


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
    keep_freed_memory()
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    console.verbose = console.quiet = False
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Image size .* exceeds limit")  # ours is checked, and says so in a sentence
        warnings.showwarning = lambda message, *_: warn(str(message))
        try:
            code = app(args=arguments, prog_name="lmaseg", standalone_mode=False)
        except LmasegError as error:
            complain(str(error))
            return FAILED
        except typer.TyperException as error:
            complain(error.format_message().replace("Value error, ", "", 1))  # pydantic's, by which typer checks
            return WRONG_COMMAND
        except (KeyboardInterrupt, typer.Abort):
            say("interrupted")
            return INTERRUPTED
        except OSError as error:
            if error.filename is None:
                complain_unexpected(error)
            else:
                complain(f"{error.filename}: {error.strerror}: see that it is there, and that you may use it")
            return FAILED
        except Exception as error:
            complain_unexpected(error)
            return FAILED
    return code if isinstance(code, int) else DONE
