"""A running plant for a test: real servers on free ports of the loopback, a real ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.ledger import Ledger, Served, read_served
from simulators.modbus_server import ModbusDevice
from simulators.plant_server import run
from simulators.registers import AddressMap, Raw
from simulators.settings import PlantSettings

GUARD_S = 20.0
"""Only so that a broken test ends."""


@dataclass(frozen=True, slots=True)
class Plant:
    """Where it listens."""

    press: str
    meter: str
    bench: str
    ledger: Path


def settings(folder: Path, **changes: Any) -> PlantSettings:
    """A quick plant on free ports."""
    values = {"press_port": 0, "meter_port": 0, "bench_port": 0, "sample_s": 0.02, "cycle_s": 0.1, "ledger": folder / "ledger.db"}
    return PlantSettings(**{**values, **changes})


async def start(plant: PlantSettings, clock: Callable[[], int] = time.time_ns) -> tuple[Plant, asyncio.Task[None], asyncio.Event]:
    """The whole plant, the task that runs it, and the event that stops it; raises what run() raises before it is ready."""
    endpoints: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(run(plant, endpoints.set_result, stop, clock))
    await asyncio.wait((task, endpoints), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    told = endpoints.result()
    return Plant(told["press"], told["meter"], told["bench"], Path(told["ledger"])), task, stop


@asynccontextmanager
async def running(plant: PlantSettings) -> AsyncIterator[Plant]:
    """The whole plant; once it is left, the ledger is complete."""
    where, task, stop = await start(plant)
    try:
        yield where
    finally:
        stop.set()
        await task


@asynccontextmanager
async def running_at(plant: PlantSettings) -> AsyncIterator[dict[str, str]]:
    """The whole plant; gives all that its ready line tells."""
    endpoints: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(run(plant, endpoints.set_result, stop))
    try:
        await asyncio.wait((task, endpoints), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield endpoints.result()
    finally:
        stop.set()
        await task


@asynccontextmanager
async def device(
    folder: Path, points: AddressMap, sample: Callable[[int], list[Raw]], clock: Callable[[], int] = time.time_ns
) -> AsyncIterator[int]:
    """One Modbus device by itself, named `device`; gives its port."""
    with Ledger(folder / "ledger.db", seed=1) as ledger:
        served = ModbusDevice("device", points, sample, ledger, clock)
        try:
            yield await served.start("127.0.0.1", 0)
        finally:
            await served.stop()


def served(folder: Path) -> list[Served]:
    """The ledger of a plant or device that has stopped."""
    return list(read_served(folder / "ledger.db"))


def address(endpoint: str) -> tuple[str, int]:
    """Host and port of host:port."""
    host, port = endpoint.rsplit(":", 1)
    return host, int(port)
