"""An asyncio loop on which no time passes but when all wait for it: an hour of plant, faults and gateway takes seconds.

Connections on it don't leave the process, and everything happens in one order only: the same program does the same to the
nanosecond. What blocks outside of the loop (threads, real sockets) has no place on it.
"""

from __future__ import annotations

import asyncio
import selectors
import ssl
from asyncio.sslproto import SSLProtocol
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_S = 1_000_000_000
START_NS = 1_790_000_000_000_000_000
"""When it begins, UTC."""
WIRE_S = 0.0002
"""How long bytes are under way."""
_FIRST_PORT = 20_000
_T = TypeVar("_T")


class NothingHappens(Exception):
    """Every task waits, and for nothing that time would bring."""


class _Selector(selectors.DefaultSelector):
    """In place of waiting, time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise NothingHappens("every task waits, but for no time")
        self.now_s += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's docstring; run() makes one. Servers and connections are TCP's in all but the wire."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self._time = _Selector()
        super().__init__(self._time)
        self._start_ns = start_ns
        self._bound: dict[tuple[str, int], MemoryServer] = {}
        self._next_port = _FIRST_PORT

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._time.now_s

    def clock_ns(self) -> int:
        """UTC in ns, for whoever takes a clock."""
        return self._start_ns + round(self._time.now_s * _S)

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """As asyncio's; `options` but `ssl` say nothing here."""
        context = options.get("ssl")
        if not port:
            port, self._next_port = self._next_port, self._next_port + 1
        address = (str(host), int(port))
        if address in self._bound:
            raise OSError(98, "Address already in use")
        factory = protocol_factory if context is None else lambda: self._tls(protocol_factory(), context, None)
        server = self._bound[address] = MemoryServer(self, address, factory)
        return server

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """As asyncio's; `options` but `ssl` and `server_hostname` say nothing here."""
        context = options.get("ssl")
        await asyncio.sleep(WIRE_S)
        server = self._bound.get((str(host), int(port)))
        if server is None:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = protocol_factory(), server.factory()
        if context is None:
            return self._join(ours, theirs), ours
        ready = self.create_future()
        secured = self._tls(ours, context, options.get("server_hostname") or str(host), ready)
        wire = self._join(secured, theirs)
        try:
            await ready
        except BaseException:
            wire.abort()
            raise
        return secured._get_app_transport(), ours

    def _join(self, ours: Any, theirs: Any) -> MemoryTransport:
        one, other = MemoryTransport(self, ours), MemoryTransport(self, theirs)
        one.peer, other.peer = other, one
        theirs.connection_made(other)
        ours.connection_made(one)
        return one

    def _tls(self, protocol: Any, context: ssl.SSLContext, host: str | None, ready: asyncio.Future[Any] | None = None) -> Any:
        """asyncio's own TLS, over whatever bytes come; a server's has no host to ask for."""
        return SSLProtocol(self, protocol, context, ready, server_side=host is None, server_hostname=host)  # type: ignore[arg-type]

    def unbind(self, address: tuple[str, int]) -> None:
        """A server has closed."""
        self._bound.pop(address, None)


class MemoryServer:
    """A listener within the process."""

    def __init__(self, loop: VirtualLoop, address: tuple[str, int], factory: Callable[[], asyncio.Protocol]) -> None:
        self._loop = loop
        self.address = address
        self.factory = factory
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        """As a socket's."""
        return self.address

    def close(self) -> None:
        self._loop.unbind(self.address)

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)


class MemoryTransport(asyncio.Transport):
    """One end of a connection. Bytes arrive in order, WIRE_S later; an end is heard after what was sent before it."""

    peer: MemoryTransport

    def __init__(self, loop: VirtualLoop, protocol: Any) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._arriving: deque[bytes | None] = deque()
        self._closing = self._lost = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and data:
            self.peer.arrive(bytes(data))

    def arrive(self, data: bytes | None) -> None:
        """What the peer sent; None: it has closed."""
        self._arriving.append(data)
        self._loop.call_later(WIRE_S, self._deliver)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.peer.arrive(None)
            self._loop.call_soon(self._lose)

    def abort(self) -> None:
        self.close()

    def _force_close(self, exc: BaseException | None) -> None:
        """What asyncio's TLS calls in place of abort()."""
        del exc
        self.abort()

    def is_closing(self) -> bool:
        return self._closing

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nobody sends so much here that a pause is needed."""

    def resume_reading(self) -> None:
        """See pause_reading()."""

    def _deliver(self) -> None:
        data = self._arriving.popleft()
        if self._closing:
            return
        if data is not None:
            self._take(data)
            return
        self._protocol.eof_received()
        self.close()

    def _take(self, data: bytes) -> None:
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(data)
            return
        while data:
            buffer = memoryview(self._protocol.get_buffer(len(data)))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            self._protocol.buffer_updated(count)
            data = data[count:]

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(None)


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, _T]], start_ns: int = START_NS) -> _T:
    """Run `main(loop)` to its end, in virtual time.

    Raises:
        NothingHappens: everything waits for ever.
    """
    loop = VirtualLoop(start_ns)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
