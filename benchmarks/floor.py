"""The least that a Python program could do: registers undecoded, one append and one sync for all that came, raw bytes published.

No names, no status, no deadband, no recovery, no removal of what was acknowledged: not a gateway but a floor, by which figures of
different machines can be told from one another. Run as `python -m benchmarks.floor BROKER_PORT PERIOD_S REGISTERS PORT...`; runs
until SIGTERM. A message is base64 of the time of the answer, ms since the epoch in 8 bytes, and the registers as they came.
"""

from __future__ import annotations

import asyncio
import binascii
import os
import struct
import sys
import tempfile
import time
from functools import partial
from typing import cast

import gmqtt
import uvloop

_ANSWER_HEAD = 9
_HEAD = struct.Struct(">HHHBBHH")
_TIME = struct.Struct(">q")


class _Device(asyncio.Protocol):
    def __init__(self, index: int, came: list[tuple[int, bytes]], wake: asyncio.Event) -> None:
        self.index = index
        self.transport: asyncio.Transport
        self._came = came
        self._wake = wake

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._came.append((self.index, _TIME.pack(time.time_ns() // 1_000_000) + data[_ANSWER_HEAD:]))
        self._wake.set()


async def _ask(devices: list[_Device], period_s: float, registers: int) -> None:
    due, serial = time.monotonic(), 0
    while True:
        serial = (serial + 1) & 0xFFFF
        request = _HEAD.pack(serial, 0, 6, 1, 3, 0, registers)
        for device in devices:
            device.transport.write(request)
        due += period_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))


def _keep(segment: int, data: bytes) -> None:
    os.write(segment, data)
    os.fdatasync(segment)


async def _run(broker_port: int, period_s: float, registers: int, ports: list[int]) -> None:
    loop, came, wake = asyncio.get_running_loop(), list[tuple[int, bytes]](), asyncio.Event()
    client = gmqtt.Client("floor")
    await client.connect("127.0.0.1", broker_port)
    connecting = (loop.create_connection(partial(_Device, index, came, wake), "127.0.0.1", p) for index, p in enumerate(ports))
    devices = [protocol for _, protocol in await asyncio.gather(*connecting)]
    asking = asyncio.create_task(_ask(devices, period_s, registers))
    segment, path = tempfile.mkstemp(prefix="floor-")
    os.unlink(path)
    while not asking.done():
        await wake.wait()
        wake.clear()
        taken = came[:]
        came.clear()
        await loop.run_in_executor(None, _keep, segment, b"".join(data for _, data in taken))
        for index, data in taken:
            client.publish(f"mumian/floor/d{index}", binascii.b2a_base64(data, newline=False), qos=1)


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), [int(port) for port in sys.argv[4:]]))
