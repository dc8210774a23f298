"""The console script, and `python -m nndoctor`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from nndoctor.cli import main


def run() -> NoReturn:
    """Run the command line and end at once: Python would take apart, one by one, objects that all go anyway."""
    try:
        main()
    except SystemExit as ending:
        if not isinstance(ending.code, int | None):
            raise
        with suppress(OSError):  # nobody reads any more
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(ending.code or 0)


if __name__ == "__main__":
    run()
