"""Readings as bits and registers."""

from __future__ import annotations

import pytest

from simulators.plant.meter import BenchLoad, Meter
from simulators.plant.press import Press, PressReading
from simulators.registers import METER_MAP, PRESS_MAP, Block, Form, Raw, Table, encode, meter_raw, press_raw

PRESS = PressReading(light_red=False, light_yellow=True, light_green=False, door_open=True, pulses=0x0001_0002, current=321)


@pytest.mark.parametrize(
    ("form", "value", "words"),
    [
        # 123456.0 is 47F1 2000 in binary32 (IEEE 754), registers swapped: the vectors of drivers' codec too.
        (Form.FLOAT32_CDAB, 123456.0, [0x2000, 0x47F1]),
        (Form.FLOAT32_CDAB, -1.5, [0x0000, 0xBFC0]),
        (Form.UINT32_ABCD, 0x12345678, [0x1234, 0x5678]),
        (Form.UINT32_ABCD, 0xFFFFFFFF, [0xFFFF, 0xFFFF]),
        (Form.UINT16, 65535, [65535]),
        (Form.BIT, True, [1]),
    ],
)
def test_values_lie_in_registers_as_the_map_says(form: Form, value: Raw, words: list[int]) -> None:
    assert encode(form, value) == words


def test_the_press_is_mapped_as_documented() -> None:
    raw = press_raw(PRESS)
    assert PRESS_MAP.values(Block(Table.DISCRETE_INPUTS, 0, 4), raw) == [0, 1, 0, 1]
    assert PRESS_MAP.values(Block(Table.INPUT_REGISTERS, 0, 3), raw) == [1, 2, 321]
    assert [(p.tag, p.address) for p in PRESS_MAP.points] == [
        ("light_red", 0),
        ("light_yellow", 1),
        ("light_green", 2),
        ("door_open", 3),
        ("pulses", 0),
        ("current", 2),
    ]


def test_the_meter_is_mapped_as_documented() -> None:
    assert [(p.tag, p.address) for p in METER_MAP.points] == [
        ("voltage_l1", 0),
        ("voltage_l2", 2),
        ("voltage_l3", 4),
        ("current_l1", 6),
        ("current_l2", 8),
        ("current_l3", 10),
        ("power_w", 12),
        ("frequency_hz", 14),
        ("power_factor", 16),
        ("energy_kwh", 18),
    ]
    reading = Meter(1, Press(1), BenchLoad()).at(0)
    assert [getattr(reading, point.tag) for point in METER_MAP.points] == list(meter_raw(reading))


def test_a_block_may_begin_and_end_within_a_value() -> None:
    raw = press_raw(PRESS)
    assert PRESS_MAP.values(Block(Table.INPUT_REGISTERS, 1, 2), raw) == [2, 321]
    assert PRESS_MAP.values(Block(Table.INPUT_REGISTERS, 0, 1), raw) == [1]


def test_a_block_reads_only_the_values_that_lie_wholly_in_it() -> None:
    raw = press_raw(PRESS)
    assert PRESS_MAP.readings(Block(Table.INPUT_REGISTERS, 0, 3), raw) == [("pulses", 0x10002), ("current", 321 * 0.01)]
    assert PRESS_MAP.readings(Block(Table.INPUT_REGISTERS, 1, 2), raw) == [("current", 321 * 0.01)]
    assert PRESS_MAP.readings(Block(Table.INPUT_REGISTERS, 0, 1), raw) == []
    assert PRESS_MAP.readings(Block(Table.DISCRETE_INPUTS, 2, 2), raw) == [("light_green", False), ("door_open", True)]


@pytest.mark.parametrize(("address", "count", "held"), [(0, 3, True), (2, 1, True), (2, 2, False), (3, 1, False)])
def test_the_map_ends_where_its_points_end(address: int, count: int, held: bool) -> None:
    assert PRESS_MAP.holds(Block(Table.INPUT_REGISTERS, address, count)) is held
