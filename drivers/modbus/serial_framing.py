"""RTU and ASCII frames, sans-IO, on a serial line or carried by TCP.

Sources: MODBUS over Serial Line V1.02, 2.5.1 (RTU: the frame is delimited by 3.5 characters of silence), 2.5.2 (ASCII: ":", hex
digits, CR LF), 6.2.1 (LRC), 6.2.2 (CRC).

Silence can't be measured behind a driver's buffer or a TCP connection, so the end of an RTU answer is derived from its request,
and the link keeps the silence before it sends. Bytes that don't belong to the answer are passed over and counted; a frame is only
taken with the right unit, function, length, echo and checksum.
"""

from __future__ import annotations

from collections.abc import Mapping

from drivers.errors import DeviceMisbehaved
from drivers.modbus.framing import Answer, Asked, Request, answer_bytes, match_pdu

_CRC_BYTES = 2
_KEPT_BYTES = 1024
"""What is kept of bytes that are no answer: four of the longest frames."""
_LONGEST_ASCII = 513


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> bytes:
    """CRC-16/MODBUS, low byte first as it is sent; over b"123456789" it is 37 4B."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def lrc(data: bytes) -> int:
    """The longitudinal redundancy check: the two's complement of the sum of the bytes."""
    return -sum(data) & 0xFF


class RtuFraming:
    """Framing of RTU: unit, PDU, CRC."""

    def __init__(self) -> None:
        self._buffer = b""
        self.dropped = 0

    def encode(self, transaction: int, unit: int, request: Request) -> bytes:  # noqa: ARG002
        """See Framing.encode; there is no transaction id on the wire."""
        body = bytes([unit]) + request.pdu
        return body + crc16(body)

    def feed(self, data: bytes) -> None:
        """See Framing.feed."""
        self._buffer += data
        if len(self._buffer) > _KEPT_BYTES:
            self._buffer = self._buffer[-_KEPT_BYTES:]
            self.dropped += 1

    def take(self, asked: Mapping[int, Asked]) -> tuple[int, Answer] | None:
        """See Framing.take. Whatever stands before or behind the answer is dropped with it."""
        if not asked:
            self._drop(len(self._buffer))
            return None
        ((transaction, waiting),) = asked.items()
        for start in range(len(self._buffer)):
            found = self._answer_at(start, waiting)
            if found is not None:
                answer, end = found
                self._drop(start)
                self._buffer = self._buffer[end - start :]
                self._drop(len(self._buffer))
                return transaction, answer
        return None

    def _answer_at(self, start: int, waiting: Asked) -> tuple[Answer, int] | None:
        buffer, request = self._buffer, waiting.request
        if buffer[start] != waiting.unit or start + 1 >= len(buffer) or buffer[start + 1] & 0x7F != request.function:
            return None
        size = answer_bytes(request, buffer[start + 1 : start + 260])
        if size is None or start + 1 + size + _CRC_BYTES > len(buffer):
            return None
        checked = start + 1 + size
        if crc16(buffer[start:checked]) != buffer[checked : checked + _CRC_BYTES]:
            return None
        try:
            return match_pdu(request, buffer[start + 1 : checked]), checked + _CRC_BYTES
        except DeviceMisbehaved:
            return None

    def _drop(self, count: int) -> None:
        if count:
            self.dropped += 1
            self._buffer = self._buffer[count:]


class AsciiFraming:
    """Framing of ASCII: a colon, unit, PDU and LRC as hexadecimal digits, CR LF."""

    def __init__(self) -> None:
        self._buffer = b""
        self.dropped = 0

    def encode(self, transaction: int, unit: int, request: Request) -> bytes:  # noqa: ARG002
        """See Framing.encode; there is no transaction id on the wire."""
        body = bytes([unit]) + request.pdu
        return b":" + (body + bytes([lrc(body)])).hex().upper().encode() + b"\r\n"

    def feed(self, data: bytes) -> None:
        """See Framing.feed."""
        self._buffer += data

    def take(self, asked: Mapping[int, Asked]) -> tuple[int, Answer] | None:
        """See Framing.take."""
        while (end := self._buffer.find(b"\n")) >= 0:
            line, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
            for transaction, waiting in asked.items():
                answer = _ascii_answer(line, waiting)
                if answer is not None:
                    return transaction, answer
            self.dropped += 1
        if len(self._buffer) > _LONGEST_ASCII or (self._buffer and not asked):
            self._buffer = b""
            self.dropped += 1
        return None


def _ascii_answer(line: bytes, waiting: Asked) -> Answer | None:
    """What a line says in answer to a request; a colon begins a frame anew, whatever stood before it (2.5.2.1)."""
    _, colon, digits = line.rpartition(b":")
    if not colon or not digits.endswith(b"\r\n") or not _is_hex(digits[:-2]):
        return None
    frame = bytes.fromhex(digits[:-2].decode("ascii"))
    if len(frame) < 4 or lrc(frame[:-1]) != frame[-1] or frame[0] != waiting.unit:
        return None
    try:
        return match_pdu(waiting.request, frame[1:-1])
    except DeviceMisbehaved:
        return None


def _is_hex(digits: bytes) -> bool:
    return len(digits) % 2 == 0 and all(digit in b"0123456789ABCDEFabcdef" for digit in digits)
