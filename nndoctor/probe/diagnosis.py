"""Diagnosis: a cause that a probe found, and what to say about it."""

from __future__ import annotations

from dataclasses import dataclass

from nndoctor.findings import Confidence, Location


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause with what to say about it."""

    cause: str  # a few words, for machines
    message: str
    treatment: str
    confidence: Confidence = Confidence.LIKELY
    location: Location | None = None  # none: the model's
    source_line: str | None = None

    @property
    def is_certain(self) -> bool:
        """Whether the cause follows from what was measured, rather than from a fit that may only be slow."""
        return self.confidence is Confidence.CERTAIN
