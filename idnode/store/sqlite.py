"""The store in one SQLite file: WAL, synchronous=FULL, one connection that writes and checkpoints, one that only reads.

The writer has a thread of its own, which costs a quarter of a millisecond to cross and is shared by a group commit.
The reader stays on the event loop's thread, where a point read costs microseconds. SQLite before 3.51.3 can damage a
WAL when two connections checkpoint at once; here only one ever can.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from idnode.enterprise import Lease, LeaseOrder, Pool
from idnode.event import Capture, CaptureReport
from idnode.identifier import Identifier
from idnode.job import Advance, Job, Row
from idnode.operations.histogram import Histogram
from idnode.record import Change, Record, Registered, Registration
from idnode.store import business_rows, event_rows, job_rows, owner_rows, record_rows, template_rows
from idnode.store.base import StoreFailed
from idnode.store.business import Step
from idnode.store.commit_count import CommitCount
from idnode.store.reads import SqliteReads
from idnode.store.schema import lock, open_reader, open_writer
from idnode.store.writer import Writer
from idnode.template import Template


class SqliteStore(SqliteReads):
    """See idnode.store.base.Store; made by open_store()."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection, descriptor: int, count: CommitCount) -> None:
        """All of them are closed with the store; `descriptor`: the lock's."""
        super().__init__(reader)
        self._writer = Writer(writer, self._committed)
        self._lock: int | None = descriptor
        self.count = count
        """Of commits; for the processes that read the file, to be inherited."""

    @property
    def commits(self) -> Histogram:
        """How long commits took."""
        return self._writer.commits

    async def write(self, steps: Sequence[Step], author: str, at_ms: int) -> None:
        """See the contract."""
        keys = None if business_rows.changes_answers(steps) else ()
        await self._writer.run(lambda connection: business_rows.write(connection, steps, author, at_ms), keys, settled=True)

    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[Registered]:
        """See the contract."""
        keys = [new.identifier.key for new in registrations]
        return await self._writer.run(
            lambda connection: record_rows.register(connection, self._writer.tally, registrations, author, at_ms), keys
        )

    async def change(
        self, identifier: Identifier, change: Change, author: str, at_ms: int, if_version: int | None = None
    ) -> Record:
        """See the contract."""
        return await self._writer.run(
            lambda connection: record_rows.change(connection, self._writer.tally, identifier, change, author, at_ms, if_version),
            (identifier.key,),
        )

    async def put_template(self, draft: Template, author: str, at_ms: int) -> Template:
        """See the contract."""
        return await self._writer.run(lambda connection: template_rows.put_template(connection, draft, author, at_ms))

    async def publish_template(self, owner: str, name: str, version: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        key = (owner, name, version)
        return await self._writer.run(lambda connection: template_rows.publish_template(connection, key, author, at_ms), None)

    async def withdraw_template(self, owner: str, name: str, version: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        key = (owner, name, version)
        return await self._writer.run(lambda connection: template_rows.withdraw_template(connection, key, author, at_ms), None)

    async def disable_item(self, owner: str, name: str, index: int, author: str, at_ms: int) -> Template:
        """See the contract."""
        return await self._writer.run(
            lambda connection: template_rows.disable_item(connection, owner, name, index, author, at_ms)
        )

    async def begin_job(self, key: str, owner: str, author: str, at_ms: int, total: int | None = None) -> Job:
        """See the contract."""
        return await self._writer.run(lambda connection: job_rows.begin_job(connection, key, owner, author, at_ms, total))

    async def advance_job(self, key: str, first_row: int, rows: Sequence[Row], at_ms: int) -> Advance:
        """See the contract."""
        keys = [row.identifier.key for row in rows if isinstance(row, Registration)]
        return await self._writer.run(
            lambda connection: job_rows.advance_job(connection, self._writer.tally, key, first_row, rows, at_ms), keys
        )

    async def finish_job(self, key: str, at_ms: int, cancelled: bool = False) -> Job:
        """See the contract."""
        return await self._writer.run(lambda connection: job_rows.finish_job(connection, key, at_ms, cancelled=cancelled))

    async def lease(self, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
        """See the contract."""
        return await self._writer.run(lambda connection: owner_rows.lease(connection, order, at_ms))

    async def give_back(self, lease: str, suffixes: Sequence[str] | None, at_ms: int) -> Pool:
        """See the contract."""
        return await self._writer.run(lambda connection: owner_rows.give_back(connection, lease, suffixes, at_ms))

    async def capture(self, capture: Capture) -> CaptureReport:
        """See the contract."""
        keys = [new.identifier.key for event in capture.events for new in event.registrations]
        return await self._writer.run(lambda connection: event_rows.capture(connection, self._writer.tally, capture), keys)

    def refresh(self) -> None:
        """See the contract: nobody else writes the file, and watchers are told of a commit before whoever asked for it is."""

    def _committed(self) -> None:
        self.count.add()
        # Who can't read any more finds that out by itself; its watchers have been told that anything may have changed.
        with suppress(StoreFailed):
            super().refresh()

    async def hold(self, seconds: float) -> None:
        """See Movable."""
        await self._writer.hold(seconds)

    async def release(self) -> None:
        """See Movable."""
        self._writer.release()

    async def leave(self) -> None:
        """See Movable."""
        await self._writer.leave()

    async def wait_failure(self) -> StoreFailed:
        """See the contract."""
        return await self._writer.wait_failure()

    async def close(self) -> None:
        """See the contract."""
        if self._lock is None:
            return
        descriptor, self._lock = self._lock, None
        await self._writer.finish()
        self._look_anew()
        self._reader.close()  # before the writer: only the last one, if it may write, puts the log away
        await self._writer.close()
        self.count.close()
        os.close(descriptor)


def open_store(path: Path) -> SqliteStore:
    """Open the store of that file, making it when it isn't there. Called on the event loop's thread, as is everything after.

    Raises:
        StoreBusy: another process owns it.
        StoreFailed: it can't be used.
    """
    with ExitStack() as undo:
        descriptor = lock(path)
        undo.callback(os.close, descriptor)
        writer = open_writer(path)
        undo.callback(writer.close)
        try:
            reader = open_reader(path)
        except sqlite3.Error as error:
            raise StoreFailed(f"{path}: {error}") from error
        undo.callback(reader.close)
        made = SqliteStore(writer, reader, descriptor, CommitCount.made())
        undo.pop_all()
        return made
