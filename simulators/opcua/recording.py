"""An asyncua server whose sessions and subscriptions tell what they sent, kept and lost, by the plant's clock.

Put in through the constructors that asyncua offers (a Server takes an InternalServer, which holds the subscription service), so
nothing of the library is patched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession, SessionState
from asyncua.server.subscription_service import SubscriptionService

from simulators.opcua.book import Book
from simulators.opcua.space import fill_small
from simulators.opcua.subscription import RecordingSubscription

# What a client is refused, asyncua logs as an error of the server; here that is everyday.
for _name in ("uaprocessor", "binary_server_asyncio"):
    logging.getLogger(f"asyncua.server.{_name}").setLevel(logging.CRITICAL)

FASTEST_MS = 10.0
"""The shortest publishing interval that the server agrees to."""

TagOf = Callable[[Any], str | None]
"""The tag behind a NodeId; None for a node that isn't one of the device's."""


class AnonymousOnly:
    """Everybody is a plain user: may browse, read, subscribe, and write what is writable; nobody is an administrator."""

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> User | None:
        """The user of a session; None refuses it."""
        del iserver, password, certificate
        return User(role=UserRole.User) if username is None else None


class RecordingSession(InternalSession):  # type: ignore[misc]
    """A session that ends by the loop's clock in place of the machine's."""

    _touched_s = 0.0

    def touch(self) -> None:
        """The client has asked for something."""
        self._touched_s = asyncio.get_running_loop().time()

    async def _timeout_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while self.state is not SessionState.Closed:
            left_s = self._touched_s + self.session_timeout - loop.time()
            if left_s <= 0:
                await self.close_session(delete_subs=True)
                return
            await asyncio.sleep(left_s)

    @property
    def subscriptions(self) -> list[int]:
        """Their numbers."""
        every = self.subscription_service.subscriptions.items()
        return [number for number, one in every if one.session_id == self.session_id]


class RecordingServer(InternalServer):  # type: ignore[misc]
    """asyncua's core with a small address space and recording subscriptions."""

    make_session: Any = RecordingSession
    """The class of clients' sessions."""

    def __init__(self, book: Book, tag_of: TagOf, users: Any = None, extra: Iterable[str] = ()) -> None:
        """
        Args:
            users: asyncua's user manager; left out, everybody without a name.
            extra: names in ua.ObjectIds of further nodes of the standard's.
        """
        super().__init__(user_manager=users or AnonymousOnly())
        self.book = book
        self.disabled_clock = True
        self.allow_remote_admin = False
        self.subscription_service = RecordingService(self, book, tag_of)
        self.isession.subscription_service = self.subscription_service
        self._extra = tuple(extra)
        self._sessions: set[Any] = set()

    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        """The small one; there is nothing to cache."""
        del shelf_file
        fill_small(self.node_mgt_service, self._extra)

    def create_session(self, name: str, user: Any = None, external: bool = False) -> Any:
        """A session of ours for a client."""
        user = user or User(role=UserRole.Anonymous)
        return self.make_session(self, self.aspace, self.subscription_service, name, user=user, external=external)

    def register_external_session(self, session: Any) -> None:
        super().register_external_session(session)
        self._sessions.add(session)

    def unregister_external_session(self, session: Any) -> None:
        super().unregister_external_session(session)
        self._sessions.discard(session)

    async def end_sessions(self) -> None:
        """Close every session and its subscriptions, also those of a killed client, which asyncua's stop() leaves running."""
        for session in list(self._sessions):
            await session.close_session(delete_subs=True)
        await self.subscription_service.delete_subscriptions(list(self.subscription_service.subscriptions))

    async def forget_sessions(self) -> None:
        """Close every session, and leave its subscriptions to be transferred."""
        for session in list(self._sessions):
            for number in session.subscriptions:
                self.subscription_service.subscriptions[number].orphan()
            await session.close_session(delete_subs=False)


class RecordingService(SubscriptionService):  # type: ignore[misc]
    """The subscription services of OPC UA Part 4, 5.13 and 5.14, over subscriptions that record."""

    def __init__(self, server: RecordingServer, book: Book, tag_of: TagOf) -> None:
        super().__init__(server.aspace, iserver=server)
        self._book = book
        self._tag_of = tag_of
        self.longest_lifetime_s = float("inf")

    async def create_subscription(self, params: Any, callback: Any, session_id: Any, request_callback: Any = None) -> Any:
        """As the library's, but the subscription records and its publishing interval is at least FASTEST_MS."""
        if len(self.subscriptions) >= self.iserver.max_subscriptions:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        self._sub_id_counter += 1
        interval_ms = max(params.RequestedPublishingInterval, FASTEST_MS)
        lifetime = self._clamp_lifetime_count(params.RequestedLifetimeCount)
        result = ua.CreateSubscriptionResult(
            SubscriptionId=self._sub_id_counter,
            RevisedPublishingInterval=interval_ms,
            RevisedLifetimeCount=int(min(lifetime, max(self.longest_lifetime_s * 1000 / interval_ms, 3))),
            RevisedMaxKeepAliveCount=self._clamp_keep_alive_count(params.RequestedMaxKeepAliveCount),
        )
        number = result.SubscriptionId
        subscription = RecordingSubscription(
            result,
            self.aspace,
            callback,
            session_id,
            request_callback=request_callback,
            delete_callback=lambda: self._end(number),
            no_acks_limit=self.iserver.max_unacked_messages_per_subscription,
            max_queue_size=self.iserver.max_monitored_item_queue_size,
            publishing_enabled=params.PublishingEnabled,
        )
        subscription.record_to(self._book, self.aspace)
        self.subscriptions[number] = subscription
        await subscription.start()
        return result

    def _end(self, number: int) -> None:
        """Nobody has asked for its messages within its lifetime."""
        subscription = self.subscriptions.pop(number, None)
        if subscription is not None:
            subscription.give_up()

    async def create_monitored_items(self, params: Any) -> Any:
        """As the library's; the subscription learns which tag is behind each client handle, and what a full queue loses."""
        subscription = self.subscriptions.get(params.SubscriptionId)
        if subscription is not None:
            for item in params.ItemsToCreate:
                tag = self._tag_of(item.ItemToMonitor.NodeId)
                if tag is not None and item.ItemToMonitor.AttributeId == ua.AttributeIds.Value:
                    subscription.tags[item.RequestedParameters.ClientHandle] = tag
                if not item.RequestedParameters.DiscardOldest:
                    subscription.keeps_oldest.add(item.RequestedParameters.ClientHandle)
        return await super().create_monitored_items(params)

    def republish(self, params: Any) -> Any:
        """OPC UA Part 4, 5.14.6, where the library answers an unknown subscription with an empty message."""
        subscription = self.subscriptions.get(params.SubscriptionId)
        if subscription is None:
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)
        return subscription.republish(params.RetransmitSequenceNumber)

    async def transfer_subscriptions(self, params: Any, session_id: Any, callback: Any) -> Any:
        """OPC UA Part 4, 5.14.7.

        The library lets a transferred subscription ask the former connection for requests, so that nothing of it comes again.
        """
        results = await super().transfer_subscriptions(params, session_id, callback)
        for number, result in zip(params.SubscriptionIds, results, strict=True):
            if result.StatusCode.is_good():
                subscription = self.subscriptions[int(number)]
                subscription.pub_request_callback = callback.__self__.get_publish_request
                if params.SendInitialValues:
                    await subscription.monitored_item_srv.send_present()
        return results
