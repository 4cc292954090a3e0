"""Records of one layout: what stays the same from poll to poll is prepared once, so that only numbers are left to be read.

The format is that of gateway/outbox/codec.py. A layout is everything in a record but its times and values; a record that isn't
all Good, has device times or a list column has none, and goes the plain way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from drivers.model import Kind
from gateway.clock import ClockMark
from gateway.outbox.codec import VERSION

_HEAD = struct.Struct("<B16sH")
_FRAME = struct.Struct("<qBBI")
_TIME_BYTES = 8
_ALL_GOOD = 1
_CLOCK_SHIFT = 2
_PLAIN_FLAGS = (1 << _CLOCK_SHIFT) - 1
"""All but those of the clock, which go into the layout."""
_NUMBERS = "dqQ"
"""struct's letters, by column type."""
_MOST_FRAMES = 16
_SIGHTINGS = 3
"""A layout seen so often is worth preparing: report by exception shows many that never come back."""
_MOST_STRANGERS = 256


def clock_word(marks: int) -> str:
    """What is wrong with the clock, as consumers read it; `marks`: bits of ClockMark, at least one."""
    return "stepped" if marks & int(ClockMark.STEPPED) else "unsynchronised"


def layout_of(payload: bytes) -> bytes | None:
    """The layout of a record as a key; None for one that must go the plain way, a damaged one among them."""
    if len(payload) < _HEAD.size + _FRAME.size or payload[0] != VERSION:
        return None
    count = payload[_HEAD.size - 2]
    if not 1 <= count <= _MOST_FRAMES or payload[_HEAD.size - 1]:
        return None
    parts = [payload[: _HEAD.size]]
    at = _HEAD.size
    for _ in range(count):
        if at + _FRAME.size > len(payload):
            return None
        _, column, flags, n = _FRAME.unpack_from(payload, at)
        values = at + _FRAME.size + 4 * n
        if flags & _PLAIN_FLAGS != _ALL_GOOD or column >= len(_NUMBERS):
            return None
        parts.append(payload[at + _TIME_BYTES : values])
        at = values + 8 * n
    return b"".join(parts) if at == len(payload) else None


class Layout:
    """Turns the records of one layout into the JSON object of their values, name by name."""

    def __init__(self, layout: bytes, names: Sequence[str], kinds: Sequence[Kind], is_wanted: Callable[[int], bool]) -> None:
        """`names`, `kinds`: the tag table's. `is_wanted`: whether the tag of that index is told.

        Raises:
            ValueError: these names or columns can't be prepared.
        """
        form: list[str] = [f"<{_HEAD.size}x"]
        told: list[str] = []
        for place, (column, tags) in enumerate(_frames(layout)):
            form.append(("q" if place == 0 else f"{_TIME_BYTES}x") + f"{_FRAME.size - _TIME_BYTES + 4 * len(tags)}x")
            for tag in tags:
                if not is_wanted(tag):
                    form.append("8x")
                    continue
                form.append(_letter(column, kinds[tag]))
                told.append(names[tag])
        self.size = len(told)
        clock = layout[_HEAD.size + 1] >> _CLOCK_SHIFT
        self.clock = b'"clock":"%b",' % clock_word(clock).encode() if clock else b""
        """What the message says of the gateway's clock."""
        self._unpack = struct.Struct("".join(form)).unpack_from
        self._make = _values_type(tuple(told))
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, payload: bytes) -> tuple[int, bytes]:
        """The time of the first frame, ns, and the values as a JSON object."""
        acquired_ns, *values = self._unpack(payload)
        return acquired_ns, self._encode(self._make(*values))


@lru_cache(256)
def _values_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """A class of objects with these values, shared by devices of one make. Fields are written much faster than a dict's."""
    fields = [f"f{index}" for index in range(len(names))]
    return msgspec.defstruct("Values", fields, rename=dict(zip(fields, names, strict=True)), gc=False)


@dataclass(slots=True)
class Room:
    """How many fields may still be prepared, by all tables of a sink: 350 bytes each."""

    fields: int = 100_000


class Layouts:
    """The layouts of one tag table, in bounded memory."""

    def __init__(self, names: Sequence[str], kinds: Sequence[Kind], is_wanted: Callable[[int], bool], room: Room) -> None:
        self._names, self._kinds, self._is_wanted = names, kinds, is_wanted
        self._prepared: dict[bytes, Layout | None] = {}
        self._strangers: dict[bytes, int] = {}
        self._own = Room(4 * len(names) + 64)
        self._all = room

    def find(self, layout: bytes) -> Layout | None:
        """The prepared layout; None as long as it isn't known to come back, or when it can't be prepared.

        The first records of a layout go the plain way, which also checks its tag indexes.
        """
        found = self._prepared.get(layout)
        if found is not None or layout in self._prepared:
            return found
        seen = self._strangers.pop(layout, 0) + 1
        if seen < _SIGHTINGS or min(self._own.fields, self._all.fields) <= 0:
            if len(self._strangers) >= _MOST_STRANGERS:
                del self._strangers[next(iter(self._strangers))]
            self._strangers[layout] = min(seen, _SIGHTINGS)
            return None
        try:
            made: Layout | None = Layout(layout, self._names, self._kinds, self._is_wanted)
        except ValueError:
            made = None
        self._prepared[layout] = made
        for room in (self._own, self._all):
            room.fields -= 1 if made is None else made.size + 1
        return made


def _frames(layout: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(column type, tag indexes) of each frame."""
    at = _HEAD.size
    for _ in range(layout[_HEAD.size - 2]):
        column, _, n = struct.unpack_from("<BBI", layout, at)
        at += _FRAME.size - _TIME_BYTES
        yield column, struct.unpack_from(f"<{n}i", layout, at)
        at += 4 * n


def _letter(column: int, kind: Kind) -> str:
    if kind is not Kind.BOOL:
        return _NUMBERS[column]
    if _NUMBERS[column] != "q":
        raise ValueError("a Boolean in a column of another type")
    return "?7x"  # 0 or 1, little-endian: its first byte says it
