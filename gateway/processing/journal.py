"""The memory of many tags in notes of the outbox: whole now and then, and between that only what has changed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

MOST = 16
"""How many notes of changes there may be; then they are made one. Together they are never more than the whole."""
_CRC_BYTES = 4
_T = TypeVar("_T")


class Tag(NamedTuple):
    """One tag and its memory."""

    name: str
    settings: bytes
    """The digest of those that the memory belongs to."""
    memory: bytes


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Which notes belong together; to be stored with them."""

    generation: int
    parts: int


class _Whole(msgspec.Struct, frozen=True, array_like=True):
    generation: int
    tags: list[Tag]


class _Part(msgspec.Struct, frozen=True, array_like=True):
    generation: int
    changed: list[tuple[int, bytes]]
    """Memories by the places of their tags."""


class Journal:
    """What to write of one device. notes(), then the append, then stored() if it succeeded."""

    def __init__(self, key: str, tags: Sequence[tuple[str, bytes]], generation: int = 0) -> None:
        """`key`: what the notes' names begin with; `tags`: names and settings; `generation`: the last one of other processes."""
        self._key = key
        self._tags = tags
        self._mark = Mark(generation, 0)
        self._whole: list[bytes] = []
        self._before: list[bytes] = []
        self._is_begun = False
        self._whole_size = self._size = 0
        self._next: tuple[Mark, list[bytes], list[bytes], int, int] | None = None

    def notes(self, memories: list[bytes]) -> tuple[Mark, dict[str, bytes]]:
        """`memories`: (n,) of every tag; what must be written, and the mark that must be stored with it."""
        mark, size, self._next = self._mark, self._size, None
        changed = _differing(memories, self._before)
        if self._is_begun and not changed:
            return mark, {}
        spent = {}
        if mark.parts == MOST:
            spent = self._emptied()
            mark, size, changed = Mark(mark.generation, 0), 0, _differing(memories, self._whole)
        data = _sealed(_Part(mark.generation, [(place, memories[place]) for place in changed]))
        if self._is_begun and size + len(data) <= self._whole_size:
            mark = Mark(mark.generation, mark.parts + 1)
            self._next = mark, self._whole, memories, self._whole_size, size + len(data)
            return mark, spent | {_part_key(self._key, mark.parts): data}
        spent = self._emptied()
        mark = Mark(mark.generation + 1, 0)
        tags = [Tag(name, settings, memory) for (name, settings), memory in zip(self._tags, memories, strict=True)]
        data = _sealed(_Whole(mark.generation, tags))
        self._next = mark, memories, memories, len(data), 0
        return mark, spent | {_whole_key(self._key): data}

    def stored(self) -> None:
        """What notes() gave is on disk."""
        if self._next is not None:
            self._mark, self._whole, self._before, self._whole_size, self._size = self._next
            self._next = None
            self._is_begun = True

    def _emptied(self) -> dict[str, bytes]:
        return {_part_key(self._key, number): b"" for number in range(1, self._mark.parts + 1)}


def read(note: Callable[[str], bytes | None], key: str, mark: Mark) -> list[Tag] | None:
    """What was stored with `mark`; None where it is damaged. `note`: see Outbox.note."""
    whole = unsealed(note(_whole_key(key)) or b"", _Whole)
    if whole is None or whole.generation != mark.generation:
        return None
    tags = list(whole.tags)
    for number in range(1, mark.parts + 1):
        part = unsealed(note(_part_key(key, number)) or b"", _Part)
        if part is None or part.generation != mark.generation or any(place >= len(tags) for place, _ in part.changed):
            return None
        for place, memory in part.changed:
            tags[place] = tags[place]._replace(memory=memory)
    return tags


def emptied(note: Callable[[str], bytes | None], key: str) -> dict[str, bytes]:
    """The notes with which nothing is left of a journal."""
    keys = [_whole_key(key), *(_part_key(key, number) for number in range(1, MOST + 1))]
    return {one: b"" for one in keys if note(one)}


def _differing(memories: Sequence[bytes], others: Sequence[bytes]) -> list[int]:
    return [place for place, (one, other) in enumerate(zip(memories, others, strict=False)) if one != other]


def _whole_key(key: str) -> str:
    return f"{key}/whole"


def _part_key(key: str, number: int) -> str:
    return f"{key}/{number}"


def _sealed(what: object) -> bytes:
    return sealed(msgspec.msgpack.encode(what))


def sealed(data: bytes) -> bytes:
    """With a checksum before it."""
    return zlib.crc32(data).to_bytes(_CRC_BYTES, "little") + data


def unsealed(raw: bytes, kind: type[_T]) -> _T | None:
    """None for what is damaged."""
    data = raw[_CRC_BYTES:]
    if zlib.crc32(data).to_bytes(_CRC_BYTES, "little") != raw[:_CRC_BYTES]:
        return None
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.MsgspecError:
        return None
