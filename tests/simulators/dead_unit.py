"""Ten units behind one link, one of which dies: what it costs the other nine, in virtual time.

Run as `python -m tests.simulators.dead_unit [--minutes N]` it prints the period of the nine, with a dead one and a
living one, for each kind of link, as JSON. It ends with 1 when the dead one changes their 99th percentile over Modbus TCP. Where
answers bear no number (RTU) the dead unit can only be asked in turn, so each attempt, at last one a minute, keeps some waiting.
"""

from __future__ import annotations

import argparse
import json
import logging
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import ceil

from drivers.modbus.settings import ModbusSettings
from simulators.virtual_time import VirtualLoop, run
from tests.drivers.line_device import Line
from tests.drivers.modbus_device import ModbusDevice
from tests.simulators.virtual_gateway import collect

UNITS = range(1, 11)
DEAD = 7
PERIOD_MS = 1000
TIMEOUT_MS = 500
DIES_S = 60.0
ANSWER_S = 0.01
"""How long the bus behind the link takes for an answer; it gives one after the other."""


@dataclass(frozen=True, slots=True)
class Periods:
    """Between one request to a unit and the next, over the nine units that are alive; in ms, to the microsecond."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def measure(transport: str, minutes: int, *, dead: bool) -> Periods:
    """Let the gateway poll the ten units once a PERIOD_MS, over "tcp" or "rtu_over_tcp"."""
    asked: dict[int, list[float]] = {unit: [] for unit in UNITS}
    silent = {DEAD} if dead else set()

    async def main(loop: VirtualLoop) -> None:
        serving = _tcp(loop, asked, silent) if transport == "tcp" else _rtu(loop, asked, silent)
        async with serving as port:
            devices = [_settings(unit, transport, port) for unit in UNITS]
            with closing(sqlite3.connect(":memory:")) as received:
                await collect(loop, devices, received, 60.0 * minutes, lambda: None)

    run(main)
    alive = [times for unit, times in asked.items() if unit != DEAD]
    return _periods([later - earlier for times in alive for earlier, later in pairwise(times)])


@asynccontextmanager
async def _tcp(loop: VirtualLoop, asked: dict[int, list[float]], silent: set[int]) -> AsyncIterator[int]:
    device = ModbusDevice()
    device.registers[3] = {0: 0}
    free_s = 0.0

    def reply(request: bytes, answer: bytes) -> list[bytes]:
        nonlocal free_s
        asked[request[6]].append(loop.time())
        if request[6] not in silent or loop.time() < DIES_S:
            free_s = max(free_s, loop.time()) + ANSWER_S
            connection = device.connections[-1]
            loop.call_at(free_s, lambda: connection.write(answer))
        return []

    device.reply = reply
    async with device.listening():
        yield device.port


@asynccontextmanager
async def _rtu(loop: VirtualLoop, asked: dict[int, list[float]], silent: set[int]) -> AsyncIterator[int]:
    device = ModbusDevice()
    device.registers[3] = {0: 0}
    line = Line("rtu", dict.fromkeys(UNITS, device))

    def reply(body: bytes, answer: bytes) -> list[bytes]:
        if body[1] == 3:
            asked[body[0]].append(loop.time())
        if body[0] not in silent or loop.time() < DIES_S:
            loop.call_later(ANSWER_S, line.transports[-1].write, answer)
        return []

    line.reply = reply
    async with line.listening():
        yield line.port


def _settings(unit: int, transport: str, port: int) -> ModbusSettings:
    return ModbusSettings.model_validate(
        {
            "name": f"unit_{unit}",
            "driver": "modbus",
            "transport": transport,
            "address": f"127.0.0.1:{port}",
            "link": "bus",
            "unit": unit,
            "period_ms": PERIOD_MS,
            "timeout_ms": TIMEOUT_MS,
            "tags": [{"name": "value", "area": "holding_register", "address": 0}],
        }
    )


def _periods(seconds: list[float]) -> Periods:
    found = sorted(round(1000 * period, 3) for period in seconds)
    p50, p99 = (found[ceil(share * len(found)) - 1] for share in (0.5, 0.99))
    return Periods(len(found), p50, p99, found[-1])


def main() -> int:
    """See the module's docstring; the exit code."""
    parser = argparse.ArgumentParser(description="What a dead unit costs the nine others behind its link.")
    parser.add_argument("--minutes", type=int, default=60)
    minutes = parser.parse_args().minutes
    logging.getLogger().setLevel(logging.CRITICAL)
    found = {}
    for transport in ("tcp", "rtu_over_tcp"):
        with_dead, without = (measure(transport, minutes, dead=dead) for dead in (True, False))
        found[transport] = (with_dead, without)
        document = {"transport": transport, "minutes": minutes, "nine_with_the_dead": asdict(with_dead), "nine": asdict(without)}
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
    with_dead, without = found["tcp"]
    return 0 if with_dead.p99_ms == without.p99_ms else 1


if __name__ == "__main__":
    sys.exit(main())
