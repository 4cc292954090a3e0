"""RTU and ASCII frames: the standard's checks, every cut, junk around them, and whatever hypothesis thinks of."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.datatypes import Area
from drivers.modbus.framing import Answer, ExceptionAnswer, Framing, Request, echo_request, read_request, write_register_request
from drivers.modbus.serial_framing import AsciiFraming, RtuFraming, crc16, lrc
from tests.drivers.line_device import ascii_frame, rtu

READ = read_request(Area.HOLDING_REGISTER, 107, 3)
DATA = bytes.fromhex("022B00000064")
RIGHT = bytes.fromhex("110306") + DATA
FRAMINGS = [(RtuFraming, rtu), (AsciiFraming, ascii_frame)]


class Waiting(NamedTuple):
    unit: int
    request: Request


def take(framing: Framing, request: Request = READ, unit: int = 0x11) -> Answer | None:
    taken = framing.take({7: Waiting(unit, request)})
    if taken is None:
        return None
    assert taken[0] == 7
    return taken[1]


def test_the_checksums_are_those_of_the_catalogues_and_the_standard() -> None:
    assert crc16(b"123456789") == bytes.fromhex("374B")
    # MODBUS over Serial Line V1.02, 6.2.2: 02 07 gives 12 41 on the wire order low, high: 41 12.
    assert crc16(bytes.fromhex("0207")) == bytes.fromhex("4112")
    assert lrc(bytes.fromhex("1103006B0003")) == 0x7E


def test_a_request_is_framed_as_the_field_knows_it() -> None:
    assert RtuFraming().encode(9, 0x11, READ) == bytes.fromhex("1103006B00037687")
    assert AsciiFraming().encode(9, 0x11, READ) == b":1103006B00037E\r\n"


@pytest.mark.parametrize(("framing", "frame"), FRAMINGS)
def test_an_answer_cut_anywhere_is_put_together(framing: type[RtuFraming | AsciiFraming], frame: object) -> None:
    assert callable(frame)
    whole = frame(RIGHT)
    for cut in range(len(whole)):
        one = framing()
        one.feed(whole[:cut])
        assert take(one) is None
        one.feed(whole[cut:])
        assert take(one) == DATA
        assert one.dropped == 0


@pytest.mark.parametrize(("framing", "frame"), FRAMINGS)
def test_an_exception_and_an_echo_are_answers_too(framing: type[RtuFraming | AsciiFraming], frame: object) -> None:
    assert callable(frame)
    one = framing()
    one.feed(frame(bytes.fromhex("118302")))
    assert take(one) == ExceptionAnswer(2)
    one.feed(frame(bytes.fromhex("1106000103E8")))
    assert take(one, write_register_request(1, b"\x03\xe8")) == b""
    one.feed(frame(bytes.fromhex("11080000BEEF")))
    assert take(one, echo_request(0xBEEF)) == b""


@pytest.mark.parametrize(("framing", "frame"), FRAMINGS)
@pytest.mark.parametrize(
    "body",
    ["120306022B00000064", "110406022B00000064", "110304022B0000", "110308022B000000640000", "118402", "1106000103E8"],
    ids=["unit", "function", "shorter", "longer", "exception of another function", "echo of another"],
)
def test_what_is_no_answer_to_the_request_is_passed_over(
    framing: type[RtuFraming | AsciiFraming], frame: object, body: str
) -> None:
    assert callable(frame)
    one = framing()
    one.feed(frame(bytes.fromhex(body)))
    assert take(one) is None
    one.feed(frame(RIGHT))
    assert take(one) == DATA
    assert one.dropped == 1


@pytest.mark.parametrize(("framing", "frame"), FRAMINGS)
def test_an_answer_damaged_in_any_byte_is_not_taken(framing: type[RtuFraming | AsciiFraming], frame: object) -> None:
    assert callable(frame)
    whole = frame(RIGHT)
    for place in range(len(whole)):
        one = framing()
        one.feed(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
        assert take(one) is None, place


@pytest.mark.parametrize("framing", [RtuFraming, AsciiFraming])
def test_what_comes_unasked_is_dropped_and_counted(framing: type[RtuFraming | AsciiFraming]) -> None:
    one = framing()
    one.feed(b"\x00\x11noise")
    assert one.take({}) is None
    assert one.dropped == 1
    assert one.take({}) is None
    assert one.dropped == 1


def test_bytes_behind_an_rtu_answer_go_with_it() -> None:
    one = RtuFraming()
    one.feed(rtu(RIGHT) + rtu(RIGHT))
    assert take(one) == DATA
    assert take(one) is None
    assert one.dropped == 1


def test_a_colon_begins_an_ascii_frame_anew() -> None:
    one = AsciiFraming()
    one.feed(b":110306" + ascii_frame(RIGHT))
    assert take(one) == DATA


@pytest.mark.parametrize(("framing", "frame"), FRAMINGS)
@given(junk=st.lists(st.binary(max_size=300), max_size=12))
def test_no_bytes_break_a_framing_or_fill_it_up(
    framing: type[RtuFraming | AsciiFraming], frame: object, junk: list[bytes]
) -> None:
    assert callable(frame)
    one = framing()
    for piece in junk:
        one.feed(piece)
        answer = take(one)
        assert answer is None or isinstance(answer, ExceptionAnswer) or len(answer) == 6
        assert len(one._buffer) <= 1024
    one.take({})
    one.feed(frame(RIGHT))
    assert take(one) == DATA


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_an_rtu_answer_is_found_amid_junk(before: bytes, behind: bytes) -> None:
    one = RtuFraming()
    one.feed(before + rtu(RIGHT) + behind)
    assert take(one) == DATA
    assert one.dropped == bool(before) + bool(behind)
