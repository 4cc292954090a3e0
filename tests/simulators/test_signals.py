"""The bench's signals: seeded or recorded."""

from __future__ import annotations

from itertools import islice
from statistics import fmean

import pytest

from simulators.plant.signals import COLUMNS, RecordedSignals, Row, SeededSignals

ROWS: list[Row] = [
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    (1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8),
    (2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8),
]


def test_a_part_shows_the_same_signals_whatever_was_made_before_it() -> None:
    fresh, worn = SeededSignals(5), SeededSignals(5)
    for part in range(1, 9):
        list(islice(worn.cycle(part), 15))
    assert list(islice(fresh.cycle(9), 15)) == list(islice(worn.cycle(9), 15))
    assert list(islice(fresh.cycle(9), 3)) != list(islice(fresh.cycle(10), 3))
    assert list(islice(fresh.cycle(9), 3)) != list(islice(SeededSignals(6).cycle(9), 3))


def test_seeded_signals_lie_where_a_pump_bench_has_them() -> None:
    source = SeededSignals(1)
    rows = [row for part in range(40) for row in islice(source.cycle(part), 9, 20)]
    means = dict(zip(COLUMNS, map(fmean, zip(*rows, strict=True)), strict=True))
    assert means["accelerometer_1"] == pytest.approx(0.0267, rel=0.1)
    assert means["pressure"] == pytest.approx(0.09, abs=0.06)
    assert 70 < means["temperature"] < 82
    assert means["voltage"] == pytest.approx(231, abs=3)
    assert means["flow_rate"] == pytest.approx(32, abs=1)
    assert len({row[3] for row in rows}) < 12


def test_a_pump_runs_up() -> None:
    rows = list(islice(SeededSignals(1).cycle(1), 15))
    assert rows[0][7] < 3 < rows[14][7]


def test_a_recording_goes_on_through_the_cycles_and_begins_again() -> None:
    recorded = RecordedSignals(ROWS)
    assert list(islice(recorded.cycle(1), 2)) == ROWS[:2]
    assert list(islice(recorded.cycle(2), 3)) == [ROWS[2], ROWS[0], ROWS[1]]


def test_an_empty_recording_is_no_recording() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        RecordedSignals([])
