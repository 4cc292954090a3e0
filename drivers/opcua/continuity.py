"""What was read last of each tag, so that a stream goes on where it broke off. Pure; columns, since it sees every reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.base import Reached, Standing
from drivers.model import Column, Frame, TagTable, select
from drivers.status import Status

_BAD = np.uint32(0x8000_0000)
_OBJECTS = "list"


class Continuity:
    """The last reading of each tag, and how far history has filled it up."""

    def __init__(self, table: TagTable) -> None:
        count = len(table.names)
        self._device = table.device
        self._status = np.zeros(count, np.uint32)
        self._source_ns = np.zeros(count, np.int64)
        self._filled_ns = np.zeros(count, np.int64)
        self._is_filled = False
        self._has_repeats = False
        self._keys: list[str] = []
        self._key = np.full(count, -1, np.int8)
        """Which store holds a tag's value; -1 before its first reading."""
        self._stores: list[Any] = []
        self._is_recalled = np.zeros(count, np.bool_)
        """Whether an earlier process had a reading, whose value isn't known any more."""

    def recall(self, reached: Reached) -> None:
        """An earlier process has stored that."""
        self._is_recalled = reached.standing >= Standing.READ
        self._source_ns[:] = reached.source_ns
        self._status[:] = np.where(reached.standing == Standing.BAD, _BAD, np.uint32(0))

    def note(self, frames: Sequence[Frame]) -> None:
        """These readings have been passed on, in this order."""
        for frame in frames:
            tags = frame.tags
            key, store = self._store(frame.values)
            if isinstance(frame.values, list):
                for tag, value in zip(tags.tolist(), frame.values, strict=True):
                    store[tag] = value
            else:
                store[tags] = frame.values
            self._key[tags] = key
            self._status[tags] = frame.status
            self._source_ns[tags] = 0 if frame.source_ns is None else frame.source_ns

    def clear(self) -> None:
        """Nothing has been read yet."""
        self._key[:] = -1
        self._is_recalled[:] = False
        self._filled_ns[:] = 0
        self._has_repeats = False

    def has_read(self, tag: int) -> bool:
        """Whether there has been a reading, of an earlier process too."""
        return bool(self._key[tag] >= 0 or self._is_recalled[tag])

    def differ(
        self, tags: npt.NDArray[np.uint32], status: npt.NDArray[np.uint32], source_ns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Which of these values are others than the last readings of their tags: of another time or none, not Bad as before."""
        is_same = (source_ns != 0) & (self._source_ns[tags] == source_ns)
        is_bad_still = (self._status[tags] & status & _BAD) != 0
        differ: npt.NDArray[np.bool_] = ~(is_same | is_bad_still)
        return differ

    def is_lost(self, tags: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """Of which of these tags a gap is the last that was told."""
        lost: npt.NDArray[np.bool_] = self._status[tags] == Status.BAD_DATA_LOST
        return lost

    def source_ns(self, tag: int) -> int:
        """The device's own time of the last reading, ns since the epoch; 0 where it has none."""
        return int(self._source_ns[tag])

    def again(self, tags: Sequence[int], acquired_ns: int) -> list[Frame]:
        """The last readings of those of `tags` that have one, once more: they hold still. The server may say the same.

        A gap is told once.
        """
        wanted = np.array(tags, np.int32)
        wanted = wanted[self._status[wanted] != Status.BAD_DATA_LOST]
        self._has_repeats = True
        frames = []
        for key, store in enumerate(self._stores):
            own = wanted[self._key[wanted] == key]
            if len(own):
                values: Column = [store[tag] for tag in own.tolist()] if isinstance(store, list) else store[own]
                frames.append(Frame(self._device, acquired_ns, own, values, self._status[own], self._source_ns[own]))
        return frames

    def fill(self, tags: npt.NDArray[np.uint32], source_ns: npt.NDArray[np.int64]) -> None:
        """History has given all readings of these tags through those times; what a subscription still has is a repetition."""
        np.maximum.at(self._filled_ns, tags, source_ns)
        self._is_filled = True

    def fresh(self, frames: list[Frame]) -> list[Frame]:
        """`frames` without what history has given, or again() and the server once more after it."""
        if self._has_repeats:
            frames = self._without_repeats(frames)
        if not self._is_filled:
            return frames
        left = []
        for frame in frames:
            source_ns = frame.source_ns if frame.source_ns is not None else np.zeros(len(frame.tags), np.int64)
            is_new = (source_ns > self._filled_ns[frame.tags]) | (source_ns == 0)
            self._filled_ns[frame.tags[is_new]] = 0
            if is_new.all():
                left.append(frame)
            elif is_new.any():
                left.append(select(frame, is_new))
        self._is_filled = bool(self._filled_ns.any())
        return left

    def _without_repeats(self, frames: list[Frame]) -> list[Frame]:
        """A reading of the same time, value and status as the one before it says nothing."""
        left = []
        for frame in frames:
            tags = frame.tags
            key, store = self._store(frame.values)
            if isinstance(frame.values, list):
                pairs = zip(tags.tolist(), frame.values, strict=True)
                is_equal = np.array([store[tag] == value for tag, value in pairs], np.bool_)
            else:
                is_equal = store[tags] == frame.values
            source_ns = 0 if frame.source_ns is None else frame.source_ns
            is_same = is_equal & (self._key[tags] == key) & (self._status[tags] == frame.status)
            is_repeat = is_same & (self._source_ns[tags] == source_ns) & (self._source_ns[tags] != 0)
            if not is_repeat.any():
                left.append(frame)
            elif not is_repeat.all():
                left.append(select(frame, ~is_repeat))
        return left

    def _store(self, values: Column) -> tuple[int, Any]:
        name = _OBJECTS if isinstance(values, list) else values.dtype.str
        if name not in self._keys:
            count = len(self._key)
            self._keys.append(name)
            self._stores.append([None] * count if isinstance(values, list) else _zeros(count, values))
        key = self._keys.index(name)
        return key, self._stores[key]


def _zeros(count: int, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.zeros(count, like.dtype)
