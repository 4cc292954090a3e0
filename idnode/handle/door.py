"""The sockets on which a process speaks the Handle wire protocol, and the site that it tells clients of."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import NamedTuple

from idnode.handle.datagrams import Address, Datagrams
from idnode.handle.desk import ALONE, Desk, WireRole
from idnode.handle.node_key import NodeKey
from idnode.handle.site import QUERIES_AND_ADMINISTRATION, Interface, Site, SiteServer, Transport, site_json
from idnode.handle.streams import Hall, Stream
from idnode.record import Data, Format, HandleValue
from idnode.resolver import Home
from idnode.settings import IdnodeSettings
from idnode.web.node import Node

_MOST_AT_ONCE = 64
"""Datagrams that are taken before others have their turn."""
_TOGETHER = 16
"""Answers by UDP that are sent one behind the other while there is more to read: a client that sleeps is woken once for all."""
_FAREWELL_S = 1.0
_LONGEST_DATAGRAM = 2048
"""Peers send 512 bytes at most."""


class WireSockets(NamedTuple):
    """Bound to one address and port number."""

    stream: socket.socket
    datagram: socket.socket

    @property
    def port(self) -> int:
        """Of both."""
        port: int = self.stream.getsockname()[1]
        return port


def site_of_node(settings: IdnodeSettings, port: int, key: NodeKey | None = None) -> Site:
    """The node as a site with one server."""
    ports = (
        Interface(Transport.UDP, port, QUERIES_AND_ADMINISTRATION),
        Interface(Transport.TCP, port, QUERIES_AND_ADMINISTRATION),
    )
    server = SiteServer(1, settings.handle.reached_at, ports, key=b"" if key is None else key.public)
    return Site((server,), settings.handle.serial, attributes=(("desc", settings.name.en),))


def home_of_node(settings: IdnodeSettings, sockets: WireSockets | None, key: NodeKey | None = None) -> Home | None:
    """What the handles of the node's prefixes say; None where it doesn't speak the protocol."""
    if sockets is None:
        return None
    site = Data(Format.SITE, site_json(site_of_node(settings, sockets.port, key)))
    return Home(settings.node_prefix, HandleValue(1, "HS_SITE", site))


class Door:
    """One process's."""

    def __init__(self, node: Node, sockets: WireSockets, most_bytes: int, *, in_place: bool, role: WireRole = ALONE) -> None:
        """See Desk."""
        asked, limits = node.settings.handle, node.settings.connections
        site = site_of_node(node.settings, sockets.port, role.key)
        self.desk = Desk(node, site, most_bytes, in_place=in_place, role=role)
        self.hall = Hall(self.desk, limits.most, asked.idle_timeout_s, limits.head_timeout_s, limits.stuck_timeout_s)
        self._sockets = sockets
        self._backlog = limits.backlog
        self.datagrams = Datagrams(self.desk, asked.udp_multiple, self._send)
        self._ready: list[tuple[bytes, Address]] = []
        """Datagrams to be sent."""
        self._together = 1
        """So many of them at once."""
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Take requests."""
        loop = asyncio.get_running_loop()
        stream, datagram = self._sockets
        self._server = await loop.create_server(lambda: Stream(self.hall), sock=stream, backlog=self._backlog)
        datagram.settimeout(0)
        loop.add_reader(datagram.fileno(), self._readable)

    def look(self, now_s: float) -> None:
        """Close what is over its time; to be called about once a second."""
        self.hall.look(now_s)
        self.datagrams.assembly.expire(time.perf_counter())
        self.desk.sessions.expire(time.perf_counter())

    async def close(self) -> None:
        """Take nothing more and answer what is here, for a second at most."""
        asyncio.get_running_loop().remove_reader(self._sockets.datagram.fileno())
        if self._server is not None:
            self._server.close()
        self.hall.leave()
        waited_for = self.datagrams.tasks.union(*(stream.tasks for stream in self.hall.streams))
        if waited_for:
            await asyncio.wait(waited_for, timeout=_FAREWELL_S)
        await asyncio.sleep(0)  # what was written goes out

    def _readable(self) -> None:
        datagram, received = self._sockets.datagram, self.datagrams.received
        began, taken, self._together = time.perf_counter(), 0, _TOGETHER
        try:
            while taken < _MOST_AT_ONCE:
                try:
                    data, address = datagram.recvfrom(_LONGEST_DATAGRAM)
                except OSError:  # nothing more is there, or the network tells of an answer that went nowhere
                    break
                if not taken:
                    self.desk.renew()
                taken += 1
                received(data, address, began)
        finally:
            self._together = 1
            self._send_ready()
        if taken:
            self.desk.took(time.perf_counter() - began, taken)

    def _send(self, data: bytes, address: Address) -> None:
        self._ready.append((data, address))
        if len(self._ready) >= self._together:
            self._send_ready()

    def _send_ready(self) -> None:
        for data, address in self._ready:
            with contextlib.suppress(OSError):  # no room, or no way there: UDP may lose what it carries, clients ask again
                self._sockets.datagram.sendto(data, address)
        self._ready.clear()
