"""Handle requests on TCP: connections that stay open, with requests sent one behind the other and told apart by their id.

Answers that are made in place keep their order; those for which the store waits come when they are ready. A connection reads no
further while its client doesn't take its answers, and never keeps the loop for more than some requests. Idle ones hold nothing.
"""

from __future__ import annotations

import asyncio
import time
from struct import Struct
from typing import cast

from idnode.handle.codes import MOST_MESSAGE_BYTES, ResponseCode
from idnode.handle.desk import Desk
from idnode.handle.message import ENVELOPE_BYTES
from idnode.operations.limits import caller_key

MOST_IN_A_TURN = 64
"""Requests of one connection that are answered before others have their turn."""
MOST_ANSWERS_BYTES = 262_144
"""Of them; one more may be behind it."""
MOST_TASKS = 32
"""Of one connection, for which the store is waited for."""
MOST_HELD_BYTES = 67_108_864
"""Of requests that aren't whole yet, of all connections."""
_LENGTH = Struct(">I")
_LENGTH_AT = 16


class Hall:
    """All connections of a process: how many there may be, and for how long one may do nothing, by any steady clock."""

    def __init__(self, desk: Desk, most: int, idle_s: float, message_s: float, stuck_s: float) -> None:
        """
        Args:
            most: connections; one more is told SERVER_TOO_BUSY with its first request's answer, and closed.
            idle_s: without a request.
            message_s: from a request's first byte to its last.
            stuck_s: without taking anything of an answer that was written.
        """
        self.desk = desk
        self.most = most
        self.streams: set[Stream] = set()
        self.held_bytes = 0
        self.leaving = False
        self.now_s = 0.0
        """As of the last look."""
        self._idle_s, self._message_s, self._stuck_s = idle_s, message_s, stuck_s

    def look(self, now_s: float) -> None:
        """Close those that are over their time; to be called about once a second."""
        self.now_s = now_s
        for stream in list(self.streams):
            passed_s = now_s - stream.active_s
            if stream.is_stuck:
                if passed_s > self._stuck_s:
                    stream.transport.abort()
            elif stream.is_partial:
                if passed_s > self._message_s:
                    stream.transport.abort()
            elif passed_s > self._idle_s and stream.is_idle:
                stream.transport.close()

    def leave(self) -> None:
        """Close each when it has answered what it has."""
        self.leaving = True
        for stream in list(self.streams):
            stream.leave()


class Stream(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport
    __slots__ = (
        "_caller",
        "_ended",
        "_hall",
        "_held",
        "_needed",
        "_rest",
        "_taken",
        "active_s",
        "is_stuck",
        "tasks",
        "transport",
    )

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._caller = ""
        self._rest: bytearray | None = None
        """The beginning of a request."""
        self._needed = 0
        """Bytes that it has when it is whole."""
        self._held: bytes | None = None
        """Requests that wait for their turn, or for room."""
        self.tasks: set[asyncio.Task[None]] = set()
        """Answers for which the store is waited for."""
        self._ended = False
        """Nothing more is taken: what is under way is answered, then it is closed."""
        self.is_stuck = False
        """Whether the client doesn't take what was written."""
        self._taken: asyncio.Event | None = None
        """Set when it does again, for a long list."""
        self.active_s = hall.now_s
        """When it last got on: a request began, was answered, or an answer was taken."""

    @property
    def is_partial(self) -> bool:
        """Whether the end of a request is missing."""
        return self._rest is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return self._rest is None and self._held is None and not self.tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        peer = transport.get_extra_info("peername")
        self._caller = caller_key(peer[0] if peer else None)
        self._hall.streams.add(self)
        if len(self._hall.streams) > self._hall.most or self._hall.leaving:
            self._refuse(bytes(ENVELOPE_BYTES), ResponseCode.SERVER_TOO_BUSY, "the node has as many connections as it takes")

    def connection_lost(self, _: Exception | None) -> None:
        """See asyncio."""
        self._hall.streams.discard(self)
        self._keep_rest(None)
        self._held = None
        for task in self.tasks:
            task.cancel()

    def eof_received(self) -> bool:
        """See asyncio; what is under way is answered."""
        self._keep_rest(None)
        self._ended = True
        return not self.is_idle

    def pause_writing(self) -> None:
        """See asyncio."""
        self.is_stuck = True
        self.active_s = self._hall.now_s
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio."""
        self.is_stuck = False
        if self._taken is not None:
            self._taken.set()
            self._taken = None
        self.active_s = self._hall.now_s
        self._go_on()

    def leave(self) -> None:
        """Take nothing more; close when all is answered."""
        self._keep_rest(None)
        self._ended = True
        self._close_if_done()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._held is not None:
            self._held += data  # what was on its way when reading paused
        elif self._rest is not None:
            self._rest += data
            self._hall.held_bytes += len(data)
            if len(self._rest) >= self._needed:
                whole = bytes(self._rest)
                self._keep_rest(None)
                self._work(whole)
            elif self._hall.held_bytes > MOST_HELD_BYTES:
                self._refuse(bytes(self._rest[:ENVELOPE_BYTES]), ResponseCode.SERVER_TOO_BUSY, "too many long requests")
        elif not self._ended:
            self._work(data)

    def _work(self, data: bytes) -> None:
        desk, began, size = self._hall.desk, time.perf_counter(), len(data)
        at = served = written = 0
        answers: list[bytes] = []
        while size - at >= ENVELOPE_BYTES:
            length = _LENGTH.unpack_from(data, at + _LENGTH_AT)[0]
            end = at + ENVELOPE_BYTES + length
            if length > MOST_MESSAGE_BYTES:
                self.transport.write(b"".join(answers))
                self._refuse(data[at : at + ENVELOPE_BYTES], ResponseCode.PROTOCOL_ERROR, "the message is too long")
                return
            if end > size or served == MOST_IN_A_TURN or written > MOST_ANSWERS_BYTES or len(self.tasks) >= MOST_TASKS:
                break
            if not served:
                desk.renew()
            answer = desk.take(data, at, end, self._caller, began)
            if answer is None:
                self._begin(data[at:end], began)
            else:
                answers.append(answer)
                written += len(answer)
            at = end
            served += 1
        if served:
            self.active_s = self._hall.now_s
            if answers:
                desk.took(time.perf_counter() - began, len(answers))
                self.transport.write(b"".join(answers))
        self._put_by(data, at)

    def _put_by(self, data: bytes, at: int) -> None:
        """Keep what has not been answered: a beginning, or requests that have to wait."""
        size = len(data) - at
        if not size:
            self._close_if_done()
            return
        known = size >= ENVELOPE_BYTES
        needed = ENVELOPE_BYTES + (_LENGTH.unpack_from(data, at + _LENGTH_AT)[0] if known else 0)
        if size < needed:
            self._needed = needed
            self.active_s = self._hall.now_s
            if not self._ended:
                self._keep_rest(bytearray(data[at:]))
            self._close_if_done()
            return
        self._held = data[at:]
        self.transport.pause_reading()
        if not self.is_stuck and len(self.tasks) < MOST_TASKS:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _keep_rest(self, rest: bytearray | None) -> None:
        self._hall.held_bytes += (len(rest) if rest is not None else 0) - (len(self._rest) if self._rest is not None else 0)
        self._rest = rest

    def _go_on(self) -> None:
        if self.is_stuck or self.transport.is_closing():
            return
        if self._held is not None:
            if len(self.tasks) >= MOST_TASKS:
                return
            data, self._held = self._held, None
            self._work(data)
        if self._held is None and not self.is_stuck and not self.transport.is_closing():
            self.transport.resume_reading()

    def _begin(self, request: bytes, now_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._wait(request, now_s))
        self.tasks.add(task)
        task.add_done_callback(self._done)

    async def _wait(self, request: bytes, now_s: float) -> None:
        async for answer in self._hall.desk.answers(request, self._caller, now_s):
            if self.transport.is_closing():
                return
            self.transport.write(answer)
            while self.is_stuck:
                self._taken = self._taken or asyncio.Event()
                await self._taken.wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.active_s = self._hall.now_s
        if self._held is not None:
            self._go_on()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._ended and self.is_idle and not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, request: bytes, code: ResponseCode, why: str) -> None:
        """Answer, and close: where the next request begins isn't known."""
        self._keep_rest(None)
        self._ended = True
        self.transport.write(self._hall.desk.refuse(request, code, why))
        self.transport.close()
