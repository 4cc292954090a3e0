"""The store in one SQLite file: WAL, synchronous=FULL, one connection that writes and checkpoints, one that only reads.

The writer has a thread of its own, which costs a quarter of a millisecond to cross and is shared by a group commit.
The reader stays on the event loop's thread, where a point read costs microseconds. SQLite before 3.51.3 can damage a
WAL when two connections checkpoint at once; here only one ever can.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from idnode.enterprise import Enterprise, Lease, LeaseOrder, Name, Token, Visibility
from idnode.event import Capture, CaptureReport, EventQuery, StoredEvent
from idnode.identifier import Identifier
from idnode.record import HandleValue, Record, Registration
from idnode.store import event_rows, owner_rows, record_rows
from idnode.store.base import StoreFailed
from idnode.store.schema import lock, open_reader, open_writer
from idnode.store.writer import Writer, translate

P = ParamSpec("P")
T = TypeVar("T")


class SqliteStore:
    """See idnode.store.base.Store; made by open_store()."""

    def __init__(self, writer: Writer, reader: sqlite3.Connection, descriptor: int) -> None:
        self._writer = writer
        self._reader = reader
        self._lock: int | None = descriptor

    async def add_enterprise(
        self, key: str, name: Name, visibility: Visibility, node_prefix: str, author: str, at_ms: int
    ) -> Enterprise:
        """See the contract."""
        return await self._writer.run(
            lambda connection: owner_rows.add_enterprise(connection, key, name, visibility, node_prefix, author, at_ms)
        )

    async def enterprise(self, key: str) -> Enterprise | None:
        """See the contract."""
        return self._read(owner_rows.enterprise, key)

    async def enterprise_of(self, prefix: str) -> Enterprise | None:
        """See the contract."""
        return self._read(owner_rows.enterprise_of, prefix)

    async def enterprises(self) -> list[Enterprise]:
        """See the contract."""
        return self._read(owner_rows.enterprises)

    async def add_token(self, token: Token, author: str, at_ms: int) -> None:
        """See the contract."""
        await self._writer.run(lambda connection: owner_rows.add_token(connection, token, author, at_ms))

    async def revoke_token(self, enterprise: str, label: str, at_ms: int) -> None:
        """See the contract."""
        await self._writer.run(lambda connection: owner_rows.revoke_token(connection, enterprise, label, at_ms))

    async def token(self, digest: bytes) -> Token | None:
        """See the contract."""
        return self._read(owner_rows.token, digest)

    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[bool]:
        """See the contract."""
        return await self._writer.run(
            lambda connection: [record_rows.register(connection, new, author, at_ms) for new in registrations]
        )

    async def replace(self, identifier: Identifier, values: Sequence[HandleValue], author: str, at_ms: int) -> Record:
        """See the contract."""
        return await self._writer.run(lambda connection: record_rows.replace(connection, identifier, values, author, at_ms))

    async def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        """See the contract."""
        return self._read(record_rows.record, identifier, as_of_ms)

    async def versions(self, identifier: Identifier) -> list[Record]:
        """See the contract."""
        return self._read(record_rows.versions, identifier)

    async def lease(self, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
        """See the contract."""
        return await self._writer.run(lambda connection: owner_rows.lease(connection, order, at_ms))

    async def capture(self, capture: Capture) -> CaptureReport:
        """See the contract."""
        return await self._writer.run(lambda connection: event_rows.capture(connection, capture))

    async def event(self, key: str) -> StoredEvent | None:
        """See the contract."""
        return self._read(event_rows.event, key)

    async def events(self, query: EventQuery) -> list[StoredEvent]:
        """See the contract."""
        return self._read(event_rows.events, query)

    async def capture_report(self, key: str) -> CaptureReport | None:
        """See the contract."""
        return self._read(event_rows.capture_report, key)

    def _read(self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return query(self._reader, *args, **kwargs)
        except sqlite3.Error as error:
            raise translate(error) from error

    async def wait_failure(self) -> StoreFailed:
        """See the contract."""
        return await self._writer.wait_failure()

    async def close(self) -> None:
        """See the contract."""
        if self._lock is None:
            return
        descriptor, self._lock = self._lock, None
        self._reader.close()
        await self._writer.close()
        os.close(descriptor)


def open_store(path: Path) -> SqliteStore:
    """Open the store of that file, making it when it isn't there. Called on the event loop's thread, as is everything after.

    Raises:
        StoreBusy: another process owns it.
        StoreFailed: it can't be used.
    """
    descriptor = lock(path)
    try:
        writer = open_writer(path)
        try:
            reader = open_reader(path)
        except sqlite3.Error as error:
            writer.close()
            raise StoreFailed(f"{path}: {error}") from error
    except StoreFailed:
        os.close(descriptor)
        raise
    return SqliteStore(Writer(writer), reader, descriptor)
