"""The gateway's clock is set, or nobody keeps it right: noticed, counted, said once, marked on the data, nothing reordered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from drivers.model import Kind
from gateway.clock import STEP_MARK_S, ClockMark, ClockWatch, SystemClock, kernel_synchronised
from gateway.filter import Filter
from gateway.intake import Intake
from gateway.outbox.base import RecordKind
from gateway.outbox.codec import decode_record, encode_record, encode_table, table_digest
from gateway.outbox.memory import MemoryOutbox
from gateway.sinks.payload import Messages
from gateway.storage import Storage
from tests.gateway.fakes import NS, FakeClock, MemoryLog, frame, table

TABLE = table(("speed", Kind.FLOAT))
DAY_S = 86_400.0
KINDS = frozenset({RecordKind.TELEMETRY})


@dataclass
class Bench:
    """A device's intake under a watched clock."""

    clock: FakeClock
    log: MemoryLog
    watch: ClockWatch
    intake: Intake
    outbox: MemoryOutbox
    synchronised: bool | None = True

    async def take(self, value: float) -> None:
        await self.intake.take([frame([0], [value], self.clock.now_ns())])

    def messages(self) -> list[dict[str, object]]:
        encode = Messages("works", self.outbox.epoch, "t", self.outbox.note)
        return [msgspec.json.decode(encode(record)[0][1]) for record in self.outbox.read(0, 100, KINDS)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock, log, outbox = FakeClock(), MemoryLog(), MemoryOutbox({"broker": KINDS})
    await outbox.open()
    watch = ClockWatch(clock, log, synchronised=lambda: made.synchronised)
    report = Filter(TABLE, np.zeros(1), np.full(1, 3600 * NS, np.int64))
    intake = Intake(TABLE, report, Storage(outbox, clock, log), [], watch.look)
    made = Bench(clock, log, watch, intake, outbox)
    yield made
    await outbox.close()


@pytest.mark.parametrize("step_s", [-DAY_S, 400 * DAY_S, -1.5, 1.5])
async def test_a_step_is_marked_on_the_data_for_a_minute_counted_and_said_once(bench: Bench, step_s: float) -> None:
    await bench.take(1)
    bench.clock.set_wall_back(-step_s)
    await bench.take(2)
    await bench.clock.advance(STEP_MARK_S - 1)
    await bench.take(3)
    await bench.clock.advance(1)
    await bench.take(4)
    assert [message.get("clock") for message in bench.messages()] == [None, "stepped", "stepped", None]
    assert bench.watch.steps == 1
    assert bench.watch.last_step_s == pytest.approx(step_s)
    direction = "forward" if step_s > 0 else "back"
    assert bench.log.lines == [f"the clock was set {direction} by {abs(step_s):.3f} s; records are marked for 60 s"]


async def test_a_step_reorders_nothing(bench: Bench) -> None:
    for value in range(12):
        bench.clock.set_wall_back((-1) ** value * DAY_S * value)
        await bench.take(value)
    messages = bench.messages()
    assert [message["values"] for message in messages] == [{"speed": value} for value in range(12)]
    seqs = [message["seq"] for message in messages]
    assert seqs == sorted(set(map(int, map(str, seqs))))
    assert bench.watch.steps == 11


async def test_many_steps_within_a_minute_are_said_once(bench: Bench) -> None:
    for _ in range(30):
        bench.clock.set_wall_back(10)
        bench.watch.look()
        await bench.clock.advance(1)
    assert (bench.watch.steps, len(bench.log.lines)) == (30, 1)


async def test_a_clock_that_is_slewed_has_not_stepped_however_long_nobody_looked(bench: Bench) -> None:
    for hours in (1, 24, 1000):
        await bench.clock.advance(hours * 3600)
        bench.clock.set_wall_back(0.0005 * hours * 3600)
        assert bench.watch.look() == 0
    assert bench.watch.steps == 0


async def test_an_unsynchronised_clock_is_marked_until_it_is_synchronised(bench: Bench) -> None:
    for value, synchronised in enumerate((True, False, False, None, False, True)):
        bench.synchronised = synchronised
        await bench.clock.advance(20)
        await bench.take(value)
    marked = "unsynchronised"
    assert [message.get("clock") for message in bench.messages()] == [None, marked, marked, None, marked, None]
    lost = "the clock isn't synchronised; records are marked"
    assert bench.log.lines == [lost, lost, "the clock is synchronised"]


async def test_a_step_tells_more_than_an_unsynchronised_clock(bench: Bench) -> None:
    bench.synchronised = False
    bench.clock.set_wall_back(DAY_S)
    await bench.take(1)
    (record,) = bench.outbox.read(0, 1, KINDS)
    assert decode_record(record.payload, lambda _: TABLE).clock == ClockMark.STEPPED | ClockMark.UNSYNCHRONISED
    assert bench.messages()[0]["clock"] == "stepped"


@pytest.mark.parametrize("mark", range(4))
def test_the_marks_survive_the_record_and_change_nothing_else_of_it(mark: int) -> None:
    digest = table_digest(encode_table(TABLE))
    taken = frame([0], [1.5], status=[0x8000_0000], source_ns=[7])
    told = decode_record(encode_record(digest, [taken, taken], mark), lambda _: TABLE)
    assert told.clock == mark
    assert [one.values.tolist() for one in told.frames if isinstance(one.values, np.ndarray)] == [[1.5], [1.5]]
    assert [one.source_ns is not None and one.source_ns.tolist() for one in told.frames] == [[7], [7]]


def test_the_operating_systems_clock_is_watched_without_an_alarm_of_a_step() -> None:
    watch = ClockWatch(SystemClock(), MemoryLog())
    assert [watch.look() & ClockMark.STEPPED for _ in range(3)] == [0, 0, 0]
    assert watch.synchronised is kernel_synchronised()


@pytest.mark.parametrize("look_s", [0.02, 0.1, 5.0])
async def test_a_clock_that_runs_ten_times_as_fast_is_noticed_however_often_it_is_looked_at(bench: Bench, look_s: float) -> None:
    for _ in range(int(10 / look_s)):
        bench.clock.set_wall_back(-9 * look_s)
        await bench.clock.advance(look_s)
        bench.watch.look()
    assert bench.watch.steps > 0
    assert bench.watch.look() & ClockMark.STEPPED


@pytest.mark.parametrize("look_s", [0.02, 0.9, 30.0])
async def test_a_clock_that_is_slewed_is_never_taken_for_a_step(bench: Bench, look_s: float) -> None:
    for _ in range(2_000):
        bench.clock.set_wall_back(-0.0009 * look_s)
        await bench.clock.advance(look_s)
        bench.watch.look()
    assert bench.watch.steps == 0
