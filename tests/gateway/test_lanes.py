"""I6 at the forwarder: what is late goes as history in the order asked for, what comes goes beside it at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import Backoff
from gateway.forwarder import SLICE, Forwarder
from gateway.lanes import Drain, History, Lane, LanePolicy
from gateway.outbox import ranges
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.bounds import Limits
from gateway.outbox.memory import MemoryOutbox
from gateway.sinks.base import SinkUnreachable
from tests.gateway.fakes import FakeClock, MemoryLog, MemorySink, Uniform, settle

TELEMETRY = frozenset({RecordKind.TELEMETRY})
LATE_S = 5.0


@dataclass
class Bench:
    forwarder: Forwarder
    sink: MemorySink
    outbox: MemoryOutbox
    clock: FakeClock
    log: MemoryLog

    async def produce(self, count: int) -> None:
        await self.outbox.append([Entry(RecordKind.TELEMETRY, b"x", 1)] * count)
        await settle()

    async def acknowledge_all(self) -> None:
        while self.sink.in_flight:
            self.sink.acknowledge(*list(self.sink.in_flight))
            await settle()


def make(window: int = 10, share: float = 0.5, drain: Drain = Drain.OLDEST_FIRST, *, others: bool = False) -> Bench:
    clock, log, sink = FakeClock(), MemoryLog(), MemorySink("broker", window=window)
    outbox = MemoryOutbox({"broker": TELEMETRY, **({"second": TELEMETRY} if others else {})}, clock=clock)
    policy = LanePolicy(1.0, share, drain)
    forwarder = Forwarder(outbox, sink, clock=clock, backoff=Backoff(Uniform(0.0)), log=log, policy=policy)
    return Bench(forwarder, sink, outbox, clock, log)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    task = asyncio.ensure_future(bench.forwarder.run())
    await settle()
    yield
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome


async def test_i6_what_was_late_at_the_connect_is_history_and_what_comes_goes_beside_it() -> None:
    bench = make(window=4)
    bench.sink.acknowledges_itself = False
    await bench.produce(20)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        await bench.produce(1)
        assert bench.sink.live == [21]
        assert bench.sink.historical == [1, 2]
        for _ in range(40):
            await bench.acknowledge_all()
    assert bench.sink.historical == list(range(1, 21))
    assert bench.sink.live == [21]
    assert bench.outbox.counts().stored == 0
    assert bench.log.lines[0] == "20 seqs are late and go as history beside what is live"
    assert "history is delivered" in bench.log.lines
    assert (bench.forwarder.historical, bench.forwarder.acknowledged) == (20, 21)


async def test_a_gap_that_tells_no_time_does_not_make_what_follows_it_live() -> None:
    bench = make()
    bench.outbox = MemoryOutbox({"broker": TELEMETRY}, Limits(max_bytes=5), bench.clock)
    bench.forwarder._outbox = bench.outbox
    await bench.produce(8)
    await bench.clock.advance(LATE_S)
    assert bench.outbox.read(0, 1, TELEMETRY)[0].at_ns == 0
    async with running(bench):
        await bench.produce(1)
    assert bench.sink.historical == [3, 4, 5, 6, 7, 8]
    assert bench.sink.live == [9]


async def test_after_a_break_fences_of_the_connection_before_are_gone() -> None:
    bench = make(window=4)
    bench.sink.acknowledges_itself = False
    await bench.produce(6)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        assert bench.outbox._floors._fences["broker"]
        bench.sink.open_answers = [SinkUnreachable("nobody")]
        bench.sink.fail(SinkUnreachable("broken"))
        await settle()
        await bench.outbox.acknowledge("broker", 6)
        await bench.clock.advance(LATE_S)
        assert bench.outbox._floors._fences["broker"] == frozenset()


async def test_a_short_hiccup_splits_nothing_and_marks_nothing() -> None:
    bench = make()
    await bench.produce(5)
    await bench.clock.advance(0.9)
    async with running(bench):
        await bench.produce(1)
    assert bench.sink.live == [1, 2, 3, 4, 5, 6]
    assert bench.sink.historical == []


async def test_without_a_policy_everything_goes_in_one_order_however_late() -> None:
    bench = make()
    bench.forwarder = Forwarder(bench.outbox, bench.sink, clock=bench.clock, backoff=Backoff(Uniform(0.0)), log=bench.log)
    await bench.produce(5)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        await bench.produce(1)
    assert bench.sink.live == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("back_s", [86_400.0, -86_400.0])
async def test_a_clock_that_was_set_by_a_day_does_not_make_the_backlog_live(back_s: float) -> None:
    bench = make()
    await bench.produce(5)
    bench.clock.set_wall_back(back_s)
    async with running(bench):
        await bench.produce(1)
    assert bench.sink.historical == [1, 2, 3, 4, 5]
    assert bench.sink.live == [6]


async def test_a_slow_broker_turns_what_waits_too_long_into_history_and_live_jumps_on() -> None:
    bench = make(window=4)
    bench.sink.acknowledges_itself = False
    async with running(bench):
        await bench.produce(10)
        assert bench.sink.live == [1, 2, 3, 4]
        await bench.clock.advance(LATE_S)
        bench.sink.acknowledge(1)
        await settle()
        assert bench.sink.historical == [5]
        await bench.produce(1)
        bench.sink.acknowledge(2, 3)
        await settle()
        assert bench.sink.live == [1, 2, 3, 4, 11]
        for _ in range(20):
            await bench.acknowledge_all()
    assert bench.sink.historical == [5, 6, 7, 8, 9, 10]
    assert bench.outbox.acknowledged("broker") == ((1, 11),)


@pytest.mark.parametrize(("share", "history", "live"), [(0.5, 5, 5), (0.2, 2, 8), (0.9, 9, 1)])
async def test_the_window_is_shared_as_said_while_there_is_history(share: float, history: int, live: int) -> None:
    bench = make(window=10, share=share)
    bench.sink.acknowledges_itself = False
    await bench.produce(50)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        await bench.produce(50)
        assert (len(bench.sink.historical), len(bench.sink.live)) == (history, live)
        assert bench.sink.most_in_flight == 10


async def test_a_window_of_one_goes_to_the_lanes_in_turn() -> None:
    bench = make(window=1)
    bench.sink.acknowledges_itself = False
    await bench.produce(3)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        await bench.produce(3)
        for _ in range(6):
            await bench.acknowledge_all()
    assert bench.sink.most_in_flight == 1
    assert [record.seq for record in bench.sink.sent] == [1, 4, 2, 5, 3, 6]


async def test_newest_first_sends_slices_newest_first_and_ascending_within() -> None:
    bench = make(window=4, drain=Drain.NEWEST_FIRST)
    await bench.produce(7)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        pass
    assert bench.sink.historical == [6, 7, 4, 5, 2, 3, 1]
    assert bench.outbox.counts().stored == 0


async def test_interleaved_sends_a_slice_from_each_end_in_turn() -> None:
    bench = make(window=4, drain=Drain.INTERLEAVED)
    await bench.produce(9)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        pass
    assert bench.sink.historical == [1, 2, 8, 9, 3, 4, 6, 7, 5]


@pytest.mark.parametrize("drain", list(Drain))
async def test_i6_space_comes_free_while_history_drains_whatever_the_order(drain: Drain) -> None:
    bench = make(window=4, drain=drain)
    bench.sink.acknowledges_itself = False
    await bench.produce(40)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        stored = []
        for _ in range(5):
            await bench.acknowledge_all()
            stored.append(bench.outbox.counts().stored)
    assert stored == sorted(stored, reverse=True)
    assert stored[0] < 40


async def test_history_goes_in_small_slices_whatever_the_window() -> None:
    bench = make(window=1000)
    sizes: list[int] = []
    send = bench.sink.send

    def counting(records: object, *, historical: bool = False) -> None:
        sizes.append(len(records))  # type: ignore[arg-type]
        send(records, historical=historical)  # type: ignore[arg-type]

    bench.sink.send = counting  # type: ignore[method-assign]
    await bench.produce(300)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        pass
    assert sum(sizes) == 300
    assert max(sizes) == SLICE


async def test_after_a_break_what_neither_lane_had_acknowledged_is_sent_again() -> None:
    bench = make(window=4)
    bench.sink.acknowledges_itself = False
    await bench.produce(6)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        await bench.produce(2)
        assert (bench.sink.historical, bench.sink.live) == ([1, 2], [7, 8])
        bench.sink.acknowledge(1, 7)
        await settle()
        bench.sink.fail(SinkUnreachable("broken"))
        await bench.clock.advance(LATE_S)
        bench.sink.sent.clear()
        bench.sink.acknowledges_itself = True
        await bench.acknowledge_all()
    assert 1 not in [record.seq for record in bench.sink.sent]
    assert 7 not in [record.seq for record in bench.sink.sent]
    assert bench.outbox.acknowledged("broker") == ((1, 8),)


async def test_what_the_outbox_forgot_of_too_many_ranges_is_sent_again_without_a_reconnect() -> None:
    bench = make(window=4, others=True)
    await bench.produce(3)
    async with running(bench):
        await bench.produce(3)
        bench.outbox._floors._acknowledged["broker"] = ((1, 2), (5, 6))
        await bench.produce(1)
        await bench.clock.advance(0.1)
    assert bench.sink.historical == [3, 4]
    assert bench.outbox.acknowledged("broker") == ((1, 7),)


async def test_a_record_refused_in_history_is_set_aside_and_the_rest_flows() -> None:
    bench = make()
    bench.sink.reject[2] = "malformed: no such field"
    await bench.produce(3)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        pass
    assert dict(bench.outbox.counts().dropped) == {"malformed": 1}
    assert bench.outbox.counts().stored == 0


async def test_the_depths_of_both_lanes_are_told_and_draining_waits_for_both() -> None:
    bench = make(window=4)
    bench.sink.acknowledges_itself = False
    await bench.produce(10)
    assert bench.forwarder.lane_depths() == (10, 0)
    await bench.clock.advance(LATE_S)
    async with running(bench):
        await bench.produce(3)
        assert bench.forwarder.lane_depths() == (3, 10)
        assert [record.seq for record in bench.forwarder.waiting(2)] == [1, 2]
        drained = asyncio.ensure_future(bench.forwarder.drained())
        bench.sink.acknowledge(11, 12)
        await settle()
        assert bench.forwarder.lane_depths() == (1, 10)
        assert not drained.done()
        for _ in range(20):
            await bench.acknowledge_all()
        assert drained.done()
    assert bench.forwarder.lane_depths() == (0, 0)


@pytest.mark.parametrize("drain", list(Drain))
@pytest.mark.parametrize("seed", range(8))
async def test_i3_and_i6_whatever_breaks_each_record_arrives_and_each_lane_keeps_its_order(seed: int, drain: Drain) -> None:
    chance = random.Random(seed)
    bench = make(window=6, share=0.4, drain=drain)
    bench.sink.acknowledges_itself = False
    async with running(bench):
        for _ in range(80):
            move = chance.random()
            if move < 0.4:
                await bench.produce(chance.randint(1, 5))
            elif move < 0.85 and bench.sink.in_flight:
                bench.sink.acknowledge(chance.choice(bench.sink.in_flight))
            elif move > 0.95:
                bench.sink.fail(SinkUnreachable("broken"))
            await bench.clock.advance(chance.choice([0.05, 0.2, 1.5]))
        bench.sink.acknowledges_itself = True
        bench.sink.acknowledge(*list(bench.sink.in_flight))
        await bench.clock.advance(60)
    produced = bench.outbox.counts().produced
    assert {record.seq for record in bench.sink.sent} == set(range(1, produced + 1))
    assert bench.outbox.counts().stored == 0
    assert bench.sink.most_in_flight <= 6
    first_lane = dict(reversed(bench.sink.handed_over))
    for is_historical in (False, True) if drain is Drain.OLDEST_FIRST else (False,):
        lane = [seq for seq, historical in bench.sink.handed_over if historical is is_historical is first_lane[seq]]
        first_times = list(dict.fromkeys(lane))
        assert first_times == sorted(first_times)
    assert bench.outbox._floors._fences["broker"] == frozenset()


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), min_size=1, max_size=8), st.sampled_from(list(Drain)), st.randoms()
)
def test_a_history_sends_each_seq_once_and_acknowledges_each_once(
    spans: list[tuple[int, int]], drain: Drain, chance: random.Random
) -> None:
    late: ranges.Ranges = ()
    for first, more in spans:
        late = ranges.add(late, first, first + more)
    history = History(drain)
    history.add(late)
    sent: list[int] = []
    done: ranges.Ranges = ()
    while not history.is_empty:
        if history.pending and chance.random() < 0.5:
            (first, last), newest = history.next_span()
            size = min(chance.randint(1, 4), last - first + 1)
            after, through = (last - size, last) if newest else (first - 1, first + size - 1)
            history.sent(after, through, seqs := list(range(after + 1, through + 1)))
            sent += seqs
        elif on_way := [seq for seq in sent if history.has(seq)]:
            assert history.settle([chance.choice(on_way)]) == 1
            for after, through in history.take_done():
                done = ranges.add(done, after + 1, through)
                assert not any(history.has(seq) for seq in range(after + 1, through + 1))
    assert sorted(sent) == [seq for first, last in late for seq in range(first, last + 1)]
    assert done == late


def test_spans_that_wait_stay_few_and_none_that_is_on_its_way_is_joined() -> None:
    history = History(Drain.NEWEST_FIRST)
    spans = [(10 * n + 1, 10 * n + 5) for n in range(ranges.MOST)]
    history.add(tuple(spans))
    history.add(((2001, 2005),), on_way=tuple((last + 1, last + 5) for _, last in spans if last != 45))
    assert len(history.pending) == ranges.MOST
    assert (41, 55) in history.pending
    history.add(((3001, 3005),), on_way=((1, 3000),))
    assert len(history.pending) == ranges.MOST + 1


async def test_a_broker_that_never_keeps_up_makes_no_endless_list_and_loses_nothing() -> None:
    bench = make(window=2)
    bench.sink.acknowledges_itself = False
    async with running(bench):
        for _ in range(3 * ranges.MOST):
            await bench.produce(4)
            await bench.clock.advance(1.5)
            is_historical = dict(bench.sink.handed_over)
            bench.sink.acknowledge(*[seq for seq in bench.sink.in_flight if not is_historical[seq]])
            await settle()
        assert len(bench.forwarder._history.pending) <= ranges.MOST + 2
        assert len(bench.outbox.acknowledged("broker")) <= ranges.MOST
        bench.sink.acknowledges_itself = True
        await bench.acknowledge_all()
        for _ in range(100):
            await settle()
    assert bench.outbox.counts().stored == 0
    assert {record.seq for record in bench.sink.sent} == set(range(1, 12 * ranges.MOST + 1))


def test_a_lane_that_has_sent_nothing_of_a_span_is_done_with_it_at_once() -> None:
    lane = Lane()
    lane.hand_over(0, 7, [])
    assert (list(lane.take_done()), lane.begins_after) == ([(0, 7)], None)


@pytest.mark.parametrize("window", [1, 2, 3, 100])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_each_lane_may_have_something_on_its_way(window: int, share: float) -> None:
    live, history = LanePolicy(share=share).quotas(window)
    assert min(live, history) >= 1
    assert live + history <= max(window, 2)
