"""How far the readings of a device are stored, tag by tag, by the device's own times: its history is asked from there.

The mark of a tag goes into the transaction that stores its reading, so a kill can't part the two. Most transactions add a few
rows to a small note (a piece); a note with all tags (the base) is written anew only when the pieces have grown to several times
its size. Readings that weren't worth a record are marked with the next one, or within KEEP_S.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from drivers.base import Reached, Standing
from drivers.model import Frame, TagTable
from gateway.clock import Clock
from gateway.log import Log
from gateway.outbox.codec import RecordDamaged, decode_table, table_key

KEEP_S = 10.0
"""How old a mark may be whose reading made no record: a kill only has so much read, and judged, once more."""
PIECE_BYTES = 2048
"""A piece of this size is left as it is, and another one begun."""
_PIECES_PER_BASE = 8
"""The base is written anew when the pieces are so many times as large as the rows of all tags."""
_LEAST_BYTES = 32 * 1024
_MOST_FRESH = 1000
_NS = 1_000_000_000
_CRC_BYTES = 4
_BAD = np.uint32(0x8000_0000)
_COUNT = struct.Struct("<I")
_TAGS: np.dtype[np.int32] = np.dtype("<i4")
_TIMES: np.dtype[np.int64] = np.dtype("<i8")
_ROW_BYTES = 13
_Content = TypeVar("_Content", "_Base", "_Piece")


class _Base(msgspec.Struct, frozen=True, array_like=True):
    """Every tag of a device."""

    turn: int
    """Pieces of the same turn came after it."""
    digest: bytes
    """Of the tag table to which tags belong, which is a note of the outbox."""
    rows: bytes


class _Piece(msgspec.Struct, frozen=True, array_like=True):
    turn: int
    rows: bytes
    """In the order in which they were stored."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Marks of some tags; of a tag that is there twice the later one holds."""

    tags: npt.NDArray[np.int32]
    standing: npt.NDArray[np.uint8]
    source_ns: npt.NDArray[np.int64]

    def chosen(self, keep: npt.NDArray[np.bool_]) -> _Rows:
        return _Rows(self.tags[keep], self.standing[keep], self.source_ns[keep])

    def encode(self) -> bytes:
        columns = (np.ascontiguousarray(self.tags, _TAGS), self.standing, np.ascontiguousarray(self.source_ns, _TIMES))
        return _COUNT.pack(len(self.tags)) + b"".join(column.tobytes() for column in columns)


class _Marks:
    """The newest mark of every tag."""

    def __init__(self, count: int) -> None:
        self.standing = np.zeros(count, np.uint8)
        self.source_ns = np.zeros(count, np.int64)

    def put(self, rows: _Rows) -> None:
        self.standing[rows.tags] = rows.standing
        self.source_ns[rows.tags] = rows.source_ns

    def rows(self) -> _Rows:
        return _Rows(np.arange(len(self.standing), dtype=np.int32), self.standing, self.source_ns)

    def copy(self) -> _Marks:
        found = _Marks(0)
        found.standing, found.source_ns = self.standing.copy(), self.source_ns.copy()
        return found


@dataclass(frozen=True, slots=True)
class _Pending:
    """What is on its way to the disk, and the present piece after it."""

    rows: Sequence[_Rows]
    left: list[_Rows]
    """What isn't marked yet."""
    turn: int
    piece: int
    size: int
    content: bytes


def base_key(device: str) -> str:
    """The name of the note that has all of a device's tags."""
    return f"marks/{device}"


def piece_key(device: str, number: int) -> str:
    """The name of one of the notes that have what changed after it."""
    return f"marks.{number}/{device}"


class Bookmarks:
    """One device's. Used by its task only: resume(), then take(), due() and stored() or take_back() at each append."""

    def __init__(
        self,
        table: TagTable,
        digest: bytes,
        note: Callable[[str], bytes | None],
        *,
        clock: Clock,
        log: Log,
        held: npt.NDArray[np.int32] | None = None,
    ) -> None:
        """`table`: the driver's tags, the first ones of the table that `digest` names.

        Args:
            held: tags whose readings wait in memory (swinging doors): marked only together with the note that keeps these.
        """
        self._device = table.device
        self._names = table.names
        self._digest = digest
        self._note = note
        self._clock = clock
        self._log = log
        self._stored = _Marks(len(table.names))
        self._fresh: list[_Rows] = []
        """Taken, and not marked yet."""
        self._fresh_rows = 0
        self._is_held: npt.NDArray[np.bool_] | None = None
        if held is not None and (held < len(table.names)).any():
            self._is_held = np.zeros(len(table.names), np.bool_)
            self._is_held[held[held < len(table.names)]] = True
        self._turn = self._piece = self._pieces_bytes = 0
        self._content = b""
        self._has_base = False
        self._due_s = 0.0
        self._pending: _Pending | None = None

    def resume(self) -> tuple[Reached | None, dict[str, bytes]]:
        """How far an earlier process came, None when there was none; and the notes to be stored before anything is taken."""
        raw = self._note(base_key(self._device))
        if raw is None:
            return None, {}
        pieces = self._pieces()
        self._turn = max((piece.turn for piece in pieces), default=0)
        base = _decode(raw, _Base)
        names = () if base is None else self._names_of(base)
        if base is None or not names:
            self._log.alarm(
                f"what was kept of how far {self._device} was read is damaged: what it did meanwhile isn't looked for"
            )
            return None, {}
        former = _Marks(len(names))
        for content in (base.rows, *(piece.rows for piece in pieces if piece.turn == base.turn)):
            for rows in _decode_rows(content, len(names)):
                former.put(rows)
        places = {name: place for place, name in enumerate(names)}
        for tag, name in enumerate(self._names):
            if (place := places.get(name)) is not None:
                self._stored.standing[tag] = former.standing[place]
                self._stored.source_ns[tag] = former.source_ns[place]
        self._turn, self._has_base = max(self._turn, base.turn) + 1, True
        whole = _encode(_Base(self._turn, self._digest, self._stored.rows().encode()))
        return Reached(self._stored.source_ns.copy(), self._stored.standing.copy()), {base_key(self._device): whole}

    def _names_of(self, base: _Base) -> tuple[str, ...]:
        table = self._note(table_key(base.digest))
        try:
            return () if table is None else decode_table(table).names
        except RecordDamaged:
            return ()

    def _pieces(self) -> list[_Piece]:
        found = []
        number = 0
        while (raw := self._note(piece_key(self._device, number))) is not None:
            number += 1
            piece = _decode(raw, _Piece)
            if piece is None:
                self._log.alarm(
                    f"a part of what was kept of how far {self._device} was read is damaged: "
                    "some of its readings may be stored twice"
                )
            else:
                found.append(piece)
        return found

    def follow(self) -> None:
        """The device is followed from now on, whether or not it has something to tell."""
        is_new = self._stored.standing == Standing.NEVER
        for rows in self._fresh:
            is_new[rows.tags] = False
        fresh = np.flatnonzero(is_new).astype(np.int32)
        if len(fresh):
            self._add(_Rows(fresh, np.full(len(fresh), Standing.FOLLOWED, np.uint8), np.zeros(len(fresh), np.int64)))
            self._due_s = self._clock.monotonic()

    def take(self, frames: Sequence[Frame]) -> None:
        """These readings are to be stored, or were judged not to be worth it. Frames without times of the device mark nothing."""
        for frame in frames:
            if frame.source_ns is not None and len(frame.tags):
                standing = np.full(len(frame.tags), Standing.READ, np.uint8)
                if frame.status.max() & _BAD:
                    standing[frame.status & _BAD != 0] = Standing.BAD
                self._add(_Rows(frame.tags, standing, frame.source_ns))

    def _add(self, rows: _Rows) -> None:
        if not self._fresh:
            self._due_s = self._clock.monotonic() + KEEP_S
        self._fresh.append(rows)
        self._fresh_rows += len(rows.tags)
        if self._fresh_rows > _MOST_FRESH + 2 * len(self._names):
            self._fresh = [_newest(self._fresh)]
            self._fresh_rows = len(self._fresh[0].tags)

    def due(self, *, has_entries: bool, is_held_kept: bool) -> dict[str, bytes] | None:
        """The notes to be stored with what was taken; None when there are none, or it isn't time. Then stored() or take_back().

        Args:
            has_entries: there is a transaction in any case.
            is_held_kept: the readings that wait in memory are kept in it.
        """
        if not self._fresh or not (has_entries or is_held_kept or self._clock.monotonic() >= self._due_s):
            return None
        rows, left = self._fresh, []
        if self._is_held is not None and not is_held_kept:
            left = [part for one in rows if len((part := one.chosen(self._is_held[one.tags])).tags)]
            rows = [part for one in rows if len((part := one.chosen(~self._is_held[one.tags])).tags)]
        if not rows:
            self._due_s = self._clock.monotonic() + KEEP_S
            return None
        added = b"".join(one.encode() for one in rows)
        most = max(_LEAST_BYTES, _PIECES_PER_BASE * _ROW_BYTES * len(self._names))
        if not self._has_base or self._pieces_bytes + len(added) > most:
            whole = self._stored.copy()
            for one in rows:
                whole.put(one)
            self._pending = _Pending(rows, left, self._turn + 1, 0, 0, b"")
            return {base_key(self._device): _encode(_Base(self._turn + 1, self._digest, whole.rows().encode()))}
        is_full = len(self._content) >= PIECE_BYTES
        piece, content = (self._piece + 1, added) if is_full else (self._piece, self._content + added)
        self._pending = _Pending(rows, left, self._turn, piece, self._pieces_bytes + len(added), content)
        return {piece_key(self._device, piece): _encode(_Piece(self._turn, content))}

    def stored(self) -> None:
        """What due() gave is on disk."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        for rows in pending.rows:
            self._stored.put(rows)
        self._fresh = pending.left
        self._fresh_rows = sum(len(rows.tags) for rows in self._fresh)
        self._has_base = True
        self._turn, self._piece, self._pieces_bytes, self._content = pending.turn, pending.piece, pending.size, pending.content
        self._due_s = self._clock.monotonic() + KEEP_S

    def take_back(self) -> None:
        """What was taken since stored() is not on disk."""
        self._pending = None
        self._fresh, self._fresh_rows = [], 0

    def next_ns(self) -> int | None:
        """When due() has something though nothing comes, by the wall clock."""
        if not self._fresh:
            return None
        return self._clock.now_ns() + round(max(0.0, self._due_s - self._clock.monotonic()) * _NS)


def _newest(parts: Sequence[_Rows]) -> _Rows:
    """The last row of each tag."""
    tags = np.concatenate([rows.tags for rows in parts])
    _, last = np.unique(tags[::-1], return_index=True)
    places = len(tags) - 1 - last
    standing = np.concatenate([rows.standing for rows in parts])
    return _Rows(tags[places], standing[places], np.concatenate([rows.source_ns for rows in parts])[places])


def _decode_rows(content: bytes, count: int) -> Iterator[_Rows]:
    """What is encoded there, of tags below `count`; its checksum has been found right."""
    at = 0
    while at < len(content):
        (n,) = _COUNT.unpack_from(content, at)
        at += _COUNT.size
        tags = np.frombuffer(content, _TAGS, n, at)
        standing = np.frombuffer(content, np.uint8, n, at + 4 * n)
        rows = _Rows(tags, standing, np.frombuffer(content, _TIMES, n, at + 5 * n))
        yield rows if (tags < count).all() else rows.chosen(tags < count)
        at += _ROW_BYTES * n


def _encode(content: _Base | _Piece) -> bytes:
    data = msgspec.msgpack.encode(content)
    return zlib.crc32(data).to_bytes(_CRC_BYTES, "little") + data


def _decode(raw: bytes, kind: type[_Content]) -> _Content | None:
    """None for what is damaged."""
    data = raw[_CRC_BYTES:]
    if zlib.crc32(data).to_bytes(_CRC_BYTES, "little") != raw[:_CRC_BYTES]:
        return None
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.DecodeError:
        return None
