"""Calculated tags that read derived ones: between the depths of what is derived, since that may read them in turn."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from drivers.model import Frame
from gateway.processing.calculation import Calculation, LastValues


class Afterwards(NamedTuple):
    """Those that stand before one depth."""

    calculation: Calculation
    reads: Sequence[tuple[LastValues, int]]
    made: Collection[int]
    """Their indexes."""


class LateTags:
    """Those of one device."""

    def __init__(self, last: LastValues, steps: Mapping[int, Afterwards]) -> None:
        """`last`: of the device; `steps`: by the depth before which they stand."""
        self.frames: list[Frame] = []
        """What was calculated since this was emptied."""
        self.has_any = len(steps) > 0
        self.made = {tag for one in steps.values() for tag in one.made}
        self.reads = [read for one in steps.values() for read in one.reads]
        self._last = last
        self._steps = steps
        self._readers: dict[int, set[int]] = {}

    def is_read(self, tag: int, reader: int) -> None:
        """A member reads one of them."""
        self._readers.setdefault(tag, set()).add(reader)

    def calculate(self, depths: Iterable[int], wall_ns: int) -> set[int]:
        """Those before these depths, ascending; the members that read one which is another than it was."""
        found: set[int] = set()
        for depth in depths:
            if depth in self._steps:
                for frame in self._steps[depth].calculation.frames(wall_ns):
                    found |= self._take(frame)
        return found

    def beyond(self, depth: int) -> list[int]:
        """The depths from that one on before which any stand."""
        return [one for one in sorted(self._steps) if one >= depth]

    def _take(self, frame: Frame) -> set[int]:
        before, status = self._last.values[frame.tags], self._last.status[frame.tags]
        self._last.take(frame)
        self.frames.append(frame)
        now = self._last.values[frame.tags]
        differs = (frame.status != status) | ((now != before) & ((now == now) | (before == before)))
        return {reader for tag in frame.tags[differs].tolist() for reader in self._readers.get(tag, ())}
