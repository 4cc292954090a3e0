"""Nodes in this process that listen on real sockets of the loopback, each with clocks of its own; they ask one another."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from uvicorn.server import ServerState

from idnode.handle.desk import Desk
from idnode.handle.site import Interface, Site, SiteServer, Transport, site_json
from idnode.handle.streams import Hall, Stream
from idnode.record import Data, Format, HandleValue
from idnode.resolver import Home, Resolver
from idnode.upstream.by_web import WebAsker
from idnode.upstream.recursion import node_name
from idnode.upstream.settings import DelegationSettings
from idnode.upstream.upstream import Upstream
from idnode.web.app import make_app
from idnode.web.crowd import Crowd
from idnode.web.hot import Hot
from idnode.web.hot_protocol import HotProtocol

from .town import ADMIN, Town, founded
from .wire_client import Reply, Request, read_reply

ALLOWED = DelegationSettings(allowed_hosts=("127.0.0.1",))
TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of nobody: there is no TLS here, and the system's takes time to read."""
PATH = "/v1/prefixes/88.100.1/delegation"


@dataclass
class Neighbour:
    """A node with pumpworks (88.100.1) and forge (88.100.2) that listens."""

    town: Town
    upstream: Upstream
    steady: list[int]
    """Milliseconds; set its one item to set the time."""
    hot: Hot
    desk: Desk
    url: str = ""
    handle: str = ""
    """Where it speaks the Handle wire protocol."""
    servers: list[asyncio.Server] = field(default_factory=list)
    transports: list[Any] = field(default_factory=list)
    asked: int = 0
    """Connections that came by HTTP."""

    async def delegate(self, to: str, mode: str = "proxy", **more: Any) -> None:
        """Delegate 88.100.1."""
        answer = await self.town.ask("PUT", PATH, ADMIN, {"mode": mode, "address": to, **more})
        assert answer.status_code == 200, answer.text

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Over its socket, by the hot route where that is taken."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, verify=TRUST) as client:
            return await client.get(path, headers=headers)

    async def ask(self, *requests: Request) -> list[Reply]:
        """By the wire protocol."""
        host, _, port = self.handle.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"".join(request.packed() for request in requests))
        found = []
        for _ in requests:
            head = await reader.readexactly(20)
            found.append(read_reply(head + await reader.readexactly(int.from_bytes(head[16:], "big")))[0])
        writer.close()
        return found

    async def die(self) -> None:
        """Its sockets go, with all connections."""
        for server in self.servers:
            server.close()
        for transport in self.transports:
            transport.abort()
        await asyncio.sleep(0)

    async def listen(self, http_port: int = 0, wire_port: int = 0) -> None:
        """Take connections, on these ports or on free ones."""
        loop = asyncio.get_running_loop()
        config = uvicorn.Config(
            self.hot._front, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False
        )
        make = functools.partial(HotProtocol, self.hot, Crowd(100, 30, 10, 30), config, ServerState(), {})
        hall = Hall(self.desk, 100, 300, 10, 30)
        places = []
        for build, port in ((make, http_port), (functools.partial(Stream, hall), wire_port)):
            server = await loop.create_server(functools.partial(self._met, build), "127.0.0.1", port)
            self.servers.append(server)
            places.append(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        self.url, self.handle = f"http://{places[0]}", places[1]

    def _met(self, build: Any) -> Any:
        protocol = build()
        made = protocol.connection_made

        def connection_made(transport: Any) -> None:
            self.transports.append(transport)
            made(transport)

        if isinstance(protocol, HotProtocol):
            self.asked += 1
            protocol.connection_made = connection_made  # type: ignore[method-assign]
            return protocol
        return protocol


@contextlib.asynccontextmanager
async def neighbour(name: str, settings: DelegationSettings = ALLOWED, **upstream: Any) -> AsyncIterator[Neighbour]:
    """A node that listens; `name` tells it from others."""
    async with founded(delegations=settings) as town:
        steady = [1_000_000]
        named = node_name("88.100", name)
        web = WebAsker(settings.allowed_hosts, named, trust=TRUST)
        asks = Upstream(settings, named, lambda: steady[0], **{"patience_s": 10, "web": web, **upstream})
        site = Site((SiteServer(1, "127.0.0.1", (Interface(Transport.TCP),)),))
        home = Home("88.100", HandleValue(1, "HS_SITE", Data(Format.SITE, site_json(site))))
        node = dataclasses.replace(town.node, resolver=Resolver(town.node.store, "http://id.test", home, asks))
        front = make_app(node)
        hot = Hot(front, node.store, node.panel, 1 << 20, in_place=True)
        front.keeper = hot
        async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://id.test") as client:
            made = Neighbour(Town(client, node, town.clock), asks, steady, hot, Desk(node, site, 1 << 20, in_place=True))
            await made.listen()
            try:
                yield made
            finally:
                await made.die()
                await asks.close()
