"""The rarer functions: mask write, write and read in one, queues, file records, identification. Sans-IO.

Source: MODBUS Application Protocol V1.1b3, 6.14 (FC 20), 6.16 (FC 22), 6.17 (FC 23), 6.18 (FC 24), 6.21 (FC 43/14).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from drivers.errors import DeviceMisbehaved
from drivers.modbus.datatypes import Function
from drivers.modbus.framing import Form, Request

MAX_FILE_REGISTERS = 122
"""Of one record in one request: the answer's length is a byte and may not exceed 0xF5."""
MAX_EXCHANGE_READ = 125
MAX_EXCHANGE_WRITTEN = 121
_FILE_REFERENCE = 6
_DEVICE_IDENTIFICATION = 0x0E
_MORE_FOLLOWS = 0xFF
_MAX_QUEUE = 31

OBJECT_NAMES = {
    0: "vendor_name",
    1: "product_code",
    2: "revision",
    3: "vendor_url",
    4: "product_name",
    5: "model_name",
    6: "user_application_name",
}
"""Objects of identification that the standard names (6.21, table of objects)."""


class Identity(NamedTuple):
    """One answer of a device about itself."""

    objects: dict[int, bytes]
    next_object: int | None
    """The object to ask for next; None when that was all."""


def mask_write_request(address: int, and_mask: int, or_mask: int) -> Request:
    """FC 22: the register becomes (register AND and_mask) OR (or_mask AND NOT and_mask)."""
    return Request(struct.pack(">BHHH", Function.MASK_WRITE_REGISTER, address, and_mask, or_mask), 0, echo_bytes=7)


def exchange_request(address: int, count: int, written_address: int, data: bytes) -> Request:
    """FC 23: write `data` (the bytes of up to 121 registers), then read `count` registers, in one transaction."""
    if not (1 <= count <= MAX_EXCHANGE_READ and 2 <= len(data) <= 2 * MAX_EXCHANGE_WRITTEN and len(data) % 2 == 0):
        raise ValueError(f"{count} registers to read and {len(data)} bytes to write don't fit a request")
    head = struct.pack(">BHHHHB", Function.READ_WRITE_REGISTERS, address, count, written_address, len(data) // 2, len(data))
    return Request(head + data, 2 * count)


def queue_request(address: int) -> Request:
    """FC 24: the registers that stand in the queue at `address`."""
    return Request(struct.pack(">BH", Function.READ_QUEUE, address), 0, Form.QUEUE)


def queue_of(answer: bytes) -> list[int]:
    """The registers of an answer to queue_request(), oldest first.

    Raises:
        DeviceMisbehaved: its counts disagree.
    """
    if len(answer) < 4:
        raise DeviceMisbehaved("a queue without a count")
    count = int.from_bytes(answer[2:4], "big")
    if count > _MAX_QUEUE or len(answer) != 4 + 2 * count:
        raise DeviceMisbehaved(f"a queue of {count} registers in {len(answer)} bytes")
    return list(struct.unpack(f">{count}H", answer[4:]))


def file_request(file: int, record: int, count: int) -> Request:
    """FC 20: `count` registers of a file from `record` on."""
    if not (1 <= file <= 0xFFFF and 0 <= record <= 9999 and 1 <= count <= MAX_FILE_REGISTERS):
        raise ValueError(f"file {file}, record {record}, {count} registers: not what a request can ask for")
    return Request(struct.pack(">BBBHHH", Function.READ_FILE, 7, _FILE_REFERENCE, file, record, count), 0, Form.COUNTED)


def file_data_of(answer: bytes, count: int) -> bytes:
    """The registers of an answer to file_request(), as they came.

    Raises:
        DeviceMisbehaved: not one group of `count` registers.
    """
    expected = bytes([2 * count + 2, 2 * count + 1, _FILE_REFERENCE])
    if answer[:3] != expected or len(answer) != 3 + 2 * count:
        raise DeviceMisbehaved(f"{len(answer)} bytes of a file where {count} registers were asked for")
    return answer[3:]


def identity_request(category: int, first: int) -> Request:
    """FC 43/14: objects from `first` on; category 1 basic, 2 regular, 3 extended."""
    return Request(bytes([Function.ENCAPSULATED, _DEVICE_IDENTIFICATION, category, first]), 0, Form.IDENTITY)


def identity_of(answer: bytes, category: int) -> Identity:
    """The objects of an answer to identity_request().

    Raises:
        DeviceMisbehaved: another type or category, an object twice, or a length that runs over.
    """
    if len(answer) < 6 or answer[0] != _DEVICE_IDENTIFICATION or answer[1] != category:
        raise DeviceMisbehaved("not the identification that was asked for")
    more, following, count = answer[3:6]
    objects: dict[int, bytes] = {}
    place = 6
    for _ in range(count):
        if place + 2 > len(answer) or place + 2 + answer[place + 1] > len(answer) or answer[place] in objects:
            raise DeviceMisbehaved("an identification whose objects don't fit it")
        objects[answer[place]] = answer[place + 2 : place + 2 + answer[place + 1]]
        place += 2 + answer[place + 1]
    if place != len(answer) or more not in (0, _MORE_FOLLOWS):
        raise DeviceMisbehaved("an identification with something behind its objects")
    return Identity(objects, following if more else None)
