"""The console script, and `python -m nndoctor`."""

from __future__ import annotations

import os
import sys

# `python -m` puts the working directory first, where a json.py of the user's would take the place of Python's own.
HOME = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib is one of the imports that must wait
if __name__ == "__main__" and sys.path[0] != HOME and (sys.path[0] == "" or sys.path[0] == os.getcwd()):  # noqa: PTH109
    del sys.path[0]

from contextlib import suppress  # noqa: E402
from typing import NoReturn  # noqa: E402

from nndoctor.cli import main  # noqa: E402


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
