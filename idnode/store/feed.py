"""The feed of changes: which identifiers the last commits changed, for answers that are kept, in this process and in others."""

from __future__ import annotations

from collections.abc import Collection
from sqlite3 import Connection

import msgspec

from idnode.store.base import Forget

MOST_ROWS = 1024
MOST_BYTES = 4_194_304
"""Commits, and bytes of their keys, that are kept; who has come no further must take everything for changed."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[str])


def append(connection: Connection, keys: Collection[str] | None) -> None:
    """Note what a transaction changes (None: anything), within it, and trim what is too old."""
    blob = None if keys is None else _encoder.encode(list(keys))
    last, total = _newest(connection)
    last, total = last + 1, total + len(blob or b"")
    connection.execute("INSERT INTO changes VALUES (?, ?, ?)", (last, total, blob))
    while connection.execute(
        "DELETE FROM changes WHERE sequence = (SELECT min(sequence) FROM changes) AND sequence < ?"
        " AND (sequence <= ? OR total - ifnull(length(keys), 0) < ?)",
        (last, last - MOST_ROWS, total - MOST_BYTES),
    ).rowcount:
        pass


def _newest(connection: Connection) -> tuple[int, int]:
    """Sequence and total of the newest row."""
    row = connection.execute("SELECT sequence, total FROM changes ORDER BY sequence DESC LIMIT 1").fetchone()
    return (0, 0) if row is None else row


class Feed:
    """Follows the changes by a connection that reads. Its methods raise sqlite3.Error."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watchers: list[Forget] = []
        self._seen = 0
        """The sequence up to which the watchers have been told."""
        self._data_version = -1

    def watch(self, forget: Forget) -> None:
        """See Watched.watch."""
        if not self._watchers:
            self._data_version = self._read_data_version()
            self._seen, _ = _newest(self._connection)
        self._watchers.append(forget)

    def refresh(self) -> None:
        """See Watched.refresh. Nothing is read but a number in shared memory when nobody has committed."""
        if not self._watchers:
            return
        data_version = self._read_data_version()
        if data_version == self._data_version:
            return
        # Afterwards: whatever is committed from here on changes the number once more.
        rows = self._connection.execute(
            "SELECT sequence, keys FROM changes WHERE sequence > ? ORDER BY sequence", (self._seen,)
        ).fetchall()
        self._data_version = data_version
        if not rows:
            return
        complete = rows[0][0] == self._seen + 1 and all(keys is not None for _, keys in rows)
        self._seen = rows[-1][0]
        if not complete:
            self.tell(None)
            return
        for _, keys in rows:
            self.tell(_decoder.decode(keys))

    def tell(self, keys: Collection[str] | None) -> None:
        """Tell the watchers."""
        for forget in self._watchers:
            forget(keys)

    def _read_data_version(self) -> int:
        (number,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(number)
