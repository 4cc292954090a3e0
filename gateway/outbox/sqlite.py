"""The outbox on SQLite: WAL, synchronous=FULL, group commit.

One connection, in a thread of its own, writes and checkpoints; reads go through a second one that can't write, in the event loop,
where a point read costs less than a change of threads. (SQLite before 3.51.3 can corrupt a WAL when two connections race a
checkpoint.) Appends that wait while a commit is under way share the next one.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiosqlite

from gateway.clock import Clock, SystemClock
from gateway.outbox import store
from gateway.outbox.appends import Append, refuse_excess, take_appends
from gateway.outbox.base import (
    Counts,
    Entry,
    OutboxError,
    OutboxFailed,
    OutboxFull,
    Record,
    RecordKind,
)
from gateway.outbox.batch import Batch, Books, commit
from gateway.outbox.bounds import Bounds, Limits
from gateway.outbox.codec import checksum
from gateway.outbox.floors import Floors
from gateway.outbox.gathering import Gathering
from gateway.outbox.lock import take_lock
from gateway.outbox.mark import Mark, write_mark
from gateway.outbox.ranges import Ranges
from gateway.outbox.reader import Reader
from gateway.outbox.recent import Recent
from gateway.outbox.salvage import FileDamaged, is_damage

LAZY_S = 0.25
"""How long an acknowledgement may wait for an append to share its commit."""
FULL_PAUSE_S = 1.0
"""How long acknowledgements that found the disk full wait before they are tried again."""
_BATCH_ENTRIES = 4096
_KINDS = {int(kind): kind for kind in RecordKind}
"""Calling the enumeration costs ten times as much."""

_T = TypeVar("_T")


class SqliteOutbox:
    """The Outbox contract on one file. Made without I/O; open() first."""

    def __init__(
        self,
        path: Path,
        carriers: Mapping[str, frozenset[RecordKind]],
        limits: Limits | None = None,
        clock: Clock | None = None,
        gathering: Gathering | None = None,
    ) -> None:
        """`carriers`: the sinks by name, and which kinds each carries; a record goes once all who carry its kind have it."""
        self._gathering = gathering or Gathering()
        self.findings: list[str] = []
        """What open() met and mended, for the log."""
        self._path = path
        self._floors = Floors(carriers)
        self._bounds = Bounds(limits or Limits())
        self._clock = clock or SystemClock()
        self._lock: int | None = None
        self._writer: aiosqlite.Connection | None = None
        self._raw: sqlite3.Connection | None = None
        self._reader: Reader | None = None
        self._committing: asyncio.Task[None] | None = None
        self._failure: OutboxFailed | None = None
        self._closing = self._is_suspect = False
        self._waiting: list[Append] = []
        self._batch = Batch()
        """Acknowledgements and quarantines that wait for a commit."""
        self._wake = asyncio.Event()
        self._lazy: asyncio.TimerHandle | None = None
        self._is_due = False
        """Acknowledgements have waited long enough for an append."""
        self._committed = asyncio.Event()
        """Set, and replaced, at each commit that stored records."""

    async def open(self) -> None:
        """Take the file, making it when it isn't there.

        Raises:
            OutboxBusy: another process owns it.
            OutboxFull: no space to make it.
            OutboxFailed: it can't be used: another program's file, a later version's, a disk error.
        """
        try:
            self._lock = take_lock(self._path)
            raw, opened, self.findings = await asyncio.to_thread(store.take, self._path, self._floors.sinks(RecordKind.TELEMETRY))
            self._raw = raw
            self._writer = aiosqlite.Connection(lambda: raw, 64)
            await self._writer
            self._reader = Reader(self._path, self._take_damaged)
        except (sqlite3.Error, OSError, FileDamaged) as error:
            await self.close()
            raise store.translate(error, self._path) from error
        except OutboxError:
            await self.close()
            raise
        self._epoch = opened.epoch
        self._last_seq = opened.last_seq
        self._recent = Recent(opened.last_seq)
        self._last_of_kind = opened.last_of_kind
        self._books = opened.books
        self._notes = opened.notes
        self._floors.restore(opened.standings)
        self._committing = asyncio.create_task(self._commit_for_ever(), name="outbox commit")

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def last_seq(self) -> int:
        return self._last_seq

    async def append(self, entries: Sequence[Entry], notes: Mapping[str, bytes] | None = None) -> range:
        self._check()
        if not entries and not notes:
            return range(self._last_seq + 1, self._last_seq + 1)
        loop = asyncio.get_running_loop()
        waiting = Append(loop, entries, notes or {})
        self._waiting.append(waiting)
        self._gathering.join(loop, self._wake.set)
        try:
            return await waiting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            task.cancel()  # At its next await: the caller hears first what became of its records.
            return waiting.result()

    def read(
        self, after: int, limit: int, kinds: frozenset[RecordKind], until: int | None = None, *, newest: bool = False
    ) -> list[Record]:
        if self._reader is None:
            raise OutboxFailed(f"{self._path} is closed")
        known = self._books.gaps
        is_plain = not newest and (not known or known[-1].last_seq <= after)
        if is_plain and (recent := self._recent.read(after, limit, kinds, until)) is not None:
            return recent
        # Not beyond what _settle() has seen: the reader sees a commit before this loop knows the notes stored with it.
        through = self._last_seq if until is None else min(until, self._last_seq)
        try:
            return self._reader.read(after, through, limit, kinds, newest=newest)
        except sqlite3.Error as error:
            self._suspect(error)
            raise store.translate(error, self._path) from error

    def _take_damaged(self, seq: int) -> None:
        if seq not in self._batch.damaged and self._failure is None:
            self._batch.damaged.append(seq)
            self._commit_soon(0.0)

    async def wait(self, after: int, kinds: frozenset[RecordKind]) -> None:
        # The newest seq alone won't do: that record may have been dropped, and the caller would come back at once, for ever.
        while not (any(self._last_of_kind[kind] > after for kind in kinds) and self.read(after, 1, kinds)):
            await self._committed.wait()

    def cursor(self, sink: str) -> int:
        return self._floors.cursor(sink)

    def acknowledged(self, sink: str) -> Ranges:
        return self._floors.acknowledged(sink)

    async def acknowledge(self, sink: str, seq: int, after: int = 0) -> None:
        if self._floors.take(sink, after, seq):
            self._batch.cursors[sink] = self._floors.cursor(sink)
            self._commit_soon(LAZY_S)

    def fence(self, sink: str, seqs: Iterable[int]) -> None:
        self._floors.fence(sink, seqs)

    async def quarantine(self, sink: str, seq: int, reason: str) -> None:
        self._batch.refused.append((seq, sink, reason))
        self._commit_soon(LAZY_S)

    def note(self, key: str) -> bytes | None:
        return self._notes.get(key)

    def counts(self) -> Counts:
        return self._books.counts()

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        committing, self._committing = self._committing, None
        try:
            if committing is not None:
                await committing
        finally:
            await self._release()

    async def _release(self) -> None:
        self._gathering.over()
        if self._lazy is not None:
            self._lazy.cancel()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._writer is not None:
            with suppress(sqlite3.Error, ValueError):  # all that was promised is on disk; a checkpoint is only a service
                await self._writer.close()
            self._writer = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check(self) -> None:
        if self._failure is not None:
            raise OutboxFailed(str(self._failure)) from self._failure
        if self._closing:
            raise OutboxFailed(f"{self._path} is closed")

    def _commit_soon(self, delay_s: float) -> None:
        if self._lazy is None and not self._closing:
            self._lazy = asyncio.get_running_loop().call_later(delay_s, self._wake_lazily)

    def _wake_lazily(self) -> None:
        self._is_due = True
        self._wake.set()

    async def _commit_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._gathering.over()
            while self._waiting or (self._batch.is_dirty and (self._is_due or self._closing)):
                if not await self._commit_once():
                    break
            self._is_due = False
            if self._closing:
                return

    async def _commit_once(self) -> bool:
        """One transaction; False when it failed and there is nothing to go on with at once."""
        if self._lazy is not None:
            self._lazy.cancel()
            self._lazy = None
        self._is_due = False
        appends, self._waiting = take_appends(self._waiting, _BATCH_ENTRIES)
        appends = refuse_excess(appends, self._bounds, self._books.stored_bytes)
        if not appends and not self._batch.is_dirty:
            return True
        batch, self._batch = self._batch, Batch()
        batch.trims = self._floors.trims()
        batch.islands = self._floors.new_islands()
        batch.standings = self._floors.standings()
        batch.edges = self._floors.edges()
        spans = self._fill(batch, appends)
        now_ns = self._clock.now_ns()
        try:
            books = await self._in_writer(partial(self._commit, batch=batch, now_ns=now_ns))
        except (sqlite3.Error, OSError) as error:
            self._suspect(error)
            self._give_back(batch, appends, store.translate(error, self._path))
            return False
        except BaseException as error:
            self._give_back(batch, appends, OutboxFailed(f"{self._path}: {error!r}"))  # nobody may wait for ever
            raise
        self._settle(batch, books)
        for append, span in zip(appends, spans, strict=True):
            append.settle(span)
        return True

    def _commit(self, connection: sqlite3.Connection, batch: Batch, now_ns: int) -> Books:
        """In the writer's thread."""
        books = commit(connection, self._books, batch, self._bounds, now_ns)
        if batch.records:
            write_mark(self._path, Mark(self._epoch, batch.records[-1][0], self._is_suspect))
        return books

    def _suspect(self, error: Exception) -> None:
        """Damage was met: the next start salvages before anything else."""
        if is_damage(error):
            self._is_suspect = True
            write_mark(self._path, Mark(self._epoch, self._last_seq, is_suspect=True), synced=True)

    def _fill(self, batch: Batch, appends: Sequence[Append]) -> list[range]:
        seq = self._last_seq
        at_ns = self._clock.now_ns()
        spans = []
        for append in appends:
            first = seq + 1
            for entry in append.entries:
                seq += 1
                crc = checksum(seq, entry.kind, entry.payload)
                batch.records.append((seq, int(entry.kind), at_ns, crc, entry.payload))
                batch.readings += entry.readings
            spans.append(range(first, seq + 1))
            batch.notes.update(append.notes)
        return spans

    def _settle(self, batch: Batch, books: Books) -> None:
        has_gaps = books.gaps != self._books.gaps
        has_dropped = books.dropped != self._books.dropped
        self._books = books
        self._notes.update(batch.notes)
        self._floors.trimmed(batch.trims)
        self._floors.kept(batch.islands)
        if batch.records:
            self._last_seq = batch.records[-1][0]
            records = [Record(seq, _KINDS[kind], payload, at_ns) for seq, kind, at_ns, _, payload in batch.records]
            self._last_of_kind |= {record.kind: record.seq for record in records}
            self._recent.add(records)
        if batch.trims:
            self._recent.remove(batch.trims)
        if has_dropped:
            self._recent.forget()
        if batch.records or has_gaps:
            self._committed.set()
            self._committed = asyncio.Event()

    def _give_back(self, batch: Batch, appends: Sequence[Append], error: OutboxError) -> None:
        """Nothing of the batch was stored: acknowledgements are kept for later, appends are told."""
        if isinstance(error, OutboxFull):
            batch.cursors.update(self._batch.cursors)
            self._batch.cursors = batch.cursors
            self._batch.refused = batch.refused + self._batch.refused
            self._batch.damaged = batch.damaged + self._batch.damaged
            if self._batch.is_dirty:
                self._commit_soon(FULL_PAUSE_S)
            told = appends
        else:
            self._failure = OutboxFailed(str(error))
            told = [*appends, *self._waiting]
            self._waiting = []
        for append in told:
            append.fail(type(error)(str(error)))

    async def _in_writer(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `work` in the writer's thread. aiosqlite's own methods would cross to the thread once a statement."""
        assert self._writer is not None
        result: _T = await self._writer._execute(work, self._raw)  # type: ignore[no-untyped-call]
        return result
