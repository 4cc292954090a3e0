"""A node's answers on listening sockets: uvicorn with the hot route before it, and the limits on connections."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

import uvicorn

from idnode.handle.desk import ALONE, WireRole
from idnode.handle.door import Door, WireSockets
from idnode.handle.peers import answer_peer
from idnode.operations.limits import Limits
from idnode.operations.report import Report, report
from idnode.operations.slow_log import SlowLog
from idnode.settings import IdnodeSettings, TlsMode
from idnode.web.app import make_app
from idnode.web.crowd import Crowd
from idnode.web.hot import Hot
from idnode.web.hot_protocol import HotProtocol
from idnode.web.node import Node

GRACE_S = 4
"""For what is under way when the node is told to stop; so that all is over within five seconds."""
_FAREWELL_S = 0.5
_IDLE_S = 30
_LOOK_S = 1.0


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it is ready and returns from serve() on SIGTERM rather than end the process by it."""

    def __init__(
        self,
        node: Node,
        ready: Callable[[], None],
        wire: WireSockets | None = None,
        *,
        in_place: bool,
        role: WireRole = ALONE,
    ) -> None:
        """
        Args:
            ready: called once, when connections are taken.
            wire: for the Handle wire protocol, which then has half of the memory for answers.
            in_place: the node's store reads without suspending.
            role: of this process on the wire.
        """
        front = make_app(node)
        limits = node.settings.connections
        asked = node.settings.limits
        node.panel.limits = Limits(asked.per_address_per_s, asked.per_prefix_per_s, asked.burst_s)
        seen = node.settings.operations
        node.panel.slow = SlowLog(seen.slow_log, seen.slow_ms / 1000)
        room = node.settings.cache_mb << (20 if wire is None else 19)
        self._door = None if wire is None else Door(node, wire, room, in_place=in_place, role=role)
        hot = Hot(front, node.store, node.panel, room, in_place=in_place)
        front.keeper = hot
        front.desk.sign_with(role.key)
        self.hot = hot
        self._crowd = Crowd(limits.most, _IDLE_S, limits.head_timeout_s, limits.stuck_timeout_s)
        super().__init__(_config(front, functools.partial(HotProtocol, hot, self._crowd), node.settings))
        self._ready = ready
        self._looking: asyncio.TimerHandle | None = None
        self._meter = node.meter
        self._upstream = node.resolver.upstream
        node.panel.is_leaving = lambda: self._crowd.leaving

    def report(self, name: str) -> Report:
        """What this process has done."""
        made, cache = report(name, self._meter), self.hot.cache
        made.cache = (cache.hits, cache.misses, len(cache), cache.bytes)
        made.connections = len(self.server_state.connections)
        if self._door is not None:
            hits, misses, entries, size = made.cache
            more = self._door.desk.cache
            made.cache = (hits + more.hits, misses + more.misses, entries + len(more), size + more.bytes)
            made.connections += len(self._door.hall.streams)
        if self._upstream is not None:
            asked: Counter[tuple[str, str]] = Counter()
            for (prefix, outcome), count in self._upstream.counts.asked.items():
                asked[self._meter.shown.name(prefix), outcome] += count
            made.asked = [(*key, count) for key, count in asked.items()]
            made.elsewhere = dict(self._upstream.counts.answered)
            made.shelf = (len(self._upstream.shelf), self._upstream.shelf.bytes)
        return made

    def answer_peer(self, asked: bytes) -> bytes:
        """Answer what another process of the node asks of challenges and sessions that are kept here."""
        return b"" if self._door is None else answer_peer(self._door.desk.sessions, asked, time.perf_counter())

    def stop(self) -> None:
        """Take no more connections, finish what is under way, return from serve()."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._look()
        # What is here now stays: the collector need not look at it again, nor at each of many thousand kept answers all the time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)
        await super().startup(sockets)
        if self._door is not None:
            await self._door.open()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn. Connections that are kept alive have a moment to hear with their next answer that they are closed."""
        self._crowd.leaving = True
        for server in self.servers:
            server.close()
        if self._door is not None:
            await self._door.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + _FAREWELL_S
        while self.server_state.connections and loop.time() < until:  # noqa: ASYNC110 uvicorn's set, as uvicorn itself waits for it
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        if self._looking is not None:
            self._looking.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._crowd.look(self.server_state.connections, loop.time())
        if self._door is not None:
            self._door.look(loop.time())
        self._looking = loop.call_later(_LOOK_S, self._look)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn, which would raise the signal again and so end the process by it."""
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        for number in caught:
            loop.add_signal_handler(number, self.stop)
        # It asks a node with several workers to replace them; there is nothing to replace here, and no reason to end.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        try:
            yield
        finally:
            for number in (*caught, signal.SIGHUP):
                loop.remove_signal_handler(number)


def _config(front: Any, protocol: Callable[..., asyncio.Protocol], settings: IdnodeSettings) -> uvicorn.Config:
    tls = settings.tls
    files = None if tls.mode is TlsMode.NONE else (tls.certificate, tls.key)
    return uvicorn.Config(
        front,
        http=cast(Any, protocol),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # what clients do wrong is told to them; a log of it would be theirs to fill
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=settings.connections.backlog,
        ssl_certfile=None if files is None else files[0],
        ssl_keyfile=None if files is None else files[1],
        ssl_ca_certs=None if files is None or tls.clients is None else str(tls.clients),
        ssl_cert_reqs=ssl.CERT_NONE if files is None or tls.clients is None else ssl.CERT_OPTIONAL,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
