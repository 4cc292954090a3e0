"""A subscription that writes what it queues, sends, keeps and loses to the ledger (OPC UA Part 4, 5.13 and 5.14)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemService

from simulators.ledger import Reading
from simulators.opcua.book import Book, milliseconds
from simulators.samples import Hold

_OVERFLOW = 0x0480
"""InfoType DataValue and the Overflow bit of a status code (Part 4, 7.39.1)."""


class RecordingSubscription(InternalSubscription):  # type: ignore[misc]
    """Writes each NotificationMessage to the ledger as it is sent, and each acknowledgement; and what its queues do."""

    tags: dict[int, str]
    """The tag behind each client handle."""
    keeps_oldest: set[int]
    """Client handles of items whose full queue loses the newest."""

    def record_to(self, book: Book, aspace: Any) -> None:
        """To be called before start()."""
        self._book = book
        self.connection = book.ledger.new_connection()
        self._rows: dict[int, int] = {}
        """Rows of messages, by sequence number."""
        self._copies: dict[int, int | None] = {}
        """Rows of samples, by the identity of what is queued or kept."""
        self.tags = {}
        self.keeps_oldest = set()
        self._has_ended = False
        self.monitored_item_srv: Any = _RecordingItems(self, aspace)

    @property
    def pub_result_callback(self) -> Any:
        """What the library calls with each message. It puts in another one when a session moves to a new connection."""
        return self._send

    @pub_result_callback.setter
    def pub_result_callback(self, transmit: Any) -> None:
        self._transmit = transmit

    def orphan(self) -> None:
        """Its session is gone: there are no requests to answer until it is transferred."""
        self.session_id = None
        self.pub_request_callback = _no_request

    async def _subscription_loop(self) -> None:
        """As the library's, by the loop's clock in place of the machine's: on a virtual loop that is another one."""
        loop = asyncio.get_running_loop()
        period_s = self.data.RevisedPublishingInterval / 1000
        due_s = loop.time()
        while not self._closing:
            await self.publish_results()
            due_s += period_s
            await asyncio.sleep(max(due_s - loop.time(), 0))

    async def stop(self) -> None:
        """As the library's; what it still had is lost."""
        self.give_up()
        await super().stop()

    def give_up(self) -> None:
        """It ends, and what it still has is lost. Safe twice."""
        if self._has_ended:
            return
        self._has_ended = True
        self._book.end(self.connection)
        for row in self._copies.values():
            self._book.hold(row, Hold.ENDED)
        self._copies.clear()

    async def _enqueue_event(self, mid: int, eventdata: Any, size: int, queue: dict[int, list[Any]]) -> None:
        """A value or an event for a queue. The library always loses the oldest, and doesn't say so."""
        if queue is not self._triggered_datachanges:
            await super()._enqueue_event(mid, eventdata, size, queue)
            return
        self._copies[id(eventdata)] = self._book.enter(self.connection, self.tags.get(eventdata.ClientHandle), eventdata.Value)
        waiting = queue.setdefault(mid, [])
        waiting.append(eventdata)
        if size and len(waiting) > size:
            lost = -2 if eventdata.ClientHandle in self.keeps_oldest and size > 1 else 0
            self._settle(waiting.pop(lost), Hold.OVERFLOWED)
            if size > 1:
                _mark(waiting[-1 if lost else 0])
        if len(waiting) == 1:
            await self._trigger_publish()

    def _pop_publish_result(self) -> Any:
        """As the library's, which drops the oldest of the messages kept when there are too many."""
        before = dict(self._not_acknowledged_results)
        result = super()._pop_publish_result()
        for number in before.keys() - self._not_acknowledged_results.keys():
            self._settle_message(before[number], Hold.FORGOTTEN)
        return result

    async def _send(self, result: Any, *request: Any) -> None:
        number = result.NotificationMessage.SequenceNumber
        readings = self._readings(result.NotificationMessage.NotificationData or ())
        if readings:
            block = f"subscription {self.data.SubscriptionId} message {number}"
            book = self._book
            self._rows[number] = book.ledger.serve(book.device, self.connection, block, book.clock(), readings)
        if self._book.is_lost(result):
            return
        # uvloop raises where asyncio drops silently: the client is gone. The message waits for Republish, like any cut off.
        with suppress(RuntimeError):
            await self._transmit(result, *request)

    def publish(self, acks: Iterable[int]) -> None:
        """Acknowledgements of sequence numbers (OPC UA Part 4, 5.14.5)."""
        acks = list(acks)
        for number in acks:
            kept = self._not_acknowledged_results.get(number)
            if kept is not None:
                self._settle_message(kept, Hold.ACKNOWLEDGED)
            row = self._rows.pop(number, None)
            if row is not None:
                self._book.ledger.acknowledge(row)
        super().publish(acks)

    def republish(self, nb: int) -> Any:
        """Send a message again. It stays until it is acknowledged; the library forgets it here."""
        result = self._not_acknowledged_results.get(nb)
        if result is None:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        return result.NotificationMessage

    def _settle_message(self, result: Any, hold: Hold) -> None:
        for notification in result.NotificationMessage.NotificationData or ():
            if isinstance(notification, ua.DataChangeNotification):
                for item in notification.MonitoredItems:
                    self._settle(item, hold)

    def _settle(self, item: Any, hold: Hold) -> None:
        self._book.hold(self._copies.pop(id(item), None), hold)

    def _readings(self, notifications: Sequence[Any]) -> list[Reading]:
        return [
            (self.tags[item.ClientHandle], item.Value.Value.Value, milliseconds(item.Value.SourceTimestamp))
            for notification in notifications
            if isinstance(notification, ua.DataChangeNotification)
            for item in notification.MonitoredItems
            if item.ClientHandle in self.tags and item.Value.StatusCode.is_good()
        ]


class _RecordingItems(MonitoredItemService):  # type: ignore[misc]
    """The monitored items of one subscription; tells of values that a client's filter keeps back."""

    async def datachange_callback(self, handle: int, value: Any, error: Any = None) -> None:
        """A variable has another value."""
        book = self.isub._book
        mid = self._monitored_datachange.get(handle)
        before, book.is_monitored = book.is_monitored, False
        await super().datachange_callback(handle, value, error)
        if not book.is_monitored and mid is not None:
            item = self._monitored_items[mid]
            if item.mode != ua.MonitoringMode.Disabled:
                book.enter(self.isub.connection, self.isub.tags.get(item.client_handle), value, Hold.UNCHANGED)
        book.is_monitored = book.is_monitored or before

    async def send_present(self) -> None:
        """Queue each item's present value (Part 4, 5.14.7.2, SendInitialValues)."""
        for mid in list(self._monitored_datachange.values()):
            item = self._monitored_items[mid]
            value = self.aspace.read_attribute_value(item.read_value_id.NodeId, item.read_value_id.AttributeId)
            event = ua.MonitoredItemNotification(item.client_handle, value)
            await self.isub.enqueue_datachange_event(mid, event, item.queue_size)


def _mark(item: Any) -> None:
    """Set the Overflow bit, on a copy: other subscriptions have the same value."""
    value = item.Value
    status = ua.StatusCode((value.StatusCode.value if value.StatusCode is not None else 0) | _OVERFLOW)
    item.Value = ua.DataValue(value.Value, status, value.SourceTimestamp, value.ServerTimestamp)


def _no_request(_subscription: int) -> None:
    return None
