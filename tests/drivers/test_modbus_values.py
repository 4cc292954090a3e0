"""Values beyond plain numbers: orders of 64 bits, BCD, times, labels, fill values, limits, quirks of strings."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.codec import compile_layout, decode
from drivers.modbus.datatypes import ByteOrder, DataType
from drivers.modbus.encoding import encode_value
from drivers.modbus.field import Characters, Field
from drivers.modbus.plan import compile_device
from drivers.model import Kind, value_at
from drivers.status import Status
from tests.drivers.modbus_bench import settings_of

KINDS = [kind for kind in DataType if kind is not DataType.BOOL]


def read(field: Field, raw: bytes) -> tuple[object, Status]:
    (frame,) = decode(compile_layout([field], len(raw)), raw, "d", 1)
    assert frame.tags.tolist() == [field.tag]
    return value_at(frame.values, 0, field.kind), Status(int(frame.status[0]))


@pytest.mark.parametrize("order", [order for order in ByteOrder if order.is_for_64_bits])
def test_the_letters_of_an_order_are_the_bytes_on_the_wire(order: ByteOrder) -> None:
    wire = bytes(ord(letter) - ord("A") + 1 for letter in order.value)
    assert read(Field(0, 0, DataType.UINT64, order), wire) == (0x0102030405060708, Status.GOOD)
    assert encode_value(0x0102030405060708, Field(0, 0, DataType.UINT64, order)) == wire


@pytest.mark.parametrize(
    ("short", "long"), [("ABCD", "ABCDEFGH"), ("CDAB", "GHEFCDAB"), ("BADC", "BADCFEHG"), ("DCBA", "HGFEDCBA")]
)
def test_four_letters_mean_these_eight(short: str, long: str) -> None:
    for kind, value in ((DataType.FLOAT64, -0.1), (DataType.INT64, -(2**40) - 7)):
        assert encode_value(value, Field(0, 0, kind, ByteOrder(short))) == encode_value(value, Field(0, 0, kind, ByteOrder(long)))


@pytest.mark.parametrize(
    ("kind", "raw", "value", "status"),
    [
        (DataType.BCD16, "1234", 1234, Status.GOOD),
        (DataType.BCD16, "0099", 99, Status.GOOD),
        (DataType.BCD16, "12A4", 0, Status.BAD_TYPE_MISMATCH),
        (DataType.BCD32, "12345678", 12345678, Status.GOOD),
        (DataType.BCD32, "F0000000", 0, Status.BAD_TYPE_MISMATCH),
        (DataType.UINT8, "FE", 254, Status.GOOD),
        (DataType.INT8, "FE", -2, Status.GOOD),
        (DataType.FLOAT16, "3C01", 1.0009765625, Status.GOOD),  # IEEE 754-2019, binary16: the least number above 1.
        (DataType.FLOAT16, "7BFF", 65504.0, Status.GOOD),
    ],
)
def test_a_short_or_decimal_number_is_read(kind: DataType, raw: str, value: object, status: Status) -> None:
    assert read(Field(0, 0, kind), bytes.fromhex(raw)) == (value, status)
    if status is Status.GOOD:
        assert encode_value(value, Field(0, 0, kind)) == bytes.fromhex(raw)  # type: ignore[arg-type]


def test_bcd_digits_are_scaled_like_any_number() -> None:
    fields = [Field(0, 0, DataType.BCD16, scale=0.01), Field(1, 2, DataType.BCD16, scale=0.01), Field(2, 4, DataType.UINT16)]
    frames = decode(compile_layout(fields, 6), bytes.fromhex("1250A0000007"), "d", 1)
    found = {
        tag: (frame.values[place], int(frame.status[place])) for frame in frames for place, tag in enumerate(frame.tags.tolist())
    }
    assert found[0] == (12.5, Status.GOOD)
    assert math.isnan(found[1][0])  # type: ignore[arg-type]
    assert found[1][1] == Status.BAD_TYPE_MISMATCH
    assert found[2] == (7, Status.GOOD)


@given(st.integers(0, 99_999_999), st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]))
def test_bcd_survives_there_and_back(number: int, order: str) -> None:
    field = Field(0, 0, DataType.BCD32, ByteOrder(order))
    assert read(field, encode_value(number, field)) == (number, Status.GOOD)


@pytest.mark.parametrize(
    ("kind", "raw", "text", "status"),
    [
        (DataType.UNIX_TIME, "65B92580", "2024-01-30T16:36:16Z", Status.GOOD),
        (DataType.UNIX_TIME, "FFFFFFFF", "2106-02-07T06:28:15Z", Status.GOOD),
        # 59,999 ms, minute 30, hour 14, day 24 (a Tuesday, 2), November, 2026.
        (DataType.CP56TIME2A, "5FEA1E0E580B1A00", "2026-11-24T14:30:59.999", Status.GOOD),
        (DataType.CP56TIME2A, "5FEA9E0E580B1A00", "2026-11-24T14:30:59.999", Status.UNCERTAIN),
        (DataType.CP56TIME2A, "60EA1E0E580B1A00", None, Status.BAD_TYPE_MISMATCH),
        (DataType.CP56TIME2A, "5FEA1E0E5F0D1A00", None, Status.BAD_TYPE_MISMATCH),
        (DataType.BCD_TIME, "261124143059", "2026-11-24T14:30:59", Status.GOOD),
        (DataType.BCD_TIME, "260230143059", None, Status.BAD_TYPE_MISMATCH),
        (DataType.BCD_TIME, "26112414305A", None, Status.BAD_TYPE_MISMATCH),
    ],
)
def test_a_time_is_read_as_text(kind: DataType, raw: str, text: str | None, status: Status) -> None:
    assert read(Field(0, 0, kind, registers=len(raw) // 4), bytes.fromhex(raw)) == (text, status)


@pytest.mark.parametrize(
    ("characters", "order", "raw"),
    [
        (Characters.BOTH, "ABCD", b"Pump"),
        (Characters.BOTH, "BADC", b"uPpm"),
        (Characters.HIGH, "ABCD", b"P\0u\0m\0p\0"),
        (Characters.LOW, "ABCD", b"\0P\0u\0m\0p"),
        (Characters.LOW, "BADC", b"P\0u\0m\0p\0"),
    ],
)
def test_the_characters_of_a_string_stand_where_the_settings_say(characters: Characters, order: str, raw: bytes) -> None:
    field = Field(0, 0, DataType.STRING, ByteOrder(order), registers=len(raw) // 2, characters=characters)
    assert read(field, raw) == ("Pump", Status.GOOD)
    assert encode_value("Pump", field) == raw


def test_a_labelled_number_is_its_label_and_without_one_uncertain_digits() -> None:
    field = Field(0, 0, DataType.INT16, labels=((0, "stopped"), (-1, "fault")))
    assert field.kind is Kind.TEXT
    assert read(field, b"\0\0") == ("stopped", Status.GOOD)
    assert read(field, b"\xff\xff") == ("fault", Status.GOOD)
    assert read(field, b"\0\x05") == ("5", Status.UNCERTAIN)
    assert encode_value("fault", field) == b"\xff\xff"
    with pytest.raises(ValueError, match="none of its labels"):
        encode_value("5", field)


@pytest.mark.parametrize(
    ("kind", "fill", "raw"),
    [
        (DataType.INT16, 0x7FFF, "7FFF"),
        (DataType.INT16, 0x8000, "8000"),
        (DataType.INT16, -32768, "8000"),
        (DataType.UINT16, 0xFFFF, "FFFF"),
        (DataType.INT32, 0x80000000, "80000000"),
        (DataType.UINT64, 2**63, "8000000000000000"),
        (DataType.UINT64, 2**64 - 1, "FFFFFFFFFFFFFFFF"),
        (DataType.UINT64, -1, "FFFFFFFFFFFFFFFF"),
        (DataType.UINT16, -1, "FFFF"),
        (DataType.INT64, 2**63 - 1, "7FFFFFFFFFFFFFFF"),
        (DataType.FLOAT32, -9999, "C61C3C00"),
        (DataType.FLOAT32, 0.1, "3DCCCCCD"),
        (DataType.INT8, 0x80, "80"),
        (DataType.BCD16, 0xFFFF, "FFFF"),
    ],
)
def test_a_fill_value_is_no_reading(kind: DataType, fill: float, raw: str) -> None:
    for scale in (1.0, 0.5):
        field = Field(0, 0, kind, fill=(1, fill), scale=scale)
        value, status = read(field, bytes.fromhex(raw))
        assert status == Status.BAD_SENSOR_FAILURE
        assert value == 0 or math.isnan(value)  # type: ignore[arg-type]


def test_a_fill_value_may_be_uncertain_and_its_neighbours_are_good() -> None:
    fields = [Field(tag, 2 * tag, DataType.UINT16, fill=(9,), filled=Status.UNCERTAIN) for tag in range(3)]
    (frame,) = decode(compile_layout(fields, 6), struct.pack(">3H", 8, 9, 10), "d", 1)
    assert list(frame.values) == [8, 9, 10]
    assert frame.status.tolist() == [Status.GOOD, Status.UNCERTAIN, Status.GOOD]


@pytest.mark.parametrize(
    ("beyond", "clamps", "expected"),
    [
        (Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED, False, [-50.0, 7.5, 250.0]),
        (Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED, True, [-40.0, 7.5, 120.0]),
        (Status.BAD_OUT_OF_RANGE, False, [math.nan, 7.5, math.nan]),
    ],
)
def test_a_value_beyond_its_limits_is_marked_kept_clamped_or_taken_away(
    beyond: Status, clamps: bool, expected: list[float]
) -> None:
    fields = [Field(tag, 2 * tag, DataType.INT16, scale=0.1, low=-40, high=120, beyond=beyond, clamps=clamps) for tag in range(3)]
    (frame,) = decode(compile_layout(fields, 6), struct.pack(">3h", -500, 75, 2500), "d", 1)
    assert list(frame.values) == pytest.approx(expected, nan_ok=True)
    assert frame.status.tolist() == [beyond, Status.GOOD, beyond]


def test_whole_numbers_have_limits_too() -> None:
    fields = [Field(0, 0, DataType.UINT16, high=100, clamps=True), Field(1, 2, DataType.UINT64, low=5)]
    whole, wide = decode(compile_layout(fields, 10), struct.pack(">HQ", 101, 4), "d", 1)
    assert (whole.values[0], whole.status[0]) == (100, Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED)
    assert (wide.values[0], wide.status[0]) == (4, Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED)


def test_a_whole_number_is_clamped_to_a_whole_number_within_its_limits() -> None:
    fields = [Field(tag, 2 * tag, DataType.INT16, low=-1.5, high=2.5, clamps=True) for tag in range(4)]
    (frame,) = decode(compile_layout(fields, 8), struct.pack(">4h", -2, -1, 2, 3), "d", 1)
    assert list(frame.values) == [-1, -1, 2, 2]
    beyond = Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
    assert frame.status.tolist() == [beyond, Status.GOOD, Status.GOOD, beyond]


def test_a_fill_value_of_64_bits_is_exact_from_the_settings_on() -> None:
    tags: list[dict[str, Any]] = [
        {"address": 0, "type": "uint64", "fill": [0xFFFF_FFFF_FFFF_FFFF]},
        {"address": 4, "type": "int64", "fill": [0x7FFF_FFFF_FFFF_FFFF]},
        {"address": 8, "type": "int64", "fill": [0x7FFF_FFFF_FFFF_FFFF]},
    ]
    settings = settings_of(tags, address="h")
    assert [mistake for tag in settings.tags for mistake in tag.mistakes()] == []
    layout = compile_device(settings).scans[0].plan.layout  # type: ignore[attr-defined]
    image = struct.pack(">Qqq", 2**64 - 1, 2**63 - 1, -(2**63))
    status = {
        tag: frame.status[place] for frame in decode(layout, image, "d", 1) for place, tag in enumerate(frame.tags.tolist())
    }
    assert status == {0: Status.BAD_SENSOR_FAILURE, 1: Status.BAD_SENSOR_FAILURE, 2: Status.GOOD}


def test_the_settings_of_a_tag_reach_its_field() -> None:
    tags: list[dict[str, Any]] = [
        {"address": 0, "type": "int8", "byte": "high"},
        {"address": 0, "type": "uint8", "byte": "low", "name": "low"},
        {"address": 1, "labels": {0: "off", 1: "on"}},
        {"address": 2, "fill": [65535], "fill_quality": "uncertain", "min": 0, "max": 10, "beyond": "clamp"},
        {"address": 3, "type": "float64", "order": "EFGHABCD"},
        {"address": 7, "type": "bcd_time"},
    ]
    plan = compile_device(settings_of(tags, address="h"))
    assert plan.tags.kinds == (Kind.INT, Kind.INT, Kind.TEXT, Kind.INT, Kind.FLOAT, Kind.TEXT)
    layout = plan.scans[0].plan.layout  # type: ignore[attr-defined]
    half = struct.pack(">d", 2.5)
    image = b"\xff\x02" + b"\0\1" + b"\0\x63" + half[4:] + half[:4] + bytes.fromhex("261124143059")
    found = {
        plan.tags.names[tag]: (value_at(frame.values, place, plan.tags.kinds[tag]), Status(int(frame.status[place])))
        for frame in decode(layout, image, "d", 1)
        for place, tag in enumerate(frame.tags.tolist())
    }
    assert found == {
        "t0": (-1, Status.GOOD),
        "low": (2, Status.GOOD),
        "t1": ("on", Status.GOOD),
        "t2": (10, Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED),
        "t3": (2.5, Status.GOOD),
        "t7": ("2026-11-24T14:30:59", Status.GOOD),
    }


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=20), st.binary(min_size=200, max_size=200), st.booleans())
def test_no_bytes_make_the_decoder_fail(kinds: list[DataType], raw: bytes, judged: bool) -> None:
    more: dict[str, Any] = {"fill": (1, 2), "low": 0, "high": 5, "clamps": True} if judged else {}
    registers = {DataType.STRING: 3, DataType.CP56TIME2A: 4, DataType.BCD_TIME: 3, DataType.UNIX_TIME: 2}
    fields = []
    for tag, kind in enumerate(kinds):
        wanted = more if kind.is_number else {}
        fields.append(Field(tag, 8 * tag, kind, registers=registers.get(kind, 1), **wanted))
    frames = decode(compile_layout(fields, len(raw)), raw, "d", 1)
    assert sorted(tag for frame in frames for tag in frame.tags.tolist()) == list(range(len(kinds)))
