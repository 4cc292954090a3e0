"""Bulk registrations that outlive their connection: how far one has come, and what became of the rows that aren't simply new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from idnode.record import Registered, Registration

MOST_FINDINGS = 10_000
"""Findings that are kept for one job; outcomes and counts go on beyond."""


class RowOutcome(StrEnum):
    """What became of a row."""

    CREATED = "created"
    REPEATED = "repeated"
    """It was there as the row has it."""
    EXISTS = "exists"
    """It was there with other content or in another state, and stays as it is."""
    INVALID = "invalid"
    """The row can't be a registration."""
    FORBIDDEN = "forbidden"
    """Whoever sent it may not register that."""
    OVER_QUOTA = "over-quota"
    """Its enterprise has as many as it may have."""

    @property
    def letter(self) -> str:
        """How it is kept."""
        return self.value[0]

    @property
    def is_taken(self) -> bool:
        """Whether the identifier is there as the row has it."""
        return self in (RowOutcome.CREATED, RowOutcome.REPEATED)


BY_LETTER = {each.letter: each for each in RowOutcome}


class BadRow(msgspec.Struct, frozen=True, tag=True):
    """A row that can't be a registration, or isn't the sender's to make."""

    field: str
    """Where in the row: a JSON pointer or a column's name; empty for the whole."""
    reason: str
    identifier: str | None = None
    """Its key, where it has one."""
    outcome: RowOutcome = RowOutcome.INVALID


@dataclass(frozen=True, slots=True)
class Job:
    """A bulk registration."""

    key: str
    """Its idempotency key, unique in the node."""
    owner: str
    """The enterprise for which it registers."""
    author: str
    began_ms: int
    finished_ms: int | None = None
    rows: int = 0
    """Rows that are done: the first that isn't has this number, counted from 0."""
    created: int = 0
    repeated: int = 0
    different: int = 0
    invalid: int = 0
    """Rows that can't be registrations, may not be, or are beyond a quota."""
    total: int | None = None
    """How many rows there will be, where whoever sends them said so."""
    cancelled: bool = False
    """Finished before its time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that was not taken."""

    row: int
    """Counted from 0."""
    identifier: str | None
    """Its key, where it has one."""
    field: str
    reason: str


Row = Registration | BadRow


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of some rows that follow each other."""

    row: int
    """The first of them."""
    letters: str
    """RowOutcome.letter of each."""


@dataclass(frozen=True, slots=True)
class Advance:
    """What one piece of a job came to."""

    job: Job
    """After the piece."""
    outcomes: str
    """RowOutcome.letter of the piece's rows that were not done before, its last ones."""


IS_DIFFERENT = "is registered with other content, or in another state"
IS_OVER_QUOTA = "is one more than its enterprise may have"
"""The reasons of a Finding for a row that is no BadRow."""


_OUTCOMES = {
    Registered.CREATED: RowOutcome.CREATED,
    Registered.REPEATED: RowOutcome.REPEATED,
    Registered.DIFFERENT: RowOutcome.EXISTS,
    Registered.OVER_QUOTA: RowOutcome.OVER_QUOTA,
}
_REASONS = {RowOutcome.EXISTS.letter: IS_DIFFERENT, RowOutcome.OVER_QUOTA.letter: IS_OVER_QUOTA}
_LETTERS = {became: outcome.letter for became, outcome in _OUTCOMES.items()}


def advanced(job: Job, rows: Sequence[Row], became: Sequence[Registered]) -> tuple[Job, str, list[Finding]]:
    """A job after its next rows, the letters of their outcomes, and what is to be kept of those that were not taken. Pure.

    Args:
        rows: those that were not done before.
        became: of the registrations among them, in their order.
    """
    letters = letters_of(rows, became)
    made = replace(
        job,
        rows=job.rows + len(rows),
        created=job.created + became.count(Registered.CREATED),
        repeated=job.repeated + became.count(Registered.REPEATED),
        different=job.different + became.count(Registered.DIFFERENT),
        invalid=job.invalid + len(rows) - len(became) + became.count(Registered.OVER_QUOTA),
    )
    room = MOST_FINDINGS - job.different - job.invalid
    return made, letters, _findings(job.rows, rows, letters, room) if room > 0 else []


def letters_of(rows: Sequence[Row], became: Sequence[Registered]) -> str:
    """RowOutcome.letter of each row; see advanced()."""
    if len(became) == len(rows):
        return "".join([_LETTERS[each] for each in became])
    following = iter(became)
    return "".join([row.outcome.letter if isinstance(row, BadRow) else _LETTERS[next(following)] for row in rows])


def _findings(first: int, rows: Sequence[Row], letters: str, room: int) -> list[Finding]:
    found = []
    for place, (row, letter) in enumerate(zip(rows, letters, strict=True)):
        if isinstance(row, BadRow):
            found.append(Finding(first + place, row.identifier, row.field, row.reason))
        elif letter in _REASONS:
            found.append(Finding(first + place, row.identifier.key, "", _REASONS[letter]))
    return found[:room]
