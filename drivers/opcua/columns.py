"""DataValues as they stand on the wire to columns, without an object for each. Sans-IO.

Items of one encoding mask and one type of fixed width have a fixed stride, so a run of them is a numpy record array over the
bytes as they came. What alternates is gathered by its offsets; of what has no fixed width, the bytes of the Variant are kept.

Sources: OPC UA Part 6, 5.2.2.17 (DataValue: the picoseconds stand behind their own timestamp), 5.2.2.5 (DateTime).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.errors import DeviceMisbehaved
from drivers.opcua.extents import Reader, tail_bytes

NO_VALUE = 0
"""Encoding byte of a Variant without a value; stands for a DataValue without a Variant, too."""
_FORMS = dict(enumerate(("u1", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8"), start=1))
"""Boolean to Double. DateTime, Guid and StatusCode become texts one by one, so their columns would bring nothing."""
_TAIL = (("status", "<u4", 2), ("source", "<i8", 4), ("pico", "<u2", 16), ("server", "<i8", 8), ("server_pico", "<u2", 32))
_RUN = 8
"""So many items alike in a row, and the next ones are looked at together."""
_EPOCH_TICKS = 116_444_736_000_000_000
"""1970 in DateTime's 100 ns since 1601."""
_MOST_TICKS = (2**63 - 10_000) // 100
"""After 1970: what int64 nanoseconds hold, to the year 2262."""


@dataclass(slots=True, eq=False)
class DataValues:
    """DataValues of one encoding of the value, in the order in which they came."""

    places: npt.NDArray[np.int64]
    """(n,) which of the message they are, from 0."""
    handles: npt.NDArray[np.uint32]
    """(n,) client handles; in an answer to Read the same as the places."""
    encoding: int
    """Encoding byte of the Variants (Part 6, 5.2.2.16)."""
    values: npt.NDArray[Any] | list[bytes]
    """(n,) numbers, Booleans as uint8; of other types each Variant as it is encoded."""
    status: npt.NDArray[np.uint32]
    source_ns: npt.NDArray[np.int64]
    """(n,) ns since 1970; 0 where there is none, and where int64 can't hold it."""


def source_ns(ticks: npt.NDArray[np.int64], picoseconds: npt.NDArray[np.uint16] | None = None) -> npt.NDArray[np.int64]:
    """DateTimes (100 ns since 1601), with what SourcePicoseconds (10 ps, 0 to 9999) add, as ns since 1970."""
    known = (ticks > _EPOCH_TICKS) & (ticks <= _EPOCH_TICKS + _MOST_TICKS)
    found = (np.where(known, ticks, _EPOCH_TICKS) - _EPOCH_TICKS) * 100
    if picoseconds is not None:
        found += np.where(known, np.minimum(picoseconds, 9999) // 100, 0)
    return found


def part_of(group: DataValues, chosen: npt.NDArray[np.bool_]) -> DataValues:
    """Those values of a group that are chosen, at their places."""
    values = group.values
    if isinstance(values, list):
        values = [value for value, taken in zip(values, chosen.tolist(), strict=True) if taken]
    else:
        values = values[chosen]
    return DataValues(
        group.places[chosen], group.handles[chosen], group.encoding, values, group.status[chosen], group.source_ns[chosen]
    )


def in_turn(groups: Sequence[DataValues], *, by_time: bool = False, first: int = 0) -> list[DataValues]:
    """The same values at places that run on from `first`, in the order that they have, or in that of their source times."""
    if not groups:
        return []
    places = np.concatenate([group.places for group in groups])
    order = np.lexsort((places, np.concatenate([group.source_ns for group in groups]))) if by_time else np.argsort(places)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(first, first + len(order))
    ends = np.cumsum([len(group.places) for group in groups])[:-1]
    return [replace(group, places=own) for group, own in zip(groups, np.split(ranks, ends), strict=True)]


def take_data_values(reader: Reader, count: int, head_bytes: int) -> list[DataValues]:
    """`count` DataValues, each behind a client handle (`head_bytes` 4) or not (0); the reader is behind them then.

    Raises:
        DeviceMisbehaved: they aren't there, or no DataValues.
    """
    taker = _Taker(reader.data, reader.end, head_bytes)
    reader.at = taker.take(reader.at, count)
    return taker.groups()


@cache
def _layout(head_bytes: int, mask: int, encoding: int) -> np.dtype[Any] | None:
    """A DataValue with its handle as a record; None where its size isn't fixed."""
    fields = [("handle", "<u4")] if head_bytes else []
    fields.append(("mask", "u1"))
    if mask & 0xC0:
        return None
    if mask & 1:
        fields.append(("encoding", "u1"))
        if encoding in _FORMS:
            fields.append(("value", _FORMS[encoding]))
        elif encoding != NO_VALUE:
            return None
    return np.dtype(fields + [(name, form) for name, form, bit in _TAIL if mask & bit])


@cache
def _tail(mask: int) -> struct.Struct:
    return struct.Struct("<" + "".join(form for form, bit in (("I", 2), ("q", 4), ("H", 16), ("q", 8), ("H", 32)) if mask & bit))


class _Taker:
    def __init__(self, data: bytes, end: int, head_bytes: int) -> None:
        self._data = data
        self._end = end
        self._head = head_bytes
        self._runs: list[DataValues] = []
        self._single: dict[int, tuple[np.dtype[Any], list[int], list[int]]] = {}
        """By mask and encoding: places and offsets."""
        self._other: dict[int, list[tuple[int, int, bytes, int, int, int]]] = {}
        """By encoding: place, handle, Variant, status, ticks, picoseconds."""

    def take(self, at: int, count: int) -> int:
        data, end, head = self._data, self._end, self._head
        place, alike, last = 0, 0, -1
        while place < count:
            if at + head + 2 > end and not (at + head < end and not data[at + head] & 1):
                raise DeviceMisbehaved(f"an answer ends within value {place} of {count}")
            mask = data[at + head]
            key = mask | data[at + head + 1] << 8 if mask & 1 else mask
            alike = alike + 1 if key == last else 0
            last = key
            layout = _layout(head, mask, key >> 8)
            if layout is None:
                at = self._take_other(at, place)
                place += 1
                continue
            if alike >= _RUN:
                taken = self._take_run(at, place, count - place, layout)
                if not taken:
                    raise DeviceMisbehaved(f"an answer ends within value {place} of {count}")
                at += taken * layout.itemsize
                place += taken
                continue
            if at + layout.itemsize > end:
                raise DeviceMisbehaved(f"an answer ends within value {place} of {count}")
            group = self._single.get(key)
            if group is None:
                group = self._single[key] = (layout, [], [])
            group[1].append(place)
            group[2].append(at)
            at += layout.itemsize
            place += 1
        return at

    def _take_run(self, at: int, place: int, count: int, layout: np.dtype[Any]) -> int:
        """As many as follow with one mask and encoding; the first one does."""
        count = min(count, (self._end - at) // layout.itemsize)
        if not count:
            return 0
        records = np.frombuffer(self._data, layout, count, at)
        both = "encoding" in (layout.names or ())
        taken, window = 0, 64
        while taken < count:
            part = records[taken : taken + window]
            alike = part["mask"] == records["mask"][0]
            if both:
                alike &= part["encoding"] == records["encoding"][0]
            if not alike.all():
                taken += int(alike.argmin())
                break
            taken += len(part)
            window *= 8
        self._runs.append(_columns(np.arange(place, place + taken), records[:taken]))
        return taken

    def _take_other(self, at: int, place: int) -> int:
        reader = Reader(self._data, at, self._end)
        handle = reader.uint32() if self._head else place
        mask = reader.byte()
        if mask & 0xC0:
            raise DeviceMisbehaved(f"an answer has a data value with the reserved mask {mask:#x}")
        begin = reader.at
        if mask & 1:
            reader.skip_variant()
        variant = self._data[begin : reader.at]
        bits = [bit for _, _, bit in _TAIL if mask & bit]
        tail = _tail(mask).unpack_from(self._data, reader.skip(tail_bytes(mask)))
        found = dict(zip(bits, tail, strict=True))
        item = (place, handle, variant, found.get(2, 0), found.get(4, 0), found.get(16, 0))
        self._other.setdefault(variant[0], []).append(item)
        return reader.at

    def groups(self) -> list[DataValues]:
        groups = self._runs
        raw = np.frombuffer(self._data, np.uint8)
        for layout, places, offsets in self._single.values():
            rows = raw[np.add.outer(offsets, np.arange(layout.itemsize))]
            groups.append(_columns(np.array(places), rows.view(layout)[:, 0]))
        for encoding, items in self._other.items():
            at, handles, variants, status, ticks, picoseconds = zip(*items, strict=True)
            times = source_ns(np.array(ticks, np.int64), np.array(picoseconds, np.uint16))
            columns = np.array(at, np.int64), np.array(handles, np.uint32)
            groups.append(DataValues(*columns, encoding, list(variants), np.array(status, np.uint32), times))
        return groups


def _columns(places: npt.NDArray[np.int64], records: npt.NDArray[Any]) -> DataValues:
    names = records.dtype.names or ()
    n = len(records)
    return DataValues(
        places,
        records["handle"] if "handle" in names else places.astype(np.uint32),
        int(records["encoding"][0]) if "encoding" in names else NO_VALUE,
        records["value"] if "value" in names else [bytes((NO_VALUE,))] * n,
        records["status"] if "status" in names else np.zeros(n, np.uint32),
        source_ns(records["source"], records["pico"] if "pico" in names else None)
        if "source" in names
        else np.zeros(n, np.int64),
    )
