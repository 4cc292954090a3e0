"""The OPC UA driver: subscribes, reads and writes variables of one server."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from asyncua import ua

from drivers.base import DevicePlan, Notification, ReadPlan
from drivers.errors import DeviceRefused, DeviceUnreachable
from drivers.model import Frame, bad_frame
from drivers.opcua.columns import DataValues
from drivers.opcua.definitions import learn_structures
from drivers.opcua.events import count_overflows, decode_events, event_frames, refresh_request
from drivers.opcua.failures import status_error, translated
from drivers.opcua.limits import Limits
from drivers.opcua.monitoring import monitor
from drivers.opcua.plan import OpcuaReadPlan
from drivers.opcua.polling import Rounds, read_values
from drivers.opcua.publishing import Publisher, Receipt
from drivers.opcua.session import SESSION_TIMEOUT_S, Session, open_session
from drivers.opcua.settings import KIND_OF, Mode, OpcuaSettings, SourceClock, ValueType
from drivers.opcua.structures import Structures
from drivers.opcua.values import JSON, FrameMaker, overflows_of
from drivers.opcua.writing import WRITTEN_AS, call_request, is_confirmed, output_of, variant_of
from drivers.settings import Access
from drivers.status import Status

NOTIFICATIONS_PER_MESSAGE = 1000
_UNSUBSCRIBABLE = (ua.uaerrors.BadServiceUnsupported, ua.uaerrors.BadNotImplemented, ua.uaerrors.BadNotSupported)
"""A server that answers CreateSubscription so has no subscriptions."""


class OpcuaDriver:
    """One session with one OPC UA server (Driver, Subscriber, Writer, Learner, Counting)."""

    def __init__(self, settings: OpcuaSettings, plan: DevicePlan, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._settings = settings
        self._table = plan.tags
        kinds = [JSON if tag.type is ValueType.JSON else KIND_OF[tag.type] for tag in settings.tags]
        self._structures = Structures()
        check_clock = settings.source_clock is SourceClock.CHECK
        self._maker = FrameMaker(plan.tags.device, kinds, check_clock=check_clock, structures=self._structures)
        self._clock_ns = clock_ns
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._rounds: Rounds | None = None
        self._limits = Limits(settings.max_per_request)
        self._granted: dict[str, float] = {}
        self._variant_types: dict[int, Any] = {}
        self._counts = dict.fromkeys(("overflows", "republished", "unset_clock"), 0)

    @property
    def learnt(self) -> Mapping[str, float]:
        """See Learner.learnt."""
        return {**self._limits.learnt, **self._granted}

    @property
    def counts(self) -> Mapping[str, int]:
        """Overflows told by the server, notifications got by Republish, values timed by a clock that isn't set (Counting)."""
        republished = self._counts["republished"] + (self._publisher.republished if self._publisher is not None else 0)
        return {**self._counts, "republished": republished, "unset_clock": self._maker.unset_clock}

    async def connect(self) -> None:
        """See Driver.connect."""
        await self.close()
        self._session = await open_session(self._settings)
        await self._limits.ask(self._session)
        self._structures.clear()
        nodes = [self._session.resolve(tag.node) for tag in self._settings.tags if tag.type is ValueType.JSON]
        doing = f"{self._settings.name}: asking for the definitions of structures"
        known = [node for node in nodes if node is not None]
        await learn_structures(self._session, doing, known, self._structures, self._limits)

    async def close(self) -> None:
        """See Driver.close."""
        publisher, self._publisher = self._publisher, None
        session, self._session = self._session, None
        self._variant_types.clear()
        self._rounds = None
        if publisher is not None:
            self._counts["republished"] += publisher.republished
            await publisher.stop()
        if session is not None:
            await session.close()

    async def read(self, plan: ReadPlan) -> list[Frame]:
        """See Driver.read; a plain Read of the plan's variables, apart from any subscription."""
        plan, session = _own(plan), self._open_session()
        await session.renew()
        nodes = [(item.tag, session.resolve(item.node)) for item in plan.items if not item.is_event]
        events = [(item.tag, int(Status.BAD_NOT_SUPPORTED)) for item in plan.items if item.is_event]
        unknown = [(tag, int(Status.BAD_NODE_ID_UNKNOWN)) for tag, node in nodes if node is None]
        known = [(tag, node) for tag, node in nodes if node is not None]
        groups = await read_values(session, f"{self._settings.name}: reading", known, self._limits)
        acquired_ns = self._clock_ns()
        return self._frames(acquired_ns, groups) + self._bad_frames(acquired_ns, unknown + events)

    async def subscribe(self, plans: Sequence[ReadPlan]) -> list[Frame]:
        """See Subscriber.subscribe; one subscription per plan."""
        session = self._open_session()
        if self._publisher is not None or self._rounds is not None:
            raise DeviceUnreachable(f"{self._settings.name}: subscribed already; connect() comes first")
        publisher = Publisher(session, self._settings.name, self._settings.timeout_ms / 1000, self._clock_ns)
        self._granted.clear()
        refused: list[tuple[int, int]] = []
        for plan in map(_own, plans):
            subscription = await self._create_subscription(session, plan)
            if subscription is None:
                self._rounds = Rounds(self._settings.polling_interval_ms / 1000, plans)
                self._granted["polling_interval_ms"] = self._settings.polling_interval_ms
                return []
            self._publisher = publisher
            keepalive_s = subscription.RevisedPublishingInterval * subscription.RevisedMaxKeepAliveCount / 1000
            publisher.follow(subscription.SubscriptionId, keepalive_s + self._settings.timeout_ms / 1000)
            doing = f"{self._settings.name}: subscribing"
            outcome = await monitor(session, doing, subscription.SubscriptionId, plan.items, self._limits)
            refused += outcome.refused
            self._granted.update(outcome.granted())
            if any(item.is_event for item in plan.items):
                await self._refresh_conditions(session, doing, subscription.SubscriptionId)
        return self._bad_frames(self._clock_ns(), refused)

    async def _refresh_conditions(self, session: Session, doing: str, subscription: int) -> None:
        """Ask for the conditions that hold. A server that refuses it, or has no methods at all, has none to tell of."""
        try:
            with translated(doing):
                await session.services.call([refresh_request(subscription)])
        except DeviceRefused:
            return

    async def _create_subscription(self, session: Session, plan: OpcuaReadPlan) -> Any | None:
        """The server's answer; None when it has no subscriptions and may be polled."""
        with translated(f"{self._settings.name}: subscribing"):
            try:
                return await session.services.create_subscription(self._parameters(plan), callback=_ignore)
            except _UNSUBSCRIBABLE:
                if self._settings.mode is Mode.SUBSCRIBE:
                    raise
                return None

    async def receive(self) -> Notification:
        """See Subscriber.receive. May be cancelled without losing readings."""
        if self._rounds is not None:
            plan = await self._rounds.wait_due()
            return Notification(await self.read(plan), None)
        if self._publisher is None:
            raise DeviceUnreachable(f"{self._settings.name}: not subscribed")
        while True:
            message = await self._publisher.next()
            frames = self._frames(message.acquired_ns, message.data)
            for body in message.events:
                frames += self._event_frames(message.acquired_ns, body)
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
            variant = variant_of(doing, value, await self._variant_type(session, tag, node))
            # Neither status nor timestamps: many servers take only the value (Part 4, 5.11.4).
            (status,) = await session.services.write_attributes([node], [ua.DataValue(variant, StatusCode=None)])
        if status.is_bad():
            raise status_error(doing, status.value)
        if settings.verify:
            with translated(f"{doing}: reading it back"):
                (present,) = await session.services.read_attributes([node], ua.AttributeIds.Value)
            if not is_confirmed(variant, present):
                raise DeviceRefused(f"{doing}: confirmed, but it reads otherwise afterwards")

    async def call(self, node: str, method: str, arguments: Sequence[tuple[str, object]] = ()) -> list[object]:
        """Call a method of an object, both by their node ids as the settings write them (Part 4, 5.12.2); for programs.

        Args:
            arguments: (built-in type as Part 6, 5.1.2 names it, value) in their order: ("Double", 1.5).

        Returns:
            The output arguments as JSON knows them (docs/opcua.md).

        Raises:
            DeviceUnreachable: no answer; it may or may not have been done.
            DeviceRefused: the server said no, or an argument is none of its type.
        """
        session = self._open_session()
        doing = f"{self._settings.name}: calling {method}"
        found, called = session.resolve(node), session.resolve(method)
        if found is None or called is None:
            raise status_error(doing, Status.BAD_NODE_ID_UNKNOWN)
        request = call_request(found, called, doing, arguments)
        with translated(doing):
            (result,) = await session.services.call([request])
        if result.StatusCode.is_bad():
            raise status_error(doing, result.StatusCode.value)
        return output_of(result)

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

    async def _variant_type(self, session: Session, tag: int, node: Any) -> Any:
        """The type that the variable's present value has; servers refuse a write of another."""
        if tag not in self._variant_types:
            (present,) = await session.services.read_attributes([node], ua.AttributeIds.Value)
            if present.Value is None or present.Value.VariantType is ua.VariantType.Null:
                return WRITTEN_AS[self._settings.tags[tag].type]
            self._variant_types[tag] = present.Value.VariantType
        return self._variant_types[tag]

    def _frames(self, acquired_ns: int, groups: Sequence[DataValues]) -> list[Frame]:
        self._counts["overflows"] += overflows_of(groups)
        return self._maker.frames(acquired_ns, groups)

    def _event_frames(self, acquired_ns: int, body: bytes) -> list[Frame]:
        tags = self._settings.tags
        events = [event for event in decode_events(body) if event.tag < len(tags) and tags[event.tag].type is ValueType.EVENT]
        self._counts["overflows"] += count_overflows(events)
        return event_frames(self._table.device, acquired_ns, events)

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


def _ignore(_publication: object) -> None:
    """asyncua wants a callback for its own publish loop, which doesn't run."""
