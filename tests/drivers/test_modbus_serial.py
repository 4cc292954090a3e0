"""Real serial ports, made of pseudo-terminals: pymodbus's RTU and ASCII servers at the other end of a socat pair."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable
from drivers.status import Status
from tests.cable import cable
from tests.drivers.line_device import Line
from tests.drivers.modbus_bench import Bench
from tests.drivers.modbus_device import ModbusDevice
from tests.services import require_service

pytestmark = pytest.mark.services

BAUD = 115_200


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[tuple[Path, Path]]:
    """Two serial ports that are joined."""
    require_service("socat")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ends = [f"PTY,link={end},raw,echo=0,b{BAUD}" for end in (ours, theirs)]
    socat = await asyncio.create_subprocess_exec("socat", "-dd", *ends, stderr=asyncio.subprocess.PIPE)
    assert socat.stderr is not None
    async for line in socat.stderr:
        if b"starting data transfer loop" in line:
            break
    yield ours, theirs
    with contextlib.suppress(ProcessLookupError):
        socat.kill()  # a SIGTERM may be lost just before it waits
    await socat.wait()


def unit(number: int) -> SimDevice:
    registers = [SimData(0, values=[1000 * number + place for place in range(20)], datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[True, False, True], datatype=DataType.BITS)]
    return SimDevice(id=number, simdata=(bits, bits, registers, registers))


@contextlib.asynccontextmanager
async def serving(port: Path, framer: FramerType) -> AsyncIterator[None]:
    server = ModbusSerialServer([unit(1), unit(2)], framer=framer, port=str(port), baudrate=BAUD, parity="N")
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


def bench(port: Path, transport: str, **other: Any) -> Bench:
    tags: list[dict[str, Any]] = [
        {"address": 0, "access": "read_write"},
        {"address": 19, "type": "uint16"},
        {"address": 200},
        {"name": "coil", "area": "coil", "address": 2},
    ]
    settings = {
        "transport": transport,
        "serial_port": str(port),
        "baud_rate": BAUD,
        "parity": "none",
        "timeout_ms": 1000,
        **other,
    }
    return Bench(tags, **settings)


@pytest.mark.parametrize(("transport", "framer"), [("rtu", FramerType.RTU), ("ascii", FramerType.ASCII)])
async def test_pymodbus_serves_two_units_on_one_serial_line(ports: tuple[Path, Path], transport: str, framer: FramerType) -> None:
    ours, theirs = ports
    async with serving(theirs, framer), bench(ours, transport) as one, bench(ours, transport, unit=2, name="other") as two:
        for _ in range(3):
            found = await asyncio.gather(one.poll(), two.poll())
            for number, values in enumerate(found, 1):
                assert values["t200"][1] == Status.BAD_NODE_ID_UNKNOWN
                assert values["t0"] == (1000 * number, Status.GOOD)
                assert values["t19"] == (1000 * number + 19, Status.GOOD)
                assert values["coil"] == (True, Status.GOOD)
        await one.driver.write(0, 4711)
        assert (await one.poll())["t0"] == (4711, Status.GOOD)
        assert (await two.poll())["t0"] == (2000, Status.GOOD)


async def test_a_line_on_which_nobody_answers_times_out(ports: tuple[Path, Path]) -> None:
    async with bench(ports[0], "rtu", timeout_ms=50) as one:
        with pytest.raises(DeviceTimeout, match="unit 1"):
            await one.poll()


async def test_a_line_that_is_given_up_and_then_closed_ends_once(
    ports: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(ports[0], "rtu", timeout_ms=50) as one:
        with pytest.raises(DeviceTimeout):
            await one.poll()
    del one
    await asyncio.sleep(0)
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_serial_port_that_cannot_do_what_is_set_is_refused(ports: tuple[Path, Path]) -> None:
    """Pseudo-terminals have no parity."""
    with pytest.raises(DeviceRefused, match="parity"):
        await bench(ports[0], "rtu", parity="even").driver.connect()


async def test_a_serial_port_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnreachable, match="nowhere"):
        await bench(tmp_path / "nowhere", "rtu").driver.connect()


def test_a_serial_line_works_on_uvloop_too(tmp_path: Path) -> None:
    near = tmp_path / "near"

    async def scenario() -> None:
        device = ModbusDevice()
        device.registers[3] = {0: 5, 1: 6}
        async with (
            asyncio.timeout(20),
            Line("rtu", {1: device}).listening() as line,
            cable(near, f"TCP:127.0.0.1:{line.port}") as socat,
        ):
            settings = {"transport": "rtu", "serial_port": str(near), "parity": "none", "timeout_ms": 2000}
            async with Bench([{"address": 0}, {"address": 1}], **settings) as one:
                assert await one.values() == {"t0": 5, "t1": 6}
                assert await one.values() == {"t0": 5, "t1": 6}
            await socat.communicate()  # ends by itself: the port is closed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
