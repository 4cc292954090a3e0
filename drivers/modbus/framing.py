"""Modbus TCP frames, sans-IO: requests out, answers in.

Sources: MODBUS Messaging on TCP/IP V1.0b, 3.1.3 (MBAP header); MODBUS Application Protocol V1.1b3, 4.1 (a PDU is at most 253
bytes), 6 (function codes), 7 (exceptions). Strict: what doesn't match its request in every field is never taken for its answer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from drivers.errors import DeviceMisbehaved
from drivers.modbus.datatypes import READ_FUNCTION, Area, Function

MAX_PDU_BYTES = 253
HEADER_BYTES = 7
_EXCEPTION_FLAG = 0x80
_MBAP = struct.Struct(">HHHB")
_MBAP_SHORT = struct.Struct(">HHH")
_PDU = struct.Struct(">BHH")
_ECHO_BYTES = 5


@dataclass(frozen=True, slots=True)
class Request:
    """A request PDU and what its answer must look like."""

    pdu: bytes
    data_bytes: int
    """Bytes of data in the answer to a read; 0 for a write, whose answer echoes the first five bytes of the request."""

    @property
    def function(self) -> int:
        """Its function code."""
        return self.pdu[0]


class Adu(NamedTuple):
    """One frame as received; nothing but the header's own consistency has been checked."""

    transaction: int
    unit: int
    pdu: bytes


class ExceptionAnswer(NamedTuple):
    """The device answered with an exception (V1.1b3, 7)."""

    code: int


Answer = bytes | ExceptionAnswer
"""The data of a read (empty for a write), or the device's exception."""


def read_request(area: Area, address: int, count: int) -> Request:
    """A request to read `count` bits or registers from `address` (FC 1-4)."""
    size = (count + 7) // 8 if area.is_bits else 2 * count
    return Request(_PDU.pack(READ_FUNCTION[area], address, count), size)


def write_coil_request(address: int, *, on: bool) -> Request:
    """FC 5: one coil."""
    return Request(_PDU.pack(Function.WRITE_COIL, address, 0xFF00 if on else 0), 0)


def write_coils_request(address: int, states: list[bool]) -> Request:
    """FC 15: coils from `address` on; the first state is the lowest bit of the first byte."""
    packed = sum(1 << place for place, on in enumerate(states) if on).to_bytes((len(states) + 7) // 8, "little")
    head = _PDU.pack(Function.WRITE_COILS, address, len(states))
    return Request(head + bytes([len(packed)]) + packed, 0)


def write_register_request(address: int, data: bytes) -> Request:
    """FC 6: one register, `data` its two bytes as they go on the wire."""
    return Request(_PDU.pack(Function.WRITE_REGISTER, address, int.from_bytes(data, "big")), 0)


def write_registers_request(address: int, data: bytes) -> Request:
    """FC 16: registers from `address` on, `data` their bytes as they go on the wire (at most 123 registers)."""
    head = _PDU.pack(Function.WRITE_REGISTERS, address, len(data) // 2)
    return Request(head + bytes([len(data)]) + data, 0)


def encode_request(transaction: int, unit: int, request: Request) -> bytes:
    """The whole frame of a request."""
    return _MBAP.pack(transaction, 0, len(request.pdu) + 1, unit) + request.pdu


class AduReader:
    """Cuts a byte stream into frames. Keeps at most one unfinished frame (under 260 bytes) besides what was just fed."""

    __slots__ = ("_buffer", "_start")

    def __init__(self) -> None:
        self._buffer = b""
        self._start = 0

    def feed(self, data: bytes) -> None:
        """Take what the socket gave."""
        rest = self._buffer[self._start :]
        self._buffer = rest + data if rest else data
        self._start = 0

    def take(self) -> Adu | None:
        """The next frame, or None when more bytes are needed.

        Raises:
            DeviceMisbehaved: a header that can't be one: protocol id not 0, or a length that no answer has. The stream has no
                frame boundary to find again, so the link must be dropped.
        """
        have = len(self._buffer) - self._start
        if have < _MBAP_SHORT.size:
            return None
        transaction, protocol, length = _MBAP_SHORT.unpack_from(self._buffer, self._start)
        if protocol != 0:
            raise DeviceMisbehaved(f"protocol id {protocol} where Modbus has 0")
        if not 3 <= length <= MAX_PDU_BYTES + 1:
            raise DeviceMisbehaved(f"frame length {length} is not one of 3 to {MAX_PDU_BYTES + 1}")
        if have < _MBAP_SHORT.size + length:
            return None
        body = self._start + HEADER_BYTES
        self._start += _MBAP_SHORT.size + length
        return Adu(transaction, self._buffer[body - 1], self._buffer[body : self._start])


def match_answer(request: Request, unit: int, adu: Adu) -> Answer:
    """Understand a frame as the answer to the request that bore its transaction id.

    Raises:
        DeviceMisbehaved: unit, function, byte count or echo differ from what was asked.
    """
    pdu = adu.pdu
    if adu.unit != unit:
        raise DeviceMisbehaved(f"unit {adu.unit} answered in place of unit {unit}")
    function = pdu[0]
    if function != request.function:
        if function == request.function | _EXCEPTION_FLAG and len(pdu) == 2:
            return ExceptionAnswer(pdu[1])
        raise DeviceMisbehaved(f"function {function} ({len(pdu)} bytes) in answer to function {request.function}")
    if request.data_bytes:
        if pdu[1] != request.data_bytes or len(pdu) != request.data_bytes + 2:
            raise DeviceMisbehaved(
                f"{len(pdu) - 2} bytes of data announced as {pdu[1]} where {request.data_bytes} were asked for"
            )
        return pdu[2:]
    if pdu != request.pdu[:_ECHO_BYTES]:
        raise DeviceMisbehaved("the echo of a write differs from what was written")
    return b""
