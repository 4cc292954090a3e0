"""What each sink has acknowledged, as the outbox file keeps it: a cursor, and islands beyond it. Synchronous."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from gateway.outbox import ranges
from gateway.outbox.ranges import Ranges


class Kept(NamedTuple):
    """The rows of `cursor` and `island`."""

    cursors: dict[str, int]
    islands: list[tuple[str, int, int]]
    """(sink, first, last), ascending."""


def read(connection: sqlite3.Connection) -> Kept:
    """Those of a file."""
    cursors = dict(connection.execute("SELECT sink, seq FROM cursor"))
    return Kept(cursors, connection.execute("SELECT sink, first, last FROM island ORDER BY sink, first").fetchall())


def kept(standings: Mapping[str, Ranges]) -> Kept:
    """How these are kept."""
    cursors = {sink: ranges.through(standing) for sink, standing in standings.items()}
    islands = [(sink, *island) for sink, standing in sorted(standings.items()) for island in ranges.beyond(standing)]
    return Kept(cursors, islands)


def standings(rows: Kept) -> dict[str, Ranges]:
    """What rows say, by sink."""
    found: dict[str, Ranges] = {sink: ranges.add((), 1, seq) for sink, seq in rows.cursors.items()}
    for sink, first, last in rows.islands:
        found[sink] = ranges.add(found.get(sink, ()), first, last)
    return found


def write(connection: sqlite3.Connection, cursors: Mapping[str, int], islands: Mapping[str, Ranges]) -> None:
    """Replace the cursor, or the islands, of each sink named."""
    if cursors:
        connection.executemany("INSERT OR REPLACE INTO cursor (sink, seq) VALUES (?, ?)", cursors.items())
    if islands:
        connection.executemany("DELETE FROM island WHERE sink = ?", [(sink,) for sink in islands])
        rows = [(sink, *island) for sink, several in islands.items() for island in several]
        connection.executemany("INSERT INTO island (sink, first, last) VALUES (?, ?, ?)", rows)
