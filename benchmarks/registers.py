"""A Modbus TCP server that costs next to nothing: FC3 and FC4 only, values change each poll. So a benchmark measures its clients.

Run as `python -m benchmarks.registers DEVICES`; prints a JSON list of the ports, serves until its standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from typing import cast

import uvloop

_HEADER = struct.Struct(">HHHBB")
_REQUEST_BYTES = 12
_REGISTERS = struct.Struct(">125H")


class _Server(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""
        self._polls = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        answers = []
        while len(self._buffer) >= _REQUEST_BYTES:
            transaction, _, _, unit, function = _HEADER.unpack_from(self._buffer)
            count = int.from_bytes(self._buffer[10:12], "big")
            self._buffer = self._buffer[_REQUEST_BYTES:]
            self._polls += 1
            first = self._polls & 0x7FFF
            registers = _REGISTERS.pack(*range(first, first + 125))[: 2 * count]
            answers.append(_HEADER.pack(transaction, 0, 3 + 2 * count, unit, function) + bytes([2 * count]) + registers)
        self._transport.write(b"".join(answers))


async def _serve(devices: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(_Server, "127.0.0.1", 0) for _ in range(devices)]
    sys.stdout.write(json.dumps([server.sockets[0].getsockname()[1] for server in servers]) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
