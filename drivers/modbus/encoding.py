"""Single values to registers: the inverse of codec.py, for writes and for servers. Sans-IO."""

from __future__ import annotations

import struct

from drivers.modbus.datatypes import DataType, byte_places
from drivers.modbus.field import Characters, Field, swapped_text
from drivers.model import Kind

_PACK = {
    DataType.INT8: ">b",
    DataType.UINT8: ">B",
    DataType.FLOAT16: ">e",
    DataType.INT16: ">h",
    DataType.UINT16: ">H",
    DataType.INT32: ">i",
    DataType.UINT32: ">I",
    DataType.INT64: ">q",
    DataType.UINT64: ">Q",
    DataType.FLOAT32: ">f",
    DataType.FLOAT64: ">d",
}


def encode_value(value: float | str, field: Field) -> bytes:
    """The bytes of the registers that hold `value`, as they go on the wire: the inverse of decode for one number or string.

    Raises:
        ValueError: the value doesn't fit the type.
    """
    if field.type is DataType.STRING:
        return _encode_string(str(value), field)
    if field.type not in _PACK and not field.type.is_bcd:
        raise ValueError(f"a {field.type.value} can't be written")
    if field.labels:
        value = _labelled(value, field)
    number = float(value) if field.kind is Kind.FLOAT else int(value)
    if field.kind is Kind.FLOAT:
        number = (number - field.offset) / field.scale
    if field.type.is_integer:
        number = round(number)
    try:
        big_endian = _bcd(int(number), field) if field.type.is_bcd else struct.pack(_PACK[field.type], number)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value!r} does not fit {field.type.value}") from error
    if field.type.is_byte:
        return big_endian
    wire = bytearray(len(big_endian))
    for byte, place in zip(big_endian, byte_places(field.order, len(big_endian) // 2), strict=True):
        wire[place] = byte
    return bytes(wire)


def _encode_string(value: str, field: Field) -> bytes:
    raw = value.encode(field.encoding)
    room = 2 * field.registers if field.characters is Characters.BOTH else field.registers
    if len(raw) > room:
        raise ValueError(f"{value!r} takes {len(raw)} bytes, more than {room}")
    raw = raw.ljust(room, b"\0")
    if field.characters is not Characters.BOTH:
        spread = bytearray(2 * room)
        spread[field.characters is Characters.LOW :: 2] = raw
        raw = bytes(spread)
    return swapped_text(raw, field.order)


def _labelled(value: float | str, field: Field) -> int:
    for number, label in field.labels:
        if value in (label, number):
            return number
    raise ValueError(f"{value!r} is none of its labels")


def _bcd(number: int, field: Field) -> bytes:
    digits = f"{number:0{field.type.bits // 4}d}"
    if number < 0 or 4 * len(digits) > field.type.bits:
        raise OverflowError
    return bytes.fromhex(digits)
