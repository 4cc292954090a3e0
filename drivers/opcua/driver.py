"""The OPC UA driver: subscribes, reads and writes variables of one server."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from asyncua import ua

from drivers.base import DevicePlan, Notification, ReadPlan
from drivers.errors import DeviceMisbehaved, DeviceRefused, DeviceUnreachable
from drivers.model import Frame, bad_frame
from drivers.opcua.columns import DataValues
from drivers.opcua.failures import status_error, translated
from drivers.opcua.notification import decode_read
from drivers.opcua.plan import Item, OpcuaReadPlan
from drivers.opcua.publishing import Publisher, Receipt
from drivers.opcua.session import SESSION_TIMEOUT_S, Session, open_session
from drivers.opcua.settings import OpcuaSettings, ValueType
from drivers.opcua.values import FrameMaker, overflows_of
from drivers.settings import Access
from drivers.status import Status

ITEMS_PER_REQUEST = 500
NOTIFICATIONS_PER_MESSAGE = 1000
_WRITTEN_AS = {
    ValueType.FLOAT: ua.VariantType.Double,
    ValueType.INT: ua.VariantType.Int64,
    ValueType.UINT64: ua.VariantType.UInt64,
    ValueType.BOOL: ua.VariantType.Boolean,
    ValueType.TEXT: ua.VariantType.String,
}
"""Variant type of a write to a variable that has no value yet."""


class OpcuaDriver:
    """One session with one OPC UA server (Driver, Subscriber, Writer)."""

    def __init__(self, settings: OpcuaSettings, plan: DevicePlan, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._settings = settings
        self._table = plan.tags
        self._maker = FrameMaker(plan.tags.device, plan.tags.kinds)
        self._clock_ns = clock_ns
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._variant_types: dict[int, Any] = {}
        self.overflows = 0
        """Readings that came with the word that changes before them were lost in the server's queue."""

    async def connect(self) -> None:
        """See Driver.connect."""
        await self.close()
        self._session = await open_session(self._settings)

    async def close(self) -> None:
        """See Driver.close."""
        publisher, self._publisher = self._publisher, None
        session, self._session = self._session, None
        self._variant_types.clear()
        if publisher is not None:
            await publisher.stop()
        if session is not None:
            await session.close()

    async def read(self, plan: ReadPlan) -> list[Frame]:
        """See Driver.read; a plain Read of the plan's variables, apart from any subscription."""
        plan, session = _own(plan), self._open_session()
        await session.renew()
        groups: list[DataValues] = []
        unknown: list[int] = []
        place = 0
        for items in _chunks(plan.items):
            nodes = [(item.tag, session.resolve(item.node)) for item in items]
            unknown += [tag for tag, node in nodes if node is None]
            known = [(tag, node) for tag, node in nodes if node is not None]
            for group in await self._read_values(session, [node for _, node in known]):
                group.handles = np.array([tag for tag, _ in known], np.uint32)[group.places]
                group.places = group.places + place
                groups.append(group)
            place += len(known)
        acquired_ns = self._clock_ns()
        frames = self._frames(acquired_ns, groups)
        return frames + self._bad_frames(acquired_ns, [(tag, Status.BAD_NODE_ID_UNKNOWN) for tag in unknown])

    async def _read_values(self, session: Session, nodes: Sequence[Any]) -> list[DataValues]:
        """The Value attribute of each node, in one request."""
        doing = f"{self._settings.name}: reading"
        if not nodes:
            return []
        request = ua.ReadRequest()
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
        request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value) for node in nodes]
        with translated(doing):
            values = decode_read(await session.request(request))
        if isinstance(values, int):
            raise status_error(doing, values)
        count = sum(len(group.places) for group in values)
        if count != len(nodes):
            raise DeviceMisbehaved(f"{doing}: {count} values came of {len(nodes)}")
        return values

    async def subscribe(self, plans: Sequence[ReadPlan]) -> list[Frame]:
        """See Subscriber.subscribe; one subscription per plan."""
        session = self._open_session()
        if self._publisher is not None:
            raise DeviceUnreachable(f"{self._settings.name}: subscribed already; connect() comes first")
        publisher = Publisher(session, self._settings.name, self._settings.timeout_ms / 1000, self._clock_ns)
        self._publisher = publisher
        refused: list[tuple[int, int]] = []
        for plan in map(_own, plans):
            with translated(f"{self._settings.name}: subscribing"):
                subscription = await session.services.create_subscription(self._parameters(plan), callback=_ignore)
                keepalive_s = subscription.RevisedPublishingInterval * subscription.RevisedMaxKeepAliveCount / 1000
                publisher.follow(subscription.SubscriptionId, keepalive_s + self._settings.timeout_ms / 1000)
                for items in _chunks(plan.items):
                    refused += await self._monitor(session, subscription.SubscriptionId, items, plan.queue_size)
        return self._bad_frames(self._clock_ns(), refused)

    async def receive(self) -> Notification:
        """See Subscriber.receive. May be cancelled without losing readings."""
        if self._publisher is None:
            raise DeviceUnreachable(f"{self._settings.name}: not subscribed")
        while True:
            message = await self._publisher.next()
            frames = self._frames(message.acquired_ns, message.data)
            if frames:
                return Notification(frames, message.receipt)
            self._publisher.acknowledge(message.receipt)

    async def acknowledge(self, receipt: object) -> None:
        """See Subscriber.acknowledge."""
        if self._publisher is not None and isinstance(receipt, Receipt):
            self._publisher.acknowledge(receipt)

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
        if self._session is None:
            raise DeviceUnreachable(f"{self._settings.name}: not connected")
        return self._session

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

    def _frames(self, acquired_ns: int, groups: Sequence[DataValues]) -> list[Frame]:
        self.overflows += overflows_of(groups)
        return self._maker.frames(acquired_ns, groups)

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


def _ignore(_publication: object) -> None:
    """asyncua wants a callback for its own publish loop, which doesn't run."""


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
