"""The device's side of the three framings, without any I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from simulators.modbus.framing import FramingKind, Request, StreamBroken, crc16, lrc, make_framing
from simulators.modbus.pdu import ExceptionCode, decode_read, encode_data
from simulators.registers import Block, Table

READ = b"\x04\x00\x00\x00\x03"
PDUS = [
    READ,
    b"\x01\x00\x00\x00\x08",
    b"\x06\x00\x01\x00\x02",
    b"\x10\x00\x01\x00\x01\x02\xab\xcd",
    b"\x17" + bytes(8) + b"\x02ab",
]
THEIRS = {FramingKind.MBAP: FramerSocket, FramingKind.RTU: FramerRTU, FramingKind.ASCII: FramerAscii}


def taken(kind: FramingKind, *pieces: bytes) -> list[Request]:
    framing = make_framing(kind)
    found = []
    for piece in pieces:
        framing.feed(piece)
        while (request := framing.take()) is not None:
            found.append(request)
    return found


def frame(kind: FramingKind, pdu: bytes, transaction: int = 5, unit: int = 1) -> bytes:
    return make_framing(kind).encode(transaction, unit, pdu)


def test_checks_are_those_of_the_standard() -> None:
    # Serial Line V1.02, 6.2.2: the CRC of 02 07 is 1241, sent as 41 12.
    assert crc16(b"\x02\x07") == b"\x41\x12"
    assert frame(FramingKind.ASCII, b"\x03\x00\x6b\x00\x03", unit=17) == b":1103006B00037E\r\n"
    assert lrc(bytes.fromhex("1103006B0003")) == 0x7E


@pytest.mark.parametrize("kind", list(FramingKind))
@pytest.mark.parametrize("pdu", PDUS, ids=lambda pdu: f"function {pdu[0]}")
def test_a_request_is_found_whole_byte_by_byte_and_behind_another(kind: FramingKind, pdu: bytes) -> None:
    data = frame(kind, pdu) * 2
    expected = [Request(5 if kind is FramingKind.MBAP else 0, 1, pdu)] * 2
    assert taken(kind, data) == expected
    assert taken(kind, *[bytes([byte]) for byte in data]) == expected
    for cut in range(len(data)):
        assert taken(kind, data[:cut], data[cut:]) == expected


@pytest.mark.parametrize("kind", list(FramingKind))
def test_another_implementation_reads_what_is_written(kind: FramingKind) -> None:
    framer = THEIRS[kind](DecodePDU(is_server=True))
    size, pdu = framer.handleFrame(frame(kind, READ), 0, 0)
    assert pdu is not None
    assert (size, pdu.function_code, pdu.dev_id, pdu.address, pdu.count) == (len(frame(kind, READ)), 4, 1, 0, 3)


@pytest.mark.parametrize("kind", [FramingKind.RTU, FramingKind.ASCII])
@given(junk=st.binary(max_size=20))
def test_a_serial_request_is_found_again_after_junk_and_a_silence(kind: FramingKind, junk: bytes) -> None:
    framing = make_framing(kind)
    framing.feed(junk)
    found = []
    while (request := framing.take()) is not None:
        found.append(request)
    framing.hush()
    framing.feed(frame(kind, READ))
    assert framing.take() == Request(0, 1, READ)


def test_a_bad_checksum_is_no_request() -> None:
    assert taken(FramingKind.RTU, frame(FramingKind.RTU, READ)[:-1] + b"\0") == []
    assert taken(FramingKind.ASCII, b":010400000003F9\r\n") == []
    assert taken(FramingKind.ASCII, b":0104000000\r\n:0104zz\r\n" + frame(FramingKind.ASCII, READ)) == [Request(0, 1, READ)]


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from(list(FramingKind)))
def test_whatever_comes_is_requests_or_silence_or_the_end(pieces: list[bytes], kind: FramingKind) -> None:
    try:
        for request in taken(kind, *pieces):
            assert request.pdu
            decode_read(request.pdu)
    except StreamBroken:
        assert kind is FramingKind.MBAP


@pytest.mark.parametrize(
    ("pdu", "expected"),
    [
        (READ, Block(Table.INPUT_REGISTERS, 0, 3)),
        (b"\x03\x00\x10\x00\x7d", Block(Table.HOLDING_REGISTERS, 16, 125)),
        (b"\x03\x00\x10\x00\x7e", ExceptionCode.ILLEGAL_VALUE),
        (b"\x02\x00\x00\x07\xd1", ExceptionCode.ILLEGAL_VALUE),
        (b"\x04\x00\x00\x00\x00", ExceptionCode.ILLEGAL_VALUE),
        (b"\x04\x00\x00", ExceptionCode.ILLEGAL_VALUE),
        (b"\x06\x00\x00\x00\x00", ExceptionCode.ILLEGAL_FUNCTION),
    ],
)
def test_a_request_is_a_read_or_an_exception(pdu: bytes, expected: Block | ExceptionCode) -> None:
    assert decode_read(pdu) == expected


def test_bits_go_lowest_first() -> None:
    # MODBUS Application Protocol V1.1b3, 6.2: the first bit is the lowest of the first byte.
    bits = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    assert encode_data(Block(Table.DISCRETE_INPUTS, 0, 10), bits) == b"\x02\x02\xcd\x03"
