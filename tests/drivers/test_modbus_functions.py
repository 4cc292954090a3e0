"""Writes with all their conditions, and the rarer functions: codecs against the standard's examples, and over the wire."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import DeviceMisbehaved, DeviceRefused
from drivers.modbus.framing import Adu, match_answer, match_pdu
from drivers.modbus.functions import (
    exchange_request,
    file_data_of,
    file_request,
    identity_of,
    identity_request,
    mask_write_request,
    queue_of,
    queue_request,
)
from drivers.modbus.services import exchange, identify, read_file, read_queue
from drivers.status import Status
from tests.drivers.line_device import Line
from tests.drivers.modbus_bench import Bench, registers
from tests.drivers.modbus_device import ModbusDevice


def made() -> ModbusDevice:
    device = ModbusDevice()
    device.registers[3] = dict.fromkeys(range(50), 0x1234)
    device.files = {4: struct.pack(">300H", *range(300))}
    device.queues = {9: [7, 8, 9]}
    return device


@pytest.fixture
async def device() -> AsyncIterator[ModbusDevice]:
    async with made().listening() as device:
        yield device


def bench(device: ModbusDevice, *tags: dict[str, Any], **other: Any) -> Bench:
    writable = [{"access": "read_write", **tag} for tag in tags]
    return Bench(writable or registers(0), address=f"127.0.0.1:{device.port}", timeout_ms=2000, **other)


def test_requests_are_those_printed_in_the_standard() -> None:
    """MODBUS Application Protocol V1.1b3, the examples of 6.16, 6.17, 6.18, 6.21; of 6.14 one of its two groups."""
    assert mask_write_request(4, 0xF2, 0x25).pdu == bytes.fromhex("16 0004 00F2 0025")
    written = bytes.fromhex("00FF00FF00FF")
    assert exchange_request(3, 6, 14, written).pdu == bytes.fromhex("17 0003 0006 000E 0003 06") + written
    assert queue_request(1246).pdu == bytes.fromhex("18 04DE")
    assert file_request(4, 1, 2).pdu == bytes.fromhex("14 07 06 0004 0001 0002")
    assert identity_request(1, 0).pdu == bytes.fromhex("2B 0E 01 00")


def test_answers_are_those_printed_in_the_standard() -> None:
    assert match_pdu(mask_write_request(4, 0xF2, 0x25), bytes.fromhex("16 0004 00F2 0025")) == b""
    answer = match_pdu(queue_request(1246), bytes.fromhex("18 0006 0002 01B8 1284"))
    assert isinstance(answer, bytes)
    assert queue_of(answer) == [440, 4740]
    answer = match_pdu(file_request(4, 1, 2), bytes.fromhex("14 06 05 06 0DFE 0020"))
    assert isinstance(answer, bytes)
    assert file_data_of(answer, 2) == bytes.fromhex("0DFE0020")
    pdu = (
        b"\x2b\x0e\x01\x01\x00\x00\x03\x00\x16" + b"Company identification" + b"\x01\x0f" + b"Product code XX" + b"\x02\x05V2.11"
    )
    answer = match_pdu(identity_request(1, 0), pdu)
    assert isinstance(answer, bytes)
    assert identity_of(answer, 1).objects == {0: b"Company identification", 1: b"Product code XX", 2: b"V2.11"}


REQUESTS = [queue_request(1), file_request(4, 1, 2), identity_request(1, 0), mask_write_request(1, 2, 3)]


@given(st.sampled_from(REQUESTS), st.binary(max_size=252))
def test_no_answer_makes_a_codec_fail_in_another_way(request_: Any, rest: bytes) -> None:
    try:
        answer = match_answer(request_, 1, Adu(1, 1, bytes([request_.function]) + rest))
        assert isinstance(answer, bytes)
        if request_ is REQUESTS[0]:
            assert len(queue_of(answer)) <= 31
        elif request_ is REQUESTS[1]:
            assert len(file_data_of(answer, 2)) == 4
        elif request_ is REQUESTS[2]:
            identity_of(answer, 1)
    except DeviceMisbehaved:
        pass


@pytest.mark.parametrize("transport", ["tcp", "rtu_over_tcp", "ascii_over_tcp"])
async def test_every_function_works_over_every_framing(transport: str) -> None:
    device = made()
    behind = device if transport == "tcp" else Line("rtu" if transport.startswith("rtu") else "ascii", {1: device})
    async with behind.listening():
        device.port = behind.port
        async with bench(device, {"address": 3}, transport=transport) as one:
            assert await identify(one.driver) == {0: "Mumian", 1: "P1", 2: "v1.0"}
            assert await read_file(one.driver, 4, 0, 300) == struct.pack(">300H", *range(300))
            assert await read_queue(one.driver, 9) == [7, 8, 9]
            assert await exchange(one.driver, 0, 77, 2, 3) == struct.pack(">3H", 0x1234, 77, 0x1234)
            with pytest.raises(DeviceRefused, match="exception 2"):
                await read_file(one.driver, 5, 0, 1)


async def test_a_device_that_identifies_itself_in_circles_is_found_out(device: ModbusDevice) -> None:
    device.reply = lambda request, answer: [answer[:12] + b"\0" + answer[13:]]
    async with bench(device) as one:
        with pytest.raises(DeviceMisbehaved, match="circles"):
            await identify(one.driver)


@pytest.mark.parametrize("order", ["ABCD", "BADC"])
@pytest.mark.parametrize("bit", [0, 7, 8, 15])
async def test_a_bit_of_a_register_is_written_by_mask_and_its_neighbours_stay(device: ModbusDevice, order: str, bit: int) -> None:
    async with bench(device, {"address": 3, "bit": bit, "verify": True}, order=order) as one:
        place = bit if order == "ABCD" else bit ^ 8
        for value in (True, False):
            await one.driver.write(0, value)
            expected = 0x1234 | 1 << place if value else 0x1234 & ~(1 << place)
            assert device.registers[3][3] == expected
            assert (await one.poll())["t3"] == (value, Status.GOOD)
        assert [function for function, _, _ in device.asked if function not in (3,)] == [22, 22]


async def test_a_byte_of_a_register_is_written_by_mask(device: ModbusDevice) -> None:
    tags = [{"address": 3, "type": "int8", "byte": "high"}, {"address": 3, "type": "uint8", "byte": "low", "name": "low"}]
    async with bench(device, *tags) as one:
        await one.driver.write(0, -2)
        assert device.registers[3][3] == 0xFE34
        await one.driver.write(1, 255)
        assert device.registers[3][3] == 0xFEFF


async def test_read_modify_write_is_done_only_where_it_was_asked_for(device: ModbusDevice) -> None:
    device.lacks_functions = {22}
    async with bench(device, {"address": 3, "bit": 0}) as one:
        with pytest.raises(DeviceRefused, match="exception 1"):
            await one.driver.write(0, value=True)
        assert device.registers[3][3] == 0x1234
    async with bench(device, {"address": 3, "bit": 0, "bit_write": "read_modify_write"}) as one:
        device.asked.clear()
        await one.driver.write(0, value=True)
        assert device.registers[3][3] == 0x1235
        assert [function for function, _, _ in device.asked] == [3, 6]


@pytest.mark.parametrize("function", [6, 16])
async def test_a_write_that_the_device_confirms_but_does_not_do_is_found_by_reading_back(
    device: ModbusDevice, function: int
) -> None:
    tag = {"address": 3, "type": "uint16" if function == 6 else "uint32", "verify": True}
    async with bench(device, tag) as one:
        await one.driver.write(0, 5)
        device.ignores_writes = True
        with pytest.raises(DeviceRefused, match="holds another value"):
            await one.driver.write(0, 6)


@pytest.mark.parametrize(
    ("tag", "good", "bad"),
    [
        ({"min": 0, "max": 100, "scale": 0.1}, [0, 55.5, 100], [-0.1, 100.1, "5", None]),
        ({"allowed": [1, 5]}, [1, 5], [0, 4, "1"]),
        ({"labels": {0: "off", 1: "on"}, "allowed": ["off"]}, ["off"], ["on", "away"]),
        ({"type": "string", "length": 2, "allowed": ["Auto"]}, ["Auto"], ["Man"]),
    ],
)
async def test_only_what_the_settings_allow_is_written(
    device: ModbusDevice, tag: dict[str, Any], good: list[object], bad: list[object]
) -> None:
    async with bench(device, {"address": 3, **tag}) as one:
        for value in good:
            await one.driver.write(0, value)
            assert (await one.poll())["t3"] == (value, Status.GOOD)
        device.asked.clear()
        for value in bad:
            with pytest.raises(DeviceRefused):
                await one.driver.write(0, value)
        assert device.asked == []
