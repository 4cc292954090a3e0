from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from gateway.backoff import Backoff
from gateway.forwarder import Forwarder, SinkState
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.sinks.base import SinkRefused, SinkUnreachable
from tests.gateway.fakes import FakeClock, MemoryLog, MemorySink, Uniform, settle

TELEMETRY = frozenset({RecordKind.TELEMETRY})
PRODUCTS = frozenset({RecordKind.PRODUCT})


@dataclass
class Bench:
    forwarder: Forwarder
    sink: MemorySink
    outbox: MemoryOutbox
    clock: FakeClock
    log: MemoryLog

    async def produce(self, count: int, kind: RecordKind = RecordKind.TELEMETRY) -> None:
        await self.outbox.append([Entry(kind, b"x", 1)] * count)
        await settle()

    @property
    def sent(self) -> list[int]:
        return [record.seq for record in self.sink.sent]


def make(window: int = 10, outbox: MemoryOutbox | None = None, name: str = "broker") -> Bench:
    clock, log, sink = FakeClock(), MemoryLog(), MemorySink(name, window=window)
    outbox = outbox or MemoryOutbox({"broker": TELEMETRY, "node": PRODUCTS})
    return Bench(Forwarder(outbox, sink, clock=clock, backoff=Backoff(Uniform(0.0)), log=log), sink, outbox, clock, log)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    task = asyncio.ensure_future(bench.forwarder.run())
    await settle()
    yield
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome


async def test_what_is_stored_and_what_comes_is_sent_in_order_and_removed_when_acknowledged() -> None:
    bench = make()
    await bench.produce(3)
    async with running(bench):
        await bench.produce(2)
    assert bench.sent == [1, 2, 3, 4, 5]
    assert bench.outbox.cursor("broker") == 5
    assert bench.outbox.counts().stored == 0


async def test_never_more_than_the_window_is_in_flight() -> None:
    bench = make(window=3)
    bench.sink.acknowledges_itself = False
    await bench.produce(10)
    async with running(bench):
        assert bench.sent == [1, 2, 3]
        for seq in range(1, 11):
            bench.sink.acknowledge(seq)
            await settle()
    assert bench.sink.most_in_flight == 3
    assert bench.sent == list(range(1, 11))


async def test_the_cursor_moves_only_through_the_unbroken_run() -> None:
    bench = make()
    bench.sink.acknowledges_itself = False
    await bench.produce(5)
    async with running(bench):
        cursors = []
        for seq in (2, 1, 5, 4, 3):
            bench.sink.acknowledge(seq)
            await settle()
            cursors.append(bench.outbox.cursor("broker"))
    assert cursors == [0, 2, 2, 2, 5]


async def test_after_a_break_everything_from_the_cursor_on_is_sent_again() -> None:
    bench = make()
    bench.sink.acknowledges_itself = False
    await bench.produce(4)
    async with running(bench):
        bench.sink.acknowledge(1, 3)
        await settle()
        bench.sink.fail(SinkUnreachable("broken"))
        await bench.clock.advance(1)
    assert bench.sent == [1, 2, 3, 4, 2, 3, 4]


async def test_only_its_own_kinds_are_sent_and_the_others_stay() -> None:
    bench = make()
    await bench.produce(1)
    await bench.produce(1, RecordKind.PRODUCT)
    await bench.produce(1)
    async with running(bench):
        pass
    assert bench.sent == [1, 3]
    assert [record.seq for record in bench.outbox.read(0, 10, PRODUCTS)] == [2]


async def test_a_record_refused_for_ever_is_set_aside_counted_and_said_and_the_rest_flows() -> None:
    bench = make()
    bench.sink.reject[2] = "malformed: no such field"
    await bench.produce(3)
    async with running(bench):
        await bench.produce(1)
    assert bench.outbox.cursor("broker") == 4
    counts = bench.outbox.counts()
    assert (dict(counts.dropped), counts.removed, counts.stored) == ({"malformed": 1}, 3, 0)
    assert "record 2 is set aside: malformed: no such field" in bench.log.lines
    assert bench.forwarder.rejected == 1


async def test_a_sink_that_is_away_is_said_once_and_once_when_it_is_back() -> None:
    bench = make()
    await bench.produce(1)
    bench.sink.open_answers = [SinkUnreachable("nobody")] * 4
    async with running(bench):
        await bench.clock.advance(1.2)
        assert (bench.forwarder.state, bench.forwarder.trouble) == (SinkState.AWAY, "nobody")
        await bench.clock.advance(5)
    assert bench.log.lines == ["lost: nobody", "back after 2.0 s"]
    assert bench.forwarder.state is SinkState.ONLINE


async def test_a_sink_that_refuses_us_keeps_everything_and_is_tried_again_after_long() -> None:
    bench = make()
    await bench.produce(2)
    bench.sink.open_answers = [SinkRefused("bad token")] * 2
    async with running(bench):
        await bench.clock.advance(59)
        assert (bench.sink.opens, bench.forwarder.state) == (1, SinkState.REFUSED)
        assert bench.outbox.counts().stored == 2
        await bench.clock.advance(200)
    assert bench.log.lines[0] == "refused, nothing is dropped: bad token"
    assert len(bench.log.lines) == 2
    assert bench.sent == [1, 2]


async def test_a_broker_that_takes_the_connection_and_drops_it_at_once_is_not_hammered() -> None:
    bench = make()
    open_sink = bench.sink.open

    async def flapping() -> None:
        await open_sink()
        bench.sink.fail(SinkUnreachable("dropped"))

    bench.sink.open = flapping  # type: ignore[method-assign]
    await bench.produce(1)
    async with running(bench):
        await bench.clock.advance(10)
    assert bench.sink.opens <= 22


async def test_two_sinks_have_two_cursors_and_a_broken_one_holds_nobody_back() -> None:
    outbox = MemoryOutbox({"broker": TELEMETRY, "second": TELEMETRY})
    good, broken = make(outbox=outbox), make(outbox=outbox, name="second")
    broken.sink.open_answers = [SinkUnreachable("nobody")] * 100
    async with running(good), running(broken):
        await good.produce(3)
    assert (outbox.cursor("broker"), outbox.cursor("second")) == (3, 0)
    assert outbox.counts().stored == 3


async def test_draining_returns_when_everything_is_acknowledged() -> None:
    bench = make()
    bench.sink.acknowledges_itself = False
    await bench.produce(2)
    async with running(bench):
        drained = asyncio.ensure_future(bench.forwarder.drained())
        await settle()
        bench.sink.acknowledge(1)
        await settle()
        assert not drained.done()
        bench.sink.acknowledge(2)
        await settle()
        assert drained.done()


async def test_depth_counts_what_waits_those_in_flight_included() -> None:
    bench = make(window=2)
    bench.sink.acknowledges_itself = False
    async with running(bench):
        await bench.produce(5)
        assert (bench.forwarder.depth(), bench.forwarder.in_flight) == (5, 2)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_breaks_when_each_record_arrives_and_in_order_after_the_first_time(seed: int) -> None:
    """At least once, in order within a connection, nothing skipped."""
    import random

    chance = random.Random(seed)
    bench = make(window=4)
    bench.sink.acknowledges_itself = False
    async with running(bench):
        for _ in range(60):
            move = chance.random()
            if move < 0.4:
                await bench.produce(chance.randint(1, 3))
            elif move < 0.85 and bench.sink.in_flight:
                bench.sink.acknowledge(chance.choice(bench.sink.in_flight))
            elif move > 0.95:
                bench.sink.fail(SinkUnreachable("broken"))
            await bench.clock.advance(0.2)
        bench.sink.acknowledges_itself = True
        bench.sink.acknowledge(*list(bench.sink.in_flight))
        await bench.clock.advance(60)
    produced = bench.outbox.counts().produced
    assert list(dict.fromkeys(bench.sent)) == list(range(1, produced + 1))
    assert bench.outbox.counts().stored == 0
