"""A node's desk with a way to it by TCP and one by UDP, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from idnode.handle.datagrams import Datagrams
from idnode.handle.desk import ALONE, Desk, WireRole
from idnode.handle.site import Interface, Site, SiteServer, Transport
from idnode.handle.streams import Hall, Stream
from idnode.identifier import parse_identifier
from idnode.record import HandleValue, Registration, State, text_value

from .town import START_MS, Town
from .wire import Wire
from .wire_client import Reply, Request, read_replies

SITE = Site((SiteServer(1, "127.0.0.1", (Interface(Transport.UDP), Interface(Transport.TCP))),), serial=7)
VALUES = (text_value(1, "URL", "http://h/1"), text_value(2, "HS_TEST.A", "泵"), text_value(3, "HS_TEST", "b"))


class Line:
    """A node's desk with a way to it by TCP and one by UDP."""

    def __init__(
        self, town: Town, cache_bytes: int = 1 << 20, *, in_place: bool = True, role: WireRole = ALONE, **hall: Any
    ) -> None:
        self.town = town
        self.desk = Desk(town.node, SITE, cache_bytes, in_place=in_place, role=role)
        self.hall = Hall(self.desk, **{"most": 5, "idle_s": 300, "message_s": 10, "stuck_s": 30, **hall})
        self.sent: list[tuple[bytes, tuple[Any, ...]]] = []
        self.datagrams = Datagrams(self.desk, 20, lambda data, address: self.sent.append((data, address)))

    async def register(self, suffix: str, *values: HandleValue, prefix: str = "88.100.1", state: State = State.ACTIVE) -> None:
        made = Registration(parse_identifier(f"{prefix}/{suffix}"), values or VALUES, state=state)
        await self.town.node.store.register([made], "admin", START_MS)

    def connect(self, **wire: Any) -> Wire:
        made = Wire(**wire)
        made.protocol = Stream(self.hall)
        made.protocol.connection_made(made)
        return made

    async def ask(self, *requests: Request) -> list[Reply]:
        """Over one connection, all at once; the answers in the order of the requests."""
        return read_replies(await self.talk(b"".join(request.packed() for request in requests)))

    async def talk(self, data: bytes) -> bytes:
        """What comes back for these bytes on one connection."""
        wire = self.connect()
        wire.protocol.data_received(data)
        for _ in range(10_000):
            await asyncio.sleep(0)
            if wire.protocol.is_idle:
                break
            if wire.protocol.tasks:
                await asyncio.wait(wire.protocol.tasks)
        wire.protocol.connection_lost(None)
        return bytes(wire.output)

    async def one(self, request: Request) -> Reply:
        (reply,) = await self.ask(request)
        return reply

    async def throw(
        self, datagrams: Iterable[bytes], address: tuple[Any, ...] = ("192.0.2.1", 999), at_s: float = 0.0
    ) -> list[bytes]:
        """What comes back for these."""
        self.sent.clear()
        self.desk.renew()
        for each in datagrams:
            self.datagrams.received(each, address, at_s)
        if self.datagrams.tasks:
            await asyncio.wait(self.datagrams.tasks)
        assert all(to == address for _, to in self.sent)
        return [data for data, _ in self.sent]
