"""Report by exception: of what was read, what is worth a message. Vectorised over the tags of a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.model import Frame, TagTable, select

_BAD = np.uint32(0x8000_0000)
_NEVER = np.iinfo(np.int64).min


_KINDS = "fiuO"
"""The columns by the kind of their numbers (numpy's dtype.kind), lists last."""
_MOST_RUNS = 64

Index = slice | npt.NDArray[np.int32]


@dataclass(slots=True)
class _Undo:
    """What one frame's readings overwrote."""

    index: Index
    seen: npt.NDArray[np.bool_]
    status: npt.NDArray[np.uint32]
    reported_ns: npt.NDArray[np.int64]
    source_ns: npt.NDArray[np.int64]
    kept_in: npt.NDArray[np.int8]
    kind: str
    values: npt.NDArray[Any]


class _Run:
    """Tags that come together again and again, and what makes looking at them cheap."""

    __slots__ = ("due_ns", "index", "plain", "relative", "seen", "tags")

    def __init__(
        self, tags: npt.NDArray[np.int32], deadbands: npt.NDArray[np.float64], relative: npt.NDArray[np.float64] | None
    ) -> None:
        self.tags = tags
        """Kept, so that no other array takes its place in memory."""
        self.index: Index = _index_of(tags)
        self.relative = None if relative is None or not relative[self.index].any() else relative[self.index]
        self.plain = not deadbands[self.index].any() and self.relative is None
        """No deadband: whatever differs has moved."""
        self.forget()

    def forget(self) -> None:
        """What was known of the tags' state may not hold any more."""
        self.seen = False
        """All of them have been reported before."""
        self.due_ns = 0
        """No heartbeat is due before, unless the clock is set back."""


def _index_of(tags: npt.NDArray[np.int32]) -> Index:
    """A slice where the tags are neighbours: it is taken without copying."""
    first, n = int(tags[0]), len(tags)
    return slice(first, first + n) if int(tags[-1]) == first + n - 1 and bool((np.diff(tags) == 1).all()) else tags


class Filter:
    """What was last reported of each tag of one device.

    A reading passes when it is the tag's first, when its status differs, when its value has moved by more than the tag's
    deadband, or when the tag's heartbeat is due. The state must not run ahead of the disk: after each pick() either accept() or
    take_back(). It isn't kept over a restart: everything is then reported anew.
    """

    def __init__(
        self,
        table: TagTable,
        deadbands: npt.NDArray[np.float64],
        heartbeats_ns: npt.NDArray[np.int64],
        relative: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """By tag index, (n,).

        Args:
            relative: further deadbands, as parts of the value last reported; the wider one holds.
        """
        n = len(table.names)
        self._device = table.device
        self._deadbands = deadbands
        self._whole_deadbands = np.floor(np.minimum(deadbands, 2.0**63)).astype(np.uint64)
        """For whole numbers |difference| > deadband and |difference| > floor(deadband) are the same."""
        self._relative = relative
        self._heartbeats_ns = heartbeats_ns
        self._seen = np.zeros(n, np.bool_)
        self._status = np.zeros(n, np.uint32)
        self._reported_ns = np.full(n, _NEVER, np.int64)
        self._source_ns = np.zeros(n, np.int64)
        self._columns: dict[str, npt.NDArray[Any]] = {
            "f": np.full(n, np.nan),
            "i": np.zeros(n, np.int64),
            "u": np.zeros(n, np.uint64),
            "O": np.full(n, None, object),
        }
        self._kept_in = np.zeros(n, np.int8)
        """Which column, by its place in _KINDS, holds a tag's last value."""
        self._undo: list[_Undo] = []
        self._newest_ns = _NEVER
        """When something was last reported."""
        self._runs: dict[int, _Run] = {}
        """By the identity of an array of tags that can't be written to: what a driver's plan holds."""

    def pick(self, frames: Sequence[Frame]) -> list[Frame]:
        """The readings of `frames`, in order, that are worth reporting; frames of which none is are left out."""
        kept = []
        for frame in frames:
            n = len(frame.tags)
            if n == 0:
                continue
            run = self._run_of(frame.tags)
            passing = self._passing(frame, run)
            count = np.count_nonzero(passing)
            if count == n:
                self._remember(frame, run.index)
                kept.append(frame)
            elif count:
                picked = select(frame, passing)
                self._remember(picked, picked.tags)
                kept.append(picked)
        return kept

    def accept(self) -> None:
        """What was picked is on disk."""
        self._undo.clear()

    def take_back(self) -> None:
        """What was picked could not be stored: it counts as unreported."""
        for undo in reversed(self._undo):
            index = undo.index
            self._seen[index] = undo.seen
            self._status[index] = undo.status
            self._reported_ns[index] = undo.reported_ns
            self._source_ns[index] = undo.source_ns
            self._kept_in[index] = undo.kept_in
            self._columns[undo.kind][index] = undo.values
        self._undo.clear()
        self._forget_runs()

    def repeats(self, now_ns: int) -> list[Frame]:
        """Last reported readings whose heartbeat is due though the device pushed nothing: it says so only when they change."""
        due = self._seen & (now_ns - self._reported_ns >= self._heartbeats_ns)
        frames = []
        for column, held in self._columns.items():
            tags = np.flatnonzero(due & (self._kept_in == _KINDS.index(column))).astype(np.int32)
            if len(tags):
                values = held[tags]
                source = self._source_ns[tags]
                frames.append(
                    Frame(
                        self._device,
                        now_ns,
                        tags,
                        values.tolist() if column == "O" else values,
                        self._status[tags],
                        source if source.any() else None,
                    )
                )
        return frames

    def next_heartbeat_ns(self) -> int | None:
        """When the first heartbeat is due, by the wall clock; None before anything was reported."""
        if not self._seen.any():
            return None
        return int((self._reported_ns + self._heartbeats_ns)[self._seen].min())

    def _forget_runs(self) -> None:
        for run in self._runs.values():
            run.forget()

    def _run_of(self, tags: npt.NDArray[np.int32]) -> _Run:
        run = self._runs.get(id(tags))
        if run is None:
            run = _Run(tags, self._deadbands, self._relative)
            if not tags.flags.writeable:
                if len(self._runs) == _MOST_RUNS:
                    self._runs.clear()
                self._runs[id(tags)] = run
        return run

    def _passing(self, frame: Frame, run: _Run) -> npt.NDArray[np.bool_]:
        index = run.index
        passing = self._moved(frame, run)
        if frame.status.any():
            passing &= frame.status & _BAD == 0
        passing |= frame.status != self._status[index]
        if not run.seen:
            seen = self._seen[index]
            passing |= ~seen
            run.seen = bool(seen.all())
        if not self._newest_ns <= frame.acquired_ns < run.due_ns:
            # A clock that was set back makes readings due too: their age would be negative for long.
            reported_ns, heartbeats_ns = self._reported_ns[index], self._heartbeats_ns[index]
            silent_ns = frame.acquired_ns - np.maximum(reported_ns, 0)
            passing |= (silent_ns >= heartbeats_ns) | (silent_ns < 0)
            if run.seen:
                run.due_ns = int((np.minimum(reported_ns, frame.acquired_ns) + heartbeats_ns).min())
        return passing

    def _moved(self, frame: Frame, run: _Run) -> npt.NDArray[np.bool_]:
        index = run.index
        if isinstance(frame.values, list):
            last = self._columns["O"][index].tolist()
            return np.fromiter((new != old for new, old in zip(frame.values, last, strict=True)), np.bool_, len(frame.values))
        values = frame.values
        last = self._columns[values.dtype.kind][index]
        if run.plain:
            has_moved: npt.NDArray[np.bool_] = values != last  # NaN has moved
            return has_moved
        if values.dtype.kind == "f":
            bands = self._deadbands[index]
            if run.relative is not None:
                bands = np.maximum(bands, run.relative * np.abs(last))
            is_still: npt.NDArray[np.bool_] = np.abs(values - last) <= bands
            return ~is_still
        low = np.minimum(values, last).astype(np.uint64)
        high = np.maximum(values, last).astype(np.uint64)
        distance = high - low  # exact for any two 64-bit integers: two's complement wraps around
        whole = self._whole_deadbands[index]
        if run.relative is not None:
            whole = np.maximum(whole, np.floor(run.relative * np.abs(last.astype(np.float64))).astype(np.uint64))
        exceeds: npt.NDArray[np.bool_] = distance > whole
        return exceeds

    def _remember(self, frame: Frame, index: Index) -> None:
        if frame.acquired_ns < self._newest_ns:
            self._forget_runs()  # The clock was set back: tags that several runs share may be due earlier than they know.
        self._newest_ns = max(self._newest_ns, frame.acquired_ns)
        kind = "O" if isinstance(frame.values, list) else frame.values.dtype.kind
        held = self._columns[kind]
        self._undo.append(
            _Undo(
                index,
                self._seen[index].copy(),
                self._status[index].copy(),
                self._reported_ns[index].copy(),
                self._source_ns[index].copy(),
                self._kept_in[index].copy(),
                kind,
                held[index].copy(),
            )
        )
        self._seen[index] = True
        self._status[index] = frame.status
        self._reported_ns[index] = frame.acquired_ns
        self._source_ns[index] = 0 if frame.source_ns is None else frame.source_ns
        if isinstance(frame.values, list):
            for tag, value in zip(frame.tags.tolist(), frame.values, strict=True):
                held[tag] = value
        else:
            held[index] = frame.values
        self._kept_in[index] = _KINDS.index(kind)
