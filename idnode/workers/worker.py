"""A worker: answers on the node's port, reads the store by itself, has the supervisor write. Started by the supervisor only:
python -m idnode.workers.worker CHANNEL LISTENER [TCP UDP] (descriptors; the last two: of the Handle wire protocol)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop

from idnode.handle.desk import WireRole
from idnode.handle.door import WireSockets, home_of_node
from idnode.handle.node_key import read_node_key
from idnode.operations.books import kept
from idnode.operations.report import Report
from idnode.operations.statistics import Count, Tally
from idnode.resolver import Resolver
from idnode.settings import IdnodeSettings
from idnode.store.base import Store, StoreError
from idnode.store.commit_count import CommitCount
from idnode.store.opening import open_configured
from idnode.store.remote import open_remote_store
from idnode.upstream.opening import upstream_of_node
from idnode.web.node import Node
from idnode.web.serving import Server
from idnode.workers.channel import Channel, ChannelLost
from idnode.workers.start import Start, receive_start

READY = "ready"
"""The call by which a worker tells that it takes connections."""
REPORT = "report"
"""The call by which a worker is asked for its Report."""
REPORTS = "reports"
"""The call by which a worker asks for those of all processes."""
COUNT = "count"
"""The call by which a worker hands over what it has counted: list[Count]."""
COUNTS = "counts"
"""The call by which a worker asks for statistics: first day, last day, prefix."""
WIRE = "wire"
"""The call by which one worker asks another, by its slot, for a challenge or a session of the Handle wire protocol."""
NOTHING = msgspec.Raw(msgspec.msgpack.encode(None))
EXIT_OK = 0
EXIT_FAILED = 4
"""The supervisor has gone, or the store can't be read."""


def main() -> int:
    """Run until SIGTERM, or until the supervisor has gone."""
    end = socket.socket(fileno=int(sys.argv[1]))
    sockets = tuple(socket.socket(fileno=int(each)) for each in sys.argv[2:])
    try:
        start = receive_start(end)
    except EOFError:
        return EXIT_FAILED
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(start, end, sockets))


async def _work(start: Start, end: socket.socket, sockets: tuple[socket.socket, ...]) -> int:
    settings = IdnodeSettings.model_validate_json(start.settings)
    answers = _Answers(f"worker-{start.slot}")
    channel = Channel(answers.answer)
    await channel.open(end)
    try:
        if start.count is not None:
            store: Store = open_remote_store(start.path, channel, CommitCount(start.count))
        else:
            store = await open_configured(settings.store)
    except StoreError as error:
        print(f"mumian idnode: {error}", file=sys.stderr, flush=True)
        return EXIT_FAILED
    try:
        return await _serve(start, settings, channel, store, sockets, answers)
    finally:
        await store.close()
        channel.close()


class _Answers:
    """What the supervisor may ask."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.server: Server | None = None

    async def answer(self, name: str, content: msgspec.Raw) -> msgspec.Raw:
        if name == REPORT and self.server is not None:
            return msgspec.Raw(msgspec.msgpack.encode(self.server.report(self._name)))
        if name == WIRE and self.server is not None:
            asked = msgspec.msgpack.decode(content, type=bytes)
            return msgspec.Raw(msgspec.msgpack.encode(self.server.answer_peer(asked)))
        return NOTHING


async def _serve(
    start: Start,
    settings: IdnodeSettings,
    channel: Channel,
    store: Store,
    sockets: tuple[socket.socket, ...],
    answers: _Answers,
) -> int:
    base = settings.public_url or start.url
    wire = WireSockets(*sockets[1:]) if len(sockets) > 1 else None
    key_file = settings.handle.key_file
    key = None if wire is None or key_file is None else read_node_key(key_file)
    upstream = upstream_of_node(settings, base)
    resolver = Resolver(store, base, home_of_node(settings, wire, key), upstream)
    node = Node(settings, store, resolver, start.admin, lambda: time.time_ns() // 1_000_000)
    telling: set[asyncio.Task[None]] = set()

    async def tell() -> None:
        try:
            await channel.call(READY, NOTHING)
        except ChannelLost:
            return  # watched below

    async def ask(slot: int, asked: bytes) -> bytes | None:
        try:
            answer = await channel.call(WIRE, msgspec.Raw(msgspec.msgpack.encode((slot, asked))))
        except ChannelLost:
            return None
        return msgspec.msgpack.decode(answer, type=bytes | None)

    role = WireRole(key, start.slot, ask)
    server = Server(
        node, lambda: telling.add(asyncio.create_task(tell())), wire, in_place=settings.store.postgres is None, role=role
    )
    answers.server = server

    async def reports() -> list[Report]:
        try:
            return msgspec.msgpack.decode(await channel.call(REPORTS, NOTHING), type=list[Report])
        except ChannelLost:
            return [server.report(f"worker-{start.slot}")]

    async def add(counts: Sequence[Count]) -> None:
        with contextlib.suppress(ChannelLost):  # then all is over
            await channel.call(COUNT, msgspec.Raw(msgspec.msgpack.encode(counts)))

    async def counts(first_day: int, last_day: int, prefix: str | None) -> list[Count]:
        asked = msgspec.Raw(msgspec.msgpack.encode((first_day, last_day, prefix)))
        try:
            return msgspec.msgpack.decode(await channel.call(COUNTS, asked), type=list[Count])
        except ChannelLost:
            return []

    node.panel.reports, node.panel.counts = reports, counts
    watch = asyncio.create_task(channel.lost.wait())
    watch.add_done_callback(lambda _: server.stop())
    async with kept(Tally(node.meter), add, node.now_ms):
        await server.serve([sockets[0]])
    watch.cancel()
    await upstream.close()
    return EXIT_FAILED if channel.lost.is_set() else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
