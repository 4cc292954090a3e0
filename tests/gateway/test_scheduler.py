from __future__ import annotations

from collections import Counter

import pytest

from gateway.backoff import CAP_S, FIRST_S, Backoff
from gateway.scheduler import Timetable, phase_s
from tests.gateway.fakes import Uniform


def begun(timetable: Timetable, durations_s: list[float], now_s: float = 0.0) -> list[float]:
    """When the polls begin, each taking so long, if they begin when due or at once when that has passed."""
    times = []
    for duration_s in durations_s:
        index, due_s = timetable.next()
        now_s = max(now_s, due_s)
        times.append(round(now_s, 6))
        timetable.begin(index, now_s)
        now_s += duration_s
        timetable.end(index, now_s)
    return times


def started(*periods_s: float) -> Timetable:
    timetable = Timetable(periods_s)
    timetable.start(0.0)
    return timetable


def test_due_times_do_not_drift() -> None:
    timetable = started(0.1)
    times = begun(timetable, [0.0307] * 1000)
    assert times[-1] == pytest.approx(99.9)
    assert (timetable.polls, timetable.late, timetable.skipped) == (1000, 0, 0)


def test_a_poll_that_begins_late_is_counted_and_the_grid_holds() -> None:
    timetable = started(1.0)
    assert begun(timetable, [1.4, 0.1, 0.1]) == [0.0, 1.4, 2.0]
    assert (timetable.late, timetable.skipped) == (1, 0)


def test_of_the_due_times_that_passed_only_the_last_is_made_up_for_and_the_rest_are_counted() -> None:
    timetable = started(1.0)
    assert begun(timetable, [3.5, 0.1, 0.1]) == [0.0, 3.5, 4.0]
    assert (timetable.late, timetable.skipped) == (1, 2)


def test_the_scan_class_that_is_due_first_comes_first() -> None:
    timetable = started(1.0, 0.4)
    order = []
    for _ in range(6):
        index, due_s = timetable.next()
        order.append((index, round(due_s, 3)))
        timetable.begin(index, due_s)
        timetable.end(index, due_s)
    assert order == [(0, 0.0), (1, 0.0), (1, 0.4), (1, 0.8), (0, 1.0), (1, 1.2)]


def test_due_times_while_the_device_was_away_are_skipped_and_the_grid_holds() -> None:
    timetable = started(1.0)
    begun(timetable, [0.1])
    timetable.start(5.3)
    assert timetable.next() == (0, 6.0)
    assert timetable.skipped == 5


def test_the_time_before_a_device_was_first_there_is_not_counted() -> None:
    timetable = Timetable([1.0])
    timetable.start(100.0)
    assert timetable.next() == (0, 100.0)
    assert timetable.skipped == 0


@pytest.mark.parametrize("period_s", [0.02, 0.1, 1.0, 10.0])
def test_many_devices_are_spread_within_their_period_ten_at_a_time(period_s: float) -> None:
    phases = Counter(round(phase_s(place, period_s), 4) for place in range(1000))
    assert max(phases) < period_s
    assert len(phases) == min(100, round(period_s * 1000))
    assert min(phases.values()) >= 10


def test_devices_that_are_reached_one_after_the_other_are_due_together() -> None:
    tables = [Timetable([0.1], place) for place in range(10)]
    for place, timetable in enumerate(tables):
        timetable.start(5.001 + place * 0.0005)
    dues_s = [timetable.next()[1] for timetable in tables]
    assert dues_s == sorted(dues_s) == pytest.approx([5.01] * 10, abs=1e-6)


def test_the_first_attempt_is_immediate_and_the_waits_stay_within_their_bounds() -> None:
    uniform = Uniform(1.0)
    backoff = Backoff(uniform)
    waits = [backoff.next_s() for _ in range(8)]
    assert waits == [0.0, 1.5, 4.5, CAP_S, CAP_S, CAP_S, CAP_S, CAP_S]
    assert all(low == FIRST_S for low, _ in uniform.drawn)
    backoff.reset()
    assert backoff.next_s() == 0.0


def test_the_waits_can_shrink_again_so_that_many_gateways_come_apart() -> None:
    uniform = Uniform(1.0)
    backoff = Backoff(uniform)
    for _ in range(6):
        backoff.next_s()
    uniform.place = 0.0
    assert backoff.next_s() == FIRST_S
    assert uniform.drawn[-1] == (FIRST_S, CAP_S)


def test_after_a_refusal_the_wait_is_long() -> None:
    assert Backoff(Uniform(0.0)).refused_s() == 60.0
