"""What got better and what got worse between two check-ups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nndoctor.errors import UserError
from nndoctor.findings import Figure
from nndoctor.history.checkups import Checkup, Found, Measured
from nndoctor.history.directions import verdict

MEASURED = ("ok", "finding")  # the states of a probe that came to its end


@dataclass(frozen=True, slots=True)
class Move:
    """A measurement that is another one now."""

    code: str
    name: str  # of the probe
    measurement: str
    before: Figure
    after: Figure
    verdict: str  # "better", "worse", or "moved" where nobody can say


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two check-ups side by side."""

    before: Checkup
    after: Checkup
    new: tuple[Found, ...]
    gone: tuple[Found, ...]
    unexamined: tuple[Found, ...]  # findings of what could be examined before and could not be now
    unchanged: tuple[Found, ...]
    moves: tuple[Move, ...]
    failed: tuple[Found, ...]  # what could not be examined now, and could be before
    examined: tuple[Found, ...]  # the other way round
    notes: tuple[str, ...]

    @property
    def worse(self) -> int:
        """How many things got worse."""
        return len(self.new) + len(self.failed) + sum(move.verdict == "worse" for move in self.moves)

    @property
    def better(self) -> int:
        """How many things got better."""
        return len(self.gone) + len(self.examined) + sum(move.verdict == "better" for move in self.moves)


def compare(before: Checkup, after: Checkup) -> Comparison:
    """The later check-up against the earlier one; raises UserError where they have nothing in common."""
    if before.command != after.command:
        raise UserError(
            f"{before.source} is a `nndoctor {before.command}` and {after.source} a `nndoctor {after.command}`: "
            "compare two of a kind"
        )
    missing = _without(before.findings, after.findings)
    return Comparison(
        before,
        after,
        new=_without(after.findings, before.findings),
        gone=tuple(found for found in missing if _was_examined(found, after)),
        unexamined=tuple(found for found in missing if not _was_examined(found, after)),
        unchanged=tuple(found for found in after.findings if found not in _without(after.findings, before.findings)),
        moves=tuple(_moves(before, after)),
        failed=_without(after.failures, before.failures),
        examined=_without(before.failures, after.failures),
        notes=tuple(_notes(before, after)),
    )


def _without(these: tuple[Found, ...], those: tuple[Found, ...]) -> tuple[Found, ...]:
    known = {found.fingerprint for found in those}
    return tuple(found for found in these if found.fingerprint not in known)


def _was_examined(found: Found, checkup: Checkup) -> bool:
    """Whether a finding could have been found again: its probe came to its end, its file could be read."""
    if checkup.command == "probe":
        return any(probe.code == found.code and probe.status in MEASURED for probe in checkup.probes)
    return found.path not in {failure.path for failure in checkup.failures}


def _moves(before: Checkup, after: Checkup) -> Iterator[Move]:
    earlier = {probe.code: probe for probe in before.probes}
    for probe in after.probes:
        if probe.code in earlier:
            yield from _moved(earlier[probe.code], probe)


def _moved(before: Measured, after: Measured) -> Iterator[Move]:
    for measurement, figure in after.measurements.items():
        if measurement in before.measurements:
            earlier = before.measurements[measurement]
            told = verdict(after.code, measurement, earlier, figure)
            if told is not None:
                yield Move(after.code, after.name, measurement, earlier, figure, told)


def _notes(before: Checkup, after: Checkup) -> Iterator[str]:
    if before.target != after.target:
        yield f"the targets differ: `{before.target}` and `{after.target}`"
    if before.version != after.version:
        yield f"nndoctor was {before.version} and is {after.version}: a finding may be new because its rule is"
