"""Many light Modbus TCP devices in one process: a thousand cost little more than their requests.

    fleet = Fleet([device_1, device_2, ...])
    addresses = await fleet.start()
    await fleet.stop()

Each device listens on a port of its own, or all on one port of addresses 127.x.y.z of their own (start_addresses). Reads only,
functions 1 to 4; requests may be pipelined. What a device serves is told by an Image. Written without the gateway's codec on
purpose.

Sources: MODBUS Messaging on TCP/IP V1.0b, 3.1.3 (header); MODBUS Application Protocol V1.1b3, 6.1 to 6.4, 7.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Protocol, cast

from simulators.listening import CannotListen, endpoint, stop_accepting, wait_accepted

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, NO_RESPONSE = 1, 2, 3, 11
_HEAD = struct.Struct(">HHHB")
_READ = struct.Struct(">BHH")
_READ_BYTES = 5
_MOST_LENGTH = 254
_ADDRESSES = 65_536
_BACKLOG = 4096
_MOST_PORT = 65_535


class Table(IntEnum):
    """The four tables, by the function code that reads them."""

    COILS = 1
    DISCRETE_INPUTS = 2
    HOLDING_REGISTERS = 3
    INPUT_REGISTERS = 4

    @property
    def short(self) -> str:
        """As it stands in the ledger."""
        return ("co", "di", "hr", "ir")[self - 1]

    @property
    def most(self) -> int:
        """Most addresses that one request may ask for."""
        return 2000 if self <= Table.DISCRETE_INPUTS else 125


_CODES = frozenset(Table)


class Refused(Exception):
    """The device answers with an exception."""

    def __init__(self, code: int) -> None:
        self.code = code


class Image(Protocol):
    """What a device holds."""

    def units(self) -> frozenset[int]:
        """Unit identifiers that it answers to."""

    def read(self, table: Table, address: int, count: int, connection: int) -> bytes:
        """The data of an answer: registers high byte first, or bits packed from the lowest.

        Args:
            connection: which client asks, as new_connection() numbered it.

        Raises:
            Refused: there is no such address.
        """

    def new_connection(self) -> int:
        """A number for a client that has just connected."""

    def end_connection(self, connection: int) -> None:
        """The client of that number is gone."""


@dataclass
class Counting:
    """An image of `size` registers in which each poll finds every register one higher: the least that changes."""

    size: int = 125
    polls: int = 0
    connections: int = 0

    def units(self) -> frozenset[int]:
        """Unit 1."""
        return frozenset({1})

    def read(self, table: Table, address: int, count: int, connection: int) -> bytes:  # noqa: ARG002 the image's signature
        """See Image.read. Register n of poll p is p + n modulo 32768."""
        if table < Table.HOLDING_REGISTERS or address + count > self.size:
            raise Refused(ILLEGAL_ADDRESS)
        self.polls += 1
        first = self.polls + address
        return struct.pack(f">{count}H", *(value & 0x7FFF for value in range(first, first + count)))

    def new_connection(self) -> int:
        """See Image.new_connection."""
        self.connections += 1
        return self.connections

    def end_connection(self, connection: int) -> None:
        """See Image.end_connection."""


def answer(image: Image, unit: int, pdu: bytes, connection: int) -> bytes:
    """The PDU that answers a request's."""
    try:
        data = _read(image, unit, pdu, connection)
    except Refused as refused:
        return bytes((pdu[0] | 0x80, refused.code))
    return bytes((pdu[0], len(data))) + data


def _read(image: Image, unit: int, pdu: bytes, connection: int) -> bytes:
    """Checks go by V1.1b3, figure 9: function, then quantity, then address."""
    if unit not in image.units():
        raise Refused(NO_RESPONSE)
    if pdu[0] not in _CODES:
        raise Refused(ILLEGAL_FUNCTION)
    if len(pdu) != _READ_BYTES:
        raise Refused(ILLEGAL_VALUE)
    _, address, count = _READ.unpack(pdu)
    table = Table(pdu[0])
    if not 1 <= count <= table.most:
        raise Refused(ILLEGAL_VALUE)
    if address + count > _ADDRESSES:
        raise Refused(ILLEGAL_ADDRESS)
    return image.read(table, address, count, connection)


class Connection(asyncio.Protocol):
    """One client of one device; all that came in one piece is answered in one. Who takes no answers isn't listened to."""

    def __init__(self, image: Image, members: set[Connection]) -> None:
        self._image = image
        self._number = image.new_connection()
        self._members = members
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._members.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the protocol's signature
        """See asyncio.Protocol."""
        self._members.discard(self)
        self._image.end_connection(self._number)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Break the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        data = self._rest + data
        at, answers = 0, []
        while len(data) - at >= _HEAD.size + 1:
            transaction, protocol, length, unit = _HEAD.unpack_from(data, at)
            if protocol or not 2 <= length <= _MOST_LENGTH:
                self.abort()
                return
            end = at + 6 + length
            if len(data) < end:
                break
            pdu = answer(self._image, unit, data[at + 7 : end], self._number)
            answers.append(_HEAD.pack(transaction, 0, len(pdu) + 1, unit) + pdu)
            at = end
        self._rest = data[at:]
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))


class Fleet:
    """The devices. Construct, start(), stop()."""

    def __init__(self, images: Sequence[Image]) -> None:
        self._images = tuple(images)
        self._members: set[Connection] = set()
        self._servers: list[asyncio.Server] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> list[str]:
        """Give each device a port of one address; returns host:port of each, in their order.

        Args:
            port: the first device's, the others have the next ones; 0 takes free ones.

        Raises:
            CannotListen: nothing is left open.
        """
        return await self._start([(host, port + place if port else 0) for place in range(len(self._images))])

    async def start_addresses(self, first: str = "127.1.0.1", port: int = 502) -> list[str]:
        """Give each device an address of its own, all with one port: from `first` on, within 127.0.0.0/8, where Linux listens
        without more ado. Returns host:port of each.

        Raises:
            CannotListen: nothing is left open.
        """
        hosts = [IPv4Address(first) + place for place in range(len(self._images))]
        if not all(host.is_loopback for host in hosts):
            raise CannotListen(first, port, f"it and the next {len(hosts) - 1} addresses are not all of 127.0.0.0/8")
        return await self._start([(str(host), port) for host in hosts])

    async def _start(self, places: Sequence[tuple[str, int]]) -> list[str]:
        try:
            return [await self._listen(image, *place) for image, place in zip(self._images, places, strict=True)]
        except CannotListen:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close all listeners and connections: none is open then. Safe twice, and before start()."""
        servers, self._servers = self._servers, []
        for server in servers:
            stop_accepting(server)
        await wait_accepted()
        for server in servers:
            server.close()
        for connection in list(self._members):
            connection.abort()
        await asyncio.sleep(0)  # For the transports to close their sockets.

    async def _listen(self, image: Image, host: str, port: int) -> str:
        loop = asyncio.get_running_loop()
        if port > _MOST_PORT:
            raise CannotListen(host, port, "there is no such port")
        try:
            server = await loop.create_server(lambda: Connection(image, self._members), host, port, backlog=_BACKLOG)
        except OSError as error:
            raise CannotListen.because(host, port, error) from error
        self._servers.append(server)
        return endpoint(host, server.sockets[0].getsockname()[1])
