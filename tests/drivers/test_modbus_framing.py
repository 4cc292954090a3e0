"""Frames in and out: vectors of the standard, every cut, trailing bytes, and whatever hypothesis thinks of."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import DeviceMisbehaved
from drivers.modbus.datatypes import Area
from drivers.modbus.framing import (
    Adu,
    AduReader,
    ExceptionAnswer,
    Request,
    encode_request,
    match_answer,
    read_request,
    write_coil_request,
    write_coils_request,
    write_register_request,
    write_registers_request,
)

# Requests as printed in MODBUS Application Protocol V1.1b3, 6.1-6.4, 6.5, 6.6, 6.11, 6.12 (examples of each function).
EXAMPLES = [
    (read_request(Area.COIL, 19, 19), "01 0013 0013", 3),
    (read_request(Area.DISCRETE_INPUT, 196, 22), "02 00C4 0016", 3),
    (read_request(Area.HOLDING_REGISTER, 107, 3), "03 006B 0003", 6),
    (read_request(Area.INPUT_REGISTER, 8, 1), "04 0008 0001", 2),
    (write_coil_request(172, on=True), "05 00AC FF00", 0),
    (write_register_request(1, b"\x00\x03"), "06 0001 0003", 0),
    (
        write_coils_request(19, [True, False, True, True, False, False, True, True, True, False]),
        "0F 0013 000A 02 CD 01",
        0,
    ),
    (write_registers_request(1, bytes.fromhex("000A0102")), "10 0001 0002 04 000A 0102", 0),
]


def frame(transaction: int, pdu: bytes, unit: int = 1, protocol: int = 0) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1, unit) + pdu


def take_all(reader: AduReader) -> list[Adu]:
    taken = []
    while (adu := reader.take()) is not None:
        taken.append(adu)
    return taken


STREAM = frame(1, bytes.fromhex("0306022B00000064")) + frame(2, b"\x83\x02", unit=9) + frame(65535, b"\x04\xfa" + b"\x5a" * 250)
ADUS = [
    Adu(1, 1, bytes.fromhex("0306022B00000064")),
    Adu(2, 9, b"\x83\x02"),
    Adu(65535, 1, b"\x04\xfa" + b"\x5a" * 250),
]


@pytest.mark.parametrize(("request_", "pdu", "data_bytes"), EXAMPLES)
def test_a_request_is_the_one_printed_in_the_standard(request_: Request, pdu: str, data_bytes: int) -> None:
    assert request_.pdu == bytes.fromhex(pdu)
    assert request_.data_bytes == data_bytes
    expected = bytes.fromhex("1501 0000") + struct.pack(">H", len(request_.pdu) + 1) + b"\xff" + request_.pdu
    assert encode_request(0x1501, 0xFF, request_) == expected


def test_a_stream_fed_whole_gives_its_frames() -> None:
    reader = AduReader()
    reader.feed(STREAM)
    assert take_all(reader) == ADUS


def test_a_stream_fed_byte_by_byte_gives_its_frames() -> None:
    reader = AduReader()
    taken = []
    for byte in STREAM:
        reader.feed(bytes([byte]))
        taken += take_all(reader)
    assert taken == ADUS


def test_a_stream_cut_at_every_index_gives_its_frames() -> None:
    for cut in range(len(STREAM) + 1):
        reader = AduReader()
        reader.feed(STREAM[:cut])
        taken = take_all(reader)
        reader.feed(STREAM[cut:])
        assert taken + take_all(reader) == ADUS, cut


def test_trailing_bytes_wait_for_the_rest_of_their_frame() -> None:
    reader = AduReader()
    reader.feed(STREAM + b"\x00\x07\x00\x00\x00")
    assert take_all(reader) == ADUS
    reader.feed(b"\x03\x01\x84\x0b")
    assert take_all(reader) == [Adu(7, 1, b"\x84\x0b")]


@pytest.mark.parametrize("length", [0, 1, 2, 255, 256, 0x8000, 0xFFFF])
def test_a_length_that_no_answer_has_is_refused(length: int) -> None:
    reader = AduReader()
    reader.feed(struct.pack(">HHH", 1, 0, length))
    with pytest.raises(DeviceMisbehaved, match="length"):
        reader.take()


def test_a_foreign_protocol_is_refused_before_its_length_is_believed() -> None:
    reader = AduReader()
    reader.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(DeviceMisbehaved, match="protocol id"):
        reader.take()


READ = read_request(Area.HOLDING_REGISTER, 107, 3)


def test_the_data_of_the_right_answer_come_back() -> None:
    assert match_answer(READ, 1, Adu(5, 1, bytes.fromhex("0306022B00000064"))) == bytes.fromhex("022B00000064")


def test_an_exception_is_an_answer_too() -> None:
    assert match_answer(READ, 1, Adu(5, 1, b"\x83\x02")) == ExceptionAnswer(2)


@pytest.mark.parametrize(
    ("unit", "pdu"),
    [
        (2, "0306022B00000064"),
        (1, "0406022B00000064"),
        (1, "0304022B0000"),
        (1, "0306022B0000"),
        (1, "0306022B0000006400"),
        (1, "0307022B0000006400"),
        (1, "0300"),
        (1, "8302FF"),
        (1, "8402"),
        (1, "83"),
    ],
)
def test_an_answer_that_differs_in_any_field_is_refused(unit: int, pdu: str) -> None:
    with pytest.raises(DeviceMisbehaved):
        match_answer(READ, 1, Adu(5, unit, bytes.fromhex(pdu)))


def test_a_write_is_confirmed_by_its_echo_only() -> None:
    write = write_registers_request(1, bytes.fromhex("000A0102"))
    assert match_answer(write, 1, Adu(5, 1, bytes.fromhex("1000010002"))) == b""
    for other in ("1000010003", "1000020002", "100001", "100001000204000A0102"):
        with pytest.raises(DeviceMisbehaved, match="echo"):
            match_answer(write, 1, Adu(5, 1, bytes.fromhex(other)))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_whatever_comes_the_reader_keeps_less_than_one_frame(chunks: list[bytes]) -> None:
    reader = AduReader()
    try:
        for chunk in chunks:
            reader.feed(chunk)
            for adu in take_all(reader):
                assert 2 <= len(adu.pdu) <= 253
            kept = len(reader._buffer) - reader._start
            assert kept < 260
    except DeviceMisbehaved:
        pass


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(min_size=2, max_size=253)), max_size=8), st.data())
def test_frames_survive_any_cutting(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(frame(transaction, pdu) for transaction, pdu in frames)
    reader = AduReader()
    taken = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:cut])
        stream = stream[cut:]
        taken += take_all(reader)
    assert taken == [Adu(transaction, 1, pdu) for transaction, pdu in frames]


@given(st.integers(0, 255), st.binary(min_size=1, max_size=253))
def test_no_frame_makes_the_matcher_fail_in_another_way(unit: int, pdu: bytes) -> None:
    try:
        answer = match_answer(READ, 1, Adu(1, unit, pdu))
    except DeviceMisbehaved:
        return
    assert isinstance(answer, ExceptionAnswer) or len(answer) == 6
