"""The tables of an outbox file, by numbered step. A step that has been released is never changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache

from gateway.outbox.base import RecordKind

APPLICATION_ID = 0x4D554D49
"""PRAGMA application_id: "MUMI"."""

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE book (
        epoch TEXT NOT NULL,
        produced INTEGER NOT NULL DEFAULT 0,
        removed INTEGER NOT NULL DEFAULT 0,
        stored INTEGER NOT NULL DEFAULT 0,
        stored_bytes INTEGER NOT NULL DEFAULT 0,
        readings INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE dropped (reason TEXT PRIMARY KEY, records INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE record (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kind INTEGER NOT NULL,
        at_ns INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE INDEX record_product ON record (seq) WHERE kind = 2;
    CREATE TABLE quarantine (
        seq INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        at_ns INTEGER NOT NULL,
        sink TEXT NOT NULL,
        reason TEXT NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE TABLE cursor (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE note (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE gap (seq INTEGER PRIMARY KEY, crc INTEGER NOT NULL, payload BLOB NOT NULL);
    ALTER TABLE book ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE island (
        sink TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (sink, first)
    ) WITHOUT ROWID
    """,
)

VERSION = len(STEPS)
"""PRAGMA user_version of a file that all steps have been applied to."""


def of_kind(kind: RecordKind) -> str:
    """A condition that lets SQLite use the partial index of that kind: it takes literals only.

    What is no product is telemetry: a record whose kind is damaged must be met by somebody.
    """
    return "kind = 2" if kind is RecordKind.PRODUCT else "kind IS NOT 2"


def tables_of(connection: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    """(kind, name, statement) of each table and index, by name."""
    return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()


@cache
def tables_at(version: int) -> list[tuple[str, str, str | None]]:
    """As tables_of() finds them in a file of that version."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for step in STEPS[:version]:
            connection.executescript(step)
        return tables_of(connection)
