"""One connection to one or several Modbus units, by transaction ids: TCP, TLS and UDP. Knows no tags.

Works on asyncio's loop and on uvloop. It never reconnects: once failed, it stays failed, and every waiter has been told.
turns.py is its counterpart for framings without transaction ids.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, cast

from drivers.errors import DeviceMisbehaved, DeviceTimeout, DeviceUnreachable, DriverError
from drivers.modbus.framing import READ_HEAD_BYTES, Answer, MbapFraming, Request, encode_request, take_whole
from drivers.modbus.reply import Reply

SILENT_UNITS = 3
"""So many units silent one after the other, or all there are, and the link itself counts as dead."""


class Link(Protocol):
    """What a driver asks of a connection, whatever the transport."""

    failure: DriverError | None
    """Why the link has ended; None while it holds."""
    received_ns: int
    """Clock time at which the newest answer came, ns UTC."""
    users: Counter[int]
    """How many drivers use each unit of the link."""

    repeated: int
    """Repetitions of requests that had gone unanswered."""
    unanswered: int
    """Requests that were given up, or outstanding when the link ended."""

    @property
    def followed(self) -> int:
        """Requests answered beyond the first; where there are no transaction ids, of those sent right behind an answer.

        Over 65,535 it may begin anew.
        """

    def pace(self, *, slots: int, pause_s: float) -> None:
        """From now on, keep so many requests outstanding and so long between an answer and the next request."""

    @property
    def dropped(self) -> int:
        """Frames, or runs of bytes that are none, which answered no outstanding request: late, repeated, foreign or damaged."""

    def submit(self, unit: int, request: Request, *, aside: bool = False) -> Reply:
        """Send a request when its turn comes; turns are in the order of the calls.

        Args:
            aside: the unit was silent of late: where there are transaction ids, it is asked without keeping the others waiting.

        Returns:
            What gives the answer when awaited, or raises DeviceTimeout when the unit is silent, or what ended the link.

        Raises:
            DeviceUnreachable, DeviceMisbehaved: the link has ended already.
        """

    def hold(self) -> None:
        """What is submitted from now on is sent by release(), where the transport allows it by one write. Not over an await."""

    def release(self) -> None:
        """See hold(). Safe without it."""

    async def close(self) -> None:
        """End the connection and wait until the socket is closed. Safe twice."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a link keeps time; all in seconds of the loop's clock."""

    timeout_s: float
    """How long a request may go unanswered."""
    repeats: int = 0
    """How often a read is repeated before its unit counts as silent."""
    slots: int = 1
    """Requests outstanding at once (1 without transaction ids)."""
    pause_s: float = 0.0
    """Between an answer and the next request."""
    quiet_s: float = 0.0
    """Without transaction ids: silence on the line before a request."""


class ModbusLink(asyncio.Protocol, asyncio.DatagramProtocol):
    """The client's side of one connection (Link)."""

    def __init__(self, pacing: Pacing, clock_ns: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pacing = pacing
        self._slots, self._repeats, self._timeout_s = pacing.slots, pacing.repeats, pacing.timeout_s
        self._pause_s = pacing.pause_s
        self._is_torn = False
        """Whether the beginning of a frame waits for its end."""
        self._clock_ns = clock_ns
        self._framing = MbapFraming()
        self._pending: dict[int, Reply] = {}
        self._aside = 0
        self._waiting: deque[Reply] = deque()
        self._silent: set[int] = set()
        self._transaction = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pausing: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._send: Callable[[bytes], None] = lambda _data: None
        self._is_stream = True
        self._held: list[bytes] | None = None
        """Frames that wait for release()."""
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self.failure: DriverError | None = None
        self.received_ns = 0
        self.repeated = self.unanswered = 0
        self.users: Counter[int] = Counter()

    @property
    def dropped(self) -> int:
        """See Link.dropped."""
        return self._framing.dropped

    @property
    def followed(self) -> int:
        """See Link.followed."""
        return max(0, self._transaction - self.repeated - self.unanswered - len(self._pending) - 1)

    def pace(self, *, slots: int, pause_s: float) -> None:
        """See Link.pace."""
        self._pacing, self._slots, self._pause_s = replace(self._pacing, slots=slots, pause_s=pause_s), slots, pause_s

    def submit(self, unit: int, request: Request, *, aside: bool = False) -> Reply:
        """See Link.submit."""
        if self.failure is not None or self._transport is None:
            raise self.failure or DeviceUnreachable("not connected")
        reply = Reply(self._loop, unit, request, self._repeats and self._repeats * request.is_read, aside=aside)
        if aside or (len(self._pending) - self._aside < self._slots and not self._waiting and self._pausing is None):
            self._start(reply)
        else:
            self._waiting.append(reply)
        return reply

    def hold(self) -> None:
        """See Link.hold; datagrams go one by one."""
        if self._is_stream and self._held is None:
            self._held = []

    def release(self) -> None:
        """See Link.release."""
        held, self._held = self._held, None
        if held:
            self._send(b"".join(held))

    async def close(self) -> None:
        """See Link.close."""
        self._fail(DeviceUnreachable("connection closed by this side"))
        if self._transport is not None:
            await asyncio.shield(self._lost)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open (asyncio)."""
        self._transport = cast(asyncio.Transport, transport)
        sendto: Callable[[bytes], None] | None = getattr(transport, "sendto", None)
        self._is_stream = sendto is None
        self._send = sendto or self._transport.write

    def data_received(self, data: bytes) -> None:
        """Hand each answer to its waiter (asyncio.Protocol)."""
        transaction = None if self._is_torn else take_whole(data, self._pending)
        if transaction is not None:
            self.received_ns = self._clock_ns()
            self._answer(transaction, data[READ_HEAD_BYTES:])
        else:
            self.hold()
            try:
                self._take(data)
            except DeviceMisbehaved as error:
                self._fail(error)
            self._is_torn = self._framing.has_rest
            self.release()
        if self._waiting or self._pause_s:
            self._go_on()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        """A datagram holds one frame; one that can't be understood doesn't spoil the next (asyncio.DatagramProtocol)."""
        try:
            self._take(data)
        except DeviceMisbehaved:
            self._framing.dropped += 1
        self._framing.forget()
        if self._waiting or self._pause_s:
            self._go_on()

    def _take(self, data: bytes) -> None:
        self.received_ns = self._clock_ns()
        self._framing.feed(data)
        while (taken := self._framing.take(self._pending)) is not None:
            self._answer(*taken)

    def _answer(self, transaction: int, answer: Answer) -> None:
        reply = self._pending.pop(transaction)
        self._aside -= reply.aside
        if self._silent:
            self._silent.clear()
        if self._pause_s and self._pausing is None:  # Before the waiter goes on: it may submit the next request at once.
            self._pausing = self._loop.call_later(self._pause_s, self._resume)
        reply.settle(answer)

    def error_received(self, exc: Exception) -> None:
        """The network says that nobody is there (asyncio.DatagramProtocol)."""
        self._fail(DeviceUnreachable(f"connection lost: {exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed (asyncio)."""
        self._fail(DeviceUnreachable(f"connection lost: {exc}" if exc else "the device closed the connection"))
        if not self._lost.done():
            self._lost.set_result(None)

    def _start(self, reply: Reply) -> None:
        transaction = (self._transaction + 1) & 0xFFFF
        while transaction in self._pending:
            transaction = (transaction + 1) & 0xFFFF
        self._transaction = transaction
        self._pending[transaction] = reply
        self._aside += reply.aside
        reply.deadline_s = deadline_s = self._loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = self._loop.call_at(deadline_s, self._expire)
        frame = encode_request(transaction, reply.unit, reply.request)
        if self._held is None:
            self._send(frame)
        else:
            self._held.append(frame)

    def _go_on(self) -> None:
        """Something was answered or given up: the next of those that wait, after the pause."""
        if self._pause_s and self._pausing is None and self.failure is None:
            self._pausing = self._loop.call_later(self._pause_s, self._resume)
        else:
            self._pump()

    def _resume(self) -> None:
        self._pausing = None
        self._pump()

    def _pump(self) -> None:
        while self._waiting and self._pausing is None and len(self._pending) - self._aside < self._slots:
            reply = self._waiting.popleft()
            if not reply.done():
                self._start(reply)

    def _expire(self) -> None:
        """The timer of the link: armed for the oldest request, re-armed only when it fires, so that answers cost it nothing."""
        self._timer = None
        now_s = self._loop.time()
        while self._pending and self.failure is None:
            transaction, oldest = next(iter(self._pending.items()))
            if oldest.deadline_s > now_s:
                if self._timer is None:
                    self._timer = self._loop.call_at(oldest.deadline_s, self._expire)
                break
            del self._pending[transaction]
            self._aside -= oldest.aside
            if oldest.done():
                continue
            if oldest.repeats:
                self.repeated += 1
                oldest.repeats -= 1
                self._start(oldest)
            else:
                self._give_up(oldest)
        if self.failure is None:
            self._go_on()

    def _give_up(self, silent: Reply) -> None:
        error = DeviceTimeout(f"no answer within {self._pacing.timeout_s * 1000:.0f} ms")
        silent.fail(error)
        self.unanswered += 1
        self._silent.add(silent.unit)
        if len(self._silent) >= min(SILENT_UNITS, len(self.users)):
            self._fail(error)

    def _fail(self, failure: DriverError) -> None:
        """End the link once, for the first reason, and tell every waiter."""
        if self.failure is None:
            self.failure = failure
        for timer in (self._timer, self._pausing):
            if timer is not None:
                timer.cancel()
        self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self.unanswered += len(self._pending)
        for reply in (*self._pending.values(), *self._waiting):
            reply.fail(self.failure)
        self._pending.clear()
        self._waiting.clear()
        self._aside = 0
