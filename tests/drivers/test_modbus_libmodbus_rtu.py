"""The driver on a serial line with a server on libmodbus: RTU as an independent reading of the standard has it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import DeviceTimeout, DeviceUnreachable
from drivers.status import Status
from tests.drivers import test_modbus_serial
from tests.drivers.modbus_bench import Bench
from tests.drivers.test_modbus_libmodbus import TAGS, serving

pytestmark = pytest.mark.services
ports = test_modbus_serial.ports
UNIT = 17


def bench(port: Path, *tags: dict[str, Any], **other: Any) -> Bench:
    settings = {"transport": "rtu", "serial_port": str(port), "baud_rate": 115_200, "parity": "none", "unit": UNIT}
    named = [{"name": f"t{place}", **tag} for place, tag in enumerate(tags)]
    return Bench(named, **{**settings, "timeout_ms": 1000, **other})


async def test_a_libmodbus_server_on_a_serial_line_is_read_written_and_searched_for_its_holes(
    ports: tuple[Path, Path], tmp_path: Path
) -> None:
    ours, theirs = ports
    beyond = {"area": "input_register", "address": 20}
    with serving(tmp_path, str(theirs), str(UNIT)):
        async with asyncio.timeout(20), bench(ours, *(tag for tag, _ in TAGS), beyond) as one:
            found = await one.poll()
            assert found.pop(f"t{len(TAGS)}")[1] == Status.BAD_NODE_ID_UNKNOWN
            assert found == {f"t{place}": (value, Status.GOOD) for place, (_, value) in enumerate(TAGS)}
            await one.driver.write(7, 4711)
            await one.driver.write(8, value=False)
            found = await one.poll()
            assert (found["t7"][0], found["t8"][0]) == (4711, False)
            assert one.driver.dropped_answers == 0


async def test_one_bit_of_a_libmodbus_servers_register_is_written_by_mask(ports: tuple[Path, Path], tmp_path: Path) -> None:
    ours, theirs = ports
    bit = {"address": 150, "bit": 7, "access": "read_write", "verify": True}
    with serving(tmp_path, str(theirs), str(UNIT)):
        async with asyncio.timeout(20), bench(ours, bit, {"address": 150}) as one:
            assert await one.values() == {"t0": False, "t1": 77}
            await one.driver.write(0, value=True)
            assert await one.values() == {"t0": True, "t1": 77 | 1 << 7}


async def test_a_unit_that_is_not_there_does_not_spoil_the_next_answer_of_a_libmodbus_server(
    ports: tuple[Path, Path], tmp_path: Path
) -> None:
    """libmodbus takes what follows a request to another unit for that unit's answer, and so passes over a request to itself.

    The repetition, which serial lines have by default, makes up for it.
    """
    ours, theirs = ports
    register = {"address": 150}
    with serving(tmp_path, str(theirs), str(UNIT)):
        async with asyncio.timeout(30), bench(ours, register) as one:
            absent = bench(ours, register, unit=18, name="absent")
            assert await one.values() == {"t0": 77}
            await absent.driver.connect()
            for _ in range(2):
                with pytest.raises((DeviceTimeout, DeviceUnreachable)):
                    await absent.poll()
                assert await one.values() == {"t0": 77}
            await absent.driver.close()
