"""Handle requests on UDP: put together where they come in parts, answered in parts of 492 bytes, bounded by what was sent.

A sender's address on UDP may be a lie, and its owner gets the answer. So an answer has at most `multiple` times the bytes of its
request, envelopes included; where that isn't enough SERVER_TOO_BUSY is sent instead, and the client asks over TCP.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from struct import Struct
from typing import Any

from idnode.handle.codes import MOST_MESSAGE_BYTES, ResponseCode
from idnode.handle.desk import Desk
from idnode.handle.message import ENVELOPE_BYTES, HEADER_BYTES, PART_BYTES, TRUNCATED, parts, read_envelope
from idnode.operations.limits import caller_key

PATIENCE_S = 5.0
"""For the parts of a request."""
MOST_PARTIAL = 256
"""Requests of which parts are missing."""
MOST_PARTIAL_OF_ONE = 8
"""Of one address (IPv6: one /64)."""
MOST_PARTIAL_BYTES = 1_048_576
MOST_TASKS = 256
"""Answers for which the store is waited for; a request beyond is told so."""
_PART_COST = 150
"""Bytes that a part takes beside its own, rounded up."""
_LENGTH = Struct(">I")
_LENGTH_AT = 16
Address = tuple[Any, ...]
Key = tuple[Address, int, int]


class Partial:
    """A request of which parts are missing."""

    __slots__ = ("bytes", "caller", "head", "length", "parts", "since_s", "weight")

    def __init__(self, caller: str, head: bytes, length: int, since_s: float) -> None:
        self.caller = caller
        self.head = head
        """The envelope of the whole."""
        self.length = length
        self.since_s = since_s
        self.parts: dict[int, bytes] = {}
        self.bytes = 0
        """What it takes here."""
        self.weight = 0
        """What came on the wire."""


class Assembly:
    """Puts requests together. Bounded in number and bytes, altogether and for each address: the oldest goes first."""

    def __init__(self) -> None:
        self._partial: dict[Key, Partial] = {}
        self._of: Counter[str] = Counter()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._partial)

    def add(self, data: bytes, address: Address, caller: str, now_s: float) -> tuple[bytes, int] | None:
        """Take a datagram that is a part. Returns the whole, its envelope before it, and the bytes that came for it, or None."""
        envelope = read_envelope(data)
        piece, place = data[ENVELOPE_BYTES:], envelope.sequence
        here = envelope.length - place * PART_BYTES
        if not HEADER_BYTES <= envelope.length <= MOST_MESSAGE_BYTES or len(piece) != min(here, PART_BYTES) or here <= 0:
            return None
        self.expire(now_s)
        key = (address, envelope.session, envelope.request)
        partial = self._partial.get(key)
        if partial is None or partial.length != envelope.length:
            self._forget(key)
            partial = self._begin(key, caller, data, envelope.length, now_s)
        partial.weight += len(data)
        if place in partial.parts:
            return None
        partial.parts[place] = piece
        cost = len(piece) + _PART_COST
        partial.bytes += cost
        self.bytes += cost
        if len(partial.parts) * PART_BYTES >= partial.length:
            self._forget(key)
            whole = partial.head + b"".join(partial.parts[number] for number in range(len(partial.parts)))
            return whole, partial.weight
        while self.bytes > MOST_PARTIAL_BYTES:
            self._forget(next(iter(self._partial)))
        return None

    def expire(self, now_s: float) -> None:
        """Forget what has waited too long."""
        while self._partial:
            key, oldest = next(iter(self._partial.items()))
            if now_s - oldest.since_s < PATIENCE_S:
                return
            self._forget(key)

    def _begin(self, key: Key, caller: str, data: bytes, length: int, now_s: float) -> Partial:
        if self._of[caller] >= MOST_PARTIAL_OF_ONE:
            self._forget(next(each for each, partial in self._partial.items() if partial.caller == caller))
        elif len(self._partial) >= MOST_PARTIAL:
            self._forget(next(iter(self._partial)))
        head = data[:2] + bytes([data[2] & ~TRUNCATED]) + data[3:12] + bytes(4) + data[16:ENVELOPE_BYTES]
        self._of[caller] += 1
        self._partial[key] = Partial(caller, head, length, now_s)
        return self._partial[key]

    def _forget(self, key: Key) -> None:
        partial = self._partial.pop(key, None)
        if partial is not None:
            self.bytes -= partial.bytes
            self._of[partial.caller] -= 1
            if not self._of[partial.caller]:
                del self._of[partial.caller]


class Datagrams:
    """What comes on one socket."""

    def __init__(self, desk: Desk, multiple: int, send: Callable[[bytes, Address], None]) -> None:
        """
        Args:
            multiple: an answer has at most so many times the bytes of its request.
            send: sends a datagram, or loses it.
        """
        self._desk = desk
        self._multiple = multiple
        self._send = send
        self.assembly = Assembly()
        self.tasks: set[asyncio.Task[None]] = set()

    def received(self, data: bytes, address: Address, now_s: float) -> None:
        """Take a datagram, behind Desk.renew(). What hasn't even an envelope is dropped."""
        size = len(data)
        if size < ENVELOPE_BYTES:
            return
        caller, weight = caller_key(address[0]), size
        if data[2] & TRUNCATED:
            whole = self.assembly.add(data, address, caller, now_s)
            if whole is None:
                return
            data, weight = whole
        elif size - ENVELOPE_BYTES != _LENGTH.unpack_from(data, _LENGTH_AT)[0]:
            if not _is_answer(data):
                answer = self._desk.refuse(data, ResponseCode.PROTOCOL_ERROR, "its length isn't what its envelope says")
                self._answer(answer, data, weight, address)
            return
        answer_now = self._desk.take(data, 0, len(data), caller, now_s)
        if answer_now is not None:
            self._answer(answer_now, data, weight, address)
        elif len(self.tasks) < MOST_TASKS:
            task = asyncio.get_running_loop().create_task(self._wait(data, weight, address, now_s))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self._answer(self._desk.refuse(data, ResponseCode.SERVER_TOO_BUSY, "ask again"), data, weight, address)

    async def _wait(self, data: bytes, weight: int, address: Address, now_s: float) -> None:
        answers = [each async for each in self._first_two(data, address, now_s)]
        if len(answers) > 1:  # parts of several messages can't be told apart
            answers = [self._desk.refuse(data, ResponseCode.SERVER_TOO_BUSY, "ask over TCP: too long for UDP")]
        self._answer(answers[0], data, weight, address)

    async def _first_two(self, data: bytes, address: Address, now_s: float) -> AsyncIterator[bytes]:
        answers = self._desk.answers(data, caller_key(address[0]), now_s)
        count = 0
        async for each in answers:
            yield each
            count += 1
            if count == 2:
                break
        await answers.aclose()

    def _answer(self, answer: bytes, request: bytes, weight: int, address: Address) -> None:
        most = weight * self._multiple
        pieces = -(-(len(answer) - ENVELOPE_BYTES) // PART_BYTES)
        if len(answer) + (pieces - 1) * ENVELOPE_BYTES > most:
            answer = self._desk.refuse(request, ResponseCode.SERVER_TOO_BUSY, "ask over TCP: too long for UDP")
            if len(answer) > most:
                return
        if not answer:
            return
        if len(answer) <= ENVELOPE_BYTES + PART_BYTES:
            self._send(answer, address)
            return
        for part in parts(answer[ENVELOPE_BYTES:], read_envelope(answer)):
            self._send(part, address)


def _is_answer(data: bytes) -> bool:
    """Whether it has a response code: to answer an answer may go on for ever."""
    at = ENVELOPE_BYTES + 4
    return any(data[at : at + 4])
