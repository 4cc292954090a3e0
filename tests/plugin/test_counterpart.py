"""What a tag list becomes as a device, read back by the gateway's own driver: two independent codecs must agree."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from drivers.modbus.settings import ModbusSettings
from drivers.model import value_at
from drivers.registry import compile_plan, open_driver
from simulators.counterpart import counterpart_of
from simulators.fleet import Fleet, Table
from simulators.ledger import Ledger, read_served

ORDERS = ["ABCD", "CDAB", "BADC", "DCBA"]
TYPES = ["int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]


def device(tags: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"name": "d", "driver": "modbus", "unit": 7, "tags": tags, **more}


def every_kind() -> list[dict[str, Any]]:
    """Every type in every order, plain and scaled, with strings, bits of registers, coils and inputs."""
    tags: list[dict[str, Any]] = []
    for place, (kind, order) in enumerate((kind, order) for kind in TYPES for order in ORDERS):
        base = {"area": "holding_register", "type": kind, "order": order}
        tags.append({**base, "name": f"{kind}_{order}", "address": 10 * place})
        tags.append({**base, "name": f"{kind}_{order}_scaled", "address": 10 * place + 4, "scale": 0.1, "offset": -3})
    for place, order in enumerate(ORDERS):
        where = {"area": "input_register", "order": order}
        tags.append({**where, "name": f"text_{order}", "address": 20 * place, "type": "string", "length": 3})
        tags += [{**where, "name": f"bit_{order}_{bit}", "address": 20 * place + 9, "bit": bit} for bit in (0, 7, 8, 15)]
        tags.append({**where, "name": f"bits_{order}", "address": 20 * place + 11, "bit": 2})
        tags.append({**where, "name": f"word_{order}", "address": 20 * place + 11, "type": "uint16"})
    for area in ("coil", "discrete_input"):
        tags += [{"name": f"{area}_{at}", "area": area, "address": at} for at in (0, 3, 9, 100)]
    return tags


async def poll(entry: dict[str, Any], folder: Path, polls: int) -> list[dict[str, object]]:
    """Read a counterpart through the driver; its ledger is complete afterwards."""
    with Ledger(folder / "ledger.db", seed=0) as ledger:
        fleet = Fleet([counterpart_of(entry, ledger, time.time_ns)])
        try:
            async with asyncio.timeout(20):
                (address,) = await fleet.start()
                settings = ModbusSettings.model_validate({**entry, "address": address})
                plan = compile_plan(settings)
                driver = open_driver(settings, plan)
                await driver.connect()
                found = []
                for _ in range(polls):
                    frames = [frame for scan in plan.scans for frame in await driver.read(scan.plan)]
                    assert not any(frame.status.any() for frame in frames)
                    found.append(
                        {
                            plan.tags.names[tag]: value_at(frame.values, place, plan.tags.kinds[tag])
                            for frame in frames
                            for place, tag in enumerate(frame.tags.tolist())
                        }
                    )
                await driver.close()
        finally:
            await fleet.stop()
    return found


def recorded(folder: Path) -> dict[str, list[object]]:
    """The readings of each tag, in the ledger's order."""
    history: dict[str, list[object]] = {}
    for row in read_served(folder / "ledger.db"):
        for tag, value, _ in row.readings:
            history.setdefault(tag, []).append(value)
    return history


async def test_the_driver_reads_every_type_and_order_as_the_ledger_has_it(tmp_path: Path) -> None:
    tags = every_kind()
    polls = await poll(device(tags), tmp_path, 3)
    history = recorded(tmp_path)
    assert set(history) == {tag["name"] for tag in tags}
    for tag, values in history.items():
        assert [found[tag] for found in polls] == values, tag
        assert [type(found[tag]) for found in polls] == [type(value) for value in values], tag


async def test_every_poll_changes_every_number(tmp_path: Path) -> None:
    tags = [tag for tag in every_kind() if "bit" not in tag and tag["area"] != "coil" and tag["area"] != "discrete_input"]
    first, second = await poll(device(tags), tmp_path, 2)
    assert [tag for tag in first if first[tag] == second[tag]] == []


async def test_the_next_poll_of_a_block_proves_the_last_one(tmp_path: Path) -> None:
    await poll(device([{"name": "a", "area": "holding_register", "address": 0}]), tmp_path, 3)
    assert [row.acknowledged for row in read_served(tmp_path / "ledger.db")] == [True, True, False]


def test_what_a_connection_has_read_is_forgotten_with_it(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db", seed=0) as ledger:
        image = counterpart_of(device([{"name": "a", "area": "holding_register", "address": 0}]), ledger, time.time_ns)
        first = image.new_connection()
        image.read(Table.HOLDING_REGISTERS, 0, 1, first)
        image.end_connection(first)
        assert not image._unproven
        image.end_connection(first)


async def test_the_devices_order_holds_for_tags_without_one(tmp_path: Path) -> None:
    entry = device([{"name": "a", "area": "holding_register", "address": 0, "type": "float32"}], order="CDAB")
    (found,) = await poll(entry, tmp_path, 1)
    assert recorded(tmp_path) == {"a": [found["a"]]}


@pytest.mark.parametrize(
    "extra", [{"type": "bcd32"}, {"labels": {0: "off"}}, {"max": 10.0, "min": -1.0}, {"type": "uint8", "byte": "low"}], ids=str
)
async def test_a_tag_that_it_does_not_know_is_named_served_as_zero_and_not_recorded(
    tmp_path: Path, extra: dict[str, Any]
) -> None:
    tags = [
        {"name": "plain", "area": "holding_register", "address": 0},
        {"name": "special", "area": "holding_register", "address": 1, **extra},
    ]
    with Ledger(tmp_path / "other.db", seed=0) as ledger:
        assert counterpart_of(device(tags), ledger, time.time_ns).unknown == ("special",)
    (found,) = await poll(device(tags), tmp_path, 1)
    assert found["special"] in (0, "off")
    assert set(recorded(tmp_path)) == {"plain"}
