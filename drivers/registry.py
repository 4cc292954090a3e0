"""Which drivers there are: the one door through which the gateway reaches them. Importing it loads no protocol library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, assert_never

from pydantic import Field, ValidationError

from config.settings import Mistake
from config.wording import message
from drivers.base import DevicePlan, Driver
from drivers.errors import DeviceRefused
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


async def identify(settings: ModbusSettings | OpcuaSettings) -> dict[str, str]:
    """Connect to a device, ask it who it is, and hang up.

    Returns:
        Vendor, product code, revision and whatever else it tells, by the protocol's own names.

    Raises:
        DeviceRefused: it doesn't tell, its protocol has no such question, or it let nobody in.
        DeviceUnreachable, DeviceMisbehaved
    """
    if not isinstance(settings, ModbusSettings):
        raise DeviceRefused(f"{settings.name} speaks {settings.driver}; only a Modbus device is asked who it is (function 43/14)")
    from drivers.modbus.broker import doorway
    from drivers.modbus.driver import ModbusDriver
    from drivers.modbus.services import describe

    driver = ModbusDriver(settings)
    try:
        await driver.connect()
        return await describe(driver)
    finally:
        await driver.close()
        await doorway().close()


def modbus_at(address: str, unit: int) -> ModbusSettings:
    """The settings of a Modbus TCP device of which no more is known than where it is.

    Args:
        address: host, host:port or [IPv6]:port.

    Raises:
        ValueError: no such address or unit; says which and why.
    """
    tag = {"name": "any", "area": "holding_register", "address": 0}
    try:
        settings = ModbusSettings.model_validate(
            {"name": "device", "driver": "modbus", "address": address, "unit": unit, "tags": [tag]}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{first['loc'][0]} {message(first, first['input'])}") from error
    for _, what, _ in settings.mistakes():
        raise ValueError(what)
    return settings


def find_link_mistakes(devices: Sequence[ModbusSettings | OpcuaSettings]) -> Iterator[Mistake]:
    """Devices that share a link but describe it in different ways; a location begins with the device's place in the list."""
    return link_mistakes(_modbus(devices))


def find_doubtful_units(devices: Sequence[ModbusSettings | OpcuaSettings]) -> Iterator[Mistake]:
    """Devices that are one and the same to the line: allowed, but often a copy that somebody forgot to change."""
    return doubtful_units(_modbus(devices))


def _modbus(devices: Sequence[ModbusSettings | OpcuaSettings]) -> dict[int, ModbusSettings]:
    return {index: device for index, device in enumerate(devices) if isinstance(device, ModbusSettings)}
