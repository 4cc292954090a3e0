"""Settings of one Modbus tag and what contradicts what within it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from config.settings import Mistake, Name
from drivers.modbus.datatypes import REGISTERS, Area, ByteOrder, DataType
from drivers.modbus.encoding import encode_value
from drivers.modbus.field import Characters
from drivers.modbus.field import Field as CodecField
from drivers.settings import Access, TagSettings, spelt

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


_TYPES = {
    **dict.fromkeys(("float", "real", "single"), "float32"),
    **dict.fromkeys(("double", "lreal"), "float64"),
    **dict.fromkeys(("int", "short"), "int16"),
    **dict.fromkeys(("dint", "long"), "int32"),
    **dict.fromkeys(("word", "uint"), "uint16"),
    **dict.fromkeys(("dword", "udint", "ulong"), "uint32"),
    "lint": "int64",
    "ulint": "uint64",
    "boolean": "bool",
    "bit": "bool",
    "bcd": "bcd16",
}
"""What IEC 61131-3 and others call them."""
_AREAS = {
    **dict.fromkeys(("0x", "do"), "coil"),
    **dict.fromkeys(("1x", "di"), "discrete_input"),
    **dict.fromkeys(("3x", "ir", "input"), "input_register"),
    **dict.fromkeys(("4x", "hr", "holding"), "holding_register"),
}


class ModbusTag(TagSettings):
    """One coil, input or value in registers."""

    other_words: ClassVar = {
        **dict.fromkeys(("register", "reg", "start_address", "register_address"), "it is called address"),
        **dict.fromkeys(("function", "function_code", "fc", "table", "register_type", "input_type"), "it is called area"),
        **dict.fromkeys(("data_type", "datatype", "format"), "it is called type"),
        **dict.fromkeys(("factor", "multiplier", "gain", "slope"), "it is called scale"),
        **dict.fromkeys(
            ("byte_order", "word_order", "endian", "endianness", "swap"), "it is called order: ABCD, CDAB, BADC or DCBA"
        ),
        **dict.fromkeys(
            ("count", "words", "registers", "size", "quantity"), "the type says it; for a string it is called length"
        ),
        **dict.fromkeys(("writable", "writeable", "write"), "write access: read_write"),
        **dict.fromkeys(("scan_rate", "poll_rate", "interval", "scan_interval"), "it is called period_ms"),
    }
    area: Annotated[Area, spelt(**_AREAS)]
    """Which of the four tables: coil, discrete_input, holding_register or input_register."""
    address: int = Field(ge=0, json_schema_extra={"maximum": LAST_ADDRESS})
    """Zero-based protocol address, 0 to 65535, of its bit or first register: what a manual calls 40001 is holding register 0."""
    type: Annotated[DataType, spelt(**_TYPES)] | None = None
    """Data type; left out it is bool for bits and uint16 for registers."""
    bit: int | None = Field(default=None, ge=0, le=15)
    """For a bool in a register: which bit, 0 the least significant."""
    byte: Half | None = None
    """For int8 and uint8: the high or the low byte of its register."""
    length: int | None = Field(default=None, ge=1, le=125)
    """For a string: how many registers it takes."""
    encoding: Annotated[Encoding, spelt(gbk="gb18030", gb2312="gb18030", ascii="utf-8", utf8="utf-8", latin1="latin-1")] = (
        Encoding.UTF_8
    )
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
    allowed: tuple[bool | int | float | str, ...] = ()
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
    access: Annotated[
        Access, spelt(r="read_only", ro="read_only", read="read_only", rw="read_write", w="read_write", write="read_write")
    ] = Access.READ_ONLY
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
            yield ("access",), f"{_an(self.area)} can't be written", "leave access out"
        if self.access is Access.READ_WRITE and self.data_type.is_time:
            yield ("access",), f"{_an(self.data_type)} can't be written", "leave access out"
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
            yield ("type",), f"{_an(tag.area)} is one bit, not {kind.value}", "leave type out"
        if tag.bit is not None:
            yield ("bit",), f"{_an(tag.area)} is one bit itself", "leave bit out"
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
    if "encoding" in tag.model_fields_set and kind is not DataType.STRING:
        yield ("encoding",), f"only a string has an encoding, not {kind.value}", "leave encoding out"
    if tag.characters is not Characters.BOTH and kind is not DataType.STRING:
        yield ("characters",), f"{_an(kind)} has no characters", "leave characters out"
    if tag.order is not None and tag.order.is_for_64_bits and (not kind.is_number or kind.bits != 64):
        yield ("order",), f"an order of eight letters is for 64 bits, not {kind.value}", "use one of four letters"
    if not kind.is_number or tag.labels:
        what = "a labelled number" if tag.labels and kind.is_number else _an(kind)
        for field, neutral in (("scale", 1.0), ("offset", 0.0), ("deadband", 0.0), ("min", None), ("max", None), ("fill", ())):
            if getattr(tag, field) != neutral:
                yield (field,), f"{what} can't have a {field}", f"leave {field} out"
    if tag.scale == 0:
        yield ("scale",), "scale 0 turns every value into the offset", "leave scale out where the value is to stay as it is"


def _value_mistakes(tag: ModbusTag) -> Iterator[Mistake]:
    kind = tag.data_type
    if tag.labels and not kind.is_integer:
        yield ("labels",), f"only a whole number can have labels, not {kind.value}", "leave labels out"
    if len(set(tag.labels.values())) != len(tag.labels):
        yield ("labels",), "two values have the same label", "give each its own, so that a label can be written"
    if tag.min is not None and tag.max is not None and tag.min > tag.max:
        yield ("min",), f"min {tag.min:g} is greater than max {tag.max:g}", "exchange them"
    yield from _unused_limits(tag)
    for number, label in tag.labels.items() if kind.is_integer else ():
        least, most = _raw_range(kind)
        if not least <= number <= most:
            yield ("labels",), f"{number} is not a value of {kind.value}", f"it has {least} to {most}"
        if not label:
            yield ("labels",), f"{number} has an empty label", "give it a word"
    for index, value in enumerate(tag.fill if kind.is_number else ()):
        if kind.is_integer and not (value == int(value) and -(1 << kind.bits - 1) <= value < 1 << kind.bits):
            yield (
                ("fill", index),
                f"{value:g} is not a raw value of {kind.value}",
                f"whole numbers to {(1 << kind.bits) - 1}, unscaled",
            )
    if tag.access is Access.READ_ONLY:
        for field in ("allowed", "verify", "bit_write"):
            if field in tag.model_fields_set:
                yield (field,), f"{field} is for a tag that may be written", "add access: read_write"
        return
    if "bit_write" in tag.model_fields_set and (tag.area.is_bits or not (kind is DataType.BOOL or kind.is_byte)):
        yield ("bit_write",), "only a bit or byte of a register is written by mask", "leave bit_write out"
    for index, allowed in enumerate(tag.allowed):
        reason = _unfit(tag, allowed)
        if reason is not None:
            yield ("allowed", index), reason, None


def _unused_limits(tag: ModbusTag) -> Iterator[Mistake]:
    """Limits that no value keeps or that nothing needs."""
    kind, written = tag.data_type, tag.model_fields_set
    if "beyond" in written and tag.min is None and tag.max is None:
        yield ("beyond",), "beyond is for a value outside min and max, and there are none", "add min or max"
    if "fill_quality" in written and not tag.fill:
        yield ("fill_quality",), "fill_quality is the status of a fill value, and there is none", "add fill"
    if not kind.is_integer or tag.is_scaled:
        return
    least, most = _raw_range(kind)
    if tag.max is not None and tag.max < least:
        yield ("max",), f"max {tag.max:g} is below every value of {kind.value}", f"it has {least} to {most}"
    if tag.min is not None and tag.min > most:
        yield ("min",), f"min {tag.min:g} is above every value of {kind.value}", f"it has {least} to {most}"


def _raw_range(kind: DataType) -> tuple[int, int]:
    """Least and greatest value of a whole number's type."""
    if kind.is_bcd:
        return 0, int("9" * (kind.bits // 4))
    if kind.value.startswith("int"):
        return -(1 << kind.bits - 1), (1 << kind.bits - 1) - 1
    return 0, (1 << kind.bits) - 1


def _an(word: StrEnum) -> str:
    """The word with its article."""
    return f"{'an' if word.value[0] in 'aeio' else 'a'} {word.value}"


def _unfit(tag: ModbusTag, value: float | str) -> str | None:
    """Why a value can't be written to the tag; None when it can."""
    kind = tag.data_type
    if kind is DataType.BOOL:
        return None if value in (0, 1) else f"{value!r} is neither true nor false"
    if isinstance(value, bool):
        return f"{str(value).lower()} is no value of {kind.value}"
    if isinstance(value, str) != (kind is DataType.STRING or bool(tag.labels)):
        return f"{value!r} is not {'a label' if tag.labels else 'a text' if kind is DataType.STRING else 'a number'}"
    for name, limit, sign in (("min", tag.min, 1), ("max", tag.max, -1)):
        if limit is not None and not isinstance(value, str) and sign * value < sign * limit:
            return f"{value:g} is beyond {name} {limit:g}"
    labels = tuple(tag.labels.items())
    field = CodecField(0, 0, kind, scale=tag.scale or 1.0, offset=tag.offset, registers=tag.width, labels=labels)
    try:
        encode_value(value, field)
    except (ValueError, struct.error) as error:
        return str(error)
    return None
