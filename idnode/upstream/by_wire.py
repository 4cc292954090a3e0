"""Asking a delegate by the Handle wire protocol, over TCP: a question and its answer at a time on each connection.

A connection is kept for the next question where the delegate leaves it open; one that was closed meanwhile costs a second try.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Collection

from idnode.announcing.address import BadAddress, check_public
from idnode.handle.codes import MOST_HANDLE_BYTES, MOST_MESSAGE_BYTES, VERSION, OpCode, OpFlag, ResponseCode
from idnode.handle.fields import BadMessage, Reader
from idnode.handle.message import ENVELOPE_BYTES, SHA1, SHA256, Asked, Envelope, Message, read_envelope, read_message
from idnode.handle.values import ABSOLUTE, WireValue, data_of, read_values
from idnode.identifier import Identifier
from idnode.record import HandleValue
from idnode.upstream.delegate import Delegate
from idnode.upstream.recursion import Recursion
from idnode.upstream.told import Outcome, Told, believed, refused

_FLAGS = int(OpFlag.PUBLIC_ONLY | OpFlag.RECURSIVE | OpFlag.KEEP_ALIVE)
_DIGEST_BYTES = {1: 16, SHA1: 20, SHA256: 32}
_KEPT = 4
"""Idle connections to one delegate."""
_MOST_PLACES = 64
_LIMIT = 65_536
Place = tuple[str, int]


class _Closed(Exception):
    """The connection ended before the answer began."""


class _Line:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> bytes:
        """The answer without its envelope.

        Raises:
            _Closed, OSError, BadMessage: it is another request's, is too long, or ends too early.
        """
        try:
            self.writer.write(request)
            await self.writer.drain()
            head = await self.reader.readexactly(ENVELOPE_BYTES)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _Closed from error
        envelope = read_envelope(head)
        if envelope.request != read_envelope(request).request:
            raise BadMessage("an answer to another request")
        if envelope.length > MOST_MESSAGE_BYTES:
            raise BadMessage(f"a message of {envelope.length} bytes")
        try:
            return await self.reader.readexactly(envelope.length)
        except asyncio.IncompleteReadError as error:
            raise BadMessage("the answer ends too early") from error

    def close(self) -> None:
        self.writer.close()


class WireAsker:
    """One process's."""

    def __init__(self, allowed_hosts: Collection[str]) -> None:
        self._allowed_hosts = allowed_hosts
        self._idle: OrderedDict[Place, list[_Line]] = OrderedDict()
        self._numbers = itertools.count(1)

    async def ask(self, delegate: Delegate, identifier: Identifier, recursion: Recursion) -> Told:
        """One question. What goes wrong is an outcome; it takes as long as it takes."""
        number = next(self._numbers) & 0x7FFFFFFF
        try:
            message = await self._exchange(self._place(delegate), request_of(identifier, recursion, number))
        except BadAddress as error:
            return Told(Outcome.BARRED, why=str(error))
        except BadMessage as error:
            return Told(Outcome.WRONG, why=str(error))
        except _Closed:
            return Told(Outcome.SILENT, why="it closed the connection")
        except OSError as error:
            return Told(Outcome.SILENT, why=str(error.strerror or error)[:200])
        return read_reply(identifier, message)

    async def close(self) -> None:
        """Give the connections up."""
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()

    def _place(self, delegate: Delegate) -> Place:
        place = delegate.place
        if place is None:
            raise BadAddress("names no place")
        if place[0] not in self._allowed_hosts:
            check_public(place[0])
        return place

    async def _exchange(self, place: Place, request: bytes) -> bytes:
        idle = self._idle.get(place)
        if idle:
            with contextlib.suppress(_Closed):
                return await self._on(place, idle.pop(), request)
        reader, writer = await asyncio.open_connection(*place, limit=_LIMIT)
        return await self._on(place, _Line(reader, writer), request)

    async def _on(self, place: Place, line: _Line, request: bytes) -> bytes:
        answered = False
        try:
            answer = await line.ask(request)
            answered = True
            return answer
        finally:
            if answered and not line.reader.at_eof():
                self._keep(place, line)
            else:
                line.close()

    def _keep(self, place: Place, line: _Line) -> None:
        lines = self._idle.setdefault(place, [])
        self._idle.move_to_end(place)
        lines.append(line)
        spare = lines[:-_KEPT]
        del lines[:-_KEPT]
        if len(self._idle) > _MOST_PLACES:
            spare += self._idle.popitem(last=False)[1]
        for each in spare:
            each.close()


def request_of(identifier: Identifier, recursion: Recursion, number: int) -> bytes:
    """The question: RESOLUTION of all values that everyone may read, to be answered and not referred elsewhere."""
    asked = Message(int(OpCode.RESOLUTION), 0, _FLAGS, Asked(identifier.key).pack(), recursion=recursion.hops + 1).pack()
    return Envelope(VERSION, 0, VERSION, 0, number, 0, len(asked)).pack() + asked


def read_reply(identifier: Identifier, message: bytes) -> Told:
    """What an answer, header, body and credential, says about an identifier."""
    try:
        reply = read_message(message)
        if reply.operation != OpCode.RESOLUTION or not reply.response:
            return Told(Outcome.WRONG, why="no answer to RESOLUTION")
        if reply.response != ResponseCode.SUCCESS:
            return refused(reply.response)
        reader = Reader(reply.body)
        if reply.flags & OpFlag.REQUEST_DIGEST:
            reader.raw(_DIGEST_BYTES.get(reader.int1(), 0))
        handle, values = reader.text(MOST_HANDLE_BYTES), read_values(reader)
        reader.finish()
    except BadMessage as error:
        return Told(Outcome.WRONG, why=str(error))
    return believed(identifier, handle, [_value(each) for each in values])


def _value(told: WireValue) -> HandleValue:
    ttl_s = 0 if told.ttl_kind == ABSOLUTE else told.ttl  # a moment: how far off it is, clocks don't agree on
    data, at_ms = data_of(told.type, told.data), told.timestamp_s * 1000
    return HandleValue(told.index, told.type, data, ttl_s, told.permissions & 0x0F, at_ms, told.references)
