"""The outbox file: opening it, what it holds, and what its errors mean. Synchronous; knows no event loop."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.outbox import gaps, standings
from gateway.outbox.base import OutboxError, OutboxFailed, OutboxFull, RecordKind
from gateway.outbox.batch import Books, books_of, seal, transaction
from gateway.outbox.codec import Gap, checksum, decode_gap, table_digest, table_key
from gateway.outbox.gaps import Gaps
from gateway.outbox.mark import Mark, read_mark, write_mark
from gateway.outbox.ranges import Ranges
from gateway.outbox.salvage import FileDamaged, finish, is_damage, is_outbox, salvage, sync_folder
from gateway.outbox.schema import APPLICATION_ID, STEPS, VERSION, of_kind, tables_at, tables_of

BUSY_TIMEOUT_S = 5.0
ROLLED_BACK = "rolled_back"
_LAST = 2**63 - 1
"""SQLite has no greater rowid."""
_WAL_BYTES = 16 * 1024 * 1024
_LEAST_BYTES = 512
"""SQLite takes a shorter file for an empty one."""
_CHECKED_BYTES = 32 * 1024 * 1024
"""A file up to this size is checked whole when it is opened; a larger one as it is read: a long backlog delays no start."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What an outbox file held when it was opened."""

    epoch: str
    last_seq: int
    last_of_kind: dict[RecordKind, int]
    books: Books
    standings: dict[str, Ranges]
    """What each sink has acknowledged."""
    notes: dict[str, bytes]
    is_used: bool = True
    """Whether it ever gave a seq."""


def take(path: Path, telemetry_sinks: Collection[str]) -> tuple[sqlite3.Connection, Opened, list[str]]:
    """Open the file; salvage it when it is damaged; begin another epoch when it is older than its mark.

    Returns:
        The connection that writes, what the file holds, and what there is to say about it.

    Raises:
        OutboxFailed: a later version's, or another program's file.
        sqlite3.Error, OSError
    """
    said = []
    finish(path)
    mark = read_mark(path)
    try:
        _check_mark(path, mark)
        connection, opened = _open(path)
    except (FileDamaged, sqlite3.DatabaseError) as error:
        if not is_damage(error) or not is_outbox(path, mark):
            raise
        said.append(salvage(path, mark, telemetry_sinks))
        connection, opened = _open(path)
    try:
        if mark is not None and opened.is_used and (mark.epoch != opened.epoch or mark.last_seq > opened.last_seq):
            opened = _begin_epoch(connection, opened, mark)
            said.append(f"{path} is older than the mark beside it: an old copy was put back; epoch {opened.epoch} begins")
    except BaseException:
        connection.close()
        raise
    write_mark(path, Mark(opened.epoch, opened.last_seq), synced=True)
    return connection, opened, said


def _open(path: Path) -> tuple[sqlite3.Connection, Opened]:
    connection = connect(path)
    try:
        _check(connection, path)
        return connection, load(connection)
    except BaseException:
        connection.close()
        raise


def _check_mark(path: Path, mark: Mark | None) -> None:
    if mark is not None and (mark.is_suspect or (path.exists() and path.stat().st_size < _LEAST_BYTES)):
        raise FileDamaged(f"{path} is damaged")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    size = connection.execute("PRAGMA page_size").fetchone()[0] * connection.execute("PRAGMA page_count").fetchone()[0]
    if path.stat().st_size < size:
        raise FileDamaged(f"{path} is cut")
    if size <= _CHECKED_BYTES and connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise FileDamaged(f"{path} is altered")


def _begin_epoch(connection: sqlite3.Connection, opened: Opened, mark: Mark) -> Opened:
    """Seqs beyond an old copy's last one have been given before: they get another epoch, and are told as a gap."""
    books = opened.books
    missing = max(0, mark.last_seq - opened.last_seq)
    with transaction(connection):
        if missing:
            dropped = {**books.dropped, ROLLED_BACK: books.dropped.get(ROLLED_BACK, 0) + missing}
            gap = Gap(opened.last_seq + 1, mark.last_seq, 0, 0, {ROLLED_BACK: missing}, ())
            books = replace(books, produced=books.produced + missing, dropped=dropped, gaps=gaps.add(books.gaps, gap))
            connection.execute("INSERT OR REPLACE INTO dropped VALUES (?, ?)", (ROLLED_BACK, dropped[ROLLED_BACK]))
            connection.execute("DELETE FROM gap")
            connection.executemany("INSERT INTO gap (seq, crc, payload) VALUES (?, ?, ?)", map(gaps.as_row, books.gaps))
            connection.execute("DELETE FROM sqlite_sequence")
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('record', ?)", (mark.last_seq,))
        crc = seal(books, standings.read(connection))
        connection.execute("UPDATE book SET epoch = ?, produced = ?, crc = ?", (secrets.token_hex(8), books.produced, crc))
    return load(connection)


def connect(path: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints; made in the writer's thread. The file's mode is 0600 from its birth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        _migrate(connection, path)
        sync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that can't write, for reads in the event loop."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    _check_tables(connection, path, version, application)
    if application not in (0, APPLICATION_ID) or (application == 0 and version):
        raise OutboxFailed(f"{path} is an SQLite file of another program; name another outbox path")
    if version > VERSION:
        raise OutboxFailed(
            f"{path} was written by a later version (schema {version}, this program knows {VERSION}); "
            "use that version, or name another outbox path"
        )
    if version == VERSION:
        return
    with transaction(connection):
        for step in STEPS[version:]:
            for statement in step.split(";"):
                connection.execute(statement)
        if version == 0:
            connection.execute("INSERT INTO book (epoch) VALUES (?)", (secrets.token_hex(8),))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _check_tables(connection: sqlite3.Connection, path: Path, version: int, application: int) -> None:
    """Flipped bits may leave tables that SQLite takes for sound, but of other names; or the right ones under a wrong version."""
    tables = tables_of(connection)
    is_ours = application == APPLICATION_ID
    if tables == tables_at(VERSION):
        if version < VERSION or not is_ours:
            raise FileDamaged(f"{path} says of itself what it isn't")
    elif is_ours and 0 < version <= VERSION and tables != tables_at(version):
        raise FileDamaged(f"the tables of {path} are altered")


def translate(error: Exception, path: Path) -> OutboxError:
    """An error of SQLite or the system as ours; the one place where that is decided.

    Only a missing-space error may be tried again: after any other one the state of the file's pages in the kernel is unknown.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return OutboxFull(f"no space left for {path}: {error}")
    if code & 0xFF == sqlite3.SQLITE_BUSY:
        return OutboxFailed(f"{path} is held by another program for more than {BUSY_TIMEOUT_S:g} s: {error}")
    return OutboxFailed(f"{path}: {error}")


def load(connection: sqlite3.Connection) -> Opened:
    """What the file holds."""
    row = connection.execute("SELECT epoch, produced, removed, stored, stored_bytes, readings, crc FROM book").fetchone()
    if row is None:
        raise FileDamaged("its books are gone")
    epoch, *figures, crc = row
    dropped = dict(connection.execute("SELECT reason, records FROM dropped"))
    kept = standings.read(connection)
    if crc and crc != seal(books_of(figures, dropped), kept):
        raise FileDamaged("its books or its cursors are altered")
    sequence = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
    last_of_kind = {}
    for kind in RecordKind:
        row = connection.execute(f"SELECT seq FROM record WHERE {of_kind(kind)} ORDER BY seq DESC LIMIT 1").fetchone()  # noqa: S608
        last_of_kind[kind] = row[0] if row else 0
    known = load_gaps(connection)
    if known:
        last_of_kind[RecordKind.TELEMETRY] = max(last_of_kind[RecordKind.TELEMETRY], known[-1].last_seq)
    last_seq = sequence[0] if sequence else 0
    books = books_of(figures, dropped, known)
    notes = {key: value for key, value in connection.execute("SELECT key, value FROM note") if _is_sound(key, value)}
    return Opened(epoch, last_seq, last_of_kind, books, standings.standings(kept), notes, bool(last_seq or figures[0]))


def _is_sound(key: str, value: bytes) -> bool:
    """A tag table has its digest for a name: an altered one would give readings other names."""
    return not key.startswith("table/") or table_key(table_digest(value)) == key


def load_gaps(connection: sqlite3.Connection, after: int = 0, until: int = _LAST) -> Gaps:
    """Those in (after, until] that are sound; what the others told of is in the books all the same."""
    query = "SELECT seq, crc, payload FROM gap WHERE seq > ? AND seq <= ? ORDER BY seq"
    rows = connection.execute(query, (after, until)).fetchall()
    telemetry = int(RecordKind.TELEMETRY)
    return tuple(decode_gap(payload) for seq, crc, payload in rows if checksum(seq, telemetry, payload) == crc)


def reseal(connection: sqlite3.Connection) -> None:
    """After books or cursors were changed by hand, within a transaction."""
    figures = connection.execute("SELECT produced, removed, stored, stored_bytes, readings FROM book").fetchone()
    dropped = dict(connection.execute("SELECT reason, records FROM dropped"))
    connection.execute("UPDATE book SET crc = ?", (seal(books_of(figures, dropped), standings.read(connection)),))
