"""Many requests to a device of which one answer in twenty is faulty: no wrong value, and the next request is right again.

Run as `python -m tests.drivers.faulty_answers [REQUESTS] [SEED]`; prints JSON. The device holds at each address a number that
only that address and that moment have, so that any answer taken for another's is seen.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from drivers.errors import DeviceMisbehaved, DeviceTimeout, DeviceUnreachable
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.plan import compile_device
from drivers.model import Frame
from drivers.status import is_bad
from tests.drivers.line_device import request_length, rtu
from tests.drivers.modbus_bench import settings_of

FAULT_SHARE = 0.05
ADDRESSES = range(0, 80, 20)
Sent = list[bytes]


@dataclass
class Tally:
    """What came of the requests."""

    requests: int = 0
    values: int = 0
    wrong: int = 0
    failed: int = 0
    not_resynchronised: int = 0
    """Polls that failed though the device answered every request of theirs, and of the poll before, properly; but for stalls."""
    stalls: int = 0
    """Such polls that timed out and were followed by one that did not: on a busy machine a proper answer may take too long."""
    faults: Counter[str] = field(default_factory=Counter)


class FaultyDevice(asyncio.Protocol):
    """One connection; answers FC 3 with `counter * 64 + address` (mod 65536) and misbehaves by the dice."""

    def __init__(self, tally: Tally, dice: random.Random, frames: str, truth: dict[int, set[int]], held: list[bytes]) -> None:
        self.tally, self.dice, self.frames, self.truth, self.held = tally, dice, frames, truth, held
        self.buffer = b""
        self.faults: dict[str, Callable[[bytes, bytes], Sent]] = {
            "silent": lambda _head, _body: [],
            "late": self._late,
            "repeated": lambda head, body: [self._frame(head, body) * 2],
            "repeated apart": lambda head, body: [self._frame(head, body), self._frame(head, body)],
            "wrong unit": lambda head, body: [self._frame(head, bytes([body[0] ^ 1]) + body[1:])],
            "wrong function": lambda head, body: [self._frame(head, body[:1] + b"\x04" + body[2:])],
            "short": lambda head, body: [self._frame(head, body[:-2])],
            "wrong byte count": lambda head, body: [self._frame(head, body[:2] + bytes([body[2] ^ 2]) + body[3:])],
            "truncated": lambda head, body: [self._frame(head, body)[:-1]],
            "junk before": lambda head, body: [b"\xf0\x9f\x00", self._frame(head, body)],
            "junk behind": lambda head, body: [self._frame(head, body), b"\x01\x03"],
            "byte by byte": lambda head, body: [bytes([byte]) for byte in self._frame(head, body)],
            "exception": lambda head, body: [self._frame(head, bytes([body[0], 0x83, 4]))],
            "reset": self._reset,
        }
        if frames == "mbap":
            self.faults["wrong transaction"] = lambda head, body: [self._frame(bytes([head[0] ^ 0x40, head[1]]), body)]
            self.faults["wrong protocol"] = lambda head, body: [b"\0\1\0\1\0\3\1\3\0"]
            self.faults["length too long"] = lambda head, body: [head + b"\0\0\xff\xff" + body]
        else:
            self.faults["wrong checksum"] = lambda head, body: [self._frame(head, body)[:-1] + b"\xa5"]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (taken := self._request()) is not None:
            for piece in self._answer(*taken):
                if not self.transport.is_closing():
                    self.transport.write(piece)

    def _request(self) -> tuple[bytes, bytes] | None:
        if self.frames == "mbap":
            length = 6 + int.from_bytes(self.buffer[4:6], "big") if len(self.buffer) > 6 else None
        else:
            length = request_length(self.buffer)
        if length is None or len(self.buffer) < length:
            return None
        frame, self.buffer = self.buffer[:length], self.buffer[length:]
        return (frame[:2], frame[6:]) if self.frames == "mbap" else (b"", frame[:-2])

    def _frame(self, head: bytes, body: bytes) -> bytes:
        return head + struct.pack(">HH", 0, len(body)) + body if self.frames == "mbap" else rtu(body)

    def _answer(self, head: bytes, body: bytes) -> Sent:
        before = self.held[:]
        self.held.clear()
        if body[1] == 8:
            return [*before, self._frame(head, body)]
        self.tally.requests += 1
        address, count = struct.unpack_from(">HH", body, 2)
        number = self.tally.requests * 64
        values = [(number + where) & 0xFFFF for where in range(address, address + count)]
        answer = body[:2] + bytes([2 * count]) + struct.pack(f">{count}H", *values)
        self.truth[address] = {values[0]}
        if self.dice.random() >= FAULT_SHARE:
            return [*before, self._frame(head, answer)]
        name = self.dice.choice(list(self.faults))
        self.tally.faults[name] += 1
        return [*before, *self.faults[name](head, answer)]

    def _late(self, head: bytes, body: bytes) -> Sent:
        self.held.append(self._frame(head, body))
        return []

    def _reset(self, _head: bytes, _body: bytes) -> Sent:
        self.transport.abort()
        return []


async def run(requests: int, frames: str = "mbap", seed: int = 1, timeout_ms: int = 10) -> Tally:
    """Poll until the device has seen so many requests."""
    tally, truth = Tally(), dict[int, set[int]]()
    dice = random.Random(seed)
    loop = asyncio.get_running_loop()
    line: list[bytes] = []  # What is on its way on a serial line comes out of the next connection too.

    def accept() -> FaultyDevice:
        return FaultyDevice(tally, dice, frames, truth, line if frames == "rtu" else [])

    server = await loop.create_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tags: list[dict[str, Any]] = [{"address": address} for address in ADDRESSES]
    transport = "tcp" if frames == "mbap" else "rtu_over_tcp"
    settings = settings_of(
        tags,
        address=f"127.0.0.1:{port}",
        transport=transport,
        timeout_ms=timeout_ms,
        max_gap=0,
        repeats=0,
        pipeline=4 if frames == "mbap" else 1,
    )
    plan, driver = compile_device(settings).scans[0].plan, ModbusDriver(settings)
    await driver.connect()
    before_last = last = -1
    stalled = False
    while tally.requests < requests:
        before_last, last = last, sum(tally.faults.values())
        try:
            frames_read = await driver.read(plan)
        except (DeviceUnreachable, DeviceMisbehaved) as error:
            tally.failed += 1
            if sum(tally.faults.values()) == before_last:
                is_stall = isinstance(error, DeviceTimeout) and not stalled
                stalled = is_stall
                tally.stalls += is_stall
                tally.not_resynchronised += not is_stall
            await driver.connect()
        else:
            stalled = False
            _compare(frames_read, truth, tally)
    await driver.close()
    server.close()
    await server.wait_closed()
    return tally


def _compare(frames: list[Frame], truth: dict[int, set[int]], tally: Tally) -> None:
    for frame in frames:
        for place, tag in enumerate(frame.tags.tolist()):
            if is_bad(int(frame.status[place])):
                continue
            tally.values += 1
            tally.wrong += frame.values[place] not in truth[ADDRESSES[tag]]


def main() -> None:
    """Print what came of it."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    tally = uvloop.run(run(requests, seed=seed))
    sys.stdout.write(json.dumps({**vars(tally), "faults": dict(tally.faults)}) + "\n")


if __name__ == "__main__":
    main()
