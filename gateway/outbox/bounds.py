"""The declared limits of an outbox, and which records go when they are reached. Synchronous; knows no event loop."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import DIGEST_BYTES, RecordDamaged, decode_table, table_digest, table_key, table_priority
from gateway.outbox.schema import of_kind

SIZE = "size"
AGE = "age"
_NS = 1_000_000_000
_DIGEST = slice(1, 1 + DIGEST_BYTES)
_TELEMETRY = of_kind(RecordKind.TELEMETRY)


class WhenFull(StrEnum):
    """What happens beyond max_bytes."""

    DROP_OLDEST = "drop_oldest"
    DROP_BY_PRIORITY = "drop_by_priority"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Limits:
    """The declared policy. What goes is telemetry, counted by reason and told by a gap; products never go."""

    max_bytes: int = 2 * 1024**3
    """Of payload."""
    max_age_s: float | None = None
    """By the gateway's wall clock. Older telemetry is dropped, reason "age", whatever `when_full` says."""
    when_full: WhenFull = WhenFull.DROP_OLDEST
    """Beyond max_bytes: drop the oldest (reason "size"), the oldest of the lowest priority first, or take no more telemetry."""
    priorities: Mapping[str, int] = field(default_factory=dict)
    """By device, for DROP_BY_PRIORITY: what has a lower one goes first; 0 for a device that isn't named.

    Tags with a priority of their own are in records of their own, whose tag table says it.
    """

    def rank(self, stored: bytes | None) -> int:
        """The priority of the records of a stored tag table."""
        if stored is None:
            return 0
        own = table_priority(stored)
        return self.priorities.get(table_device(stored) or "", 0) if own is None else own


@dataclass(frozen=True, slots=True)
class Drop:
    """Records that must go: those that meet the condition on a row of `record`."""

    reason: str
    condition: str
    parameters: tuple[int | str, ...]


class Bounds:
    """Finds what must go so that the limits are kept."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._ranks: dict[bytes, int] = {}
        """Priorities by the digest of the tag table."""
        self._has_learnt = False
        """The tables of the file are in _ranks."""
        self._searched: dict[int, int] = {}
        """By priority: the seq through which nothing of it is stored any more."""

    def refuses(self, entries: Sequence[Entry], stored_bytes: int) -> bool:
        """Whether telemetry among `entries` has to wait for space."""
        if self.limits.when_full is not WhenFull.BLOCK or all(entry.kind is not RecordKind.TELEMETRY for entry in entries):
            return False
        return stored_bytes > 0 and stored_bytes + sum(len(entry.payload) for entry in entries) > self.limits.max_bytes

    def aged(self, connection: sqlite3.Connection, now_ns: int) -> Drop | None:
        """What is too old. Stored times ascend but for steps of the clock: the oldest record is asked first."""
        if self.limits.max_age_s is None:
            return None
        born_ns = now_ns - int(self.limits.max_age_s * _NS)
        row = connection.execute(f"SELECT at_ns FROM record WHERE {_TELEMETRY} ORDER BY seq LIMIT 1").fetchone()  # noqa: S608
        if row is None or row[0] >= born_ns:
            return None
        return Drop(AGE, f"{_TELEMETRY} AND at_ns < ?", (born_ns,))

    def excessive(self, connection: sqlite3.Connection, stored_bytes: int) -> Drop | None:
        """What is too much."""
        excess = stored_bytes - self.limits.max_bytes
        if excess <= 0 or self.limits.when_full is WhenFull.BLOCK:
            return None
        if self.limits.when_full is WhenFull.DROP_BY_PRIORITY:
            chosen = json.dumps(list(self._lowest(connection, excess)))
            return Drop(SIZE, "seq IN (SELECT value FROM json_each(?))", (chosen,))
        last = 0
        for seq, size in connection.execute(f"SELECT seq, length(payload) FROM record WHERE {_TELEMETRY} ORDER BY seq"):  # noqa: S608
            last = seq
            excess -= size
            if excess <= 0:
                break
        return Drop(SIZE, f"{_TELEMETRY} AND seq <= ?", (last,))

    def learn(self, notes: Mapping[str, bytes]) -> None:
        """Notes that are stored together with records: their tag tables say the records' priorities."""
        if self.limits.when_full is WhenFull.DROP_BY_PRIORITY:
            for key, value in notes.items():
                if key.startswith("table/") and table_key(digest := table_digest(value)) == key:
                    self._ranks[digest] = self.limits.rank(value)

    def forget(self) -> None:
        """What was chosen has not gone after all."""
        self._searched.clear()

    def _lowest(self, connection: sqlite3.Connection, excess: int) -> Iterator[int]:
        """Seqs of the oldest telemetry of the lowest priority. Each is looked at once a priority, however often this is asked."""
        query = (
            f"SELECT seq, substr(payload, 1, {1 + DIGEST_BYTES}), length(payload) FROM record "  # noqa: S608
            f"WHERE {_TELEMETRY} AND seq > ? ORDER BY seq"
        )
        for rank in sorted(self._known_ranks(connection)):
            for seq, head, size in connection.execute(query, (self._searched.get(rank, 0),)):
                self._searched[rank] = seq
                if self._rank(connection, head[_DIGEST]) == rank:
                    yield seq
                    excess -= size
                    if excess <= 0:
                        return

    def _rank(self, connection: sqlite3.Connection, digest: bytes) -> int:
        rank = self._ranks.get(digest)
        if rank is None:
            row = connection.execute("SELECT value FROM note WHERE key = ?", (table_key(digest),)).fetchone()
            if row is None:
                return 0
            rank = self._ranks[digest] = self.limits.rank(row[0])
        return rank

    def _known_ranks(self, connection: sqlite3.Connection) -> set[int]:
        """Every priority that a record may have."""
        if not self._has_learnt:
            self.learn(dict(connection.execute("SELECT key, value FROM note WHERE key >= 'table/' AND key < 'table0'")))
            self._has_learnt = True
        return {0, *self.limits.priorities.values(), *self._ranks.values()}


def device_of(connection: sqlite3.Connection, digest: bytes) -> str | None:
    """The device of the tag table with that digest; None when the outbox doesn't hold it."""
    row = connection.execute("SELECT value FROM note WHERE key = ?", (table_key(digest),)).fetchone()
    return None if row is None else table_device(row[0])


def table_device(stored: bytes) -> str | None:
    """The device of a stored tag table; None when it can't be read."""
    try:
        return decode_table(stored).device
    except RecordDamaged:
        return None
