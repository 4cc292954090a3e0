"""Which drivers there are: the one door through which the gateway reaches them. Importing it loads no protocol library."""

from __future__ import annotations

from typing import Annotated, assert_never

from pydantic import Field

from drivers.base import DevicePlan, Driver
from drivers.modbus.settings import ModbusSettings
from drivers.opcua.settings import OpcuaSettings

DeviceSettings = Annotated[ModbusSettings | OpcuaSettings, Field(discriminator="driver")]
"""One entry of a gateway's `devices`; its key `driver` says which protocol. A tag's index is its place in `tags`."""


def compile_plan(settings: ModbusSettings | OpcuaSettings) -> DevicePlan:
    """Compile a device's settings, free of mistakes, without touching the device."""
    match settings:
        case ModbusSettings():
            from drivers.modbus.plan import compile_device

            return compile_device(settings)
        case OpcuaSettings():
            from drivers.opcua.plan import compile_device as compile_opcua_device

            return compile_opcua_device(settings)
        case _:
            assert_never(settings)


def open_driver(settings: ModbusSettings | OpcuaSettings, plan: DevicePlan) -> Driver:
    """Make the driver of a device, without I/O: connect() opens it. It may also be a Subscriber or a Writer (isinstance tells).

    Args:
        plan: what compile_plan() gave for the same settings.
    """
    match settings:
        case ModbusSettings():
            from drivers.modbus.driver import ModbusDriver

            return ModbusDriver(settings)
        case OpcuaSettings():
            from drivers.opcua.driver import OpcuaDriver

            return OpcuaDriver(settings, plan)
        case _:
            assert_never(settings)
