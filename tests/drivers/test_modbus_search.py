"""Halving a refused block, against imaginary devices that lack this or that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.modbus.plan import Block, ModbusReadPlan, compile_device
from drivers.modbus.search import RETRY_AFTER_NS, Part, Search, Split, place_part
from drivers.modbus.settings import ModbusSettings
from drivers.status import Status
from tests.drivers.modbus_bench import Bench, registers
from tests.drivers.modbus_device import ModbusDevice


def block_of(addresses: list[int], area: str = "holding_register", **other: Any) -> Block:
    tags = [{"name": f"t{address}", "area": area, "address": address} for address in addresses]
    settings = ModbusSettings.model_validate(
        {"name": "d", "driver": "modbus", "address": "h", "tags": tags, "max_gap": 124, "max_gap_bits": 1999, **other}
    )
    plan = compile_device(settings).scans[0].plan
    assert isinstance(plan, ModbusReadPlan)
    (block,) = plan.blocks
    return block


def stretch(block: Block, part: Part) -> range:
    start = block.start + part.first_bit
    return range(start, start + part.count)


def run(block: Block, gives: Callable[[range], bool], *, at_gaps: bool = False) -> tuple[Split, int]:
    """Search against a device that gives a stretch or refuses it with exception 2; how many requests it took."""
    search = Search(block, 2, at_gaps=at_gaps)
    asked = 0
    while (part := search.next_part()) is not None:
        asked += 1
        if gives(stretch(block, part)):
            search.accept()
        else:
            search.refuse(2)
    return search.result(1_000), asked


def tag_address(block: Block, tag: int) -> int:
    return next(span.start for span in block.spans if tag in span.tags)


def test_one_lacking_register_of_64_is_found_in_a_dozen_requests() -> None:
    block = block_of(list(range(64)))
    split, asked = run(block, lambda part: 37 not in part)
    assert split.holes == (((37,), Status.BAD_NODE_ID_UNKNOWN),)
    assert [stretch(block, part) for part in split.parts] == [range(37), range(38, 64)]
    assert asked <= 12
    assert split.until_ns == 1_000 + RETRY_AFTER_NS


def test_a_gap_that_the_device_lacks_costs_no_tag() -> None:
    block = block_of([0, 1, 10, 11])
    split, _ = run(block, lambda part: 5 not in part)
    assert split.holes == ()
    assert [stretch(block, part) for part in split.parts] == [range(2), range(10, 12)]


def test_a_limit_on_quantity_is_kept_and_costs_no_tag() -> None:
    block = block_of(list(range(100)))
    split, _ = run(block, lambda part: len(part) <= 60)
    assert split.holes == ()
    assert [stretch(block, part) for part in split.parts] == [range(50), range(50, 100)]


def test_a_block_of_one_value_is_a_hole_at_once() -> None:
    search = Search(block_of([7]), 3)
    assert search.next_part() is None
    assert search.result(0).holes == (((0,), Status.BAD_OUT_OF_RANGE),)


def test_another_fault_on_the_way_is_no_hole() -> None:
    search = Search(block_of([0, 1]), 2)
    assert search.give_up(Status.BAD_DEVICE_FAILURE) == ((0,), Status.BAD_DEVICE_FAILURE)
    assert search.next_part() is not None
    search.accept()
    assert search.result(0).holes == ()


@given(st.sets(st.integers(0, 90), min_size=1, max_size=40), st.sets(st.integers(0, 90), max_size=6), st.booleans())
def test_exactly_the_lacking_tags_are_holes(addresses: set[int], lacking: set[int], at_gaps: bool) -> None:
    assume(lacking & set(range(min(addresses), max(addresses) + 1)))
    block = block_of(sorted(addresses))
    split, _ = run(block, lambda part: not lacking & set(part), at_gaps=at_gaps)
    holes = {tag_address(block, tag) for tags, _ in split.holes for tag in tags}
    read = {tag_address(block, tag) for part in split.parts for tag in part.tags}
    assert holes == addresses & lacking
    assert read == addresses - lacking
    assert all(not lacking & set(stretch(block, part)) for part in split.parts)


@given(st.sets(st.integers(0, 200), min_size=1, max_size=20), st.binary(min_size=26, max_size=26), st.data())
def test_parts_of_bits_land_where_the_whole_would_have_put_them(addresses: set[int], memory: bytes, data: st.DataObject) -> None:
    bits = int.from_bytes(memory, "little")

    def give(start: int, count: int) -> bytes:
        return (bits >> start & (1 << count) - 1).to_bytes((count + 7) // 8, "little")

    block = block_of(sorted(addresses), "coil")
    lacking = {data.draw(st.sampled_from(sorted(addresses)))}
    split, _ = run(block, lambda part: not lacking & set(part))
    image = bytearray(block.request.data_bytes)
    for part in split.parts:
        where = stretch(block, part)
        place_part(block, part, give(where.start, len(where)), image)
    whole = int.from_bytes(image, "little")
    for address in addresses - lacking:
        assert whole >> address - block.start & 1 == bits >> address & 1


@pytest.mark.parametrize(
    ("lacking", "code", "proven"),
    [
        ({5}, 2, True),
        ({5}, 3, False),
        ({1}, 2, False),
        ({21}, 2, False),
    ],
)
def test_only_a_gap_whose_neighbours_are_given_proves_that_gaps_are_refused(lacking: set[int], code: int, proven: bool) -> None:
    search = Search(block_of([0, 1, 10, 11, 20, 21]), code)
    while (part := search.next_part()) is not None:
        if lacking & set(stretch(block_of([0, 1, 10, 11, 20, 21]), part)):
            search.refuse(code)
        else:
            search.accept()
    assert search.refuses_gaps() == proven


GAPPED = [100 * block + 10 * run + place for block in range(4) for run in range(4) for place in range(2)]
"""Four blocks, each with four pairs of tags and gaps of eight registers between them."""


async def test_gaps_refused_in_one_block_cost_the_others_one_request_each_and_no_halving() -> None:
    async with ModbusDevice().listening() as device:
        device.registers[3] = dict.fromkeys(GAPPED, 7)
        async with Bench(registers(*GAPPED), address=f"127.0.0.1:{device.port}") as bench:
            await bench.values()
            runs = [(3, start, 2) for start in GAPPED[::2]]
            assert device.asked[:4] == [(3, 100 * block, 32) for block in range(4)]
            assert device.asked[-12:] == runs[4:]
            assert bench.driver.learnt == {"max_gap": 0}
            device.asked.clear()
            await bench.values()
            assert device.asked == runs


async def test_what_was_learnt_of_gaps_outlives_the_connection_and_ends_after_ten_minutes() -> None:
    async with ModbusDevice().listening() as device:
        device.registers[3] = dict.fromkeys(GAPPED, 7)
        async with Bench(registers(*GAPPED), address=f"127.0.0.1:{device.port}") as bench:
            await bench.values()
            await bench.driver.connect()
            device.asked.clear()
            await bench.values()
            assert {count for _, _, count in device.asked} == {2}
            bench.monotonic_ns = RETRY_AFTER_NS
            device.registers[3] = dict.fromkeys(range(400), 7)
            device.asked.clear()
            await bench.values()
            assert device.asked == [(3, 100 * block, 32) for block in range(4)]
            assert bench.driver.learnt == {}


async def test_a_block_that_is_given_whole_stays_whole_whatever_other_gaps_are_refused() -> None:
    async with ModbusDevice().listening() as device:
        device.registers[3] = {address: 7 for address in range(400) if address != 105}
        async with Bench(registers(*GAPPED), address=f"127.0.0.1:{device.port}") as bench:
            await bench.values()
            device.asked.clear()
            await bench.values()
            assert [asked for asked in device.asked if asked[1] // 100 != 1] == [(3, start, 32) for start in (0, 200, 300)]


async def test_a_lacking_tag_among_refused_gaps_is_found_and_its_neighbours_stay_good() -> None:
    async with ModbusDevice().listening() as device:
        device.registers[3] = {address: 7 for address in GAPPED if address != 211}
        async with Bench(registers(*GAPPED), address=f"127.0.0.1:{device.port}") as bench:
            for _ in range(2):
                found = await bench.poll()
                assert {name for name, (_, status) in found.items() if status != Status.GOOD} == {"t211"}
