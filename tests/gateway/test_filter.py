from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.model import Frame, Kind, bad_frame
from drivers.status import Status
from gateway.filter import Filter
from tests.gateway.fakes import NS, START_NS, frame, table

TABLE = table(("speed", Kind.FLOAT), ("pulses", Kind.INT), ("serial", Kind.UINT64), ("order", Kind.TEXT))
HEARTBEAT_S = 60


def make(deadband: float = 0.0) -> Filter:
    return Filter(TABLE, np.full(4, deadband), np.full(4, HEARTBEAT_S * NS, np.int64))


def report(chosen: Filter, *frames: Frame) -> list[object]:
    """What passes, accepted at once."""
    values: list[object] = []
    for kept in chosen.pick(frames):
        values += kept.values if isinstance(kept.values, list) else kept.values.tolist()
    chosen.accept()
    return values


def test_the_first_reading_of_a_tag_passes() -> None:
    assert report(make(), frame([0], [1.5])) == [1.5]


def test_the_same_value_does_not_pass_again() -> None:
    chosen = make()
    report(chosen, frame([0], [1.5]))
    assert report(chosen, frame([0], [1.5])) == []


@pytest.mark.parametrize(("value", "passes"), [(10.5, False), (9.5, False), (10.5001, True), (9.4999, True)])
def test_a_float_passes_only_beyond_its_deadband(value: float, passes: bool) -> None:
    chosen = make(deadband=0.5)
    report(chosen, frame([0], [10.0]))
    assert bool(report(chosen, frame([0], [value]))) is passes


def test_the_deadband_counts_from_the_last_reported_value_so_that_creeping_is_seen() -> None:
    chosen = make(deadband=1.0)
    report(chosen, frame([0], [0.0]))
    assert [report(chosen, frame([0], [value])) for value in (0.6, 0.9, 1.2)] == [[], [], [1.2]]


def test_large_integers_are_compared_exactly() -> None:
    chosen = make()
    report(chosen, frame([1], [2**62], dtype=np.int64))
    assert report(chosen, frame([1], [2**62 + 1], dtype=np.int64)) == [2**62 + 1]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.one_of(st.just(0.0), st.floats(0, 2.0**40)))
def test_signed_integers_pass_exactly_when_they_differ_by_more_than_the_deadband(old: int, new: int, deadband: float) -> None:
    chosen = make(deadband)
    report(chosen, frame([1], [old], dtype=np.int64))
    assert bool(report(chosen, frame([1], [new], dtype=np.int64))) is (abs(new - old) > deadband)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_unsigned_integers_pass_exactly_when_they_differ_by_more_than_the_deadband(old: int, new: int, deadband: int) -> None:
    chosen = make(deadband)
    report(chosen, frame([2], [old], dtype=np.uint64))
    assert bool(report(chosen, frame([2], [new], dtype=np.uint64))) is (abs(new - old) > deadband)


def test_texts_are_compared_by_value() -> None:
    chosen = make()
    assert report(chosen, frame([3], ["a"], dtype=object)) == ["a"]
    assert report(chosen, frame([3], ["a"], dtype=object)) == []
    assert report(chosen, frame([3], ["b"], dtype=object)) == ["b"]


def test_a_change_of_status_always_passes() -> None:
    chosen = make(deadband=100)
    report(chosen, frame([0], [1.0]))
    assert len(report(chosen, frame([0], [1.0], status=[Status.UNCERTAIN]))) == 1
    assert len(report(chosen, bad_frame("press", START_NS, np.array([0, 1], np.int32), Status.BAD_TIMEOUT))) == 2
    assert report(chosen, bad_frame("press", START_NS, np.array([0, 1], np.int32), Status.BAD_TIMEOUT)) == []
    assert report(chosen, frame([0], [1.0])) == [1.0]
    assert report(chosen, frame([1], [5], dtype=np.int64)) == [5]


def test_an_unchanged_tag_passes_at_its_heartbeat_and_starts_a_new_one() -> None:
    chosen = make()
    passed = [second for second in range(0, 181, 20) if report(chosen, frame([0], [1.0], START_NS + second * NS))]
    assert passed == [0, 60, 120, 180]


def test_a_clock_that_is_set_back_does_not_silence_a_tag() -> None:
    chosen = make()
    report(chosen, frame([0], [1.0], START_NS))
    assert report(chosen, frame([0], [1.0], START_NS - 3600 * NS)) == [1.0]
    assert report(chosen, frame([0], [1.0], START_NS - 3590 * NS)) == []


def test_only_the_readings_that_pass_are_kept_in_their_order_with_all_their_columns() -> None:
    chosen = make(deadband=1.0)
    report(chosen, frame([0, 1], [1.0, 2.0]))
    (kept,) = chosen.pick([frame([1, 0], [9.0, 1.5], START_NS + 5, source_ns=[11, 12])])
    assert (kept.tags.tolist(), list(kept.values), kept.acquired_ns) == ([1], [9.0], START_NS + 5)
    assert kept.source_ns is not None
    assert kept.source_ns.tolist() == [11]


def test_the_second_of_two_frames_is_compared_with_the_first() -> None:
    chosen = make(deadband=1.0)
    assert report(chosen, frame([0], [1.0]), frame([0], [1.5]), frame([0], [3.0])) == [1.0, 3.0]


def test_what_could_not_be_stored_counts_as_unreported() -> None:
    chosen = make(deadband=1.0)
    report(chosen, frame([0], [1.0]), frame([3], ["a"], dtype=object))
    chosen.pick([frame([0], [5.0]), frame([3], ["b"], dtype=object), frame([0], [9.0]), frame([1], [7], dtype=np.int64)])
    chosen.take_back()
    assert report(chosen, frame([0], [1.5])) == []
    assert report(chosen, frame([3], ["b"], dtype=object), frame([0], [5.0]), frame([1], [7], dtype=np.int64)) == ["b", 5.0, 7]


def test_repeats_are_the_last_reported_readings_that_are_due() -> None:
    chosen = make()
    report(chosen, frame([0], [1.0], START_NS, source_ns=[5]), frame([3], ["a"], START_NS, dtype=object))
    report(chosen, frame([1], [7], START_NS + 30 * NS, dtype=np.int64))
    assert chosen.next_heartbeat_ns() == START_NS + 60 * NS
    repeats = chosen.repeats(START_NS + 60 * NS)
    assert [(kept.tags.tolist(), list(kept.values), kept.acquired_ns) for kept in repeats] == [
        ([0], [1.0], START_NS + 60 * NS),
        ([3], ["a"], START_NS + 60 * NS),
    ]
    assert repeats[0].source_ns is not None
    assert repeats[0].source_ns.tolist() == [5]
    assert report(chosen, *repeats) == [1.0, "a"]
    assert chosen.next_heartbeat_ns() == START_NS + 90 * NS


def test_nothing_is_repeated_before_anything_was_reported() -> None:
    chosen = make()
    assert chosen.repeats(START_NS) == []
    assert chosen.next_heartbeat_ns() is None


def columns_of(one: Frame) -> tuple[object, ...]:
    assert not isinstance(one.values, list)
    return one.tags.tolist(), one.values.tolist(), one.status.tolist()


_RUNS = [np.array(tags, np.int32) for tags in ([0, 1, 2, 3], [4, 5], [2, 3, 4], [5, 0], [1])]
for _tags in _RUNS:
    _tags.setflags(write=False)
_STEPS = st.lists(
    st.tuples(
        st.integers(0, len(_RUNS) - 1),
        st.lists(st.integers(0, 1), min_size=4, max_size=4),
        st.lists(st.sampled_from([0] * 9 + [int(Status.BAD)]), min_size=4, max_size=4),
        st.sampled_from([-50, -1, 0, 1, 10, 59, 61]),
        st.sampled_from([True] * 9 + [False]),
    ),
    min_size=10,
    max_size=30,
)


@given(_STEPS, st.sampled_from([0.0, 1.0]))
def test_tags_that_come_together_again_and_again_are_treated_like_any_others(
    steps: list[tuple[int, list[int], list[int], int, bool]], deadband: float
) -> None:
    tags = table(*((f"t{n}", Kind.INT) for n in range(6)))
    known, plain = (Filter(tags, np.full(6, deadband), np.full(6, HEARTBEAT_S * NS, np.int64)) for _ in range(2))
    now_ns = START_NS
    for number, values, status, seconds, stored in steps:
        run = _RUNS[number]
        now_ns += seconds * NS
        columns = np.array(values[: len(run)], np.int64), np.array(status[: len(run)], np.uint32)
        first = known.pick([Frame("d", now_ns, run, *columns)])
        second = plain.pick([Frame("d", now_ns, run.copy(), *columns)])
        assert [*map(columns_of, first)] == [*map(columns_of, second)]
        for chosen in (known, plain):
            if stored:
                chosen.accept()
            else:
                chosen.take_back()
