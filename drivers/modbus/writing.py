"""From a tag and a value to write requests. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.errors import DeviceRefused
from drivers.modbus.datatypes import Area, DataType
from drivers.modbus.encoding import encode_value
from drivers.modbus.framing import (
    Request,
    read_request,
    write_coil_request,
    write_coils_request,
    write_register_request,
    write_registers_request,
)
from drivers.modbus.functions import mask_write_request
from drivers.modbus.plan import field_of
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.tag import BitWrite, ModbusTag
from drivers.settings import Access


@dataclass(frozen=True, slots=True)
class Write:
    """How one value is written and verified."""

    requests: tuple[Request, ...]
    """Each a fallback for a device that lacks the function of the one before (exception 1); empty: read, change, write."""
    read_back: Request
    """Reads the addresses that are written."""
    data: bytes
    """What `read_back` must give, where `mask` has a 1."""
    mask: bytes

    def confirms(self, data: bytes) -> bool:
        """Whether what was read back is what was written."""
        return all((there ^ here) & kept == 0 for there, here, kept in zip(data, self.data, self.mask, strict=True))

    def merged(self, address: int, data: bytes) -> Request:
        """The write of a register that was read as `data`, but for the part that changes."""
        bits = zip(data, self.data, self.mask, strict=True)
        return write_register_request(address, bytes(there & ~kept | here & kept for there, here, kept in bits))


def write_of(settings: ModbusSettings, index: int, value: object) -> Write:
    """How `value` is written to a tag.

    Raises:
        DeviceRefused: the tag is read_only, or the value is not allowed or doesn't fit it.
    """
    tag = settings.tags[index]
    if tag.access is not Access.READ_WRITE:
        raise DeviceRefused(f"{tag.name}: not writable (give it access: read_write)")
    _check(tag, value)
    if tag.area.is_bits:
        on = bool(value)
        requests = (write_coil_request(tag.address, on=on), write_coils_request(tag.address, [on]))
        return Write(requests, read_request(tag.area, tag.address, 1), bytes([on]), b"\x01")
    if tag.data_type is DataType.BOOL or tag.data_type.is_byte:
        return _part_write(settings, index, value)
    data = register_data(settings, index, value)
    several = write_registers_request(tag.address, data)
    single = (write_register_request(tag.address, data),) if len(data) == 2 else ()
    return Write((*single, several), read_request(Area.HOLDING_REGISTER, tag.address, len(data) // 2), data, b"\xff" * len(data))


def register_data(settings: ModbusSettings, index: int, value: object) -> bytes:
    """The bytes of the whole registers that hold `value`.

    Raises:
        DeviceRefused: the value doesn't fit the tag, or the tag isn't made of whole holding registers.
    """
    tag = settings.tags[index]
    if tag.area is not Area.HOLDING_REGISTER or tag.data_type is DataType.BOOL or tag.data_type.is_byte:
        raise DeviceRefused(f"{tag.name}: not made of whole holding registers")
    _check(tag, value)
    return _encoded(settings, index, value)


def _encoded(settings: ModbusSettings, index: int, value: object) -> bytes:
    name = settings.tags[index].name
    if not isinstance(value, int | float | str):
        raise DeviceRefused(f"{name}: {value!r} is neither a number nor a text")
    try:
        return encode_value(value, field_of(settings, index, 0))
    except ValueError as error:
        raise DeviceRefused(f"{name}: {error}") from error


def _part_write(settings: ModbusSettings, index: int, value: object) -> Write:
    """One bit or byte of a register: FC 22, or read, change and write where that was asked for."""
    tag, field = settings.tags[index], field_of(settings, index, 0)
    mask, data = bytearray(2), bytearray(2)
    if tag.data_type is DataType.BOOL:
        mask[field.position] = 1 << field.bit
        data[field.position] = mask[field.position] if value else 0
    else:
        mask[field.position] = 0xFF
        data[field.position : field.position + 1] = _encoded(settings, index, value)
    changed, bits = int.from_bytes(mask, "big"), int.from_bytes(data, "big")
    requests = (mask_write_request(tag.address, changed ^ 0xFFFF, bits),) if tag.bit_write is BitWrite.MASK else ()
    return Write(requests, read_request(Area.HOLDING_REGISTER, tag.address, 1), bytes(data), bytes(mask))


def _check(tag: ModbusTag, value: object) -> None:
    """Type, limits and allow-list."""
    if tag.data_type is DataType.BOOL and value not in (0, 1):
        raise DeviceRefused(f"{tag.name}: {value!r} is not a bool")
    if tag.allowed and value not in tag.allowed:
        raise DeviceRefused(f"{tag.name}: {value!r} is not one of the allowed values")
    for limit, sign in ((tag.min, 1), (tag.max, -1)):
        if limit is not None and not (isinstance(value, int | float) and sign * value >= sign * limit):
            raise DeviceRefused(f"{tag.name}: {value!r} is beyond {limit:g}")
