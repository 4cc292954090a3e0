"""The gateway's own driver, poller, filter and outbox against the plant's devices, in one process and in virtual time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from drivers.base import DevicePlan, Driver
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.settings import ModbusSettings
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.settings import OpcuaSettings
from drivers.registry import compile_plan
from gateway.backoff import Backoff
from gateway.intake import Intake
from gateway.log import Log
from gateway.outbox.base import RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.poller import Poller
from gateway.processing.plan import make_filter
from gateway.sinks.payload import Messages
from gateway.storage import Storage
from simulators.ledger import FaultRecord, Ledger, read_faults
from simulators.modbus_plant import make_devices, prepare_ways, read_recordings, serving_modbus
from simulators.opcua.bench import BenchServer
from simulators.plant.bench import Bench
from simulators.plant.meter import BenchLoad
from simulators.plant.signals import COLUMNS, SeededSignals
from simulators.registers import METER_MAP
from simulators.settings import PlantSettings
from simulators.verdict import Verdict
from simulators.verification import verify
from simulators.virtual_time import VirtualLoop, run
from tests.simulators.lab import pass_time

HEARTBEAT_S = 60.0
_MINUTE_S = 60.0
MESSAGES = (
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, received_ns INTEGER, gateway TEXT, epoch TEXT, seq INTEGER,"
    " device TEXT, payload TEXT)"
)
"""What a subscriber writes into."""
AnyDevice = ModbusSettings | OpcuaSettings
_KINDS = frozenset({RecordKind.TELEMETRY})
_PRESS_TAGS = [
    {"name": "light_red", "area": "discrete_input", "address": 0},
    {"name": "light_yellow", "area": "discrete_input", "address": 1},
    {"name": "light_green", "area": "discrete_input", "address": 2},
    {"name": "door_open", "area": "discrete_input", "address": 3},
    {"name": "pulses", "area": "input_register", "address": 0, "type": "uint32"},
    {"name": "current", "area": "input_register", "address": 2, "scale": 0.01},
]
_METER_TAGS = [
    {"name": point.tag, "area": "holding_register", "address": point.address, "type": "float32", "order": "CDAB"}
    for point in METER_MAP.points
]
PRESS: dict[str, Any] = {"name": "press", "tags": _PRESS_TAGS}
METER: dict[str, Any] = {"name": "meter", "tags": _METER_TAGS}
ABSENT: dict[str, Any] = {
    "name": "absent",
    "at": "press",
    "unit": 9,
    "tags": [{"name": "nothing", "area": "holding_register", "address": 0}],
}
"""A unit that isn't there, behind the address of the press."""
BENCH: dict[str, Any] = {
    "name": "bench",
    "driver": "opcua",
    "security": "none",
    "publishing_interval_ms": 100,
    "tags": [{"name": tag, "node": f"nsu=urn:mumian:plant;s=bench.{tag}"} for tag in COLUMNS],
}


class LoopClock:
    """The gateway's clock on a virtual loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        return self._loop.clock_ns()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep_until(self, when: float) -> None:
        await pass_time(max(when - self._loop.time(), 0.0))

    def timeout_at(self, when: float) -> asyncio.Timeout:
        return asyncio.timeout_at(when)


@dataclass(frozen=True)
class Run:
    """What came of it."""

    verdict: Verdict
    faults: list[FaultRecord]
    ledger: list[str]


def run_gateway(
    folder: Path,
    faults: list[dict[str, Any]],
    seconds: float,
    *,
    period_ms: int = 500,
    devices: Sequence[dict[str, Any]] = (PRESS, METER),
    watch: Callable[[], None] | None = None,
    **changes: Any,
) -> Run:
    """A gateway reads Modbus devices for so long, then everything is verified.

    Args:
        devices: settings of the gateway's devices, with their own period if they say so; `at` names the plant's way to one, where
            that isn't its name.
        watch: called at each full minute, when all that was recorded so far is in the ledger's file.
        changes: settings of the plant.
    """
    ledger, delivered = folder / "ledger.db", folder / "delivered.db"
    plant = PlantSettings.model_validate({"faults": faults, "patience_s": 0.8, "ledger": ledger, **changes})

    async def main(loop: VirtualLoop) -> None:
        with Ledger(ledger, plant.seed, clock=loop.clock_ns) as book, closing(sqlite3.connect(delivered)) as received:
            served = make_devices(plant, BenchLoad(), book, loop.clock_ns, recordings=read_recordings(plant))
            async with AsyncExitStack() as stack:
                addresses = await stack.enter_async_context(serving_modbus(plant, served, prepare_ways(plant)))
                if BENCH in devices:
                    addresses["bench"] = await stack.enter_async_context(_serving_bench(plant, book, loop))
                settings = [_settings(device, addresses, period_ms) for device in devices]
                await collect(loop, settings, received, seconds, _minutely(book, received, watch))
            received.commit()

    run(main)
    with closing(sqlite3.connect(ledger)) as database:
        dumped = list(database.iterdump())
    return Run(verify(ledger, delivered, {}), read_faults(ledger), dumped)


@asynccontextmanager
async def _serving_bench(plant: PlantSettings, book: Ledger, loop: VirtualLoop) -> AsyncIterator[str]:
    """The bench, and somebody who takes its parts."""
    program = Bench(plant.seed, SeededSignals(plant.seed), round(plant.sample_s * 1e9), round(plant.cycle_s * 1e9), 1)
    server = BenchServer(program, book, loop.clock_ns, lambda _ns, _on: None)
    address = f"opc.tcp://127.0.0.1:{await server.start('127.0.0.1', 0)}"
    tasks = [asyncio.create_task(server.run()), asyncio.create_task(_take_parts(loop, address))]
    try:
        yield address
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop()
        assert [type(result) for result in ended] == [asyncio.CancelledError] * len(tasks), ended


async def _take_parts(loop: VirtualLoop, address: str) -> None:
    tags = [
        {"name": "cycle_complete", "node": "nsu=urn:mumian:plant;s=bench.cycle_complete", "type": "bool"},
        {"name": "cycle_ack", "node": "nsu=urn:mumian:plant;s=bench.cycle_ack", "type": "bool", "access": "read_write"},
    ]
    settings = OpcuaSettings.model_validate({**BENCH, "endpoint": address, "tags": tags})
    plan = compile_plan(settings)
    driver = OpcuaDriver(settings, plan, clock_ns=loop.clock_ns)
    await driver.connect()
    try:
        while True:
            (frame,) = await driver.read(plan.scans[0].plan)
            await driver.write(1, bool(frame.values[0]))
            await pass_time(0.5)
    finally:
        await driver.close()


def _settings(device: dict[str, Any], addresses: dict[str, str], period_ms: int) -> AnyDevice:
    own = {key: value for key, value in device.items() if key != "at"}
    address = addresses[device.get("at", device["name"])]
    if device.get("driver") == "opcua":
        return OpcuaSettings.model_validate({"endpoint": address, **own})
    return ModbusSettings.model_validate(
        {"driver": "modbus", "address": address, "period_ms": period_ms, "timeout_ms": 1000, **own}
    )


def _minutely(book: Ledger, received: sqlite3.Connection, watch: Callable[[], None] | None) -> Callable[[], None]:
    def minute() -> None:
        if watch is not None:
            received.commit()
            book.sync()
            watch()

    return minute


async def collect(
    loop: VirtualLoop, devices: Sequence[AnyDevice], received: sqlite3.Connection, seconds: float, minute: Callable[[], None]
) -> None:
    outbox = MemoryOutbox({"test": _KINDS})
    clock = LoopClock(loop)
    storage = Storage(outbox, clock, Log("outbox"))
    random = Random(7)
    tasks = [asyncio.create_task(_deliver(loop, outbox, received))]
    for place, settings in enumerate(devices):
        plan = compile_plan(settings)
        driver = _driver(loop, settings, plan)
        intake = Intake(plan.tags, make_filter(plan.tags, settings.tags, HEARTBEAT_S), storage, [])
        poller = Poller(
            plan,
            driver,
            intake,
            clock=clock,
            backoff=Backoff(random.uniform),
            log=Log("device", device=settings.name),
            place=place,
        )
        tasks.append(asyncio.create_task(poller.run()))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, tasks)
        while (left_s := seconds - loop.time()) > 0:
            await pass_time(min(left_s, _MINUTE_S))
            minute()
        assert not [task.result() for task in tasks if task.done()]


def _driver(loop: VirtualLoop, settings: AnyDevice, plan: DevicePlan) -> Driver:
    if isinstance(settings, OpcuaSettings):
        return OpcuaDriver(settings, plan, clock_ns=loop.clock_ns)
    return ModbusDriver(settings, clock_ns=loop.clock_ns, monotonic_ns=lambda: round(loop.time() * 1e9))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)
    await pass_time(1)  # What is stored is delivered.
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)


async def _deliver(loop: VirtualLoop, outbox: MemoryOutbox, received: sqlite3.Connection) -> None:
    """A subscriber that gets everything, in order."""
    received.execute(MESSAGES)
    messages = Messages("g", "epoch", "{device}", outbox.note)
    while True:
        await outbox.wait(outbox.cursor("test"), _KINDS)
        for record in outbox.read(outbox.cursor("test"), 1000, _KINDS):
            ((topic, payload),) = messages(record)
            row = (loop.clock_ns(), "g", "epoch", record.seq, topic, payload.decode())
            received.execute(
                "INSERT INTO messages (received_ns, gateway, epoch, seq, device, payload) VALUES (?, ?, ?, ?, ?, ?)", row
            )
            await outbox.acknowledge("test", record.seq)
