"""Which requests a device's settings compile to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.cost import Limits, cheapest_cut
from drivers.modbus.plan import ModbusReadPlan, compile_device, recut
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


def test_a_thousand_floats_with_holes_of_ten_registers_take_91_requests_over_tcp() -> None:
    assert len(blocks(device(*({"address": 12 * place, "type": "float32"} for place in range(1000))))) <= 91


@pytest.mark.parametrize(("baud_rate", "through"), [(1200, 10), (9600, 10), (115_200, 16)])
def test_on_a_serial_line_a_gap_is_read_through_while_that_is_cheaper(baud_rate: int, through: int) -> None:
    """At 9600 Bd, 11 bits a character: a request costs 20 characters and 2 ms, 24.9 ms; a register 2.3 ms."""
    line = {"transport": "rtu", "serial_port": "p", "baud_rate": baud_rate, "address": None}
    for gap, together in ((through, True), (through + 1, False)):
        assert (len(blocks(device({"address": 0}, {"address": gap + 1}, **line))) == 1) == together, gap


def test_the_line_behind_a_gateway_is_planned_by_its_baud_rate() -> None:
    tags = ({"address": 0}, {"address": 15})
    assert len(blocks(device(*tags))) == 1
    assert len(blocks(device(*tags, baud_rate=1200))) == 2


def test_the_cheapest_cut_is_not_always_the_greedy_one() -> None:
    """Greedy fills the first request up to the limit and is left with a long gap; the best cuts at the long gap."""
    places = [(0, 1), (4, 5), (5, 6), (9, 10)]
    assert cheapest_cut(places, Limits(6, 9), lambda count: 10 + count) == [(0, 3), (3, 4)]
    assert cheapest_cut([(0, 1), (8, 9), (9, 10)], Limits(10, 9), lambda count: 3 + count) == [(0, 1), (1, 3)]


@given(st.sets(st.integers(0, 60), min_size=1, max_size=9), st.integers(1, 20), st.integers(0, 15), st.integers(0, 30))
def test_no_other_cut_is_cheaper(starts: set[int], most: int, gap: int, request: int) -> None:
    places = [(start, start + 1) for start in sorted(starts)]

    def price(cuts: list[tuple[int, int]]) -> int | None:
        total = 0
        for first, last in cuts:
            count = places[last - 1][1] - places[first][0]
            if count > most or any(places[at + 1][0] - places[at][1] > gap for at in range(first, last - 1)):
                return None
            total += request + count
        return total

    def every(first: int) -> Iterator[list[tuple[int, int]]]:
        if first == len(places):
            yield []
        for last in range(first + 1, len(places) + 1):
            for rest in every(last):
                yield [(first, last), *rest]

    prices = [found for cuts in every(0) if (found := price(cuts)) is not None]
    assert price(cheapest_cut(places, Limits(most, gap), lambda count: request + count)) == min(prices)


def test_a_group_is_read_by_one_request() -> None:
    floats = [{"address": 2 * place, "type": "float32"} for place in range(100)]
    floats[61]["group"] = floats[62]["group"] = "pair"
    assert blocks(device(*floats)) == [(0, 122), (122, 78)]
    assert blocks(device({"address": 0, "group": "far"}, {"address": 100, "group": "far"})) == [(0, 101)]


@pytest.mark.parametrize(
    "tags",
    [
        ({"address": 0, "group": "g"}, {"address": 0, "area": "input_register", "group": "g"}),
        ({"address": 0, "group": "g"}, {"address": 1, "group": "g", "period_ms": 10}),
        ({"address": 0, "group": "g"}, {"address": 125, "group": "g"}),
    ],
)
def test_a_group_that_no_request_can_read_is_a_mistake(tags: tuple[dict[str, Any], ...]) -> None:
    ((where, what, _),) = device(*tags).mistakes()
    assert where[0] == "tags"
    assert where[2] == "group"
    assert "'g'" in what


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


def whole_plan(settings: ModbusSettings) -> ModbusReadPlan:
    (scan,) = compile_device(settings).scans
    assert isinstance(scan.plan, ModbusReadPlan)
    return scan.plan


def test_a_plan_is_cut_anew_only_where_that_gains_a_tenth_and_a_millisecond() -> None:
    """At 9600 Bd another request costs 22.9 ms and the round trip; fifteen registers 34.4 ms."""
    settings = device({"address": 0}, {"address": 16}, baud_rate=9600)
    plan = whole_plan(settings)
    assert len(plan.blocks) == 2
    assert recut(settings, plan, 12.0, 0) is None
    assert recut(settings, plan, 17.0, 0) is None
    merged = recut(settings, plan, 25.0, 0)
    assert merged is not None
    assert [(block.start, block.count) for block in merged.blocks] == [(0, 17)]
    assert recut(settings, plan, 5.0, 20) is not None
    without_line = device({"address": 0}, {"address": 16}, max_gap=10)
    assert recut(without_line, whole_plan(without_line), 1000.0, 0) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(["uint16", "float32", "float64", "uint64"]), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 124),
    st.integers(60, 125),
    st.floats(0, 500),
)
def test_a_plan_cut_anew_reads_every_tag_once_in_the_same_columns_within_the_limits(
    spots: list[tuple[int, str, bool]], max_gap: int, max_registers: int, round_trip_ms: float
) -> None:
    tags: list[dict[str, Any]] = []
    end = 0
    for step, kind, is_input in spots:
        start = end + step
        tags.append({"address": start, "type": kind, "area": "input_register" if is_input else "holding_register"})
        end = start + {"uint16": 1, "float32": 2, "float64": 4, "uint64": 4}[kind]
    for one, other in zip(tags[4::9], tags[5::9], strict=False):
        if one["area"] == other["area"]:
            one["group"] = other["group"] = f"g{one['address']}"
    settings = device(*tags, max_gap=max_gap, max_registers=max_registers, baud_rate=9600)
    plan = whole_plan(settings)
    cut = recut(settings, plan, round_trip_ms, 0) or plan
    assert sorted(tag for block in cut.blocks for tag in block.tags) == list(range(len(tags)))
    for name in ("whole", "wide", "real"):
        assert getattr(cut.layout, name).tags.tolist() == getattr(plan.layout, name).tags.tolist()
    for block in cut.blocks:
        assert block.count <= max_registers
        for tag in block.tags:
            assert block.start <= settings.tags[tag].address
            assert settings.tags[tag].address + settings.tags[tag].width <= block.start + block.count
        for group in {settings.tags[tag].group for tag in block.tags} - {None}:
            assert {tag for tag, row in enumerate(settings.tags) if row.group == group} <= set(block.tags)
        for left, right in zip(block.spans, block.spans[1:], strict=False):
            assert 0 <= right.start - left.end <= max_gap


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
