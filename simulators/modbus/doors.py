"""A device's listeners and connections, and whether they let anybody in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from simulators.listening import CannotListen, wait_accepted
from simulators.modbus.connection import Answer, Connection
from simulators.modbus.framing import Framing, FramingKind, make_framing
from simulators.modbus.proof import Proof
from simulators.modbus.transports import Listener

Admission = Callable[[asyncio.BaseTransport], bool]
"""Whether a connection may ask for anything; one that may not gets exception 1, whatever it asks."""


@dataclass(slots=True)
class Client:
    """What a device knows of one connection."""

    number: int
    framing: Framing
    is_admitted: bool
    proof: Proof = field(default_factory=Proof)


class Host(Protocol):
    """The device behind the doors."""

    def welcome(self, framing: Framing, *, is_admitted: bool) -> Answer:
        """A client has come: how its requests are answered."""


class Doors:
    """See the module's docstring."""

    def __init__(self, host: Host, failed: Callable[[CannotListen], None] | None = None) -> None:
        """`failed`: called when a listener can't be opened again."""
        self._host = host
        self._failed = failed
        self._listeners: dict[Listener, Callable[[], Connection]] = {}
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._shut = 0
        self._mute = 0

    @property
    def is_open(self) -> bool:
        """Whether there is any listener, open or shut."""
        return bool(self._listeners)

    async def add(self, listener: Listener, framing: FramingKind, admission: Admission | None) -> None:
        """One more way in.

        Raises:
            CannotListen
        """
        connect = partial(self._connect, framing, admission)
        await listener.open(connect)
        self._listeners[listener] = connect

    def shut(self) -> None:
        """No new connections until as many calls of reopen()."""
        self._shut += 1
        for listener in self._listeners:
            listener.close()

    def reopen(self) -> None:
        """See shut()."""
        self._shut -= 1
        if not self._shut:
            task = asyncio.get_running_loop().create_task(self._open_all())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def mute(self) -> None:
        """Connections made from now on are never answered, until as many calls of unmute()."""
        self._mute += 1

    def unmute(self) -> None:
        """See mute(). Those that were made meanwhile stay mute."""
        self._mute -= 1

    def end_connections(self) -> None:
        """Break every connection."""
        for connection in list(self._connections):
            connection.close()

    async def close(self) -> None:
        """Give up everything. Safe twice."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        listeners, self._listeners = self._listeners, {}
        for listener in listeners:
            listener.pause()
        await wait_accepted()
        self.end_connections()
        for listener in listeners:
            listener.release()
        await asyncio.sleep(0)  # For the transports to close their sockets.

    def _connect(self, framing: FramingKind, admission: Admission | None) -> Connection:
        return Connection(partial(self._join, admission), self._connections.discard, make_framing(framing))

    def _join(
        self, admission: Admission | None, connection: Connection, framing: Framing, transport: asyncio.BaseTransport
    ) -> Answer | None:
        self._connections.add(connection)
        if self._mute:
            return None
        return self._host.welcome(framing, is_admitted=admission is None or admission(transport))

    async def _open_all(self) -> None:
        for listener, connect in list(self._listeners.items()):
            try:
                await listener.open(connect)
            except CannotListen as error:
                if self._failed is None:
                    raise
                self._failed(error)
