"""Registers to columns: against vectors with sources, and against a plain `struct` decoder, value by value."""

from __future__ import annotations

import math
import struct
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.codec import Field, compile_layout, decode
from drivers.modbus.datatypes import ByteOrder, DataType
from drivers.modbus.encoding import encode_value
from drivers.model import Frame, Kind, value_at
from drivers.status import Status, status_name

VECTORS = tomllib.loads((Path(__file__).parents[1] / "vectors" / "registers.toml").read_text("utf-8"))["vector"]
ORDERS = [order for order in ByteOrder if not order.is_for_64_bits]
STRUCT = {
    DataType.INT8: "b",
    DataType.UINT8: "B",
    DataType.FLOAT16: "e",
    DataType.INT16: "h",
    DataType.UINT16: "H",
    DataType.INT32: "i",
    DataType.UINT32: "I",
    DataType.INT64: "q",
    DataType.UINT64: "Q",
    DataType.FLOAT32: "f",
    DataType.FLOAT64: "d",
}
NUMBERS = list(STRUCT)


def orders_of(kind: DataType) -> list[ByteOrder]:
    return list(ByteOrder) if kind.bits == 64 else ORDERS


def words_of(vector: dict[str, Any]) -> bytes:
    return struct.pack(f">{len(vector['words'])}H", *vector["words"])


def field_of(vector: dict[str, Any], position: int = 0) -> Field:
    kind = DataType(vector["type"])
    registers = len(vector["words"])
    return Field(0, position, kind, ByteOrder(vector["order"]), registers=registers, encoding=vector.get("encoding", "utf-8"))


def readings(frames: list[Frame], kinds: dict[int, Kind]) -> dict[int, tuple[object, int]]:
    """Every reading by tag; fails when a tag is there twice."""
    found: dict[int, tuple[object, int]] = {}
    for frame in frames:
        for place, tag in enumerate(frame.tags.tolist()):
            assert tag not in found
            found[tag] = (value_at(frame.values, place, kinds[tag]), int(frame.status[place]))
    return found


def decode_one(field: Field, image: bytes) -> tuple[object, int]:
    frames = decode(compile_layout([field], len(image)), image, "d", 7)
    assert [frame.acquired_ns for frame in frames] == [7]
    return readings(frames, {field.tag: field.kind})[field.tag]


def wire_to_big_endian(raw: bytes, order: ByteOrder) -> bytes:
    """The plain way: swap bytes within registers, then reverse the registers; eight letters say where each byte stands."""
    if len(raw) == 1:
        return raw
    if order.is_for_64_bits:
        return bytes(byte for _, byte in sorted(zip(order.value, raw, strict=True)))
    registers = [raw[start : start + 2] for start in range(0, len(raw), 2)]
    if order in (ByteOrder.BADC, ByteOrder.DCBA):
        registers = [register[::-1] for register in registers]
    if order in (ByteOrder.CDAB, ByteOrder.DCBA):
        registers.reverse()
    return b"".join(registers)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['type']}-{v['order']}-{v.get('value', v.get('status'))}")
def test_a_vector_decodes_to_its_value(vector: dict[str, Any]) -> None:
    value, status = decode_one(field_of(vector, 4), b"\xaa\xbb\xcc\xdd" + words_of(vector) + b"\xee\xff")
    if "status" in vector:
        assert status == Status[vector["status"]], status_name(status)
        assert value is None or math.isnan(float(str(value)))
    else:
        assert status == Status.GOOD
        assert value == vector["value"]
        assert type(value) is type(vector["value"])


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if "value" in v and not v["source"].startswith("ascii")],
    ids=lambda v: f"{v['type']}-{v['order']}-{v['value']}",
)
def test_a_vector_encodes_back_to_its_registers(vector: dict[str, Any]) -> None:
    assert encode_value(vector["value"], field_of(vector)) == words_of(vector)


@given(st.data())
def test_any_mixture_decodes_as_struct_does_value_by_value(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=30))
    orders = [data.draw(st.sampled_from(orders_of(kind))) for kind in kinds]
    scales = [data.draw(st.sampled_from([1.0, 1.0, 0.01, 10.0, -0.1, 1e300])) for _ in kinds]
    offsets = [data.draw(st.sampled_from([0.0, 0.0, -40.0, 0.5])) for _ in kinds]
    fields, position = [], 0
    for tag, (kind, order, scale, offset) in enumerate(zip(kinds, orders, scales, offsets, strict=True)):
        fields.append(Field(tag, position, kind, order, scale=scale, offset=offset))
        position += kind.bits // 8
    image = data.draw(st.binary(min_size=position, max_size=position))
    found = readings(decode(compile_layout(fields, position), image, "d", 1), {f.tag: f.kind for f in fields})
    assert len(found) == len(fields)
    for field in fields:
        raw = image[field.position : field.position + field.type.bits // 8]
        (expected,) = struct.unpack(">" + STRUCT[field.type], wire_to_big_endian(raw, field.order))
        if field.kind is Kind.FLOAT:
            expected = float(expected) * field.scale + field.offset
        value, status = found[field.tag]
        if isinstance(expected, float) and not math.isfinite(expected):
            assert status == Status.BAD_SENSOR_FAILURE
            assert math.isnan(float(str(value)))
        else:
            assert (value, status) == (expected, Status.GOOD)


@given(st.data())
def test_what_is_encoded_decodes_to_the_same(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(NUMBERS))
    bits = kind.bits
    value: float
    if kind.is_integer:
        signed = kind.value.startswith("int")
        value = data.draw(st.integers(-(1 << bits - 1) if signed else 0, (1 << (bits - signed)) - 1))
    else:
        value = data.draw(st.floats(width=bits, allow_nan=False, allow_infinity=False))  # type: ignore[arg-type]
    field = Field(0, 0, kind, data.draw(st.sampled_from(orders_of(kind))))
    assert decode_one(field, encode_value(value, field)) == (value, Status.GOOD)


def test_a_scaled_integer_is_exactly_raw_times_scale() -> None:
    for raw in (0, 321, 1234, 65535):
        assert decode_one(Field(0, 0, DataType.UINT16, scale=0.01), struct.pack(">H", raw)) == (raw * 0.01, Status.GOOD)


def test_an_unscaled_integer_stays_whole_and_exact() -> None:
    field = Field(0, 0, DataType.UINT64)
    assert decode_one(field, b"\xff" * 8) == (2**64 - 1, Status.GOOD)
    assert field.kind is Kind.UINT64


def test_a_bool_is_its_bit_and_nothing_else() -> None:
    fields = [Field(bit, 0, DataType.BOOL, bit=bit) for bit in range(8)]
    found = readings(decode(compile_layout(fields, 1), b"\xa5", "d", 1), dict.fromkeys(range(8), Kind.BOOL))
    assert [found[bit][0] for bit in range(8)] == [True, False, True, False, False, True, False, True]


def test_a_nan_makes_only_itself_bad() -> None:
    fields = [Field(tag, 4 * tag, DataType.FLOAT32) for tag in range(3)]
    image = struct.pack(">fff", 1.5, math.nan, 2.5)
    found = readings(decode(compile_layout(fields, 12), image, "d", 1), dict.fromkeys(range(3), Kind.FLOAT))
    assert found[0] == (1.5, Status.GOOD)
    assert found[1][1] == Status.BAD_SENSOR_FAILURE
    assert found[2] == (2.5, Status.GOOD)


def test_faults_blank_their_tags_in_every_column() -> None:
    fields = [
        Field(0, 0, DataType.FLOAT32),
        Field(1, 4, DataType.UINT16),
        Field(2, 6, DataType.STRING, registers=1),
        Field(3, 8, DataType.UINT64),
        Field(4, 16, DataType.UINT16),
    ]
    faults = [((0, 2), Status.BAD_TIMEOUT), ((1, 3), Status.BAD_DEVICE_FAILURE)]
    found = readings(decode(compile_layout(fields, 18), b"\x41" * 18, "d", 1, faults), {f.tag: f.kind for f in fields})
    assert math.isnan(float(str(found[0][0])))
    assert found[0][1] == found[2][1] == Status.BAD_TIMEOUT
    assert found[1] == found[3] == (0, Status.BAD_DEVICE_FAILURE)
    assert found[2][0] is None
    assert found[4] == (0x4141, Status.GOOD)


def test_frames_do_not_change_when_the_next_poll_is_decoded() -> None:
    layout = compile_layout([Field(0, 0, DataType.UINT16), Field(1, 2, DataType.FLOAT32)], 6)
    first = decode(layout, struct.pack(">Hf", 1, 1.0), "d", 1)
    decode(layout, struct.pack(">Hf", 2, 2.0), "d", 2)
    assert sorted(float(frame.values[0]) for frame in first if isinstance(frame.values, np.ndarray)) == [1.0, 1.0]


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="image of 3 bytes"):
        decode(compile_layout([Field(0, 0, DataType.UINT16)], 2), b"abc", "d", 1)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (65536, Field(0, 0, DataType.UINT16)),
        (-1, Field(0, 0, DataType.UINT32)),
        (1e39, Field(0, 0, DataType.FLOAT32)),
        (7000.0, Field(0, 0, DataType.INT16, scale=0.1)),
        (math.nan, Field(0, 0, DataType.INT16, scale=0.1)),
        ("too long", Field(0, 0, DataType.STRING, registers=2)),
    ],
)
def test_a_value_that_does_not_fit_is_not_encoded(value: float | str, field: Field) -> None:
    with pytest.raises(ValueError):
        encode_value(value, field)
