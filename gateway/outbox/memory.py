"""The outbox in memory: the same contract without the disk, for tests and for tools that need no durability."""

from __future__ import annotations

import asyncio
import secrets
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from gateway.clock import Clock, SystemClock
from gateway.outbox import gaps, ranges
from gateway.outbox.base import Counts, Entry, OutboxError, OutboxFailed, OutboxFull, Record, RecordKind
from gateway.outbox.batch import counted_as
from gateway.outbox.bounds import SIZE, Bounds, Limits, WhenFull, table_device
from gateway.outbox.codec import DIGEST_BYTES, Gap, table_key
from gateway.outbox.floors import Floors
from gateway.outbox.ranges import Ranges


class MemoryOutbox:
    """The Outbox contract on a list. `refusal`, when set, is raised by append() in place of storing."""

    def __init__(
        self, carriers: Mapping[str, frozenset[RecordKind]], limits: Limits | None = None, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self.refusal: OutboxError | None = None
        self._epoch = secrets.token_hex(8)
        self._floors = Floors(carriers)
        self._bounds = Bounds(limits or Limits())
        self._gaps: gaps.Gaps = ()
        self._records: list[Record] = []
        self._notes: dict[str, bytes] = {}
        self._refused: dict[int, tuple[str, str]] = {}
        """By seq: the sink that refused the record, and why."""
        self._last_seq = self._produced = self._removed = self._readings = self._bytes = 0
        self._dropped: Counter[str] = Counter()
        self._stored = asyncio.Event()
        self._closed = False

    async def open(self) -> None:
        """Nothing to open."""

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def last_seq(self) -> int:
        return self._last_seq

    async def append(self, entries: Sequence[Entry], notes: Mapping[str, bytes] | None = None) -> range:
        if self._closed:
            raise OutboxFailed("the outbox is closed")
        if self.refusal is not None:
            raise self.refusal
        if self._bounds.refuses(entries, self._bytes):
            raise OutboxFull(f"max_bytes is {self._bounds.limits.max_bytes}")
        span = range(self._last_seq + 1, self._last_seq + 1 + len(entries))
        at_ns = self._clock.now_ns()
        for entry in entries:
            self._last_seq += 1
            self._records.append(Record(self._last_seq, entry.kind, entry.payload, at_ns))
            self._readings += entry.readings
            self._bytes += len(entry.payload)
        self._produced += len(entries)
        self._notes.update(notes or {})
        self._bound()
        self._stored.set()
        self._stored = asyncio.Event()
        await asyncio.sleep(0)
        return span

    def read(
        self, after: int, limit: int, kinds: frozenset[RecordKind], until: int | None = None, *, newest: bool = False
    ) -> list[Record]:
        until = self._last_seq if until is None else until
        begin, end = (bisect_right(self._records, seq, key=lambda record: record.seq) for seq in (after, until))
        wanted = (record for record in (reversed if newest else iter)(self._records[begin:end]) if record.kind in kinds)
        found = list(islice(wanted, limit))[:: -1 if newest else 1]
        known = self._gaps if RecordKind.TELEMETRY in kinds else ()
        return gaps.weave(found, known, after, limit, until, newest=newest)

    async def wait(self, after: int, kinds: frozenset[RecordKind]) -> None:
        while not self.read(after, 1, kinds):
            await self._stored.wait()

    def cursor(self, sink: str) -> int:
        return self._floors.cursor(sink)

    def acknowledged(self, sink: str) -> Ranges:
        return self._floors.acknowledged(sink)

    async def acknowledge(self, sink: str, seq: int, after: int = 0) -> None:
        if not self._floors.take(sink, after, seq):
            return
        trims = self._floors.trims()
        for kind, released in trims.items():
            for record in [record for record in self._records if record.kind is kind and ranges.has(released, record.seq)]:
                refusal = self._refused.get(record.seq)
                self._remove(record, None if refusal is None else counted_as(refusal[1]))
            if kind is RecordKind.TELEMETRY:
                for first, last in released:
                    self._gaps = gaps.passed(self._gaps, first, last)
        self._floors.trimmed(trims)

    def fence(self, sink: str, seqs: Iterable[int]) -> None:
        self._floors.fence(sink, seqs)

    async def quarantine(self, sink: str, seq: int, reason: str) -> None:
        self._refused.setdefault(seq, (sink, reason))

    def note(self, key: str) -> bytes | None:
        return self._notes.get(key)

    def counts(self) -> Counts:
        return Counts(
            self._produced, self._removed, len(self._records), dict(self._dropped), self._readings, self._bytes, len(self._gaps)
        )

    async def close(self) -> None:
        self._closed = True

    def _bound(self) -> None:
        limits = self._bounds.limits
        telemetry = [record for record in self._records if record.kind is RecordKind.TELEMETRY]
        if limits.when_full is WhenFull.DROP_BY_PRIORITY:
            telemetry.sort(key=lambda record: limits.rank(self._table(record)))
        gone = []
        for record in telemetry:
            if self._bytes <= limits.max_bytes or limits.when_full is WhenFull.BLOCK:
                break
            self._remove(record, SIZE)
            gone.append(record)
        if gone:
            self._tell(gone)

    def _tell(self, gone: Sequence[Record]) -> None:
        edges = self._floors.edges()
        every = [record.seq for record in gone]
        for first, last in gaps.regions(edges, min(every), max(every)):
            part = [record for record in gone if first <= record.seq <= last]
            if part:
                devices = {device for record in part if (device := self._device(record)) is not None}
                seqs = [record.seq for record in part]
                gap = Gap(min(seqs), max(seqs), 0, 0, {SIZE: len(part)}, tuple(sorted(devices)))
                self._gaps = gaps.add(self._gaps, gap, edges)

    def _device(self, record: Record) -> str | None:
        stored = self._table(record)
        return None if stored is None else table_device(stored)

    def _table(self, record: Record) -> bytes | None:
        return self._notes.get(table_key(record.payload[1 : 1 + DIGEST_BYTES]))

    def _remove(self, record: Record, dropped: str | None) -> None:
        self._records.remove(record)
        self._bytes -= len(record.payload)
        if dropped is None:
            self._removed += 1
        else:
            self._dropped[dropped] += 1
