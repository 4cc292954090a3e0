"""Which drivers there are: the one door through which the gateway reaches them. Importing it loads no protocol library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, assert_never

from pydantic import Field

from config.settings import Mistake
from drivers.base import DevicePlan, Driver
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.sharing import doubtful_units, link_mistakes
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


def find_link_mistakes(devices: Sequence[ModbusSettings | OpcuaSettings]) -> Iterator[Mistake]:
    """Devices that share a link but describe it in different ways; a location begins with the device's place in the list."""
    return link_mistakes(_modbus(devices))


def find_doubtful_units(devices: Sequence[ModbusSettings | OpcuaSettings]) -> Iterator[Mistake]:
    """Devices that are one and the same to the line: allowed, but often a copy that somebody forgot to change."""
    return doubtful_units(_modbus(devices))


def _modbus(devices: Sequence[ModbusSettings | OpcuaSettings]) -> dict[int, ModbusSettings]:
    return {index: device for index, device in enumerate(devices) if isinstance(device, ModbusSettings)}
