"""Aggregates over tumbling windows."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Frame
from drivers.settings import Aggregate
from drivers.status import Status
from gateway.processing.windows import Window, Windows
from tests.gateway.fakes import NS, START_NS, frame

WIDTH_S = 10
BEGIN_S = START_NS // NS // WIDTH_S * WIDTH_S
"""A window begins then."""
FIRST_RESULT = 10
RESULT = {aggregate: FIRST_RESULT + place for place, aggregate in enumerate(Aggregate)}
BAD = int(Status.BAD_TIMEOUT)


def make(lateness_s: int = 0, by_source: bool = False, dtype: type = np.float64, tags: int = 1) -> Windows:
    windows = [
        Window(
            tag,
            WIDTH_S * NS,
            lateness_s * NS,
            by_source,
            tuple((aggregate, result + 100 * tag) for aggregate, result in RESULT.items()),
        )
        for tag in range(tags)
    ]
    return Windows("press", windows, np.dtype(dtype))


def feed(windows: Windows, taken: Frame) -> list[Frame]:
    closed = windows.take(taken, np.arange(len(taken.tags)), taken.tags)
    windows.accept()
    return closed


def at(seconds: float) -> int:
    return round((BEGIN_S + seconds) * NS)


def results(frames: list[Frame], tag: int = 0) -> list[dict[Aggregate, tuple[Any, int]]]:
    """Each window's results with their status, in order."""
    by_begin: dict[int, dict[Aggregate, tuple[Any, int]]] = {}
    for one in frames:
        assert one.source_ns is not None
        assert isinstance(one.values, np.ndarray)
        for index, value, status, begin in zip(
            one.tags.tolist(), one.values.tolist(), one.status.tolist(), one.source_ns.tolist(), strict=True
        ):
            if index // 100 == tag:
                by_begin.setdefault(begin, {})[list(Aggregate)[index % 100 - FIRST_RESULT]] = (value, status)
    return list(by_begin.values())


def values_of(windows: dict[Aggregate, tuple[Any, int]]) -> dict[str, float]:
    return {str(aggregate): value for aggregate, (value, _) in windows.items()}


def started(windows: Windows, tags: int = 1) -> Windows:
    """The gateway saw the window before the first one of the test, so that this one is whole."""
    feed(windows, frame(list(range(tags)), [0] * tags, at(-5), dtype=windows.dtype.type))
    return windows


def test_a_window_tells_everything_of_its_readings_when_it_has_ended() -> None:
    windows = started(make())
    for second, value in ((0, 4.0), (3, 1.0), (9, 7.0)):
        closed = feed(windows, frame([0], [value], at(second)))
    assert closed == []
    (found,) = results(feed(windows, frame([0], [100.0], at(10))))
    expected = {"min": 1.0, "max": 7.0, "mean": 4.0, "sum": 12.0, "count": 3, "first": 4.0, "last": 7.0}
    assert values_of(found) == expected | {"stddev": statistics.pstdev([4.0, 1.0, 7.0])}
    assert {status for _, status in found.values()} == {0}


def test_a_result_bears_the_begin_of_its_window_as_source_time_and_the_close_as_acquired() -> None:
    windows = started(make())
    feed(windows, frame([0], [1.0], at(2)))
    closed = feed(windows, frame([0], [1.0], at(12)))
    assert {one.acquired_ns for one in closed} == {at(12)}
    assert {int(ns) for one in closed if one.source_ns is not None for ns in one.source_ns} == {at(0)}


def test_the_window_in_which_the_gateway_began_is_uncertain() -> None:
    windows = make()
    feed(windows, frame([0], [1.0], at(5)))
    (found,) = results(feed(windows, frame([0], [1.0], at(10))))
    assert {status for _, status in found.values()} == {int(Status.UNCERTAIN_SUB_NORMAL)}


def test_bad_readings_count_in_nothing_and_make_the_window_uncertain() -> None:
    windows = started(make())
    feed(windows, frame([0], [3.0], at(1)))
    feed(windows, frame([0], [math.nan], at(2), status=[BAD]))
    (found,) = results(feed(windows, frame([0], [1.0], at(10))))
    assert found[Aggregate.COUNT] == (1, int(Status.UNCERTAIN_SUB_NORMAL))
    assert found[Aggregate.MEAN] == (3.0, int(Status.UNCERTAIN_SUB_NORMAL))


def test_a_window_of_bad_readings_alone_has_no_value() -> None:
    windows = started(make())
    feed(windows, frame([0], [math.nan], at(2), status=[BAD]))
    (found,) = results(feed(windows, frame([0], [1.0], at(10))))
    assert found[Aggregate.MEAN][1] == int(Status.BAD_NO_DATA)
    assert found[Aggregate.COUNT] == (0, int(Status.UNCERTAIN_SUB_NORMAL))


def test_a_sum_that_no_number_can_hold_is_bad() -> None:
    windows = started(make())
    for second in range(3):
        feed(windows, frame([0], [1.7e308], at(second)))
    (found,) = results(feed(windows, frame([0], [1.0], at(10))))
    assert found[Aggregate.SUM][1] == int(Status.BAD_OUT_OF_RANGE)
    assert found[Aggregate.MAX] == (1.7e308, 0)


def test_least_and_greatest_of_64_bit_integers_are_exact() -> None:
    windows = started(make(dtype=np.int64))
    for second, value in enumerate((2**62, 2**62 + 1, 2**62 - 1)):
        feed(windows, frame([0], [value], at(second), dtype=np.int64))
    (found,) = results(feed(windows, frame([0], [0], at(10), dtype=np.int64)))
    assert (found[Aggregate.MIN][0], found[Aggregate.MAX][0], found[Aggregate.LAST][0]) == (2**62 - 1, 2**62 + 1, 2**62 - 1)


def test_a_window_waits_for_late_readings_as_long_as_it_was_told() -> None:
    windows = started(make(lateness_s=5, by_source=True))
    taken = [(9, 1.0), (12, 2.0), (8, 5.0)]
    for second, value in taken:
        assert results(feed(windows, frame([0], [value], at(second), source_ns=[at(second)])))[1:] == []
    (found,) = results(feed(windows, frame([0], [0.0], at(15), source_ns=[at(15)])))
    assert values_of(found)["count"] == 2
    assert (found[Aggregate.FIRST][0], found[Aggregate.LAST][0]) == (5.0, 1.0)


def test_readings_that_come_too_late_are_counted_and_left_out() -> None:
    windows = started(make(by_source=True))
    for second in (1, 11):
        feed(windows, frame([0], [1.0], at(second), source_ns=[at(second)]))
    feed(windows, frame([0], [9.0], at(12), source_ns=[at(4)]))
    assert windows.late == 1
    (found,) = results(feed(windows, frame([0], [0.0], at(20), source_ns=[at(20)])))
    assert values_of(found)["max"] == 1.0


def test_when_the_gateways_clock_is_set_back_the_windows_start_anew() -> None:
    windows = started(make())
    feed(windows, frame([0], [1.0], at(1)))
    closed = feed(windows, frame([0], [2.0], at(-86_400)))
    assert [found[Aggregate.COUNT] for found in results(closed)] == [(1, int(Status.UNCERTAIN_SUB_NORMAL))]
    (found,) = results(feed(windows, frame([0], [3.0], at(-86_390))))
    assert (found[Aggregate.MEAN][0], windows.late) == (2.0, 0)


def test_when_the_devices_clock_is_set_back_the_windows_start_anew_after_a_windows_time() -> None:
    windows = started(make(by_source=True))
    feed(windows, frame([0], [1.0], at(1), source_ns=[at(1)]))
    found = []
    for second in range(2, 40):
        found += results(feed(windows, frame([0], [5.0], at(second), source_ns=[at(second - 86_400)])))
    assert [values_of(one)["mean"] for one in found][1:] == [5.0, 5.0]
    assert 0 < windows.late <= WIDTH_S


def test_time_alone_closes_a_window_of_a_device_that_pushes_nothing() -> None:
    windows = started(make())
    feed(windows, frame([0], [1.0], at(1)))
    assert windows.next_end_ns() == at(10)
    assert windows.pass_time(at(9)) == []
    (found,) = results(windows.pass_time(at(10)))
    assert values_of(found)["count"] == 1


def test_what_could_not_be_stored_is_counted_again() -> None:
    windows = started(make())
    feed(windows, frame([0], [1.0], at(1)))
    last = frame([0], [3.0], at(11))
    first = windows.take(last, np.arange(1), last.tags)
    windows.take_back()
    assert results(windows.take(last, np.arange(1), last.tags)) == results(first) != []


SIGNAL = st.lists(st.tuples(st.integers(0, 4000), st.floats(-1e6, 1e6)), min_size=1, max_size=80)


@given(SIGNAL)
def test_the_results_are_those_of_the_statistics_module(steps: list[tuple[int, float]]) -> None:
    windows = started(make(tags=2), tags=2)
    expected: dict[int, list[float]] = {}
    now_ms = 0
    found = []
    for gap_ms, value in steps:
        now_ms += gap_ms
        expected.setdefault(now_ms // (WIDTH_S * 1000), []).append(value)
        found += feed(windows, frame([1, 0], [-value, value], at(now_ms / 1000)))
    found += feed(windows, frame([0, 1], [0.0, 0.0], at(now_ms / 1000 + 3600)))
    own = [one for one in results(found) if one]
    opposite = results(found, tag=1)
    if len(own) > len(expected):  # the window before the test's first
        own, opposite = own[1:], opposite[1:]
    assert len(own) == len(expected) == len(opposite)
    for got, mirrored, values in zip(own, opposite, expected.values(), strict=True):
        told = values_of(got)
        assert (told["count"], told["min"], told["max"]) == (len(values), min(values), max(values))
        assert (told["first"], told["last"]) == (values[0], values[-1])
        assert math.isclose(told["mean"], statistics.fmean(values), rel_tol=1e-9, abs_tol=1e-6)
        assert math.isclose(told["stddev"], statistics.pstdev(values), rel_tol=1e-6, abs_tol=1e-3)
        assert values_of(mirrored)["max"] == -told["min"]
