"""Aggregates of tags over tumbling windows: least, greatest, mean, sum, count, first, last, standard deviation.

A window [k * w, (k + 1) * w) is counted from the epoch, in UTC, by the time of the readings: the device's own or the gateway's.
It closes when a reading of its tag (by the gateway's time also the clock) has passed its end by the lateness that is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.model import Frame
from drivers.settings import Aggregate
from drivers.status import Status
from gateway.processing.savepoint import Savepoint

MAX_OPEN = 16
"""Most windows of one tag that may be open at once: bounds lateness_s."""
_BAD = np.uint32(0x8000_0000)
_FLOATS = (Aggregate.MEAN, Aggregate.SUM, Aggregate.STDDEV)
"""Always real numbers; count is an integer, the others have the tag's own kind."""

Places = npt.NDArray[np.int32]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """One tag's windows."""

    tag: int
    """Index of the tag that is looked at."""
    width_ns: int
    lateness_ns: int
    by_source: bool
    """By the device's time; readings without one count at the newest that the tag had."""
    results: tuple[tuple[Aggregate, int], ...]
    """Which aggregates, each with the index of the tag that it is reported as."""


class Windows:
    """The windows of tags that have one kind of number.

    Bad readings and such as are no finite number count in no aggregate. A result is Bad (BadNoData) when nothing else came,
    Uncertain (UncertainSubNormal) when some readings were Bad or the gateway didn't see the window's begin. A window in which
    nothing came isn't reported. Late readings, whose window has closed, are counted in `late` and in no window; if for a whole
    window's time none but late ones came, the time was set back, and the windows start anew.
    """

    def __init__(self, device: str, windows: Sequence[Window], dtype: np.dtype[Any]) -> None:
        m = len(windows)
        self.late = 0
        """Readings that came after their window had closed."""
        self.turns = 0
        """How often a window opened or closed."""
        self.windows = tuple(windows)
        self.tags = np.array([window.tag for window in windows], np.int32)
        self.dtype = dtype
        self._device = device
        self._width_ns = np.array([window.width_ns for window in windows], np.int64)
        self._lateness_ns = np.array([window.lateness_ns for window in windows], np.int64)
        self._by_source = np.array([window.by_source for window in windows], np.bool_)
        self._slots = max(-(-window.lateness_ns // window.width_ns) + 1 for window in windows)
        self._results = {
            aggregate: np.array([dict(window.results).get(aggregate, -1) for window in windows], np.int32)
            for aggregate in Aggregate
        }
        size = self._slots * m
        self._index = np.full(size, -1, np.int64)
        """Which window a slot holds, -1 none; slot s of place p stands at s * m + p."""
        self._count, self._first_ns, self._last_ns = counts = np.zeros((3, size), np.int64)
        self._mean, self._squares, self._sum = sums = np.zeros((3, size))
        self._least, self._greatest, self._first, self._final = numbers = np.zeros((4, size), dtype)
        self._impaired = np.zeros(size, np.bool_)
        self._next, self._newest_ns, self._accepted_ns = times = np.full((3, m), -1, np.int64)
        """The first window that still takes readings; the newest time; when, by the gateway, a reading was last taken."""
        self._begun = np.full(m, -1, np.int64)
        """The window in which the first reading came: the gateway didn't see its begin."""
        self._state = (self._index, counts, sums, numbers, self._impaired, times, self._begun)
        self._savepoint = Savepoint(*self._state)

    def take(self, frame: Frame, chosen: npt.NDArray[np.intp], places: Places) -> list[Frame]:
        """Count the readings of `frame` at `chosen` (k,), which stand at `places` (k,) among ours.

        Returns:
            The results of the windows that closed, oldest first.
        """
        assert not isinstance(frame.values, list)
        self._savepoint.keep()
        is_bad = frame.status[chosen] & _BAD != 0
        raw = frame.values[chosen]
        if raw.dtype.kind == "f":
            is_bad |= ~np.isfinite(raw)
        values = np.where(is_bad, raw.dtype.type(0), raw).astype(self.dtype)
        times_ns = self._times(frame, chosen, places)
        known = times_ns >= 0
        self._note_newest(places[known], times_ns[known])
        window = times_ns // self._width_ns[places]
        is_new = known & (self._begun[places] < 0)
        self._begun[places[is_new]] = window[is_new]
        self._next[places[is_new]] = np.maximum(self._next[places[is_new]], window[is_new])
        is_late = known & (window < self._next[places])
        closed: list[Frame] = []
        if is_late.any():
            closed = self._restart(places, is_late, times_ns, frame.acquired_ns)
            is_late = known & (window < self._next[places])
            self.late += int(np.count_nonzero(is_late))
        closed += self._close(frame.acquired_ns)
        taken = known & ~is_late
        self._accepted_ns[places[taken]] = frame.acquired_ns
        self._count_in(places[taken], window[taken], values[taken], times_ns[taken], is_bad[taken])
        return closed

    def pass_time(self, now_ns: int) -> list[Frame]:
        """Close what has ended by the gateway's time though nothing came."""
        running = ~self._by_source & (self._newest_ns >= 0)
        if not running.any():
            return []
        self._savepoint.keep()
        self._newest_ns[running] = np.maximum(self._newest_ns[running], now_ns)
        return self._close(now_ns)

    def state(self) -> bytes:
        """Everything that has been counted, for resume()."""
        return b"".join(array.tobytes() for array in self._state)

    def resume(self, state: bytes, *, is_whole: bool) -> None:
        """Go on from what windows of the same kind had counted in a process that has ended.

        What is open is impaired, since nobody looked in between; of a `is_whole` state only what hadn't reached its end.

        Raises:
            ValueError: it is the state of other windows.
        """
        if len(state) != sum(array.nbytes for array in self._state):
            raise ValueError("a state of other windows")
        at = 0
        for array in self._state:
            array[...] = np.frombuffer(state, array.dtype, array.size, at).reshape(array.shape)
            at += array.nbytes
        place = np.arange(len(self._index)) % len(self.tags)
        is_cut = (self._index + 1) * self._width_ns[place] > self._newest_ns[place]
        self._impaired |= (self._index >= 0) & (is_cut | (not is_whole))
        self._begun[:] = -1

    def end(self, now_ns: int) -> list[Frame]:
        """Close whatever is open, as impaired: there will be no more readings."""
        ended = np.flatnonzero(self._index >= 0)
        self._impaired[ended] = True
        closed = self._results_of(ended, now_ns)
        self._index[ended] = -1
        return closed

    def next_end_ns(self) -> int | None:
        """When pass_time() closes a window at the earliest."""
        place = np.arange(len(self._index)) % len(self.tags)
        is_open = (self._index >= 0) & ~self._by_source[place]
        ends = (self._index + 1) * self._width_ns[place] + self._lateness_ns[place]
        return int(ends[is_open].min()) if is_open.any() else None

    def accept(self) -> None:
        """See Report."""
        self._savepoint.release()

    def take_back(self) -> None:
        """See Report."""
        self._savepoint.restore()

    def _times(self, frame: Frame, chosen: npt.NDArray[np.intp], places: Places) -> Times:
        """(k,) by which each reading counts; -1 where none is known yet."""
        acquired = np.full(len(places), frame.acquired_ns, np.int64)
        if frame.source_ns is None:
            return np.where(self._by_source[places], self._newest_ns[places], acquired)
        source = frame.source_ns[chosen]
        source = np.where(source > 0, source, self._newest_ns[places])
        return np.where(self._by_source[places], source, acquired)

    def _note_newest(self, places: Places, times_ns: Times) -> None:
        self._newest_ns[places] = np.maximum(self._newest_ns[places], times_ns)

    def _restart(self, places: Places, is_late: npt.NDArray[np.bool_], times_ns: Times, acquired_ns: int) -> list[Frame]:
        """Where time was set back: what is open closes as impaired, and the windows begin at the new time."""
        patience_ns = self._width_ns[places] + self._lateness_ns[places]
        silent_ns = acquired_ns - self._accepted_ns[places]
        back = is_late & ((silent_ns >= patience_ns) | (silent_ns < 0))
        if not back.any():
            return []
        at, times = places[back], times_ns[back]
        place = np.arange(len(self._index)) % len(self.tags)
        ended = np.flatnonzero((self._index >= 0) & np.isin(place, at))
        self._impaired[ended] = True
        self.turns += 1
        closed = self._results_of(ended, acquired_ns)
        self._index[ended] = -1
        self._newest_ns[at] = times
        self._begun[at] = self._next[at] = times // self._width_ns[at]
        return closed

    def _close(self, acquired_ns: int) -> list[Frame]:
        m = len(self.tags)
        reached = (self._newest_ns - self._lateness_ns) // self._width_ns
        index = self._index.reshape(self._slots, m)
        ended = np.flatnonzero(((index >= 0) & (index < reached)).ravel())
        self._next = np.maximum(self._next, reached, out=self._next)
        if not len(ended):
            return []
        self.turns += 1
        closed = self._results_of(ended, acquired_ns)
        self._index[ended] = -1
        return closed

    def _count_in(
        self, places: Places, window: Times, values: npt.NDArray[Any], times_ns: Times, is_bad: npt.NDArray[np.bool_]
    ) -> None:
        slots = (window % self._slots) * len(self.tags) + places
        fresh = self._index[slots] != window
        if fresh.any():
            self._open(slots[fresh], window[fresh], places[fresh])
        if is_bad.any():
            self._impaired[slots[is_bad]] = True
            good = ~is_bad
            slots, values, times_ns = slots[good], values[good], times_ns[good]
        count = self._count[slots] + 1
        real = values.astype(np.float64)
        mean = self._mean[slots]
        with np.errstate(over="ignore", invalid="ignore"):
            off = real - mean  # B. P. Welford's recurrence: no difference of great sums of squares
            mean = mean + off / count
            self._squares[slots] += off * (real - mean)
            self._sum[slots] += real
        self._count[slots] = count
        self._mean[slots] = mean
        alone = count == 1
        self._least[slots] = np.where(alone, values, np.minimum(self._least[slots], values))
        self._greatest[slots] = np.where(alone, values, np.maximum(self._greatest[slots], values))
        earliest = alone | (times_ns < self._first_ns[slots])
        latest = alone | (times_ns >= self._last_ns[slots])
        self._first[slots[earliest]], self._first_ns[slots[earliest]] = values[earliest], times_ns[earliest]
        self._final[slots[latest]], self._last_ns[slots[latest]] = values[latest], times_ns[latest]

    def _open(self, slots: Times, window: Times, places: Places) -> None:
        self.turns += 1
        self._index[slots] = window
        for column in (self._count, self._mean, self._squares, self._sum):
            column[slots] = 0
        self._impaired[slots] = window == self._begun[places]

    def _results_of(self, slots: npt.NDArray[np.intp], acquired_ns: int) -> list[Frame]:
        """A frame per begin and kind of number; its source time is the window's begin (OPC UA Part 13, 5.4.3.2.1)."""
        places = slots % len(self.tags)
        begins = self._index[slots] * self._width_ns[places]
        frames = []
        for begin_ns in np.unique(begins).tolist():
            at = slots[begins == begin_ns]
            frames += self._frames(at, at % len(self.tags), begin_ns, acquired_ns)
        return frames

    def _frames(self, slots: npt.NDArray[np.intp], places: npt.NDArray[np.intp], begin_ns: int, acquired_ns: int) -> list[Frame]:
        count = self._count[slots]
        doubtful = np.where(self._impaired[slots], np.uint32(Status.UNCERTAIN_SUB_NORMAL), np.uint32(0))
        status = np.where(count == 0, np.uint32(Status.BAD_NO_DATA), doubtful)
        columns: dict[str, list[tuple[npt.NDArray[Any], npt.NDArray[np.uint32], npt.NDArray[np.int32]]]] = {}
        for aggregate, results in self._results.items():
            tags = results[places]
            asked = tags >= 0
            if not asked.any():
                continue
            column = self._column(aggregate, slots)
            own_status = doubtful if aggregate is Aggregate.COUNT else status
            columns.setdefault(column.dtype.kind, []).append((column[asked], own_status[asked], tags[asked]))
        frames = []
        for parts in columns.values():
            values, statuses, tags = (np.concatenate(part) for part in zip(*parts, strict=True))
            if values.dtype.kind == "f":
                statuses = np.where(np.isfinite(values), statuses, np.maximum(statuses, np.uint32(Status.BAD_OUT_OF_RANGE)))
                values = np.where(statuses & _BAD != 0, np.nan, values)
            source = np.full(len(tags), begin_ns, np.int64)
            frames.append(Frame(self._device, acquired_ns, tags, values, statuses.astype(np.uint32), source))
        return frames

    def _column(self, aggregate: Aggregate, slots: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        if aggregate is Aggregate.STDDEV:
            deviations: npt.NDArray[Any] = np.sqrt(np.maximum(self._squares[slots], 0) / np.maximum(self._count[slots], 1))
            return deviations
        held: dict[Aggregate, npt.NDArray[Any]] = {
            Aggregate.MIN: self._least,
            Aggregate.MAX: self._greatest,
            Aggregate.MEAN: self._mean,
            Aggregate.SUM: self._sum,
            Aggregate.COUNT: self._count,
            Aggregate.FIRST: self._first,
            Aggregate.LAST: self._final,
        }
        return held[aggregate][slots]
