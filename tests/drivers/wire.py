"""A TCP proxy between a driver and its device, which cuts or silences the wire on command."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import cast


class Mode(Enum):
    """What happens to bytes, either way."""

    FORWARD = auto()
    SWALLOW = auto()
    """They vanish, and the connection stays open."""
    CUT = auto()
    """At the next byte from the driver both sides are closed."""


class Wire:
    """Forwards connections to (127.0.0.1, target); `mode` may change at any time."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.mode = Mode.FORWARD
        self.port = 0
        self.to_device = 0
        """Bytes that the driver has sent."""
        self.swallow_after: int | None = None
        """From that count of bytes on nothing goes through any more."""
        self.arrived = asyncio.Event()
        """Set whenever the driver sends."""
        self.sides: set[_Side] = set()
        self.connecting: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()
        self.idle.set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        server = await asyncio.get_running_loop().create_server(lambda: _Near(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self.connecting, return_exceptions=True)
            self.cut()
            await self.idle.wait()
            await server.wait_closed()

    def cut(self) -> None:
        """Close every connection now."""
        for side in list(self.sides):
            side.transport.abort()


class _Side(asyncio.Protocol):
    """One end of a forwarded connection."""

    transport: asyncio.Transport

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.peer: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.wire.sides.add(self)
        self.wire.idle.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire.sides.discard(self)
        if not self.wire.sides:
            self.wire.idle.set()
        if self.peer is not None:
            self.peer.transport.abort()

    def data_received(self, data: bytes) -> None:
        after = self.wire.swallow_after
        is_open = self.wire.mode is Mode.FORWARD and (after is None or self.wire.to_device <= after)
        if is_open and self.peer is not None:
            self.peer.transport.write(data)


class _Near(_Side):
    """The driver's end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._connect())
        self.wire.connecting.add(task)
        task.add_done_callback(self.wire.connecting.discard)

    async def _connect(self) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_connection(lambda: _Side(self.wire), "127.0.0.1", self.wire.target)
        except OSError:
            self.transport.abort()
            return
        self.peer, far.peer = far, self
        if self.transport.is_closing():
            far.transport.abort()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.wire.to_device += len(data)
        self.wire.arrived.set()
        if self.wire.mode is Mode.CUT:
            self.transport.abort()
        else:
            super().data_received(data)


def unused_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
