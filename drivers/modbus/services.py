"""What a device can be asked beside its tags: who it is, records of its files, its queues, a write and a read in one."""

from __future__ import annotations

from drivers.errors import DeviceMisbehaved, DeviceRefused
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.functions import (
    MAX_FILE_REGISTERS,
    OBJECT_NAMES,
    exchange_request,
    file_data_of,
    file_request,
    identity_of,
    identity_request,
    queue_of,
    queue_request,
)
from drivers.modbus.writing import register_data
from drivers.settings import Access

MAX_OBJECTS = 256


async def identify(driver: ModbusDriver, category: int = 2) -> dict[int, str]:
    """What the device says of itself (FC 43/14); functions.OBJECT_NAMES names the objects.

    Args:
        category: 1 basic, 2 regular, 3 extended.

    Raises:
        DeviceRefused: it doesn't know the function.
        DeviceUnreachable, DeviceMisbehaved
    """
    objects: dict[int, bytes] = {}
    following: int | None = 0
    while following is not None:
        found = identity_of(await driver.ask(identity_request(category, following)), category)
        if not found.objects or found.objects.keys() & objects.keys():
            raise DeviceMisbehaved("an identification that goes in circles")
        objects |= found.objects
        following = found.next_object
    return {number: value.decode("utf-8", "replace") for number, value in objects.items()}


async def describe(driver: ModbusDriver) -> dict[str, str]:
    """What the device says of itself, by the standard's names (vendor_name, product_code, ...; object_128 for one of its own).

    It is asked for all that it has, then for less: some devices refuse a category that they don't have, where the standard wants
    them to give what they have (6.21).

    Raises:
        DeviceRefused: it doesn't identify itself.
        DeviceUnreachable
        DeviceMisbehaved: nothing that it said can be understood.
    """
    for category in (3, 2, 1):
        try:
            found = await identify(driver, category)
        except (DeviceRefused, DeviceMisbehaved):
            if category == 1:
                raise
        else:
            return {OBJECT_NAMES.get(number, f"object_{number}"): text for number, text in sorted(found.items())}
    raise AssertionError("the last category returns or raises")


async def read_file(driver: ModbusDriver, file: int, record: int, count: int) -> bytes:
    """`count` registers of a file from `record` on (FC 20), in as many requests as it takes.

    Raises:
        DeviceRefused: there is no such file or record.
        DeviceUnreachable, DeviceMisbehaved
    """
    data = b""
    while len(data) < 2 * count:
        done = len(data) // 2
        part = min(count - done, MAX_FILE_REGISTERS)
        data += file_data_of(await driver.ask(file_request(file, record + done, part)), part)
    return data


async def read_queue(driver: ModbusDriver, address: int) -> list[int]:
    """The registers in the queue at `address`, at most 31 (FC 24). It is not asked twice, for some devices empty it on reading.

    Raises:
        DeviceRefused, DeviceUnreachable, DeviceMisbehaved
    """
    return queue_of(await driver.ask(queue_request(address)))


async def exchange(driver: ModbusDriver, tag: int, value: object, address: int, count: int) -> bytes:
    """Write a tag and then read `count` holding registers from `address`, in one transaction (FC 23).

    Raises:
        DeviceRefused: the tag may not be written, isn't made of whole holding registers, or the device says no.
        DeviceUnreachable, DeviceMisbehaved
    """
    written = driver.settings.tags[tag]
    if written.access is not Access.READ_WRITE:
        raise DeviceRefused(f"{written.name}: not writable (give it access: read_write)")
    data = register_data(driver.settings, tag, value)
    return await driver.ask(exchange_request(address, count, written.address, data))
