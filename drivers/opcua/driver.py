"""The OPC UA driver: subscribes, reads and writes variables of one server."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from asyncua import ua

from drivers.base import DevicePlan, Notification, ReadPlan
from drivers.errors import DeviceRefused, DeviceUnreachable, DriverError
from drivers.model import Frame, bad_frame
from drivers.opcua.continuity import Continuity
from drivers.opcua.failures import status_error, translated
from drivers.opcua.following import Following, Hands
from drivers.opcua.mending import Mender
from drivers.opcua.plan import Item, OpcuaReadPlan
from drivers.opcua.publishing import Message, Publisher, Receipt
from drivers.opcua.session import SESSION_TIMEOUT_S, Session, open_session
from drivers.opcua.settings import OpcuaSettings, ValueType
from drivers.opcua.values import Reading, frames_of, has_overflowed
from drivers.settings import Access
from drivers.status import Status

ITEMS_PER_REQUEST = 500
NOTIFICATIONS_PER_MESSAGE = 1000
_MOST_RESUMES = 3
"""Attempts to take up a session at an address before another address is tried."""
_WRITTEN_AS = {
    ValueType.FLOAT: ua.VariantType.Double,
    ValueType.INT: ua.VariantType.Int64,
    ValueType.UINT64: ua.VariantType.UInt64,
    ValueType.BOOL: ua.VariantType.Boolean,
    ValueType.TEXT: ua.VariantType.String,
}
"""Variant type of a write to a variable that has no value yet."""


class OpcuaDriver:
    """One session with one OPC UA server (Driver, Subscriber, Writer, Resumable, Certified)."""

    def __init__(self, settings: OpcuaSettings, plan: DevicePlan, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._settings = settings
        self._table = plan.tags
        self._clock_ns = clock_ns
        self._session: Session | None = None
        self._is_connected = False
        self._following: Following | None = None
        self._is_following = False
        """Whether the subscriptions are on the present connection."""
        self._may_transfer = False
        self._addresses = settings.urls
        self._address = 0
        """Which of them is in use; the next one is tried when it fails."""
        self._failures = 0
        self._continuity = Continuity(plan.tags)
        self.mender = Mender(plan.tags, self._frames, self._continuity, clock_ns)
        self._item_ids: dict[int, int] = {}
        self._variant_types: dict[int, Any] = {}
        self.overflows = 0
        """Readings that came with the word that changes before them were lost in the server's queue."""

    async def connect(self) -> None:
        """See Driver.connect. After suspend() the server's session is taken up again."""
        await self.suspend()
        former = self._session
        try:
            if former is None or not await former.resume(self._settings):
                self._session = None
                self._session = session = await open_session(self._settings, self._addresses[self._address], self._clock_ns())
                self._may_transfer = former is not None and session.is_same_server(former)
        except DriverError:
            self._failures += 1
            if len(self._addresses) > 1 and self._failures >= (1 if self._session is None else _MOST_RESUMES):
                # Another server of the set has neither our session nor our subscriptions.
                self._address = (self._address + 1) % len(self._addresses)
                self._session, self._failures = None, 0
            raise
        self._is_connected, self._failures = True, 0

    @property
    def certificates_end_ns(self) -> Mapping[str, int]:
        """See Certified."""
        return {} if self._session is None else self._session.expires_ns

    async def suspend(self) -> None:
        """See Resumable.suspend."""
        self._is_connected = self._is_following = False
        if self._following is not None:
            await self._following.pause()
            if self._following.publisher.is_deaf:
                # A session that was taken up and stays dumb isn't taken up a second time.
                await self._end()
        if self._session is not None:
            await self._session.suspend()

    async def close(self) -> None:
        """See Driver.close."""
        await self._end()
        self._continuity.clear()
        self.mender.clear()

    async def _end(self) -> None:
        """Give session and subscriptions up, but not what is known of the readings."""
        self._is_connected = self._is_following = False
        following, self._following = self._following, None
        session, self._session = self._session, None
        self._variant_types.clear()
        self._item_ids.clear()
        if following is not None:
            await following.pause()
        if session is not None:
            await session.close()

    async def read(self, plan: ReadPlan) -> list[Frame]:
        """See Driver.read; a plain Read of the plan's variables, apart from any subscription."""
        plan, session = _own(plan), self._open_session()
        await session.renew()
        readings: list[Reading] = []
        unknown: list[int] = []
        for items in _chunks(plan.items):
            nodes = [(item.tag, session.resolve(item.node)) for item in items]
            unknown += [tag for tag, node in nodes if node is None]
            known = [(tag, node) for tag, node in nodes if node is not None]
            with translated(f"{self._settings.name}: reading"):
                values = await session.services.read_attributes([node for _, node in known], ua.AttributeIds.Value)
            readings += [(tag, value) for (tag, _), value in zip(known, values, strict=True)]
        acquired_ns = self._clock_ns()
        frames = self._frames(acquired_ns, readings)
        return frames + self._bad_frames(acquired_ns, [(tag, Status.BAD_NODE_ID_UNKNOWN) for tag in unknown])

    async def subscribe(self, plans: Sequence[ReadPlan]) -> list[Frame]:
        """See Subscriber.subscribe; one subscription per plan, taken up where there is one already."""
        session = self._open_session()
        if self._is_following:
            raise DeviceUnreachable(f"{self._settings.name}: subscribed already; connect() comes first")
        if self._following is None:
            timeout_s = self._settings.timeout_ms / 1000
            publisher = Publisher(session, self._settings.name, timeout_s, self._clock_ns)
            self._following = Following(self._hands(), publisher, self.mender, self._continuity, timeout_s)
        self._is_following = True
        return await self._following.begin(session, [_own(plan) for plan in plans], self._may_transfer)

    async def receive(self) -> Notification:
        """See Subscriber.receive. May be cancelled without losing readings."""
        if self._following is None or not self._is_following:
            raise DeviceUnreachable(f"{self._settings.name}: not subscribed")
        return await self._following.receive()

    async def acknowledge(self, receipt: object) -> None:
        """See Subscriber.acknowledge."""
        if self._following is not None and isinstance(receipt, Receipt):
            self._following.acknowledge(receipt)

    async def write(self, tag: int, value: object) -> None:
        """See Writer.write."""
        session = self._open_session()
        settings = self._settings.tags[tag]
        doing = f"{self._settings.name}: writing {settings.name}"
        if settings.access is not Access.READ_WRITE:
            raise DeviceRefused(f"{doing}: not writable (give it access: read_write)")
        node = session.resolve(settings.node)
        if node is None:
            raise status_error(doing, Status.BAD_NODE_ID_UNKNOWN)
        with translated(doing):
            variant = _variant(doing, value, await self._variant_type(session, tag, node))
            # Neither status nor timestamps: many servers take only the value (Part 4, 5.11.4).
            (status,) = await session.services.write_attributes([node], [ua.DataValue(variant, StatusCode=None)])
        if status.is_bad():
            raise status_error(doing, status.value)

    def _open_session(self) -> Session:
        if self._session is None or not self._is_connected:
            raise DeviceUnreachable(f"{self._settings.name}: not connected")
        return self._session

    def _hands(self) -> Hands:
        return Hands(
            self._settings.name,
            self._parameters,
            self._monitor_all,
            self._item_ids,
            self._message_frames,
            lambda refused: self._bad_frames(self._clock_ns(), refused),
            self._clock_ns,
        )

    def _message_frames(self, message: Message) -> list[Frame]:
        readings = [(item.ClientHandle, item.Value) for item in message.items if item.ClientHandle < len(self._table.names)]
        return self._frames(message.acquired_ns, readings)

    async def _monitor_all(
        self, session: Session, subscription: int, items: Sequence[Item], queue_size: int
    ) -> list[tuple[int, int]]:
        refused: list[tuple[int, int]] = []
        for some in _chunks(items):
            refused += await self._monitor(session, subscription, some, queue_size)
        return refused

    def _parameters(self, plan: OpcuaReadPlan) -> Any:
        interval_ms = plan.publishing_interval_ms
        keepalives = max(1, math.ceil(1000 * self._settings.keepalive_s / interval_ms))
        return ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=interval_ms,
            # It outlives three keep-alive times without a publish request (Part 4, 5.14.2), and as long as its session.
            RequestedLifetimeCount=max(3 * keepalives, math.ceil(1000 * SESSION_TIMEOUT_S / interval_ms)),
            RequestedMaxKeepAliveCount=keepalives,
            MaxNotificationsPerPublish=NOTIFICATIONS_PER_MESSAGE,
        )

    async def _monitor(
        self, session: Session, subscription: int, items: Sequence[Item], queue_size: int
    ) -> list[tuple[int, int]]:
        """Create monitored items, their client handle being the tag; returns (tag, status) of those refused."""
        nodes = [(item, session.resolve(item.node)) for item in items]
        refused: list[tuple[int, int]] = [(item.tag, Status.BAD_NODE_ID_UNKNOWN) for item, node in nodes if node is None]
        known = [(item, node) for item, node in nodes if node is not None]
        if not known:
            return refused
        requests = [
            ua.MonitoredItemCreateRequest(
                ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value),
                MonitoringMode=ua.MonitoringMode.Reporting,
                RequestedParameters=ua.MonitoringParameters(
                    ClientHandle=item.tag, SamplingInterval=item.sampling_interval_ms, QueueSize=queue_size, DiscardOldest=True
                ),
            )
            for item, node in known
        ]
        results = await session.services.create_monitored_items(
            ua.CreateMonitoredItemsParameters(subscription, ua.TimestampsToReturn.Source, requests)
        )
        for (item, _), result in zip(known, results, strict=True):
            if not result.StatusCode.is_bad():
                self._item_ids[item.tag] = result.MonitoredItemId
        refused += [
            (item.tag, result.StatusCode.value)
            for (item, _), result in zip(known, results, strict=True)
            if result.StatusCode.is_bad()
        ]
        return refused

    async def _variant_type(self, session: Session, tag: int, node: Any) -> Any:
        """The type that the variable's present value has; servers refuse a write of another."""
        if tag not in self._variant_types:
            (present,) = await session.services.read_attributes([node], ua.AttributeIds.Value)
            if present.Value is None or present.Value.VariantType is ua.VariantType.Null:
                return _WRITTEN_AS[self._settings.tags[tag].type]
            self._variant_types[tag] = present.Value.VariantType
        return self._variant_types[tag]

    def _frames(self, acquired_ns: int, readings: list[Reading]) -> list[Frame]:
        self.overflows += sum(has_overflowed(value) for _, value in readings)
        return frames_of(self._table.device, acquired_ns, self._table.kinds, readings)

    def _bad_frames(self, acquired_ns: int, refused: Sequence[tuple[int, int]]) -> list[Frame]:
        frames = []
        for status in dict.fromkeys(status for _, status in refused):
            tags = np.array([tag for tag, code in refused if code == status], np.int32)
            frames.append(bad_frame(self._table.device, acquired_ns, tags, status))
        return frames


def _own(plan: ReadPlan) -> OpcuaReadPlan:
    if not isinstance(plan, OpcuaReadPlan):
        raise TypeError("not a plan of this driver")
    return plan


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), ITEMS_PER_REQUEST):
        yield items[start : start + ITEMS_PER_REQUEST]


def _variant(doing: str, value: object, kind: Any) -> Any:
    """`value` as a Variant of the variable's type.

    Raises:
        DeviceRefused: it can't be one.
    """
    if kind is ua.VariantType.String:
        fits = isinstance(value, str)
    elif kind is ua.VariantType.Boolean or isinstance(value, bool):
        fits = kind is ua.VariantType.Boolean and isinstance(value, bool)
    elif kind in (ua.VariantType.Float, ua.VariantType.Double):
        fits = isinstance(value, int | float)
    else:
        fits = isinstance(value, int)
    if not fits:
        raise DeviceRefused(f"{doing}: {value!r} is no {kind.name}")
    return ua.Variant(value, kind)
