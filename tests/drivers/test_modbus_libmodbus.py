"""The driver reads a server built on libmodbus: an independent reading of the same standard."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.modbus.driver import ModbusDriver
from drivers.modbus.plan import compile_device
from drivers.modbus.settings import ModbusSettings
from drivers.model import value_at
from drivers.status import Status

SOURCE = Path(__file__).with_name("libmodbus_server.c")
pytestmark = pytest.mark.services


def flags() -> list[str] | None:
    """What gcc needs to find libmodbus; None when it or gcc is absent."""
    if shutil.which("gcc") is None or shutil.which("pkg-config") is None:
        return None
    found = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=False)
    return found.stdout.split() if found.returncode == 0 else None


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[int]:
    """The server as a process; gives what it prints first. Skips the test where it can't be built, and fails it in CI."""
    needed = flags()
    if needed is None:
        reason = "gcc, pkg-config or libmodbus-dev is absent"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    program = folder / "server"
    subprocess.run(["gcc", "-Wall", "-Werror", "-O1", "-o", program, SOURCE, *needed], check=True)
    with subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.stdin.close()
            server.wait(10)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(tmp_path) as port:
        yield port


def float32(value: float) -> float:
    """The nearest binary32."""
    nearest: float = struct.unpack("f", struct.pack("f", value))[0]
    return nearest


TAGS: list[tuple[dict[str, Any], object]] = [
    ({"address": 0, "type": "float32", "order": "ABCD"}, 123456.0),
    ({"address": 2, "type": "float32", "order": "CDAB"}, float32(-0.1)),
    ({"address": 4, "type": "float32", "order": "BADC"}, 3.25),
    ({"address": 6, "type": "float32", "order": "DCBA"}, float32(1e-3)),
    ({"address": 8, "type": "int32"}, -123456789),
    ({"address": 10, "type": "int64"}, -1234567890123456789),
    ({"address": 14, "type": "int16"}, -2),
    ({"address": 150, "access": "read_write"}, 77),
    ({"address": 0, "area": "coil", "access": "read_write"}, True),
    ({"address": 38, "area": "coil"}, False),
    ({"address": 39, "area": "coil"}, True),
    ({"address": 35, "area": "discrete_input"}, True),
    ({"address": 36, "area": "discrete_input"}, False),
    ({"address": 19, "area": "input_register"}, 1019),
]


async def test_a_libmodbus_server_is_read_written_and_searched_for_its_holes(port: int) -> None:
    beyond = {"area": "input_register", "address": 20}
    tags = [{"name": f"t{place}", "area": "holding_register", **tag} for place, (tag, _) in enumerate([*TAGS, (beyond, None)])]
    settings = ModbusSettings.model_validate(
        {"name": "d", "driver": "modbus", "address": f"127.0.0.1:{port}", "tags": tags, "pipeline": 2}
    )
    plan = compile_device(settings)
    driver = ModbusDriver(settings)

    async def poll() -> dict[int, tuple[object, int]]:
        return {
            tag: (value_at(frame.values, place, plan.tags.kinds[tag]), int(frame.status[place]))
            for frame in await driver.read(plan.scans[0].plan)
            for place, tag in enumerate(frame.tags.tolist())
        }

    async with asyncio.timeout(20):
        await driver.connect()
        found = await poll()
        assert found.pop(len(TAGS))[1] == Status.BAD_NODE_ID_UNKNOWN
        assert found == {place: (value, Status.GOOD) for place, (_, value) in enumerate(TAGS)}
        await driver.write(7, 4711)
        await driver.write(8, value=False)
        found = await poll()
        assert (found[7][0], found[8][0]) == (4711, False)
        await driver.close()
