"""What a device of the plant makes of a request PDU, and how it answers. Sans-IO.

Source: MODBUS Application Protocol V1.1b3, 6.2 to 6.4 (reads), 7 (exceptions); figure 9: function, then quantity, then address.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

from simulators.registers import TABLE_OF, Block, Table

_READ_BYTES = 5


class ExceptionCode(IntEnum):
    """The exceptions that the plant's devices give by themselves."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    UNIT_OUT_OF_REACH = 11


def decode_read(pdu: bytes) -> Block | ExceptionCode:
    """What a request asks for, or why a device that only reads can't do it. Which addresses exist isn't looked at."""
    table = TABLE_OF.get(pdu[0])
    if table is None:
        return ExceptionCode.ILLEGAL_FUNCTION
    if len(pdu) != _READ_BYTES:
        return ExceptionCode.ILLEGAL_VALUE
    address, count = struct.unpack_from(">HH", pdu, 1)
    if not 1 <= count <= table.most:
        return ExceptionCode.ILLEGAL_VALUE
    return Block(table, address, count)


def encode_data(block: Block, values: Sequence[int]) -> bytes:
    """The answer to a read: `values` are the block's bits or registers, lowest address first."""
    if block.table is Table.DISCRETE_INPUTS:
        data = sum(bit << place for place, bit in enumerate(values)).to_bytes((len(values) + 7) // 8, "little")
    else:
        data = struct.pack(f">{len(values)}H", *values)
    return bytes([block.table.function_code, len(data)]) + data


def encode_exception(function: int, code: int) -> bytes:
    """The answer that there is none."""
    return bytes([function & 0x7F | 0x80, code])
