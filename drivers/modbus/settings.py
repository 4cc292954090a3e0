"""Settings of a Modbus device and the cross-field checks that a schema can't express."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Literal

from pydantic import Field

from config.settings import Mistake, Name
from drivers.modbus.datatypes import REGISTERS, Area, ByteOrder, DataType
from drivers.modbus.transport import TransportSettings
from drivers.settings import Access, TagSettings, repeated_names

LAST_ADDRESS = 65535


class Encoding(StrEnum):
    """How the bytes of a string tag are read."""

    UTF_8 = "utf-8"
    GB18030 = "gb18030"
    LATIN_1 = "latin-1"


class Numbering(StrEnum):
    """How far an address is trusted to be the one that goes on the wire."""

    CHECKED = "checked"
    AS_WRITTEN = "as_written"


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
    length: int | None = Field(default=None, ge=1, le=125)
    """For a string: how many registers it takes."""
    encoding: Encoding = Encoding.UTF_8
    """For a string: utf-8, gb18030 or latin-1."""
    order: ByteOrder | None = None
    """Byte order of the value, A the most significant: ABCD, CDAB, BADC or DCBA; left out, the device's order holds."""
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
        if self.access is Access.READ_WRITE and not self.area.is_bits and self.data_type is DataType.BOOL:
            yield ("access",), "one bit of a register can't be written without touching its neighbours", "use a coil"


class ModbusSettings(TransportSettings):
    """A device that speaks Modbus."""

    name: Name
    """The device's name; it is unique within its gateway."""
    driver: Literal["modbus"]
    """Always modbus."""
    period_ms: int = Field(default=1000, ge=10, le=86_400_000)
    """Polling period of tags without one of their own."""
    busy_pause_ms: int = Field(default=100, ge=0, le=10_000)
    """Pause before the one repetition of a request that the device was too busy to answer (exceptions 5 and 6)."""
    max_gap: int = Field(default=16, ge=0, le=124)
    """Unused registers that one request reads through to save another request; 0 when the device refuses unused ones."""
    max_gap_bits: int = Field(default=128, ge=0, le=1999)
    """The same for coils and discrete inputs."""
    max_registers: int = Field(default=125, ge=1, le=125)
    """Most registers that the device answers in one request; the protocol's limit is 125."""
    max_bits: int = Field(default=2000, ge=1, le=2000)
    """Most coils or discrete inputs that the device answers in one request; the protocol's limit is 2000."""
    order: ByteOrder = ByteOrder.ABCD
    """Byte order of tags without one of their own."""
    numbering: Numbering = Numbering.CHECKED
    """checked refuses numbers that look like a manual's 40001; as_written takes them as protocol addresses (SunSpec devices)."""
    tags: tuple[ModbusTag, ...] = Field(min_length=1)
    """What is read."""

    def order_of(self, tag: ModbusTag) -> ByteOrder:
        """The byte order that holds for `tag`."""
        return tag.order if tag.order is not None else self.order

    def mistakes(self) -> Iterator[Mistake]:
        """Checks across the device's tags."""
        yield from self.transport_mistakes()
        yield from repeated_names(self.tags)
        yield from _numbering_mistakes(self)
        for index, tag in enumerate(self.tags):
            if not tag.area.is_bits and tag.width > self.max_registers:
                yield (
                    ("tags", index),
                    f"tag {tag.name!r} takes {tag.width} registers, more than max_registers {self.max_registers}",
                    None,
                )
        yield from _overlaps(self)


_MANUAL_DIGIT = {Area.DISCRETE_INPUT: 1, Area.INPUT_REGISTER: 3, Area.HOLDING_REGISTER: 4}


def _manual_address(area: Area, address: int) -> int | None:
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
        meant = _manual_address(tag.area, tag.address)
        hint = None if meant is None else f"addresses are zero-based: {tag.address} of a manual is address: {meant}"
        yield ("address",), f"address {tag.address} is beyond {LAST_ADDRESS}", hint
    elif last > LAST_ADDRESS:
        yield ("address",), f"{tag.data_type.value} at {tag.address} ends at {last}, beyond {LAST_ADDRESS}", None


def _numbering_mistakes(device: ModbusSettings) -> Iterator[Mistake]:
    if device.numbering is Numbering.AS_WRITTEN:
        return
    for index, tag in enumerate(device.tags):
        meant = _manual_address(tag.area, tag.address)
        if tag.address <= LAST_ADDRESS and meant is not None:
            yield (
                ("tags", index, "address"),
                f"{tag.address} looks like a manual's number; addresses are zero-based protocol addresses",
                f"did you mean {meant}? If {tag.address} is meant, give the device numbering: as_written",
            )


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
    if not kind.is_number:
        for field, neutral in (("scale", 1.0), ("offset", 0.0)):
            if getattr(tag, field) != neutral:
                yield (field,), f"a {kind.value} can't have a {field}", f"leave {field} out"
        if tag.deadband > 0:
            yield ("deadband",), f"a {kind.value} can't have a deadband", "leave deadband out"
    if tag.scale == 0:
        yield ("scale",), "scale 0 turns every value into the offset", None


def _overlaps(device: ModbusSettings) -> Iterator[Mistake]:
    """Two tags over common addresses, each named at its own line.

    Allowed: the same value twice (say raw and scaled), bits of one register, and bits beside the word that they are part of.
    """
    placed = sorted(range(len(device.tags)), key=lambda i: (device.tags[i].area, device.tags[i].address))
    for place, index in enumerate(placed):
        tag = device.tags[index]
        for other_index in placed[place + 1 :]:
            other = device.tags[other_index]
            if other.area is not tag.area or other.address >= tag.address + tag.width:
                break
            if not _may_share(device, tag, other):
                yield ("tags", index, "address"), _overlap_text(tag, other), None
                yield ("tags", other_index, "address"), _overlap_text(other, tag), None


def _may_share(device: ModbusSettings, one: ModbusTag, other: ModbusTag) -> bool:
    if (one.address, one.width) != (other.address, other.width):
        return False
    if DataType.BOOL in (one.data_type, other.data_type):
        return True
    return (one.data_type, device.order_of(one)) == (other.data_type, device.order_of(other))


def _overlap_text(tag: ModbusTag, other: ModbusTag) -> str:
    def span(which: ModbusTag) -> str:
        last = which.address + which.width - 1
        return f"{which.address}" if last == which.address else f"{which.address}-{last}"

    return f"tag {tag.name!r} ({tag.area.value} {span(tag)}) overlaps {other.name!r} ({span(other)})"
