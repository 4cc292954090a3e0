"""The Modbus devices, read by mbpoll (on libmodbus): someone else's idea of the standard."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import struct
from pathlib import Path

import pytest

from tests.simulators.plants import GUARD_S, address, running, served, settings

MBPOLL = shutil.which("mbpoll")

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(MBPOLL is None and not os.environ.get("CI"), reason="mbpoll is not installed"),
]


async def mbpoll(endpoint: str, *options: str) -> list[str]:
    """The values that it prints, in order of address."""
    host, port = address(endpoint)
    command = [MBPOLL or "mbpoll", "-0", "-1", "-m", "tcp", "-p", str(port), "-a", "1", "-o", "10", *options, host]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    async with asyncio.timeout(GUARD_S):
        output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()
    return [match.split()[0] for match in re.findall(r"^\[\d+\]:\s*(.+)$", output.decode(), re.MULTILINE)]


async def test_mbpoll_reads_the_lights_the_pulses_and_the_clamp(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant:
        lights = await mbpoll(plant.press, "-t", "1", "-r", "0", "-c", "4")
        pulses = await mbpoll(plant.press, "-t", "3:int", "-B", "-r", "0", "-c", "1")
        current = await mbpoll(plant.press, "-t", "3", "-r", "2", "-c", "1")
    first, second, third = served(tmp_path)
    assert [bool(int(bit)) for bit in lights] == [value for _, value, _ in first.readings]
    assert [("pulses", int(pulses[0]), None)] == second.readings
    assert [("current", int(current[0]) * 0.01, None)] == third.readings


async def test_mbpoll_reads_the_meter(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant:
        texts = await mbpoll(plant.meter, "-t", "4:float", "-r", "0", "-c", "10")
    (row,) = served(tmp_path)
    assert row.block == "hr:0+20"
    # mbpoll prints six significant digits (%g); its words are in the order low, high, which is the meter's CDAB.
    assert texts == [f"{value:g}" for _, value, _ in row.readings]
    assert all(struct.unpack(">f", struct.pack(">f", value))[0] == value for _, value, _ in row.readings)
