"""A connection without a network: bytes in, bytes out, and what the transport was told."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from idnode.identifier import Identifier
from idnode.record import Record
from idnode.web.app import make_app
from idnode.web.crowd import Crowd
from idnode.web.hot import Hot
from idnode.web.hot_protocol import HotProtocol

from .conftest import House

DATE = b"Sat, 28 Nov 2026 22:00:00 GMT"
Make = Callable[[uvicorn.Config, ServerState], HttpToolsProtocol]


@dataclass
class Wire(asyncio.Transport):
    """The transport. It takes `room` bytes, then asks to pause; take() makes room."""

    room: int = 65_536
    output: bytearray = field(default_factory=bytearray)
    unsent: int = 0
    most_unsent: int = 0
    closed: bool = False
    reading: bool = True
    protocol: Any = None
    drained: bool = True
    """What is written is taken at once."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 40000), "sockname": ("127.0.0.1", 8080)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed, "written behind the end"
        self.output += data
        if self.drained:
            return
        self.unsent += len(data)
        self.most_unsent = max(self.most_unsent, self.unsent)
        if self.unsent > self.room:
            self.protocol.pause_writing()

    def take(self) -> None:
        """The client takes all."""
        self.unsent = 0
        self.protocol.resume_writing()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Client:
    """A client of one kind of protocol over one application."""

    def __init__(self, house: House, cache_bytes: int | None, *, in_place: bool = True, **crowd: Any) -> None:
        """`cache_bytes`: None is uvicorn's own protocol; `in_place`: as of Hot."""
        front = make_app(house.node)
        self.config = uvicorn.Config(front, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False)
        self.state = ServerState()
        self.state.default_headers = [(b"date", DATE)]
        self.crowd = Crowd(**{"most": 100, "idle_s": 30, "head_s": 10, "stuck_s": 30, **crowd})
        self.hot: Hot | None = None
        self._make: Callable[..., HttpToolsProtocol] = HttpToolsProtocol
        if cache_bytes is not None:
            self.hot = Hot(front, house.node.store, house.node.panel, cache_bytes, in_place=in_place)
            self._make = functools.partial(HotProtocol, self.hot, self.crowd)

    def connect(self, **wire: Any) -> Wire:
        made = Wire(**wire)
        made.protocol = self._make(self.config, self.state, {})
        made.protocol.connection_made(made)
        return made

    async def settle(self, wire: Wire) -> None:
        """Let everything run that can."""
        for _ in range(10_000):
            await asyncio.sleep(0)
            held = getattr(wire.protocol, "_held", None) is not None and not wire.protocol.flow.write_paused
            posted = self.hot is not None and bool(self.hot.postbox._waiting)
            if not self.state.tasks and not held and not posted:
                return
        raise AssertionError("it never came to rest")

    async def send(self, chunks: Iterable[bytes]) -> Wire:
        """A connection that sends these, one after the other has been dealt with, and is then left by the client."""
        wire = self.connect()
        for chunk in chunks:
            if not wire.closed:
                wire.protocol.data_received(chunk)
                await self.settle(wire)
        self.leave(wire)
        return wire

    def leave(self, wire: Wire) -> None:
        wire.protocol._unset_keepalive_if_required()
        wire.protocol.connection_lost(None)


def slow_down(house: House, monkeypatch: pytest.MonkeyPatch, turns: int = 3) -> None:
    """Let the node's store be waited for, as one beyond a network: a record takes so many turns of the loop."""
    look = house.node.store.record

    async def record(identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await look(identifier, as_of_ms)

    monkeypatch.setattr(house.node.store, "record", record)
