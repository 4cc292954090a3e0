"""The rows of bulk jobs. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from sqlite3 import Connection

from idnode.job import Advance, BadRow, Finding, Job, Row, advanced
from idnode.store import record_rows
from idnode.store.base import AlreadyThere, NotThere
from idnode.store.outcome import rows_to_do
from idnode.store.tally import Tally


def begin_job(connection: Connection, key: str, owner: str, author: str, at_ms: int) -> Job:
    """See Jobs.begin_job."""
    there = job(connection, key)
    if there is not None:
        if there.owner != owner:
            raise AlreadyThere("that idempotency key is another's")
        return there
    made = Job(key, owner, author, at_ms)
    connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(made))
    return made


def advance_job(connection: Connection, tally: Tally, key: str, first_row: int, rows: Sequence[Row], at_ms: int) -> Advance:
    """See Jobs.advance_job."""
    now = _job(connection, key)
    left = rows_to_do(now, first_row, list(rows))
    if not left:
        return Advance(now, ())
    registrations = [row for row in left if not isinstance(row, BadRow)]
    outcomes = record_rows.register(connection, tally, registrations, now.author, at_ms)
    made, told, findings = advanced(now, left, outcomes)
    connection.execute(
        "UPDATE jobs SET rows = ?, created = ?, repeated = ?, different = ?, invalid = ? WHERE key = ?",
        (made.rows, made.created, made.repeated, made.different, made.invalid, key),
    )
    connection.executemany("INSERT INTO job_findings VALUES (?, ?, ?, ?, ?)", [(key, *astuple(finding)) for finding in findings])
    return Advance(made, told)


def finish_job(connection: Connection, key: str, at_ms: int) -> Job:
    """See Jobs.finish_job."""
    connection.execute("UPDATE jobs SET finished_ms = ? WHERE key = ? AND finished_ms IS NULL", (at_ms, key))
    return _job(connection, key)


def _job(connection: Connection, key: str) -> Job:
    found = job(connection, key)
    if found is None:
        raise NotThere(f"there is no job {key}")
    return found


def job(connection: Connection, key: str) -> Job | None:
    """See Jobs.job."""
    row = connection.execute("SELECT * FROM jobs WHERE key = ?", (key,)).fetchone()
    return None if row is None else Job(*row)


def findings(connection: Connection, key: str, after: int, limit: int) -> list[Finding]:
    """See Jobs.findings."""
    rows = connection.execute(
        "SELECT row, identifier, field, reason FROM job_findings WHERE job = ? AND row > ? ORDER BY row LIMIT ?",
        (key, after, limit),
    )
    return [Finding(*row) for row in rows]
