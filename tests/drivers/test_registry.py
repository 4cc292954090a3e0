"""The one door to the drivers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from drivers.base import Driver, Subscriber, Writer
from drivers.modbus.settings import ModbusSettings
from drivers.opcua.settings import OpcuaSettings
from drivers.registry import DeviceSettings, compile_plan, open_driver

DEVICES: TypeAdapter[Any] = TypeAdapter(DeviceSettings)
MODBUS = {
    "name": "press",
    "driver": "modbus",
    "address": "10.0.0.5",
    "tags": [{"name": "pulses", "area": "input_register", "address": 0, "type": "uint32"}],
}
OPCUA = {
    "name": "bench",
    "driver": "opcua",
    "endpoint": "opc.tcp://10.0.0.7",
    "security": "none",
    "tags": [{"name": "level", "node": "nsu=urn:x;s=level"}],
}


def test_the_driver_key_chooses_the_settings() -> None:
    assert isinstance(DEVICES.validate_python(MODBUS), ModbusSettings)
    assert isinstance(DEVICES.validate_python(OPCUA), OpcuaSettings)
    with pytest.raises(ValidationError, match="'modbus', 'opcua'"):
        DEVICES.validate_python({**MODBUS, "driver": "profinet"})


def test_a_driver_is_opened_without_io_and_says_what_it_can() -> None:
    for given, subscribes in ((MODBUS, False), (OPCUA, True)):
        settings = DEVICES.validate_python(given)
        plan = compile_plan(settings)
        driver: Driver = open_driver(settings, plan)
        assert isinstance(driver, Subscriber) is subscribes
        assert isinstance(driver, Writer)
        assert [scan.subscribed for scan in plan.scans] == [subscribes]


def test_importing_the_registry_loads_no_protocol_library_and_opens_no_socket() -> None:
    code = (
        "import sys, drivers.registry;"
        "loaded = sorted(m for m in ('asyncua', 'asyncio', 'drivers.modbus.link', 'drivers.opcua.session') if m in sys.modules);"
        "print(*loaded)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []
