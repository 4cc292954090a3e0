"""The gateway against an OPC UA device that loses responses, connections, sessions, subscriptions: what it holds is not lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulators.verdict import Verdict
from tests.simulators.subscribed import KEPT, UNKEPT, VARIABLES, Followed, follow
from tests.simulators.subscriptions import live

LIFETIME_S = 60.0
"""What the driver asks for at least, for its session and its subscriptions (drivers/opcua/session.py)."""


def is_whole(verdict: Verdict) -> bool:
    """Everything that was measured came, in order, once, and nothing was told that isn't so."""
    told = (verdict.lost, verdict.altered, verdict.reordered, verdict.untold, verdict.invented, verdict.forfeited, verdict.cut)
    return verdict.clean and not any(told) and not verdict.gaps


def assert_whole(done: Followed, least: int) -> None:
    assert is_whole(done.verdict), done.verdict.as_text()
    assert min(tag.delivered for tag in done.verdict.tags) >= least


@pytest.mark.parametrize("every", [2, 3, 7, 50])
def test_of_every_kth_publish_response_that_is_lost_nothing_is_missed(tmp_path: Path, every: int) -> None:
    done = follow(tmp_path, [{"kind": "lost_publish", "every": every}], 60)
    assert len(done.faults) > 50 // every
    assert_whole(done, 59)
    # The link is well: that a response is lost shows by the next one.
    assert done.verdict.bad == 0
    assert done.verdict.age_ms_p99 is not None
    assert done.verdict.age_ms_p99 < 3000


@pytest.mark.parametrize("at_s", [20.0, 20.3])
def test_a_wire_that_is_cut_for_nine_tenths_of_the_lifetime_costs_nothing(tmp_path: Path, at_s: float) -> None:
    assert_whole(follow(tmp_path, [{"kind": "cut_wire", "at_s": at_s, "for_s": 0.9 * LIFETIME_S}], 90), 89)


def test_subscriptions_are_moved_into_a_new_session_and_nothing_is_missed(tmp_path: Path) -> None:
    faults: list[dict[str, Any]] = [
        {"kind": "closed_session", "at_s": 10.2, "again_s": 15},
        {"kind": "lost_publish", "every": 5},
    ]
    done = follow(tmp_path, faults, 60)
    assert [fault.kind for fault in done.faults].count("closed_session") == 4
    assert_whole(done, 59)


@pytest.mark.parametrize("page", [7, 1000])
def test_what_a_longer_cut_cost_is_filled_from_history_or_told_as_one_gap(tmp_path: Path, page: int) -> None:
    cut = {"kind": "cut_wire", "at_s": 20, "for_s": LIFETIME_S + 30}
    done = follow(tmp_path, [cut], 130, device={"history_page": page})
    assert done.verdict.clean, done.verdict.as_text()
    assert done.of(KEPT).delivered == 130
    assert done.of(KEPT).filled > LIFETIME_S
    gaps = {gap.tags: gap.told for gap in done.verdict.gaps}
    assert gaps == {(UNKEPT,): True, ("count",): True}
    assert done.of(UNKEPT).forfeited > LIFETIME_S


def test_what_an_overflowed_queue_lost_is_filled_from_history_or_told_as_one_gap(tmp_path: Path) -> None:
    cut = {"kind": "cut_wire", "at_s": 20, "for_s": 0.9 * LIFETIME_S}
    done = follow(tmp_path, [cut], 90, device={"queue_size": 10})
    assert done.verdict.clean, done.verdict.as_text()
    assert (done.of(KEPT).delivered, done.of(KEPT).gaps) == (90, 0)
    assert {gap.tags: gap.told for gap in done.verdict.gaps} == {(UNKEPT,): True, ("count",): True}


def test_messages_that_are_kept_no_longer_are_one_gap_and_what_is_behind_comes_in_order(tmp_path: Path) -> None:
    """What is still queued comes behind the gap, and no present value before it."""
    faults = [{"kind": "cut_wire", "at_s": at_s, "for_s": 30} for at_s in (20, 60.3)]
    variables = [*VARIABLES, {"name": "quiet", "period_s": 21}]
    done = follow(tmp_path, faults, 100, device={"kept_messages": 1}, variables=variables)
    assert done.verdict.clean, done.verdict.as_text()
    assert done.of(KEPT).delivered == 100
    assert all(gap.told for gap in done.verdict.gaps)
    assert {gap.tags for gap in done.verdict.gaps} >= {(UNKEPT,), ("count",)}


@pytest.mark.parametrize("again_s", [3.0, 0.8])
def test_a_present_value_is_given_where_nothing_comes_behind_a_gap(tmp_path: Path, again_s: float) -> None:
    """The last change of a quiet variable is in a message that is lost for good."""
    faults = [
        {"kind": "lost_publish", "at_s": 29.9, "for_s": 2.2},
        {"kind": "cut_wire", "at_s": 31.9, "for_s": again_s},
    ]
    variables = [{"name": "quiet", "period_s": 30}, {"name": "count", "type": "uint32", "period_s": 0.7}]
    done = follow(tmp_path, faults, 59, device={"kept_messages": 1}, variables=variables)
    assert done.verdict.clean, done.verdict.as_text()
    assert done.of("quiet").delivered == 2


@pytest.mark.parametrize("kind", ["cold_restart", "warm_restart"])
def test_a_restart_loses_what_it_must(tmp_path: Path, kind: str) -> None:
    done = follow(tmp_path, [{"kind": kind, "at_s": 20.4, "for_s": 5}], 60)
    assert done.verdict.clean, done.verdict.as_text()
    assert done.of(KEPT).gaps == 0
    assert done.of(KEPT).delivered == 55
    if kind == "warm_restart":
        assert_whole(done, 55)


def test_a_node_that_was_deleted_and_put_back_is_filled_from_history_or_told_as_a_gap(tmp_path: Path) -> None:
    done = follow(tmp_path, [{"kind": "deleted_node", "at_s": 20.4, "for_s": 5, "tags": [KEPT, UNKEPT]}], 110)
    assert done.verdict.clean, done.verdict.as_text()
    assert (done.of(KEPT).delivered, done.of("count").gaps) == (106, 0)
    assert [(gap.tags, gap.told) for gap in done.verdict.gaps] == [((UNKEPT,), True)]


def test_statuses_types_and_times_come_as_they_are(tmp_path: Path) -> None:
    faults = [
        {"kind": "wrong_status", "at_s": 5, "for_s": 5, "status": "BadSensorFailure"},
        {"kind": "wrong_status", "at_s": 15, "for_s": 5, "status": "UncertainSubNormal", "tags": [KEPT]},
        {"kind": "other_type", "at_s": 25, "for_s": 5},
        {"kind": "unset_clock", "at_s": 35, "for_s": 5},
    ]
    variables = [
        *VARIABLES,
        {"name": "order", "type": "text"},
        {"name": "running", "type": "bool"},
        {"name": "n", "type": "int32"},
    ]
    done = follow(tmp_path, faults, 50, variables=variables)
    assert is_whole(done.verdict), done.verdict.as_text()
    assert {fault.kind for fault in done.faults} == {"wrong_status", "other_type", "unset_clock"}
    assert done.of(KEPT).delivered == 40
    assert done.verdict.bad > 6


@pytest.mark.parametrize("is_tight", [False, True])
def test_in_minutes_of_faults_of_every_kind_nothing_is_lost_that_was_held(tmp_path: Path, is_tight: bool) -> None:
    """`python -m tests.simulators.subscriptions` does it for hours."""
    lived = live(tmp_path, 2, 6, is_tight=is_tight)
    assert lived.is_well, f"{lived}\n{lived.done.verdict.as_text()}"
    assert len(lived.done.faults) > 20
