"""Puts a raw export back into an outbox on which no gateway runs, in one transaction. Synchronous.

Records of the outbox's own epoch get their own seqs, so that consumers know repeats; those of another epoch become new records at
the end, and a note says which have come, so that none comes twice. An epoch is never taken over from an export: what another
outbox had given beyond it isn't known, and a seq must not name two records.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gateway.outbox import gaps, ranges
from gateway.outbox.archive import Archive, Archived, read_archive, refuse, table_of
from gateway.outbox.codec import Gap, checksum
from gateway.outbox.inspection import set_back
from gateway.outbox.store import Opened, load, reseal

Runs = list[tuple[int, int]]
"""(first, last) of seqs without a hole, ascending."""


@dataclass(slots=True)
class Imported:
    """What an import did."""

    added: int = 0
    present: int = 0
    """Records that were there already, or had been imported before."""
    size: int = 0
    """Bytes of payload that were added."""
    seqs: Runs = field(default_factory=list)
    """Seqs in the outbox of what was added."""
    again: dict[str, int] = field(default_factory=dict)
    """How many records each sink gets that was set back."""


def put_back(connection: sqlite3.Connection, path: Path) -> Imported:
    """Import the export at `path`, within a transaction of the connection.

    Raises:
        ArchiveDamaged: a line is damaged or missing; with file and line. The transaction is to be rolled back.
        OSError, sqlite3.Error
    """
    archive = read_archive(path)
    opened = load(connection)
    done = Imported()
    if archive.epoch == opened.epoch:
        _restore(connection, path, archive, done)
    else:
        _adopt(connection, path, archive, opened, done)
    connection.executemany("INSERT OR IGNORE INTO note (key, value) VALUES (?, ?)", archive.tables.items())
    sums = "UPDATE book SET produced = produced + ?, stored = stored + ?, stored_bytes = stored_bytes + ?"
    connection.execute(sums, (done.added, done.added, done.size))
    reseal(connection)
    if archive.epoch == opened.epoch and done.seqs:
        _mend_gaps(connection, opened.books.gaps, done.seqs)
        first = done.seqs[0][0]
        for sink, standing in opened.standings.items():
            if ranges.common(standing, tuple(done.seqs)):
                done.again[sink] = set_back(connection, sink, first)
    return done


def _restore(connection: sqlite3.Connection, path: Path, archive: Archive, done: Imported) -> None:
    """Under their own seqs, where those aren't there."""
    for record in archive.records:
        row = connection.execute("SELECT crc FROM record WHERE seq = ?", (record.seq,)).fetchone()
        if row is None:
            _insert(connection, path, archive, record, record.seq, done)
        elif row[0] == checksum(record.seq, record.kind, record.payload):
            done.present += 1
        else:
            refuse(path, record, f"record {record.seq} is there with another content", f"记录 {record.seq} 已存在且内容不同")


def _adopt(connection: sqlite3.Connection, path: Path, archive: Archive, opened: Opened, done: Imported) -> None:
    """As new records, where they haven't come before."""
    key = f"imported/{archive.epoch}"
    kept = opened.notes.get(key)
    before: Runs = msgspec.msgpack.decode(kept, type=Runs) if kept else []
    taken: Runs = []
    seq = opened.last_seq
    for record in archive.records:
        if _holds(before, record.seq):
            done.present += 1
            continue
        seq += 1
        _insert(connection, path, archive, record, seq, done)
        _extend(taken, record.seq)
    if taken:
        value = msgspec.msgpack.encode(_joined([*before, *taken]))
        connection.execute("INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)", (key, value))


def _insert(connection: sqlite3.Connection, path: Path, archive: Archive, record: Archived, seq: int, done: Imported) -> None:
    if not table_of(connection, archive, record):
        refuse(path, record, "its tag table is neither in the export nor in the outbox", "导出文件和缓存中均无其标签表")
    connection.execute(
        "INSERT INTO record (seq, kind, at_ns, crc, payload) VALUES (?, ?, ?, ?, ?)",
        (seq, record.kind, record.at_ns, checksum(seq, record.kind, record.payload), record.payload),
    )
    done.added += 1
    done.size += len(record.payload)
    _extend(done.seqs, seq)


def _mend_gaps(connection: sqlite3.Connection, known: Sequence[Gap], added: Runs) -> None:
    """Gaps don't tell of what is there again, and stand where no record does."""
    for gap in known:
        count = sum(max(0, min(last, gap.last_seq) - max(first, gap.first_seq) + 1) for first, last in added)
        if not count:
            continue
        connection.execute("DELETE FROM gap WHERE seq = ?", (gap.last_seq,))
        place = _free_place(connection, gap)
        dropped = _less(gap.dropped, count)
        if place is not None and dropped:
            mended = msgspec.structs.replace(gap, last_seq=place, dropped=dropped)
            connection.execute("INSERT INTO gap (seq, crc, payload) VALUES (?, ?, ?)", gaps.as_row(mended))


def _free_place(connection: sqlite3.Connection, gap: Gap) -> int | None:
    """The highest seq of a gap that no record has."""
    place = gap.last_seq
    span = (gap.first_seq, gap.last_seq)
    for (seq,) in connection.execute("SELECT seq FROM record WHERE seq >= ? AND seq <= ? ORDER BY seq DESC", span):
        if seq < place:
            return place
        place = seq - 1
    return place if place >= gap.first_seq else None


def _less(dropped: dict[str, int], count: int) -> dict[str, int]:
    left = {}
    for reason, number in dropped.items():
        taken = min(number, count)
        count -= taken
        if number > taken:
            left[reason] = number - taken
    return left


def _holds(runs: Runs, seq: int) -> bool:
    at = bisect_right(runs, seq, key=lambda run: run[0]) - 1
    return at >= 0 and seq <= runs[at][1]


def _extend(runs: Runs, seq: int) -> None:
    """Add a seq beyond all of them."""
    if runs and runs[-1][1] == seq - 1:
        runs[-1] = (runs[-1][0], seq)
    else:
        runs.append((seq, seq))


def _joined(runs: Runs) -> Runs:
    found: Runs = []
    for first, last in sorted(runs):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found
