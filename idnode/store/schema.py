"""The SQLite file: made, locked against a second process, brought to the newest schema."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from idnode.store.base import StoreBusy, StoreFailed
from idnode.store.carrying import carry_over
from idnode.store.writer import MOVED, MOVED_ID, translate

APPLICATION_ID = 0x4D4D4944
"""In the file's header: MMID. What has another isn't ours."""

PAGE_BYTES = 8192
"""Of a new file: a page holds seven records of a kilobyte, of 4096 bytes three (D33)."""

LARGEST_LOG = 67_108_864
"""Bytes that the write-ahead log keeps on disk when it has been written into the file; a backup may have made it larger."""

WRITER_CACHE_KIB = 32_768
"""Pages that the connection which writes remembers: of the index, where keys come in no order."""


def migrations() -> list[str]:
    """The numbered SQL files, the first first; the schema's version is their count."""
    folder = files("idnode.store").joinpath("migrations")
    return [
        entry.read_text("utf-8") for entry in sorted(folder.iterdir(), key=lambda each: each.name) if entry.name.endswith(".sql")
    ]


def lock(path: Path) -> int:
    """Take the file beside the store that only one process can hold; returns its descriptor, whose closing gives it up.

    Raises:
        StoreBusy: another process has it.
        StoreFailed: it can't be made.
    """
    side = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(side, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreFailed(f"{side}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StoreBusy(f"{path} is in use by process {holder or 'unknown'}") from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise StoreFailed(f"{side}: {error.strerror}") from error
    return descriptor


def open_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes, its file 0600 and of the newest schema.

    Raises:
        StoreFailed: it can't be opened, isn't ours, or was made by a newer version.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from error
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise StoreFailed(f"{path}: {translate(error)}") from error
    except StoreFailed:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can't write, for the event loop's own thread."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA query_only = ON")
    # The inner pages of the index of some million keys, so that a look-up reads one page or two from the system.
    connection.execute("PRAGMA cache_size = -16384")
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if mark == MOVED_ID:
        raise StoreFailed(f"{path}: {MOVED}")
    if mark != APPLICATION_ID and tables:
        raise StoreFailed(f"{path} is another program's database")
    steps = migrations()
    if version > len(steps):
        raise StoreFailed(f"{path} was made by a newer version (schema {version}, known are {len(steps)})")
    if not tables:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG}")
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number, step in enumerate(steps[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;")
    try:
        carry_over(connection)
    except StoreFailed as error:
        raise StoreFailed(f"{path}: {error}") from error
