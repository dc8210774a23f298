"""The command line: parse, call, print; every way out has an exit status, and none is a traceback."""

from __future__ import annotations

import gc
import io
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from nndoctor import __version__
from nndoctor.cli.catalogue import explain, rules
from nndoctor.cli.compare import compare
from nndoctor.cli.env import env
from nndoctor.cli.probe import probe
from nndoctor.cli.scan import scan
from nndoctor.cli.settings import config
from nndoctor.cli.skill import skill
from nndoctor.errors import UserError

COULD_NOT_RUN = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

app = typer.Typer(
    name="nndoctor",
    help="A doctor for PyTorch training scripts: finds the bugs that train without an error and end in a worse model.",
    # Plain help and usage errors: rich costs start-up time, and its boxes break in a log of 80 columns.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (scan, probe, compare, explain, rules, config, env, skill):
    app.command()(command)


def main() -> NoReturn:
    """The console script."""
    gc.disable()  # a short life: the collector would only walk, again and again, what is needed to the end
    _prepare_streams()
    try:
        app(prog_name="nndoctor")
    except UserError as error:
        _complain(str(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        _complain(f"the system refused: {error}")
    except Exception as error:
        _complain(
            f"the doctor itself failed with {type(error).__name__}: {error}; "
            "please report this with what NNDOCTOR_DEBUG=1 shows"
        )
    sys.exit()


def _prepare_streams() -> None:
    if sys.stdout is None:  # closed by who started us
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - lives as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A Latin-1 terminal gets a question mark for a curve, not an exception.
        sys.stdout.reconfigure(errors="replace")


def _complain(sentence: str) -> NoReturn:
    from nndoctor.report.text import printable

    if os.environ.get("NNDOCTOR_DEBUG"):
        import traceback

        traceback.print_exc()
    print(f"nndoctor: error: {printable(' '.join(sentence.split()))}", file=sys.stderr)
    sys.exit(COULD_NOT_RUN)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nndoctor {__version__}")
        raise typer.Exit


@app.callback()
def _before(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
