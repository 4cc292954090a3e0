"""`mumian idnode serve`: one process with one event loop, or several and one over them, until they are told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
import sys
import time

import uvloop

from idnode.access import BadTokenFile, read_admin_token
from idnode.duties import Duties, duties
from idnode.handle.desk import WireRole
from idnode.handle.door import WireSockets, home_of_node
from idnode.handle.node_key import BadNodeKey, NodeKey, read_node_key
from idnode.operations.books import Books, kept
from idnode.operations.notify import notify_ready
from idnode.operations.report import Report, commits_of
from idnode.operations.statistics import Statistics, Tally, path_beside
from idnode.resolver import Resolver
from idnode.settings import IdnodeSettings
from idnode.store.base import Store, StoreBusy, StoreFailed
from idnode.store.opening import open_configured
from idnode.store.sqlite import SqliteStore
from idnode.upstream.opening import upstream_of_node
from idnode.upward.adapter import Adapter
from idnode.upward.dialect import BadUpward, open_adapter
from idnode.web.listening import CannotListen, allow_descriptors, listen, listen_wire, url_of
from idnode.web.node import Node
from idnode.web.serving import Server
from idnode.web.tls import BadCertificate, certificate_files
from idnode.workers.start import Start
from idnode.workers.supervisor import Supervisor, WorkerFailed

EXIT_OK = 0
EXIT_SETTINGS = 2
"""Something in the settings can't be used here: a token or key that is open to others, a certificate that is none."""
EXIT_BUSY = 3
"""Another process owns the store."""
EXIT_STORAGE = 4
"""The storage failed, at the start or later."""
EXIT_ADDRESS = 5
"""It can't listen on the address."""
EXIT_WORKER = 6
"""A worker didn't get to its work."""


def serve(settings: IdnodeSettings) -> int:
    """Run the node until SIGTERM or SIGINT; print one line {"url": ...} on stdout when it answers.

    Returns:
        The exit code; the reason for another than 0 stands on stderr in one line.
    """
    try:
        admin = read_admin_token(settings.admin_token_file)
        is_secure = certificate_files(settings, _now_ms()) is not None
        top = open_adapter(settings.upward) if settings.upward.url is not None else None
        listeners = listen(settings)
        key = None if settings.handle.key_file is None else read_node_key(settings.handle.key_file)
        wires = listen_wire(settings)
        allow_descriptors(settings)
    except (BadTokenFile, BadCertificate, BadNodeKey, BadUpward) as error:
        return _fail(EXIT_SETTINGS, error)
    except CannotListen as error:
        return _fail(EXIT_ADDRESS, error)
    with contextlib.ExitStack() as stack:
        for each in (*listeners, *(each for pair in wires for each in pair)):
            stack.enter_context(each)
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        return runner.run(_serve(settings, admin, key, listeners, wires, url_of(listeners[0], secure=is_secure), top))


async def _serve(
    settings: IdnodeSettings,
    admin: bytes,
    key: NodeKey | None,
    listeners: list[socket.socket],
    wires: list[WireSockets],
    url: str,
    top: Adapter | None,
) -> int:
    try:
        store = await open_configured(settings.store)
    except StoreBusy as error:
        return _fail(EXIT_BUSY, error)
    except StoreFailed as error:
        return _fail(EXIT_STORAGE, error)
    try:
        statistics = Statistics(path_beside(settings.store.path))
    except sqlite3.Error as error:
        await store.close()
        return _fail(EXIT_STORAGE, StoreFailed(f"{path_beside(settings.store.path)}: {error}"))
    try:
        async with duties(store, settings, _now_ms, settings.public_url or url, top) as done:
            books = Books(statistics, done.resolutions.add)
            if settings.workers == 1:
                wire = wires[0] if wires else None
                return await _answer(settings, admin, key, (listeners[0], wire), url, store, books, done)
            return await _supervise(settings, admin, _sockets(listeners, wires), url, store, books, done)
    finally:
        statistics.close()
        await store.close()


def _sockets(listeners: list[socket.socket], wires: list[WireSockets]) -> list[tuple[socket.socket, ...]]:
    """Those of each worker."""
    return [(each, *wires[number]) if wires else (each,) for number, each in enumerate(listeners)]


async def _answer(
    settings: IdnodeSettings,
    admin: bytes,
    key: NodeKey | None,
    sockets: tuple[socket.socket, WireSockets | None],
    url: str,
    store: Store,
    books: Books,
    done: Duties,
) -> int:
    listener, wire = sockets
    base = settings.public_url or url
    upstream = upstream_of_node(settings, base)
    resolver = Resolver(store, base, home_of_node(settings, wire, key), upstream)
    node = Node(settings, store, resolver, admin, _now_ms)
    in_place, role = settings.store.postgres is None, WireRole(key)
    server = Server(node, lambda: _tell(url, wire), wire, in_place=in_place, role=role)

    async def reports() -> list[Report]:
        own = server.report("node")
        own.commits, own.upward = commits_of(store), done.upward()
        return [own]

    node.panel.reports, node.panel.counts = reports, books.counts
    watch = asyncio.create_task(store.wait_failure())
    watch.add_done_callback(lambda _: server.stop())
    try:
        async with kept(Tally(node.meter), books.add, _now_ms):
            await server.serve([listener])
    finally:
        failed = watch.done() and not watch.cancelled()
        watch.cancel()
        await upstream.close()
    return _fail(EXIT_STORAGE, watch.result()) if failed else EXIT_OK


async def _supervise(
    settings: IdnodeSettings,
    admin: bytes,
    sockets: list[tuple[socket.socket, ...]],
    url: str,
    store: Store,
    books: Books,
    done: Duties,
) -> int:
    told, database = settings.model_dump_json(), str(settings.store.path)
    count = store.count.descriptor if isinstance(store, SqliteStore) else None
    supervisor = Supervisor(store, books, sockets, lambda slot: Start(told, database, admin, url, slot, count), done.upward)
    try:
        failure = await supervisor.run(lambda: _tell(url, WireSockets(*sockets[0][1:]) if sockets[0][1:] else None))
    except WorkerFailed as error:
        return _fail(EXIT_WORKER, error)
    return EXIT_OK if failure is None else _fail(EXIT_STORAGE, failure)


def _tell(url: str, wire: WireSockets | None) -> None:
    told = {"url": url}
    if wire is not None:
        host, port = wire.stream.getsockname()[:2]
        told["handle"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    print(json.dumps(told), flush=True)
    notify_ready()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _fail(code: int, error: Exception) -> int:
    print(f"mumian idnode: {error}", file=sys.stderr, flush=True)
    return code
