"""A session with an OPC UA server on asyncua's client, without its background tasks.

asyncua's high-level connect() starts a supervisor, a watchdog and an acknowledging publish loop of its own. Here the gateway owns
reconnecting and acknowledging, so the connection is put together from asyncua's public steps, and nothing runs in the background.

A session outlives its socket: suspend() drops the socket alone, and resume() takes the session up on another (Part 4, 6.7). So
the server never holds two of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from asyncua import ua

from drivers.errors import DeviceMisbehaved, DeviceRefused, DriverError
from drivers.opcua.failures import TOO_MUCH, translated, within
from drivers.opcua.nodes import node_id
from drivers.opcua.reverse import PATIENCE_S, Incoming
from drivers.opcua.security import blaming, distrust_hint, explain_refusal, make_client, secure_client, user_password
from drivers.opcua.settings import OpcuaSettings

SESSION_TIMEOUT_S = 60.0
"""How long a server keeps a session that asks for nothing, at least; a killed gateway's session ends by it."""
_CLOSE_TIMEOUT_S = 2.0
_NAMESPACE_ARRAY = 2255
_START_TIME = 2257
"""Node ids of Server_NamespaceArray and Server_ServerStatus_StartTime (Part 6, A)."""
_MOST_RESUMES = 3
"""Attempts to take a session up that end after the socket was there: then another session is made instead."""
# What asyncua's client logs (up to CRITICAL, with stack traces) is raised here as an error of ours.
for _name in ("asyncua.client", "asyncua.uaprotocol", "asyncua.crypto"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class Session:
    """One activated session; made by open_session(), used until it is closed; between suspend() and resume() it has no socket."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self.url = url
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._renew_at_s = 0.0
        self._has_channel = False
        self._has_session = False
        self._resumes = 0
        self.namespaces: tuple[str, ...] = ()
        self.expires_ns: dict[str, int] = {}
        """By whose certificate it is ("own", "server"): when it ends."""
        self.server_started: Any = None
        """When the server says that it was started; None where it doesn't say."""

    @property
    def services(self) -> Any:
        """asyncua's session: the OPC UA services as coroutines, raising asyncua's errors."""
        return self._client.uaclient.session

    async def request(self, request: Any, timeout_s: float | None = None) -> bytes:
        """Send a service request of asyncua's; the body of its answer as it came. A ServiceFault is raised as asyncua's error.

        `timeout_s`: left out, the session's own; 0 waits for as long as it takes.
        """
        protocol = self._client.uaclient.protocol
        if protocol is None:
            raise ConnectionError("the connection is not open")
        return bytes(await protocol.send_request(request, timeout_s))

    @property
    def was_shut_out(self) -> bool:
        """Whether the server accepted a connection and then no secure channel."""
        return self._client.uaclient.protocol is not None and not self._has_channel

    @property
    def renew_at_s(self) -> float:
        """Loop time at which renew() is due."""
        return self._renew_at_s

    async def establish(self, settings: OpcuaSettings) -> None:
        """Socket, secure channel, session, namespaces; raises asyncua's and the system's errors as they come."""
        client = self._client
        await self._open_channel()
        await client.create_session()
        self._has_session = True
        await self._activate(settings)
        nodes = [ua.NodeId(_NAMESPACE_ARRAY), ua.NodeId(_START_TIME)]
        array, started = await self.read_values(nodes)
        self.namespaces = tuple(array.Value.Value or ())
        self.server_started = None if started.Value is None else started.Value.Value

    async def read_values(self, nodes: Sequence[Any]) -> list[Any]:
        """ua.DataValue of a few variables of the server's own; one by one where together they are too many for it.

        Raises:
            What asyncua and the system raise.
        """
        try:
            found = await self.services.read_attributes(list(nodes), ua.AttributeIds.Value)
        except TOO_MUCH:
            if len(nodes) == 1:
                raise
            return [(await self.read_values([node]))[0] for node in nodes]
        if len(found) != len(nodes):
            raise DeviceMisbehaved(f"{self.url}: {len(found)} values came for {len(nodes)} nodes")
        return list(found)

    async def resume(self, settings: OpcuaSettings) -> bool:
        """After suspend(): another socket and channel for the same session.

        Returns:
            False when the server won't have the session any more; it is closed then, lest there be two.

        Raises:
            DeviceUnreachable: there was no answer; the session may still be there.
            DeviceRefused: as open_session().
        """
        if not self._has_session:
            return False
        try:
            with blaming(self._client), translated(f"{self.url}: connecting again"):
                async with within(3 * settings.timeout_ms / 1000 + (0.0 if settings.listen is None else PATIENCE_S)):
                    await self._open_channel()
                    self.services.rebind_authentication_token()
                    await self._activate(settings)
        except DriverError as error:
            if isinstance(error.__cause__, ua.UaStatusCodeError) and self._has_channel:
                await self.close()
                return False
            self._resumes += self._transport() is not None
            await self.suspend()
            if self._resumes < _MOST_RESUMES:
                raise
            self._has_session = False
            return False
        except BaseException:
            await self.suspend()
            raise
        self._resumes = 0
        return True

    async def _open_channel(self) -> None:
        client = self._client
        self._closed = self._loop.create_future()
        self._has_channel = False
        await client.connect_socket()
        protocol, closed = client.uaclient.protocol, self._closed
        lost = protocol.on_connection_lost

        def on_lost(error: Exception | None) -> None:
            lost(error)
            if not closed.done():
                closed.set_result(None)

        protocol.on_connection_lost = on_lost
        await client.send_hello()
        await client.open_secure_channel()
        self._has_channel = True
        self._schedule_renewal()

    async def _activate(self, settings: OpcuaSettings) -> None:
        client = self._client
        await client.activate_session(settings.user, user_password(settings, client), client.user_certificate)

    def is_same_server(self, other: Session) -> bool:
        """Whether the other session is with the same run of the same server, as far as that is known."""
        return self.url == other.url and self.server_started is not None and self.server_started == other.server_started

    async def renew(self) -> None:
        """Renew the secure channel's token when its time has come (Part 4, 5.6.2: after 75 % of its lifetime)."""
        if self._loop.time() >= self._renew_at_s:
            with translated(f"{self.url}: renewing the secure channel"):
                await self._client.open_secure_channel(renew=True)
            self._client.uaclient.revolve_security_token()
            self._schedule_renewal()

    def resolve(self, node: str) -> Any | None:
        """The ua.NodeId of a node's text in this server's namespaces; None when it has no such namespace."""
        return node_id(node, self.namespaces)

    async def suspend(self) -> None:
        """Drop the socket and nothing else: the server keeps the session until its timeout. Safe twice."""
        await self._drop(self._transport())

    async def close(self) -> None:
        """Close the session with its subscriptions and the socket, within two seconds, whatever the server does. Safe twice."""
        transport = self._transport()
        if transport is None:
            return
        try:
            with translated(f"{self.url}: closing"):
                async with within(_CLOSE_TIMEOUT_S):
                    if self._has_session:
                        await self._client.uaclient.close_session(delete_subscriptions=True)
                    if self._has_channel:
                        await self._client.uaclient.close_secure_channel()
        except DriverError:
            pass  # The server ends the session by itself after its timeout.
        finally:
            self._has_session = False
            await self._drop(transport)

    def _transport(self) -> Any | None:
        protocol = self._client.uaclient.protocol
        return None if protocol is None else protocol.transport

    async def _drop(self, transport: Any | None) -> None:
        self._client.disconnect_socket()
        if transport is not None:
            transport.abort()
            await asyncio.shield(self._closed)

    def _schedule_renewal(self) -> None:
        self._renew_at_s = self._loop.time() + 0.75 * self._client.secure_channel_timeout / 1000


async def open_session(settings: OpcuaSettings, url: str, now_ns: int, incoming: Incoming | None = None) -> Session:
    """Connect, open the secure channel, create and activate a session, read the server's namespaces.

    Args:
        incoming: the way in for a server that dials in.

    Raises:
        DeviceUnreachable: nobody answered, or not in time.
        DeviceRefused: certificate, user, password or security mode are not accepted, or a file of ours can't be used.
    """
    timeout_s = settings.timeout_ms / 1000
    client = make_client(url, timeout_s, incoming)
    client.name = client.description = "Mumian gateway"
    client.session_timeout = round(1000 * max(SESSION_TIMEOUT_S, 3 * settings.keepalive_s))
    # asyncua would start its own acknowledging publish loop with the first subscription.
    client.uaclient.session.ensure_publish_loop = lambda: None
    session = Session(client, url)
    try:
        with blaming(client), translated(f"{url}: connecting"):
            # Some nine requests, each bounded by itself; this bounds them together.
            async with within(5 * timeout_s + (0.0 if incoming is None else PATIENCE_S)):
                session.expires_ns = (await secure_client(client, settings, url, now_ns, incoming)).expires_ns
                await session.establish(settings)
    except DriverError as error:
        refusal = await explain_refusal(settings, url) if session.was_shut_out and incoming is None else None
        if incoming is not None and isinstance(error, DeviceRefused):
            incoming.endpoints = None
        await session.close()
        if refusal is not None:
            raise refusal from error
        if session.was_shut_out or _is_distrust(error):
            raise type(error)(f"{error}{distrust_hint(settings)}") from error
        raise
    except BaseException:
        await session.close()
        raise
    return session


def _is_distrust(error: DriverError) -> bool:
    name = type(error.__cause__).__name__
    return name.startswith("BadCertificate") or name == "BadSecurityChecksFailed"
