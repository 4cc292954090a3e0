"""Requests, answers, and Modbus TCP frames, sans-IO. Serial frames are in serial_framing.py.

Sources: MODBUS Messaging on TCP/IP V1.0b, 3.1.3 (MBAP header); MODBUS Application Protocol V1.1b3, 4.1 (a PDU is at most 253
bytes), 6 (function codes), 7 (exceptions). Strict: what doesn't match its request in every field is never taken for its answer.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol

from drivers.errors import DeviceMisbehaved
from drivers.modbus.datatypes import READ_FUNCTION, Area, Function

MAX_PDU_BYTES = 253
HEADER_BYTES = 7
_EXCEPTION_FLAG = 0x80
_MBAP = struct.Struct(">HHHB")
_MBAP_SHORT = struct.Struct(">HHH")
_READ_HEAD = struct.Struct(">HHHBBB")
READ_HEAD_BYTES = 9
_PDU = struct.Struct(">BHH")


class Form(Enum):
    """How long an answer is and what it must repeat."""

    FIXED = auto()
    """`data_bytes` of data, or an echo of the first `echo_bytes` of the request."""
    COUNTED = auto()
    """FC 20: a byte says how much follows."""
    QUEUE = auto()
    """FC 24: two bytes say how much follows."""
    IDENTITY = auto()
    """FC 43/14: a list of objects, each with its length."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request PDU and what its answer must look like."""

    pdu: bytes
    data_bytes: int
    """Bytes of data in the answer to a read; 0 for a write, whose answer echoes the beginning of the request."""
    form: Form = Form.FIXED
    echo_bytes: int = 5

    @property
    def function(self) -> int:
        """Its function code."""
        return self.pdu[0]

    @property
    def is_read(self) -> bool:
        """Whether asking twice does no harm."""
        return self.form is not Form.QUEUE and self.pdu[0] in _REPEATABLE


_REPEATABLE = frozenset((*READ_FUNCTION.values(), Function.DIAGNOSTICS, Function.READ_FILE, Function.ENCAPSULATED))


class Asked(Protocol):
    """An outstanding request and the unit that it went to."""

    @property
    def unit(self) -> int: ...
    @property
    def request(self) -> Request: ...


class Framing(Protocol):
    """How requests and answers stand on the wire; one object per connection, sans-IO.

    MBAP frames bear a transaction id, so several requests may be outstanding. RTU and ASCII frames have none: at most one is, and
    its answer is told by unit, function, length and what it must repeat.
    """

    dropped: int
    """Frames, or runs of bytes that are none, which answered no outstanding request: late, repeated, foreign or damaged."""

    def encode(self, transaction: int, unit: int, request: Request) -> bytes:
        """The whole frame of a request."""

    def feed(self, data: bytes) -> None:
        """Take what came."""

    def take(self, asked: Mapping[int, Asked]) -> tuple[int, Answer] | None:
        """The next answer and the transaction that it belongs to; None when more bytes are needed.

        Raises:
            DeviceMisbehaved: the stream can't be understood any more.
        """


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


def echo_request(token: int) -> Request:
    """FC 8, sub-function 0: the device returns the token (V1.1b3, 6.8; serial lines only)."""
    return Request(_PDU.pack(Function.DIAGNOSTICS, 0, token), 0)


def encode_request(transaction: int, unit: int, request: Request) -> bytes:
    """The whole frame of a request."""
    return _MBAP.pack(transaction, 0, len(request.pdu) + 1, unit) + request.pdu


class AduReader:
    """Cuts a byte stream into frames. Keeps at most one unfinished frame (under 260 bytes) besides what was just fed."""

    __slots__ = ("_buffer", "_start")

    def __init__(self) -> None:
        self._buffer = b""
        self._start = 0

    @property
    def has_rest(self) -> bool:
        """Whether bytes wait to be taken."""
        return self._start < len(self._buffer)

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


class MbapFraming:
    """Framing of Modbus TCP, TLS and UDP (Messaging V1.0b, 3.1.3)."""

    __slots__ = ("_reader", "dropped")

    def __init__(self) -> None:
        self._reader = AduReader()
        self.dropped = 0

    def encode(self, transaction: int, unit: int, request: Request) -> bytes:
        """See Framing.encode."""
        return encode_request(transaction, unit, request)

    def feed(self, data: bytes) -> None:
        """See Framing.feed."""
        self._reader.feed(data)

    @property
    def has_rest(self) -> bool:
        """Whether it holds the beginning of a frame."""
        return self._reader.has_rest

    def forget(self) -> None:
        """Drop an unfinished frame: what comes next begins a new one."""
        self._reader = AduReader()

    def take(self, asked: Mapping[int, Asked]) -> tuple[int, Answer] | None:
        """See Framing.take."""
        while (adu := self._reader.take()) is not None:
            waiting = asked.get(adu.transaction)
            if waiting is not None:
                return adu.transaction, match_answer(waiting.request, waiting.unit, adu)
            self.dropped += 1
        return None


def take_whole(data: bytes, asked: Mapping[int, Asked]) -> int | None:
    """The common case, at a price of its own: what came is one whole MBAP frame with the data of a read that is awaited.

    Returns:
        Its transaction, and the data begin at READ_HEAD_BYTES; None when it is anything else, for feed() and take() to see to.
    """
    if len(data) > READ_HEAD_BYTES:
        transaction, protocol, length, unit, function, count = _READ_HEAD.unpack_from(data)
        waiting = asked.get(transaction)
        if waiting is not None and protocol == 0 and len(data) == length + _MBAP_SHORT.size == count + READ_HEAD_BYTES:
            request = waiting.request
            if unit == waiting.unit and function == request.pdu[0] and count == request.data_bytes:
                return transaction  # type: ignore[no-any-return]
    return None


def match_answer(request: Request, unit: int, adu: Adu) -> Answer:
    """Understand a frame as the answer to the request that bore its transaction id.

    Raises:
        DeviceMisbehaved: unit, function, byte count or echo differ from what was asked.
    """
    if adu.unit != unit:
        raise DeviceMisbehaved(f"unit {adu.unit} answered in place of unit {unit}")
    return match_pdu(request, adu.pdu)


def match_pdu(request: Request, pdu: bytes) -> Answer:
    """Understand a PDU as the answer to a request.

    Returns:
        The data of a read; b"" for a confirmed write; for the forms of variable length all that follows the function code.

    Raises:
        DeviceMisbehaved: function, byte count or echo differ from what was asked.
    """
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
    if request.form is not Form.FIXED:
        if answer_bytes(request, pdu) != len(pdu):
            raise DeviceMisbehaved(f"an answer of {len(pdu)} bytes to function {function} announces another length")
        return pdu[1:]
    if pdu != request.pdu[: request.echo_bytes]:
        raise DeviceMisbehaved("the echo of a write differs from what was written")
    return b""


def answer_bytes(request: Request, head: bytes) -> int | None:
    """How many bytes the PDU of the answer takes, told from its beginning `head`; None when more of it is needed to tell."""
    if not head:
        return None
    if head[0] & _EXCEPTION_FLAG:
        return 2
    if request.form is Form.FIXED:
        return request.data_bytes + 2 if request.data_bytes else request.echo_bytes
    if request.form is Form.COUNTED:
        return 2 + head[1] if len(head) > 1 else None
    if request.form is Form.QUEUE:
        return 3 + int.from_bytes(head[1:3], "big") if len(head) > 2 else None
    return _identity_bytes(head)


_IDENTITY_HEAD_BYTES = 7


def _identity_bytes(head: bytes) -> int | None:
    """FC 43/14: six bytes after the function code, the last the number of objects; each has an id and a length (6.21)."""
    if len(head) < _IDENTITY_HEAD_BYTES:
        return None
    end = _IDENTITY_HEAD_BYTES
    for _ in range(head[_IDENTITY_HEAD_BYTES - 1]):
        if len(head) < end + 2:
            return None
        end += 2 + head[end + 1]
    return end
