"""Publish requests and their answers: notifications in order, acknowledged only when told to (OPC UA Part 4, 5.14.5).

A few requests are kept waiting at the server, each a task that ends with its answer. Nothing is asked for beyond them until what
has come is fetched by next(): a gateway that falls behind leaves the readings in the server's queues, where they are safe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from drivers.errors import DeviceTimeout, DeviceUnreachable, DriverError
from drivers.opcua.columns import DataValues
from drivers.opcua.failures import driver_error, status_error, translated
from drivers.opcua.notification import NotificationMessage, decode_publish, decode_republish
from drivers.opcua.sequence import SequenceTracker
from drivers.opcua.session import Session

WINDOW = 3
"""Publish requests kept waiting at the server."""
MOST_OUTSTANDING = 2 * WINDOW
"""With those that only carry an acknowledgement."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Names one notification; good for the publisher that gave it."""

    publisher: Publisher
    subscription: int
    number: int


@dataclass(frozen=True, slots=True)
class Message:
    """One notification message with data."""

    acquired_ns: int
    data: list[DataValues]
    """Of its DataChangeNotifications; places run through the message."""
    events: list[bytes]
    """Bodies of its EventNotificationLists."""
    receipt: Receipt


class Publisher:
    """The publish side of one session; stop() it before the session is closed."""

    def __init__(self, session: Session, device: str, timeout_s: float, clock_ns: Callable[[], int]) -> None:
        self._session = session
        self._device = device
        self._timeout_s = timeout_s
        self._clock_ns = clock_ns
        self._loop = asyncio.get_running_loop()
        self._trackers: dict[int, SequenceTracker] = {}
        self._silence_s = float("inf")
        self._requests: dict[asyncio.Task[bytes], list[Any]] = {}
        """Outstanding requests with the acknowledgements that they carry."""
        self._limit = MOST_OUTSTANDING
        self._acks: list[Any] = []
        self._arrived: deque[tuple[bytes, int]] = deque()
        self._ready: deque[Message] = deque()
        self._failure: DriverError | None = None
        self._woken = asyncio.Event()
        self._heard_s = self._loop.time()
        self.republished = 0
        """Messages that did not arrive and were got by Republish."""

    def follow(self, subscription: int, silence_s: float) -> None:
        """Expect messages of a subscription, at least one every `silence_s`."""
        self._trackers[subscription] = SequenceTracker()
        self._silence_s = min(self._silence_s, silence_s)

    async def next(self) -> Message:
        """Wait for the next message. May be cancelled without losing one.

        Raises:
            DeviceUnreachable: the link or a subscription is gone, a message is lost for good, or the server is silent.
        """
        while not self._ready:
            if self._arrived:
                await self._examine(*self._arrived[0])
                self._arrived.popleft()
            elif self._failure is not None:
                raise self._failure
            else:
                await self._wait()
        return self._ready.popleft()

    def acknowledge(self, receipt: Receipt) -> None:
        """Tell the server, at once if a request may be sent, else with the next one."""
        if receipt.publisher is not self:
            return
        self._acks.append(ua.SubscriptionAcknowledgement(receipt.subscription, receipt.number))
        if self._failure is None and len(self._requests) < self._limit:
            self._publish()

    async def stop(self) -> None:
        """Give up the outstanding requests; nothing more is sent."""
        self._failure = self._failure or DeviceUnreachable(f"{self._device}: closed")
        self._woken.set()
        requests = list(self._requests)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)

    async def _wait(self) -> None:
        """Until something arrives, fails, or is due."""
        await self._session.renew()
        if not self._requests:
            self._heard_s = self._loop.time()
        while len(self._requests) < min(WINDOW, self._limit):
            self._publish()
        self._woken.clear()
        deadline_s = self._heard_s + self._silence_s
        try:
            async with asyncio.timeout_at(min(deadline_s, self._session.renew_at_s)):
                await self._woken.wait()
        except TimeoutError:
            if self._loop.time() >= deadline_s:
                self._fail(DeviceTimeout(f"{self._device}: no sign of life for {self._silence_s:.1f} s"))

    def _publish(self) -> None:
        acks, self._acks = self._acks, []
        publish = ua.PublishRequest()
        publish.Parameters.SubscriptionAcknowledgements = acks
        request = self._loop.create_task(self._session.request(publish, 0))
        self._requests[request] = acks
        request.add_done_callback(self._answered)

    def _answered(self, request: asyncio.Task[bytes]) -> None:
        acks = self._requests.pop(request)
        if request.cancelled():
            return
        self._heard_s = self._loop.time()
        error = request.exception()
        if error is None:
            self._arrived.append((request.result(), self._clock_ns()))
        elif isinstance(error, ua.uaerrors.BadTooManyPublishRequests) and self._requests:
            # The server wants fewer at once; what this one was to acknowledge goes with another.
            self._limit = max(1, len(self._requests))
            self._acks = acks + self._acks
        elif isinstance(error, Exception):
            self._fail(driver_error(f"{self._device}: waiting for notifications", error))
        self._woken.set()

    def _fail(self, failure: DriverError) -> None:
        self._failure = self._failure or failure
        self._woken.set()

    async def _examine(self, body: bytes, acquired_ns: int) -> None:
        """Put an answer's messages into `_ready`: first any that went missing before it."""
        publication = decode_publish(body)
        if isinstance(publication, int):
            raise status_error(f"{self._device}: notification", publication)
        tracker = self._trackers.get(publication.subscription)
        if tracker is None:
            return
        message = publication.message
        missing = tracker.missing_before(message.number)
        if missing is None:
            return
        for number in missing:
            again = await self._republish(publication.subscription, number)
            self._keep(tracker, publication.subscription, again, acquired_ns)
        if message.parts:
            self._keep(tracker, publication.subscription, message, acquired_ns)

    async def _republish(self, subscription: int, number: int) -> NotificationMessage:
        doing = f"{self._device}: notification {number} did not arrive"
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = subscription
        request.Parameters.RetransmitSequenceNumber = number
        try:
            with translated(f"{doing} and could not be had again"):
                message = decode_republish(await self._session.request(request, self._timeout_s))
            if isinstance(message, int):
                raise status_error(f"{doing} and could not be had again", message)
        except DriverError as error:
            raise DeviceUnreachable(str(error)) from error
        if message.number != number or not message.parts:
            raise DeviceUnreachable(f"{doing} and the server has it no more")
        self.republished += 1
        return message

    def _keep(self, tracker: SequenceTracker, subscription: int, message: NotificationMessage, acquired_ns: int) -> None:
        if message.ended is not None:
            # What came with it is still delivered; the failure is raised after it.
            status = ua.StatusCode(message.ended).name
            self._fail(DeviceUnreachable(f"{self._device}: the server ended the subscription ({status})"))
        tracker.take(message.number)
        self._ready.append(Message(acquired_ns, message.data, message.events, Receipt(self, subscription, message.number)))
