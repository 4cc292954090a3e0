"""Where devices dial in (DTUs on mobile networks): one socket per address, told apart by what each sends first.

A device that dials in while nobody waits for it is kept until its driver asks, newest connection first: after a loss of the
mobile network the old connection is a dead one. The socket stays open for a while after the last driver has gone, so that a
device which dials in between two attempts of the gateway isn't turned away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from drivers.errors import DeviceUnreachable

LINGER_S = 150.0
"""How long a socket stays open without a driver: longer than a gateway waits between two attempts."""
REGISTER_WITHIN_S = 30.0
"""How long a caller may take to say who it is."""
_MAX_REGISTRATION_BYTES = 512


class Doorway:
    """All addresses at which one event loop listens."""

    def __init__(self) -> None:
        self._doors: dict[tuple[str, int], Door] = {}

    def port_of(self, endpoint: tuple[str, int]) -> int:
        """The port really listened at (port 0 lets the system choose)."""
        return self._doors[endpoint].port

    async def admit(self, endpoint: tuple[str, int], registration: bytes, heartbeat: bytes, link: asyncio.Protocol) -> None:
        """Wait until the device with this registration dials in, and give its connection to `link`.

        Raises:
            OSError: the address can't be listened at.
        """
        door = self._doors.get(endpoint)
        if door is None:
            door = self._doors[endpoint] = Door()
        await door.open(endpoint)
        await door.admit(registration, heartbeat, link)

    async def close(self) -> None:
        """Close every socket now."""
        doors, self._doors = list(self._doors.values()), {}
        for door in doors:
            await door.close()


class Door:
    """One listening socket."""

    def __init__(self) -> None:
        self.port = 0
        self.registered: dict[bytes, _Caller] = {}
        """Callers that have said who they are and that nobody has fetched yet."""
        self.expected: dict[bytes, asyncio.Future[_Caller]] = {}
        self.known: set[bytes] = set()
        self.callers: set[_Caller] = set()
        self._server: asyncio.Server | None = None
        self._opening = asyncio.Lock()
        self._linger: asyncio.TimerHandle | None = None

    async def open(self, endpoint: tuple[str, int]) -> None:
        """Listen, if not done already."""
        async with self._opening:
            if self._server is None:
                loop = asyncio.get_running_loop()
                self._server = await loop.create_server(lambda: _Caller(self), *endpoint)
                self.port = self._server.sockets[0].getsockname()[1]

    async def admit(self, registration: bytes, heartbeat: bytes, link: asyncio.Protocol) -> None:
        """See Doorway.admit."""
        if registration in self.expected:
            raise DeviceUnreachable(f"two devices wait for the registration {registration!r}")
        self.known.add(registration)
        caller = self.registered.pop(registration, None)
        if caller is None:
            future = self.expected[registration] = asyncio.get_running_loop().create_future()
            try:
                caller = await future
            finally:
                self.expected.pop(registration, None)
                self._stay_open_for_a_while()
        caller.serve(link, heartbeat)
        self._stay_open_for_a_while()

    async def close(self) -> None:
        """Stop listening and turn away whoever has not been fetched."""
        if self._linger is not None:
            self._linger.cancel()
        for caller in list(self.callers):
            caller.turn_away()
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await asyncio.sleep(0)

    def register(self, caller: _Caller, data: bytes) -> bytes | None:
        """Find out who a caller is; what it sent after its registration, or None while that isn't known."""
        for registration in sorted(self.known, key=len, reverse=True):
            if data.startswith(registration):
                waiting = self.expected.get(registration)
                if waiting is not None and not waiting.done():
                    waiting.set_result(caller)
                else:
                    older = self.registered.pop(registration, None)
                    if older is not None:
                        older.turn_away()
                    self.registered[registration] = caller
                return data[len(registration) :]
        return None

    def forget(self, caller: _Caller) -> None:
        """A caller has gone."""
        self.callers.discard(caller)
        for registration, other in list(self.registered.items()):
            if other is caller:
                del self.registered[registration]

    def _stay_open_for_a_while(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._end_linger)

    def _end_linger(self) -> None:
        if not self.callers and not self.expected and self._server is not None:
            self._server.close()
            self._server = None


class _Caller(asyncio.Protocol):
    """A device that dialled in: nobody until it has registered, then the transport of a link."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._link: asyncio.Protocol | None = None
        self._heartbeat = b""
        self._early = b""
        self._registered = False
        self._patience: asyncio.TimerHandle | None = None
        self._hand_over: Callable[[bytes], None] = self._read_registration
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._door.callers.add(self)
        self._patience = asyncio.get_running_loop().call_later(REGISTER_WITHIN_S, self.turn_away)

    def data_received(self, data: bytes) -> None:
        self._hand_over(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.forget(self)
        if self._patience is not None:
            self._patience.cancel()
        if self._link is not None:
            self._link.connection_lost(exc)

    def turn_away(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def serve(self, link: asyncio.Protocol, heartbeat: bytes) -> None:
        """From now on be the connection of `link`."""
        assert self._transport is not None
        self._link, self._heartbeat = link, heartbeat
        self._hand_over = self._pass_on
        link.connection_made(self._transport)
        if self._transport.is_closing():
            link.connection_lost(None)
        elif self._early:
            self._pass_on(self._early)

    def _read_registration(self, data: bytes) -> None:
        self._early += data
        if self._registered:
            self._early = self._early[-_MAX_REGISTRATION_BYTES:]
            return
        rest = self._door.register(self, self._early)
        if rest is not None:
            self._registered, self._early = True, rest[-_MAX_REGISTRATION_BYTES:]
            if self._patience is not None:
                self._patience.cancel()
        elif len(self._early) > _MAX_REGISTRATION_BYTES:
            self.turn_away()

    def _pass_on(self, data: bytes) -> None:
        """To the link, but for heartbeats, which devices send as a packet of their own."""
        assert self._link is not None
        while self._heartbeat and data.startswith(self._heartbeat):
            data = data[len(self._heartbeat) :]
        if data:
            self._link.data_received(data)
