"""Bulk registrations that outlive their connection: how far one has come, and what became of the rows that aren't simply new."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from idnode.record import Registered, Registration

MOST_FINDINGS = 10_000
"""Findings that are kept for one job; the counts go on beyond."""


class BadRow(msgspec.Struct, frozen=True, tag=True):
    """A row that can't be a registration."""

    field: str
    """Where in the row: a JSON pointer or a column's name; empty for the whole."""
    reason: str


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
    """Rows that can't be registrations, or are beyond a quota."""


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
class Advance:
    """What one piece of a job came to."""

    job: Job
    """After the piece."""
    outcomes: tuple[Registered | None, ...]
    """Of the piece's rows that were not done before, its last ones; None for a BadRow."""


IS_DIFFERENT = "is registered with other content, or in another state"
IS_OVER_QUOTA = "is one more than its enterprise may have"
"""The reasons of a Finding for a row that is no BadRow."""


def advanced(job: Job, rows: list[Row], outcomes: list[Registered]) -> tuple[Job, tuple[Registered | None, ...], list[Finding]]:
    """A job after its next rows. Pure.

    Args:
        rows: those that were not done before.
        outcomes: of the registrations among them, in their order.
    """
    following = iter(outcomes)
    told = tuple(None if isinstance(row, BadRow) else next(following) for row in rows)
    findings = []
    for number, (row, outcome) in enumerate(zip(rows, told, strict=True), job.rows):
        if isinstance(row, BadRow):
            findings.append(Finding(number, None, row.field, row.reason))
        elif outcome is Registered.DIFFERENT:
            findings.append(Finding(number, row.identifier.key, "", IS_DIFFERENT))
        elif outcome is Registered.OVER_QUOTA:
            findings.append(Finding(number, row.identifier.key, "", IS_OVER_QUOTA))
    made = Job(
        job.key,
        job.owner,
        job.author,
        job.began_ms,
        job.finished_ms,
        job.rows + len(rows),
        job.created + outcomes.count(Registered.CREATED),
        job.repeated + outcomes.count(Registered.REPEATED),
        job.different + outcomes.count(Registered.DIFFERENT),
        job.invalid + len(rows) - len(outcomes) + outcomes.count(Registered.OVER_QUOTA),
    )
    room = MOST_FINDINGS - job.different - job.invalid
    return made, told, findings[: max(0, room)]
