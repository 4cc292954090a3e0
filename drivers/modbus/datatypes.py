"""The words of Modbus: areas, data types, byte orders.

Sources: MODBUS Application Protocol V1.1b3, 4.3 (data model), 4.2 (a register is sent high byte first), 6.1-6.4 (quantities).
Order and width of values wider than a register are the vendor's; the names used here are the field's.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Area(StrEnum):
    """The four tables of the data model."""

    COIL = "coil"
    DISCRETE_INPUT = "discrete_input"
    HOLDING_REGISTER = "holding_register"
    INPUT_REGISTER = "input_register"

    @property
    def is_bits(self) -> bool:
        """Whether an address is one bit rather than a 16-bit register."""
        return self in (Area.COIL, Area.DISCRETE_INPUT)

    @property
    def is_writable(self) -> bool:
        """Whether the protocol has a function code that writes it."""
        return self in (Area.COIL, Area.HOLDING_REGISTER)


class Function(IntEnum):
    """Function codes in use (V1.1b3, 6)."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_COIL = 5
    WRITE_REGISTER = 6
    DIAGNOSTICS = 8
    WRITE_COILS = 15
    WRITE_REGISTERS = 16
    READ_FILE = 20
    MASK_WRITE_REGISTER = 22
    READ_WRITE_REGISTERS = 23
    READ_QUEUE = 24
    ENCAPSULATED = 43


READ_FUNCTION = {
    Area.COIL: Function.READ_COILS,
    Area.DISCRETE_INPUT: Function.READ_DISCRETE_INPUTS,
    Area.HOLDING_REGISTER: Function.READ_HOLDING_REGISTERS,
    Area.INPUT_REGISTER: Function.READ_INPUT_REGISTERS,
}


class DataType(StrEnum):
    """How the bits of a tag are understood."""

    BOOL = "bool"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BCD16 = "bcd16"
    BCD32 = "bcd32"
    STRING = "string"
    UNIX_TIME = "unix_time"
    CP56TIME2A = "cp56time2a"
    BCD_TIME = "bcd_time"

    @property
    def is_integer(self) -> bool:
        """Whether it is a whole number (a bool isn't)."""
        return "int" in self.value or self.is_bcd

    @property
    def is_bcd(self) -> bool:
        """Whether each half byte is a decimal digit."""
        return self in (DataType.BCD16, DataType.BCD32)

    @property
    def is_byte(self) -> bool:
        """Whether it is one byte of a register."""
        return self in (DataType.INT8, DataType.UINT8)

    @property
    def is_time(self) -> bool:
        """Whether its value is a date and time, as text."""
        return self in (DataType.UNIX_TIME, DataType.CP56TIME2A, DataType.BCD_TIME)

    @property
    def bits(self) -> int:
        """How many bits a number takes."""
        return 8 if self.is_byte else 16 * REGISTERS[self]

    @property
    def is_number(self) -> bool:
        """Whether scale and offset can apply."""
        return self not in (DataType.BOOL, DataType.STRING) and not self.is_time


REGISTERS = {
    DataType.BOOL: 1,
    DataType.INT8: 1,
    DataType.UINT8: 1,
    DataType.FLOAT16: 1,
    DataType.BCD16: 1,
    DataType.BCD32: 2,
    DataType.UNIX_TIME: 2,
    DataType.CP56TIME2A: 4,
    DataType.BCD_TIME: 3,
    DataType.INT16: 1,
    DataType.UINT16: 1,
    DataType.INT32: 2,
    DataType.UINT32: 2,
    DataType.FLOAT32: 2,
    DataType.INT64: 4,
    DataType.UINT64: 4,
    DataType.FLOAT64: 4,
}
"""Registers per value; a string's length is set by its tag."""


class ByteOrder(StrEnum):
    """Where the bytes of a value stand on the wire, A the most significant.

    64-bit values follow four letters by extension: ABCD is ABCDEFGH, CDAB reverses the registers (GHEFCDAB), BADC swaps the bytes
    within each register (BADCFEHG), DCBA does both (HGFEDCBA). A 16-bit value is AB under ABCD and CDAB, BA under BADC and DCBA.
    Eight letters are for 64-bit values only: every combination of swapped bytes, swapped registers and swapped 32-bit halves.
    """

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"
    ABCDEFGH = "ABCDEFGH"
    GHEFCDAB = "GHEFCDAB"
    BADCFEHG = "BADCFEHG"
    HGFEDCBA = "HGFEDCBA"
    CDABGHEF = "CDABGHEF"
    EFGHABCD = "EFGHABCD"
    DCBAHGFE = "DCBAHGFE"
    FEHGBADC = "FEHGBADC"

    @property
    def is_for_64_bits(self) -> bool:
        """Whether it is written with eight letters."""
        return len(self.value) == 8

    @property
    def swaps_registers(self) -> bool:
        """Whether the least significant register comes first."""
        return self in (ByteOrder.CDAB, ByteOrder.DCBA)

    @property
    def swaps_bytes(self) -> bool:
        """Whether the low byte of each register comes first."""
        return self in (ByteOrder.BADC, ByteOrder.DCBA)


def byte_places(order: ByteOrder, registers: int) -> tuple[int, ...]:
    """For each byte of a value, most significant first, its place on the wire counted from the value's first byte."""
    if order.is_for_64_bits:
        return tuple(order.value.index(letter) for letter in "ABCDEFGH")
    places = []
    for byte in range(2 * registers):
        register, low = divmod(byte, 2)
        if order.swaps_registers:
            register = registers - 1 - register
        places.append(2 * register + (1 - low if order.swaps_bytes else low))
    return tuple(places)
