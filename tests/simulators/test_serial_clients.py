"""The plant's serial lines, asked by other people's clients and by the gateway's own driver."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient

from drivers.status import Status
from simulators.faults.fate import Fate
from simulators.ledger import Served
from tests.cable import cable
from tests.drivers.modbus_bench import Bench
from tests.services import require_service
from tests.simulators.plants import GUARD_S, served
from tests.simulators.test_transports import plant

LINES = [("rtu_serial", FramerType.RTU), ("ascii_serial", FramerType.ASCII)]


def press_rows(folder: Path) -> list[Served]:
    return [row for row in served(folder) if row.device == "press"]


@pytest.mark.parametrize(("kind", "framer"), LINES)
async def test_pymodbus_reads_a_serial_line(tmp_path: Path, kind: str, framer: FramerType) -> None:
    async with plant(tmp_path, {"device": "press", "kind": kind}) as endpoints:
        client = AsyncModbusSerialClient(
            endpoints[f"press.{kind}"], framer=framer, baudrate=115_200, parity="N", timeout=GUARD_S, retries=0
        )
        assert await client.connect()
        answers = [await client.read_input_registers(0, count=3, device_id=1) for _ in range(3)]
        lights = await client.read_discrete_inputs(0, count=3, device_id=1)
        refused = await client.read_holding_registers(0, count=3, device_id=1)
        client.close()
    rows = press_rows(tmp_path)
    registers = [row for row in rows if row.block.startswith("ir")]
    assert [row.readings[0] for row in registers] == [("pulses", a.registers[0] << 16 | a.registers[1], None) for a in answers]
    (bits,) = [row for row in rows if row.block.startswith("di")]
    assert [value for _, value, _ in bits.readings] == lights.bits[:3]
    assert {row.fate for row in rows} == {Fate.WHOLE}
    assert refused.exception_code == 2


@pytest.mark.services
async def test_mbpoll_reads_a_serial_line_through_socat(tmp_path: Path) -> None:
    mode = ["-m", "rtu", "-b", "115200", "-P", "none", "-a", "1"]
    what = ["-t", "3", "-r", "0", "-0", "-c", "3", "-1", "-q", "-o", "10"]  # seconds of patience, on a busy machine
    async with (
        plant(tmp_path, {"device": "press", "kind": "rtu_serial"}) as endpoints,
        cable(tmp_path / "near", f"OPEN:{endpoints['press.rtu_serial']},raw,echo=0"),
        asyncio.timeout(GUARD_S),
    ):
        command = [require_service("mbpoll"), *mode, *what, str(tmp_path / "near")]
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = await child.communicate()
    values = [int(line.split()[1]) for line in output.decode().splitlines() if line.startswith("[")]
    (row,) = press_rows(tmp_path)
    assert len(values) == 3, output.decode()
    assert [values[0] << 16 | values[1], values[2] * 0.01] == [value for _, value, _ in row.readings]


@pytest.mark.parametrize("kind", ["rtu_serial", "ascii_serial"])
async def test_the_driver_reads_a_serial_line(tmp_path: Path, kind: str) -> None:
    tags = [
        {"name": "pulses", "area": "input_register", "address": 0, "type": "uint32"},
        {"name": "light", "area": "discrete_input", "address": 0},
        {"name": "hole", "area": "holding_register", "address": 0},
    ]
    async with plant(tmp_path, {"device": "press", "kind": kind}) as endpoints:
        settings = {"transport": kind.partition("_")[0], "serial_port": endpoints[f"press.{kind}"], "parity": "none"}
        async with asyncio.timeout(GUARD_S), Bench(tags, **settings, timeout_ms=5000) as bench:
            found = [await bench.poll() for _ in range(2)]
            assert bench.driver.dropped_answers == 0
    rows = press_rows(tmp_path)
    assert [values["pulses"] for values in found] == [(r.readings[0][1], Status.GOOD) for r in rows if r.block.startswith("ir")]
    assert [values["light"] for values in found] == [(r.readings[0][1], Status.GOOD) for r in rows if r.block.startswith("di")]
    assert {values["hole"][1] for values in found} == {Status.BAD_NODE_ID_UNKNOWN}
