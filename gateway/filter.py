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


@dataclass(frozen=True, slots=True)
class Undo:
    """What one frame's readings overwrote."""

    tags: npt.NDArray[np.int32]
    seen: npt.NDArray[np.bool_]
    status: npt.NDArray[np.uint32]
    reported_ns: npt.NDArray[np.int64]
    source_ns: npt.NDArray[np.int64]
    kept_in: npt.NDArray[np.str_]
    column: str
    values: npt.NDArray[Any]


class Filter:
    """What was last reported of each tag of one device.

    A reading passes when it is the tag's first, when its status differs, when its value has moved by more than the tag's
    deadband, or when the tag's heartbeat is due. The state must not run ahead of the disk: after each pick() either accept() or
    take_back(). It isn't kept over a restart: everything is then reported anew.
    """

    def __init__(self, table: TagTable, deadbands: npt.NDArray[np.float64], heartbeats_ns: npt.NDArray[np.int64]) -> None:
        """`deadbands` and `heartbeats_ns`: (n,), by tag index."""
        n = len(table.names)
        self._device = table.device
        self._deadbands = deadbands
        self._whole_deadbands = np.floor(np.minimum(deadbands, 2.0**63)).astype(np.uint64)
        """For whole numbers |difference| > deadband and |difference| > floor(deadband) are the same."""
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
        self._kept_in = np.full(n, "f", "U1")
        """Which column holds a tag's last value."""
        self._undo: list[Undo] = []

    def pick(self, frames: Sequence[Frame]) -> list[Frame]:
        """The readings of `frames`, in order, that are worth reporting; frames of which none is are left out."""
        kept = []
        for frame in frames:
            passing = self._passing(frame)
            if passing.all():
                picked = frame
            elif passing.any():
                picked = select(frame, passing)
            else:
                continue
            self._remember(picked)
            kept.append(picked)
        return kept

    def accept(self) -> None:
        """What was picked is on disk."""
        self._undo.clear()

    def take_back(self) -> None:
        """What was picked could not be stored: it counts as unreported."""
        for undo in reversed(self._undo):
            tags = undo.tags
            self._seen[tags] = undo.seen
            self._status[tags] = undo.status
            self._reported_ns[tags] = undo.reported_ns
            self._source_ns[tags] = undo.source_ns
            self._kept_in[tags] = undo.kept_in
            self._columns[undo.column][tags] = undo.values
        self._undo.clear()

    def repeats(self, now_ns: int) -> list[Frame]:
        """Last reported readings whose heartbeat is due though the device pushed nothing: it says so only when they change."""
        due = self._seen & (now_ns - self._reported_ns >= self._heartbeats_ns)
        frames = []
        for column, held in self._columns.items():
            tags = np.flatnonzero(due & (self._kept_in == column)).astype(np.int32)
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

    def _passing(self, frame: Frame) -> npt.NDArray[np.bool_]:
        tags = frame.tags
        passing = ~self._seen[tags]
        passing |= frame.status != self._status[tags]
        # A clock that was set back makes readings due too: their age would be negative for long.
        silent_ns = frame.acquired_ns - np.maximum(self._reported_ns[tags], 0)
        passing |= (silent_ns >= self._heartbeats_ns[tags]) | (silent_ns < 0)
        passing |= self._moved(frame) & (frame.status & _BAD == 0)
        return passing

    def _moved(self, frame: Frame) -> npt.NDArray[np.bool_]:
        tags = frame.tags
        if isinstance(frame.values, list):
            last = self._columns["O"][tags].tolist()
            return np.fromiter((new != old for new, old in zip(frame.values, last, strict=True)), np.bool_, len(frame.values))
        values = frame.values
        last = self._columns[values.dtype.kind][tags]
        if values.dtype.kind == "f":
            is_still: npt.NDArray[np.bool_] = np.abs(values - last) <= self._deadbands[tags]
            return ~is_still  # NaN has moved
        low = np.minimum(values, last).astype(np.uint64)
        high = np.maximum(values, last).astype(np.uint64)
        distance = high - low  # exact for any two 64-bit integers: two's complement wraps around
        has_moved: npt.NDArray[np.bool_] = distance > self._whole_deadbands[tags]
        return has_moved

    def _remember(self, frame: Frame) -> None:
        tags = frame.tags
        column = "O" if isinstance(frame.values, list) else frame.values.dtype.kind
        held = self._columns[column]
        self._undo.append(
            Undo(
                tags,
                self._seen[tags],
                self._status[tags],
                self._reported_ns[tags],
                self._source_ns[tags],
                self._kept_in[tags],
                column,
                held[tags],
            )
        )
        self._seen[tags] = True
        self._status[tags] = frame.status
        self._reported_ns[tags] = frame.acquired_ns
        self._source_ns[tags] = 0 if frame.source_ns is None else frame.source_ns
        if isinstance(frame.values, list):
            for tag, value in zip(tags.tolist(), frame.values, strict=True):
                held[tag] = value
        else:
            held[tags] = frame.values
        self._kept_in[tags] = column
