"""One transaction of the outbox file, and the books that change with it. Synchronous; knows no event loop."""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

from gateway.outbox import gaps, standings
from gateway.outbox.base import Counts, RecordKind
from gateway.outbox.bounds import Bounds, Drop, device_of
from gateway.outbox.codec import DIGEST_BYTES, Gap
from gateway.outbox.gaps import Gaps
from gateway.outbox.ranges import Ranges
from gateway.outbox.schema import of_kind
from gateway.outbox.standings import Kept

DAMAGED = "damaged"
_TIMES = ", ".join(f"{end}(CASE typeof(at_ns) WHEN 'integer' THEN at_ns END)" for end in ("min", "max"))
"""Of what is altered a time may be anything."""
ROWS_AT_ONCE = 32
"""Rows of one INSERT: around each statement this thread lets the event loop's go on, and then has to wait for it."""


@dataclass(frozen=True, slots=True)
class Books:
    """The row of `book` and the tables `dropped` and `gap`, as of a commit."""

    produced: int
    removed: int
    stored: int
    stored_bytes: int
    readings: int
    dropped: Mapping[str, int]
    gaps: Gaps = ()

    def counts(self) -> Counts:
        """For those outside."""
        figures = (self.produced, self.removed, self.stored, self.dropped, self.readings, self.stored_bytes)
        return Counts(*figures, len(self.gaps))


@dataclass(slots=True)
class Batch:
    """What one transaction carries."""

    records: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    """(seq, kind, at_ns, crc, payload)"""
    readings: int = 0
    notes: dict[str, bytes] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    islands: dict[str, Ranges] = field(default_factory=dict)
    """By sink: what it has acknowledged beyond its cursor, where that has changed."""
    standings: dict[str, Ranges] = field(default_factory=dict)
    """All that each has acknowledged after it, for the seal."""
    edges: Sequence[int] = ()
    """See Floors.edges: no gap crosses one."""
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    """(seq, sink, reason): a copy is set aside."""
    damaged: list[int] = field(default_factory=list)
    """Seqs whose checksum failed: moved to the quarantine."""
    trims: dict[RecordKind, Ranges] = field(default_factory=dict)
    """By kind: these seqs have been acknowledged by all who carry it."""

    @property
    def is_dirty(self) -> bool:
        """Whether acknowledgements, refusals or damaged records wait for it."""
        return bool(self.cursors or self.refused or self.damaged)


@cache
def _insert_of(rows: int) -> str:
    return f"INSERT INTO record (seq, kind, at_ns, crc, payload) VALUES {', '.join(['(?, ?, ?, ?, ?)'] * rows)}"  # noqa: S608


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end of the block; roll back when it, or the commit, fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # the first error is the one that tells
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def counted_as(reason: str) -> str:
    """The name in the books of a reason for refusing a record: what stands before its first colon."""
    return reason.partition(":")[0].strip() or "refused"


def commit(connection: sqlite3.Connection, books: Books, batch: Batch, bounds: Bounds, now_ns: int) -> Books:
    """Carry a batch out in one durable transaction.

    Returns:
        The books after it.

    Raises:
        sqlite3.Error: nothing of it was stored.
    """
    account = _Account(connection, books, batch.edges)
    try:
        _carry_out(connection, account, batch, bounds, now_ns)
    except BaseException:
        bounds.forget()
        raise
    return account.books()


def _carry_out(connection: sqlite3.Connection, account: _Account, batch: Batch, bounds: Bounds, now_ns: int) -> None:
    with transaction(connection):
        for seq, sink, reason in batch.refused:
            _set_aside(connection, seq, sink, reason)
        for seq in batch.damaged:
            _set_aside(connection, seq, "", DAMAGED)
            account.drop(Drop(DAMAGED, "seq = ?", (seq,)))
        for kind, released in batch.trims.items():
            for span in released:
                account.remove(kind, span)
        if batch.records:
            account.produce(batch)
        bounds.learn(batch.notes)
        account.bound(bounds, now_ns)
        if batch.notes:
            connection.executemany("INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)", batch.notes.items())
        standings.write(connection, batch.cursors, batch.islands)
        account.write(standings.kept(batch.standings))


def books_of(figures: Sequence[int], dropped: Mapping[str, int], known: Gaps = ()) -> Books:
    """From the row of `book`: produced, removed, stored, stored_bytes, readings."""
    produced, removed, stored, stored_bytes, readings = figures
    return Books(produced, removed, stored, stored_bytes, readings, dropped, known)


def seal(books: Books, kept: Kept) -> int:
    """A checksum over the books and what was acknowledged: altered, that would remove what nobody has acknowledged. Never 0."""
    figures = (books.produced, books.removed, books.stored, books.stored_bytes, books.readings)
    sealed = repr((figures, sorted(books.dropped.items()), sorted(kept.cursors.items())))
    if kept.islands:  # without any it is the seal of a file from before there were islands
        sealed += repr(kept.islands)
    return zlib.crc32(sealed.encode()) or 1


def _set_aside(connection: sqlite3.Connection, seq: int, sink: str, reason: str) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO quarantine (seq, kind, at_ns, sink, reason, payload) "
        "SELECT seq, kind, at_ns, ?, ?, payload FROM record WHERE seq = ?",
        (sink, reason, seq),
    )


class _Account:
    """The books during a transaction."""

    def __init__(self, connection: sqlite3.Connection, books: Books, edges: Sequence[int]) -> None:
        self._connection = connection
        self._edges = edges
        self._produced = books.produced
        self._removed = books.removed
        self._stored = books.stored
        self._bytes = books.stored_bytes
        self._readings = books.readings
        self._dropped = Counter(books.dropped)
        self._dropped_before = books.dropped
        self._gaps = self._gaps_before = books.gaps

    def books(self) -> Books:
        dropped = dict(self._dropped)
        return Books(self._produced, self._removed, self._stored, self._bytes, self._readings, dropped, self._gaps)

    def produce(self, batch: Batch) -> None:
        for start in range(0, len(batch.records), ROWS_AT_ONCE):
            rows = batch.records[start : start + ROWS_AT_ONCE]
            self._connection.execute(_insert_of(len(rows)), tuple(chain.from_iterable(rows)))
        self._produced += len(batch.records)
        self._stored += len(batch.records)
        self._bytes += sum(len(payload) for *_, payload in batch.records)
        self._readings += batch.readings

    def remove(self, kind: RecordKind, span: tuple[int, int]) -> None:
        """Records that have been acknowledged go; those that a sink refused count as dropped."""
        refused = self._connection.execute(
            "SELECT reason FROM quarantine WHERE kind = ? AND seq >= ? AND seq <= ? "
            "AND EXISTS (SELECT 1 FROM record WHERE record.seq = quarantine.seq)",
            (int(kind), *span),
        ).fetchall()
        count = self._delete(f"{of_kind(kind)} AND seq >= ? AND seq <= ?", span)
        self._dropped.update(counted_as(reason) for (reason,) in refused)
        self._removed += count - len(refused)
        if kind is RecordKind.TELEMETRY:
            self._gaps = gaps.passed(self._gaps, *span)

    def drop(self, drop: Drop) -> None:
        """Records go before every sink had them: counted, and told by a gap, or by one between each two edges."""
        found = self._extent(drop)
        if found is None:
            return
        pieces = list(gaps.regions(self._edges, found[0], found[1]))
        if len(pieces) == 1:
            self._drop_piece(drop, found)
            return
        for piece in pieces:
            part = Drop(drop.reason, f"({drop.condition}) AND seq >= ? AND seq <= ?", (*drop.parameters, *piece))
            if (extent := self._extent(part)) is not None:
                self._drop_piece(part, extent)

    def _extent(self, drop: Drop) -> tuple[int, int, int, int] | None:
        """Least and greatest seq and time of what goes; None when nothing does."""
        query = f"SELECT min(seq), max(seq), {_TIMES} FROM record WHERE {drop.condition}"  # noqa: S608
        first, last, first_ns, last_ns = self._connection.execute(query, drop.parameters).fetchone()
        return None if first is None else (first, last, first_ns or 0, last_ns or 0)

    def _drop_piece(self, drop: Drop, extent: tuple[int, int, int, int]) -> None:
        devices = self._devices(drop)
        count = self._delete(drop.condition, drop.parameters)
        self._dropped[drop.reason] += count
        self._gaps = gaps.add(self._gaps, Gap(*extent, {drop.reason: count}, devices), self._edges)

    def _devices(self, drop: Drop) -> tuple[str, ...]:
        digests = f"SELECT DISTINCT substr(payload, 2, {DIGEST_BYTES}) FROM record WHERE {drop.condition}"  # noqa: S608
        found = self._connection.execute(digests, drop.parameters).fetchall()
        devices = {
            device_of(self._connection, digest)
            for (digest,) in found
            if isinstance(digest, bytes) and len(digest) == DIGEST_BYTES
        }
        return tuple(sorted(device for device in devices if device is not None))

    def _delete(self, condition: str, parameters: tuple[int | str, ...]) -> int:
        sums = f"SELECT count(*), coalesce(sum(length(payload)), 0) FROM record WHERE {condition}"  # noqa: S608
        count, size = self._connection.execute(sums, parameters).fetchone()
        if count:
            self._connection.execute(f"DELETE FROM record WHERE {condition}", parameters)  # noqa: S608
            self._stored -= count
            self._bytes -= size
        return int(count)

    def bound(self, bounds: Bounds, now_ns: int) -> None:
        """Keep the declared limits."""
        if (drop := bounds.aged(self._connection, now_ns)) is not None:
            self.drop(drop)
        if (drop := bounds.excessive(self._connection, self._bytes)) is not None:
            self.drop(drop)

    def write(self, kept: Kept) -> None:
        self._connection.execute(
            "UPDATE book SET produced = ?, removed = ?, stored = ?, stored_bytes = ?, readings = ?, crc = ?",
            (self._produced, self._removed, self._stored, self._bytes, self._readings, seal(self.books(), kept)),
        )
        changed = [(reason, n) for reason, n in self._dropped.items() if n != self._dropped_before.get(reason)]
        if changed:
            self._connection.executemany("INSERT OR REPLACE INTO dropped (reason, records) VALUES (?, ?)", changed)
        if self._gaps is not self._gaps_before:
            self._write_gaps()

    def _write_gaps(self) -> None:
        before = {gap.last_seq: gap for gap in self._gaps_before}
        gone = before.keys() - {gap.last_seq for gap in self._gaps}
        self._connection.executemany("DELETE FROM gap WHERE seq = ?", [(seq,) for seq in gone])
        rows = [gaps.as_row(gap) for gap in self._gaps if before.get(gap.last_seq) != gap]
        self._connection.executemany("INSERT OR REPLACE INTO gap (seq, crc, payload) VALUES (?, ?, ?)", rows)
