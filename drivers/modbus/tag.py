"""Settings of one Modbus tag and what contradicts what within it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import StrEnum

from pydantic import Field

from config.settings import Mistake, Name
from drivers.modbus.datatypes import REGISTERS, Area, ByteOrder, DataType
from drivers.modbus.encoding import encode_value
from drivers.modbus.field import Characters
from drivers.modbus.field import Field as CodecField
from drivers.settings import Access, TagSettings

LAST_ADDRESS = 65535


class Encoding(StrEnum):
    """How the bytes of a string tag are read."""

    UTF_8 = "utf-8"
    GB18030 = "gb18030"
    LATIN_1 = "latin-1"


class Half(StrEnum):
    """Which byte of a register."""

    HIGH = "high"
    LOW = "low"


class FillQuality(StrEnum):
    """What a fill value is worth."""

    BAD = "bad"
    UNCERTAIN = "uncertain"


class Beyond(StrEnum):
    """What becomes of a value outside its limits."""

    UNCERTAIN = "uncertain"
    CLAMP = "clamp"
    BAD = "bad"


class BitWrite(StrEnum):
    """How a part of a register is written."""

    MASK = "mask"
    READ_MODIFY_WRITE = "read_modify_write"


class ModbusTag(TagSettings):
    """One coil, input or value in registers."""

    area: Area
    """Which of the four tables: coil, discrete_input, holding_register or input_register."""
    address: int = Field(ge=0, json_schema_extra={"maximum": LAST_ADDRESS})
    """Zero-based protocol address, 0 to 65535, of its bit or first register: what a manual calls 40001 is holding register 0."""
    type: DataType | None = None
    """Data type; left out it is bool for bits and uint16 for registers."""
    bit: int | None = Field(default=None, ge=0, le=15)
    """For a bool in a register: which bit, 0 the least significant."""
    byte: Half | None = None
    """For int8 and uint8: the high or the low byte of its register."""
    length: int | None = Field(default=None, ge=1, le=125)
    """For a string: how many registers it takes."""
    encoding: Encoding = Encoding.UTF_8
    """For a string: utf-8, gb18030 or latin-1."""
    characters: Characters = Characters.BOTH
    """For a string: both bytes of each register hold characters, or only the high or the low one does."""
    order: ByteOrder | None = None
    """Byte order, A the most significant: ABCD, CDAB, BADC, DCBA, or eight letters for 64 bits; left out, the device's holds."""
    fill: tuple[int | float, ...] = Field(default=(), max_length=8)
    """Raw values that mean "there is none", such as 0x7FFF; the reading is then Bad (a NaN always is)."""
    fill_quality: FillQuality = FillQuality.BAD
    """bad, or uncertain: the status of a fill value; uncertain keeps the number."""
    min: float | None = None
    """Least value in the tag's unit, for reading and writing."""
    max: float | None = None
    """Greatest value in the tag's unit, for reading and writing."""
    beyond: Beyond = Beyond.UNCERTAIN
    """A value outside min and max is uncertain and kept, clamped to the limit and uncertain, or bad."""
    labels: dict[int, str] = Field(default_factory=dict)
    """What the values of a whole number mean, such as {0: stopped, 1: running}: the tag is then a text."""
    allowed: tuple[int | float | str, ...] = ()
    """The only values that may be written; without it, any that fits."""
    verify: bool = False
    """Read the value back after writing and count the write as refused when it differs."""
    bit_write: BitWrite = BitWrite.MASK
    """For one bit or byte of a register: mask (function 22), or read_modify_write, in which a change by others can be lost."""
    group: Name | None = None
    """Tags of one group name are read by one and the same request, so that they belong to one moment."""
    scale: float = Field(default=1.0, allow_inf_nan=False)
    """Engineering value = raw * scale + offset, a float; with scale 1 and offset 0 a whole number stays whole."""
    offset: float = Field(default=0.0, allow_inf_nan=False)
    """Added after scaling, in the tag's unit."""
    access: Access = Access.READ_ONLY
    """read_write lets a production rule write the tag (coils and holding registers only)."""
    period_ms: int | None = Field(default=None, ge=10, le=86_400_000)
    """Polling period of this tag where it differs from the device's; tags of one period are read together."""

    @property
    def data_type(self) -> DataType:
        """The data type, whether written or implied."""
        if self.type is not None:
            return self.type
        return DataType.BOOL if self.area.is_bits or self.bit is not None else DataType.UINT16

    @property
    def width(self) -> int:
        """How many addresses it takes: bits in a bit area, registers otherwise."""
        if self.area.is_bits:
            return 1
        if self.data_type is DataType.STRING:
            return self.length or 1
        return REGISTERS[self.data_type]

    @property
    def is_scaled(self) -> bool:
        """Whether the engineering value differs from the raw one."""
        return self.scale != 1.0 or self.offset != 0.0

    def mistakes(self) -> Iterator[Mistake]:
        """Checks within one tag."""
        yield from _address_mistakes(self)
        yield from _type_mistakes(self)
        if self.access is Access.READ_WRITE and not self.area.is_writable:
            yield ("access",), f"a {self.area.value} can't be written", "leave access out"
        if self.access is Access.READ_WRITE and self.data_type.is_time:
            yield ("access",), f"a {self.data_type.value} can't be written", "leave access out"
        yield from _value_mistakes(self)


_MANUAL_DIGIT = {Area.DISCRETE_INPUT: 1, Area.INPUT_REGISTER: 3, Area.HOLDING_REGISTER: 4}


def manual_address(area: Area, address: int) -> int | None:
    """The protocol address that a manual's five or six digits mean (40001 or 400001 is holding register 0), or None."""
    digit = _MANUAL_DIGIT.get(area)
    if digit is None:
        return None
    for digits, last in ((10_000, 9_999), (100_000, 65_536)):
        if 1 <= address - digit * digits <= last:
            return address - digit * digits - 1
    return None


def _address_mistakes(tag: ModbusTag) -> Iterator[Mistake]:
    last = tag.address + tag.width - 1
    if tag.address > LAST_ADDRESS:
        meant = manual_address(tag.area, tag.address)
        hint = None if meant is None else f"addresses are zero-based: {tag.address} of a manual is address: {meant}"
        yield ("address",), f"address {tag.address} is beyond {LAST_ADDRESS}", hint
    elif last > LAST_ADDRESS:
        yield ("address",), f"{tag.data_type.value} at {tag.address} ends at {last}, beyond {LAST_ADDRESS}", None


def _type_mistakes(tag: ModbusTag) -> Iterator[Mistake]:
    kind = tag.data_type
    if tag.area.is_bits:
        if kind is not DataType.BOOL:
            yield ("type",), f"a {tag.area.value} is one bit, not {kind.value}", "leave type out"
        if tag.bit is not None:
            yield ("bit",), f"a {tag.area.value} is one bit itself", "leave bit out"
    elif kind is DataType.BOOL and tag.bit is None:
        yield ("type",), "a bool in a register needs its bit", "add bit: 0 to 15"
    elif kind is not DataType.BOOL and tag.bit is not None:
        yield ("bit",), f"only a bool is one bit of a register, not {kind.value}", "leave bit or type out"
    if kind is DataType.STRING and tag.length is None:
        yield ("type",), "a string needs its length in registers", "add length"
    elif kind is not DataType.STRING and tag.length is not None:
        yield ("length",), f"the length of {kind.value} is fixed", "leave length out"
    if kind.is_byte and tag.byte is None:
        yield ("type",), f"{kind.value} is one byte of a register", "add byte: high or low"
    elif tag.byte is not None and not kind.is_byte:
        yield ("byte",), f"{kind.value} is not one byte of a register", "leave byte out"
    if tag.characters is not Characters.BOTH and kind is not DataType.STRING:
        yield ("characters",), f"a {kind.value} has no characters", "leave characters out"
    if tag.order is not None and tag.order.is_for_64_bits and (not kind.is_number or kind.bits != 64):
        yield ("order",), f"an order of eight letters is for 64 bits, not {kind.value}", "use one of four letters"
    if not kind.is_number or tag.labels:
        what = "labelled number" if tag.labels and kind.is_number else kind.value
        for field, neutral in (("scale", 1.0), ("offset", 0.0), ("deadband", 0.0), ("min", None), ("max", None), ("fill", ())):
            if getattr(tag, field) != neutral:
                yield (field,), f"a {what} can't have a {field}", f"leave {field} out"
    if tag.scale == 0:
        yield ("scale",), "scale 0 turns every value into the offset", None


def _value_mistakes(tag: ModbusTag) -> Iterator[Mistake]:
    kind = tag.data_type
    if tag.labels and not kind.is_integer:
        yield ("labels",), f"only a whole number can have labels, not {kind.value}", "leave labels out"
    if len(set(tag.labels.values())) != len(tag.labels):
        yield ("labels",), "two values have the same label", None
    if tag.min is not None and tag.max is not None and tag.min > tag.max:
        yield ("min",), f"min {tag.min:g} is greater than max {tag.max:g}", None
    for index, value in enumerate(tag.fill if kind.is_number else ()):
        if kind.is_integer and not (value == int(value) and -(1 << kind.bits - 1) <= value < 1 << kind.bits):
            yield ("fill", index), f"{value:g} is not a raw value of {kind.value}", None
    if tag.access is Access.READ_ONLY:
        for field in ("allowed", "verify", "bit_write"):
            if field in tag.model_fields_set:
                yield (field,), f"{field} is for a tag that may be written", "add access: read_write"
        return
    if "bit_write" in tag.model_fields_set and (tag.area.is_bits or not (kind is DataType.BOOL or kind.is_byte)):
        yield ("bit_write",), "only a bit or byte of a register is written by mask", "leave bit_write out"
    for index, allowed in enumerate(tag.allowed):
        if not _fits(tag, allowed):
            yield ("allowed", index), f"{allowed!r} is no value of this tag", None


def _fits(tag: ModbusTag, value: float | str) -> bool:
    kind = tag.data_type
    if kind is DataType.BOOL:
        return value in (0, 1)
    if isinstance(value, str) != (kind is DataType.STRING or bool(tag.labels)):
        return False
    labels = tuple(tag.labels.items())
    field = CodecField(0, 0, kind, scale=tag.scale or 1.0, offset=tag.offset, registers=tag.width, labels=labels)
    try:
        encode_value(value, field)
    except (ValueError, struct.error):
        return False
    return True
