"""The real Modbus driver and poller against the plant's devices, in one process and in virtual time."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from drivers.modbus.driver import ModbusDriver
from drivers.modbus.settings import ModbusSettings
from drivers.registry import compile_plan
from gateway.assembly import make_filter
from gateway.backoff import Backoff
from gateway.intake import Intake
from gateway.log import Log
from gateway.outbox.base import RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.poller import Poller
from gateway.sinks.payload import Messages
from gateway.storage import Storage
from simulators.ledger import FaultRecord, Ledger, read_faults
from simulators.modbus_plant import make_devices, serving_modbus
from simulators.plant.meter import BenchLoad
from simulators.registers import METER_MAP
from simulators.settings import PlantSettings
from simulators.verification import Verdict, verify
from simulators.virtual_time import VirtualLoop, run
from tests.simulators.lab import pass_time

HEARTBEAT_S = 60.0
MESSAGES = (
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, received_ns INTEGER, gateway TEXT, epoch TEXT, seq INTEGER,"
    " device TEXT, payload TEXT)"
)
"""What a subscriber writes into."""
_KINDS = frozenset({RecordKind.TELEMETRY})
_PRESS = [
    {"name": "light_red", "area": "discrete_input", "address": 0},
    {"name": "light_yellow", "area": "discrete_input", "address": 1},
    {"name": "light_green", "area": "discrete_input", "address": 2},
    {"name": "door_open", "area": "discrete_input", "address": 3},
    {"name": "pulses", "area": "input_register", "address": 0, "type": "uint32"},
    {"name": "current", "area": "input_register", "address": 2, "scale": 0.01},
]
_METER = [
    {"name": point.tag, "area": "holding_register", "address": point.address, "type": "float32", "order": "CDAB"}
    for point in METER_MAP.points
]


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


def run_gateway(folder: Path, faults: list[dict[str, Any]], seconds: float, *, period_ms: int = 500, **changes: Any) -> Run:
    """A gateway reads both Modbus devices for so long, then everything is verified. Settings of the plant may be changed."""
    ledger, delivered = folder / "ledger.db", folder / "delivered.db"
    plant = PlantSettings.model_validate({"faults": faults, "patience_s": 0.8, "ledger": ledger, **changes})

    async def main(loop: VirtualLoop) -> None:
        with Ledger(ledger, plant.seed, clock=loop.clock_ns) as book, closing(sqlite3.connect(delivered)) as received:
            devices = make_devices(plant, BenchLoad(), book, loop.clock_ns)
            async with serving_modbus(plant, devices, []) as addresses:
                await _collect(loop, addresses, received, seconds, period_ms)
            received.commit()

    run(main)
    with closing(sqlite3.connect(ledger)) as database:
        dumped = list(database.iterdump())
    return Run(verify(ledger, delivered, {}), read_faults(ledger), dumped)


async def _collect(
    loop: VirtualLoop, addresses: dict[str, str], received: sqlite3.Connection, seconds: float, period_ms: int
) -> None:
    outbox = MemoryOutbox({"test": _KINDS})
    clock = LoopClock(loop)
    storage = Storage(outbox, clock, Log("outbox"))
    random = Random(7)
    tasks = [asyncio.create_task(_deliver(loop, outbox, received))]
    for place, (name, tags) in enumerate((("press", _PRESS), ("meter", _METER))):
        settings = ModbusSettings.model_validate(
            {
                "name": name,
                "driver": "modbus",
                "address": addresses[name],
                "period_ms": period_ms,
                "timeout_ms": 1000,
                "tags": tags,
            }
        )
        plan = compile_plan(settings)
        driver = ModbusDriver(settings, clock_ns=loop.clock_ns, monotonic_ns=lambda: round(loop.time() * 1e9))
        intake = Intake(plan.tags, make_filter(plan.tags, settings, HEARTBEAT_S), storage, [])
        poller = Poller(
            plan, driver, intake, clock=clock, backoff=Backoff(random.uniform), log=Log("device", device=name), place=place
        )
        tasks.append(asyncio.create_task(poller.run()))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, tasks)
        await pass_time(seconds)
        assert not [task for task in tasks if task.done()]


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
            topic, payload = messages(record)
            row = (loop.clock_ns(), "g", "epoch", record.seq, topic, payload.decode())
            received.execute(
                "INSERT INTO messages (received_ns, gateway, epoch, seq, device, payload) VALUES (?, ?, ?, ?, ?, ?)", row
            )
            await outbox.acknowledge("test", record.seq)
