"""When each scan class of a device is due: absolute times on the monotonic clock, so that no delay adds up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from gateway.histogram import Histogram

LATE_FRACTION = 0.1
"""A poll that begins later than this part of its period after its due time is counted as late."""
_SLOT_S = 0.01
_SLOT_DEVICES = 10
_SPREAD_S = 1.0
_TWIST_S = 0.001
_TWISTS = 10
_RANK_S = 1e-7
"""So little that a slot stays within one step of the system's clock."""
_ROUNDING = 1e-6


def phase_s(place: int, period_s: float) -> float:
    """When, within its first period, the device at that place of the list is first polled.

    Ten neighbours are due together: a wake-up of the process, the loop's turn and the commit then serve them all, which halves
    what a poll costs; they come in the order of their places, so that those that share a line keep their turns. The tens are
    spread over a second or their period, by slots of 10 ms and, where these are all taken, between them.
    """
    slots = max(1, int(min(period_s, _SPREAD_S) / _SLOT_S + _ROUNDING))
    tens, rank = divmod(place, _SLOT_DEVICES)
    turn, slot = divmod(tens, slots)
    return (slot * _SLOT_S + turn % _TWISTS * _TWIST_S + rank * _RANK_S) % period_s


def have_pauses(periods_s: Iterable[float]) -> bool:
    """Whether the slots in which devices with these periods are polled leave time between them: each has 10 ms to itself.

    Args:
        periods_s: of every scan class of every polled device.
    """
    return sum(1.0 / period_s for period_s in periods_s) / _SLOT_DEVICES <= (1.0 + _ROUNDING) / _SLOT_S


def _slot_s(now_s: float) -> float:
    """The slot at or after `now_s`: by one grid for all devices, whenever they are reached."""
    return ceil(now_s / _SLOT_S - _ROUNDING) * _SLOT_S


@dataclass(slots=True)
class ScanClass:
    """The due times of one scan class, counted from one origin, and how well they were kept."""

    period_s: float
    origin_s: float
    place: int = 0
    """How many periods after the origin the next poll is due: not added up, so that nothing is lost by rounding in years."""
    began_s: float = 0.0
    polls: int = 0
    late: int = 0
    skipped: int = 0
    overruns: int = 0

    @property
    def due_s(self) -> float:
        """When its next poll is due."""
        return self.origin_s + self.place * self.period_s


class Timetable:
    """The due times of one device's polled scan classes, and how well they are kept."""

    def __init__(self, periods_s: Sequence[float], place: int = 0) -> None:
        """`place`: of the device in the list. start() first."""
        self.classes = [ScanClass(period, phase_s(place, period)) for period in periods_s]
        self._has_started = False
        self.polls = 0
        self.late = 0
        """Polls that began late."""
        self.skipped = 0
        """Due times that passed without a poll: an earlier poll was under way, or the device was away."""
        self.overruns = 0
        """Polls that took longer than their period."""
        self.lateness = Histogram()
        """How much later than due each poll began."""
        self.round_trip = Histogram()
        """From the beginning of each poll to its last answer."""
        self._began_s = 0.0

    def next(self) -> tuple[int, float]:
        """The scan class that is due first, and when."""
        index = min(range(len(self.classes)), key=lambda i: self.classes[i].due_s) if len(self.classes) > 1 else 0
        return index, self.classes[index].due_s

    def begin(self, index: int, now_s: float) -> None:
        """A poll of that class begins."""
        scan = self.classes[index]
        self.polls += 1
        scan.polls += 1
        scan.began_s = self._began_s = now_s
        late_s = now_s - scan.due_s
        self.lateness.observe(late_s)
        if late_s > scan.period_s * LATE_FRACTION:
            self.late += 1
            scan.late += 1

    def answered(self, now_s: float) -> None:
        """The device has answered all that the poll under way asked."""
        self.round_trip.observe(now_s - self._began_s)

    def end(self, index: int, now_s: float) -> None:
        """That poll is done, its readings are on disk. Of the due times that have passed since, only the last is made up for."""
        scan = self.classes[index]
        if now_s - scan.began_s > scan.period_s:
            self.overruns += 1
            scan.overruns += 1
        scan.place += 1
        self._skip(scan, int((now_s - scan.due_s) // scan.period_s))

    def start(self, now_s: float) -> None:
        """The device is there. Due times that passed while it was away are counted as skipped, the next ones hold."""
        if not self._has_started:
            self._has_started = True
            for scan in self.classes:
                scan.origin_s += _slot_s(now_s)
        for scan in self.classes:
            self._skip(scan, int(-(-(now_s - scan.due_s) // scan.period_s)))

    def _skip(self, scan: ScanClass, passed: int) -> None:
        """Leave that many due times out, if any."""
        if passed > 0:
            self.skipped += passed
            scan.skipped += passed
            scan.place += passed
