"""The light devices: many of them, read by the real driver."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.modbus.settings import ModbusSettings
from drivers.registry import compile_plan, open_driver
from simulators.fleet import Connection, Counting, Fleet, Table, answer
from simulators.listening import CannotListen

GUARD_S = 30.0


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[Fleet]:
    try:
        async with asyncio.timeout(GUARD_S):
            yield fleet
    finally:
        await fleet.stop()


async def read(address: str) -> list[float]:
    """All registers of a counting device, through the driver."""
    tags = [{"name": f"r{place}", "area": "holding_register", "address": place} for place in range(125)]
    settings = ModbusSettings.model_validate({"name": "d", "driver": "modbus", "address": address, "tags": tags})
    plan = compile_plan(settings)
    driver = open_driver(settings, plan)
    await driver.connect()
    try:
        (frame,) = await driver.read(plan.scans[0].plan)
        assert not frame.status.any()
        return [float(value) for value in frame.values]  # type: ignore[arg-type]
    finally:
        await driver.close()


async def test_each_of_many_devices_answers_for_itself() -> None:
    images = [Counting(polls=1000 * place) for place in range(30)]
    async with running(Fleet(images)) as fleet:
        addresses = await fleet.start()
        assert len(set(addresses)) == 30
        found = await asyncio.gather(*map(read, addresses))
    assert [values[0] for values in found] == [1000 * place + 1 for place in range(30)]


async def test_a_thousand_devices_listen_in_one_process() -> None:
    async with running(Fleet([Counting() for _ in range(1000)])) as fleet:
        addresses = await fleet.start()
        assert (await read(addresses[0]), await read(addresses[-1])) == ([*range(1, 126)], [*range(1, 126)])


async def test_devices_can_have_addresses_of_their_own_with_one_port(free_port: int) -> None:
    async with running(Fleet([Counting(), Counting()])) as fleet:
        addresses = await fleet.start_addresses("127.77.0.255", free_port)
        assert addresses == [f"127.77.0.255:{free_port}", f"127.77.1.0:{free_port}"]
        assert await read(addresses[1]) == [*range(1, 126)]


async def test_addresses_beyond_the_loopback_are_refused() -> None:
    async with running(Fleet([Counting(), Counting()])) as fleet:
        with pytest.raises(CannotListen, match="127"):
            await fleet.start_addresses("127.255.255.255", 1502)


async def test_when_one_port_is_taken_nothing_is_left_open() -> None:
    async with running(Fleet([Counting()])) as first, running(Fleet([Counting(), Counting()])) as second:
        port = int((await first.start())[0].rsplit(":", 1)[1])
        with pytest.raises(CannotListen):
            await second.start(port=port - 1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port - 1)


async def test_a_fleet_that_needs_more_ports_than_there_are_is_refused() -> None:
    async with running(Fleet([Counting(), Counting()])) as fleet:
        with pytest.raises(CannotListen, match="no such port"):
            await fleet.start(port=65_535)


async def test_a_device_is_told_when_its_client_is_gone() -> None:
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Watching(Counting):
        def end_connection(self, connection: int) -> None:
            ended.set_result(connection)

    async with running(Fleet([Watching()])) as fleet:
        (address,) = await fleet.start()
        await read(address)
        assert await ended == 1


def test_a_client_that_takes_no_answers_is_not_listened_to_until_it_does() -> None:
    connection, wire = Connection(Counting(), set()), Wire()
    connection.connection_made(wire)
    connection.pause_writing()
    assert not wire.is_read
    connection.resume_writing()
    assert wire.is_read


@pytest.mark.parametrize(
    ("unit", "pdu", "code"),
    [
        (2, b"\3\0\0\0\1", 11),
        (1, b"\6\0\0\0\1", 1),
        (1, b"\3\0\0\0", 3),
        (1, b"\3\0\0\0\x7e", 3),
        (1, b"\3\0\0\0\0", 3),
        (1, b"\3\0\x01\0\x7d", 2),
        (1, b"\3\xff\xff\0\2", 2),
        (1, b"\1\0\0\0\1", 2),
    ],
    ids=["other unit", "a write", "short", "too many", "none", "beyond", "beyond all", "no coils"],
)
def test_what_it_cannot_answer_gets_the_protocols_exception(unit: int, pdu: bytes, code: int) -> None:
    assert answer(Counting(), unit, pdu, 1) == bytes((pdu[0] | 0x80, code))


def test_the_tables_are_read_by_their_function_codes() -> None:
    assert [(table.value, table.short, table.most) for table in Table] == [
        (1, "co", 2000),
        (2, "di", 2000),
        (3, "hr", 125),
        (4, "ir", 125),
    ]


class Wire(asyncio.Transport):
    """Takes what a connection writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False
        self.is_read = True

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True


def request(transaction: int) -> bytes:
    return struct.pack(">HHHBBHH", transaction, 0, 6, 1, 3, 0, 2)


@pytest.mark.parametrize("size", [1, 7, 12, 13, 100])
def test_requests_are_answered_in_order_however_they_are_cut(size: int) -> None:
    connection, wire = Connection(Counting(), set()), Wire()
    connection.connection_made(wire)
    stream = b"".join(map(request, range(5)))
    for at in range(0, len(stream), size):
        connection.data_received(stream[at : at + size])
    expected = [struct.pack(">HHHBBBHH", place, 0, 7, 1, 3, 4, place + 1, place + 2) for place in range(5)]
    assert b"".join(wire.written) == b"".join(expected)


def test_requests_that_come_together_are_answered_together() -> None:
    connection, wire = Connection(Counting(), set()), Wire()
    connection.connection_made(wire)
    connection.data_received(b"".join(map(request, range(5))))
    assert len(wire.written) == 1


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n", b"\0\1\0\0\xff\xff\1\3", b"\0\1\0\0\0\1\1\3"])
def test_what_is_no_header_ends_the_connection(junk: bytes) -> None:
    connection, wire = Connection(Counting(), set()), Wire()
    connection.connection_made(wire)
    connection.data_received(junk)
    assert wire.aborted
    assert not wire.written
