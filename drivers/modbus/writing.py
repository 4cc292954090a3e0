"""From a tag and a value to write requests. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator

from drivers.errors import DeviceRefused
from drivers.modbus.encoding import encode_value
from drivers.modbus.framing import (
    Request,
    write_coil_request,
    write_coils_request,
    write_register_request,
    write_registers_request,
)
from drivers.modbus.plan import field_of
from drivers.modbus.settings import ModbusSettings
from drivers.settings import Access


def write_requests(settings: ModbusSettings, index: int, value: object) -> Iterator[Request]:
    """Requests that write `value` to a tag, each a fallback for a device that lacks the function of the one before (exception 1).

    Raises:
        DeviceRefused: the tag is read_only, or the value doesn't fit it.
    """
    tag = settings.tags[index]
    if tag.access is not Access.READ_WRITE:
        raise DeviceRefused(f"{tag.name}: not writable (give it access: read_write)")
    if tag.area.is_bits:
        if value not in (0, 1):
            raise DeviceRefused(f"{tag.name}: {value!r} is not a bool")
        yield write_coil_request(tag.address, on=bool(value))
        yield write_coils_request(tag.address, [bool(value)])
        return
    if not isinstance(value, int | float | str):
        raise DeviceRefused(f"{tag.name}: {value!r} is neither a number nor a text")
    try:
        data = encode_value(value, field_of(settings, index, 0))
    except ValueError as error:
        raise DeviceRefused(f"{tag.name}: {error}") from error
    if len(data) == 2:
        yield write_register_request(tag.address, data)
    yield write_registers_request(tag.address, data)
