"""A Modbus TCP device of the plant: pymodbus serves, the plant answers, the ledger remembers.

pymodbus 3.16 frames, decodes and encodes; two things of its server are replaced here. It answers one request per piece of data
that arrives and forgets what follows it, so pipelined requests would vanish; and it can't say which connection a response
belongs to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusIOException
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from simulators.ledger import Ledger
from simulators.listening import CannotListen, Clock
from simulators.registers import TABLE_OF, UNIT, AddressMap, Block, Raw, Table

_MBAP_BYTES = 7
_MOST_BYTES = 254
"""Unit identifier and PDU."""
_BUFFER_BYTES = 1 << 18
"""Requests that may be pipelined in one go; the library would throw away more than 264 bytes."""


class ModbusDevice:
    """A served device. Construct, start(), later stop()."""

    def __init__(
        self, name: str, points: AddressMap, sample: Callable[[int], Sequence[Raw]], ledger: Ledger, clock: Clock
    ) -> None:
        """Prepare, without I/O.

        Args:
            sample: the raw values of all points, in their order, at an instant (UTC ns).
        """
        self.name = name
        self._points = points
        self._sample = sample
        self._ledger = ledger
        self._clock = clock
        self._instant: tuple[int, Sequence[Raw]] = (0, ())
        self._server: _Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which differs from `port` when that is 0.

        Raises:
            CannotListen
        """
        server = _Server(self, host, port)
        try:
            await server.serve_forever(background=True)
        except RuntimeError as error:
            raise CannotListen(host, port, "the address is in use or not this machine's") from error
        self._server = server
        bound: int = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        return bound

    async def stop(self) -> None:
        """Close the listener and every connection. Safe twice, and before start()."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]
            self._server = None

    async def answer(self, request: ModbusPDU, context: Any) -> ModbusPDU:
        """The response to a request; an exception response where the device has no answer.

        Source: MODBUS Application Protocol V1.1b3, 6.2 to 6.4 and 7; MODBUS Messaging on TCP/IP V1.0b, 4.4.3 (unit).
        """
        if request.dev_id != UNIT:
            return ExceptionResponse(request.function_code, ExcCodes.GATEWAY_NO_RESPONSE)
        block = block_of(request)
        if block is None:
            return ExceptionResponse(request.function_code, ExcCodes.ILLEGAL_FUNCTION)
        if not self._points.holds(block):
            return ExceptionResponse(request.function_code, ExcCodes.ILLEGAL_ADDRESS)
        return await request.datastore_update(context, UNIT)

    def record(self, connection: int, block: Block) -> int:
        """Put what the last fill() showed of the block into the ledger; returns the row."""
        served_ns, raw = self._instant
        readings = [(tag, value, None) for tag, value in self._points.readings(block, raw)]
        return self._ledger.serve(self.name, connection, str(block), served_ns, readings)

    def acknowledge(self, row: int) -> None:
        """The client has the row safe."""
        self._ledger.acknowledge(row)

    def new_connection(self) -> int:
        """The number of a connection in the ledger."""
        return self._ledger.new_connection()

    async def fill(
        self,
        function_code: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """SimDevice action, called within each request: all registers of the table take the values of this instant."""
        del start, address, count
        table = TABLE_OF.get(function_code)
        if table is None or values is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        now_ns = self._clock()
        self._instant = (now_ns, self._sample(now_ns))
        image = self._points.image(table, self._instant[1])
        if table is Table.DISCRETE_INPUTS:
            # pymodbus keeps sixteen bits in a register, the lowest address in the lowest bit.
            image = [sum(bit << place for place, bit in enumerate(image[at : at + 16])) for at in range(0, len(image), 16)]
        registers[: len(image)] = image
        return None

    def simulated(self) -> SimDevice:
        """The device's tables for pymodbus. A table that the device lacks still needs an entry; answer() keeps clients out."""
        sizes = self._points.sizes
        bits = -(-max(sizes[Table.DISCRETE_INPUTS], 1) // 16) * 16
        return SimDevice(
            UNIT,
            simdata=(
                [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
                [SimData(0, values=[False] * bits, datatype=DataType.BITS)],
                [SimData(0, values=[0] * max(sizes[Table.HOLDING_REGISTERS], 1), datatype=DataType.REGISTERS)],
                [SimData(0, values=[0] * max(sizes[Table.INPUT_REGISTERS], 1), datatype=DataType.REGISTERS)],
            ),
            action=self.fill,
        )


def block_of(request: ModbusPDU) -> Block | None:
    """What a read request asks for; None for any other request."""
    table = TABLE_OF.get(request.function_code)
    return None if table is None else Block(table, request.address, request.count)


class _Server(ModbusTcpServer):
    """The listener; gives each connection a handler that knows its number."""

    def __init__(self, device: ModbusDevice, host: str, port: int) -> None:
        super().__init__(device.simulated(), address=(host, port))
        self.device = device

    def callback_new_connection(self) -> ServerRequestHandler:
        return _Connection(self)


class _Connection(ServerRequestHandler):
    """One client. Its requests are answered in the order in which they came."""

    def __init__(self, server: _Server) -> None:
        super().__init__(server, None, None, None)  # type: ignore[no-untyped-call]
        self.max_buffer_size = _BUFFER_BYTES
        self._device = server.device
        self._number = server.device.new_connection()
        self._unproven: dict[Block, int] = {}
        """The row last served for each block, which the next request for the same block proves to be safe."""
        self._tasks: set[asyncio.Task[None]] = set()

    def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:  # noqa: ARG002 the library's signature
        """Take every whole request from `data`; returns how many bytes they were."""
        used = 0
        requests: list[ModbusPDU] = []
        while True:
            rest = data[used:]
            if _breaks_protocol(rest):
                self.close()
                return len(data)
            try:
                size, request = self.framer.handleFrame(rest, 0, 0)
            except ModbusIOException as error:
                size, request = _refuse(rest, error)
            used += size
            if request is None:
                break
            requests.append(request)
        if requests:
            task = self.loop.create_task(self._answer(requests))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return used

    def send(self, data: bytes, addr: tuple[Any, ...] | None = None) -> None:  # noqa: ARG002 the library's signature
        """Write to the socket. The library's own also empties the receive buffer, where half a request may lie."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)  # type: ignore[attr-defined]

    async def _answer(self, requests: list[ModbusPDU]) -> None:
        # Nothing below suspends, so an answer, its instant and its record belong together.
        for request in requests:
            if self.transport is None or self.transport.is_closing():
                return
            if isinstance(request, _Refusal):
                self.pdu_send(request)
                continue
            block = block_of(request)
            if block in self._unproven:
                self._device.acknowledge(self._unproven.pop(block))
            response = await self._device.answer(request, self.server.context)
            response.transaction_id = request.transaction_id
            response.dev_id = request.dev_id
            if block is not None and not response.isError():
                self._unproven[block] = self._device.record(self._number, block)
            self.pdu_send(response)


class _Refusal(ExceptionResponse):
    """The answer to a request that pymodbus can't decode."""


def _refuse(data: bytes, error: ModbusIOException) -> tuple[int, ModbusPDU]:
    """Size of the undecodable request at the head of `data`, and its answer."""
    function_code = data[_MBAP_BYTES]
    # A read that can't be decoded asks for nothing, for too much, or is cut short: 03, else 01.
    code = ExcCodes.ILLEGAL_VALUE if function_code in TABLE_OF else ExcCodes.ILLEGAL_FUNCTION
    answer = _Refusal(function_code, code, device_id=error.dev_id, transaction=error.transaction_id)
    return _length(data) + _MBAP_BYTES - 1, answer


def _breaks_protocol(data: bytes) -> bool:
    """Whether `data` can't begin with a Modbus header (Messaging on TCP/IP V1.0b, 3.1.3): nothing after it can be trusted."""
    if len(data) < _MBAP_BYTES - 1:
        return False
    return data[2:4] != b"\0\0" or not 2 <= _length(data) <= _MOST_BYTES


def _length(data: bytes) -> int:
    """The header's length field: bytes that follow it."""
    return int.from_bytes(data[4:6], "big")
