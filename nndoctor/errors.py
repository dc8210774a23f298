"""UserError: what is wrong with the user's input, in one sentence that says what to do."""

from __future__ import annotations


class UserError(Exception):
    """The command cannot run as it was asked to; the command line prints the sentence and exits with 2."""
