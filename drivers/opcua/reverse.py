"""Where OPC UA servers dial in (reverse connect: Part 6, 7.1.2.6): one socket per address, told apart by their ReverseHello.

A server that dials in before its device's driver asks is kept, the newest first: after a break the older connection is a dead
one. Whoever isn't expected, says nothing, or is one too many, is turned away and counted. Nothing of the caller is believed here:
that it is the server that is meant shows in the secure channel.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlparse, urlsplit
from weakref import WeakKeyDictionary

from asyncua import ua
from asyncua.client.ua_client import UaClientState

from drivers.errors import DeviceRefused, DeviceTimeout
from drivers.opcua.hello import NoReverseHello, ReverseHello, decode_reverse_hello, encode_error
from drivers.opcua.settings import OpcuaSettings

INTRODUCE_WITHIN_S = 5.0
"""How long a caller may take to say who it is."""
PATIENCE_S = 20.0
"""How long one attempt waits for a caller; what comes between two attempts is kept."""
MOST_STRANGERS = 32
"""Callers that haven't said yet who they are, of one address."""
MOST_WAITING = 2
"""Connections kept for one expected server."""
_REFUSAL = int(ua.StatusCodes.BadTcpEndpointUrlInvalid)
_PLAIN_PORT = 4840


@dataclass(frozen=True, slots=True)
class Expected:
    """One server that a device waits for."""

    url: str
    """Scheme, host and port in one spelling; see plain_url()."""
    server_uri: str | None
    """None: any."""

    def is_meant(self, hello: ReverseHello) -> bool:
        """Whether that is it."""
        return plain_url(hello.endpoint_url) == self.url and self.server_uri in (None, hello.server_uri)


@dataclass(slots=True, eq=False)
class _Place:
    """What is kept for one expected server."""

    waiting: deque[_Caller] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    asking: asyncio.Future[_Caller] | None = None


class Door:
    """One listening socket, open for as long as somebody expects a server there."""

    def __init__(self) -> None:
        self.port = 0
        self.refused = 0
        """Callers that were turned away."""
        self.last_refused = ""
        """Who the last of them said to be, or what was wrong with it."""
        self.strangers: set[_Caller] = set()
        self._places: dict[Expected, _Place] = {}
        self._server: asyncio.Server | None = None
        self._opening = asyncio.Lock()

    async def open(self, endpoint: tuple[str, int]) -> None:
        """Listen, if not done already.

        Raises:
            OSError: the address can't be listened at.
        """
        async with self._opening:
            if self._server is None:
                self._server = await asyncio.get_running_loop().create_server(lambda: _Caller(self), *endpoint)
                self.port = self._server.sockets[0].getsockname()[1]

    @property
    def is_closed(self) -> bool:
        """Whether nobody is expected."""
        return not self._places

    def expect(self, expected: Expected) -> None:
        """Keep its calls from now on.

        Raises:
            DeviceRefused: another device expects it here.
        """
        if expected in self._places:
            raise DeviceRefused(f"two devices wait for one server: {expected.url}")
        self._places[expected] = _Place()

    def leave(self, expected: Expected) -> bool:
        """Turn its calls away from now on; true when nobody is expected any more, and the socket is closed."""
        place = self._places.pop(expected, None)
        for caller in list(place.waiting) if place is not None else ():
            caller.hang_up()
        if self._places:
            return False
        for caller in list(self.strangers):
            caller.hang_up()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        return True

    async def admit(self, expected: Expected) -> _Caller:
        """The newest call of that server that is still there, or the next."""
        place = self._places[expected]
        if place.waiting:
            return place.waiting.pop()
        place.asking = asyncio.get_running_loop().create_future()
        try:
            return await place.asking
        finally:
            place.asking = None

    def introduce(self, caller: _Caller, hello: ReverseHello) -> None:
        """A caller has said who it is."""
        self.strangers.discard(caller)
        for expected, place in self._places.items():
            if expected.is_meant(hello):
                if place.asking is not None and not place.asking.done():
                    place.asking.set_result(caller)
                    return
                if len(place.waiting) == MOST_WAITING:
                    place.waiting.popleft().hang_up()
                place.waiting.append(caller)
                return
        self.turn_away(caller, f"{hello.server_uri} at {hello.endpoint_url}")

    def turn_away(self, caller: _Caller, who: str) -> None:
        """Refuse a caller, and count it."""
        self.refused += 1
        self.last_refused = who.encode("unicode_escape").decode()[:200]
        caller.refuse()

    def forget(self, caller: _Caller) -> None:
        """A caller has gone."""
        self.strangers.discard(caller)
        for place in self._places.values():
            if caller in place.waiting:
                place.waiting.remove(caller)


class _Caller(asyncio.Protocol):
    """Somebody who dialled in: nobody, until it has said who it is; then kept until a client takes the connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._said = b""
        self._is_known = False
        self._patience: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.hello = ReverseHello("", "")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._door.is_closed:  # meanwhile: it had been accepted before
            self.hang_up()
            return
        if len(self._door.strangers) >= MOST_STRANGERS:
            self._door.turn_away(self, "one of too many at a time")
            return
        self._door.strangers.add(self)
        self._patience = asyncio.get_running_loop().call_later(INTRODUCE_WITHIN_S, self._give_up, "somebody who said nothing")

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._said += data
        try:
            hello = decode_reverse_hello(self._said)
        except NoReverseHello as error:
            self._give_up(f"somebody who is no OPC UA server: {error}")
            return
        if hello is not None and not self._is_known:
            self._is_known, self.hello = True, hello
            self._stop_patience()
            self._door.introduce(self, hello)

    def connection_lost(self, _error: Exception | None) -> None:
        self._stop_patience()
        self._door.forget(self)

    def hang_up(self) -> None:
        """Nobody needs it any more."""
        if self._transport is not None:
            self._transport.abort()

    def refuse(self) -> None:
        """Say so, and hang up."""
        self._stop_patience()
        if self._transport is not None:
            self._transport.write(encode_error(_REFUSAL, "nobody expects you here"))
            self._transport.close()

    def hand_over(self, link: asyncio.Protocol) -> None:
        """Be the connection of `link` from now on.

        Raises:
            ConnectionError: it has gone meanwhile.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the server has hung up")
        transport.set_protocol(link)
        link.connection_made(transport)

    def _give_up(self, who: str) -> None:
        self._door.forget(self)
        self._door.turn_away(self, who)

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()


_doors: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], Door]] = WeakKeyDictionary()


class Incoming:
    """The way in for one server: opens the door with the first call that is asked for, until close()."""

    def __init__(self, endpoint: tuple[str, int], url: str, server_uri: str | None) -> None:
        """`endpoint`: where to listen; `url`: the endpoint that the server says to have."""
        self._endpoint = endpoint
        self._url = url
        self._expected = Expected(plain_url(url), server_uri)
        self._door: Door | None = None
        self._refused = 0
        self.endpoints: list[Any] | None = None
        """What the server said of its endpoints in its last call, until the next one comes: it need not be asked anew."""

    @property
    def refused(self) -> int:
        """Callers that were turned away at this address."""
        return self._refused + (0 if self._door is None else self._door.refused)

    async def open(self) -> Door:
        """Expect it from now on.

        Raises:
            OSError, DeviceRefused
        """
        if self._door is None:
            doors = _doors.setdefault(asyncio.get_running_loop(), {})
            door = doors.setdefault(self._endpoint, Door())
            door.expect(self._expected)
            self._door = door
        try:
            await self._door.open(self._endpoint)
        except OSError:
            self.close()
            raise
        return self._door

    async def connect(self, client: Any) -> None:
        """In place of asyncua's Client.connect_socket(): give it the connection of the next call, and the URL that it names.

        Raises:
            OSError, DeviceRefused
            DeviceTimeout: nobody called.
        """
        door = await self.open()
        channel = client.uaclient
        channel._set_state(UaClientState.CONNECTING)
        try:
            caller = await self._wait(door)
            self.endpoints = None
            client._server_url = urlparse(caller.hello.endpoint_url)
            caller.hand_over(channel._make_protocol())
        except BaseException:
            channel._set_state(UaClientState.DISCONNECTED)
            raise
        channel._set_state(UaClientState.SOCKET_OPEN)

    async def _wait(self, door: Door) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await door.admit(self._expected)
        except TimeoutError:
            who = f"{self._expected.server_uri} at {self._url}" if self._expected.server_uri else self._url
            others = f"; {door.refused} others did, the last was {door.last_refused}" if door.refused else ""
            host, port = self._endpoint[0], door.port
            raise DeviceTimeout(f"{who} hasn't called at {host}:{port} within {PATIENCE_S:g} s{others}") from None

    def close(self) -> None:
        """Expect it no more. Safe twice."""
        door, self._door = self._door, None
        if door is not None:
            self._refused += door.refused
            if door.leave(self._expected):
                doors = _doors.get(asyncio.get_running_loop(), {})
                if doors.get(self._endpoint) is door:
                    del doors[self._endpoint]


def way_in(settings: OpcuaSettings, url: str) -> Incoming | None:
    """Where that server of a device dials in; None when it is dialled."""
    return None if settings.listening is None else Incoming(settings.listening, url, settings.server_uri)


def plain_url(url: str) -> str:
    """One spelling of an endpoint's URL: host in small letters, port said, no slash at the end; what is none is left as it is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return url
    if host is None:
        return url
    return f"{parts.scheme}://{host}:{port or _PLAIN_PORT}{parts.path.rstrip('/')}"
