"""A gateway that watches machines of the workshop over Modbus, whole and in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from config.documents import load
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.settings import ModbusSettings
from drivers.registry import compile_plan
from gateway.backoff import Backoff
from gateway.intake import Intake
from gateway.log import Log
from gateway.outbox.base import RecordKind
from gateway.outbox.memory import MemoryOutbox
from gateway.poller import Poller
from gateway.processing.plan import plan_reports
from gateway.settings import GatewaySettings
from gateway.sinks.payload import Messages
from gateway.storage import Storage
from simulators.ledger import Ledger
from simulators.modbus_plant import make_devices, serving_modbus
from simulators.plant.meter import BenchLoad
from simulators.settings import PlantSettings
from simulators.truth import Fact, read_truth
from simulators.virtual_time import VirtualLoop, run
from tests.simulators.lab import pass_time
from tests.simulators.virtual_gateway import LoopClock

_KINDS = frozenset({RecordKind.TELEMETRY})
_S = 1_000_000_000
_CHUNK_S = 10.0


@dataclass(frozen=True)
class Told:
    """One reading as it was published."""

    at_s: float
    """When it was read, since the begin."""
    value: Any
    """None where it was Bad."""
    begin_s: float | None
    """Its source time, since the begin."""
    status: str | None


@dataclass(frozen=True)
class Watched:
    """What a gateway told of one machine, and what was true."""

    told: dict[str, list[Told]]
    truth: list[Fact]
    start_ns: int


def watch(folder: Path, text: str, start_ns: int, seconds: float, **plant: Any) -> dict[str, Watched]:
    """Run a gateway for so long beside a plant; by device.

    Args:
        text: the gateway's file, in which {name} stands for the address of the machine of that name.
        plant: settings of the plant.
    """
    ledger = folder / "ledger.db"
    settings = PlantSettings.model_validate({"ledger": ledger, **plant})
    messages: list[bytes] = []

    async def main(loop: VirtualLoop) -> None:
        with Ledger(ledger, settings.seed, clock=loop.clock_ns) as book:
            served = make_devices(settings, BenchLoad(), book, loop.clock_ns)
            async with serving_modbus(settings, served, []) as addresses:
                path = folder / "gateway.yaml"
                path.write_text(text.format(**addresses), "utf-8")
                await _collect(loop, load(path, GatewaySettings), seconds, messages)

    run(main, start_ns)
    told: dict[str, dict[str, list[Told]]] = {}
    for message in messages:
        _read(msgspec.json.decode(message), start_ns, told)
    facts = read_truth(ledger)
    return {name: Watched(tags, [fact for fact in facts if fact.device == name], start_ns) for name, tags in told.items()}


def _read(message: Any, start_ns: int, told: dict[str, dict[str, list[Told]]]) -> None:
    at_s = (message["t"] * 1_000_000 - start_ns) / _S
    for name, value in message["values"].items():
        source_ms = message.get("source_t", {}).get(name)
        begin_s = None if source_ms is None else (source_ms * 1_000_000 - start_ns) / _S
        reading = Told(at_s, value, begin_s, message.get("status", {}).get(name))
        told.setdefault(message["device"], {}).setdefault(name, []).append(reading)


async def _collect(loop: VirtualLoop, settings: GatewaySettings, seconds: float, messages: list[bytes]) -> None:
    outbox = MemoryOutbox({"test": _KINDS})
    clock = LoopClock(loop)
    storage = Storage(outbox, clock, Log("outbox"))
    plans = {device.name: compile_plan(device) for device in settings.devices}
    reports = plan_reports(settings, {name: plan.tags for name, plan in plans.items()}, clock.monotonic)
    write = Messages("g", "epoch", "{device}", outbox.note)
    tasks: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, tasks)
        for place, device in enumerate(settings.devices):
            assert isinstance(device, ModbusSettings)
            driver = ModbusDriver(device, clock_ns=loop.clock_ns, monotonic_ns=lambda: round(loop.time() * _S))
            intake = Intake(reports[device.name].table, reports[device.name].report, storage, [])
            log, backoff = Log("device", device=device.name), Backoff(lambda low, _high: low)
            poller = Poller(plans[device.name], driver, intake, clock=clock, backoff=backoff, log=log, place=place)
            tasks.append(asyncio.create_task(poller.run()))
        while (left_s := seconds - loop.time()) > 0:
            await pass_time(min(left_s, _CHUNK_S))
            for record in outbox.read(outbox.cursor("test"), 100_000, _KINDS):
                messages += [payload for _, payload in write(record)]
                await outbox.acknowledge("test", record.seq)
        assert not [task for task in tasks if task.done()]


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
