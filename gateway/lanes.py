"""The lanes in which a sink's records go: live ones at once, what is late beside them as history (invariant I6). Pure.

What is handed over is remembered as slices, spans of seqs whose records went together; a lane acknowledges through its slices in
the order in which they went.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.outbox import ranges
from gateway.outbox.ranges import Range, Ranges


class Drain(StrEnum):
    """In which order history goes."""

    OLDEST_FIRST = "oldest_first"
    NEWEST_FIRST = "newest_first"
    """Slices newest first; within a slice ascending."""
    INTERLEAVED = "interleaved"
    """A slice from the oldest end, then one from the newest."""


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How a sink's lanes share its window."""

    late_after_s: float = 1.0
    """What has waited longer when its turn comes is history, and with it all that is stored by then."""
    share: float = 0.5
    """Of the window, while there is history; between 0 and 1."""
    drain: Drain = Drain.OLDEST_FIRST

    def quotas(self, window: int) -> tuple[int, int]:
        """Most records of the live lane and of history on their way while there is history; at least 1 each."""
        history = max(1, int(window * self.share))
        return max(1, window - history), history


@dataclass(slots=True)
class _Slice:
    after: int
    through: int
    seqs: deque[int]
    """Of its records, ascending: those that aren't behind what was told as done."""


class Lane:
    """What is on its way in a lane."""

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque()
        self._open: set[int] = set()

    @property
    def in_flight(self) -> int:
        """Records that aren't settled."""
        return len(self._open)

    @property
    def begins_after(self) -> int | None:
        """Where the slice begins that is to be acknowledged next; None when nothing is on its way."""
        return self._slices[0].after if self._slices else None

    def hand_over(self, after: int, through: int, seqs: Sequence[int]) -> None:
        """Records with these seqs go: all that there is in (after, through]."""
        self._open.update(seqs)
        last = self._slices[-1] if self._slices else None
        if last is not None and last.through == after:
            last.seqs.extend(seqs)
            last.through = through
        else:
            self._slices.append(_Slice(after, through, deque(seqs)))

    def settle(self, seqs: Iterable[int]) -> int:
        """Those records are with the other side, or were refused for ever; how many of them were on their way here."""
        settled = self._open.intersection(seqs)
        self._open -= settled
        return len(settled)

    def has(self, seq: int) -> bool:
        """Whether that record is on its way here."""
        return seq in self._open

    def take_done(self) -> Iterator[tuple[int, int]]:
        """Spans (after, through] that are settled without a break from where their slice began."""
        while self._slices:
            front = self._slices[0]
            through = None
            while front.seqs and front.seqs[0] not in self._open:
                through = front.seqs.popleft()
            if front.seqs:
                if through is not None:
                    yield front.after, through
                return
            self._slices.popleft()
            yield front.after, front.through

    def on_way(self) -> Ranges:
        """The seqs of its slices."""
        found: Ranges = ()
        for part in self._slices:
            found = ranges.add(found, part.after + 1, part.through)
        return found

    def edges(self) -> Iterator[int]:
        """Where its slices begin and end."""
        for part in self._slices:
            yield part.after
            yield part.through

    def clear(self) -> None:
        """Nothing is on its way any more."""
        self._slices.clear()
        self._open.clear()


class History(Lane):
    """The lane of what is late."""

    def __init__(self, drain: Drain) -> None:
        super().__init__()
        self.pending: Ranges = ()
        """Seqs that haven't been sent."""
        self._drain = drain
        self._takes_newest = drain is Drain.NEWEST_FIRST

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it waits or is on its way."""
        return not self.pending and not self._slices

    @property
    def depth(self) -> int:
        """Seqs that wait, and records on their way."""
        return ranges.size(self.pending) + self.in_flight

    def add(self, late: Ranges, on_way: Ranges = ()) -> None:
        """These seqs are to be sent as history; `on_way`: those of slices in any lane.

        A broker that never keeps up makes span after span. Beyond ranges.MOST the nearest two become one, with what went live and
        was acknowledged between them: repeats at most, where that is still stored.
        """
        self.pending = ranges.union(self.pending, late)
        if len(self.pending) > ranges.MOST:
            between = ranges.holes(self.pending, self.pending[0][0], self.pending[-1][1])
            settled = [hole for hole in between if not ranges.common((hole,), on_way)]
            if settled:
                self.pending = ranges.add(self.pending, *min(settled, key=lambda hole: hole[1] - hole[0]))

    def next_span(self) -> tuple[Range, bool]:
        """Of which span the next slice is, and whether it is the newest of it; asked only while something is pending."""
        return self.pending[-1 if self._takes_newest else 0], self._takes_newest

    def sent(self, after: int, through: int, seqs: Sequence[int]) -> None:
        """A slice of next_span() went; with `seqs` empty nothing was there."""
        self.pending = ranges.without(self.pending, ((after + 1, through),))
        self.hand_over(after, through, seqs)
        if self._drain is Drain.INTERLEAVED:
            self._takes_newest = not self._takes_newest

    def clear(self) -> None:
        super().clear()
        self.pending = ()
