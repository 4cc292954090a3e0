"""The whole gateway killed at a send, its clock set, its links black-holed: the short forms. And the judge of order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import clocks, links
from tests.faults.injection import KILL, SENDS, Fault, under, was_met
from tests.faults.ordering import Served, Verdict, judge_tag
from tests.faults.table import Row, render
from tests.faults.works import repeats_beyond, works

TAG = ("press", "speed")


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.long
def test_links_that_go_silent_are_noticed_and_come_back_and_cost_nothing(tmp_path: Path) -> None:
    row = links.campaign(tmp_path, 4, seed=3)
    assert row.is_clean, render([row])
    assert row.runs == 4
    assert row.acknowledged > 0


@pytest.mark.slow
@pytest.mark.services
def test_a_kill_at_a_send_and_a_clock_that_is_set_cost_nothing_and_the_clock_is_told(tmp_path: Path) -> None:
    clock = clocks.FakeClock(tmp_path)
    row = Row("clock")
    with works(tmp_path) as stage:
        trace = tmp_path / "trace"
        code = stage.start(prefix=under(Fault(SENDS, KILL, "60"), trace)).wait(60)
        assert was_met(trace, code)
        stretches = list(clocks.live(stage, clock, ["-1d"], random.Random(1), row))
        stage.kill()
        stage.finish(row, by_order=True)
        assert clocks.misjudged(stage.site.delivered, stretches) == []
        wrong = clocks.Stretch(stretches[0].from_ns, stretches[0].to_ns, is_marked=True)
        assert clocks.misjudged(stage.site.delivered, [wrong]) != []
    assert row.is_clean, render([row])
    assert (len(stretches), repeats_beyond(row.repeated, 2)) == (2, 0)


@pytest.mark.parametrize(
    ("served", "arrived", "lost", "altered"),
    [
        ([1, 2, 3], [1, 2, 3], 0, 0),
        ([1, 2, 3], [1, 3], 1, 0),
        ([1, 2, 3], [1, 2], 1, 0),
        ([1, 1.05, 3], [1, 3], 0, 0),
        ([1, 2, 3], [1, 1, 2, 2, 3], 0, 0),
        ([1, 2, 3], [1, 3, 2], 1, 1),
        ([1, 2, 3], [1, 7, 2, 3], 0, 1),
        ([5, 5, 7, 5, 5, 7, 8], [5, 5, 7, 8], 1, 0),
        ([5, 7, 5, 7], [5, 7, 7], 1, 0),
        ([5, 7, 9, 7], [5, 7], 1, 0),
    ],
)
def test_order_alone_tells_what_is_lost_and_what_was_never_served(
    served: list[float], arrived: list[float], lost: int, altered: int
) -> None:
    verdict = Verdict()
    judge_tag(TAG, [Served(value, is_acknowledged=True) for value in served], list(arrived), 0.1, verdict)
    assert (verdict.lost, verdict.altered, verdict.acknowledged) == (lost, altered, len(served))


def test_what_was_not_acknowledged_may_be_missing() -> None:
    verdict = Verdict()
    judge_tag(TAG, [Served(1, is_acknowledged=True), Served(2, is_acknowledged=False)], [1], 0.0, verdict)
    assert (verdict.lost, verdict.altered, verdict.acknowledged) == (0, 0, 1)


def test_of_two_readings_with_one_value_the_later_one_may_be_meant() -> None:
    verdict = Verdict()
    served = [
        Served(8, is_acknowledged=True),
        Served(8, is_acknowledged=True),
        Served(7, is_acknowledged=False),
        Served(8, is_acknowledged=True),
        Served(7, is_acknowledged=True),
    ]
    judge_tag(TAG, served, [8, 8, 7], 0.0, verdict)
    assert (verdict.lost, verdict.altered) == (0, 0)
