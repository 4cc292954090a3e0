"""The Modbus devices, asked by pymodbus's own client and by raw bytes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulators.listening import CannotListen
from simulators.registers import METER_MAP, PRESS_MAP, Raw
from tests.simulators.plants import GUARD_S, address, device, running, served, settings

READ_INPUTS = b"\x04\x00\x00\x00\x03"
PRESS_RAW: list[Raw] = [True, False, True, False, 0x12345678, 4321]


@asynccontextmanager
async def client(port: int) -> AsyncIterator[AsyncModbusTcpClient]:
    connected = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=GUARD_S, retries=0)
    assert await connected.connect()
    try:
        yield connected
    finally:
        connected.close()


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(GUARD_S):
            yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def frame(transaction: int, pdu: bytes, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Transaction and PDU of the next response."""
    transaction, _, length, _ = struct.unpack(">HHHB", await reader.readexactly(7))
    return transaction, await reader.readexactly(length - 1)


async def test_the_ledger_says_what_the_client_read_bit_for_bit(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant:
        async with client(address(plant.press)[1]) as press:
            bits = await press.read_discrete_inputs(0, count=4, device_id=1)
            words = await press.read_input_registers(0, count=3, device_id=1)
        async with client(address(plant.meter)[1]) as meter:
            floats = await meter.read_holding_registers(0, count=20, device_id=1)
    lights, counters, energy = served(tmp_path)
    assert (lights.device, lights.block) == ("press", "di:0+4")
    assert lights.readings == [
        (tag, bit, None) for tag, bit in zip(("light_red", "light_yellow", "light_green", "door_open"), bits.bits, strict=False)
    ]
    assert (counters.device, counters.block) == ("press", "ir:0+3")
    assert counters.readings == [
        ("pulses", words.registers[0] << 16 | words.registers[1], None),
        ("current", words.registers[2] * 0.01, None),
    ]
    assert (energy.device, energy.block) == ("meter", "hr:0+20")
    swapped = [floats.registers[at + 1 - 2 * (at % 2)] for at in range(20)]
    values = struct.unpack(">10f", struct.pack(">20H", *swapped))
    assert energy.readings == [(point.tag, value, None) for point, value in zip(METER_MAP.points, values, strict=True)]


async def test_a_block_shows_one_instant(tmp_path: Path) -> None:
    instants = iter(range(1, 100))

    def sample(now_ns: int) -> list[Raw]:
        return [False, False, False, False, now_ns << 16 | now_ns, now_ns]

    async with device(tmp_path, PRESS_MAP, sample, lambda: next(instants)) as port, client(port) as press:
        for expected in (2, 3, 4):  # The plant's time began at 1.
            words = await press.read_input_registers(0, count=3, device_id=1)
            assert words.registers == [expected] * 3
    assert [row.served_ns for row in served(tmp_path)] == [2, 3, 4]


async def test_the_next_request_for_a_block_on_the_same_connection_proves_the_one_before(tmp_path: Path) -> None:
    async with device(tmp_path, PRESS_MAP, lambda _: PRESS_RAW) as port:
        async with client(port) as press:
            await press.read_discrete_inputs(0, count=4, device_id=1)
            await press.read_input_registers(0, count=3, device_id=1)
            await press.read_input_registers(0, count=3, device_id=1)
            await press.read_input_registers(0, count=2, device_id=1)
        async with client(port) as press:
            await press.read_input_registers(0, count=3, device_id=1)
    assert [(row.connection, row.block, row.acknowledged) for row in served(tmp_path)] == [
        (1, "di:0+4", False),
        (1, "ir:0+3", True),
        (1, "ir:0+3", False),
        (1, "ir:0+2", False),
        (2, "ir:0+3", False),
    ]


@pytest.mark.parametrize("cut", [5, 12, 13, 263, 264, 265, 700, 1200])
async def test_pipelined_requests_are_all_answered_in_order_wherever_they_are_cut(tmp_path: Path, cut: int) -> None:
    requests = b"".join(frame(number, READ_INPUTS) for number in range(100))
    expected = [(number, b"\x04\x06\x12\x34\x56\x78\x10\xe1") for number in range(100)]
    async with device(tmp_path, PRESS_MAP, lambda _: PRESS_RAW) as port, raw(port) as (reader, writer):
        writer.write(requests[:cut])
        answers = [await answer(reader) for _ in range(cut // 12)]
        writer.write(requests[cut:])
        answers += [await answer(reader) for _ in range(100 - cut // 12)]
    assert answers == expected
    assert [row.acknowledged for row in served(tmp_path)] == [True] * 99 + [False]


@pytest.mark.parametrize(
    ("pdu", "unit", "exception"),
    [
        (b"\x04\x00\x01\x00\x03", 1, b"\x84\x02"),  # beyond the last register
        (b"\x02\x00\x00\x00\x05", 1, b"\x82\x02"),  # beyond the last bit
        (b"\x03\x00\x00\x00\x01", 1, b"\x83\x02"),  # a table that the press lacks
        (b"\x04\x00\x00\x00\x00", 1, b"\x84\x03"),  # no register at all
        (b"\x04\x00\x00\x00\x7e", 1, b"\x84\x03"),  # 126 registers
        (b"\x01\x00\x00\x00\x01", 1, b"\x81\x01"),  # coils
        (b"\x06\x00\x00\x00\x01", 1, b"\x86\x01"),  # a write
        (b"\x41\x00", 1, b"\xc1\x01"),  # an unknown function
        (b"\x04\x00\x00\x00\x03", 9, b"\x84\x0b"),  # nobody of that number
    ],
)
async def test_what_the_press_cant_answer_gets_the_protocols_exception_and_no_record(
    tmp_path: Path, pdu: bytes, unit: int, exception: bytes
) -> None:
    async with device(tmp_path, PRESS_MAP, lambda _: PRESS_RAW) as port, raw(port) as (reader, writer):
        writer.write(frame(7, pdu, unit) + frame(8, READ_INPUTS))
        assert await answer(reader) == (7, exception)
        assert (await answer(reader))[0] == 8
    assert [row.block for row in served(tmp_path)] == ["ir:0+3"]


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n", struct.pack(">HHHB", 1, 0, 4000, 1), struct.pack(">HHH", 1, 0, 0)])
async def test_bytes_that_cant_be_modbus_close_that_connection_only(tmp_path: Path, junk: bytes) -> None:
    async with device(tmp_path, PRESS_MAP, lambda _: PRESS_RAW) as port, raw(port) as (reader, writer):
        async with raw(port) as (other_reader, other_writer):
            other_writer.write(junk)
            assert await other_reader.read() == b""
        writer.write(frame(8, READ_INPUTS))
        assert (await answer(reader))[0] == 8


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async with device(tmp_path, PRESS_MAP, lambda _: PRESS_RAW) as port:
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            async with running(settings(tmp_path, press_port=port)):
                pass
