"""What stops the dynamic pass: errors in what the user named, and the reason a probe does not apply."""

from __future__ import annotations

from nndoctor.errors import UserError
from nndoctor.findings import Location


class EntrypointError(UserError):
    """A `module:attribute` could not be turned into an object."""

    def __init__(self, message: str, location: Location | None = None) -> None:
        super().__init__(message)
        self.location = location


class SubjectError(UserError):
    """Model, data and loss were found and do not fit together."""


class NotApplicableError(Exception):
    """The probe has nothing to measure on this subject; the text says why and becomes its summary."""
