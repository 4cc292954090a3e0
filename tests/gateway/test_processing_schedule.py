"""How well due times are kept, counted for each scan class."""

from __future__ import annotations

import pytest

from gateway.scheduler import Timetable


def poll(timetable: Timetable, now_s: float, duration_s: float) -> tuple[int, float]:
    """The next poll, begun when due or at once when that has passed: its class and when it ended."""
    index, due_s = timetable.next()
    began_s = max(now_s, due_s)
    timetable.begin(index, began_s)
    timetable.end(index, began_s + duration_s)
    return index, began_s + duration_s


def test_a_poll_that_takes_longer_than_its_period_is_an_overrun() -> None:
    timetable = Timetable([1.0])
    timetable.start(0.0)
    now_s = 0.0
    for duration_s in (0.2, 1.0, 1.3, 0.2, 2.5):
        _, now_s = poll(timetable, now_s, duration_s)
    assert timetable.overruns == 2


def test_each_scan_class_has_its_own_counts_and_the_device_their_sum() -> None:
    timetable = Timetable([1.0, 0.25])
    timetable.start(0.0)
    now_s = 0.0
    while now_s < 8:
        index, due_s = timetable.next()
        now_s = max(now_s, due_s)
        _, now_s = poll(timetable, now_s, 0.6 if index == 0 else 0.01)
    slow, fast = timetable.classes
    assert (slow.period_s, fast.period_s) == (1.0, 0.25)
    assert (slow.overruns, fast.overruns) == (0, 0)
    assert slow.skipped == 0
    assert fast.skipped > 0
    for fact in ("polls", "late", "skipped", "overruns"):
        assert getattr(timetable, fact) == getattr(slow, fact) + getattr(fast, fact)


def test_a_class_that_waits_for_another_keeps_its_grid() -> None:
    timetable = Timetable([10.0, 0.5])
    timetable.start(0.0)
    now_s, begins = 0.0, []
    for _ in range(30):
        index, due_s = timetable.next()
        if index == 1:
            begins.append(due_s)
        _, now_s = poll(timetable, now_s, 1.2 if index == 0 else 0.05)
    assert begins
    assert all(due_s % 0.5 == 0 for due_s in begins)


def test_due_times_are_exact_after_years_of_short_periods() -> None:
    timetable = Timetable([0.01])
    timetable.start(3e7)
    for _ in range(200_000):
        index, due_s = timetable.next()
        timetable.begin(index, due_s)
        timetable.end(index, due_s)
    assert timetable.next()[1] - 3e7 == pytest.approx(2000, abs=1e-7)
