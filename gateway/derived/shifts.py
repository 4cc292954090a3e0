"""The shift calendar: which shift an instant belongs to, and how much of a span is planned time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from config.settings import Mistake
from gateway.derived.days import Day

if TYPE_CHECKING:
    from gateway.derived.settings import CalendarSettings, ShiftSettings

_NS = 1_000_000_000
_WEEK_MINUTES = 7 * 24 * 60
_DAY_MINUTES = 24 * 60
_DAY = timedelta(days=1)
_DAY_NS = 86_400 * _NS
MOST_DAYS = 60
"""For so long an order may be forgotten in a drawer, with the gateway switched off, and its planned time be right."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift of one day; times in ns since the epoch, UTC."""

    label: str
    """2026-11-28/early."""
    begin_ns: int
    end_ns: int
    work: tuple[tuple[int, int], ...]
    """Its planned spans, ascending: what lies between the breaks."""

    def planned_ns(self, begin_ns: int, end_ns: int) -> int:
        """How much of [begin, end) is planned time of this shift."""
        return sum(max(0, min(end, end_ns) - max(begin, begin_ns)) for begin, end in self.work)


class Calendar:
    """Shifts on demand, a few days at a time."""

    def __init__(self, settings: CalendarSettings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.time_zone)
        self._shifts: list[Shift] = []
        self._begins: list[int] = []
        self._known: tuple[int, int] = (0, 0)
        self._quiet: tuple[int, int] = (0, 0)

    def at(self, now_ns: int) -> Shift | None:
        """The shift that holds an instant."""
        self._make(now_ns)
        place = bisect_right(self._begins, now_ns) - 1
        if place < 0 or self._shifts[place].end_ns <= now_ns:
            return None
        return self._shifts[place]

    def is_quiet(self, begin_ns: int, end_ns: int) -> bool:
        """Whether edges() has nothing for that span, found out cheaply."""
        if not self._quiet[0] <= begin_ns <= end_ns < self._quiet[1]:
            self._make(end_ns)
            marks = self.edges(end_ns - _DAY_NS, end_ns + _DAY_NS)
            before = [mark for mark in marks if mark <= end_ns]
            behind = [mark for mark in marks if mark > end_ns]
            self._quiet = (before[-1] if before else end_ns - _DAY_NS, behind[0] if behind else end_ns + _DAY_NS)
        return self._quiet[0] <= begin_ns <= end_ns < self._quiet[1]

    def edges(self, begin_ns: int, end_ns: int) -> list[int]:
        """The instants in (begin, end] at which a shift or a planned span begins or ends; those of the last MOST_DAYS at most."""
        found: set[int] = set()
        for day_ns in range(max(begin_ns, end_ns - MOST_DAYS * _DAY_NS), end_ns, _DAY_NS):
            self._make(day_ns)
            marks = {mark for one in self._shifts for mark in (one.begin_ns, one.end_ns, *(e for span in one.work for e in span))}
            found |= {mark for mark in marks if begin_ns < mark <= end_ns}
        return sorted(found)

    def _make(self, now_ns: int) -> None:
        """Have the shifts of yesterday to the day after tomorrow at hand."""
        if self._known[0] <= now_ns < self._known[1]:
            return
        today = datetime.fromtimestamp(now_ns // _NS, UTC).astimezone(self._zone).date()
        days = [today + offset * _DAY for offset in range(-2, 5)]
        shifts = [self._shift(shift, day) for day in days for shift in self._settings.shifts if self._is_on(shift, day)]
        self._shifts = sorted((one for one in shifts if one.end_ns > one.begin_ns), key=lambda shift: shift.begin_ns)
        self._begins = [shift.begin_ns for shift in self._shifts]
        self._known = (self._utc_ns(today, 0), self._utc_ns(today + _DAY, 0))

    def _is_on(self, shift: ShiftSettings, day: date) -> bool:
        return tuple(Day)[day.weekday()] in shift.days and day.isoformat() not in self._settings.holidays

    def _shift(self, shift: ShiftSettings, day: date) -> Shift:
        begin, end = _span(shift.begin, shift.end)
        begin_ns, end_ns = self._utc_ns(day, begin), self._utc_ns(day, end)
        work, at_ns = [], begin_ns
        for one in sorted(_breaks(shift)):
            pause = [self._utc_ns(day, minutes) for minutes in one]
            work.append((at_ns, pause[0]))
            at_ns = pause[1]
        work.append((at_ns, end_ns))
        return Shift(f"{day.isoformat()}/{shift.name}", begin_ns, end_ns, tuple(span for span in work if span[0] < span[1]))

    def _utc_ns(self, day: date, minutes: int) -> int:
        """A local time of day, which may lie beyond midnight. One that the clocks skip is reckoned as before the change."""
        days, rest = divmod(minutes, _DAY_MINUTES)
        local = datetime(day.year, day.month, day.day, rest // 60, rest % 60, tzinfo=self._zone) + days * _DAY
        return round(local.timestamp()) * _NS


def calendar_mistakes(settings: CalendarSettings) -> Iterator[Mistake]:
    """Shifts that overlap, breaks outside of their shift or across each other."""
    taken: list[tuple[int, int, str]] = []
    days = list(Day)
    names: set[str] = set()
    for place, shift in enumerate(settings.shifts):
        if shift.name in names:
            yield ("shifts", place, "name"), f"shift {shift.name!r} is there twice", None
        names.add(shift.name)
        begin, end = _span(shift.begin, shift.end)
        own = [(days.index(day) * _DAY_MINUTES + begin, days.index(day) * _DAY_MINUTES + end, shift.name) for day in shift.days]
        for one in own:
            other = next((other for other in taken if _overlap(one, other)), None)
            if other is not None:
                yield ("shifts", place, "begin"), f"shifts {other[2]!r} and {shift.name!r} overlap", None
                break
        taken += own
        at = begin
        for where, (first, last) in enumerate(_breaks(shift)):
            if first < at or last > end or last <= first:
                yield ("shifts", place, "breaks", where), "the break isn't within its shift, behind the one before", None
            at = last


def _overlap(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return any(one[0] + shift < other[1] and other[0] < one[1] + shift for shift in (-_WEEK_MINUTES, 0, _WEEK_MINUTES))


def _span(begin: str, end: str) -> tuple[int, int]:
    first, last = _minutes(begin), _minutes(end)
    return first, last if last > first else last + _DAY_MINUTES


def _breaks(shift: ShiftSettings) -> list[tuple[int, int]]:
    begin = _minutes(shift.begin)
    found = []
    for one in shift.breaks:
        first, last = _minutes(one.begin), _minutes(one.end)
        first += _DAY_MINUTES if first < begin else 0
        found.append((first, last + (_DAY_MINUTES if last < begin else 0)))
    return found


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])
