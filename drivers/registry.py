"""Which drivers there are: the one door through which the gateway reaches them. Importing it loads no protocol library."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

from pydantic import Field, ValidationError

from config.settings import Mistake
from config.wording import message
from drivers.base import DevicePlan, Driver
from drivers.errors import DeviceRefused
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.sharing import doubtful_units, link_mistakes
from drivers.opcua.settings import OpcuaSettings, Security
from drivers.suggestion import Suggestions

if TYPE_CHECKING:
    from cryptography import x509

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


async def browse_device(settings: ModbusSettings | OpcuaSettings, below: str | None, limit: int) -> Suggestions:
    """Look through an OPC UA server for its variables.

    Args:
        below: a node id as the settings have it; everything when None.

    Raises:
        DeviceRefused: it lets nobody in, has no such node, or its protocol can't be browsed.
        DeviceUnreachable, DeviceMisbehaved
    """
    if not isinstance(settings, OpcuaSettings):
        raise DeviceRefused(f"{settings.name} speaks {settings.driver}; only an OPC UA server can be browsed")
    from drivers.opcua.browsing import browse
    from drivers.opcua.reverse import way_in
    from drivers.opcua.session import open_session

    incoming = way_in(settings, settings.url)
    try:
        session = await open_session(settings, settings.url, time.time_ns(), incoming)
        try:
            return await browse(session, below, limit, settings.max_per_request)
        finally:
            await session.close()
    finally:
        if incoming is not None:
            incoming.close()


def opcua_at(url: str, security: str, folder: Path) -> OpcuaSettings:
    """The settings of an OPC UA server of which no more is known than where it is.

    Raises:
        ValueError: no such address; says why.
    """
    given = {"name": "device", "driver": "opcua", "endpoint": url, "security": security, "pki_folder": folder}
    try:
        return OpcuaSettings.model_validate({**given, "tags": [{"name": "any", "node": "i=2258", "type": "text"}]})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{first['loc'][0]} {message(first, first['input'])}") from error


def connection_lines(settings: ModbusSettings | OpcuaSettings) -> list[tuple[str, object]]:
    """What a device's settings say besides name and tags, as it would be written; paths are absolute."""
    return [
        (key, str(value.absolute()) if isinstance(value, Path) else value)
        for key, value in settings.model_dump(mode="python", exclude={"name", "tags"}, exclude_unset=True).items()
    ]


def pki_folder(settings: ModbusSettings | OpcuaSettings) -> Path | None:
    """Where a device's certificates are; None when it has no use for any."""
    return settings.pki_folder if isinstance(settings, OpcuaSettings) and settings.security is not Security.NONE else None


async def shown_certificate(settings: ModbusSettings | OpcuaSettings) -> x509.Certificate:
    """The certificate that a device shows, asked for over an open channel: nothing proves yet that it is the device's.

    Raises:
        DeviceRefused: it has none to show.
        DeviceUnreachable
    """
    if not isinstance(settings, OpcuaSettings) or settings.security is Security.NONE:
        raise DeviceRefused(f"{settings.name} is set to use no certificate of OPC UA")
    from drivers.opcua.reverse import way_in
    from drivers.opcua.security import choose, claim_of, discover

    incoming = way_in(settings, settings.url)
    try:
        endpoint, _ = choose(await discover(settings.url, settings.timeout_ms / 1000, incoming), settings, settings.url)
    finally:
        if incoming is not None:
            incoming.close()
    return claim_of(endpoint, "").chain[0]


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
