"""The half of the contract that reads, on a connection that can't write: of the process that owns the file, and of any other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from idnode.enterprise import Pool
from idnode.event import CaptureReport, EventQuery, StoredEvent
from idnode.identifier import Identifier
from idnode.job import Finding, Job, Outcomes
from idnode.record import Record, State
from idnode.store import business_rows, event_rows, job_rows, owner_rows, record_rows, template_rows
from idnode.store.base import PAGE, Forget, StoreFailed
from idnode.store.business import Announcement, Entry, Sums, Usage
from idnode.store.feed import Feed
from idnode.store.registry import Registry
from idnode.store.writer import translate
from idnode.template import Template

P = ParamSpec("P")
T = TypeVar("T")


class SqliteReads(Registry):
    """What idnode.store.base.Store has that changes nothing. Used on the thread that made the connection."""

    def __init__(self, reader: sqlite3.Connection) -> None:
        """`reader`: made with open_reader(), and closed by whoever made it, behind _look_anew()."""
        self._reader = reader
        self._feed = Feed(reader)
        self._is_fixed = False

    async def entry(self, kind: str, key: str) -> Entry | None:
        """See the contract."""
        return self._read(business_rows.entry, kind, key)

    async def entries(self, kind: str, group: str | None = None, after: str = "", limit: int = PAGE) -> list[Entry]:
        """See the contract."""
        return self._read(business_rows.entries, kind, group, after, limit)

    async def entry_versions(self, kind: str, key: str, after: int = 0, limit: int = PAGE) -> list[Entry]:
        """See the contract."""
        return self._read(business_rows.entry_versions, kind, key, after, limit)

    async def registered(self, prefixes: Sequence[str]) -> list[int]:
        """See the contract."""
        return self._read(business_rows.registered, prefixes)

    async def sums(self, after: str = "", limit: int = PAGE) -> list[Sums]:
        """See the contract."""
        return self._read(business_rows.sums, after, limit)

    async def usage(
        self, enterprise: str | None, first_day: int, last_day: int, after: tuple[int, str], limit: int
    ) -> list[Usage]:
        """See the contract."""
        return self._read(business_rows.usage, enterprise, first_day, last_day, after, limit)

    async def announcements(self, enterprise: str, after: int, limit: int) -> list[Announcement]:
        """See the contract."""
        return self._read(business_rows.announcements, enterprise, after, limit)

    async def pool(self, lease: str) -> Pool | None:
        """See the contract."""
        return self._read(owner_rows.pool, lease)

    async def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        """See the contract."""
        try:  # asked ten thousand times a second
            if not self._is_fixed:
                self._fix()
            return record_rows.record(self._reader, identifier, as_of_ms)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise _readable(error) from error

    def _fix(self) -> None:
        """Read records as of one moment until the loop's next turn: a lock of the file for each costs as much as finding it.

        Who was told of a change sees it nevertheless: whatever tells of one, and every other read, looks anew.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # nobody would end it
        self._reader.execute("BEGIN")
        self._is_fixed = True
        loop.call_soon(self._look_anew)

    def _look_anew(self) -> None:
        """See from now on what was committed until now."""
        if self._is_fixed:
            self._is_fixed = False
            for end in ("COMMIT", "ROLLBACK"):
                if self._reader.in_transaction:  # an error of a read may have ended it
                    with suppress(sqlite3.Error):
                        self._reader.execute(end)

    async def versions(self, identifier: Identifier, after: int = 0, limit: int = PAGE) -> list[Record]:
        """See the contract."""
        return self._read(record_rows.versions, identifier, after, limit)

    async def records(
        self, owner: str, after_key: str = "", limit: int = PAGE, states: Collection[State] | None = None
    ) -> list[Record]:
        """See the contract."""
        return self._read(record_rows.records, owner, after_key, limit, states)

    async def template(self, owner: str, name: str, version: int) -> Template | None:
        """See the contract."""
        return self._read(template_rows.template, owner, name, version)

    async def templates(self, owner: str) -> list[Template]:
        """See the contract."""
        return self._read(template_rows.templates, owner)

    async def job(self, key: str) -> Job | None:
        """See the contract."""
        return self._read(job_rows.job, key)

    async def findings(self, key: str, after: int = -1, limit: int = PAGE) -> list[Finding]:
        """See the contract."""
        return self._read(job_rows.findings, key, after, limit)

    async def jobs(self, owner: str | None, after: str = "", limit: int = PAGE) -> list[Job]:
        """See the contract."""
        return self._read(job_rows.jobs, owner, after, limit)

    async def outcomes(self, key: str, row: int = 0, limit: int = PAGE) -> list[Outcomes]:
        """See the contract."""
        return self._read(job_rows.outcomes, key, row, limit)

    async def event(self, key: str) -> StoredEvent | None:
        """See the contract."""
        return self._read(event_rows.event, key)

    async def events(self, query: EventQuery) -> list[StoredEvent]:
        """See the contract."""
        return self._read(event_rows.events, query)

    async def capture_report(self, key: str) -> CaptureReport | None:
        """See the contract."""
        return self._read(event_rows.capture_report, key)

    def watch(self, forget: Forget) -> None:
        """See the contract."""
        try:
            self._feed.watch(forget)
        except sqlite3.Error as error:
            raise translate(error) from error

    def refresh(self) -> None:
        """See the contract."""
        self._look_anew()
        try:
            self._feed.refresh()
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            self._feed.tell(None)  # whatever it was that has changed
            raise _readable(error) from error

    def _read(self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._look_anew()
        try:
            return query(self._reader, *args, **kwargs)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise _readable(error) from error


def _readable(error: Exception) -> Exception:
    return StoreFailed(f"what is stored can't be read: {error}") if isinstance(error, msgspec.MsgspecError) else translate(error)
