"""A damaged outbox file: what can be read goes into a new one, the damaged one is kept beside it. Synchronous.

The new file is made whole before the old one is moved, and the move is finished at the next start if it was cut short.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from gateway.outbox import gaps, ranges
from gateway.outbox.batch import DAMAGED, Books, books_of, seal
from gateway.outbox.carving import Row, carve
from gateway.outbox.codec import Gap
from gateway.outbox.mark import Mark
from gateway.outbox.ranges import Ranges
from gateway.outbox.schema import APPLICATION_ID, STEPS, VERSION
from gateway.outbox.standings import Kept, standings

_HEAD = b"SQLite format 3\x00"
_APPLICATION_ID_AT = 68
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class FileDamaged(Exception):
    """The file is an outbox, and it is cut or altered."""


@dataclass(slots=True)
class _Tables:
    """What the small tables still tell; None or empty for what can't be read or doesn't meet its seal."""

    book: tuple[Any, ...] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    kept: Kept = field(default_factory=lambda: Kept({}, []))
    notes: list[tuple[Any, ...]] = field(default_factory=list)
    quarantine: list[tuple[Any, ...]] = field(default_factory=list)
    last_seq: int = 0


def is_damage(error: BaseException) -> bool:
    """Whether an error says that the file's content is wrong, not its disk."""
    return isinstance(error, FileDamaged) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def is_outbox(path: Path, mark: Mark | None) -> bool:
    """Whether the file is, or was before it was damaged, an outbox of ours."""
    if mark is not None:
        return True
    with suppress(OSError), path.open("rb") as file:
        head = file.read(_APPLICATION_ID_AT + 4)
        return head[_APPLICATION_ID_AT:] == APPLICATION_ID.to_bytes(4, "big")
    return False


def salvage(path: Path, mark: Mark | None, telemetry_sinks: Collection[str]) -> str:
    """Make a new file of what can be read of the one at `path`, and set that one aside.

    Returns:
        What happened, for the log.

    Raises:
        sqlite3.Error, OSError: the new file can't be written; nothing has changed.
    """
    draft = path.with_name(path.name + ".salvaging")
    draft.unlink(missing_ok=True)
    tables = _read_tables(path)
    epoch = mark.epoch if mark else str(tables.book[0]) if tables.book else secrets.token_hex(8)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            books = _write(connection, carve(path), tables, epoch, mark, telemetry_sinks)
        with draft.open("r+b") as file:
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    draft.replace(_whole(path))
    sync_folder(path.parent)
    aside = finish(path)
    lost = books.dropped.get(DAMAGED, 0) - tables.dropped.get(DAMAGED, 0)
    return f"{path} was damaged: {books.stored} records salvaged, {lost} lost; the damaged file is kept as {aside}"


def finish(path: Path) -> Path | None:
    """Move a file that salvage() has made into its place, if there is one; returns where the damaged one went."""
    whole = _whole(path)
    if not whole.exists():
        return None
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    count = 1
    while aside.exists():
        count += 1
        aside = aside.with_name(f"{aside.name.partition('~')[0]}~{count}")
    # The WAL first: a new file beside an old WAL would be overwritten with it.
    for suffix in ("-wal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    # A power cut may undo renames in any order: the new file must not appear before the old ones have gone.
    sync_folder(path.parent)
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    whole.replace(path)
    sync_folder(path.parent)
    return aside


def sync_folder(folder: Path) -> None:
    """Make its names outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole(path: Path) -> Path:
    return path.with_name(path.name + ".salvaged")


def _read_tables(path: Path) -> _Tables:
    tables = _Tables()
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only = 1")
        tables.notes = _rows(connection, "SELECT key, value FROM note")
        tables.quarantine = _rows(connection, "SELECT seq, kind, at_ns, sink, reason, payload FROM quarantine")
        last = _rows(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'record'")
        tables.last_seq = last[0][0] if last else 0
        book = _rows(connection, "SELECT epoch, produced, removed, stored, stored_bytes, readings, crc FROM book")
        dropped = dict(_rows(connection, "SELECT reason, records FROM dropped"))
        cursors = dict(_rows(connection, "SELECT sink, seq FROM cursor"))
        kept = Kept(cursors, _rows(connection, "SELECT sink, first, last FROM island ORDER BY sink, first"))
        if book and book[0][-1] == seal(books_of(book[0][1:6], dropped), kept):
            tables.book, tables.dropped, tables.kept = book[0], dropped, kept
    return tables


def _rows(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    with suppress(sqlite3.Error):  # what came before the damage counts
        found.extend(connection.execute(query))
    return found


def _write(
    connection: sqlite3.Connection,
    rows: Iterable[Row],
    tables: _Tables,
    epoch: str,
    mark: Mark | None,
    telemetry_sinks: Collection[str],
) -> Books:
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("BEGIN")
    for step in STEPS:
        for statement in step.split(";"):
            connection.execute(statement)
    connection.executemany("INSERT OR IGNORE INTO record (seq, kind, at_ns, crc, payload) VALUES (?, ?, ?, ?, ?)", rows)
    stored, stored_bytes, newest = connection.execute(
        "SELECT count(*), coalesce(sum(length(payload)), 0), coalesce(max(seq), 0) FROM record"
    ).fetchone()
    last_seq = max(tables.last_seq, mark.last_seq if mark else 0, newest)
    acknowledged = standings(tables.kept)
    several = [acknowledged.get(sink, ()) for sink in telemetry_sinks]
    released = ranges.common_to_all(several)
    edges = sorted({edge for one in several for edge in ranges.edges(one)})
    floor = ranges.through(released)
    seqs = (seq for (seq,) in connection.execute("SELECT seq FROM record WHERE seq > ? ORDER BY seq", (floor,)))
    books = _books(tables, stored, stored_bytes, _gaps(seqs, last_seq, released, edges))
    connection.execute(
        "INSERT INTO book (epoch, produced, removed, stored, stored_bytes, readings, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (epoch, books.produced, books.removed, stored, stored_bytes, books.readings, seal(books, tables.kept)),
    )
    connection.execute("DELETE FROM sqlite_sequence")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('record', ?)", (last_seq,))
    connection.executemany("INSERT INTO dropped (reason, records) VALUES (?, ?)", books.dropped.items())
    connection.executemany("INSERT INTO cursor (sink, seq) VALUES (?, ?)", tables.kept.cursors.items())
    connection.executemany("INSERT INTO island (sink, first, last) VALUES (?, ?, ?)", tables.kept.islands)
    connection.executemany("INSERT OR IGNORE INTO note (key, value) VALUES (?, ?)", tables.notes)
    connection.executemany("INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?)", tables.quarantine)
    connection.executemany("INSERT INTO gap (seq, crc, payload) VALUES (?, ?, ?)", map(gaps.as_row, books.gaps))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
    return books


def _gaps(seqs: Iterable[int], last_seq: int, released: Ranges, edges: Sequence[int]) -> gaps.Gaps:
    """What is missing among ascending `seqs` up to `last_seq` and was not `released`, which is why it would be gone."""
    found: gaps.Gaps = ()
    before = ranges.through(released)
    for seq in chain(seqs, (last_seq + 1,)):
        for missing in ranges.holes(released, before + 1, seq - 1) if seq > before + 1 else ():
            for first, last in gaps.regions(edges, *missing):
                found = gaps.add(found, Gap(first, last, 0, 0, {DAMAGED: last - first + 1}, ()), edges)
        before = seq
    return found


def _books(tables: _Tables, stored: int, stored_bytes: int, lost: gaps.Gaps) -> Books:
    """Balanced: I4. What can't be read and hasn't been acknowledged is dropped as damaged."""
    if tables.book is None:
        missing = sum(sum(gap.dropped.values()) for gap in lost)
        return Books(stored + missing, 0, stored, stored_bytes, 0, {DAMAGED: missing} if missing else {}, lost)
    _, produced, removed, was_stored, _, readings, _ = tables.book
    dropped = dict(tables.dropped)
    missing = was_stored - stored
    if missing > 0:
        dropped[DAMAGED] = dropped.get(DAMAGED, 0) + missing
    else:
        produced -= missing  # rows of an earlier time were found again
    return Books(produced, removed, stored, stored_bytes, readings, dropped, lost)
