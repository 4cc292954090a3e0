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
from simulators.plant.workshop import CLAMP_A as MACHINE_CLAMP_A
from simulators.plant.workshop import Sensors

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


_MOST_TOUCHED = 1000


class AddressMap:
    """The points of one device; each table has every address from 0 to its last point's, or what `blocks` says."""

    def __init__(self, points: Sequence[Point], blocks: Sequence[Block] = ()) -> None:
        """`blocks`: the addresses that exist; without them, those below the last point of each table."""
        self.points = tuple(points)
        self._blocks = tuple(blocks)
        self._touched: dict[Block, list[tuple[int, Point]]] = {}
        self.sizes = {table: max((p.address + p.form.width for p in points if p.table is table), default=0) for table in Table}

    def holds(self, block: Block) -> bool:
        """Whether every address of the block exists."""
        if self._blocks:
            return any(
                other.table is block.table
                and other.address <= block.address
                and block.address + block.count <= other.address + other.count
                for other in self._blocks
            )
        return block.address + block.count <= self.sizes[block.table]

    def values(self, block: Block, raw: Sequence[Raw]) -> list[int]:
        """The block's bits or registers, from the raw values of all points in their order. A point may lie across its edge."""
        values = [0] * block.count
        for index, point in self._touching(block):
            for place, part in enumerate(encode(point.form, raw[index]), point.address - block.address):
                if 0 <= place < block.count:
                    values[place] = part
        return values

    def readings(self, block: Block, raw: Sequence[Raw]) -> list[tuple[str, Raw]]:
        """(tag, engineering value) of each point that lies wholly in the block."""
        return [
            (point.tag, raw[index] if point.scale is None else raw[index] * point.scale)
            for index, point in self._touching(block)
            if block.address <= point.address and point.address + point.form.width <= block.address + block.count
        ]

    def _touching(self, block: Block) -> list[tuple[int, Point]]:
        """The points of which the block has at least a part, with their places. Remembered: clients ask for the same again."""
        touched = self._touched.get(block)
        if touched is None:
            if len(self._touched) >= _MOST_TOUCHED:
                self._touched.clear()
            touched = self._touched[block] = [
                (index, point)
                for index, point in enumerate(self.points)
                if point.table is block.table
                and point.address < block.address + block.count
                and block.address < point.address + point.form.width
            ]
        return touched


def press_raw(reading: PressReading) -> tuple[Raw, ...]:
    """The values of PRESS_MAP's points, in order."""
    lights = (reading.light_red, reading.light_yellow, reading.light_green, reading.door_open)
    return (*lights, reading.pulses, reading.current)


def meter_raw(reading: MeterReading) -> tuple[Raw, ...]:
    """The values of METER_MAP's points, in order."""
    volts = (reading.voltage_l1, reading.voltage_l2, reading.voltage_l3)
    amperes = (reading.current_l1, reading.current_l2, reading.current_l3)
    return (*volts, *amperes, reading.power_w, reading.frequency_hz, reading.power_factor, reading.energy_kwh)


def machine_raw(sensors: Sensors) -> tuple[Raw, ...]:
    """The values of MACHINE_MAP's points, in order."""
    return (sensors.red, sensors.yellow, sensors.green, sensors.door_open, sensors.counter, sensors.current)


MACHINE_MAP = AddressMap(
    [
        Point("red", Table.DISCRETE_INPUTS, 0, Form.BIT),
        Point("yellow", Table.DISCRETE_INPUTS, 1, Form.BIT),
        Point("green", Table.DISCRETE_INPUTS, 2, Form.BIT),
        Point("door_open", Table.DISCRETE_INPUTS, 3, Form.BIT),
        Point("counter", Table.INPUT_REGISTERS, 0, Form.UINT16),
        Point("current", Table.INPUT_REGISTERS, 1, Form.UINT16, MACHINE_CLAMP_A),
    ]
)
"""Of each machine of the workshop."""

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
