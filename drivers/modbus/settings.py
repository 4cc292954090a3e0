"""Settings of a Modbus device and the cross-field checks that a schema can't express."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from config.settings import Mistake, Name
from drivers.modbus.datatypes import ByteOrder, DataType
from drivers.modbus.tag import LAST_ADDRESS, ModbusTag, manual_address
from drivers.modbus.transport import TransportSettings
from drivers.settings import repeated_names, spelt


class Numbering(StrEnum):
    """How far an address is trusted to be the one that goes on the wire."""

    CHECKED = "checked"
    AS_WRITTEN = "as_written"


class ModbusSettings(TransportSettings):
    """A device that speaks Modbus."""

    other_words: ClassVar = {
        **TransportSettings.other_words,
        **dict.fromkeys(("scan_rate", "poll_rate", "interval", "scan_interval", "poll_interval"), "it is called period_ms"),
        **dict.fromkeys(("byte_order", "word_order", "endian", "endianness", "swap"), "it is called order"),
        **dict.fromkeys(("registers", "points", "variables", "datapoints"), "it is called tags"),
    }
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
    order: Annotated[ByteOrder, spelt(big="ABCD", big_endian="ABCD", little="DCBA", little_endian="DCBA")] = ByteOrder.ABCD
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
        if self.order.is_for_64_bits:
            yield ("order",), "an order of eight letters is for single tags of 64 bits", "use one of four letters"
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
        yield from _group_mistakes(self)


def _numbering_mistakes(device: ModbusSettings) -> Iterator[Mistake]:
    if device.numbering is Numbering.AS_WRITTEN:
        return
    for index, tag in enumerate(device.tags):
        meant = manual_address(tag.area, tag.address)
        if tag.address <= LAST_ADDRESS and meant is not None:
            yield (
                ("tags", index, "address"),
                f"{tag.address} looks like a manual's number; addresses are zero-based protocol addresses",
                f"did you mean {meant}? If {tag.address} is meant, give the device numbering: as_written",
            )


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
    if one.data_type.is_byte and other.data_type.is_byte and one.address == other.address:
        return True
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


def _group_mistakes(device: ModbusSettings) -> Iterator[Mistake]:
    """A group must fit one request of one scan class."""
    groups: dict[str, list[int]] = {}
    for index, tag in enumerate(device.tags):
        if tag.group is not None:
            groups.setdefault(tag.group, []).append(index)
    for name, indexes in groups.items():
        tags = [device.tags[index] for index in indexes]
        for index, tag in zip(indexes, tags, strict=True):
            if tag.area is not tags[0].area:
                yield ("tags", index, "group"), f"group {name!r} has tags in {tags[0].area.value} and {tag.area.value}", None
            elif (tag.period_ms or device.period_ms) != (tags[0].period_ms or device.period_ms):
                yield ("tags", index, "group"), f"group {name!r} has tags of different periods", "give them one period_ms"
        most = device.max_bits if tags[0].area.is_bits else device.max_registers
        count = max(tag.address + tag.width for tag in tags) - min(tag.address for tag in tags)
        if count > most:
            yield ("tags", indexes[0], "group"), f"group {name!r} spans {count} addresses, more than one request's {most}", None
