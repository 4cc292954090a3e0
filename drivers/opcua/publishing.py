"""Publish requests and their answers: notifications in order, acknowledged only when told to (OPC UA Part 4, 5.14.5).

A publisher outlives its connection: pause() it when that is lost, resume() it on the next, and what was on its way is asked for
again (Part 4, 6.7). A message that the server has no more is a gap in the row, told as one.

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
from drivers.opcua.sequence import SequenceTracker, predecessor
from drivers.opcua.session import Session

_TRANSFERRED = 0x002D_0000
"""GoodSubscriptionTransferred: some servers tell it to who asked for the transfer. Who lost one notices by the silence."""
WINDOW = 3
"""Publish requests kept waiting at the server."""
MOST_OUTSTANDING = 2 * WINDOW
"""With those that only carry an acknowledgement."""
MOST_UNANSWERED = 1000
"""Requests that later ones were answered before: with more of them another connection is better."""


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
    is_gap: bool = False
    """Messages of this subscription, up to that of the receipt, are lost for good; there are no items."""
    is_sign: bool = False
    """The server has sent what it had of this subscription when it was expect_sign()'s turn; there are no items."""


class Publisher:
    """The publish side of one session; pause() it before the session is suspended or closed."""

    def __init__(self, session: Session, device: str, timeout_s: float, clock_ns: Callable[[], int]) -> None:
        self._session = session
        self._device = device
        self._timeout_s = timeout_s
        self._clock_ns = clock_ns
        self._loop = asyncio.get_running_loop()
        self._trackers: dict[int, SequenceTracker] = {}
        self._signs: dict[int, int] = {}
        """By how many answers a sign of a subscription is expected at the earliest."""
        self._answers = 0
        """How many have come."""
        self._silence_s = float("inf")
        self._requests: dict[asyncio.Task[bytes], list[Any]] = {}
        """Outstanding requests with the acknowledgements that they carry."""
        self._overtaken: set[asyncio.Task[bytes]] = set()
        """Outstanding, though later ones are answered."""
        self._limit = MOST_OUTSTANDING
        self._acks: list[Any] = []
        self._arrived: deque[tuple[bytes, int, int]] = deque()
        self._ready: deque[Message] = deque()
        self._unacknowledged: deque[Message] = deque()
        """Given by next() and not acknowledged: given once more after a resume()."""
        self._failure: DriverError | None = None
        self._woken = asyncio.Event()
        self._heard_s = self._loop.time()
        self._has_heard = False
        """Whether the server has answered since the last resume()."""
        self._was_silent = False
        self.republished = 0
        """Messages that did not arrive and were got by Republish."""

    @property
    def is_deaf(self) -> bool:
        """Whether the server has been silent for too long, and from the last resume() on."""
        return self._was_silent and not self._has_heard

    def follow(self, subscription: int, silence_s: float) -> None:
        """Expect messages of a subscription, at least one every `silence_s`."""
        self._trackers[subscription] = SequenceTracker()
        self._silence_s = min(self._silence_s, silence_s)

    def forget(self, subscription: int) -> None:
        """The server has that subscription no more. What has come of it is still given."""
        self._trackers.pop(subscription, None)
        self._signs.pop(subscription, None)
        self._acks = [ack for ack in self._acks if ack.SubscriptionId != subscription]

    def expect_sign(self, subscription: int) -> None:
        """Let next() say when the server has sent all that waits in the subscription's queues now."""
        self._signs[subscription] = self._answers + 1

    def follows(self, subscription: int) -> bool:
        """Whether messages of it are expected: until forget(), or until the server ended it."""
        return subscription in self._trackers

    def resume(self, session: Session) -> None:
        """Go on with another connection, or another session with the same subscriptions. What wasn't acknowledged comes first."""
        self._session = session
        self._failure = None
        self._limit = MOST_OUTSTANDING
        self._heard_s = self._loop.time()
        self._has_heard = self._was_silent = False
        self._ready.extendleft(reversed(self._unacknowledged))
        self._unacknowledged.clear()

    async def catch_up(self, subscription: int) -> None:
        """Ask for the messages that were on their way when the connection was lost, until there is none (Part 4, 6.7).

        Raises:
            DeviceUnreachable: no answer, or the server doesn't know the subscription.
        """
        tracker = self._trackers[subscription]
        while (message := await self._republish(subscription, tracker.next)) is not None:
            self._keep(tracker, subscription, message, self._clock_ns())

    async def next(self) -> Message:
        """Wait for the next message. May be cancelled without losing one.

        Raises:
            DeviceUnreachable: the link or a subscription is gone, or the server is silent.
        """
        while not self._ready:
            if self._arrived:
                await self._examine(*self._arrived[0])
                self._arrived.popleft()
            elif self._failure is not None:
                raise self._failure
            else:
                await self._wait()
        message = self._ready.popleft()
        if not (message.is_gap or message.is_sign):
            self._unacknowledged.append(message)
        return message

    def acknowledge(self, receipt: Receipt) -> None:
        """Tell the server, at once if a request may be sent, else with the next one."""
        if receipt.publisher is not self:
            return
        # In the order of next(), so it is the first one but for what a resume() has put back.
        for message in self._unacknowledged:
            if message.receipt == receipt:
                self._unacknowledged.remove(message)
                break
        if receipt.subscription not in self._trackers:
            return
        self._acks.append(ua.SubscriptionAcknowledgement(receipt.subscription, receipt.number))
        if self._failure is None and len(self._requests) < self._limit:
            self._publish()

    async def pause(self) -> None:
        """Give up the outstanding requests; nothing more is sent. What they were to acknowledge is kept for a resume()."""
        self._failure = self._failure or DeviceUnreachable(f"{self._device}: closed")
        self._woken.set()
        requests = [*self._requests, *self._overtaken]
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
                self._was_silent = True
                self._fail(DeviceTimeout(f"{self._device}: no sign of life for {self._silence_s:.1f} s"))

    def _publish(self) -> None:
        acks, self._acks = self._acks, []
        publish = ua.PublishRequest()
        publish.Parameters.SubscriptionAcknowledgements = acks
        request = self._loop.create_task(self._session.request(publish, 0))
        self._requests[request] = acks
        request.add_done_callback(self._answered)

    def _answered(self, request: asyncio.Task[bytes]) -> None:
        error = None if request.cancelled() else request.exception()
        if error is None and not request.cancelled():
            self._overtake(request)
        self._overtaken.discard(request)
        acks = self._requests.pop(request, [])
        if request.cancelled() or error is not None:
            # The server may have taken them or not; to be told twice does it no harm.
            self._acks = [ack for ack in acks if ack.SubscriptionId in self._trackers] + self._acks
        if request.cancelled():
            return
        self._heard_s = self._loop.time()
        if error is None:
            self._has_heard = True
            self._answers += 1
            self._arrived.append((request.result(), self._clock_ns(), self._answers))
        elif isinstance(error, ua.uaerrors.BadTooManyPublishRequests) and self._requests:
            # The server wants fewer at once; what this one was to acknowledge goes with another.
            self._limit = max(1, len(self._requests))
        elif isinstance(error, Exception):
            if isinstance(error, ua.uaerrors.BadNoSubscription):
                self._trackers.clear()
            self._fail(driver_error(f"{self._device}: waiting for notifications", error))
        self._woken.set()

    def _overtake(self, answered: asyncio.Task[bytes]) -> None:
        """A server answers in the order of the requests (Part 4, 5.14.5): the answers to those before this one have got lost.

        Others take their places, lest the server run out of requests. A late answer is still taken.
        """
        if answered not in self._requests:
            return
        for request in list(self._requests):
            if request is answered:
                break
            self._acks = [ack for ack in self._requests.pop(request) if ack.SubscriptionId in self._trackers] + self._acks
            self._overtaken.add(request)
        if len(self._overtaken) > MOST_UNANSWERED:
            self._fail(DeviceTimeout(f"{self._device}: {len(self._overtaken)} publish requests were never answered"))

    def _fail(self, failure: DriverError) -> None:
        self._failure = self._failure or failure
        self._woken.set()

    async def _examine(self, body: bytes, acquired_ns: int, answer: int) -> None:
        """Put an answer's messages into `_ready`: first any that went missing before it."""
        publication = decode_publish(body)
        if isinstance(publication, int):
            raise status_error(f"{self._device}: notification", publication)
        tracker = self._trackers.get(publication.subscription)
        if tracker is None:
            return
        message = publication.message
        if tracker.is_beyond_reach(message.number):
            self._tell_gap(tracker, publication.subscription, predecessor(message.number), acquired_ns)
        missing = tracker.missing_before(message.number)
        if missing is None:
            return
        for number in missing:
            again = await self._republish(publication.subscription, number)
            if again is None:
                self._tell_gap(tracker, publication.subscription, number, acquired_ns)
            else:
                self._keep(tracker, publication.subscription, again, acquired_ns)
        if message.parts:
            self._keep(tracker, publication.subscription, message, acquired_ns)
        if not publication.more and answer >= self._signs.get(publication.subscription, answer + 1):
            self._signs.pop(publication.subscription)
            receipt = Receipt(self, publication.subscription, message.number)
            self._ready.append(Message(acquired_ns, [], [], receipt, is_sign=True))

    async def _republish(self, subscription: int, number: int) -> NotificationMessage | None:
        """The message of that number once more; None when the server hasn't got it (any more, or yet)."""
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = subscription
        request.Parameters.RetransmitSequenceNumber = number
        with translated(f"{self._device}: asking for notification {number} again"):
            try:
                message = decode_republish(await self._session.request(request, self._timeout_s))
                if isinstance(message, int):
                    ua.StatusCode(message).check()
                    return None
            except ua.uaerrors.BadMessageNotAvailable:
                return None
        if message.number != number or not message.parts:
            return None
        self.republished += 1
        return message

    def _tell_gap(self, tracker: SequenceTracker, subscription: int, through: int, acquired_ns: int) -> None:
        tracker.take(through)
        last = self._ready[-1] if self._ready else None
        if last is None or not last.is_gap or last.receipt.subscription != subscription:
            self._ready.append(Message(acquired_ns, [], [], Receipt(self, subscription, through), is_gap=True))

    def _keep(self, tracker: SequenceTracker, subscription: int, message: NotificationMessage, acquired_ns: int) -> None:
        if message.ended is not None and message.ended != _TRANSFERRED:
            # What came with it is still delivered; the failure is raised after it.
            self.forget(subscription)
            status = ua.StatusCode(message.ended).name
            self._fail(DeviceUnreachable(f"{self._device}: the server ended the subscription ({status})"))
        tracker.take(message.number)
        self._ready.append(Message(acquired_ns, message.data, message.events, Receipt(self, subscription, message.number)))
