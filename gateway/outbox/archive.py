"""A raw export of an outbox as a file of lines, and putting one back. Synchronous.

    {"outbox":1,"epoch":"9f2c51d07a3be864","sum":1234}            first
    {"table":"base64","sum":1234}                                 before the first record that names it
    {"seq":7,"kind":1,"at_ns":1790000000000000000,"payload":"base64","sum":1234}
    {"records":1,"sum":1234}                                      last

Every line bears a checksum over what it says, and the last one tells that nothing is missing.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from gateway.outbox.base import RecordKind
from gateway.outbox.codec import DIGEST_BYTES, VERSION, table_digest, table_key
from gateway.outbox.inspection import Stored

FORM = 1
_DIGEST = slice(1, 1 + DIGEST_BYTES)
_KINDS = frozenset(int(kind) for kind in RecordKind)


class ArchiveDamaged(ValueError):
    """The export can't be put back; says file and line."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of any of the four forms."""

    outbox: int = 0
    epoch: str = ""
    table: str = ""
    seq: int = 0
    kind: int = 0
    at_ns: int = 0
    payload: str = ""
    records: int = -1
    sum: int = 0

    def check(self) -> int:
        """The checksum of what the line says."""
        whole = (self.outbox, self.epoch, self.table, self.seq, self.kind, self.at_ns, self.payload, self.records)
        return zlib.crc32(repr(whole).encode())

    def encode(self) -> str:
        """The line with its checksum."""
        return msgspec.json.encode(msgspec.structs.replace(self, sum=self.check())).decode()


@dataclass(frozen=True, slots=True)
class Archived:
    """A record of an export."""

    line: int
    seq: int
    kind: int
    at_ns: int
    payload: bytes


@dataclass(slots=True)
class Archive:
    """An export that is being read."""

    epoch: str
    tables: dict[str, bytes]
    """By the names of their notes; of those that came before the record last read."""
    records: Iterator[Archived]


def write_lines(epoch: str, notes: dict[str, bytes], rows: Iterable[Stored]) -> Iterator[str]:
    """Sound rows as an export; `notes`: the outbox's, for the tag tables."""
    yield Line(outbox=FORM, epoch=epoch).encode()
    told: set[str] = set()
    count = 0
    for row in rows:
        key = table_key(row.payload[_DIGEST])
        if row.kind is RecordKind.TELEMETRY and key not in told and key in notes:
            told.add(key)
            yield Line(table=base64.b64encode(notes[key]).decode()).encode()
        count += 1
        payload = base64.b64encode(row.payload).decode()
        yield Line(seq=row.seq, kind=int(row.kind), at_ns=row.at_ns, payload=payload).encode()
    yield Line(records=count).encode()


def read_archive(path: Path) -> Archive:
    """Open an export; its records are checked as they are taken.

    Raises:
        ArchiveDamaged: here, or when a record is taken: the file is cut or altered, or no export. With file and line.
        OSError
    """
    lines = _lines(path)
    number, first = next(lines, (1, Line()))
    if first.outbox != FORM or not first.epoch:
        _refuse(path, number, "the export's first line is missing", "缺少导出文件的首行")
    tables: dict[str, bytes] = {}
    return Archive(first.epoch, tables, _records(path, lines, tables))


def _lines(path: Path) -> Iterator[tuple[int, Line]]:
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                line = msgspec.json.decode(text, type=Line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                _refuse(path, number, "this is no line of an export", "此行不是导出数据")
            if line.sum != line.check():
                _refuse(path, number, "it doesn't meet its checksum", "校验和不符")
            yield number, line


def _records(path: Path, lines: Iterator[tuple[int, Line]], tables: dict[str, bytes]) -> Iterator[Archived]:
    count = last = 0
    number = 1
    for number, line in lines:
        if line.records >= 0:
            if line.records != count or next(lines, None) is not None:
                _refuse(path, number, f"{line.records} records were written, {count} are here", "记录数不符")
            return
        data = _decode(path, number, line.table or line.payload)
        if line.table:
            tables[table_key(table_digest(data))] = data
            continue
        if line.kind not in _KINDS or line.seq <= last:
            _refuse(path, number, f"seq {line.seq} doesn't follow {last}, or its kind isn't known", "序号或类型有误")
        count, last = count + 1, line.seq
        yield Archived(number, line.seq, line.kind, line.at_ns, data)
    _refuse(path, number, "the export is cut behind this line", "导出文件在此行之后被截断")


def _decode(path: Path, number: int, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        _refuse(path, number, "it isn't base64", "不是 base64 编码")


def _refuse(path: Path, line: int, english: str, chinese: str) -> NoReturn:
    raise ArchiveDamaged(f"{path}:{line}: {english}; nothing was imported / {chinese}，未导入任何记录")


def table_of(connection: sqlite3.Connection, archive: Archive, record: Archived) -> bool:
    """Whether the tag table that a record names is in the export or in the outbox; products and gaps need none."""
    if record.kind != RecordKind.TELEMETRY or record.payload[:1] != bytes((VERSION,)):
        return True
    key = table_key(record.payload[_DIGEST])
    return key in archive.tables or connection.execute("SELECT 1 FROM note WHERE key = ?", (key,)).fetchone() is not None


def refuse(path: Path, record: Archived, english: str, chinese: str) -> NoReturn:
    """The outbox can't take that record.

    Raises:
        ArchiveDamaged
    """
    _refuse(path, record.line, english, chinese)
