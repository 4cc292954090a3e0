"""Which requests a device's settings compile to."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.plan import ModbusReadPlan, compile_device
from drivers.modbus.settings import ModbusSettings
from drivers.model import Kind


def device(*tags: dict[str, Any], **other: Any) -> ModbusSettings:
    named = [{"name": f"tag_{place}", "area": "holding_register", **tag} for place, tag in enumerate(tags)]
    return ModbusSettings.model_validate({"name": "meter", "driver": "modbus", "address": "h", "tags": named, **other})


def requests(settings: ModbusSettings) -> list[str]:
    return [line.text for scan in compile_device(settings).scans for line in scan.plan.requests()]


def blocks(settings: ModbusSettings) -> list[tuple[int, int]]:
    found = []
    for scan in compile_device(settings).scans:
        assert isinstance(scan.plan, ModbusReadPlan)
        found += [(block.start, block.count) for block in scan.plan.blocks]
    return found


def test_neighbours_in_any_order_are_one_request() -> None:
    settings = device({"address": 2}, {"address": 0, "type": "uint32"}, {"address": 3, "type": "float64"})
    assert requests(settings) == ["read holding registers 0-6 (7)"]


def test_a_gap_is_read_through_up_to_max_gap() -> None:
    assert blocks(device({"address": 0}, {"address": 17})) == [(0, 18)]
    assert blocks(device({"address": 0}, {"address": 18})) == [(0, 1), (18, 1)]
    assert blocks(device({"address": 0}, {"address": 2}, max_gap=0)) == [(0, 1), (2, 1)]
    assert blocks(device({"address": 0}, {"address": 101}, max_gap=100)) == [(0, 102)]


def test_bits_have_a_gap_of_their_own() -> None:
    tags = ({"area": "coil", "address": 0}, {"area": "coil", "address": 129})
    assert blocks(device(*tags)) == [(0, 130)]
    assert blocks(device(*tags, max_gap_bits=127)) == [(0, 1), (129, 1)]


def test_areas_are_asked_apart_and_said_so() -> None:
    settings = device(
        *({"area": area, "address": 5} for area in ("holding_register", "coil", "input_register", "discrete_input"))
    )
    assert requests(settings) == [
        "read coil 5 (1)",
        "read discrete input 5 (1)",
        "read holding register 5 (1)",
        "read input register 5 (1)",
    ]


def test_no_request_is_longer_than_125_registers_or_2000_bits_and_no_value_is_torn() -> None:
    floats = [{"address": 2 * place, "type": "float32"} for place in range(100)]
    assert blocks(device(*floats)) == [(0, 124), (124, 76)]
    assert blocks(device({"address": 0, "type": "string", "length": 124}, {"address": 124, "type": "uint32"})) == [
        (0, 124),
        (124, 2),
    ]
    coils = [{"area": "coil", "address": 100 * place} for place in range(30)]
    assert blocks(device(*coils)) == [(0, 1901), (2000, 901)]
    assert blocks(device(*floats, max_registers=50)) == [(0, 50), (50, 50), (100, 50), (150, 50)]


def test_tags_of_one_period_are_one_scan_class() -> None:
    plan = compile_device(device({"address": 0, "period_ms": 200}, {"address": 1}, {"address": 2, "period_ms": 200}))
    assert [(scan.period_ns, scan.plan.tags, scan.subscribed) for scan in plan.scans] == [
        (200_000_000, (0, 2), False),
        (1_000_000_000, (1,), False),
    ]


def test_a_line_of_the_plan_names_the_tags_it_serves() -> None:
    (scan,) = compile_device(device({"address": 0, "bit": 1, "name": "door"}, {"address": 0, "bit": 0, "name": "lamp"})).scans
    (line,) = scan.plan.requests()
    assert line.tags == ("door", "lamp")


def test_the_tag_table_follows_the_settings() -> None:
    table = compile_device(
        device(
            {"address": 0, "bit": 0},
            {"address": 1, "unit": "A", "scale": 0.01},
            {"address": 2},
            {"address": 3, "type": "uint64"},
            {"address": 7, "type": "uint64", "scale": 0.5},
            {"address": 11, "type": "string", "length": 2},
            {"address": 13, "type": "float32"},
        )
    ).tags
    assert table.device == "meter"
    assert table.names == tuple(f"tag_{place}" for place in range(7))
    assert table.kinds == (Kind.BOOL, Kind.FLOAT, Kind.INT, Kind.UINT64, Kind.FLOAT, Kind.TEXT, Kind.FLOAT)
    assert table.units == (None, "A", None, None, None, None, None)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(["uint16", "float32", "float64"])), min_size=1, max_size=60),
    st.integers(0, 124),
    st.integers(4, 125),
)
def test_any_plan_reads_every_tag_once_within_the_limits(spots: list[tuple[int, str]], max_gap: int, max_registers: int) -> None:
    tags, end = [], 0
    for step, kind in spots:
        start = end + step % 40
        tags.append({"address": start, "type": kind})
        end = start + {"uint16": 1, "float32": 2, "float64": 4}[kind]
    settings = device(*tags, max_gap=max_gap, max_registers=max_registers)
    (scan,) = compile_device(settings).scans
    plan = scan.plan
    assert isinstance(plan, ModbusReadPlan)
    assert sorted(tag for block in plan.blocks for tag in block.tags) == list(range(len(tags)))
    for block in plan.blocks:
        assert block.count <= max_registers
        for tag in block.tags:
            address, width = settings.tags[tag].address, settings.tags[tag].width
            assert block.start <= address
            assert address + width <= block.start + block.count
        for left, right in zip(block.spans, block.spans[1:], strict=False):
            assert 0 <= right.start - left.end <= max_gap
