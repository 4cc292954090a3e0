"""The OPC UA driver: subscribes, reads and writes variables of one server."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from asyncua import ua

from drivers.base import DevicePlan, Notification, Reached, ReadPlan, Standing
from drivers.errors import DeviceRefused, DeviceUnreachable, DriverError
from drivers.model import Frame, bad_frame
from drivers.opcua.columns import DataValues
from drivers.opcua.continuity import Continuity
from drivers.opcua.definitions import learn_structures
from drivers.opcua.events import count_overflows, decode_events, event_frames, refresh_request
from drivers.opcua.failures import translated
from drivers.opcua.followed import Hands, NoSubscriptions
from drivers.opcua.following import Following
from drivers.opcua.limits import Limits
from drivers.opcua.mending import Mender
from drivers.opcua.monitoring import Monitored, monitor
from drivers.opcua.plan import Item, OpcuaReadPlan
from drivers.opcua.polling import Rounds, read_values
from drivers.opcua.publishing import Message, Publisher, Receipt
from drivers.opcua.redundancy import Servers
from drivers.opcua.reverse import way_in
from drivers.opcua.session import SESSION_TIMEOUT_S, Session, open_session
from drivers.opcua.settings import KIND_OF, Mode, OpcuaSettings, SourceClock, ValueType
from drivers.opcua.structures import Structures
from drivers.opcua.values import JSON, FrameMaker, overflows_of
from drivers.opcua.writing import Writing
from drivers.status import Status

NOTIFICATIONS_PER_MESSAGE = 1000


class OpcuaDriver:
    """One session with one OPC UA server (Driver, Subscriber, Writer, and the rest of base.py)."""

    def __init__(self, settings: OpcuaSettings, plan: DevicePlan, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._settings = settings
        self._table = plan.tags
        kinds = [JSON if tag.type is ValueType.JSON else KIND_OF[tag.type] for tag in settings.tags]
        self._structures = Structures()
        check_clock = settings.source_clock is SourceClock.CHECK
        self._maker = FrameMaker(plan.tags.device, kinds, check_clock=check_clock, structures=self._structures)
        self._clock_ns = clock_ns
        self._session: Session | None = None
        self._is_connected = False
        self._following: Following | None = None
        self._is_following = False
        """Whether the subscriptions are on the present connection."""
        self._may_transfer = False
        found = {url: way_in(settings, url) for url in settings.urls}
        self._incoming = {url: incoming for url, incoming in found.items() if incoming is not None}
        """Where they dial in, by address; empty where they are dialled."""
        self._servers = Servers(settings.urls, self._open, settings.timeout_ms / 1000)
        self._known: Session | None = None
        """The session whose server has said what it bears and what its structures are."""
        self._continuity = Continuity(plan.tags)
        self._limits = Limits(settings.max_per_request)
        self.mender = Mender(plan.tags, self._frames, self._continuity, self._limits, clock_ns, check_clock=check_clock)
        self._monitored = Monitored()
        self._rounds: Rounds | None = None
        self._is_polled = False
        """The server has no subscriptions."""
        self._writing = Writing(settings)
        self._counts = dict.fromkeys(("overflows", "republished", "unset_clock"), 0)

    @property
    def learnt(self) -> Mapping[str, float]:
        """See Learner.learnt."""
        polled = {"polling_interval_ms": self._settings.polling_interval_ms} if self._is_polled else {}
        return {**self._limits.learnt, **self._monitored.granted(), **polled}

    @property
    def counts(self) -> Mapping[str, int]:
        """Overflows told by the server, notifications got by Republish, values timed by a clock that isn't set, readings that
        history filled in, stretches that nothing could fill, and, where servers dial in, callers that were turned away."""
        republished = self._counts["republished"] + (self._following.publisher.republished if self._following is not None else 0)
        holes = {"filled": self.mender.filled, "gaps": self.mender.gaps}
        calls = {"refused_calls": max(one.refused for one in self._incoming.values())} if self._incoming else {}
        return {**self._counts, "republished": republished, "unset_clock": self._maker.unset_clock, **holes, **calls}

    def recall(self, reached: Reached) -> None:
        """See Recalling.recall."""
        self._continuity.recall(reached)
        followed = np.flatnonzero(reached.standing >= Standing.FOLLOWED).tolist()
        self.mender.recall(tag for tag in followed if self._settings.tags[tag].type is ValueType.EVENT)

    async def connect(self) -> None:
        """See Driver.connect. After suspend() the server's session is taken up again."""
        await self.suspend()
        former = self._session
        try:
            with translated(f"{self._settings.name}: listening at {self._settings.listen}"):
                for incoming in self._incoming.values():
                    await incoming.open()
            session = former
            if session is None or not await session.resume(self._settings):
                self._session = None
                self._session = session = await self._servers.open()
                self._may_transfer = former is not None and session.is_same_server(former)
                self._writing.forget()
            if self._known is not session:
                await self._learn(session)
        except DriverError:
            if self._servers.failed(has_session=self._session is not None):
                self._session = None
            raise
        self._is_connected = True
        self._servers.succeeded()

    async def _open(self, url: str) -> Session:
        return await open_session(self._settings, url, self._clock_ns(), self._incoming.get(url))

    async def _learn(self, session: Session) -> None:
        """What the server says of its limits and of the structures that json tags may have."""
        await self._limits.ask(session)
        self._structures.clear()
        nodes = [session.resolve(tag.node) for tag in self._settings.tags if tag.type is ValueType.JSON]
        doing = f"{self._settings.name}: asking for the definitions of structures"
        known = [node for node in nodes if node is not None]
        await learn_structures(session, doing, known, self._structures, self._limits)
        self._known = session

    @property
    def certificates_end_ns(self) -> Mapping[str, int]:
        """See Certified."""
        return {} if self._session is None else self._session.expires_ns

    async def suspend(self) -> None:
        """See Resumable.suspend."""
        self._is_connected = self._is_following = False
        self._rounds = None
        if self._following is not None:
            await self._following.pause()
            if self._following.publisher.is_deaf:
                # A session that was taken up and stays dumb isn't taken up a second time.
                await self._end()
        if self._session is not None and self._session.url != self._servers.url:
            await self._end()  # Another server is used from now on.
        if self._session is not None:
            await self._session.suspend()

    async def close(self) -> None:
        """See Driver.close."""
        await self._end()
        for incoming in self._incoming.values():
            incoming.close()
        self._continuity.clear()
        self.mender.clear()

    async def _end(self) -> None:
        """Give session and subscriptions up, but not what is known of the readings."""
        self._is_connected = self._is_following = False
        following, self._following = self._following, None
        session, self._session = self._session, None
        self._known = None
        self._writing.forget()
        self._monitored.clear()
        self._rounds = None
        if following is not None:
            self._counts["republished"] += following.publisher.republished
            await following.pause()
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
        """See Subscriber.subscribe; one subscription per plan, taken up where there is one already."""
        session = self._open_session()
        if self._is_following:
            raise DeviceUnreachable(f"{self._settings.name}: subscribed already; connect() comes first")
        if self._following is None:
            timeout_s = self._settings.timeout_ms / 1000
            publisher = Publisher(session, self._settings.name, timeout_s, self._clock_ns)
            self._following = Following(self._hands(), publisher, self.mender, self._continuity, timeout_s)
        self._is_following = True
        try:
            frames = await self._following.begin(session, [_own(plan) for plan in plans], self._may_transfer)
        except NoSubscriptions:
            if self._settings.mode is Mode.SUBSCRIBE:
                raise
            following, self._following = self._following, None
            await following.pause()
        else:
            self._is_polled = False
            return frames
        self._rounds = Rounds(self._settings.polling_interval_ms / 1000, plans)
        self._is_polled = True
        return []

    async def receive(self) -> Notification:
        """See Subscriber.receive. May be cancelled without losing readings."""
        if self._rounds is not None:
            plan = await self._rounds.wait_due()
            if asyncio.get_running_loop().time() >= self._servers.look_at:
                await self._servers.look(self._open_session())
            return Notification(await self.read(plan), None)
        if self._following is None or not self._is_following:
            raise DeviceUnreachable(f"{self._settings.name}: not subscribed")
        return await self._following.receive()

    async def acknowledge(self, receipt: object) -> None:
        """See Subscriber.acknowledge."""
        if self._following is not None and isinstance(receipt, Receipt):
            self._following.acknowledge(receipt)

    async def write(self, tag: int, value: object) -> None:
        """See Writer.write."""
        await self._writing.write(self._open_session(), tag, value)

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
        return await self._writing.call(self._open_session(), node, method, arguments)

    def _open_session(self) -> Session:
        if self._session is None or not self._is_connected:
            raise DeviceUnreachable(f"{self._settings.name}: not connected")
        return self._session

    def _hands(self) -> Hands:
        return Hands(
            self._settings.name,
            self._parameters,
            self._monitor,
            self._message_frames,
            lambda refused: self._bad_frames(self._clock_ns(), refused),
            self._clock_ns,
            self._servers,
        )

    def _message_frames(self, message: Message) -> list[Frame]:
        frames = self._frames(message.acquired_ns, message.data)
        for body in message.events:
            frames += self._event_frames(message.acquired_ns, body)
        return frames

    async def _monitor(self, session: Session, subscription: int, items: Sequence[Item]) -> list[tuple[int, int]]:
        """Create monitored items; returns (tag, status) of those refused."""
        doing = f"{self._settings.name}: subscribing"
        refused = await monitor(session, doing, subscription, items, self._limits, self._monitored)
        if any(item.is_event for item in items):
            await self._refresh_conditions(session, doing, subscription)
        return refused

    async def _refresh_conditions(self, session: Session, doing: str, subscription: int) -> None:
        """Ask for the conditions that hold. A server that refuses it, or has no methods at all, has none to tell of."""
        try:
            with translated(doing):
                await session.services.call([refresh_request(subscription)])
        except DeviceRefused:
            return

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
