"""A Modbus TCP device in a few lines, which a test scripts byte by byte. Shares no code with the driver."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

Reply = Callable[[bytes, bytes], "list[bytes]"]
"""(request, proper answer) -> what is really sent, one write per item."""


class ModbusDevice:
    """Its memory, and how it answers."""

    def __init__(self, unit: int = 1) -> None:
        self.unit = unit
        self.bits: dict[int, dict[int, int]] = {1: {}, 2: {}}
        self.registers: dict[int, dict[int, int]] = {3: {}, 4: {}}
        self.asked: list[tuple[int, int, int]] = []
        """(function, address, count or value) of every request."""
        self.reply: Reply = lambda _request, answer: [answer]
        self.exceptions: dict[int, list[int]] = {}
        """By function: codes to answer with, one per request, before answering properly again."""
        self.lacks_functions: set[int] = set()
        self.max_count = 2000
        self.connections: list[asyncio.Transport] = []
        self.port = 0
        self._alone = asyncio.Event()
        self._alone.set()

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator[ModbusDevice]:
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.drop_connections()
            await server.wait_closed()
            await self._alone.wait()

    def opened(self, transport: asyncio.Transport) -> None:
        self.connections.append(transport)
        self._alone.clear()

    def closed(self, transport: asyncio.Transport) -> None:
        self.connections.remove(transport)
        if not self.connections:
            self._alone.set()

    def drop_connections(self) -> None:
        for transport in self.connections:
            transport.abort()

    def answer_pdu(self, pdu: bytes) -> bytes:
        function, address, count = struct.unpack_from(">BHH", pdu)
        self.asked.append((function, address, count))
        if self.exceptions.get(function):
            return bytes([function | 0x80, self.exceptions[function].pop(0)])
        if function in self.lacks_functions:
            return bytes([function | 0x80, 1])
        try:
            return self._perform(function, address, count, pdu)
        except KeyError:
            return bytes([function | 0x80, 2])

    def _perform(self, function: int, address: int, count: int, pdu: bytes) -> bytes:
        if function in (1, 2, 3, 4) and count > self.max_count:
            return bytes([function | 0x80, 3])
        span = range(address, address + count)
        if function in (1, 2):
            packed = bytearray((count + 7) // 8)
            for place, bit in enumerate(self.bits[function][where] for where in span):
                packed[place // 8] |= bit << place % 8
            return bytes([function, len(packed)]) + packed
        if function in (3, 4):
            return struct.pack(f">BB{count}H", function, 2 * count, *(self.registers[function][where] for where in span))
        if function == 5:
            self.bits[1][self._known(self.bits[1], address)] = int(count == 0xFF00)
        elif function == 6:
            self.registers[3][self._known(self.registers[3], address)] = count
        elif function == 15:
            for place, where in enumerate(span):
                self.bits[1][self._known(self.bits[1], where)] = pdu[6 + place // 8] >> place % 8 & 1
        elif function == 16:
            for place, where in enumerate(span):
                self.registers[3][self._known(self.registers[3], where)] = struct.unpack_from(">H", pdu, 6 + 2 * place)[0]
        return pdu[:5]

    @staticmethod
    def _known(memory: dict[int, int], address: int) -> int:
        memory[address]
        return address


class _Connection(asyncio.Protocol):
    def __init__(self, device: ModbusDevice) -> None:
        self.device = device
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.device.opened(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.device.closed(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 6:
            length = 6 + int.from_bytes(self.buffer[4:6], "big")
            if len(self.buffer) < length:
                return
            request, self.buffer = self.buffer[:length], self.buffer[length:]
            pdu = self.device.answer_pdu(request[7:])
            answer = request[:4] + struct.pack(">HB", len(pdu) + 1, request[6]) + pdu
            for piece in self.device.reply(request, answer):
                self.transport.write(piece)
