"""Many requests to a device of which one answer in twenty is faulty: no wrong value, and the next request is right again.

Run as `python -m tests.drivers.faulty_answers [REQUESTS] [SEED]` its time is virtual, and no machine ever busy: each
poll that fails must have a fault to blame, and the same seed gives the same polls. Prints JSON for each framing; ends with 1
when a value is wrong or a failure unexplained. The device holds at each address a number that only that address and that moment
have, so that any answer taken for another's is seen.
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

from drivers.errors import DeviceMisbehaved, DeviceUnreachable
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.plan import compile_device
from drivers.modbus.settings import ModbusSettings
from drivers.model import Frame
from drivers.status import is_bad
from simulators.virtual_time import VirtualLoop
from simulators.virtual_time import run as run_virtual
from tests.drivers.line_device import request_length, rtu
from tests.drivers.modbus_bench import settings_of

FAULT_SHARE = 0.05
ADDRESSES = range(0, 80, 20)
EXAMPLES = 5
Sent = list[bytes]


@dataclass
class Tally:
    """What came of the requests."""

    requests: int = 0
    values: int = 0
    wrong: int = 0
    failed: int = 0
    unexplained: int = 0
    """Polls that failed though the device answered every request of theirs, and of the poll before, properly."""
    examples: list[str] = field(default_factory=list)
    """The first few of these, in words."""
    faults: Counter[str] = field(default_factory=Counter)


@dataclass
class Line:
    """What of a device outlives a connection where a serial line is behind it."""

    held: list[bytes] = field(default_factory=list)
    """Comes out before the next answer."""
    busy_until_s: float = 0.0


class FaultyDevice(asyncio.Protocol):
    """One connection; answers FC 3 with `counter * 64 + address` (mod 65536) and misbehaves by the dice."""

    def __init__(
        self, tally: Tally, dice: random.Random, frames: str, truth: dict[int, set[int]], line: Line, timeout_s: float
    ) -> None:
        self.tally, self.dice, self.frames, self.truth, self.line = tally, dice, frames, truth, line
        self.timeout_s = timeout_s
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
            "slow": self._slow,
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
            pieces = self._answer(*taken)
            loop = asyncio.get_running_loop()
            if loop.time() < self.line.busy_until_s:
                loop.call_at(self.line.busy_until_s, self._send, pieces)
            else:
                self._send(pieces)

    def _send(self, pieces: Sent) -> None:
        for piece in pieces:
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
        before = self.line.held[:]
        self.line.held.clear()
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
        self.line.held.append(self._frame(head, body))
        return []

    def _slow(self, head: bytes, body: bytes) -> Sent:
        """About as late as the client's patience goes, once or twice over; what is asked meanwhile has to wait."""
        self.line.busy_until_s = asyncio.get_running_loop().time() + self.timeout_s * self.dice.uniform(0.5, 2.5)
        return [self._frame(head, body)]

    def _reset(self, _head: bytes, _body: bytes) -> Sent:
        self.transport.abort()
        return []


async def run(requests: int, frames: str = "mbap", seed: int = 1, timeout_ms: int = 10) -> Tally:
    """Poll until the device has seen so many requests. For any loop; on a real one `unexplained` counts its stalls too."""
    tally, truth = Tally(), dict[int, set[int]]()
    dice = random.Random(seed)
    loop = asyncio.get_running_loop()
    line = Line()

    def accept() -> FaultyDevice:
        return FaultyDevice(tally, dice, frames, truth, line if frames == "rtu" else Line(), timeout_ms / 1000)

    server = await loop.create_server(accept, "127.0.0.1", 0)
    settings = _settings(server.sockets[0].getsockname()[1], frames, timeout_ms)
    plan = compile_device(settings).scans[0].plan
    driver = ModbusDriver(settings, monotonic_ns=lambda: round(loop.time() * 1e9))
    await driver.connect()
    before_last = last = 0
    while tally.requests < requests:
        before_last, last = last, sum(tally.faults.values())
        try:
            frames_read = await driver.read(plan)
        except (DeviceUnreachable, DeviceMisbehaved) as error:
            tally.failed += 1
            if sum(tally.faults.values()) == before_last:
                tally.unexplained += 1
                tally.examples += [f"request {tally.requests}: {error}"] if tally.unexplained <= EXAMPLES else []
            await driver.connect()
        else:
            _compare(frames_read, truth, tally)
    await driver.close()
    server.close()
    await server.wait_closed()
    return tally


def run_in_virtual_time(requests: int, frames: str = "mbap", seed: int = 1, timeout_ms: int = 10) -> Tally:
    """As run(), on a loop of its own on which only what is scripted takes time."""

    async def main(loop: VirtualLoop) -> Tally:
        del loop
        return await run(requests, frames, seed, timeout_ms)

    return run_virtual(main)


def _settings(port: int, frames: str, timeout_ms: int) -> ModbusSettings:
    tags: list[dict[str, Any]] = [{"address": address} for address in ADDRESSES]
    return settings_of(
        tags,
        address=f"127.0.0.1:{port}",
        transport="tcp" if frames == "mbap" else "rtu_over_tcp",
        timeout_ms=timeout_ms,
        max_gap=0,
        repeats=0,
        pipeline=4 if frames == "mbap" else 1,
    )


def _compare(frames: list[Frame], truth: dict[int, set[int]], tally: Tally) -> None:
    for frame in frames:
        for place, tag in enumerate(frame.tags.tolist()):
            if is_bad(int(frame.status[place])):
                continue
            tally.values += 1
            tally.wrong += frame.values[place] not in truth[ADDRESSES[tag]]


def main() -> int:
    """Print what came of it, for each framing; the exit code."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    failures = 0
    for frames in ("mbap", "rtu"):
        tally = run_in_virtual_time(requests, frames, seed)
        failures += tally.wrong + tally.unexplained
        sys.stdout.write(json.dumps({"frames": frames, **vars(tally), "faults": dict(tally.faults)}) + "\n")
        sys.stdout.flush()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
