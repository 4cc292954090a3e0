"""The bench's program: its cycle and the four-phase handshake, with the time given."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from simulators.plant.bench import Bench, Change, Phase, Step
from simulators.plant.signals import COLUMNS, SeededSignals

MS = 1_000_000
T0 = 1_790_000_000_000 * MS


def bench(sample_ms: int = 200, cycle_ms: int = 1000, first_part: int = 1) -> Bench:
    return Bench(42, SeededSignals(42), sample_ms * MS, cycle_ms * MS, first_part)


def changes(step: Step) -> dict[str, object]:
    return {change.tag: change.value for change in step.changes}


def run_cycle(program: Bench, now_ns: int) -> tuple[list[Change], Step, int]:
    """Advance at each due time until the cycle is over; the changes before its last step, that step, and its time."""
    seen: list[Change] = []
    step = program.advance(now_ns, cycle_ack=False)
    while program.due_ns is not None:
        seen += step.changes
        now_ns = program.due_ns
        step = program.advance(now_ns, cycle_ack=False)
    return seen, step, now_ns


def test_a_part_goes_through_the_four_phases() -> None:
    program = bench()
    first = program.advance(T0, cycle_ack=False)
    assert changes(first).items() >= {"part_number": 1, "running": True, "order_number": "PO-0042-00001"}.items()
    _, end, now = run_cycle(program, T0)
    assert changes(end) == {"running": False, "cycle_complete": True}
    assert end.completed is not None
    assert (end.completed.part, end.completed.order_number) == (1, "PO-0042-00001")
    assert (end.completed.started_ms, end.completed.completed_ms) == (T0 // MS, T0 // MS + 1000)
    assert now == T0 + 1000 * MS

    assert program.advance(now + 1, cycle_ack=False) == Step()
    acknowledged = program.advance(now + 50 * MS, cycle_ack=True)
    assert changes(acknowledged) == {"cycle_complete": False}
    assert acknowledged.acknowledged == 1
    assert program.advance(now + 60 * MS, cycle_ack=True) == Step()
    following = program.advance(now + 70 * MS, cycle_ack=False)
    assert changes(following).items() >= {"part_number": 2, "running": True}.items()


def test_a_cycle_has_its_samples_at_their_times_and_none_after_it() -> None:
    program = bench()
    seen, _, now = run_cycle(program, T0)
    samples = [change for change in seen if change.tag == "pressure"]
    assert [change.source_ms - T0 // MS for change in samples] == [0, 200, 400, 600, 800]
    rows = list(islice(SeededSignals(42).cycle(1), 5))
    assert [change.value for change in samples] == [row[COLUMNS.index("pressure")] for row in rows]
    assert program.due_ns is None
    assert program.advance(now + 10_000 * MS, cycle_ack=False) == Step()


def test_complete_is_not_raised_while_the_bit_of_an_earlier_part_stands() -> None:
    program = bench()
    program.advance(T0, cycle_ack=False)
    step = Step()
    while program.due_ns is not None:
        step = program.advance(program.due_ns, cycle_ack=True)
    assert changes(step) == {"running": False}
    assert program.phase is Phase.BLOCKED
    assert changes(program.advance(T0 + 1500 * MS, cycle_ack=False)) == {"cycle_complete": True}


def test_at_power_up_the_bench_waits_for_a_bit_that_still_stands() -> None:
    program = bench()
    assert program.advance(T0, cycle_ack=True) == Step()
    assert program.due_ns is None
    assert changes(program.advance(T0 + MS, cycle_ack=False))["part_number"] == 1


def test_numbering_goes_on_and_orders_change_every_twelve_parts() -> None:
    program = bench(200, 200, first_part=12)
    step = program.advance(T0, cycle_ack=False)
    assert changes(step).items() >= {"part_number": 12, "order_number": "PO-0042-00001"}.items()
    _, _, now = run_cycle(program, T0)
    program.advance(now, cycle_ack=True)
    assert changes(program.advance(now + MS, cycle_ack=False))["order_number"] == "PO-0042-00002"


def test_late_samples_keep_ascending_times_and_a_part_never_shares_a_time_with_the_next() -> None:
    program = bench(5, 50)
    program.advance(T0, cycle_ack=False)
    late = T0 + 400 * MS
    stamps = []
    step = Step()
    while program.due_ns is not None:
        step = program.advance(late, cycle_ack=False)
        stamps += [change.source_ms for change in step.changes if change.tag == "voltage"]
    assert stamps == list(range(late // MS, late // MS + 9))
    assert step.completed is not None
    assert step.completed.completed_ms >= stamps[-1]
    program.advance(late, cycle_ack=True)
    following = program.advance(late, cycle_ack=False)
    assert min(change.source_ms for change in following.changes) > step.completed.completed_ms


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=120))
def test_whatever_the_client_does_each_part_is_taken_once(moves: list[tuple[int, bool]]) -> None:
    program = bench(100, 300)
    now = T0
    complete = ack = False
    stamps: dict[str, int] = defaultdict(int)
    completed: list[int] = []
    acknowledged: list[int] = []
    for wait_ms, ack in moves:
        now += wait_ms * MS
        step = program.advance(now, ack)
        for change in step.changes:
            assert change.source_ms > stamps[change.tag]
            stamps[change.tag] = change.source_ms
            if change.tag == "cycle_complete":
                assert change.value is not complete
                complete = bool(change.value)
                assert not complete or not ack
        if step.completed:
            completed.append(step.completed.part)
        if step.acknowledged:
            acknowledged.append(step.acknowledged)
    assert completed == list(range(1, len(completed) + 1))
    assert acknowledged == completed[: len(acknowledged)]
    assert len(completed) - len(acknowledged) in (0, 1)
