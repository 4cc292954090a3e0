"""A Modbus device behind RTU or ASCII frames, which a test scripts byte by byte. Shares no code with the driver."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, cast

from tests.drivers.modbus_device import ModbusDevice

Frames = Literal["rtu", "ascii"]


def crc(data: bytes) -> bytes:
    """Bit by bit, as MODBUS over Serial Line V1.02, 6.2.2 describes it."""
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            carry = register & 1
            register >>= 1
            if carry:
                register ^= 0xA001
    return bytes([register & 0xFF, register >> 8])


def rtu(body: bytes) -> bytes:
    return body + crc(body)


def ascii_frame(body: bytes) -> bytes:
    return b":" + (body + bytes([(256 - sum(body) % 256) % 256])).hex().upper().encode() + b"\r\n"


def request_length(frame: bytes) -> int | None:
    """Bytes of an RTU request, None while that can't be told."""
    if len(frame) > 1 and frame[1] == 24:
        return 6
    if len(frame) < 7:
        return None
    match frame[1]:
        case 15 | 16:
            return 9 + frame[6]
        case 20:
            return 5 + frame[2]
        case 22:
            return 10
        case 23:
            return 13 + frame[10] if len(frame) > 10 else None
        case 43:
            return 7
        case _:
            return 8


class Line:
    """Several units behind one line: (unit, device), each asked with its own requests only."""

    def __init__(self, frames: Frames, units: dict[int, ModbusDevice]) -> None:
        self.frames = frames
        self.units = units
        self.echoes: bool | None = True
        """Function 8: True answers it, False refuses it, None says nothing."""
        self.reply: Callable[[bytes, bytes], list[bytes]] = lambda _request, answer: [answer]
        """(request body, proper frame) -> what is really sent."""
        self.asked: list[tuple[int, int]] = []
        """(unit, function) of every request, function 8 too."""
        self.port = 0
        self.transports: list[asyncio.Transport] = []
        self._alone = asyncio.Event()
        self._alone.set()

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Line]:
        server = await asyncio.get_running_loop().create_server(lambda: LineEnd(self), "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for transport in self.transports:
                transport.abort()
            await server.wait_closed()
            await self._alone.wait()

    def opened(self, transport: asyncio.Transport) -> None:
        self.transports.append(transport)
        self._alone.clear()

    def closed(self, transport: asyncio.Transport) -> None:
        self.transports.remove(transport)
        if not self.transports:
            self._alone.set()

    def answers_to(self, body: bytes) -> list[bytes]:
        unit, pdu = body[0], body[1:]
        self.asked.append((unit, pdu[0]))
        if unit not in self.units:
            return []
        frame = rtu if self.frames == "rtu" else ascii_frame
        if pdu[0] == 8:
            if self.echoes is None:
                return []
            return self.reply(body, frame(body if self.echoes else bytes([unit, 0x88, 1])))
        return self.reply(body, frame(bytes([unit]) + self.units[unit].answer_pdu(pdu)))


class LineEnd(asyncio.Protocol):
    """The device's end of a connection."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.line.opened(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.line.closed(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (body := self._body()) is not None:
            for piece in self.line.answers_to(body):
                self.transport.write(piece)

    def _body(self) -> bytes | None:
        if self.line.frames == "ascii":
            head, end, rest = self.buffer.partition(b"\r\n")
            if not end:
                return None
            self.buffer = rest
            frame = bytes.fromhex(head[1:].decode())
            assert ascii_frame(frame[:-1]) == head + end
            return frame[:-1]
        length = request_length(self.buffer)
        if length is None or len(self.buffer) < length:
            return None
        frame, self.buffer = self.buffer[:length], self.buffer[length:]
        assert rtu(frame[:-2]) == frame
        return frame[:-2]
