"""One device's task, on a fake clock, with a scripted device and the outbox in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from drivers.errors import DeviceMisbehaved, DeviceRefused, DeviceUnreachable
from drivers.model import Frame, Kind
from drivers.status import Status
from gateway.backoff import Backoff
from gateway.filter import Filter
from gateway.intake import Intake
from gateway.outbox.base import OutboxFailed, OutboxFull, RecordKind
from gateway.outbox.codec import decode_record, decode_table, table_key
from gateway.outbox.memory import MemoryOutbox
from gateway.poller import DEADLINE_S, DeviceState, Poller
from gateway.storage import Storage
from tests.gateway.fakes import (
    NS,
    FakeClock,
    MemoryLog,
    ScriptedDriver,
    ScriptedSubscriber,
    Uniform,
    device_plan,
    frame,
    settle,
    table,
)

TABLE = table(("speed", Kind.FLOAT), ("pulses", Kind.INT))
HEARTBEAT_S = 60
TELEMETRY = frozenset({RecordKind.TELEMETRY})


@dataclass
class Bench:
    """A poller and what surrounds it."""

    poller: Poller
    driver: ScriptedDriver
    outbox: MemoryOutbox
    clock: FakeClock
    log: MemoryLog
    storage: Storage

    def stored(self) -> list[list[tuple[str, object, int]]]:
        """Each record as (tag, value, status)."""
        records = []
        for record in self.outbox.read(0, 10_000, TELEMETRY):
            telemetry = decode_record(record.payload, lambda digest: decode_table(self.outbox.note(table_key(digest)) or b""))
            records.append([reading for one in telemetry.frames for reading in readings(one, telemetry.table.names)])
        return records


def readings(one: Frame, names: Sequence[str]) -> list[tuple[str, object, int]]:
    values = one.values if isinstance(one.values, list) else one.values.tolist()
    status = one.status.tolist()
    return [(names[tag], values[n] if not status[n] else None, status[n]) for n, tag in enumerate(one.tags.tolist())]


def make(
    driver: ScriptedDriver, period_s: float = 1.0, outbox: MemoryOutbox | None = None, clock: FakeClock | None = None
) -> Bench:
    clock = clock or FakeClock()
    log = MemoryLog()
    outbox = outbox or MemoryOutbox({"broker": TELEMETRY})
    storage = Storage(outbox, clock, log)
    report = Filter(TABLE, np.zeros(2), np.full(2, HEARTBEAT_S * NS, np.int64))
    intake = Intake(TABLE, report, storage, [])
    plan = device_plan(TABLE, period_s, subscribed=isinstance(driver, ScriptedSubscriber))
    poller = Poller(plan, driver, intake, clock=clock, backoff=Backoff(Uniform(0.0)), log=log)
    return Bench(poller, driver, outbox, clock, log, storage)


@asynccontextmanager
async def running(*benches: Bench) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(bench.poller.run()) for bench in benches]
    await settle()
    yield
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


def counting(driver: ScriptedDriver, clock: FakeClock) -> None:
    """Each read gives its own number as speed."""

    original = driver.read

    async def read(plan: object) -> list[Frame]:
        driver.frames = [frame([0], [float(driver.reads + 1)], clock.now_ns())]
        return await original(plan)  # type: ignore[arg-type]

    driver.read = read  # type: ignore[method-assign]


async def test_a_device_is_polled_at_its_period_and_each_poll_is_one_record() -> None:
    bench = make(ScriptedDriver())
    counting(bench.driver, bench.clock)
    async with running(bench):
        await bench.clock.advance(3)
    assert bench.stored() == [[("speed", float(n), 0)] for n in (1, 2, 3, 4)]
    assert bench.poller.state is DeviceState.ONLINE


class HeldOutbox(MemoryOutbox):
    """Stores only when told to."""

    def __init__(self) -> None:
        super().__init__({"broker": TELEMETRY})
        self.free = asyncio.Event()
        self.free.set()
        self.waiting = 0

    async def append(self, entries: object, notes: object = None) -> range:
        self.waiting += 1
        is_cancelled = False
        while not self.free.is_set():
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                is_cancelled = True
        self.waiting -= 1
        span = await super().append(entries, notes)  # type: ignore[arg-type]
        if is_cancelled and (task := asyncio.current_task()):
            task.cancel()
        return span


async def test_i1_a_poll_is_done_only_when_its_frames_are_on_disk() -> None:
    outbox = HeldOutbox()
    bench = make(ScriptedDriver(), outbox=outbox)
    counting(bench.driver, bench.clock)
    async with running(bench):
        outbox.free.clear()
        await bench.clock.advance(5)
        assert (bench.driver.reads, outbox.waiting) == (2, 1)
        outbox.free.set()
        await bench.clock.advance(0)
        assert bench.driver.reads == 3
    assert bench.poller.timetable.skipped == 3


async def test_a_stop_in_mid_commit_waits_for_the_commit() -> None:
    outbox = HeldOutbox()
    bench = make(ScriptedDriver(), outbox=outbox)
    counting(bench.driver, bench.clock)
    outbox.free.clear()
    task = asyncio.ensure_future(bench.poller.run())
    await settle()
    assert outbox.waiting == 1
    task.cancel()
    await settle()
    assert not task.done()
    outbox.free.set()
    await asyncio.wait({task})
    assert len(bench.stored()) == 1
    assert bench.driver.closes >= 1


async def test_i7_no_fault_of_one_device_delays_another_devices_poll() -> None:
    clock = FakeClock()
    faults: list[Callable[[ScriptedDriver], None]] = [
        lambda driver: driver.read_answers.append(asyncio.Event()),
        lambda driver: driver.connect_answers.append(asyncio.Event()),
        lambda driver: driver.connect_answers.append(DeviceUnreachable("away")),
        lambda driver: driver.connect_answers.append(DeviceRefused("no")),
        lambda driver: driver.read_answers.append(DeviceMisbehaved("nonsense")),
    ]
    healthy = make(ScriptedDriver(), period_s=0.1, clock=clock)
    benches = [make(ScriptedDriver(), clock=clock, outbox=healthy.outbox) for _ in faults]
    for fault, bench in zip(faults, benches, strict=True):
        fault(bench.driver)
    async with running(healthy, *benches):
        await clock.advance(2.05)
    assert healthy.driver.reads == 21
    assert (healthy.poller.timetable.late, healthy.poller.timetable.skipped) == (0, 0)


async def test_a_lost_device_is_said_once_reported_bad_once_and_said_once_when_it_is_back() -> None:
    bench = make(ScriptedDriver())
    counting(bench.driver, bench.clock)
    async with running(bench):
        await bench.clock.advance(10)
        bench.log.lines.clear()
        before = len(bench.stored())
        bench.driver.read_answers = [DeviceUnreachable("the cable is out")]
        bench.driver.connect_answers = [DeviceUnreachable("nobody")] * 3
        await bench.clock.advance(4)
        bad = Status.BAD_COMMUNICATION_ERROR
        assert bench.stored()[before] == [("speed", None, bad), ("pulses", None, bad)]
        assert bench.log.lines == ["lost: the cable is out", "back after 2.0 s"]
    assert bench.driver.connects == 5


async def test_what_a_driver_has_learnt_is_said_when_the_device_comes_back() -> None:
    driver = ScriptedDriver()
    vars(driver)["learnt"] = {"request_pause_ms": 40, "round_trip_ms": 12.5}
    bench = make(driver)
    counting(bench.driver, bench.clock)
    async with running(bench):
        await bench.clock.advance(3)
        assert bench.log.lines == ["online", "learnt: request_pause_ms 40, round_trip_ms 12.5"]
        assert bench.poller.learnt == {"request_pause_ms": 40, "round_trip_ms": 12.5}


async def test_a_device_that_was_never_there_is_reported_as_not_connected() -> None:
    bench = make(ScriptedDriver())
    bench.driver.connect_answers = [DeviceUnreachable("nobody")] * 100
    async with running(bench):
        await bench.clock.advance(5)
    bad = Status.BAD_NOT_CONNECTED
    assert bench.stored() == [[("speed", None, bad), ("pulses", None, bad)]]
    assert bench.log.lines == ["lost: nobody"]
    assert bench.poller.state is DeviceState.LOST


async def test_what_is_bad_is_reported_again_at_each_heartbeat() -> None:
    bench = make(ScriptedDriver())
    bench.driver.connect_answers = [DeviceUnreachable("nobody")] * 1000
    async with running(bench):
        await bench.clock.advance(3 * HEARTBEAT_S + 1)
    assert len(bench.stored()) == 4


async def test_the_first_attempt_after_a_loss_is_immediate_and_the_next_ones_wait() -> None:
    bench = make(ScriptedDriver())
    async with running(bench):
        await bench.clock.advance(10)
        bench.driver.read_answers = [DeviceUnreachable("gone")]
        bench.driver.connect_answers = [DeviceUnreachable("nobody")] * 3
        await bench.clock.advance(1)
        connects = [bench.driver.connects]
        for _ in range(3):
            await bench.clock.advance(0.5)
            connects.append(bench.driver.connects)
    assert connects == [2, 3, 4, 5]


async def test_a_link_that_breaks_at_once_again_and_again_is_not_hammered() -> None:
    bench = make(ScriptedDriver())
    bench.driver.read_answers = [DeviceUnreachable("flapping")] * 1000
    async with running(bench):
        await bench.clock.advance(10)
    assert bench.driver.connects <= 21


async def test_a_device_that_refuses_is_said_once_and_left_alone_for_long() -> None:
    bench = make(ScriptedDriver())
    bench.driver.connect_answers = [DeviceRefused("bad password")] * 100
    async with running(bench):
        await bench.clock.advance(59)
        assert bench.driver.connects == 1
        await bench.clock.advance(300)
    assert bench.driver.connects <= 7
    assert bench.log.lines == ["refused: bad password"]
    assert bench.poller.state is DeviceState.REFUSED


async def test_a_driver_that_never_answers_is_given_up_at_the_deadline() -> None:
    bench = make(ScriptedDriver())
    bench.driver.read_answers = [asyncio.Event()]
    async with running(bench):
        await bench.clock.advance(DEADLINE_S + 3)
        assert bench.driver.closes == 1
        assert bench.log.lines == [f"lost: no answer within {DEADLINE_S:g} s", "back after 1.0 s"]


async def test_a_full_disk_keeps_the_reading_and_says_so_once() -> None:
    bench = make(ScriptedDriver())
    counting(bench.driver, bench.clock)
    async with running(bench):
        bench.outbox.refusal = OutboxFull("no space")
        await bench.clock.advance(5)
        assert bench.driver.reads == 2
        assert bench.log.lines == ["online", "storage is full, readings wait: no space"]
        bench.outbox.refusal = None
        await bench.clock.advance(1)
    assert bench.stored()[:2] == [[("speed", 1.0, 0)], [("speed", 2.0, 0)]]
    assert "storage has space again" in bench.log.lines


async def test_a_reading_that_could_not_be_stored_counts_as_unreported() -> None:
    bench = make(ScriptedDriver())
    bench.outbox.refusal = OutboxFull("no space")
    bench.storage.give_up()
    intake = bench.poller._intake
    with pytest.raises(OutboxFull):
        await intake.take([frame([0], [1.0])])
    bench.outbox.refusal = None
    await intake.take([frame([0], [1.0])])
    assert bench.stored() == [[("speed", 1.0, 0)]]


async def test_failed_storage_ends_the_task() -> None:
    bench = make(ScriptedDriver())
    counting(bench.driver, bench.clock)
    bench.outbox.refusal = OutboxFailed("EIO")
    with pytest.raises(OutboxFailed, match="EIO"):
        await bench.poller.run()
    assert bench.driver.closes == 1


async def test_unchanged_readings_cost_no_record() -> None:
    bench = make(ScriptedDriver())
    bench.driver.frames = [frame([0], [1.0]), frame([1], [7], dtype=np.int64)]
    async with running(bench):
        await bench.clock.advance(10)
    assert bench.stored() == [[("speed", 1.0, 0), ("pulses", 7, 0)]]
    assert bench.poller.readings == 22


async def test_a_notification_is_acknowledged_only_when_it_is_on_disk() -> None:
    outbox = HeldOutbox()
    driver = ScriptedSubscriber()
    bench = make(driver, outbox=outbox)
    async with running(bench):
        outbox.free.clear()
        driver.push(frame([0], [1.0]), receipt="first")
        await settle()
        assert (outbox.waiting, driver.receipts) == (1, [])
        outbox.free.set()
        await settle()
        assert driver.receipts == ["first"]


async def test_a_tag_that_changed_twice_is_in_two_records_in_order() -> None:
    driver = ScriptedSubscriber()
    bench = make(driver)
    async with running(bench):
        driver.push(frame([0], [1.0]), frame([1], [7], dtype=np.int64), frame([0], [2.0]), receipt=1)
        await settle()
    assert bench.stored() == [[("speed", 1.0, 0), ("pulses", 7, 0)], [("speed", 2.0, 0)]]


async def test_a_lost_subscription_is_made_anew() -> None:
    driver = ScriptedSubscriber()
    bench = make(driver)
    async with running(bench):
        driver.push(frame([0], [1.0]), receipt=1)
        await bench.clock.advance(10)
        driver.notifications.put_nowait(DeviceUnreachable("no keep-alive"))
        await settle()
        driver.push(frame([0], [1.0]), receipt=2)
        await settle()
    assert (driver.connects, driver.subscriptions, driver.receipts) == (2, 2, [1, 2])
    bad = Status.BAD_COMMUNICATION_ERROR
    assert bench.stored() == [[("speed", 1.0, 0)], [("speed", None, bad), ("pulses", None, bad)], [("speed", 1.0, 0)]]


async def test_a_tag_that_the_server_refuses_is_bad_and_the_rest_flows() -> None:
    driver = ScriptedSubscriber()
    driver.refused = [frame([1], [0], status=[Status.BAD_NODE_ID_UNKNOWN], dtype=np.int64)]
    bench = make(driver)
    async with running(bench):
        driver.push(frame([0], [1.0]), receipt=1)
        await settle()
    assert bench.stored() == [[("pulses", None, Status.BAD_NODE_ID_UNKNOWN)], [("speed", 1.0, 0)]]


async def test_what_a_device_does_not_push_is_reported_again_at_its_heartbeat() -> None:
    driver = ScriptedSubscriber()
    bench = make(driver)
    async with running(bench):
        driver.push(frame([0], [1.0], bench.clock.now_ns(), source_ns=[5]), receipt=1)
        await bench.clock.advance(HEARTBEAT_S - 2)
        assert len(bench.stored()) == 1
        await bench.clock.advance(3)
    assert bench.stored() == [[("speed", 1.0, 0)], [("speed", 1.0, 0)]]


async def test_a_plan_that_mixes_polled_and_pushed_tags_is_refused() -> None:
    bench = make(ScriptedDriver())
    polled, pushed = device_plan(TABLE), device_plan(TABLE, subscribed=True)
    mixed = type(polled)(TABLE, polled.scans + pushed.scans)
    with pytest.raises(ValueError, match="mixes"):
        Poller(mixed, bench.driver, bench.poller._intake, clock=bench.clock, backoff=Backoff(Uniform()), log=bench.log)
