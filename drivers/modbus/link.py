"""One TCP connection to a Modbus device: requests with transaction ids and deadlines. Knows no tags.

Works on asyncio's loop and on uvloop. It never reconnects: once failed, it stays failed, and every waiter has been told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

from drivers.errors import DeviceMisbehaved, DeviceTimeout, DeviceUnreachable, DriverError
from drivers.modbus.framing import AduReader, Answer, Request, encode_request, match_answer


class _Pending(NamedTuple):
    request: Request
    future: asyncio.Future[Answer]
    deadline_s: float


class ModbusLink(asyncio.Protocol):
    """The client's side of one connection; made by open_link()."""

    def __init__(self, unit: int, timeout_s: float, clock_ns: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._unit = unit
        self._timeout_s = timeout_s
        self._clock_ns = clock_ns
        self._reader = AduReader()
        self._pending: dict[int, _Pending] = {}
        self._transaction = 0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._failure: DriverError | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self.received_ns = 0
        """Clock time at which the newest bytes came, ns UTC."""
        self.dropped = 0
        """Frames that answered no outstanding request: late, repeated or foreign."""

    def submit(self, request: Request) -> asyncio.Future[Answer]:
        """Send a request now; the future gives its answer, or raises what ended the link.

        Raises:
            DeviceUnreachable, DeviceMisbehaved: the link has ended already.
        """
        if self._failure is not None or self._transport is None:
            raise self._failure or DeviceUnreachable("not connected")
        transaction = self._transaction = self._next_transaction()
        future: asyncio.Future[Answer] = self._loop.create_future()
        deadline_s = self._loop.time() + self._timeout_s
        self._pending[transaction] = _Pending(request, future, deadline_s)
        if self._timer is None:
            self._timer = self._loop.call_at(deadline_s, self._expire)
        self._transport.write(encode_request(transaction, self._unit, request))
        return future

    async def close(self) -> None:
        """End the connection and wait until the socket is closed. Safe twice."""
        self._fail(DeviceUnreachable("connection closed by this side"))
        if self._transport is not None:
            await asyncio.shield(self._lost)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to its waiter (asyncio.Protocol)."""
        self.received_ns = self._clock_ns()
        self._reader.feed(data)
        try:
            while (adu := self._reader.take()) is not None:
                waiting = self._pending.get(adu.transaction)
                if waiting is None:
                    self.dropped += 1
                    continue
                answer = match_answer(waiting.request, self._unit, adu)
                del self._pending[adu.transaction]
                if not waiting.future.done():
                    waiting.future.set_result(answer)
        except DeviceMisbehaved as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed (asyncio.Protocol)."""
        self._fail(DeviceUnreachable(f"connection lost: {exc}" if exc else "the device closed the connection"))
        if not self._lost.done():
            self._lost.set_result(None)

    def _next_transaction(self) -> int:
        transaction = (self._transaction + 1) & 0xFFFF
        while transaction in self._pending:
            transaction = (transaction + 1) & 0xFFFF
        return transaction

    def _expire(self) -> None:
        """The timer of the link: armed for the oldest request, re-armed only when it fires, so that answers cost it nothing."""
        self._timer = None
        if not self._pending:
            return
        oldest = next(iter(self._pending.values()))
        if oldest.deadline_s <= self._loop.time():
            self._fail(DeviceTimeout(f"no answer within {self._timeout_s * 1000:.0f} ms"))
        else:
            self._timer = self._loop.call_at(oldest.deadline_s, self._expire)

    def _fail(self, failure: DriverError) -> None:
        """End the link once, for the first reason, and tell every waiter."""
        if self._failure is None:
            self._failure = failure
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        for waiting in self._pending.values():
            if not waiting.future.done():
                waiting.future.set_exception(self._failure)
                waiting.future.exception()  # Read once here: nobody may be waiting for it any more.
        self._pending.clear()


async def open_link(
    endpoint: tuple[str, int],
    unit: int,
    *,
    timeout_s: float,
    connect_timeout_s: float,
    clock_ns: Callable[[], int],
) -> ModbusLink:
    """Connect to a device.

    Raises:
        DeviceTimeout: no connection within `connect_timeout_s`.
        DeviceUnreachable: refused, no route, unknown host.
    """
    host, port = endpoint
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_timeout_s):
            _, link = await loop.create_connection(lambda: ModbusLink(unit, timeout_s, clock_ns), host, port)
    except TimeoutError as error:
        raise DeviceTimeout(f"{host}:{port}: no connection within {connect_timeout_s * 1000:.0f} ms") from error
    except OSError as error:
        raise DeviceUnreachable(f"{host}:{port}: {error.strerror or error}") from error
    return link
