"""A session with an OPC UA server on asyncua's client, without its background tasks.

asyncua's high-level connect() starts a supervisor, a watchdog and an acknowledging publish loop of its own. Here the gateway owns
reconnecting and acknowledging, so the connection is put together from asyncua's public steps, and nothing runs in the background.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asyncua import Client, ua

from drivers.errors import DeviceUnreachable, DriverError
from drivers.opcua.failures import translated
from drivers.opcua.nodes import node_id
from drivers.opcua.security import explain_refusal, secure_client, user_password
from drivers.opcua.settings import OpcuaSettings

SESSION_TIMEOUT_S = 60.0
"""How long a server keeps a session that asks for nothing, at least; a killed gateway's session ends by it."""
_CLOSE_TIMEOUT_S = 2.0
_NAMESPACE_ARRAY = 2255
"""Node id of Server_NamespaceArray (Part 6, A)."""
# What asyncua's client logs (up to CRITICAL, with stack traces) is raised here as an error of ours.
for _name in ("asyncua.client", "asyncua.uaprotocol", "asyncua.crypto"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class Session:
    """One activated session; made by open_session(), used until it fails or is closed."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._renew_at_s = 0.0
        self._has_channel = False
        self._has_session = False
        self.namespaces: tuple[str, ...] = ()

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
        await client.connect_socket()
        protocol = client.uaclient.protocol
        lost = protocol.on_connection_lost

        def on_lost(error: Exception | None) -> None:
            lost(error)
            if not self._closed.done():
                self._closed.set_result(None)

        protocol.on_connection_lost = on_lost
        await client.send_hello()
        await client.open_secure_channel()
        self._has_channel = True
        self._schedule_renewal()
        await client.create_session()
        self._has_session = True
        await client.activate_session(username=settings.user, password=user_password(settings, client))
        (array,) = await self.services.read_attributes([ua.NodeId(_NAMESPACE_ARRAY)], ua.AttributeIds.Value)
        self.namespaces = tuple(array.Value.Value or ())

    async def renew(self) -> None:
        """Renew the secure channel's token when its time has come (Part 4, 5.6.2: after 75 % of its lifetime)."""
        if self._loop.time() >= self._renew_at_s:
            with translated(f"{self._url}: renewing the secure channel"):
                await self._client.open_secure_channel(renew=True)
            self._client.uaclient.revolve_security_token()
            self._schedule_renewal()

    def resolve(self, node: str) -> Any | None:
        """The ua.NodeId of a node's text in this server's namespaces; None when it has no such namespace."""
        return node_id(node, self.namespaces)

    async def close(self) -> None:
        """Close the session with its subscriptions and the socket, within two seconds, whatever the server does. Safe twice."""
        protocol = self._client.uaclient.protocol
        if protocol is None or protocol.transport is None:
            return
        transport = protocol.transport
        try:
            with translated(f"{self._url}: closing"):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    if self._has_session:
                        await self._client.uaclient.close_session(delete_subscriptions=True)
                    if self._has_channel:
                        await self._client.uaclient.close_secure_channel()
        except DriverError:
            pass  # The server ends the session by itself after its timeout.
        finally:
            self._client.disconnect_socket()
            transport.abort()
            await asyncio.shield(self._closed)

    def _schedule_renewal(self) -> None:
        self._renew_at_s = self._loop.time() + 0.75 * self._client.secure_channel_timeout / 1000


async def open_session(settings: OpcuaSettings) -> Session:
    """Connect, open the secure channel, create and activate a session, read the server's namespaces.

    Raises:
        DeviceUnreachable: nobody answered, or not in time.
        DeviceRefused: certificate, user, password or security mode are not accepted, or a file of ours can't be used.
    """
    timeout_s = settings.timeout_ms / 1000
    client = Client(settings.url, timeout=timeout_s)
    client.name = client.description = "Mumian gateway"
    client.session_timeout = round(1000 * max(SESSION_TIMEOUT_S, 3 * settings.keepalive_s))
    # asyncua would start its own acknowledging publish loop with the first subscription.
    client.uaclient.session.ensure_publish_loop = lambda: None
    session = Session(client, settings.url)
    try:
        with translated(f"{settings.url}: connecting"):
            # Six requests, each bounded by itself; this bounds them together.
            async with asyncio.timeout(3 * timeout_s):
                await secure_client(client, settings)
                await session.establish(settings)
    except DeviceUnreachable as error:
        refusal = await explain_refusal(settings) if session.was_shut_out else None
        await session.close()
        if refusal is not None:
            raise refusal from error
        raise
    except BaseException:
        await session.close()
        raise
    return session
