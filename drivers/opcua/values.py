"""Columns of DataValues to frames. Pure.

Sources: OPC UA Part 4, 7.11 (DataValue), 7.39.1 (info bits of a DataValue's status: Overflow); Part 3, 8 (types).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.model import Frame, Kind
from drivers.opcua.columns import DataValues, part_of
from drivers.opcua.structures import Structures
from drivers.opcua.texts import json_text, text_of
from drivers.status import Status

OVERFLOW = 0x0480
"""InfoType DataValue (bits 10, 11 = 01) with the Overflow bit (7)."""
_BAD, _SEVERITY = np.uint32(0x8000_0000), np.uint32(0xC000_0000)
CLOCK_SET_NS = 978_307_200_000_000_000
"""2001: clocks that lost their setting begin at 1970, 1980, 1984, 1990 or 2000."""
_MISMATCH = np.uint32(Status.BAD_TYPE_MISMATCH)
_BOOLEAN, _SBYTE, _UINT64, _FLOAT, _DOUBLE = 1, 2, 9, 10, 11
_INTEGERS = frozenset(range(_SBYTE, _UINT64 + 1))
_NUMBERS = _INTEGERS | {_FLOAT, _DOUBLE}
JSON = 15
"""Among kinds: Kind.TEXT that takes any value, as JSON."""
_FLOATS, _INTS, _UINTS, _OBJECTS = range(4)
_CLASS = {Kind.FLOAT: _FLOATS, Kind.INT: _INTS, Kind.BOOL: _INTS, Kind.UINT64: _UINTS, Kind.TEXT: _OBJECTS, JSON: _OBJECTS}
"""Which column a kind goes into."""
_DTYPE = (np.float64, np.int64, np.uint64)
_NAN = np.array([np.nan]).view(np.uint64)[0]

Words = npt.NDArray[np.uint64]
"""A number of any column's type, as its 64 bits."""


def overflows_of(groups: Sequence[DataValues]) -> int:
    """How many values come with the word that the server had to throw changes before them away."""
    return sum(int(np.count_nonzero(group.status & OVERFLOW == OVERFLOW)) for group in groups)


class FrameMaker:
    """Makes frames of one device. A tag's kind decides what a value may be: what is Bad, or not of the kind, has a filler."""

    def __init__(
        self, device: str, kinds: Sequence[int], *, check_clock: bool = True, structures: Structures | None = None
    ) -> None:
        """`kinds`: of each tag, a Kind or JSON; `check_clock`: a Good value timed before 2001 is Uncertain.

        `structures`: of the server; what is put into them later counts, too.
        """
        self._structures = structures
        self.unset_clock = 0
        """Values timed before 2001, by a clock that isn't set."""
        self._check_clock = check_clock
        self._device = device
        self._kinds = np.array(kinds, np.uint8)
        self._classes = np.array([_CLASS[kind] for kind in kinds], np.uint8)
        self._class = int(self._classes[0]) if len(set(self._classes.tolist())) == 1 else None
        """Of all tags, where it is one."""

    def frames(self, acquired_ns: int, groups: Sequence[DataValues]) -> list[Frame]:
        """Lay values into frames, oldest first; a tag that is there twice comes in successive ones. Unknown handles are left out.

        Values are taken in the order of their source times, each tag's own order being kept whatever the times say, and a new
        layer of frames (one per column type) begins whenever a tag comes again. So no layer holds a value older than one of the
        layer before, and what a device did in turn can be seen in turn.
        """
        table = _Table(sum(len(group.places) for group in groups), self._structures)
        for group in groups:
            self._lay(table, group)
        self._judge_times(table)
        order = table.order(len(self._kinds))
        if not len(order):
            return []
        repeated = table.repeated(order, len(self._kinds))
        frames: list[Frame] = []
        for begin, end in _layers(repeated):
            frames += self._layer(acquired_ns, table, order if repeated is None else order[begin:end])
        return frames

    def _lay(self, table: _Table, group: DataValues) -> None:
        """Convert a group into the table, kind by kind."""
        known = group.handles < len(self._kinds)
        if not known.all():
            group = part_of(group, known)
        if not len(group.places):
            return
        places = group.places
        table.tags[places] = group.handles
        table.source_ns[places] = group.source_ns
        kinds = self._kinds[group.handles]
        kind = int(kinds[0])
        if (kinds == kind).all():
            table.convert(group, kind)
        else:
            for kind in np.unique(kinds).tolist():
                table.convert(part_of(group, kinds == kind), kind)

    def _judge_times(self, table: _Table) -> None:
        early = (table.source_ns > 0) & (table.source_ns < CLOCK_SET_NS) & (table.tags >= 0)
        if not early.any():
            return
        self.unset_clock += int(np.count_nonzero(early))
        if self._check_clock:
            good = early & (table.status & _SEVERITY == 0)
            table.status[good] = np.uint32(Status.UNCERTAIN) | (table.status[good] & np.uint32(0xFFFF))

    def _layer(self, acquired_ns: int, table: _Table, places: npt.NDArray[np.int64]) -> list[Frame]:
        if self._class is not None:
            return [self._frame(acquired_ns, table, places, self._class)]
        classes = self._classes[table.tags[places]]
        present = dict.fromkeys(classes.tolist())
        return [self._frame(acquired_ns, table, places[classes == number], number) for number in present]

    def _frame(self, acquired_ns: int, table: _Table, places: npt.NDArray[np.int64], number: int) -> Frame:
        values: Any
        if number == _OBJECTS:
            values = [table.objects.get(place) for place in places.tolist()]
        else:
            values = table.words[places].view(_DTYPE[number])
        return Frame(self._device, acquired_ns, table.tags[places], values, table.status[places], table.source_ns[places])


class _Table:
    """The values of one message by their places; a place that no value took has the tag -1."""

    def __init__(self, size: int, structures: Structures | None) -> None:
        self._structures = structures
        self.tags = np.full(size, -1, np.int32)
        self.status = np.empty(size, np.uint32)
        self.source_ns = np.zeros(size, np.int64)
        self.words: Words = np.empty(size, np.uint64)
        self.objects: dict[int, object] = {}

    def convert(self, group: DataValues, kind: int) -> None:
        """Values of one kind of tag."""
        status = group.status
        if kind in (Kind.TEXT, JSON):
            status = self._texts(group, kind)
        else:
            words, mismatched = _numbers(group, kind)
            if mismatched is not None:
                status = np.where((status & _BAD == 0) & mismatched, _MISMATCH, status)
            elif kind == Kind.FLOAT and not np.isfinite(words.view(np.float64)).all():
                broken = ~np.isfinite(words.view(np.float64)) & (status & _BAD == 0)
                status = np.where(broken, np.uint32(Status.BAD_SENSOR_FAILURE), status)
            if (status & _BAD).any():
                words = np.where(status & _BAD, _NAN if kind == Kind.FLOAT else np.uint64(0), words)
            self.words[group.places] = words
        self.status[group.places] = status

    def _texts(self, group: DataValues, kind: int) -> npt.NDArray[np.uint32]:
        status = group.status.copy()
        for index in np.flatnonzero(status & _BAD == 0).tolist():
            value = group.values[index]
            if kind == JSON:
                text, code = json_text(group.encoding, value, self._structures)
            else:
                text, code = text_of(group.encoding, value)
            if code:
                status[index] = code
            else:
                self.objects[int(group.places[index])] = text
        return status

    def order(self, tags: int) -> npt.NDArray[np.int64]:
        """Places in the order of their times, each tag's own order kept."""
        places = np.arange(len(self.tags))
        if len(places) and self.tags.min() < 0:
            places = places[self.tags >= 0]
        times = self.source_ns[places]
        if (times[1:] >= times[:-1]).all():
            return places
        _, ranks = np.unique(times, return_inverse=True)
        own = self.tags[places]
        if np.bincount(own, minlength=tags).max() > 1:
            # The newest time that a tag has shown so far; ranks, so that one running maximum does for all tags.
            by_tag = np.argsort(own, kind="stable")
            shift = own[by_tag].astype(np.int64) * len(places)
            ranks[by_tag] = np.maximum.accumulate(ranks[by_tag] + shift) - shift
        return places[np.argsort(ranks, kind="stable")]

    def repeated(self, order: npt.NDArray[np.int64], tags: int) -> list[int] | None:
        """For each of `order`, where in it the same tag stood last (-1: nowhere); None when no tag is there twice."""
        own = self.tags[order]
        if len(own) <= tags and np.bincount(own, minlength=tags).max() <= 1:
            return None
        by_tag = np.argsort(own, kind="stable")
        last = np.full(len(own), -1)
        again = own[by_tag][1:] == own[by_tag][:-1]
        last[by_tag[1:][again]] = by_tag[:-1][again]
        found: list[int] = last.tolist()
        return found


def _layers(repeated: list[int] | None) -> list[tuple[int, int]]:
    """(begin, end) of each layer: it ends where a tag comes that it has already."""
    if repeated is None:
        return [(0, 0)]
    begins = [0]
    for place, last in enumerate(repeated):
        if last >= begins[-1]:
            begins.append(place)
    return list(zip(begins, [*begins[1:], len(repeated)], strict=True))


def _numbers(group: DataValues, kind: int) -> tuple[Words, npt.NDArray[np.bool_] | None]:
    """Values as the kind's column, and which of them can't be (None: all can)."""
    values, encoding = group.values, group.encoding
    fits = encoding == _BOOLEAN if kind == Kind.BOOL else encoding in (_NUMBERS if kind == Kind.FLOAT else _INTEGERS)
    if isinstance(values, list) or not fits:
        return np.zeros(len(group.places), np.uint64), np.ones(len(group.places), np.bool_)
    if kind == Kind.FLOAT:
        with np.errstate(invalid="ignore"):  # A signalling NaN becomes Bad like any other.
            return values.astype(np.float64).view(np.uint64), None
    if kind == Kind.BOOL:
        return (values != 0).astype(np.uint64), None
    if kind == Kind.UINT64:
        negative = values < 0 if values.dtype.kind == "i" else None
        return values.astype(np.int64 if negative is not None else np.uint64).view(np.uint64), _any(negative)
    return (
        values.astype(np.uint64 if encoding == _UINT64 else np.int64).view(np.uint64),
        _any(values > np.uint64(2**63 - 1)) if encoding == _UINT64 else None,
    )


def _any(mismatched: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_] | None:
    return mismatched if mismatched is not None and mismatched.any() else None
