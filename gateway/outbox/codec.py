"""What the bytes of a telemetry record mean. Pure; opens nothing.

A record names its tag table by digest (tables that differ in their records' priority alone are two, so that a record's is known
without decoding it), and the table is kept beside it in the outbox (a note): a change of the configuration
never touches the backlog. All integers are little-endian.

    record  version u8 (1) | digest 16 bytes | frames u16 | frame ...
    frame   acquired_ns i64 | column u8 | flags u8 | n u32
            tags n * i32 | status n * u32 unless ALL_GOOD | source_ns n * i64 if SOURCED
            flags: ALL_GOOD 1, SOURCED 2, and of the clock by which it was stamped STEPPED 4, UNSYNCHRONISED 8
            values n * 8 bytes, or length u32 and a MessagePack array for a list column

A gap stands in the place of the newest of the records that were dropped, so that a sink meets it in their order.

    gap     mark u8 ("G") | MessagePack of Gap
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from drivers.model import Column, Frame, Kind, TagTable
from gateway.outbox.base import RecordKind

VERSION = 1
DIGEST_BYTES = 16

_Number = TypeVar("_Number", bound=np.generic)

_HEAD = struct.Struct("<B16sH")
_FRAME = struct.Struct("<qBBI")
_LENGTH = struct.Struct("<I")
_CHECK = struct.Struct("<qB")
_LIST = 3
_DTYPES: tuple[np.dtype[np.float64], np.dtype[np.int64], np.dtype[np.uint64]] = (
    np.dtype("<f8"),
    np.dtype("<i8"),
    np.dtype("<u8"),
)
_TAGS: np.dtype[np.int32] = np.dtype("<i4")
_STATUS: np.dtype[np.uint32] = np.dtype("<u4")
_TIMES: np.dtype[np.int64] = np.dtype("<i8")
_COLUMN_OF = {"f": 0, "i": 1, "u": 2}
_ALL_GOOD = 1
_SOURCED = 2
_CLOCK_SHIFT = 2
_CLOCK_BITS = 3


_GAP = b"G"
_KINDS = frozenset(RecordKind)


class RecordDamaged(ValueError):
    """The bytes are not a record of any known version: cut, or altered."""


class RecordUnknown(ValueError):
    """A record that this program can't read: of a later version, or of a tag table that the outbox doesn't hold."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A decoded record: the frames, and the table that names their tags."""

    table: TagTable
    frames: list[Frame]
    clock: int = 0
    """What was wrong with the clock that stamped any of them: bits of gateway.clock.ClockMark."""


class _StoredTable(msgspec.Struct, frozen=True, omit_defaults=True):
    device: str
    names: tuple[str, ...]
    kinds: tuple[int, ...]
    units: tuple[str | None, ...]
    priority: int | None = None


def encode_table(table: TagTable, priority: int | None = None) -> bytes:
    """The table as it is kept in the outbox.

    Args:
        priority: of the records that name this one of the device's tables; None: the device's.
    """
    kinds = tuple(int(kind) for kind in table.kinds)
    return msgspec.msgpack.encode(_StoredTable(table.device, table.names, kinds, table.units, priority))


def table_priority(stored: bytes) -> int | None:
    """The priority that encode_table() was given; None also where that can't be read."""
    try:
        return msgspec.msgpack.decode(stored, type=_StoredTable).priority
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def decode_table(stored: bytes) -> TagTable:
    """The inverse of encode_table().

    Raises:
        RecordDamaged
    """
    try:
        table = msgspec.msgpack.decode(stored, type=_StoredTable)
        return TagTable(table.device, table.names, tuple(Kind(kind) for kind in table.kinds), table.units)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RecordDamaged(f"tag table: {error}") from error


def table_digest(stored: bytes) -> bytes:
    """The 16 bytes by which records name a table; equal tables have equal digests."""
    return hashlib.blake2b(stored, digest_size=DIGEST_BYTES).digest()


def table_key(digest: bytes) -> str:
    """The name of the note that holds the table of that digest."""
    return f"table/{digest.hex()}"


class Gap(msgspec.Struct, frozen=True):
    """Records that were dropped before every sink had them: why a consumer misses their seqs.

    Records in between that were not dropped are delivered as ever; `dropped` tells how many are missing.
    """

    first_seq: int
    last_seq: int
    first_ns: int
    """When the oldest of them was stored, UTC; 0 when that isn't known."""
    last_ns: int
    dropped: dict[str, int]
    """How many, by reason."""
    devices: tuple[str, ...]
    """Whose readings they were, sorted; empty when that can't be read any more."""


def encode_gap(gap: Gap) -> bytes:
    """A gap as the payload of a telemetry record."""
    return _GAP + msgspec.msgpack.encode(gap)


def is_gap(payload: bytes) -> bool:
    """Whether a telemetry record's payload is a gap, and not readings."""
    return payload[:1] == _GAP


def decode_gap(payload: bytes) -> Gap:
    """The inverse of encode_gap().

    Raises:
        RecordDamaged
    """
    if not is_gap(payload):
        raise RecordDamaged("this is no gap")
    try:
        return msgspec.msgpack.decode(payload[1:], type=Gap)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordDamaged(f"the gap is cut or altered: {error}") from error


def checksum(seq: int, kind: int, payload: bytes) -> int:
    """CRC-32 over a stored record, its seq and kind included, so that a row that changed places is found too."""
    return zlib.crc32(payload, zlib.crc32(_CHECK.pack(seq, kind)))


def is_sound(seq: int, kind: object, crc: object, payload: object) -> bool:
    """Whether the columns of a stored row are a record's: of the right types, and of that checksum."""
    if not (isinstance(kind, int) and kind in _KINDS and isinstance(payload, bytes)):
        return False
    return checksum(seq, kind, payload) == crc


def encode_record(digest: bytes, frames: Sequence[Frame], clock: int = 0) -> bytes:
    """Frames of one device as a record.

    Args:
        digest: of the table that their tags index.
        frames: up to 65535, each as drivers/model.py describes.
        clock: what is wrong with the clock, bits of gateway.clock.ClockMark.
    """
    parts = [_HEAD.pack(VERSION, digest, len(frames))]
    for frame in frames:
        parts += _encode_frame(frame, clock << _CLOCK_SHIFT)
    return b"".join(parts)


def _encode_frame(frame: Frame, flags: int) -> list[bytes]:
    columns = [np.ascontiguousarray(frame.tags, _TAGS).tobytes()]
    if np.count_nonzero(frame.status):  # any() passes through Python
        columns.append(np.ascontiguousarray(frame.status, _STATUS).tobytes())
    else:
        flags |= _ALL_GOOD
    if frame.source_ns is not None:
        flags |= _SOURCED
        columns.append(np.ascontiguousarray(frame.source_ns, _TIMES).tobytes())
    if isinstance(frame.values, list):
        column = _LIST
        packed = msgspec.msgpack.encode(frame.values)
        columns += [_LENGTH.pack(len(packed)), packed]
    else:
        column = _COLUMN_OF[frame.values.dtype.kind]
        columns.append(np.ascontiguousarray(frame.values, _DTYPES[column]).tobytes())
    return [_FRAME.pack(frame.acquired_ns, column, flags, len(frame.tags)), *columns]


def decode_record(payload: bytes, table_of: Callable[[bytes], TagTable | None]) -> Telemetry:
    """A record as frames and names. The arrays are read-only views of `payload`.

    Args:
        table_of: the table of a digest, None when it isn't known.

    Raises:
        RecordDamaged, RecordUnknown
    """
    if not payload:
        raise RecordDamaged("the record is empty")
    if payload[0] != VERSION:
        raise RecordUnknown(f"record version {payload[0]}; this program reads version {VERSION}")
    try:
        _, digest, count = _HEAD.unpack_from(payload)
        table = table_of(digest)
        if table is None:
            raise RecordUnknown(f"tag table {digest.hex()} is not in this outbox")
        frames = []
        at, flags = _HEAD.size, 0
        for _ in range(count):
            frame, own_flags, at = _decode_frame(payload, at, table)
            frames.append(frame)
            flags |= own_flags
    except (struct.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordDamaged(f"the record is cut or altered: {error}") from error
    if at != len(payload):
        raise RecordDamaged(f"{len(payload) - at} bytes behind the last frame")
    return Telemetry(table, frames, flags >> _CLOCK_SHIFT & _CLOCK_BITS)


def _decode_frame(payload: bytes, at: int, table: TagTable) -> tuple[Frame, int, int]:
    """The frame, its flags, and where the next one begins."""
    acquired_ns, column, flags, n = _FRAME.unpack_from(payload, at)
    at += _FRAME.size
    tags, at = _take(payload, at, n, _TAGS)
    if n and (int(tags.min()) < 0 or int(tags.max()) >= len(table.names)):
        raise RecordDamaged("a tag index lies outside its table")
    if flags & _ALL_GOOD:
        status = np.zeros(n, np.uint32)
    else:
        status, at = _take(payload, at, n, _STATUS)
    source = None
    if flags & _SOURCED:
        source, at = _take(payload, at, n, _TIMES)
    values: Column
    if column == _LIST:
        (length,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size
        packed = payload[at : at + length]
        if len(packed) != length:
            raise RecordDamaged("the record ends inside a column")
        values = msgspec.msgpack.decode(packed, type=list)
        if len(values) != n:
            raise RecordDamaged("a list column of the wrong length")
        at += length
    elif column < len(_DTYPES):
        values, at = _take(payload, at, n, _DTYPES[column])  # type: ignore[assignment]
    else:
        raise RecordDamaged(f"column type {column} doesn't exist")
    return Frame(table.device, acquired_ns, tags, values, status, source), flags, at


def _take(payload: bytes, at: int, n: int, dtype: np.dtype[_Number]) -> tuple[npt.NDArray[_Number], int]:
    end = at + n * dtype.itemsize
    if end > len(payload):
        raise RecordDamaged("the record ends inside a column")
    return np.frombuffer(payload, dtype, n, at), end
