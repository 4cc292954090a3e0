"""The rows of identifiers and their versions. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

from idnode.identifier import Identifier
from idnode.record import HandleValue, Record, Registration, decode_values, encode_values, stamped
from idnode.store.base import NotThere

_Row = tuple[int, bytes, int, str, str | None]
_NOW = "SELECT version, content, since_ms, author, event_id FROM identifiers WHERE prefix = ? AND suffix = ?"


def register(connection: Connection, new: Registration, author: str, at_ms: int, event_id: str | None = None) -> bool:
    """Register one identifier; whether it is new."""
    content = encode_values(stamped(new.values, (), at_ms))
    done = connection.execute(
        "INSERT INTO identifiers VALUES (?, ?, 1, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (new.identifier.prefix, new.identifier.suffix, content, at_ms, author, event_id),
    )
    return done.rowcount == 1


def replace(connection: Connection, identifier: Identifier, values: Sequence[HandleValue], author: str, at_ms: int) -> Record:
    """See Records.replace."""
    now = record(connection, identifier)
    if now is None:
        raise NotThere(f"{identifier} is not registered")
    key = (identifier.prefix, identifier.suffix)
    made = Record(identifier, now.version + 1, stamped(values, now.values, at_ms), at_ms, author, now.event_id)
    connection.execute(
        "INSERT INTO versions SELECT prefix, suffix, version, content, since_ms, author, event_id"
        " FROM identifiers WHERE prefix = ? AND suffix = ?",
        key,
    )
    connection.execute(
        "UPDATE identifiers SET version = ?, content = ?, since_ms = ?, author = ? WHERE prefix = ? AND suffix = ?",
        (made.version, encode_values(made.values), at_ms, author, *key),
    )
    return made


def record(connection: Connection, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
    """See Records.record."""
    key = (identifier.prefix, identifier.suffix)
    row: _Row | None = connection.execute(_NOW, key).fetchone()
    if row is not None and as_of_ms is not None and row[2] > as_of_ms:
        row = connection.execute(
            "SELECT version, content, since_ms, author, event_id FROM versions"
            " WHERE prefix = ? AND suffix = ? AND since_ms <= ? ORDER BY version DESC LIMIT 1",
            (*key, as_of_ms),
        ).fetchone()
    return None if row is None else _record(identifier, row)


def versions(connection: Connection, identifier: Identifier) -> list[Record]:
    """See Records.versions."""
    key = (identifier.prefix, identifier.suffix)
    earlier: list[_Row] = connection.execute(
        "SELECT version, content, since_ms, author, event_id FROM versions WHERE prefix = ? AND suffix = ? ORDER BY version", key
    ).fetchall()
    return [_record(identifier, row) for row in (*earlier, *connection.execute(_NOW, key).fetchall())]


def _record(identifier: Identifier, row: _Row) -> Record:
    version, content, since_ms, author, event_id = row
    return Record(identifier, version, decode_values(content), since_ms, author, event_id)


def event_of(connection: Connection, identifier: Identifier) -> str | None:
    """The commissioning event of a registered identifier, if it has one."""
    row = connection.execute(
        "SELECT event_id FROM identifiers WHERE prefix = ? AND suffix = ?", (identifier.prefix, identifier.suffix)
    ).fetchone()
    return None if row is None else row[0]


def commission(connection: Connection, new: Registration, author: str, at_ms: int, event_id: str) -> None:
    """Register an identifier with its event, or give the event to one that is registered without."""
    if not register(connection, new, author, at_ms, event_id):
        connection.execute(
            "UPDATE identifiers SET event_id = ? WHERE prefix = ? AND suffix = ?",
            (event_id, new.identifier.prefix, new.identifier.suffix),
        )
