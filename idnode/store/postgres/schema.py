"""The database brought to the newest schema, while others may be using it.

A numbered file is one transaction that waits for no lock longer than LOCK_TIMEOUT, so that nobody queues behind it; or, where its
first line begins with `-- concurrently`, statements that are each by themselves and may be run again: a process that is killed
in between leaves an index that isn't valid, which the next one drops and builds anew.
"""

from __future__ import annotations

import asyncio
import re
from importlib.resources import files

from idnode.store.base import StoreFailed
from idnode.store.postgres.connection import Conflict, Session

LOCK = 0x4D4D4944
"""Of the advisory lock under which one process at a time does this: MMID."""
LOCK_TIMEOUT = "2s"
ATTEMPTS = 30
MOVING = -1
"""The number of the row that says from where a store is being moved here; it has no steps behind it."""
_CONCURRENTLY = "-- concurrently"
_INDEX = re.compile(r"CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+)")
_BOOK = "CREATE TABLE IF NOT EXISTS idnode_schema (number integer PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL)"
_INVALID = """
    SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relname = $1 AND pg_table_is_visible(pg_class.oid) AND NOT indisvalid"""


def migrations() -> list[tuple[str, str]]:
    """(name, SQL) of the numbered files, the first first; the schema's version is their count."""
    folder = files("idnode.store.postgres").joinpath("migrations")
    entries = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda each: each.name)
    return [(entry.name, entry.read_text("utf-8")) for entry in entries]


async def migrate(session: Session, steps: list[tuple[str, str]] | None = None) -> bool:
    """Apply what isn't applied yet. `steps`: other ones than migrations(), for tests.

    Returns:
        Whether anything was; then the session's settings aren't those it came with.

    Raises:
        StoreFailed: the schema is of a newer version, or others don't let go of what a step needs.
        Lost
    """
    steps = migrations() if steps is None else steps
    if await _version(session) == len(steps):
        return False
    # Building an index takes its time, and so does waiting for another who does it.
    await session.run("SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    # Asked again and again: who waits within a statement keeps an index from being built concurrently.
    while not await session.value("SELECT pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110 another process's lock
        await asyncio.sleep(0.1)
    try:
        await session.run(_BOOK)
        version = await _version(session)
        if version > len(steps):
            raise StoreFailed(f"the database was made by a newer version (schema {version}, known are {len(steps)})")
        for number, (name, script) in enumerate(steps[version:], version + 1):
            await _apply(session, number, name, script)
    finally:
        if session.is_sound:
            await session.value("SELECT pg_advisory_unlock($1)", LOCK)
    return True


async def _version(session: Session) -> int:
    if await session.value("SELECT to_regclass('idnode_schema')") is None:
        return 0
    return int(await session.value("SELECT coalesce(max(number), 0) FROM idnode_schema"))


async def _apply(session: Session, number: int, name: str, script: str) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if script.startswith(_CONCURRENTLY):
                await _concurrently(session, script)
                await session.value("INSERT INTO idnode_schema VALUES ($1, $2, now())", number, name)
                return
            async with session.transaction():
                await session.run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                await session.run(script)
                await session.value("INSERT INTO idnode_schema VALUES ($1, $2, now())", number, name)
        except Conflict as error:
            if attempt == ATTEMPTS:
                raise StoreFailed(f"{name} can't be applied: {error}") from error
            await asyncio.sleep(0.5)
        else:
            return


async def _concurrently(session: Session, script: str) -> None:
    for statement in script.split(";\n"):
        if not statement.strip() or all(line.startswith("--") for line in statement.strip().splitlines()):
            continue
        index = _INDEX.search(statement)
        if index is not None and await session.value(_INVALID, index[1]):
            await session.run(f"DROP INDEX CONCURRENTLY {index[1]}")
        await session.run(statement)


async def refuse_half_moved(session: Session) -> None:
    """Don't serve what is only half there.

    Raises:
        StoreFailed: a store is being moved here.
    """
    source = await session.value("SELECT name FROM idnode_schema WHERE number = $1", MOVING)
    if source is not None:
        raise StoreFailed(f"{source} is being moved here: let mumian idnode migrate-store come to its end")
