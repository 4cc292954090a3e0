"""One transaction of the outbox file, and the books that change with it. Synchronous; knows no event loop."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from gateway.outbox.base import RecordKind

DAMAGED = "damaged"
SIZE = "size"
AGE = "age"
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The declared drop policy: the oldest telemetry goes, counted; products never do."""

    max_bytes: int = 2 * 1024**3
    """Of payload. Beyond it the oldest telemetry is dropped, reason "size"."""
    max_age_s: float | None = None
    """By the gateway's wall clock. Older telemetry is dropped, reason "age"."""


@dataclass(frozen=True, slots=True)
class Books:
    """The row of `book` and the table `dropped`, as of a commit."""

    produced: int
    removed: int
    stored: int
    stored_bytes: int
    readings: int
    dropped: Mapping[str, int]


@dataclass(slots=True)
class Batch:
    """What one transaction carries."""

    records: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    """(seq, kind, at_ns, crc, payload)"""
    readings: int = 0
    notes: dict[str, bytes] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    """(seq, sink, reason): a copy is set aside."""
    damaged: list[int] = field(default_factory=list)
    """Seqs whose checksum failed: moved to the quarantine."""
    trims: dict[RecordKind, tuple[int, int]] = field(default_factory=dict)
    """By kind: the seqs in (first, second] have been acknowledged by all who carry it."""


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


def of_kind(kind: RecordKind) -> str:
    """A condition that lets SQLite use the partial index of that kind: it takes literals only."""
    return f"kind = {int(kind)}"


def counted_as(reason: str) -> str:
    """The name in the books of a reason for refusing a record: what stands before its first colon."""
    return reason.partition(":")[0].strip() or "refused"


def commit(connection: sqlite3.Connection, books: Books, batch: Batch, limits: Limits, now_ns: int) -> Books:
    """Carry a batch out in one durable transaction.

    Returns:
        The books after it.

    Raises:
        sqlite3.Error: nothing of it was stored.
    """
    account = _Account(connection, books)
    with transaction(connection):
        for seq, sink, reason in batch.refused:
            _set_aside(connection, seq, sink, reason)
        for seq in batch.damaged:
            _set_aside(connection, seq, "", DAMAGED)
            account.drop(DAMAGED, "seq = ?", (seq,))
        for kind, span in batch.trims.items():
            account.remove(kind, span)
        if batch.records:
            account.produce(batch)
        account.bound(limits, now_ns)
        if batch.notes:
            connection.executemany("INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)", batch.notes.items())
        if batch.cursors:
            connection.executemany("INSERT OR REPLACE INTO cursor (sink, seq) VALUES (?, ?)", batch.cursors.items())
        account.write()
    return account.books()


def _set_aside(connection: sqlite3.Connection, seq: int, sink: str, reason: str) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO quarantine (seq, kind, at_ns, sink, reason, payload) "
        "SELECT seq, kind, at_ns, ?, ?, payload FROM record WHERE seq = ?",
        (sink, reason, seq),
    )


class _Account:
    """The books during a transaction."""

    def __init__(self, connection: sqlite3.Connection, books: Books) -> None:
        self._connection = connection
        self._produced = books.produced
        self._removed = books.removed
        self._stored = books.stored
        self._bytes = books.stored_bytes
        self._readings = books.readings
        self._dropped = Counter(books.dropped)
        self._dropped_before = books.dropped

    def books(self) -> Books:
        return Books(self._produced, self._removed, self._stored, self._bytes, self._readings, dict(self._dropped))

    def produce(self, batch: Batch) -> None:
        self._connection.executemany("INSERT INTO record (seq, kind, at_ns, crc, payload) VALUES (?, ?, ?, ?, ?)", batch.records)
        self._produced += len(batch.records)
        self._stored += len(batch.records)
        self._bytes += sum(len(payload) for *_, payload in batch.records)
        self._readings += batch.readings

    def remove(self, kind: RecordKind, span: tuple[int, int]) -> None:
        """Records that have been acknowledged go; those that a sink refused count as dropped."""
        refused = self._connection.execute(
            "SELECT reason FROM quarantine WHERE kind = ? AND seq > ? AND seq <= ? "
            "AND EXISTS (SELECT 1 FROM record WHERE record.seq = quarantine.seq)",
            (int(kind), *span),
        ).fetchall()
        count = self._delete(f"{of_kind(kind)} AND seq > ? AND seq <= ?", span)
        self._dropped.update(counted_as(reason) for (reason,) in refused)
        self._removed += count - len(refused)

    def drop(self, reason: str, condition: str, parameters: tuple[int, ...]) -> None:
        count = self._delete(condition, parameters)
        if count:
            self._dropped[reason] += count

    def _delete(self, condition: str, parameters: tuple[int, ...]) -> int:
        sums = f"SELECT count(*), coalesce(sum(length(payload)), 0) FROM record WHERE {condition}"  # noqa: S608
        count, size = self._connection.execute(sums, parameters).fetchone()
        if count:
            self._connection.execute(f"DELETE FROM record WHERE {condition}", parameters)  # noqa: S608
            self._stored -= count
            self._bytes -= size
        return int(count)

    def bound(self, limits: Limits, now_ns: int) -> None:
        """Keep the declared limits."""
        telemetry = of_kind(RecordKind.TELEMETRY)
        if limits.max_age_s is not None:
            born_ns = now_ns - int(limits.max_age_s * _NS)
            oldest = self._connection.execute(f"SELECT at_ns FROM record WHERE {telemetry} ORDER BY seq LIMIT 1")  # noqa: S608
            row = oldest.fetchone()
            if row and row[0] < born_ns:
                self.drop(AGE, f"{telemetry} AND at_ns < ?", (born_ns,))
        excess = self._bytes - limits.max_bytes
        if excess <= 0:
            return
        last = 0
        for seq, size in self._connection.execute(f"SELECT seq, length(payload) FROM record WHERE {telemetry} ORDER BY seq"):  # noqa: S608
            last = seq
            excess -= size
            if excess <= 0:
                break
        self.drop(SIZE, f"{telemetry} AND seq <= ?", (last,))

    def write(self) -> None:
        self._connection.execute(
            "UPDATE book SET produced = ?, removed = ?, stored = ?, stored_bytes = ?, readings = ?",
            (self._produced, self._removed, self._stored, self._bytes, self._readings),
        )
        changed = [(reason, n) for reason, n in self._dropped.items() if n != self._dropped_before.get(reason)]
        if changed:
            self._connection.executemany("INSERT OR REPLACE INTO dropped (reason, records) VALUES (?, ?)", changed)
