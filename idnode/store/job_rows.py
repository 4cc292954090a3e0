"""The rows of bulk jobs. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from sqlite3 import Connection
from typing import Any

from idnode.job import Advance, BadRow, Finding, Job, Outcomes, Row, advanced
from idnode.store import record_rows
from idnode.store.base import AlreadyThere, NotThere
from idnode.store.outcome import rows_to_do
from idnode.store.tally import Tally


def begin_job(connection: Connection, key: str, owner: str, author: str, at_ms: int, total: int | None) -> Job:
    """See Jobs.begin_job."""
    there = job(connection, key)
    if there is not None:
        if there.owner != owner:
            raise AlreadyThere("that idempotency key is another's")
        return there
    made = Job(key, owner, author, at_ms, total=total)
    connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(made))
    return made


def advance_job(connection: Connection, tally: Tally, key: str, first_row: int, rows: Sequence[Row], at_ms: int) -> Advance:
    """See Jobs.advance_job."""
    now = _job(connection, key)
    left = rows_to_do(now, first_row, list(rows))
    if not left:
        return Advance(now, "")
    registrations = [row for row in left if not isinstance(row, BadRow)]
    outcomes = record_rows.register(connection, tally, registrations, now.author, at_ms)
    made, letters, findings = advanced(now, left, outcomes)
    connection.execute(
        "UPDATE jobs SET rows = ?, created = ?, repeated = ?, different = ?, invalid = ? WHERE key = ?",
        (made.rows, made.created, made.repeated, made.different, made.invalid, key),
    )
    connection.executemany("INSERT INTO job_findings VALUES (?, ?, ?, ?, ?)", [(key, *astuple(finding)) for finding in findings])
    connection.execute("INSERT INTO job_outcomes VALUES (?, ?, ?)", (key, now.rows, letters))
    return Advance(made, letters)


def finish_job(connection: Connection, key: str, at_ms: int, *, cancelled: bool) -> Job:
    """See Jobs.finish_job."""
    connection.execute(
        "UPDATE jobs SET finished_ms = ?, cancelled = ? WHERE key = ? AND finished_ms IS NULL", (at_ms, cancelled, key)
    )
    return _job(connection, key)


def _job(connection: Connection, key: str) -> Job:
    found = job(connection, key)
    if found is None:
        raise NotThere(f"there is no job {key}")
    return found


def job(connection: Connection, key: str) -> Job | None:
    """See Jobs.job."""
    row = connection.execute("SELECT * FROM jobs WHERE key = ?", (key,)).fetchone()
    return None if row is None else _read(row)


def _read(row: tuple[Any, ...]) -> Job:
    return replace(Job(*row), cancelled=bool(row[-1]))


def jobs(connection: Connection, owner: str | None, after: str, limit: int) -> list[Job]:
    """See Jobs.jobs."""
    rows = connection.execute(
        "SELECT * FROM jobs WHERE key > ?1 AND (?2 IS NULL OR owner = ?2) ORDER BY key LIMIT ?3",
        (after, owner, limit),
    )
    return [_read(row) for row in rows]


def outcomes(connection: Connection, key: str, row: int, limit: int) -> list[Outcomes]:
    """See Jobs.outcomes."""
    rows = connection.execute(
        """SELECT row, outcomes FROM job_outcomes WHERE job = ?1
        AND row >= ifnull((SELECT max(row) FROM job_outcomes WHERE job = ?1 AND row <= ?2), 0)
        AND row + length(outcomes) > ?2 ORDER BY row LIMIT ?3""",
        (key, row, limit),
    )
    return [Outcomes(*each) for each in rows]


def findings(connection: Connection, key: str, after: int, limit: int) -> list[Finding]:
    """See Jobs.findings."""
    rows = connection.execute(
        "SELECT row, identifier, field, reason FROM job_findings WHERE job = ? AND row > ? ORDER BY row LIMIT ?",
        (key, after, limit),
    )
    return [Finding(*row) for row in rows]
