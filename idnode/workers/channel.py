"""Calls between two processes of one node over a connected socket, in both directions, many at a time.

A frame is four bytes of length, most significant first, and a msgpack array: kind, number, name, content. The sockets are a pair,
of which the one process inherited its end from the other; nobody else can reach them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import cast

import msgspec

_LENGTH = 4
MOST_FRAME_BYTES = 1 << 30
Handler = Callable[[str, msgspec.Raw], Awaitable[msgspec.Raw]]
"""Answers a call: from its name and content to the result's. It raises nothing but Refused."""
_encode = msgspec.msgpack.encode


class ChannelLost(Exception):
    """The other process has gone; whether it did what it was asked isn't known."""


class Refused(Exception):
    """The other process raised something; `content` is what its handler says of it."""

    def __init__(self, content: msgspec.Raw) -> None:
        super().__init__("refused")
        self.content = content


class _Kind(IntEnum):
    CALL = 0
    RESULT = 1
    REFUSED = 2


class _Frame(msgspec.Struct, array_like=True):
    kind: _Kind
    number: int
    name: str
    content: msgspec.Raw


_frames = msgspec.msgpack.Decoder(_Frame)


class Channel(asyncio.Protocol):
    """One end."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._calls: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost = asyncio.Event()
        """Set when the other end has gone or this one is closed."""

    async def open(self, end: socket.socket) -> None:
        """Take over one end of a pair of stream sockets."""
        end.settimeout(0)
        await asyncio.get_running_loop().create_connection(lambda: self, sock=end)

    async def call(self, name: str, content: msgspec.Raw) -> msgspec.Raw:
        """Have the other process do something.

        Raises:
            Refused
            ChannelLost
        """
        self._number += 1
        number = self._number
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            await self._send(_Frame(_Kind.CALL, number, name, content))
            return await future
        finally:
            self._calls.pop(number, None)

    def close(self) -> None:
        """Hang up. Safe twice."""
        if self._transport is not None:
            self._transport.close()
        self._end()

    async def _send(self, frame: _Frame) -> None:
        await self._writable.wait()
        if self._transport is None or self.lost.is_set():
            raise ChannelLost
        encoded = _encode(frame)
        self._transport.write(len(encoded).to_bytes(_LENGTH) + encoded)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's doesn't say that it is one

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) >= start + _LENGTH:
            length = int.from_bytes(buffer[start : start + _LENGTH])
            if length > MOST_FRAME_BYTES:
                self.close()
                return
            end = start + _LENGTH + length
            if len(buffer) < end:
                break
            self._take(_frames.decode(buffer[start + _LENGTH : end]))
            start = end
        del buffer[:start]

    def _take(self, frame: _Frame) -> None:
        if frame.kind is _Kind.CALL:
            task = asyncio.create_task(self._answer(frame))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        future = self._calls.get(frame.number)
        if future is None or future.done():  # whoever asked has gone
            return
        # The frame's buffer is used again.
        content = msgspec.Raw(bytes(frame.content))
        if frame.kind is _Kind.RESULT:
            future.set_result(content)
        else:
            future.set_exception(Refused(content))

    async def _answer(self, call: _Frame) -> None:
        try:
            reply = _Frame(_Kind.RESULT, call.number, "", await self._handler(call.name, call.content))
        except Refused as refused:
            reply = _Frame(_Kind.REFUSED, call.number, "", refused.content)
        try:
            await self._send(reply)
        except ChannelLost:
            return  # nobody waits any more

    def pause_writing(self) -> None:
        """See asyncio."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._writable.set()

    def connection_lost(self, _: Exception | None) -> None:
        """See asyncio."""
        self._end()

    def _end(self) -> None:
        self.lost.set()
        self._writable.set()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(ChannelLost())
