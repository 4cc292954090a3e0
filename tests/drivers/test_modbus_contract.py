"""The Modbus driver against the driver contract: with a device of our own, and with pymodbus's server."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.modbus.settings import ModbusSettings
from tests.contracts.driver_contract import DriverContract, Rig
from tests.drivers.certificates import Authority, server_context
from tests.drivers.line_device import Frames, Line
from tests.drivers.modbus_device import ModbusDevice
from tests.drivers.wire import Wire, unused_port

REGISTERS = [*struct.unpack(">2H", struct.pack(">f", 230.5)), 0xFFFE, 321, *struct.unpack(">4H", struct.pack(">Q", 2**64 - 1))]
TEXT = struct.unpack(">2H", b"Pump")
COILS = [True, False, True]
HOLDS: dict[str, object] = {
    "voltage": 230.5,
    "torque": -2,
    "current": 321 * 0.01,
    "energy": 2**64 - 1,
    "label": "Pump",
    "door": True,
    "lamp": False,
    "speed": 5,
}
REFUSED_ADDRESS = 9


def settings(port: int, **other: Any) -> ModbusSettings:
    def holding(name: str, address: int, **more: Any) -> dict[str, Any]:
        return {"name": name, "area": "holding_register", "address": address, **more}

    tags = [
        holding("voltage", 0, type="float32"),
        holding("torque", 2, type="int16"),
        holding("current", 3, type="uint16", scale=0.01, unit="AMP"),
        holding("energy", 4, type="uint64"),
        holding("nowhere", REFUSED_ADDRESS, type="uint16"),
        holding("label", 12, type="string", length=2),
        {"name": "door", "area": "coil", "address": 0},
        {"name": "lamp", "area": "coil", "address": 1},
        holding("speed", 14, access="read_write"),
    ]
    return ModbusSettings.model_validate(
        {
            "name": "meter",
            "driver": "modbus",
            "address": f"127.0.0.1:{port}",
            "timeout_ms": 1000,
            "connect_timeout_ms": 3000,
            "busy_pause_ms": 0,
            "tags": tags,
            **other,
        }
    )


def rig_on(wire: Wire, **other: Any) -> Rig:
    return Rig(
        settings=settings(wire.port, **other),
        unreachable=settings(unused_port(), **other),
        wire=wire,
        holds=HOLDS,
        refused="nowhere",
        writable="speed",
        new_value=1234,
    )


def ours() -> ModbusDevice:
    device = ModbusDevice()
    device.registers[3] = {**dict(enumerate(REGISTERS)), **dict(enumerate(TEXT, 12)), 14: 5}
    device.bits[1] = dict(enumerate(map(int, COILS)))
    return device


class TestModbusDriver(DriverContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        async with ours().listening() as device, Wire(device.port).laid() as wire:
            yield rig_on(wire)


class TestModbusDriverPipelined(DriverContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        async with ours().listening() as device, Wire(device.port).laid() as wire:
            yield rig_on(wire, pipeline=4, max_gap=0)


def lined(frames: Frames) -> Line:
    return Line(frames, {1: ours()})


class TestModbusDriverRtuOverTcp(DriverContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        async with lined("rtu").listening() as line, Wire(line.port).laid() as wire:
            yield rig_on(wire, transport="rtu_over_tcp")


class TestModbusDriverAsciiOverTcp(DriverContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        async with lined("ascii").listening() as line, Wire(line.port).laid() as wire:
            yield rig_on(wire, transport="ascii_over_tcp")


class TestModbusDriverOnASharedLink(DriverContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        async with ours().listening() as device, Wire(device.port).laid() as wire:
            yield rig_on(wire, link="bus")


class TestModbusDriverTls(DriverContract):
    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[Rig]:
        ours_, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
        client, server = ours_.issue("gateway", role="operator"), theirs.issue("device", host="127.0.0.1")
        files = {"certificate_file": client.certificate, "private_key_file": client.key, "ca_file": theirs.certificate}
        async with ours().listening(server_context(server, ours_)) as device, Wire(device.port).laid() as wire:
            yield rig_on(wire, transport="tls", **files)


class TestModbusDriverWithPymodbus(DriverContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        words = DataType.REGISTERS
        device = SimDevice(
            id=1,
            simdata=(
                [SimData(0, values=COILS, datatype=DataType.BITS)],
                [SimData(0, values=[False], datatype=DataType.BITS)],
                [
                    SimData(0, values=REGISTERS, datatype=words),
                    SimData(12, values=[*TEXT, 5], datatype=words),
                ],
                [SimData(0, values=[0], datatype=words)],
            ),
        )
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        try:
            port = cast(asyncio.Server, server.transport).sockets[0].getsockname()[1]
            async with Wire(port).laid() as wire:
                yield rig_on(wire)
        finally:
            await server.shutdown()  # type: ignore[no-untyped-call]
