"""The three framings of Modbus from the device's side, sans-IO: requests in, answers out.

Written without the gateway's codec on purpose: a misreading of the standard must not be shared by both sides.

Sources: MODBUS Messaging on TCP/IP V1.0b, 3.1.3 (MBAP); MODBUS over Serial Line V1.02, 2.5.1 (RTU),
2.5.2 (ASCII), 6.2 (LRC, CRC).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

_MBAP_BYTES = 7
_MOST_BYTES = 254
"""Unit identifier and PDU."""
_RTU_MOST_BYTES = 256
_RTU_LENGTHS = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6, 43: 7}
"""Bytes of a request by its function; those with data of their own length are in _RTU_COUNTS."""
_RTU_COUNTS = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}
"""Where a request keeps the count of the bytes that follow, before the CRC."""
_ASCII_MOST_BYTES = 513


class FramingKind(StrEnum):
    """How frames are told apart on a byte stream."""

    MBAP = "mbap"
    RTU = "rtu"
    ASCII = "ascii"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; only its frame has been checked."""

    transaction: int
    """0 where the framing has none."""
    unit: int
    pdu: bytes


class StreamBroken(Exception):
    """What came can't be Modbus, and no boundary can be found again: the connection has to end."""


class Framing(Protocol):
    """One direction in, one out; one object per connection."""

    kind: FramingKind
    answers_for_others: bool
    """Whether a request for another unit is answered (by the gateway exception 11) rather than left to its addressee."""

    def feed(self, data: bytes) -> None:
        """Take what came."""

    def take(self) -> Request | None:
        """The next whole request; None when more bytes are needed.

        Raises:
            StreamBroken
        """

    def hush(self) -> None:
        """The line has been silent for longer than a frame may pause: what is unfinished is nothing."""

    def encode(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        """A whole frame."""


class MbapFraming:
    """Modbus TCP, with or without TLS."""

    kind = FramingKind.MBAP
    answers_for_others = True

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> Request | None:
        if len(self._buffer) < _MBAP_BYTES - 1:
            return None
        transaction, protocol, length = struct.unpack_from(">HHH", self._buffer)
        if protocol or not 2 <= length <= _MOST_BYTES:
            raise StreamBroken(f"a header with protocol id {protocol} and length {length}")
        end = _MBAP_BYTES - 1 + length
        if len(self._buffer) < end:
            return None
        request = Request(transaction, self._buffer[_MBAP_BYTES - 1], self._buffer[_MBAP_BYTES:end])
        self._buffer = self._buffer[end:]
        return request

    def hush(self) -> None:
        """TCP keeps every byte: half a request may be finished after any pause."""

    def encode(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        return struct.pack(">HHHB", transaction & 0xFFFF, 0, len(pdu) + 1, unit) + pdu


class RtuFraming:
    """Serial RTU, also carried over TCP. Told apart by length and CRC, so that it needs no exact timing."""

    kind = FramingKind.RTU
    answers_for_others = False

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> Request | None:
        while len(self._buffer) >= 4:
            size = self._size()
            if size is None:
                return None
            frame = self._buffer[:size]
            if size and crc16(frame[:-2]) == frame[-2:]:
                self._buffer = self._buffer[size:]
                return Request(0, frame[0], frame[1:-2])
            self._buffer = self._buffer[1:]  # Not the head of a frame: look one byte on.
        return None

    def hush(self) -> None:
        self._buffer = b""

    def encode(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        del transaction
        body = bytes([unit]) + pdu
        return body + crc16(body)

    def _size(self) -> int | None:
        """Bytes of the frame at the head; 0 when there can be none, None when more must come before that is known."""
        buffer, function = self._buffer, self._buffer[1]
        if function in _RTU_COUNTS:
            place = _RTU_COUNTS[function]
            if len(buffer) <= place:
                return None
            size = place + 1 + buffer[place] + 2
        elif function in _RTU_LENGTHS:
            size = _RTU_LENGTHS[function]
        else:  # Its length is in no standard: the first place where a CRC fits.
            most = min(len(buffer), _RTU_MOST_BYTES)
            ends = (end for end in range(4, most + 1) if crc16(buffer[: end - 2]) == buffer[end - 2 : end])
            return next(ends, 0 if most == _RTU_MOST_BYTES else None)
        if size > _RTU_MOST_BYTES:
            return 0
        return size if len(buffer) >= size else None


class AsciiFraming:
    """Serial ASCII, also carried over TCP."""

    kind = FramingKind.ASCII
    answers_for_others = False

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> Request | None:
        while True:
            # A colon always begins a frame, also in the middle of another (2.5.2.1).
            end = self._buffer.find(b"\r\n")
            if end < 0:
                start = self._buffer.rfind(b":")
                self._buffer = self._buffer[start:][:_ASCII_MOST_BYTES] if start >= 0 else b""
                return None
            line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
            request = _ascii_request(line[line.rfind(b":") :])
            if request is not None:
                return request

    def hush(self) -> None:
        self._buffer = b""

    def encode(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        del transaction
        body = bytes([unit]) + pdu
        return b":" + (body + bytes([lrc(body)])).hex().upper().encode() + b"\r\n"


def _ascii_request(line: bytes) -> Request | None:
    """The request of one line; None for what isn't one, which a device passes over in silence."""
    try:
        body = bytes.fromhex(line[1:].decode("ascii"))
    except ValueError:
        return None
    if not line.startswith(b":") or len(body) < 3 or lrc(body[:-1]) != body[-1]:
        return None
    return Request(0, body[0], body[1:-1])


_MAKERS: dict[FramingKind, type[MbapFraming] | type[RtuFraming] | type[AsciiFraming]] = {
    FramingKind.MBAP: MbapFraming,
    FramingKind.RTU: RtuFraming,
    FramingKind.ASCII: AsciiFraming,
}


def make_framing(kind: FramingKind) -> Framing:
    """A framing for a new connection."""
    return _MAKERS[kind]()


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> bytes:
    """The CRC of RTU as it goes on the wire, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def lrc(data: bytes) -> int:
    """The check of ASCII: the sum of all bytes and it is 0, modulo 256."""
    return -sum(data) & 0xFF
