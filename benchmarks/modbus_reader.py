"""The Python side of benchmarks/modbus.py, each run in a process of its own so that its CPU can be told.

    python -m benchmarks.modbus_reader driver PORT OUTSTANDING REQUESTS
    python -m benchmarks.modbus_reader fleet|bare PORT DEVICES PERIOD_MS SECONDS

`driver` reads blocks of 125 registers through the driver, as many outstanding as told. `fleet` polls many devices through
drivers, link and decode included, by the gateway's clock; `bare` does it with a Protocol that cuts frames and decodes nothing.
Both spread their polls over slots of a millisecond, as the gateway does. Lateness runs from the due time to the decoded answer,
by the true clock: uvloop's own is that of the last wake-up (both count CLOCK_MONOTONIC). Prints JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any, cast

import uvloop

from drivers.base import DevicePlan, Driver
from drivers.modbus.settings import ModbusSettings
from drivers.registry import compile_plan, open_driver
from gateway.clock import Clock, SystemClock

_REGISTERS = 125
_SLOT_S = 0.001
_WARM_UP_S = 1.0


def device_settings(port: int, blocks: int = 1, pipeline: int = 1) -> ModbusSettings:
    """A device of whole blocks of unsigned registers: what libmodbus gives, too."""
    tags = [{"name": f"r{n}", "area": "holding_register", "address": n, "type": "uint16"} for n in range(blocks * _REGISTERS)]
    return ModbusSettings.model_validate(
        {
            "name": "d",
            "driver": "modbus",
            "address": f"127.0.0.1:{port}",
            "pipeline": pipeline,
            "tags": tags,
            "timeout_ms": 20_000,
        }
    )


async def run_driver(port: int, outstanding: int, requests: int) -> dict[str, float]:
    """CPU per request with `outstanding` requests on their way at once."""
    settings = device_settings(port, outstanding, outstanding)
    plan = compile_plan(settings)
    driver = open_driver(settings, plan)
    await driver.connect()
    reads = plan.scans[0].plan
    assert len(reads.requests()) == outstanding
    await driver.read(reads)
    rounds = requests // outstanding
    cpu, begin = time.process_time(), time.perf_counter()
    for _ in range(rounds):
        await driver.read(reads)
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - begin
    await driver.close()
    done = rounds * outstanding
    return {"cpu_us": cpu / done * 1e6, "requests_per_s": done / seconds}


class Watch:
    """CPU and lateness of polls, from the end of the warm-up on."""

    def __init__(self, begin_s: float, seconds: float) -> None:
        self.begin_s = begin_s + _WARM_UP_S
        self.end_s = self.begin_s + seconds
        self.late_s: list[float] = []

    def note(self, due_s: float, now_s: float) -> None:
        """A poll that was due is done."""
        if due_s >= self.begin_s:
            self.late_s.append(now_s - due_s)

    async def measure(self) -> float:
        """Cores used over the window."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.begin_s - loop.time())
        cpu, begin = time.process_time(), time.perf_counter()
        await asyncio.sleep(self.end_s - loop.time())
        return (time.process_time() - cpu) / (time.perf_counter() - begin)

    def result(self, cores: float, expected: float) -> dict[str, float]:
        """As printed."""
        late = sorted(self.late_s)
        p99 = late[ceil(0.99 * len(late)) - 1] if late else float("inf")
        return {"cores": cores, "late_ms_p99": p99 * 1000, "share_of_polls": len(late) / expected}


def phase_s(place: int, period_s: float) -> float:
    """When within its period a device is polled."""
    return place * _SLOT_S % period_s


async def _poll(driver: Driver, plan: DevicePlan, due_s: float, period_s: float, watch: Watch, clock: Clock) -> None:
    reads = plan.scans[0].plan
    while due_s < watch.end_s:
        await clock.sleep_until(due_s)
        await driver.read(reads)
        watch.note(due_s, time.monotonic())
        due_s += period_s


async def run_fleet(port: int, devices: int, period_s: float, seconds: float) -> dict[str, float]:
    """Poll `devices` devices through the driver."""
    settings = device_settings(port)
    fleet = []
    for _ in range(devices):
        plan = compile_plan(settings)
        driver = open_driver(settings, plan)
        await driver.connect()
        fleet.append((driver, plan))
    gc.freeze()  # As the gateway does.
    begin_s = asyncio.get_running_loop().time() + 0.2
    watch = Watch(begin_s, seconds)
    clock = SystemClock()
    polls = [
        asyncio.create_task(_poll(driver, plan, begin_s + phase_s(place, period_s), period_s, watch, clock))
        for place, (driver, plan) in enumerate(fleet)
    ]
    cores = await watch.measure()
    await asyncio.gather(*polls)
    for driver, _ in fleet:
        await driver.close()
    return watch.result(cores, devices * seconds / period_s)


class Bare(asyncio.Protocol):
    """The least that a client can do: write a request when it is due, cut the answer's frame."""

    def __init__(self, period_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._period_s = period_s
        self._watch = Watch(0.0, 0.0)
        self._due_s = 0.0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def start(self, due_s: float, watch: Watch) -> None:
        """Poll from then on."""
        self._due_s = due_s
        self._watch = watch
        self._loop.call_at(due_s, self._ask)

    def _ask(self) -> None:
        assert self._transport is not None
        self._transport.write(b"\0\1\0\0\0\6\1\3\0\0\0\x7d")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < 9 + 2 * _REGISTERS:
            return
        self._buffer = b""
        self._watch.note(self._due_s, time.monotonic())
        self._due_s += self._period_s
        if self._due_s < self._watch.end_s:
            self._loop.call_at(self._due_s, self._ask)
        else:
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the protocol's signature
        self.done.set()


async def run_bare(port: int, devices: int, period_s: float, seconds: float) -> dict[str, float]:
    """The same load without a driver."""
    loop = asyncio.get_running_loop()
    fleet = [(await loop.create_connection(lambda: Bare(period_s), "127.0.0.1", port))[1] for _ in range(devices)]
    begin_s = loop.time() + 0.2
    watch = Watch(begin_s, seconds)
    for place, bare in enumerate(fleet):
        bare.start(begin_s + phase_s(place, period_s), watch)
    cores = await watch.measure()
    await asyncio.gather(*(bare.done.wait() for bare in fleet))
    return watch.result(cores, devices * seconds / period_s)


def _main(mode: str, port: str, *numbers: str) -> Awaitable[dict[str, float]]:
    if mode == "driver":
        return run_driver(int(port), int(numbers[0]), int(numbers[1]))
    run: Callable[..., Any] = run_fleet if mode == "fleet" else run_bare
    load: Awaitable[dict[str, float]] = run(int(port), int(numbers[0]), int(numbers[1]) / 1000, float(numbers[2]))
    return load


async def _print(result: Awaitable[dict[str, float]]) -> None:
    sys.stdout.write(json.dumps(await result) + "\n")


if __name__ == "__main__":
    uvloop.run(_print(_main(*sys.argv[1:])))
