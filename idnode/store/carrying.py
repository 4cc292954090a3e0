"""What files of schema 1 keep of identifiers, carried over into the tables of schema 2, in steps.

Schema 1 had the content as JSON in tables that 0002_records.sql has renamed. Each step is one transaction that moves some rows: a
process that is killed goes on where it was, and the pages that come free take what is moved, so that the file hardly grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

import msgspec

from idnode.identifier import Identifier
from idnode.record import DEFAULT_PERMISSIONS, DEFAULT_TTL_S, Data, Format, HandleValue, Record
from idnode.store.base import StoreFailed
from idnode.store.record_rows import put

STEP = 2000
"""Identifiers in one transaction."""
_Row = tuple[str, str, int, bytes, int, str, str | None]


class _Data(msgspec.Struct):
    format: Format
    value: object


class _Value(msgspec.Struct):
    index: int
    type: str
    data: _Data
    ttl_s: int = DEFAULT_TTL_S
    permissions: int = DEFAULT_PERMISSIONS
    timestamp_ms: int = 0


_decoder = msgspec.json.Decoder(tuple[_Value, ...])


def carry_over(connection: Connection) -> None:
    """Move what is left to be moved; nothing when there is nothing.

    Raises:
        sqlite3.Error
        StoreFailed: a row can't be read.
    """
    while _is_left(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            _step(connection)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _is_left(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'identifiers_1'").fetchone() is not None


def _step(connection: Connection) -> None:
    rows: list[_Row] = connection.execute("SELECT * FROM identifiers_1 ORDER BY prefix, suffix LIMIT ?", (STEP,)).fetchall()
    if not rows:
        connection.execute("DROP TABLE versions_1")
        connection.execute("DROP TABLE identifiers_1")
        return
    for row in rows:
        _carry(connection, row)
    last = rows[-1][:2]
    connection.execute("DELETE FROM versions_1 WHERE (prefix, suffix) <= (?, ?)", last)
    connection.execute("DELETE FROM identifiers_1 WHERE (prefix, suffix) <= (?, ?)", last)


def _carry(connection: Connection, row: _Row) -> None:
    prefix, suffix, version, content, since_ms, author, event_id = row
    identifier = Identifier(prefix, suffix)
    earlier: Sequence[tuple[int, bytes, int, str]] = ()
    if version > 1:
        earlier = connection.execute(
            "SELECT version, content, since_ms, author FROM versions_1 WHERE prefix = ? AND suffix = ? ORDER BY version",
            (prefix, suffix),
        ).fetchall()
    told = (*earlier, (version, content, since_ms, author))
    put(connection, [_record(identifier, each, event_id) for each in told], None)


def _record(identifier: Identifier, told: tuple[int, bytes, int, str], event_id: str | None) -> Record:
    version, content, since_ms, author = told
    try:
        values = _decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise StoreFailed(f"what is kept of {identifier} can't be read: {error}") from error
    made = tuple(
        HandleValue(
            each.index, each.type, Data(each.data.format, each.data.value), each.ttl_s, each.permissions, each.timestamp_ms
        )
        for each in values
    )
    return Record(identifier, version, made, since_ms, author, event_id)
