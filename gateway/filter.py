"""Report by exception: of what was read, what is worth a message. Vectorised over the tags of a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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

    __slots__ = ("_apart", "due_ns", "good", "index", "is_lasting", "kind", "plain", "relative", "seen", "tags", "zeros")

    def __init__(
        self, tags: npt.NDArray[np.int32], deadbands: npt.NDArray[np.float64], relative: npt.NDArray[np.float64] | None
    ) -> None:
        self.tags = tags
        """Kept, so that no other array takes its place in memory."""
        self.index: Index = _index_of(tags)
        self.relative = None if relative is None or not relative[self.index].any() else relative[self.index]
        self.plain = not deadbands[self.index].any() and self.relative is None
        """No deadband: whatever differs has moved."""
        self.is_lasting = not tags.flags.writeable
        self.zeros = bytes(4 * len(tags))
        """Statuses that are all Good."""
        self._apart: dict[_Run, bool] = {}
        """Of runs that last, whether they have no tag in common with it."""
        self.forget()

    def forget(self) -> None:
        """What was known of the tags' state may not hold any more."""
        self.seen = False
        """All of them have been reported before."""
        self.due_ns = 0
        """No heartbeat is due before, unless the clock is set back."""
        self.kind = ""
        """The column that holds all their last values, none of which had a device time; empty when that isn't known."""
        self.good: npt.NDArray[np.uint32] | None = None
        """The statuses, all Good, that all of them were last reported with: an array that comes again and again."""

    def is_apart(self, other: _Run) -> bool:
        """Whether they have no tag in common."""
        is_apart = self._apart.get(other)
        if is_apart is None:
            is_apart = not np.isin(self.tags, other.tags).any()
            if other.is_lasting:
                self._apart[other] = is_apart
        return is_apart


class _Picked(NamedTuple):
    """A frame that passed, in whole or in part, and is not remembered yet."""

    frame: Frame
    at: Index
    run: _Run
    is_whole: bool
    has_same_status: bool
    """As last reported, tag by tag."""


def _index_of(tags: npt.NDArray[np.int32]) -> Index:
    """A slice where the tags are neighbours: it is taken without copying."""
    first, n = int(tags[0]), len(tags)
    return slice(first, first + n) if int(tags[-1]) == first + n - 1 and bool((np.diff(tags) == 1).all()) else tags


class Filter:
    """What was last reported of each tag of one device.

    A reading passes when it is the tag's first, when its status differs, when its value has moved by more than the tag's
    deadband, or when the tag's heartbeat is due. The state must not run ahead of the disk: after each pick() either accept() or
    take_back(), and only the former remembers. It isn't kept over a restart: everything is then reported anew.
    """

    derived: Sequence[Frame] = ()
    """See Report: it makes nothing."""

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
        self._picked: list[_Picked] = []
        self._undo: list[_Undo] = []
        """What had to be remembered before accept(), since a later frame of one pick() has tags of an earlier one."""
        self._newest_ns = _NEVER
        """When something was last reported."""
        self._runs: dict[int, _Run] = {}
        """By the identity of an array of tags that can't be written to: what a driver's plan holds."""

    def pick(self, frames: Sequence[Frame]) -> list[Frame]:
        """The readings of `frames`, in order, that are worth reporting; frames of which none is are left out."""
        kept = []
        for frame in frames:
            if not len(frame.tags):
                continue
            run = self._run_of(frame.tags)
            if self._picked and not all(picked.run.is_apart(run) for picked in self._picked):
                self._remember_early()
            passing = self._passing(frame, run)
            has_same_status = frame.status is run.good
            passes = passing.tobytes()
            if b"\0" not in passes:
                self._picked.append(_Picked(frame, run.index, run, is_whole=True, has_same_status=has_same_status))
                kept.append(frame)
            elif b"\1" in passes:
                part = select(frame, passing)
                self._picked.append(_Picked(part, part.tags, run, is_whole=False, has_same_status=has_same_status))
                kept.append(part)
        return kept

    def accept(self) -> None:
        """What was picked is on disk."""
        for picked in self._picked:
            self._remember(picked)
        self._picked.clear()
        self._undo.clear()

    def take_back(self) -> None:
        """What was picked could not be stored: it counts as unreported."""
        self._picked.clear()
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
            if run.is_lasting:
                if len(self._runs) == _MOST_RUNS:
                    self._runs.clear()
                self._runs[id(tags)] = run
        return run

    def _passing(self, frame: Frame, run: _Run) -> npt.NDArray[np.bool_]:
        index = run.index
        passing = self._moved(frame, run)
        if frame.status is not run.good:
            before = self._status[index]
            status = frame.status.tobytes()  # bytes are compared in a tenth of the time
            if status != run.zeros:
                passing &= frame.status & _BAD == 0
            if status != before.tobytes():
                passing |= frame.status != before
            elif status == run.zeros and not frame.status.flags.writeable:
                run.good = frame.status
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

    def _remember_early(self) -> None:
        """Remember what has been picked so far, so that it can be taken back."""
        for picked in self._picked:
            index, held = picked.at, self._columns[_kind_of(picked.frame)]
            self._undo.append(
                _Undo(
                    index,
                    self._seen[index].copy(),
                    self._status[index].copy(),
                    self._reported_ns[index].copy(),
                    self._source_ns[index].copy(),
                    self._kept_in[index].copy(),
                    _kind_of(picked.frame),
                    held[index].copy(),
                )
            )
            self._remember(picked)
        self._picked.clear()

    def _remember(self, picked: _Picked) -> None:
        frame, index, run, is_whole, has_same_status = picked
        if frame.acquired_ns < self._newest_ns:
            self._forget_runs()  # The clock was set back: tags that several runs share may be due earlier than they know.
        else:
            self._newest_ns = frame.acquired_ns
        kind = _kind_of(frame)
        held = self._columns[kind]
        if isinstance(frame.values, list):
            for tag, value in zip(frame.tags.tolist(), frame.values, strict=True):
                held[tag] = value
        else:
            held[index] = frame.values
        self._reported_ns[index] = frame.acquired_ns
        if kind == run.kind and frame.source_ns is None and (has_same_status and run.good is not None):
            return  # nearly always: the rest is as it was
        self._seen[index] = True
        self._source_ns[index] = 0 if frame.source_ns is None else frame.source_ns
        self._kept_in[index] = _KINDS.index(kind)
        if not has_same_status:
            self._status[index] = frame.status
        for other in self._runs.values():
            if not run.is_lasting or not run.is_apart(other):
                other.kind = ""
                if not has_same_status:
                    other.good = None
        if is_whole and frame.source_ns is None:
            run.kind = kind
            run.good = None if frame.status.flags.writeable or frame.status.any() else frame.status


def _kind_of(frame: Frame) -> str:
    return "O" if isinstance(frame.values, list) else frame.values.dtype.kind
