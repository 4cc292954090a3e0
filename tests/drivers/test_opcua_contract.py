"""The OPC UA driver against the driver contract, with asyncua's server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.opcua.settings import OpcuaSettings
from tests.contracts.driver_contract import DriverContract, Rig
from tests.drivers.opcua_server import NAMESPACE, OpcuaServer
from tests.drivers.wire import Wire, unused_port

TYPES = {"level": "float", "count": "int", "total": "uint64", "running": "bool", "order": "text", "speed": "int"}
HOLDS: dict[str, object] = {
    "level": 1.5,
    "count": -7,
    "total": 2**64 - 1,
    "running": True,
    "order": "P-4711",
    "speed": 5,
}


def settings(port: int, **other: Any) -> OpcuaSettings:
    tags: list[dict[str, Any]] = [
        {"name": name, "node": f"nsu={NAMESPACE};s={name}", "type": kind} for name, kind in TYPES.items()
    ]
    tags[-1]["access"] = "read_write"
    tags.insert(3, {"name": "nowhere", "node": f"nsu={NAMESPACE};s=nowhere"})
    return OpcuaSettings.model_validate(
        {
            "name": "bench",
            "driver": "opcua",
            "endpoint": f"opc.tcp://127.0.0.1:{port}",
            "security": "none",
            "publishing_interval_ms": 50,
            "timeout_ms": 2000,
            "keepalive_s": 0.5,
            "tags": tags,
            **other,
        }
    )


class TestOpcuaDriver(DriverContract):
    @pytest.fixture
    async def rig(self, opcua_server: OpcuaServer) -> AsyncIterator[Rig]:
        await opcua_server.reset()
        async with Wire(opcua_server.port).laid() as wire:
            yield Rig(
                settings=settings(wire.port),
                unreachable=settings(unused_port()),
                wire=wire,
                holds=HOLDS,
                refused="nowhere",
                writable="speed",
                new_value=1234,
            )
