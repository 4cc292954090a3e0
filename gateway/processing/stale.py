"""Tags that answer but don't move: a controller whose program has stopped, a server that repeats what it once had."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drivers.model import Frame
from drivers.status import Status

_SEVERITY = np.uint32(0xC000_0000)


class StaleWatch:
    """When each tag of one device last moved, by the monotonic clock: a step of the wall clock makes nothing stale.

    A tag moves when its source timestamp does, or, where that is asked for, its value. Bad readings, and readings that lack the
    source timestamp to be judged by, count as moved. Only what would be Good becomes Uncertain.
    """

    def __init__(self, after_s: npt.NDArray[np.float64], by_value: npt.NDArray[np.bool_]) -> None:
        """`after_s`: (n,) by tag index, infinite for tags that are not watched. `by_value`: (n,)."""
        n = len(after_s)
        self.is_stale = np.zeros(n, np.bool_)
        """(n,) which tags are stale now."""
        self._after_s = after_s
        self._by_value = by_value
        self._key = np.zeros(n, np.int64)
        """Source timestamp, or the value's bits."""
        self._moved_s = np.full(n, -np.inf)

    def mark(self, frame: Frame, now_s: float) -> Frame:
        """`frame`, or where tags are stale a copy that says so. List columns pass as they are.

        Args:
            now_s: monotonic.
        """
        if isinstance(frame.values, list):
            return frame
        tags = frame.tags
        by_value = self._by_value[tags]
        source_ns = np.zeros(len(tags), np.int64) if frame.source_ns is None else frame.source_ns
        keys = np.where(by_value, np.ascontiguousarray(frame.values).view(np.int64), source_ns)
        is_good = frame.status & _SEVERITY == 0
        moved = (keys != self._key[tags]) | ~is_good | (~by_value & (source_ns == 0)) | np.isneginf(self._moved_s[tags])
        self._key[tags] = keys
        self._moved_s[tags[moved]] = now_s
        stale = now_s - self._moved_s[tags] >= self._after_s[tags]
        self.is_stale[tags] = stale
        if not stale.any():
            return frame
        status = np.where(stale, np.uint32(Status.UNCERTAIN_LAST_USABLE_VALUE), frame.status)
        return Frame(frame.device, frame.acquired_ns, tags, frame.values, status, frame.source_ns)
