"""Counters that roll over, reset and bounce, and rates."""

from __future__ import annotations

from typing import Any

import pytest

from tests.derived.bench import UNCERTAIN, Bench


def counter(**asked: Any) -> Bench:
    return Bench({"raw": "count"}, [{"name": "parts", "kind": "count", "input": "raw", **asked}])


def counted(values: list[float | None], after_s: float = 0.5, **asked: Any) -> Bench:
    bench = counter(**asked)
    for value in values:
        bench.poll(value, after_s=after_s)
    return bench


@pytest.mark.parametrize(
    ("asked", "values", "parts", "resets"),
    [
        ({}, [100, 101, 103], 3, 0),
        ({"bits": 16}, [65534, 65535, 0, 2], 4, 0),
        ({"modulus": 10_000}, [9_998, 9_999, 1], 3, 0),
        ({"bits": 16, "shortest_s": 0.2}, [65_000, 3], 3, 1),
        ({"bits": 16}, [1000, 1001, 0, 1], 2, 1),
        ({}, [5000, 5001, 0, 1, 2], 3, 1),
        ({}, [50, 51, 50, 51, 52], 2, 0),
        ({"max_step": 10}, [50, 51, 5000, 5001], 2, 1),
        ({}, [7, None, 9], 2, 0),
    ],
)
def test_parts_are_counted_over_roll_overs_resets_glitches_and_gaps(
    asked: dict[str, Any], values: list[float | None], parts: int, resets: int
) -> None:
    bench = counted(values, **asked)
    assert bench.last("parts")[0] == parts
    assert bench.last("parts.resets")[0] == resets


def test_a_reset_marks_the_count_once_as_uncertain() -> None:
    bench = counted([500, 501, 1, 2])
    assert [(value, status) for name, value, status, _ in bench.told if name == "parts"][-3:] == [(1, 0), (2, UNCERTAIN), (3, 0)]


def test_pulses_that_follow_faster_than_the_machine_can_are_bounce() -> None:
    bench = counter(shortest_s=1.0)
    raw = 0
    for step in range(1, 100):
        raw += 2 if step % 4 == 0 else 1 if step % 4 == 1 and step > 4 else 0  # a pulse every 2 s that counts as three
        bench.poll(raw)
    assert bench.last("parts")[0] == 24


def test_bounce_is_told_by_the_last_look_though_nothing_had_to_be_reckoned_since_long() -> None:
    lamp = {"name": "lamp", "kind": "lamp", "input": "red"}
    count = {"name": "parts", "kind": "count", "input": "raw", "shortest_s": 2}
    for polls in range(6, 12):
        bench = Bench({"raw": "count", "red": "bit"}, [count, lamp])
        bench.poll(0, 0, after_s=0.75)
        bench.poll(1, 0, after_s=0.75)
        for step in range(polls):
            bench.poll(1, int(step >= polls - 2), after_s=0.75)
        bench.poll(3, 1, after_s=0.75)  # one part, and its bounce
        assert bench.last("parts")[0] == 2


def test_a_bad_count_is_bad_and_nothing_is_lost() -> None:
    bench = counted([7, 8, None, 12])
    assert bench.of("parts") == [0, 1, None, 5]


def test_a_rate_is_per_unit_of_time_and_uncertain_until_half_of_its_window_was_seen() -> None:
    bench = Bench({"raw": "count"}, [{"name": "rate", "kind": "rate", "input": "raw", "per": "h", "window_s": 10}])
    for step in range(60):
        bench.poll(step)
    assert bench.last("rate") == (7200.0, 0)
    assert bench.table.units[bench.table.names.index("rate")] == "1/h"
    assert next(status for name, _, status, _ in bench.told if name == "rate" and status != 0x8032_0000) == UNCERTAIN


def test_a_gap_begins_a_rate_anew() -> None:
    bench = Bench({"raw": "count"}, [{"name": "rate", "kind": "rate", "input": "raw", "per": "s", "window_s": 10}])
    for step in range(30):
        bench.poll(step)
    bench.poll(1000, after_s=100)
    assert bench.last("rate")[0] is None
    bench.poll(1001)
    assert bench.last("rate") == (2.0, UNCERTAIN)
