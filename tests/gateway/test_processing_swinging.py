"""Swinging-door compression."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Frame
from drivers.status import Status
from gateway.processing.swinging import SwingingDoors
from tests.gateway.fakes import NS, START_NS, frame

HEARTBEAT_S = 3600
BAD = int(Status.BAD_TIMEOUT)

Point = tuple[int, float]


def make(deviation: float = 1.0, tags: int = 1, heartbeat_s: float = HEARTBEAT_S) -> SwingingDoors:
    indexes = np.arange(tags, dtype=np.int32)
    return SwingingDoors("press", indexes, np.full(tags, deviation), np.full(tags, round(heartbeat_s * NS), np.int64))


def feed(doors: SwingingDoors, taken: Frame) -> list[Frame]:
    earlier, kept = doors.pick(taken, taken.tags)
    doors.accept()
    return [*earlier, *kept]


def points(frames: list[Frame]) -> list[Point]:
    """(seconds since the start, value) of what is kept."""
    found: list[Point] = []
    for kept in frames:
        assert isinstance(kept.values, np.ndarray)
        found += [((kept.acquired_ns - START_NS) // NS, value) for value in kept.values.tolist()]
    return found


def kept_of(readings: list[Point], deviation: float = 1.0) -> list[Point]:
    doors = make(deviation)
    return [point for at, value in readings for point in points(feed(doors, frame([0], [value], START_NS + at * NS)))]


def newest(doors: SwingingDoors) -> list[Frame]:
    """What is still held, asked for by its heartbeat."""
    return doors.repeats(START_NS + 10**6 * NS)


def test_the_first_reading_is_kept() -> None:
    assert kept_of([(0, 5.0)]) == [(0, 5.0)]


def test_of_a_straight_line_only_the_ends_are_kept() -> None:
    readings = [(at, 2.0 * at) for at in range(50)] + [(50, 0.0)]
    assert kept_of(readings) == [(0, 0.0), (49, 98.0)]


def test_a_corner_is_kept_where_it_is() -> None:
    readings = [(at, 0.0) for at in range(10)] + [(at, 5.0 * (at - 9)) for at in range(10, 20)] + [(20, 0.0)]
    assert kept_of(readings, 0.5) == [(0, 0.0), (9, 0.0), (19, 50.0)]


def test_a_change_of_the_status_passes_at_once_and_what_was_held_before_it() -> None:
    doors = make()
    feed(doors, frame([0], [1.0], START_NS))
    feed(doors, frame([0], [1.0], START_NS + NS))
    kept = feed(doors, frame([0], [np.nan], START_NS + 2 * NS, status=[BAD]))
    assert [(one.acquired_ns, int(one.status[0])) for one in kept] == [(START_NS + NS, 0), (START_NS + 2 * NS, BAD)]
    assert feed(doors, frame([0], [np.nan], START_NS + 3 * NS, status=[BAD])) == []
    assert points(feed(doors, frame([0], [1.0], START_NS + 4 * NS))) == [(4, 1.0)]


def test_at_its_heartbeat_the_newest_reading_is_kept() -> None:
    doors = make(heartbeat_s=10)
    kept = [point for at in range(25) for point in points(feed(doors, frame([0], [1.0], START_NS + at * NS)))]
    assert kept == [(0, 1.0), (10, 1.0), (20, 1.0)]


def test_what_is_held_is_given_when_nothing_more_comes() -> None:
    doors = make()
    feed(doors, frame([0], [1.0], START_NS))
    feed(doors, frame([0], [1.5], START_NS + NS))
    assert points(newest(doors)) == [(1, 1.5)]


def test_a_time_that_goes_back_ends_the_line() -> None:
    assert kept_of([(10, 1.0), (11, 1.0), (5, 1.0), (6, 1.0)]) == [(10, 1.0), (11, 1.0), (5, 1.0)]


def test_the_devices_own_time_is_the_lines_where_it_gives_one() -> None:
    doors = make(0.5)
    kept: list[Frame] = []
    for at in range(20):  # acquired unevenly, a straight line by the device's time
        taken = frame([0], [float(at)], START_NS + at * at * NS, source_ns=[START_NS + at * NS])
        kept += feed(doors, taken)
    assert points(kept) == [(0, 0.0)]


def test_64_bit_integers_are_kept_exactly() -> None:
    doors = make()
    large = 2**63 + 1
    (kept,) = feed(doors, frame([0], [large], dtype=np.uint64))
    assert isinstance(kept.values, np.ndarray)
    assert kept.values.tolist() == [large]


def test_what_could_not_be_stored_is_picked_again() -> None:
    doors = make()
    feed(doors, frame([0], [0.0], START_NS))
    feed(doors, frame([0], [0.0], START_NS + NS))
    jump = frame([0], [9.0], START_NS + 2 * NS)
    first = points(doors.pick(jump, jump.tags)[0])
    doors.take_back()
    assert points(doors.pick(jump, jump.tags)[0]) == first == [(1, 0.0)]


READINGS = st.lists(
    st.tuples(st.integers(1, 5), st.floats(-100, 100), st.sampled_from([0, 0, 0, 0, 0, BAD])), min_size=1, max_size=60
)


def dropped_errors(readings: list[Point], kept: list[Point]) -> list[float]:
    """How far each reading lies from the line between its kept neighbours."""
    times = [at for at, _ in kept]
    values = [value for _, value in kept]
    return [abs(value - float(np.interp(at, times, values))) for at, value in readings]


@given(READINGS, st.floats(0.1, 20))
def test_every_dropped_reading_lies_within_the_deviation_of_the_line_between_its_kept_neighbours(
    steps: list[tuple[int, float, int]], deviation: float
) -> None:
    doors = make(deviation)
    runs: list[tuple[list[Point], list[Point]]] = [([], [])]
    at, was = 0, 0
    for gap_s, value, status in steps:
        at += gap_s
        kept = feed(doors, frame([0], [np.nan if status else value], START_NS + at * NS, status=[status]))
        good = [one for one in kept if not one.status[0]]
        runs[-1][1].extend(point for point in points(good) if point[0] < at)
        if status != was:
            runs.append(([], []))
        was = status
        if not status:
            runs[-1][0].append((at, value))
        runs[-1][1].extend(point for point in points(good) if point[0] == at)
    runs[-1][1].extend(points([one for one in newest(doors) if not one.status[0] and was == 0]))
    for readings, kept_points in runs:
        if readings:
            assert all(first[0] <= second[0] for first, second in pairwise(kept_points))
            assert max(dropped_errors(readings, kept_points)) <= deviation * (1 + 1e-9)


@pytest.mark.parametrize("together", [True, False])
def test_tags_do_not_disturb_each_other(together: bool) -> None:
    random = np.random.default_rng(7)
    signals: npt.NDArray[np.float64] = np.cumsum(random.normal(size=(200, 5)), axis=0)
    doors = make(2.0, tags=5)
    kept: dict[int, list[Point]] = {tag: [] for tag in range(5)}
    for at, row in enumerate(signals):
        tags = list(range(5)) if together else [at % 5, (at + 2) % 5]
        for one in feed(doors, frame(tags, row[tags].tolist(), START_NS + at * NS)):
            assert isinstance(one.values, np.ndarray)
            for tag, value in zip(one.tags.tolist(), one.values.tolist(), strict=True):
                kept[tag].append(((one.acquired_ns - START_NS) // NS, value))
    for tag in range(5):
        alone = [(at, float(row[tag])) for at, row in enumerate(signals) if together or tag in (at % 5, (at + 2) % 5)]
        assert kept[tag] == kept_of(alone, 2.0)
