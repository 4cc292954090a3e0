"""How often what was asked for on which day: durable counters, in a file of their own beside the store.

Processes count in memory and hand over every few seconds what has come; a process that is killed loses the last of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from idnode.operations.meter import Meter

FLUSH_S = 5.0
KEPT_DAYS = 400
_DAY_MS = 86_400_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS counts (
    day INTEGER NOT NULL,
    prefix TEXT NOT NULL,
    face TEXT NOT NULL,
    status INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (day, prefix, face, status)
) STRICT, WITHOUT ROWID"""
_ADD = (
    "INSERT INTO counts VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (day, prefix, face, status) DO UPDATE SET count = count + excluded.count"
)


class Count(msgspec.Struct, array_like=True, frozen=True):
    """Answers of one kind on one day (UTC)."""

    day: int
    """Since 1970-01-01."""
    prefix: str
    face: str
    status: int
    count: int


class Tally:
    """What a meter has counted since the last look."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._seen: dict[tuple[str, str, int], int] = {}

    def take(self, at_ms: int) -> list[Count]:
        """What has come; it counts for the day of this moment."""
        day, found = at_ms // _DAY_MS, []
        for key, counter in self._meter.answers.items():
            new = counter[0] - self._seen.get(key, 0)
            if new:
                self._seen[key] = counter[0]
                face, prefix, status = key
                found.append(Count(day, prefix, face, status, new))
        return found


class Statistics:
    """The file. Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(_SCHEMA)

    def add(self, counts: Sequence[Count]) -> None:
        """Add them up, all at once; days that are too old go. Raises sqlite3.Error."""
        if not counts:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_ADD, [(each.day, each.prefix, each.face, each.status, each.count) for each in counts])
            self._connection.execute("DELETE FROM counts WHERE day < ?", (max(each.day for each in counts) - KEPT_DAYS,))
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def counts(self, first_day: int, last_day: int, prefix: str | None) -> list[Count]:
        """Those of these days, of one prefix or of all, ascending. Raises sqlite3.Error."""
        rows = self._connection.execute(
            "SELECT day, prefix, face, status, count FROM counts WHERE day BETWEEN ? AND ? AND (? IS NULL OR prefix = ?)"
            " ORDER BY day, prefix, face, status",
            (first_day, last_day, prefix, prefix),
        )
        return [Count(*row) for row in rows]

    def close(self) -> None:
        """Give the file up."""
        self._connection.close()


def path_beside(store: Path) -> Path:
    """Where the statistics of a store are."""
    return store.with_name(f"{store.stem}-statistics{store.suffix}")
