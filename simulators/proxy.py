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
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from simulators.listening import CannotListen

Wait = Callable[[float], Awaitable[None]]
_CHUNK_BYTES = 65_536
_MOST_CHUNKS = 64
"""On their way in one direction; then the sender is made to wait."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST."""


class Direction(Enum):
    """Which way bytes go."""

    UP = "up"
    """From the client to the server."""
    DOWN = "down"
    """From the server to the client."""


class State(Enum):
    """What the proxy does with connections."""

    PASSING = "passing"
    REFUSING = "refusing"
    """Nobody listens; there are no connections."""
    SILENT = "silent"
    """Connections stay and new ones are taken, but nothing passes; what is held back comes when it ends."""


@dataclass(frozen=True, slots=True)
class Toxics:
    """What is done to the bytes of one direction; the default does nothing."""

    latency_s: float = 0.0
    """Each piece arrives so much later."""
    jitter_s: float = 0.0
    """Up to so much is added to or taken from the latency, drawn anew for each piece; order is kept."""
    bytes_per_s: float | None = None
    """Bandwidth."""
    slice_bytes: int | None = None
    """Most bytes that are passed on in one piece; 1 trickles byte by byte."""
    slice_pause_s: float = 0.0
    """Pause between two slices."""
    limit_bytes: int | None = None
    """After so many bytes of a connection both its sides are closed."""
    slow_close_s: float = 0.0
    """So long after one side closed the other one is told."""

    def __post_init__(self) -> None:
        numbers = (self.latency_s, self.jitter_s, self.slice_pause_s, self.slow_close_s, self.limit_bytes or 0)
        if (
            min(numbers) < 0
            or self.slice_bytes == 0
            or self.bytes_per_s == 0
            or min(self.slice_bytes or 1, self.bytes_per_s or 1) < 0
        ):
            raise ValueError(f"times and limits can't be negative, a slice or a bandwidth not zero: {self}")


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
        self.passed_bytes = dict.fromkeys(Direction, 0)
        self._toxics = {direction: Toxics() for direction in Direction}
        self._random = random.Random(seed)
        self._wait = wait
        self._clock = clock
        self._address = ("127.0.0.1", 0)
        self._server: asyncio.Server | None = None
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
        await self._listen()
        return self.port

    async def stop(self) -> None:
        """End all. Safe twice, and before start()."""
        await self._close_listener()
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
        """Close every connection and listen no more."""
        self.state = State.REFUSING
        await self._close_listener()
        await self.cut()

    def silence(self) -> None:
        """Let nothing pass, as when a cable is out: nothing is closed."""
        self.state = State.SILENT
        self._passing.clear()

    async def restore(self) -> None:
        """Listen and let pass again, without toxics."""
        for direction in Direction:
            self._toxics[direction] = Toxics()
        self.state = State.PASSING
        self._passing.set()
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        host, port = self._address
        try:
            self._server = await asyncio.start_server(self._take, host, port, limit=_CHUNK_BYTES)
        except OSError as error:
            raise CannotListen(host, port, error.strerror or str(error)) from error
        self._address = (host, self._server.sockets[0].getsockname()[1])

    async def _close_listener(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(self, reader, writer)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._tasks[task] = connection
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    async def _end(self, *, reset: bool) -> None:
        ending = dict(self._tasks)
        for task, connection in ending.items():
            connection.resets = reset
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

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
        self.resets = False
        """Whether its sockets are to end with RST."""

    async def run(self) -> None:
        """Carry bytes both ways until both sides have closed, one breaks off, or the task is cancelled."""
        try:
            reader, writer = await asyncio.open_connection(*self._proxy.target, limit=_CHUNK_BYTES)
            self._writers.append(writer)
            ways = [
                asyncio.ensure_future(self._carry(Direction.UP, self._client[0], writer)),
                asyncio.ensure_future(self._carry(Direction.DOWN, reader, self._client[1])),
            ]
            try:
                await asyncio.gather(*ways)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except _LimitReached:
            pass
        except OSError:
            # The server isn't there, or a side broke off: the other side shall see the same.
            self.resets = True
        finally:
            await self._close()

    async def _carry(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take pieces as they come and pass each on when it is due."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)

        async def take() -> None:
            while True:
                piece = await reader.read(_CHUNK_BYTES)
                await pieces.put((self._proxy._clock() + self._proxy._delay_s(direction), piece))
                if not piece:
                    return

        taking = asyncio.ensure_future(take())
        passing = asyncio.ensure_future(self._pass_on(direction, pieces, writer))
        try:
            await asyncio.gather(taking, passing)
        finally:
            for task in (taking, passing):
                task.cancel()
            await asyncio.gather(taking, passing, return_exceptions=True)

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
                with suppress(OSError):
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

    async def _close(self) -> None:
        for writer in self._writers:
            if self.resets:
                handle = writer.get_extra_info("socket")
                with suppress(OSError):
                    handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()
