"""What a driver counts beside readings and errors, as far as a person sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drivers.modbus.driver import ModbusDriver
from tests.drivers.modbus_device import ModbusDevice
from tests.gateway.broker import ScriptedBroker
from tests.gateway.running import metrics, running
from tests.gateway.test_operations_face import broker, device

__all__ = ["broker", "device"]


async def test_what_a_driver_counts_is_in_the_status_and_the_metrics(
    tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModbusDriver, "counts", {"overflows": 3, "republished": 0}, raising=False)
    async with running(tmp_path, device.port, broker.port) as gateway:
        found = metrics(await gateway.until("/metrics", lambda reply: b"mumian_device_events_total{" in reply.body))
        assert {key[1:]: value for key, value in found.items() if key[0] == "mumian_device_events_total"} == {
            ("press", "overflows"): 3,
            ("press", "republished"): 0,
        }
        status = json.loads((await gateway.get("/status")).body)
        assert status["devices"]["press"]["counts"] == {"overflows": 3, "republished": 0}


async def test_a_driver_that_counts_nothing_has_no_counts(tmp_path: Path, device: ModbusDevice, broker: ScriptedBroker) -> None:
    async with running(tmp_path, device.port, broker.port) as gateway:
        status = json.loads((await gateway.until("/status", lambda reply: b'"press"' in reply.body)).body)
        assert status["devices"]["press"]["counts"] == {}
