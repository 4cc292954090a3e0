"""A copy of a store while it is in use, and a store put back from one.

A backup is one SQLite file without a log beside it, as the store was at one moment. It is taken by a connection of its own that
holds its snapshot, so that writers go on and need not be told; until it is done their log grows. A file of a wrong size, of
another program or with a damaged page is never put in a store's place.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from idnode.store.base import StoreError, StoreFailed
from idnode.store.schema import APPLICATION_ID, lock, migrations, open_reader
from idnode.store.writer import translate

SLICE = 1024
"""Pages that are copied without a pause."""
Progress = Callable[[int, int], None]
"""Told how many pages are done, and of how many."""


class NotABackup(StoreError):
    """A file that can't be put in a store's place."""


class InTheWay(StoreError):
    """A file is where one was to be made."""


def take_backup(path: Path, target: Path, progress: Progress | None = None) -> int:
    """Copy the store at `path`, whoever has it open, to `target`, mode 0600; it is there whole or not at all.

    Returns:
        Its bytes.

    Raises:
        InTheWay: `target` is there already.
        StoreFailed: the store can't be read, or the copy not be written.
    """
    if target.exists():
        raise InTheWay(f"{target} is there already")
    part = target.with_name(target.name + ".part")
    try:
        if not path.exists():
            raise StoreFailed(f"{path} isn't there")
        _copy(path, part, progress)
        check_backup(part)
        put_in_place(part, target)
    except (OSError, sqlite3.Error) as error:
        raise StoreFailed(f"{target}: {_reason(error)}") from error
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(path: Path, part: Path, progress: Progress | None) -> None:
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(open_reader(path)) as source, closing(sqlite3.connect(part, isolation_level=None)) as copy:
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_schema").fetchone()  # from here on it sees one moment
        copy.execute("PRAGMA synchronous = OFF")  # synced once, when it is whole
        source.backup(copy, pages=SLICE, sleep=0, progress=lambda _, left, whole: progress and progress(whole - left, whole))
        copy.execute("PRAGMA journal_mode = DELETE")  # so that it is one file


def put_in_place(part: Path, target: Path) -> None:
    """Give a whole copy its name, durably. What has the name is replaced."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_backup(path: Path) -> None:
    """Read every page of a copy: SQLite knows a broken structure; it has no sum by which it would know an altered letter.

    Raises:
        NotABackup
    """
    if not path.is_file():
        raise NotABackup(f"{path} isn't there")
    try:
        with closing(open_reader(path)) as connection:
            (mark,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise NotABackup(f"{path}: {error}") from error
    if mark != APPLICATION_ID or not version:
        raise NotABackup(f"{path} is no copy of an identifier node's store")
    if version > len(migrations()):
        raise NotABackup(f"{path} was made by a newer version (schema {version}, known are {len(migrations())})")
    if found != "ok":
        raise NotABackup(f"{path} is damaged: {found}")


def restore(backup: Path, path: Path) -> Path | None:
    """Put a copy of `backup` in the place of the store at `path`. No node may run on it.

    Returns:
        Where the store that was there is kept; None when none was.

    Raises:
        NotABackup
        StoreBusy: a node runs on it.
        StoreFailed: a disk failed; the store that was there is in place, or the restored one.
    """
    check_backup(backup)
    descriptor = lock(path)
    part = path.with_name(path.name + ".part")
    try:
        _copy(backup, part, None)
        kept = _keep(path) if path.exists() else None
        put_in_place(part, path)
    except (OSError, sqlite3.Error) as error:
        raise StoreFailed(f"{path}: {_reason(error)}") from error
    finally:
        part.unlink(missing_ok=True)
        os.close(descriptor)
    return kept


def _keep(path: Path) -> Path:
    """Give the store that is there a second name, its log written into it: the log of one must never meet the file of another."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("another process reads it")
    number = 1
    while (kept := path.with_name(f"{path.name}.before-restore-{number}")).exists():
        number += 1
    kept.hardlink_to(path)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return kept


def _reason(error: OSError | sqlite3.Error) -> object:
    return translate(error) if isinstance(error, sqlite3.Error) else error.strerror
