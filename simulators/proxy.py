"""A TCP proxy that spoils the wire on request, for servers and clients that can't misbehave by themselves.

    proxy = ChaosProxy(("192.168.10.21", 502))
    port = await proxy.start()
    proxy.spoil(Direction.DOWN, Toxics(latency_s=0.2, jitter_s=0.05))
    await proxy.refuse()
    await proxy.restore()
    await proxy.stop()

It knows no protocol. Bytes are never lost, repeated or reordered within a connection, as TCP has it: what can be spoilt is when
they come, in what pieces, and when the connection ends.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any

from simulators.listening import CannotListen, close_listener, reason_of
from simulators.toxics import Direction, Toxics

Wait = Callable[[float], Awaitable[None]]
_CHUNK_BYTES = 65_536
_MOST_CHUNKS = 64
"""On their way in one direction; then the sender is made to wait."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST."""


class State(Enum):
    """What the proxy does with connections."""

    PASSING = "passing"
    REFUSING = "refusing"
    """Nobody listens; there are no connections."""
    SILENT = "silent"
    """Connections stay and new ones are taken, but nothing passes; what is held back comes when it ends."""


class ChaosProxy:
    """One listener in front of one server. Construct, start(), stop(); used from one event loop.

    Args:
        target: host and port of the server; connected to anew for each client.
        seed: of the jitter.
        wait: how time is let pass, seconds.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        target: tuple[str, int],
        *,
        seed: int = 0,
        wait: Wait = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.target = target
        self.state = State.PASSING
        self.connections = 0
        """Taken so far."""
        self.target_error: str | None = None
        """Why the server couldn't be reached, the last time that it was tried; None: it could."""
        self.passed_bytes = dict.fromkeys(Direction, 0)
        self._toxics = {direction: Toxics() for direction in Direction}
        self._random = random.Random(seed)
        self._wait = wait
        self._clock = clock
        self._address = ("127.0.0.1", 0)
        self._is_started = False
        self._server: asyncio.Server | None = None
        self._reservation: socket.socket | None = None
        self._listening = asyncio.Lock()
        self._tasks: dict[asyncio.Task[None], _Connection] = {}
        self._passing = asyncio.Event()
        self._passing.set()

    @property
    def port(self) -> int:
        """The port; known from start() on, and kept."""
        return self._address[1]

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; returns the port.

        Raises:
            CannotListen
        """
        self._address = (host, port)
        async with self._listening:
            await self._listen()
            self._is_started = True
        return self.port

    async def stop(self) -> None:
        """End all: no connection is open then. Safe twice, and before start()."""
        async with self._listening:
            self._is_started = False
            await self._close_listener()
            if self._reservation is not None:
                self._reservation.close()
                self._reservation = None
        await self.cut()

    def spoil(self, direction: Direction, toxics: Toxics) -> None:
        """Treat the bytes of a direction so, from the next piece on, in open connections too."""
        self._toxics[direction] = toxics

    async def cut(self) -> None:
        """Close every connection in order (FIN); new ones are taken."""
        await self._end(reset=False)

    async def reset(self) -> None:
        """Break every connection off (RST); new ones are taken."""
        await self._end(reset=True)

    async def refuse(self) -> None:
        """Close every connection and listen no more. The port stays ours, where the system can (Linux)."""
        async with self._listening:
            self.state = State.REFUSING
            await self._close_listener()
        await self.cut()

    def silence(self) -> None:
        """Let nothing pass, as when a cable is out: nothing is closed. While it refuses there is nothing to silence."""
        if self.state is not State.REFUSING:
            self.state = State.SILENT
            self._passing.clear()

    async def restore(self) -> None:
        """Listen and let pass again, without toxics.

        Raises:
            CannotListen
        """
        for direction in Direction:
            self._toxics[direction] = Toxics()
        async with self._listening:
            if self._is_started and self._server is None:
                await self._listen()
            self.state = State.PASSING
            self._passing.set()

    async def _listen(self) -> None:
        host, port = self._address
        try:
            if self._reservation is None and sys.platform == "linux":
                # Bound, never listening: it keeps the port from others while the proxy refuses. Linux bears a listener beside it.
                self._reservation = _bind(host, port)
                port = self._reservation.getsockname()[1]
            self._server = await asyncio.start_server(self._take, host, port, limit=_CHUNK_BYTES)
        except OSError as error:
            if not self._is_started and self._reservation is not None:
                self._reservation.close()
                self._reservation = None
            raise CannotListen.because(host, port, error) from error
        self._address = (host, self._server.sockets[0].getsockname()[1])

    async def _close_listener(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await close_listener(server)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(self, reader, writer)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._tasks[task] = connection
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    async def _end(self, *, reset: bool) -> None:
        ending = dict(self._tasks)
        for task, connection in ending.items():
            connection.end(reset=reset)
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await asyncio.sleep(0)  # For the transports to close their sockets.

    async def _until_passing(self) -> None:
        await self._passing.wait()

    def _delay_s(self, direction: Direction) -> float:
        toxics = self._toxics[direction]
        return max(0.0, toxics.latency_s + self._random.uniform(-1, 1) * toxics.jitter_s)


class _LimitReached(Exception):
    """A connection has carried what it may."""


class _Connection:
    """One client and its connection to the server."""

    def __init__(self, proxy: ChaosProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._writers = [writer]

    async def run(self) -> None:
        """Carry bytes both ways until both sides have closed, one breaks off, or the task is cancelled after end()."""
        proxy = self._proxy
        try:
            try:
                reader, writer = await asyncio.open_connection(*proxy.target, limit=_CHUNK_BYTES)
            except OSError as error:
                proxy.target_error = reason_of(error)
                raise
            proxy.target_error = None
            self._writers.append(writer)
            with suppress(_LimitReached):
                await _together(
                    self._carry(Direction.UP, self._client[0], writer), self._carry(Direction.DOWN, reader, self._client[1])
                )
            for writer in self._writers:
                writer.close()
            for writer in self._writers:
                await writer.wait_closed()
        except OSError:
            # The server isn't there, or a side broke off: the other side shall see the same.
            self.end(reset=True)
        except BaseException:
            # Cancelled, before it was entered in end(): a connection to the server may have come since.
            self.end(reset=False)
            raise

    def end(self, *, reset: bool) -> None:
        """Close both sides now, with FIN or RST. What nobody has taken yet is not waited for."""
        for writer in self._writers:
            if reset:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _carry(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take pieces as they come and pass each on when it is due."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)

        async def take() -> None:
            while True:
                piece = await reader.read(_CHUNK_BYTES)
                await pieces.put((self._proxy._clock() + self._proxy._delay_s(direction), piece))
                if not piece:
                    return

        await _together(take(), self._pass_on(direction, pieces, writer))

    async def _pass_on(
        self, direction: Direction, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        proxy, carried = self._proxy, 0
        while True:
            due_s, piece = await pieces.get()
            await self._pause(due_s - proxy._clock())
            if not piece:
                await self._pause(proxy._toxics[direction].slow_close_s)
                await proxy._until_passing()
                if not writer.is_closing():
                    writer.write_eof()
                return
            while piece:
                toxics = proxy._toxics[direction]
                part = piece[: toxics.slice_bytes]
                if toxics.limit_bytes is not None:
                    part = part[: max(toxics.limit_bytes - carried, 0)]
                if toxics.bytes_per_s is not None:
                    await self._pause(len(part) / toxics.bytes_per_s)
                await proxy._until_passing()
                if writer.is_closing():  # uvloop raises an error of its own where asyncio drops what is written.
                    raise ConnectionResetError
                writer.write(part)
                await writer.drain()
                carried += len(part)
                proxy.passed_bytes[direction] += len(part)
                if toxics.limit_bytes is not None and carried >= toxics.limit_bytes:
                    raise _LimitReached
                piece = piece[len(part) :]
                if piece:
                    await self._pause(toxics.slice_pause_s)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._proxy._wait(seconds)


async def _together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all to their end; when one fails or the caller is cancelled, the others are cancelled, and ended on return."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound
