"""One dead unit of ten behind one link: the other nine keep their period."""

from __future__ import annotations

from tests.simulators.dead_unit import PERIOD_MS, TIMEOUT_MS, measure


def test_nine_units_keep_their_p99_period_when_the_tenth_dies() -> None:
    with_dead, without = (measure("tcp", 5, dead=dead) for dead in (True, False))
    assert with_dead.count == without.count
    assert (without.p50_ms, without.p99_ms, without.max_ms) == (PERIOD_MS, PERIOD_MS, PERIOD_MS)
    assert (with_dead.p50_ms, with_dead.p99_ms) == (PERIOD_MS, PERIOD_MS)
    # The first silence keeps the others waiting, the attempts after it none.
    assert PERIOD_MS < with_dead.max_ms <= PERIOD_MS + TIMEOUT_MS


def test_where_answers_have_no_number_an_attempt_at_the_dead_unit_is_all_that_the_nine_wait_for() -> None:
    found = measure("rtu_over_tcp", 5, dead=True)
    assert found.p50_ms == PERIOD_MS
    assert found.max_ms <= PERIOD_MS + 2 * TIMEOUT_MS
