"""Slopes and what they are made of."""

from __future__ import annotations

import pytest

from benchmarks.cpu_profile import by_stage
from benchmarks.hour_at_20000 import slopes
from benchmarks.trend import blocks, fit, student_t


def test_a_line_is_found_with_its_confidence() -> None:
    # Worked by hand: x 1 2 3 4, y 2 4 5 8: slope 1.9, residual 0.7 with 2 degrees, spread 5.
    trend = fit([1, 2, 3, 4], [2, 4, 5, 8])
    assert trend.slope == pytest.approx(1.9)
    assert trend.level == pytest.approx(0.0)
    assert trend.high - trend.slope == pytest.approx(4.3027 * (0.7 / 2 / 5) ** 0.5)
    assert trend.r2 == pytest.approx(1 - 0.7 / 18.75)


def test_two_points_have_no_confidence() -> None:
    with pytest.raises(ValueError, match="three"):
        fit([1, 2], [1, 2])


@pytest.mark.parametrize(("freedom", "point"), [(1, 12.706), (2, 4.303), (3, 3.182), (8, 2.306), (30, 2.042), (1000, 1.962)])
def test_student_s_t_is_that_of_the_tables(freedom: int, point: float) -> None:
    assert student_t(freedom) == pytest.approx(point, rel=0.002)


def test_blocks_are_means_of_neighbours() -> None:
    assert blocks([0, 1, 2, 3], [10, 20, 30, 50], 2) == ([0.5, 2.5], [15, 40])


def test_an_hour_that_grows_is_not_flat_and_one_that_grew_at_first_is() -> None:
    settled = [(minute / 6, 70_000_000 if minute > 50 else 60_000_000, 30, 4 << 20) for minute in range(361)]
    growing = [(minute / 6, 60_000_000 + 10_000 * minute, 30, 4 << 20) for minute in range(361)]
    leaking = [(minute / 6, 60_000_000, 30 + minute // 60, 4 << 20) for minute in range(361)]
    assert [slopes(points)["flat"] for points in (settled, growing, leaking)] == [True, False, False]
    found = slopes(growing)
    assert found["rss_kib_per_minute"] == pytest.approx(60_000 / 1024, abs=0.1)
    assert slopes(leaking)["descriptors_per_hour"] == pytest.approx(6, abs=0.5)


def test_samples_become_stages_scaled_to_what_each_thread_used() -> None:
    main = "thread (1): MainThread;main (mumian.py:3);"
    raw = (
        f"{main}read (drivers/modbus/link.py:1);decode (drivers/modbus/codec.py:9) 1\n"
        f"{main}pick (gateway/filter.py:5);diff (numpy/lib/function_base.py:7) 2\n"
        f"{main}run (asyncio/runners.py:118) 1\n"
        "thread (2): Thread-1;run (threading.py:1);work (aiosqlite/core.py:63);commit (gateway/outbox/batch.py:88) 9\n"
    )
    stages, functions = by_stage(raw, {1: 3.0, 2: 1.0})
    assert stages == {"filter": 37.5, "sqlite thread": 25.0, "decode": 18.8, "event loop": 18.8}
    assert functions["diff (numpy/lib/function_base.py)"] == 37.5
