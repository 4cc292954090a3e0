"""An asyncua server whose subscriptions tell what they sent and what was acknowledged.

Put in through the constructors that asyncua offers (a Server takes an InternalServer, which holds the subscription service), so
nothing of the library is patched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.subscription_service import SubscriptionService

from simulators.ledger import Ledger, Reading
from simulators.listening import Clock
from simulators.opcua_space import fill_small

FASTEST_MS = 10.0
"""The shortest publishing interval that the server agrees to."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

TagOf = Callable[[Any], str | None]
"""The tag behind a NodeId; None for a node that isn't one of the device's."""


class AnonymousOnly:
    """Everybody is a plain user: may browse, read, subscribe, and write what is writable; nobody is an administrator."""

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> User | None:
        """The user of a session; None refuses it."""
        del iserver, password, certificate
        return User(role=UserRole.User) if username is None else None


class RecordingServer(InternalServer):  # type: ignore[misc]
    """asyncua's core with a small address space and recording subscriptions."""

    def __init__(self, device: str, tag_of: TagOf, ledger: Ledger, clock: Clock) -> None:
        super().__init__(user_manager=AnonymousOnly())
        self.disabled_clock = True
        self.allow_remote_admin = False
        self.subscription_service = RecordingService(self, device, tag_of, ledger, clock)
        self.isession.subscription_service = self.subscription_service
        self._sessions: set[Any] = set()

    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        """The small one; there is nothing to cache."""
        del shelf_file
        fill_small(self.node_mgt_service)

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


class RecordingService(SubscriptionService):  # type: ignore[misc]
    """The subscription services of OPC UA Part 4, 5.13 and 5.14, over subscriptions that record."""

    def __init__(self, server: RecordingServer, device: str, tag_of: TagOf, ledger: Ledger, clock: Clock) -> None:
        super().__init__(server.aspace, iserver=server)
        self._device = device
        self._tag_of = tag_of
        self._ledger = ledger
        self._clock = clock

    async def create_subscription(self, params: Any, callback: Any, session_id: Any, request_callback: Any = None) -> Any:
        """As the library's, but the subscription records and its publishing interval is at least FASTEST_MS."""
        if len(self.subscriptions) >= self.iserver.max_subscriptions:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        self._sub_id_counter += 1
        result = ua.CreateSubscriptionResult(
            SubscriptionId=self._sub_id_counter,
            RevisedPublishingInterval=max(params.RequestedPublishingInterval, FASTEST_MS),
            RevisedLifetimeCount=self._clamp_lifetime_count(params.RequestedLifetimeCount),
            RevisedMaxKeepAliveCount=self._clamp_keep_alive_count(params.RequestedMaxKeepAliveCount),
        )
        subscription = RecordingSubscription(
            result,
            self.aspace,
            callback,
            session_id,
            request_callback=request_callback,
            delete_callback=lambda: self.subscriptions.pop(result.SubscriptionId, None),
            no_acks_limit=self.iserver.max_unacked_messages_per_subscription,
            max_queue_size=self.iserver.max_monitored_item_queue_size,
            publishing_enabled=params.PublishingEnabled,
        )
        subscription.record_to(self._device, self._ledger, self._clock)
        self.subscriptions[result.SubscriptionId] = subscription
        await subscription.start()
        return result

    async def create_monitored_items(self, params: Any) -> Any:
        """As the library's; the subscription learns which tag is behind each client handle."""
        subscription = self.subscriptions.get(params.SubscriptionId)
        if subscription is not None:
            for item in params.ItemsToCreate:
                tag = self._tag_of(item.ItemToMonitor.NodeId)
                if tag is not None and item.ItemToMonitor.AttributeId == ua.AttributeIds.Value:
                    subscription.tags[item.RequestedParameters.ClientHandle] = tag
        return await super().create_monitored_items(params)

    def republish(self, params: Any) -> Any:
        """OPC UA Part 4, 5.14.6, where the library answers an unknown subscription with an empty message."""
        subscription = self.subscriptions.get(params.SubscriptionId)
        if subscription is None:
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)
        return subscription.republish(params.RetransmitSequenceNumber)


class RecordingSubscription(InternalSubscription):  # type: ignore[misc]
    """A subscription that writes each NotificationMessage to the ledger as it is sent, and each acknowledgement."""

    tags: dict[int, str]
    """The tag behind each client handle."""

    def record_to(self, device: str, ledger: Ledger, clock: Clock) -> None:
        """To be called before start()."""
        self._device = device
        self._ledger = ledger
        self._clock = clock
        self._connection = ledger.new_connection()
        self._rows: dict[int, int] = {}
        self.tags = {}

    @property
    def pub_result_callback(self) -> Any:
        """What the library calls with each message. It puts in another one when a session moves to a new connection."""
        return self._send

    @pub_result_callback.setter
    def pub_result_callback(self, transmit: Any) -> None:
        self._transmit = transmit

    async def _subscription_loop(self) -> None:
        """As the library's, by the loop's clock in place of the machine's: on a virtual loop that is another one."""
        loop = asyncio.get_running_loop()
        period_s = self.data.RevisedPublishingInterval / 1000
        due_s = loop.time()
        while not self._closing:
            await self.publish_results()
            due_s += period_s
            await asyncio.sleep(max(due_s - loop.time(), 0))

    async def _send(self, result: Any, *request: Any) -> None:
        number = result.NotificationMessage.SequenceNumber
        readings = self._readings(result.NotificationMessage.NotificationData or ())
        if readings:
            block = f"subscription {self.data.SubscriptionId} message {number}"
            self._rows[number] = self._ledger.serve(self._device, self._connection, block, self._clock(), readings)
        # uvloop raises where asyncio drops silently: the client is gone. The message waits for Republish, like any cut off.
        with suppress(RuntimeError):
            await self._transmit(result, *request)

    def publish(self, acks: Iterable[int]) -> None:
        """Acknowledgements of sequence numbers (OPC UA Part 4, 5.14.5)."""
        acks = list(acks)
        super().publish(acks)
        for number in acks:
            row = self._rows.pop(number, None)
            if row is not None:
                self._ledger.acknowledge(row)

    def republish(self, nb: int) -> Any:
        """Send a message again. It stays until it is acknowledged; the library forgets it here."""
        result = self._not_acknowledged_results.get(nb)
        if result is None:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        return result.NotificationMessage

    def _readings(self, notifications: Sequence[Any]) -> list[Reading]:
        return [
            (self.tags[item.ClientHandle], item.Value.Value.Value, _milliseconds(item.Value.SourceTimestamp))
            for notification in notifications
            if isinstance(notification, ua.DataChangeNotification)
            for item in notification.MonitoredItems
            if item.ClientHandle in self.tags and item.Value.StatusCode.is_good()
        ]


def _milliseconds(at: datetime) -> int:
    """UTC ms since the epoch; the plant stamps whole ms only."""
    return (at - _EPOCH) // _MILLISECOND
