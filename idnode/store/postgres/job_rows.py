"""The rows of bulk jobs. Functions on a session; who calls them owns the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

from idnode.job import Advance, Finding, Job, Outcomes, Row, advanced, letters_of
from idnode.record import Registration
from idnode.store.base import AlreadyThere, NotThere
from idnode.store.outcome import rows_to_do
from idnode.store.postgres import record_rows
from idnode.store.postgres.connection import Session
from idnode.store.postgres.record_rows import New
from idnode.store.postgres.tally import Owners
from idnode.store.postgres.text import kept, told


async def begin_job(session: Session, key: str, owner: str, author: str, at_ms: int, total: int | None) -> Job:
    """See Jobs.begin_job."""
    made = Job(key, owner, author, at_ms, total=total)
    await session.value(
        "INSERT INTO jobs VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
        kept(key), *astuple(made)[1:],
    )  # fmt: skip
    there = await _job(session, key)
    if there.owner != owner:
        raise AlreadyThere("that idempotency key is another's")
    return there


async def advance_job(
    session: Session, key: str, first_row: int, rows: Sequence[Row], at_ms: int, again: bool, owners: Owners
) -> Advance:
    """See Jobs.advance_job. Pieces of one job take turns."""
    now = await _job(session, key, " FOR UPDATE")
    left = rows_to_do(now, first_row, list(rows))
    if not left and not (again and now.rows == first_row + len(rows)):
        return Advance(now, "")
    told_of = left or list(rows)
    registrations = [row for row in told_of if isinstance(row, Registration)]
    new = [New(each, now.author, at_ms) for each in registrations]
    if not left:  # it was done, and nobody was told what came of it
        return Advance(now, letters_of(told_of, await record_rows.stood(session, new)))
    outcomes = await record_rows.register(session, new, again, owners) if new else []
    made, letters, findings = advanced(now, left, outcomes)
    await session.value(
        "UPDATE jobs SET rows = $2, created = $3, repeated = $4, different = $5, invalid = $6 WHERE key = $1",
        kept(key), made.rows, made.created, made.repeated, made.different, made.invalid,
    )  # fmt: skip
    if findings:
        noted = [(kept(key), each.row, each.identifier, kept(each.field), kept(each.reason)) for each in findings]
        await session.copy("job_findings", ["job", "row", "identifier", "field", "reason"], noted)
    await session.value("INSERT INTO job_outcomes VALUES ($1, $2, $3)", kept(key), now.rows, letters)
    return Advance(made, letters)


async def finish_job(session: Session, key: str, at_ms: int, *, cancelled: bool) -> Job:
    """See Jobs.finish_job."""
    await session.value(
        "UPDATE jobs SET finished_ms = $2, cancelled = $3 WHERE key = $1 AND finished_ms IS NULL",
        kept(key),
        at_ms,
        int(cancelled),
    )
    return await _job(session, key)


async def _job(session: Session, key: str, ending: str = "") -> Job:
    found = await job(session, key, ending)
    if found is None:
        raise NotThere(f"there is no job {key}")
    return found


async def job(session: Session, key: str, ending: str = "") -> Job | None:
    """See Jobs.job."""
    row = await session.row(f"SELECT * FROM jobs WHERE key = $1{ending}", kept(key))  # noqa: S608 ours
    return None if row is None else _read(row)


def _read(row: Any) -> Job:
    return replace(Job(*row), key=told(row[0]), cancelled=bool(row[-1]))


async def jobs(session: Session, owner: str | None, after: str, limit: int) -> list[Job]:
    """See Jobs.jobs."""
    rows = await session.rows(
        "SELECT * FROM jobs WHERE key > $1 AND ($2::text IS NULL OR owner = $2) ORDER BY key LIMIT $3", kept(after), owner, limit
    )
    return [_read(row) for row in rows]


async def outcomes(session: Session, key: str, row: int, limit: int) -> list[Outcomes]:
    """See Jobs.outcomes."""
    rows = await session.rows(
        """SELECT row, outcomes FROM job_outcomes WHERE job = $1
        AND row >= coalesce((SELECT max(row) FROM job_outcomes WHERE job = $1 AND row <= $2), 0)
        AND row + length(outcomes) > $2 ORDER BY row LIMIT $3""",
        kept(key), row, limit,
    )  # fmt: skip
    return [Outcomes(*each) for each in rows]


async def findings(session: Session, key: str, after: int, limit: int) -> list[Finding]:
    """See Jobs.findings."""
    rows = await session.rows(
        "SELECT row, identifier, field, reason FROM job_findings WHERE job = $1 AND row > $2 ORDER BY row LIMIT $3",
        kept(key), after, limit,
    )  # fmt: skip
    return [Finding(row, identifier, told(field), told(reason)) for row, identifier, field, reason in rows]
