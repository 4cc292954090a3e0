"""A Modbus TCP device that bears only so much, in virtual time, and a gateway that polls it. Shares no code with the driver."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from drivers.errors import DriverError
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.plan import compile_device
from drivers.model import Frame
from simulators.virtual_time import VirtualLoop, run
from tests.drivers.line_device import rtu
from tests.drivers.modbus_bench import settings_of

_BUSY = 6


@dataclass
class Particular:
    """What it bears."""

    ready_s: float = 0.0
    """For so long after a connection was made it hears nothing."""
    rest_s: float = 0.0
    """For so long after an answer it hears nothing, or is busy."""
    says_busy: bool = False
    outstanding: int = 100
    """So many requests at once; it doesn't hear the others, or closes the connection over them."""
    closes: bool = False
    takes_s: float = 0.001
    per_register_s: float = 0.0
    loses: float = 0.0
    """The share of requests that it doesn't hear."""
    is_dead: bool = False
    is_rtu: bool = False
    """Speaks RTU over TCP."""
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    asked: list[tuple[int, int]] = field(default_factory=list)
    """(address, count) of every request, heard or not."""
    connections: int = 0
    waits_s: list[float] = field(default_factory=list)
    """Of every request: since the last answer on its connection, or since it was made."""


class _End(asyncio.Protocol):
    def __init__(self, device: Particular) -> None:
        self.device = device
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.serving = 0
        self.free_s = 0.0
        device.connections += 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.made_s = self.loop.time()
        self.answered_s: float | None = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        length = 8 if self.device.is_rtu else 12
        while len(self.buffer) >= length:
            request, self.buffer = self.buffer[:length], self.buffer[length:]
            self._hear(b"", request[:6]) if self.device.is_rtu else self._hear(request[:4], request[6:])

    def _hear(self, head: bytes, body: bytes) -> None:
        device, now_s = self.device, self.loop.time()
        address, count = struct.unpack_from(">HH", body, 2)
        device.asked.append((address, count))
        device.waits_s.append(now_s - (self.made_s if self.answered_s is None else self.answered_s))
        if device.is_dead or now_s - self.made_s < device.ready_s or device.dice.random() < device.loses:
            return
        if self.serving >= device.outstanding:
            if device.closes:
                self.transport.abort()
            return
        if self.answered_s is not None and now_s - self.answered_s < device.rest_s:
            if device.says_busy:
                self._send(head, bytes([body[0], body[1] | 0x80, _BUSY]))
            return
        values = body[2:]
        if body[1] == 3:
            values = struct.pack(f">B{count}H", 2 * count, *(where & 0xFFFF for where in range(address, address + count)))
        self.serving += 1
        self.free_s = max(self.free_s, now_s) + device.takes_s + count * device.per_register_s
        self.loop.call_at(self.free_s, self._answer, head, body[:2] + values)

    def _answer(self, head: bytes, body: bytes) -> None:
        self.serving -= 1
        self.answered_s = self.loop.time()
        self._send(head, body)

    def _send(self, head: bytes, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(rtu(body) if self.device.is_rtu else head + struct.pack(">H", len(body)) + body)


class Station:
    """Polls one device as the gateway does: connects again after each failure, some time later."""

    def __init__(
        self, loop: VirtualLoop, device: Particular, port: int, tags: list[dict[str, Any]], settings: dict[str, Any]
    ) -> None:
        self.device = device
        self._loop = loop
        self.settings = settings_of(tags, address=f"127.0.0.1:{port}", **{"max_gap": 0, **settings})
        (scan,) = compile_device(self.settings).scans
        self.plan = scan.plan
        self.driver = ModbusDriver(self.settings, clock_ns=loop.clock_ns, monotonic_ns=lambda: round(loop.time() * 1e9))
        self.errors: list[str] = []
        self._is_open = False

    async def pass_time(self, wait_s: float) -> None:
        passed = self._loop.create_future()
        self._loop.call_later(wait_s, passed.set_result, None)
        await passed

    async def poll(self, times: int = 1, *, period_s: float = 1.0) -> list[bool]:
        """Whether each attempt to poll, with what connecting it takes, succeeded."""
        return [await self._attempt(period_s) is not None for _ in range(times)]

    async def poll_for(self, span_s: float) -> list[bool]:
        """The same, once a second or so, for so long."""
        end_s = self._loop.time() + span_s
        found = []
        while self._loop.time() < end_s:
            found += await self.poll()
        return found

    @property
    def learnt(self) -> dict[str, float]:
        """But for the round trip, which every device teaches."""
        return {name: value for name, value in self.driver.learnt.items() if name != "round_trip_ms"}

    async def frames(self) -> list[Frame]:
        """Of one poll, which must succeed."""
        found = await self._attempt(1.0)
        assert found is not None
        return found

    async def _attempt(self, period_s: float) -> list[Frame] | None:
        await self.pass_time(period_s)
        try:
            if not self._is_open:
                await self.driver.connect()
                self._is_open = True
            return await self.driver.read(self.plan)
        except DriverError as error:
            self.errors.append(str(error))
            self._is_open = False
            await self.driver.close()
            return None


def station(
    device: Particular, tags: list[dict[str, Any]], act: Callable[[Station], Coroutine[Any, Any, None]], **settings: Any
) -> None:
    """Run `act` on a station whose device is served, in virtual time."""

    async def main(loop: VirtualLoop) -> None:
        server = await loop.create_server(lambda: _End(device), "127.0.0.1", 0)
        here = Station(loop, device, server.sockets[0].getsockname()[1], tags, settings)
        try:
            await act(here)
        finally:
            await here.driver.close()
            server.close()

    run(main)
