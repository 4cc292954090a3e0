"""A store as text, and a store made from it: NDJSON, one enterprise, token, event, record, ... a line.

The first line is `{"idnode": 1, "schema": 5}`, the last `{"end": N}` with the number of those between. A record's line has all
its versions (idnode.store.lines); everything else is a row of a table as it is, `{"table": "events", "row": {...}}`, with
bytes as `{"text": ...}` or `{"base64": ...}`. What a store keeps only for those who watch it isn't told.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from idnode.identifier import parse_identifier
from idnode.record import Record
from idnode.store import record_rows
from idnode.store.backup import InTheWay, put_in_place
from idnode.store.base import StoreError, StoreFailed
from idnode.store.lines import RecordLine, read_record_line, record_line
from idnode.store.schema import lock, migrations, open_reader, open_writer
from idnode.store.writer import translate

FORMAT = 1
_TOLD_AS_RECORDS = frozenset({"identifiers", "versions"})
_NOT_TOLD = frozenset({"changes"})
_STEP = 5000
"""Lines in one transaction."""
_encoder = msgspec.json.Encoder()
_T = TypeVar("_T")


class _Blob(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    text: str | None = None
    base64: bytes | None = None


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    table: str
    row: dict[str, int | float | str | _Blob | None]


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    idnode: int
    schema: int


class _End(msgspec.Struct, forbid_unknown_fields=True):
    end: int


class NotAnExport(StoreError):
    """Text from which no store can be made; the message has the line's number."""


def export(path: Path, out: BinaryIO) -> int:
    """Write the store as it is at one moment, whoever has it open.

    Returns:
        The number of lines between the first and the last.

    Raises:
        StoreFailed: it can't be read, or is of another schema; a node that serves it once renews it.
        OSError: of `out`.
    """
    if not path.exists():
        raise StoreFailed(f"{path} isn't there")
    try:
        with closing(open_reader(path)) as connection:
            connection.execute("BEGIN")
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            if schema != len(migrations()):
                raise StoreFailed(f"{path} is of schema {schema}, not {len(migrations())}")
            out.write(_encoder.encode(_Head(FORMAT, schema)) + b"\n")
            number = 0
            for line in chain(_rows(connection), _records(connection)):
                out.write(_encoder.encode(line) + b"\n")
                number += 1
            out.write(_encoder.encode(_End(number)) + b"\n")
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise StoreFailed(f"{path}: {translate(error)}") from error
    return number


def _rows(connection: sqlite3.Connection) -> Iterator[_Row]:
    for table in sorted(_tables(connection) - _TOLD_AS_RECORDS - _NOT_TOLD):
        rows = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 a name out of the schema
        names = [name for name, *_ in rows.description]
        for row in rows:
            yield _Row(table, dict(zip(names, map(_told, row), strict=True)))


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def _told(value: int | float | str | bytes | None) -> int | float | str | _Blob | None:
    if not isinstance(value, bytes):
        return value
    try:
        return _Blob(text=value.decode())
    except UnicodeDecodeError:
        return _Blob(base64=value)


def _records(connection: sqlite3.Connection) -> Iterator[RecordLine]:
    for key, owner, version in connection.execute("SELECT key, owner, version FROM identifiers ORDER BY key"):
        yield record_line(record_rows.versions(connection, parse_identifier(key), 0, version), owner)


def build(lines: Iterable[bytes], path: Path) -> int:
    """Make the store at `path` from an export; it is there whole or not at all.

    Returns:
        The number of lines between the first and the last.

    Raises:
        InTheWay: a store is there.
        NotAnExport: nothing was made.
        StoreBusy, StoreFailed
    """
    descriptor = lock(path)
    part = path.with_name(path.name + ".part")
    try:
        if path.exists():
            raise InTheWay(f"{path} is there already")
        _remove(part)
        with closing(open_writer(part)) as connection:
            number = _Building(connection).take(lines)
        put_in_place(part, path)
    except (OSError, sqlite3.Error) as error:
        raise StoreFailed(f"{path}: {translate(error) if isinstance(error, sqlite3.Error) else error.strerror}") from error
    finally:
        _remove(part)
        os.close(descriptor)
    return number


def _remove(part: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        part.with_name(part.name + ending).unlink(missing_ok=True)


class _Building:
    """A store that takes lines."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tables = _tables(connection) - _TOLD_AS_RECORDS - _NOT_TOLD
        self._decoder = msgspec.json.Decoder(_Row)
        self._record_decoder = msgspec.json.Decoder(RecordLine)

    def take(self, lines: Iterable[bytes]) -> int:
        """All of them; the number of those between the first and the last."""
        # Synced once, when it is whole; rows come in the order of their tables' names.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("PRAGMA foreign_keys = OFF")
        numbered = iter(enumerate(lines, 1))
        self._begin(next(numbered, (1, b"")))
        for number, line in numbered:
            if (number - 2) % _STEP == 0:
                self._commit()
            if line.startswith(b'{"end"'):
                self._end(number, line, next(numbered, None))
                return number - 2
            self._take(number, line)
        raise NotAnExport("it has no end: it was cut")

    def _begin(self, first: tuple[int, bytes]) -> None:
        head = _read(first[0], first[1], msgspec.json.Decoder(_Head))
        if head.idnode != FORMAT or head.schema != len(migrations()):
            raise NotAnExport(f"line 1: format {head.idnode}, schema {head.schema}; known are {FORMAT} and {len(migrations())}")

    def _commit(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
        self._connection.execute("BEGIN")

    def _take(self, number: int, line: bytes) -> None:
        try:
            if line.startswith(b'{"record"'):
                told = _read(number, line, self._record_decoder)
                self._keep(told, read_record_line(told))
            else:
                self._insert(_read(number, line, self._decoder))
        except (ValueError, sqlite3.IntegrityError, sqlite3.ProgrammingError) as error:
            raise NotAnExport(f"line {number}: {error}") from error

    def _keep(self, line: RecordLine, versions: list[Record]) -> None:
        record_rows.put(self._connection, versions, line.owner)

    def _insert(self, told: _Row) -> None:
        if told.table not in self._tables:
            raise ValueError(f"there is no table {told.table[:50]}")
        known = {name for _, name, *_ in self._connection.execute(f"PRAGMA table_info({told.table})")}
        if told.row.keys() != known:
            raise ValueError(f"the columns of {told.table} are {', '.join(sorted(known))}")
        names, marks = ", ".join(told.row), ", ".join("?" * len(told.row))
        values = [_taken(value) for value in told.row.values()]
        self._connection.execute(f"INSERT INTO {told.table} ({names}) VALUES ({marks})", values)  # noqa: S608 names of ours

    def _end(self, number: int, line: bytes, after: tuple[int, bytes] | None) -> None:
        end = _read(number, line, msgspec.json.Decoder(_End))
        if end.end != number - 2 or after is not None:
            raise NotAnExport(f"line {number}: tells of {end.end} lines, and stands behind {number - 2}")
        self._connection.execute("COMMIT")
        loose = self._connection.execute("PRAGMA foreign_key_check").fetchone()
        if loose is not None:
            raise NotAnExport(f"a row of {loose[0]} belongs to one of {loose[2]} that isn't there")


def _taken(value: int | float | str | _Blob | None) -> int | float | str | bytes | None:
    if not isinstance(value, _Blob):
        return value
    return value.base64 if value.text is None else value.text.encode()


def _read(number: int, line: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotAnExport(f"line {number}: {error}") from error
