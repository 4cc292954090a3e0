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
        self.ignores_writes = False
        """Confirm a write and do nothing."""
        self.objects = {0: b"Mumian", 1: b"P1", 2: b"v1.0"}
        """What FC 43/14 gives, `objects_per_answer` at a time."""
        self.objects_per_answer = 2
        self.files: dict[int, bytes] = {}
        self.queues: dict[int, list[int]] = {}
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
        function, address, count = struct.unpack_from(">BHH", pdu + b"\0\0")
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
        if function in (20, 22, 23, 24, 43):
            return self._perform_rare(function, address, count, pdu)
        if function in (1, 2, 3, 4) and count > self.max_count:
            return bytes([function | 0x80, 3])
        if self.ignores_writes and function in (5, 6, 15, 16):
            return pdu[:5]
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

    def _perform_rare(self, function: int, address: int, count: int, pdu: bytes) -> bytes:
        holding = self.registers[3]
        if function == 20:
            file, record, length = struct.unpack_from(">HHH", pdu, 3)
            data = self.files[file][2 * record : 2 * (record + length)]
            if len(data) < 2 * length:
                raise KeyError(record)
            return bytes([20, len(data) + 2, len(data) + 1, 6]) + data
        if function == 22:
            bits = struct.unpack_from(">H", pdu, 5)[0]
            holding[self._known(holding, address)] = holding[address] & count | bits & ~count & 0xFFFF
            return pdu
        if function == 23:
            written, length = struct.unpack_from(">HH", pdu, 5)
            for place, value in enumerate(struct.unpack_from(f">{length}H", pdu, 10)):
                holding[self._known(holding, written + place)] = value
            values = [holding[where] for where in range(address, address + count)]
            return struct.pack(f">BB{count}H", 23, 2 * count, *values)
        if function == 24:
            values = self.queues[address]
            return struct.pack(f">BHH{len(values)}H", 24, 2 + 2 * len(values), len(values), *values)
        wanted = [number for number in sorted(self.objects) if number >= pdu[3]]
        given, rest = wanted[: self.objects_per_answer], wanted[self.objects_per_answer :]
        head = bytes([43, 14, pdu[2], 0x82, 0xFF if rest else 0, rest[0] if rest else 0, len(given)])
        return head + b"".join(bytes([number, len(self.objects[number])]) + self.objects[number] for number in given)

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
