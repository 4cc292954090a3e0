"""Finds outbox records in the pages of an SQLite file and its WAL, however much of either is damaged. Pure but for reading them.

Every record bears a checksum over seq, kind and payload, so what is found is what was stored: a row that meets its checksum is a
record wherever it lies. Rows that were deleted and not yet written over are found too.

Source: SQLite Database File Format, 1.6 (B-tree pages), 2.1 (record format), 4.1 (WAL).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.outbox.base import RecordKind
from gateway.outbox.codec import checksum

Row = tuple[int, int, int, int, bytes]
"""(seq, kind, at_ns, crc, payload)"""

_LEAF = 0x0D
_HEADER_BYTES = 100
_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_COLUMNS = 5
_KINDS = frozenset(int(kind) for kind in RecordKind)
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def carve(path: Path) -> Iterator[Row]:
    """Every sound record in the file and its WAL, in no order; some may come twice."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    size = _page_size(data[:_HEADER_BYTES])
    wal = path.with_name(path.name + "-wal")
    frames = list(_frames(wal.read_bytes(), size)) if wal.exists() else []
    newest = dict(frames)

    def page_of(number: int) -> bytes:
        return newest[number] if number in newest else data[(number - 1) * size : number * size]

    for at in range(0, len(data), size):
        yield from _rows(data[at : at + size], 0 if at else _HEADER_BYTES, size, page_of)
    for number, page in frames:
        yield from _rows(page, _HEADER_BYTES if number == 1 else 0, size, page_of)


def _page_size(data: bytes) -> int:
    size = int.from_bytes(data[16:18], "big")
    size = 65_536 if size == 1 else size
    return size if size >= 512 and size & (size - 1) == 0 else 4096


def _frames(wal: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    for at in range(_WAL_HEADER_BYTES, len(wal), _FRAME_HEADER_BYTES + size):
        start = at + _FRAME_HEADER_BYTES
        yield int.from_bytes(wal[at : at + 4], "big"), wal[start : start + size]


def _rows(page: bytes, start: int, size: int, page_of: Callable[[int], bytes]) -> Iterator[Row]:
    if len(page) < start + 8 or page[start] != _LEAF:
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    for place in range(min(count, size // 4)):
        at = int.from_bytes(page[start + 8 + 2 * place : start + 10 + 2 * place], "big")
        try:
            row = _row(page, at, size, page_of)
        except (IndexError, KeyError, struct.error):
            continue
        if row is not None:
            yield row


def _row(page: bytes, at: int, size: int, page_of: Callable[[int], bytes]) -> Row | None:
    length, at = _varint(page, at)
    seq, at = _varint(page, at)
    body = _body(page, at, length, size, page_of)
    end, place = _varint(body, 0)
    types = []
    while place < end:
        kind_of, place = _varint(body, place)
        types.append(kind_of)
    if len(types) != _COLUMNS or types[0] != 0 or types[4] < 12 or types[4] % 2:
        return None
    numbers = []
    for kind_of in types[1:4]:
        number, place = _integer(body, place, kind_of)
        numbers.append(number)
    payload = body[place : place + (types[4] - 12) // 2]
    kind, at_ns, crc = numbers
    if kind not in _KINDS or checksum(seq, kind, payload) != crc:
        return None
    return seq, kind, at_ns, crc, payload


def _body(page: bytes, at: int, length: int, size: int, page_of: Callable[[int], bytes]) -> bytes:
    """A cell's payload, its overflow pages followed."""
    most = size - 35
    if length <= most:
        return page[at : at + length]
    least = (size - 12) * 32 // 255 - 23
    local = least + (length - least) % (size - 4)
    local = local if local <= most else least
    parts = [page[at : at + local]]
    number = int.from_bytes(page[at + local : at + local + 4], "big")
    left = length - local
    while left > 0 and number:
        overflow = page_of(number)
        parts.append(overflow[4 : 4 + left])
        left -= size - 4
        number = int.from_bytes(overflow[:4], "big")
    return b"".join(parts)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(8):
        byte = data[at + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    return value << 8 | data[at + 8], at + 9


def _integer(data: bytes, at: int, kind_of: int) -> tuple[int, int]:
    if kind_of in (8, 9):
        return kind_of - 8, at
    width = _INTEGER_BYTES[kind_of]
    return int.from_bytes(data[at : at + width], "big", signed=True), at + width
