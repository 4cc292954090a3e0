"""A store in SQLite moved to PostgreSQL while its node is at work: `mumian idnode migrate-store`.

Ranges of rows are compared by count and digest, and those that differ are copied; so a move that was killed begins again and
finds most of it done. This is gone through until little is left. Then the node lets changes wait, what has changed since is
compared once more, the file is marked as one that has moved, and only then is the database free to be used: at no moment may two
be written to.
"""

from __future__ import annotations

import asyncio
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from idnode.store.base import StoreAway, StoreError, StoreFailed
from idnode.store.feed import Feed
from idnode.store.movable import Movable
from idnode.store.postgres.connection import Conflict, Lost, Session, Target, connect
from idnode.store.postgres.schema import MOVING, migrate
from idnode.store.postgres.tables import APPENDED, RECORDS, TABLES, Digest, Key, Table, digest_of
from idnode.store.schema import migrations, open_reader
from idnode.store.writer import MOVED_ID, translate

RANGE = 5000
"""Rows."""
FEW = 50_000
"""Rows of ranges that may have changed: few enough to let changes wait while they are compared."""
MOST_PASSES = 20
Tell = Callable[[str], None]


class NotMovable(StoreError):
    """It can't be moved there, or not in this way. Nothing is lost."""


@dataclass(slots=True)
class _Range:
    table: Table
    after: Key | None
    upto: Key | None
    digest: Digest | None = None
    """Of both sides; None where they may differ."""


@dataclass(slots=True)
class Moved:
    """What was moved."""

    tables: dict[str, Digest] = field(default_factory=dict)
    """The same on both sides."""
    held_s: float = 0.0
    """For how long changes waited."""


class Move:
    """One, from a file to a database."""

    def __init__(self, source: sqlite3.Connection, session: Session, tell: Tell) -> None:
        self._source = source
        self._session = session
        self._tell = tell
        self._ranges: dict[str, list[_Range]] = {}
        self._feed = Feed(source)
        self._feed.watch(self._changed)

    def _changed(self, keys: Collection[str] | None) -> None:
        """Told by the file's feed."""
        for ranges in (self._ranges.get(name, []) for name in RECORDS):
            bounds: list[Key] = [each.upto for each in ranges[:-1]]
            for each in ranges if keys is None else [ranges[bisect_left(bounds, key)] for key in keys if ranges]:
                each.digest = None

    async def copy(self) -> None:
        """Until little is left to be compared."""
        for table in TABLES:
            self._ranges[table.name] = list(self._cut(table))
        for number in range(MOST_PASSES):
            left = self._left()
            rows = await self._level(left)
            self._tell(f"pass {number + 1}: {len(left)} ranges compared, {rows} rows copied")
            if len(self._left()) * RANGE <= FEW:
                break
        self._doubt()
        await self._level(self._left())  # so that little is copied while changes wait

    def _cut(self, table: Table) -> list[_Range]:
        found: list[_Range] = []
        after = None
        while (upto := table.bound(self._source, after, RANGE)) is not None:
            found.append(_Range(table, after, upto))
            after = upto
        return [*found, _Range(table, after, None)]

    def _left(self) -> list[_Range]:
        """The ranges that may differ."""
        self._feed.refresh()
        return [each for ranges in self._ranges.values() for each in ranges if each.digest is None]

    def _doubt(self) -> None:
        """Whatever no feed tells about may have changed."""
        for name, ranges in self._ranges.items():
            for each in ranges[-1:] if name in RECORDS | APPENDED else ranges:
                each.digest = None

    async def _level(self, ranges: Collection[_Range]) -> int:
        """Copy what differs; how many rows that was."""
        copied = 0
        for each in ranges:
            rows = each.table.rows(self._source, each.after, each.upto)
            here, there = digest_of(rows), await each.table.digest(self._session, each.after, each.upto)
            if here != there:
                await each.table.put(self._session, rows, each.after, each.upto)
                copied += len(rows)
                there = await each.table.digest(self._session, each.after, each.upto)
            # What changes from here on is told by the feed before anything is compared for the last time.
            each.digest = here if here == there else None
        return copied

    async def end(self) -> Moved:
        """While nobody writes: compare what may have changed, and count everything.

        Raises:
            NotMovable: the two differ all the same.
        """
        self._doubt()
        await self._level(self._left())
        differing = [f"{each.table.name} after {each.after}" for each in self._left()]
        moved = Moved({name: _sum(ranges) for name, ranges in self._ranges.items()})
        for table in TABLES:
            (here,) = self._source.execute(f"SELECT count(*) FROM {table.source}").fetchone()  # noqa: S608 ours
            there = await self._session.value(f"SELECT count(*) FROM {table.name}")  # noqa: S608 ours
            if not here == there == moved.tables[table.name].rows:
                differing.append(f"{table.name}: {here} rows, {there} in the database")
        if differing:
            raise NotMovable(f"the two differ: {'; '.join(differing[:5])}")
        for numbers, appended in (("event_sequence", "events"), ("announcement_sequence", "announcements")):
            following = f"(SELECT coalesce(max(sequence), 0) + 1 FROM {appended})"  # noqa: S608 ours
            await self._session.value(f"SELECT setval('{numbers}', {following}, false)")
        return moved


def _sum(ranges: Collection[_Range]) -> Digest:
    return sum((each.digest or Digest() for each in ranges), Digest())


async def move(path: Path, target: Target, node: Movable, tell: Tell, hold_s: float) -> Moved:
    """Move the store of a file to an empty database, or to one in which a move of the same file was begun.

    Args:
        hold_s: how long changes may wait at most.

    Raises:
        NotMovable, StoreFailed
        StoreAway: the database can't be reached, or changes waited too long; begin again.
    """
    try:
        with closing(_opened(path)) as source:
            session = await connect(target, None)
            try:
                await migrate(session)
                await _claim(session, path)
                moving = Move(source, session, tell)
                await moving.copy()
                moved = await _end(moving, source, node, hold_s)
                await session.value("DELETE FROM idnode_schema WHERE number = $1", MOVING)
            finally:
                await session.close()
    except sqlite3.Error as error:
        raise StoreFailed(f"{path}: {translate(error)}") from error
    except (Lost, Conflict) as error:
        raise StoreAway(f"the database can't be reached: {error}") from error
    return moved


def _opened(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise NotMovable(f"{path} isn't there")
    source = open_reader(path)
    (schema,) = source.execute("PRAGMA user_version").fetchone()
    if schema != len(migrations()):
        source.close()
        raise NotMovable(f"{path} is of schema {schema}, not {len(migrations())}: serve it once, that renews it")
    return source


async def _claim(session: Session, path: Path) -> None:
    """Mark the database as one that is being filled: no node uses it."""
    name = await session.value("SELECT name FROM idnode_schema WHERE number = $1", MOVING)
    if name is None:
        for table in TABLES:
            if await session.value(f"SELECT 1 FROM {table.name} LIMIT 1"):  # noqa: S608 ours
                raise NotMovable("the database holds a store already")
        await session.value("INSERT INTO idnode_schema VALUES ($1, $2, now())", MOVING, str(path.absolute()))
    elif name != str(path.absolute()):
        raise NotMovable(f"the database is being filled from {name}")


async def _end(moving: Move, source: sqlite3.Connection, node: Movable, hold_s: float) -> Moved:
    loop = asyncio.get_running_loop()
    (mark,) = source.execute("PRAGMA application_id").fetchone()
    began = loop.time()
    if mark == MOVED_ID:  # a move that was killed in its last step
        return await moving.end()
    await node.hold(hold_s)
    try:
        moved = await moving.end()
        await node.leave()
    except BaseException:
        with suppress(StoreError):
            await node.release()
        raise
    moved.held_s = loop.time() - began
    return moved
