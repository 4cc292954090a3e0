"""A Modbus device with a fault script, on virtual time, and a client that sees every byte and when it came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from simulators.faults.schedule import lab_for
from simulators.faults.script import Fault
from simulators.ledger import FaultRecord, Ledger, Served, read_faults, read_served
from simulators.modbus.framing import FramingKind, make_framing
from simulators.modbus.transports import TcpListener
from simulators.modbus_server import ModbusDevice
from simulators.registers import PRESS_MAP, Raw
from simulators.virtual_time import START_NS, WIRE_S, VirtualLoop, run

READ = b"\x04\x00\x00\x00\x03"
T = TypeVar("T")
ROUND_TRIP_S = 2 * WIRE_S


def script(*faults: dict[str, Any]) -> list[Any]:
    """Faults of the device as an operator would write them."""
    return TypeAdapter(list[Fault]).validate_python([{"device": "device", **fault} for fault in faults])


def by_time(ns: int) -> list[Raw]:
    """A press whose pulses are the ms since the start."""
    ms = (ns - START_NS) // 1_000_000
    return [True, False, False, False, ms % (1 << 32), ms % 1000]


@dataclass
class Wire(asyncio.Protocol):
    """A client's side: what came, in ms after the connection began, and when it ended."""

    loop: VirtualLoop
    port: int
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append((self.loop.time(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    @property
    def received(self) -> bytes:
        return b"".join(data for _, data in self.pieces)

    async def ask(self, frame: bytes, wait_s: float = 0.1) -> bytes:
        """Send, and give what comes within `wait_s` of virtual time."""
        before = len(self.received)
        self.transport.write(frame)
        await pass_time(wait_s)
        return self.received[before:]


async def pass_time(seconds: float) -> None:
    """Let virtual time pass."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()


@asynccontextmanager
async def connected(loop: VirtualLoop, port: int) -> AsyncIterator[Wire]:
    wire = Wire(loop, port)
    await loop.create_connection(lambda: wire, "127.0.0.1", port)
    try:
        yield wire
    finally:
        wire.transport.close()


@dataclass(frozen=True)
class Seen:
    """What a test's client returned, and the books."""

    value: Any
    served: list[Served]
    faults: list[FaultRecord]


def play(
    folder: Path,
    faults: list[Any],
    client: Callable[[VirtualLoop, int], Awaitable[Any]],
    *,
    framing: FramingKind = FramingKind.MBAP,
    patience_s: float = 0.0,
    seed: int = 1,
) -> Seen:
    """Run a device with a script, and `client(loop, port)` against it, in virtual time."""

    async def main(loop: VirtualLoop) -> Any:
        with Ledger(folder / "ledger.db", seed, clock=loop.clock_ns) as ledger:
            lab = lab_for(faults, "device", seed, patience_s)
            device = ModbusDevice("device", PRESS_MAP, by_time, ledger, loop.clock_ns, lab=lab)
            listener = TcpListener("127.0.0.1", 0)
            await device.listen(listener, framing)
            try:
                return await client(loop, listener.port)
            finally:
                await device.stop()

    value = run(main)
    path = folder / "ledger.db"
    return Seen(value, list(read_served(path)), read_faults(path))


def request(kind: FramingKind, transaction: int = 1, pdu: bytes = READ, unit: int = 1) -> bytes:
    return make_framing(kind).encode(transaction, unit, pdu)
