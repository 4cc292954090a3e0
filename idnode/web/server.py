"""`mumian idnode serve`: one process, one event loop, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator

import uvicorn
import uvloop

from idnode.access import BadTokenFile, read_admin_token
from idnode.resolver import Resolver
from idnode.settings import IdnodeSettings
from idnode.store.base import Store, StoreBusy, StoreFailed
from idnode.store.opening import open_configured
from idnode.web.app import make_app
from idnode.web.node import Node

EXIT_OK = 0
EXIT_SETTINGS = 2
"""Something in the settings can't be used here: the token file is open to others."""
EXIT_BUSY = 3
"""Another process owns the store."""
EXIT_STORAGE = 4
"""The storage failed, at the start or later."""
EXIT_ADDRESS = 5
"""It can't listen on the address."""
_GRACE_S = 5


def serve(settings: IdnodeSettings) -> int:
    """Run the node until SIGTERM or SIGINT; print one line {"url": ...} on stdout when it answers.

    Returns:
        The exit code; the reason for another than 0 stands on stderr in one line.
    """
    try:
        admin = read_admin_token(settings.admin_token_file)
        listener = _listen(settings)
    except BadTokenFile as error:
        return _fail(EXIT_SETTINGS, error)
    except _CannotListen as error:
        return _fail(EXIT_ADDRESS, error)
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, admin, listener))


class _CannotListen(Exception):
    pass


def _listen(settings: IdnodeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise _CannotListen(f"can't listen on {settings.listen}: {error.strerror}") from error
    return listener


async def _serve(settings: IdnodeSettings, admin: bytes, listener: socket.socket) -> int:
    try:
        store = await open_configured(settings.store)
    except StoreBusy as error:
        return _fail(EXIT_BUSY, error)
    except StoreFailed as error:
        return _fail(EXIT_STORAGE, error)
    try:
        return await _answer(settings, admin, listener, store)
    finally:
        await store.close()


async def _answer(settings: IdnodeSettings, admin: bytes, listener: socket.socket, store: Store) -> int:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    node = Node(settings, store, Resolver(store, settings.public_url or url), admin, lambda: time.time_ns() // 1_000_000)
    config = uvicorn.Config(
        make_app(node),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config, url)
    watch = asyncio.create_task(store.wait_failure())
    watch.add_done_callback(lambda _: server.stop())
    try:
        await server.serve([listener])
    finally:
        failed = watch.done() and not watch.cancelled()
        watch.cancel()
    return _fail(EXIT_STORAGE, watch.result()) if failed else EXIT_OK


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready and ends with the exit code rather than with the signal."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    def stop(self) -> None:
        """Take no more connections, finish what is under way, return from serve()."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        print(json.dumps({"url": self._url}), flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn, which would raise the signal again and so end the process by it."""
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        for number in caught:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)


def _fail(code: int, error: Exception) -> int:
    print(f"mumian idnode: {error}", file=sys.stderr, flush=True)
    return code
