"""Modbus TCP devices that number their polls: python -m benchmarks.peers.plant DEVICES FILE

Register n holds (serial + n) modulo 65536, where the serial grows with each request that covers register 0: whether a client asks
for a block or register by register, register 0 tells which poll it was. Prints a JSON list of ports; when its standard input
closes it writes, as JSON, for each device the instants (ns) at which each serial was served. FC 3 and 4.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

_HEADER = struct.Struct(">HHHBBHH")
_REQUEST_BYTES = 12


class Device(asyncio.Protocol):
    """A connection to one device; all connections share its serial."""

    def __init__(self, served_ns: list[int]) -> None:
        self._served_ns = served_ns
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        answers = []
        while len(self._buffer) >= _REQUEST_BYTES:
            transaction, _, _, unit, function, address, count = _HEADER.unpack_from(self._buffer)
            self._buffer = self._buffer[_REQUEST_BYTES:]
            if address == 0:
                self._served_ns.append(time.time_ns())
            first = len(self._served_ns) + address
            registers = struct.pack(f">{count}H", *(value & 0xFFFF for value in range(first, first + count)))
            answers.append(struct.pack(">HHHBBB", transaction, 0, 3 + 2 * count, unit, function, 2 * count) + registers)
        self._transport.write(b"".join(answers))


async def _serve(devices: int, target: Path) -> None:
    loop = asyncio.get_running_loop()
    served: list[list[int]] = [[] for _ in range(devices)]
    servers = [await loop.create_server(lambda log=log: Device(log), "127.0.0.1", 0) for log in served]  # type: ignore[misc]
    sys.stdout.write(json.dumps([server.sockets[0].getsockname()[1] for server in servers]) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()
    target.write_text(json.dumps(served), "utf-8")


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
