"""`mumian gateway identify` as an engineer types it: pymodbus's server, the plant's devices, and what goes wrong."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymodbus.framer import FramerType
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.cli import identify
from mumian import main
from tests.services import free_port
from tests.simulators.plants import running, settings

SITE = """\
gateway: works
devices:
  - {name: press, driver: modbus, %s, tags: [{name: t, area: coil, address: 0}]}
  - {name: bench, driver: opcua, endpoint: "opc.tcp://127.0.0.1:4840", security: none, tags: [{name: t, node: "ns=2;s=a"}]}
sinks: [{kind: mqtt, url: "mqtt://broker"}]
"""
NAMES = {0: "木棉仪表", 1: "EM-3", 2: "V1.04\x1b[2J", 4: "Meter", 0x80: "hall 1"}


@asynccontextmanager
async def server(framer: FramerType = FramerType.SOCKET) -> AsyncIterator[str]:
    """pymodbus's, with NAMES as its identification."""
    unit = SimDevice(id=5, simdata=[SimData(0, values=[1], datatype=DataType.REGISTERS)])
    identity = ModbusDeviceIdentification(info=dict(NAMES))  # type: ignore[no-untyped-call]
    port = free_port()
    running_server = ModbusTcpServer([unit], framer=framer, identity=identity, address=("127.0.0.1", port))
    await running_server.serve_forever(background=True)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await running_server.shutdown()  # type: ignore[no-untyped-call]


async def asked(device: str, config: Path | None = None, unit: int | None = None) -> tuple[int, list[str]]:
    """The exit code and the lines of the answer."""
    out = io.StringIO()
    code = await asyncio.to_thread(identify, device, config, unit, out)
    return code, out.getvalue().splitlines()


def site(folder: Path, where: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(SITE % where, "utf-8")
    return path


SAID = [
    "vendor_name: 木棉仪表",
    "product_code: EM-3",
    r"revision: V1.04\x1b[2J",
    "product_name: Meter",
    "object_128: hall 1",
]


async def test_a_device_at_an_address_says_who_it_is_and_steers_no_terminal() -> None:
    async with server() as address:
        assert await asked(address, unit=5) == (0, SAID)


@pytest.mark.parametrize(("transport", "framer"), [("rtu_over_tcp", FramerType.RTU), ("ascii_over_tcp", FramerType.ASCII)])
async def test_a_device_of_a_file_is_asked_over_its_own_transport(tmp_path: Path, transport: str, framer: FramerType) -> None:
    async with server(framer) as address:
        path = site(tmp_path, f'address: "{address}", unit: 5, transport: {transport}, timeout_ms: 5000')
        assert await asked("press", path) == (0, SAID)


async def test_a_device_without_identification_is_named_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(settings(tmp_path)) as plant:
        address = plant.press.removeprefix("modbus://")
        assert await asked(address) == (5, [])
    assert capsys.readouterr().err == f"{address}: function 43: exception 1 (illegal function)\n"


async def test_a_device_that_is_not_there_is_5_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert await asked(address) == (5, [])
    assert capsys.readouterr().err.startswith(f"{address}: ")


@pytest.mark.parametrize(
    ("device", "unit", "code", "said"),
    [
        ("pres", None, 2, "has no device 'pres' (did you mean press?)"),
        ("pump", None, 2, "has no device 'pump' (there are press, bench)"),
        ("press", 3, 2, "leave --unit out"),
        ("bench", None, 5, "bench speaks opcua; only a Modbus device is asked who it is"),
    ],
)
async def test_what_cannot_be_asked_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str, unit: int | None, code: int, said: str
) -> None:
    assert await asked(device, site(tmp_path, "address: 127.0.0.1"), unit) == (code, [])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["10.0.0.5:x"], "address must be host, host:port or [IPv6 address]:port, not 10.0.0.5:x"),
        (["10.0.0.5:70000"], "port 70000 is not one of 1 to 65535"),
        (["10.0.0.5", "--unit", "256"], "unit must be at most 255, not 256"),
        (["press", "--config", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
    ],
)
def test_a_wrong_command_line_is_2_with_the_reason(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["gateway", "identify", *words]) == 2
    assert said in capsys.readouterr().err
