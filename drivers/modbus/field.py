"""One tag as the codec sees it. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from drivers.modbus.datatypes import ByteOrder, DataType
from drivers.model import Kind
from drivers.status import Status


class Characters(StrEnum):
    """Where the characters of a string stand in its registers."""

    BOTH = "both"
    HIGH = "high"
    """One per register, in the high byte."""
    LOW = "low"
    """One per register, in the low byte."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where one tag stands in the image and how it is understood."""

    tag: int
    """The tag's index."""
    position: int
    """Byte of the image at which its first byte stands (register), or the byte of its bit (bool), or its byte (int8, uint8)."""
    type: DataType
    order: ByteOrder = ByteOrder.ABCD
    bit: int = 0
    """For a bool: bit of that byte, 0 the lowest."""
    scale: float = 1.0
    offset: float = 0.0
    registers: int = 1
    """How many registers it takes."""
    encoding: str = "utf-8"
    characters: Characters = Characters.BOTH
    labels: tuple[tuple[int, str], ...] = ()
    """For a whole number: what its values mean; it then is a text."""
    fill: tuple[float, ...] = ()
    """Raw values that mean "there is none"."""
    filled: Status = Status.BAD_SENSOR_FAILURE
    """Status of such a reading."""
    low: float | None = None
    """Least engineering value."""
    high: float | None = None
    beyond: Status = Status.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
    """Status of a value below `low` or above `high`."""
    clamps: bool = False
    """Whether such a value is set to the limit."""

    @property
    def kind(self) -> Kind:
        """What its engineering value is; a scaled number is a float."""
        if self.type is DataType.STRING or self.type.is_time or self.labels:
            return Kind.TEXT
        if self.type is DataType.BOOL:
            return Kind.BOOL
        if self.scale != 1.0 or self.offset != 0.0 or not self.type.is_integer:
            return Kind.FLOAT
        return Kind.UINT64 if self.type is DataType.UINT64 else Kind.INT

    @property
    def is_signed(self) -> bool:
        """Whether it is a whole number with a sign."""
        return self.type in (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64)


def swapped_text(raw: bytes, order: ByteOrder) -> bytes:
    """Text with the bytes of each register exchanged where the order says so; registers stay in reading order."""
    if not order.swaps_bytes:
        return raw
    swapped = bytearray(len(raw))
    swapped[0::2], swapped[1::2] = raw[1::2], raw[0::2]
    return bytes(swapped)
