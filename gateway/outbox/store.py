"""The outbox file: opening it, what it holds, and what its errors mean. Synchronous; knows no event loop."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.outbox.base import OutboxError, OutboxFailed, OutboxFull, RecordKind
from gateway.outbox.batch import Books, of_kind, transaction
from gateway.outbox.codec import checksum, decode_gap
from gateway.outbox.gaps import Gaps
from gateway.outbox.schema import APPLICATION_ID, STEPS, VERSION

BUSY_TIMEOUT_S = 5.0
_WAL_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """What an outbox file held when it was opened."""

    epoch: str
    last_seq: int
    last_of_kind: dict[RecordKind, int]
    books: Books
    cursors: dict[str, int]
    notes: dict[str, bytes]


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
        _sync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that can't write, for reads in the event loop."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
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
    books = connection.execute("SELECT epoch, produced, removed, stored, stored_bytes, readings FROM book")
    epoch, produced, removed, stored, stored_bytes, readings = books.fetchone()
    dropped = dict(connection.execute("SELECT reason, records FROM dropped"))
    sequence = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
    last_of_kind = {}
    for kind in RecordKind:
        row = connection.execute(f"SELECT seq FROM record WHERE {of_kind(kind)} ORDER BY seq DESC LIMIT 1").fetchone()  # noqa: S608
        last_of_kind[kind] = row[0] if row else 0
    gaps = _load_gaps(connection)
    if gaps:
        last_of_kind[RecordKind.TELEMETRY] = max(last_of_kind[RecordKind.TELEMETRY], gaps[-1].last_seq)
    return Opened(
        epoch,
        sequence[0] if sequence else 0,
        last_of_kind,
        Books(produced, removed, stored, stored_bytes, readings, dropped, gaps),
        dict(connection.execute("SELECT sink, seq FROM cursor")),
        dict(connection.execute("SELECT key, value FROM note")),
    )


def _load_gaps(connection: sqlite3.Connection) -> Gaps:
    """Those that are sound; what they told of is in the books all the same."""
    rows = connection.execute("SELECT seq, crc, payload FROM gap ORDER BY seq").fetchall()
    telemetry = int(RecordKind.TELEMETRY)
    return tuple(decode_gap(payload) for seq, crc, payload in rows if checksum(seq, telemetry, payload) == crc)
