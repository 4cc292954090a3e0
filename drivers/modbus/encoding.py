"""Single values to registers: the inverse of codec.py, for writes and for servers. Sans-IO."""

from __future__ import annotations

import struct

from drivers.modbus.codec import Field, swapped_text
from drivers.modbus.datatypes import DataType, byte_places
from drivers.model import Kind

_PACK = {
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
        raw = str(value).encode(field.encoding)
        if len(raw) > 2 * field.registers:
            raise ValueError(f"{value!r} takes {len(raw)} bytes, more than {2 * field.registers}")
        return swapped_text(raw.ljust(2 * field.registers, b"\0"), field.order)
    number = float(value) if field.kind is Kind.FLOAT else int(value)
    if field.kind is Kind.FLOAT:
        number = (number - field.offset) / field.scale
    if field.type.is_integer:
        number = round(number)
    try:
        big_endian = struct.pack(_PACK[field.type], number)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value!r} does not fit {field.type.value}") from error
    wire = bytearray(len(big_endian))
    for byte, place in zip(big_endian, byte_places(field.order, len(big_endian) // 2), strict=True):
        wire[place] = byte
    return bytes(wire)
