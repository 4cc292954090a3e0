"""The address maps of the two Modbus devices, and readings as registers. Sans-IO.

Written without the gateway's codec on purpose: a misreading of the standard must not be shared by both sides.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from simulators.plant.meter import MeterReading
from simulators.plant.press import CLAMP_A, PressReading

UNIT = 1
"""The unit identifier of both devices."""


class Table(Enum):
    """The three tables in use: (short name, function code that reads it, most that one request may ask for)."""

    DISCRETE_INPUTS = ("di", 2, 2000)
    HOLDING_REGISTERS = ("hr", 3, 125)
    INPUT_REGISTERS = ("ir", 4, 125)

    @property
    def short(self) -> str:
        return self.value[0]

    @property
    def function_code(self) -> int:
        return self.value[1]

    @property
    def most(self) -> int:
        """MODBUS Application Protocol V1.1b3, 6.2 to 6.4."""
        return self.value[2]


TABLE_OF = {table.function_code: table for table in Table}


class Form(Enum):
    """How a value lies in its table: (struct of the value, high byte first; addresses that it takes)."""

    BIT = ("?", 1)
    UINT16 = (">H", 1)
    UINT32_ABCD = (">I", 2)
    FLOAT32_CDAB = (">f", 2)

    @property
    def width(self) -> int:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a device."""

    tag: str
    table: Table
    address: int
    form: Form
    scale: float | None = None
    """Engineering value = raw * scale; None: the raw value is it."""


Raw = bool | int | float


def encode(form: Form, value: Raw) -> list[int]:
    """A value as bits (0, 1) or 16-bit registers, lowest address first."""
    if form is Form.BIT:
        return [int(value)]
    packed = struct.pack(form.value[0], value)
    words = [high << 8 | low for high, low in zip(packed[::2], packed[1::2], strict=True)]
    return words[::-1] if form is Form.FLOAT32_CDAB else words


@dataclass(frozen=True, slots=True)
class Block:
    """What one request asks for."""

    table: Table
    address: int
    count: int

    def __str__(self) -> str:
        return f"{self.table.short}:{self.address}+{self.count}"


class AddressMap:
    """The points of one device; in each table they lie without gaps from address 0."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = tuple(points)
        self.sizes = {table: max((p.address + p.form.width for p in points if p.table is table), default=0) for table in Table}

    def holds(self, block: Block) -> bool:
        """Whether every address of the block exists."""
        return block.address + block.count <= self.sizes[block.table]

    def image(self, table: Table, raw: Sequence[Raw]) -> list[int]:
        """A whole table, from the raw values of all points in their order."""
        image = [0] * self.sizes[table]
        for point, value in zip(self.points, raw, strict=True):
            if point.table is table:
                image[point.address : point.address + point.form.width] = encode(point.form, value)
        return image

    def readings(self, block: Block, raw: Sequence[Raw]) -> list[tuple[str, Raw]]:
        """(tag, engineering value) of each point that lies wholly in the block."""
        return [
            (point.tag, value if point.scale is None else value * point.scale)
            for point, value in zip(self.points, raw, strict=True)
            if point.table is block.table
            and block.address <= point.address
            and point.address + point.form.width <= block.address + block.count
        ]


def press_raw(reading: PressReading) -> tuple[Raw, ...]:
    """The values of PRESS_MAP's points, in order."""
    lights = (reading.light_red, reading.light_yellow, reading.light_green, reading.door_open)
    return (*lights, reading.pulses, reading.current)


def meter_raw(reading: MeterReading) -> tuple[Raw, ...]:
    """The values of METER_MAP's points, in order."""
    volts = (reading.voltage_l1, reading.voltage_l2, reading.voltage_l3)
    amperes = (reading.current_l1, reading.current_l2, reading.current_l3)
    return (*volts, *amperes, reading.power_w, reading.frequency_hz, reading.power_factor, reading.energy_kwh)


PRESS_MAP = AddressMap(
    [
        Point("light_red", Table.DISCRETE_INPUTS, 0, Form.BIT),
        Point("light_yellow", Table.DISCRETE_INPUTS, 1, Form.BIT),
        Point("light_green", Table.DISCRETE_INPUTS, 2, Form.BIT),
        Point("door_open", Table.DISCRETE_INPUTS, 3, Form.BIT),
        Point("pulses", Table.INPUT_REGISTERS, 0, Form.UINT32_ABCD),
        Point("current", Table.INPUT_REGISTERS, 2, Form.UINT16, CLAMP_A),
    ]
)

METER_MAP = AddressMap(
    [
        Point(tag, Table.HOLDING_REGISTERS, 2 * index, Form.FLOAT32_CDAB)
        for index, tag in enumerate(MeterReading.__dataclass_fields__)
    ]
)
