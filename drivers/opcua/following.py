"""The subscriptions of one device through every kind of break, in the order of OPC UA Part 4, 6.7.

The session is taken up again on another channel, or the subscriptions are moved into a new session; what was on its way is
asked for again; only what the server has no more is made anew, and then the hole is mended (mending.py). A node that the server
doesn't have is quarantined: its tag is Bad, and it is looked for again now and then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua

from drivers.base import Notification
from drivers.errors import DeviceUnreachable, DriverError
from drivers.model import Frame
from drivers.opcua.continuity import Continuity
from drivers.opcua.failures import translated
from drivers.opcua.followed import Followed, Hands, NoSubscriptions
from drivers.opcua.mending import Job, Mender
from drivers.opcua.plan import OpcuaReadPlan
from drivers.opcua.publishing import Message, Publisher, Receipt
from drivers.opcua.session import Session
from drivers.opcua.values import OVERFLOW
from drivers.status import Status

RECHECK_S = 60.0
"""How often quarantined nodes are looked for."""
_UNSUBSCRIBABLE = (ua.uaerrors.BadServiceUnsupported, ua.uaerrors.BadNotImplemented, ua.uaerrors.BadNotSupported)
"""A server that answers CreateSubscription so has no subscriptions."""


@dataclass(slots=True)
class _Piece:
    """Readings of one message, the last piece with its receipt."""

    frames: list[Frame] = field(default_factory=list)
    job: Job | None = None
    """What fills the hole before them."""
    receipt: Receipt | None = None


class Following:
    """See the module's docstring. begin() with each new connection, then receive()."""

    def __init__(self, hands: Hands, publisher: Publisher, mender: Mender, continuity: Continuity, timeout_s: float) -> None:
        self.publisher = publisher
        self._hands = hands
        self._mender = mender
        self._continuity = continuity
        self._timeout_s = timeout_s
        self._session: Session | None = None
        self._followed: list[Followed] = []
        self._held: deque[_Piece] = deque()
        self._given: deque[Notification] = deque()
        """Not acknowledged yet: after a break it comes again, so what was read last is what was acknowledged last."""
        self._recheck_at = float("inf")
        self._unkept: set[int] = set()
        """Tags of which the server keeps no history, as an overflow has shown."""
        self._settling: list[Job] = []
        """What is to be done when the server has sent all that it has of a subscription."""

    async def begin(self, session: Session, plans: Sequence[OpcuaReadPlan], may_transfer: bool) -> list[Frame]:
        """Take the subscriptions up on this session, or make them.

        Args:
            may_transfer: the session is a new one, of the same run of the same server.

        Returns:
            For each subscription that lives on, the last readings once more: they hold still. Bad ones for nodes refused.

        Raises:
            DeviceUnreachable, DeviceRefused
        """
        former, self._session = self._session, session
        self._held.clear()
        self._given.clear()
        self._mender.drop_overflows()
        self.publisher.resume(session)
        alive = await self._alive(session, former, may_transfer)
        frames: list[Frame] = []
        kept = {id(followed.plan): followed for followed in self._followed}
        self._followed = []
        self._settling = [job for job in self._settling if job.subscription in alive]
        for number in alive & {job.subscription for job in self._settling}:
            self.publisher.expect_sign(number)
        for plan in plans:
            followed = kept.get(id(plan))
            if followed is not None and followed.number in alive and await self._catch_up(followed):
                self._followed.append(followed)
                # An event that is told twice would be two.
                still = [item.tag for item in plan.items if not item.is_event]
                frames += self._continuity.again(still, self._hands.clock_ns())
            else:
                frames += await self._create(session, plan)
        return frames

    async def _alive(self, session: Session, former: Session | None, may_transfer: bool) -> set[int]:
        """The subscriptions that are in this session now; the others are forgotten."""
        numbers = [one.number for one in self._followed if one.is_complete and self.publisher.follows(one.number)]
        alive: set[int] = set()
        if numbers and former is not None:
            try:
                with translated(f"{self._hands.name}: taking subscriptions up"):
                    if former is session:
                        mode = ua.SetPublishingModeParameters(PublishingEnabled=True, SubscriptionIds=numbers)
                        statuses = await session.services.set_publishing_mode(mode)
                    elif may_transfer:
                        request = ua.TransferSubscriptionsParameters(numbers, SendInitialValues=False)
                        statuses = [one.StatusCode for one in await session.services.transfer_subscriptions(request)]
                    else:
                        statuses = []
                alive = {number for number, status in zip(numbers, statuses, strict=False) if status.is_good()}
            except DriverError as error:
                if not isinstance(error.__cause__, ua.UaStatusCodeError):
                    raise
        lost = [one.number for one in self._followed if one.number not in alive]
        for number in lost:
            self.publisher.forget(number)
        if lost and former is session:
            await self._delete(session, lost)
        return alive

    async def _catch_up(self, followed: Followed) -> bool:
        try:
            await self.publisher.catch_up(followed.number)
        except DriverError as error:
            if not isinstance(error.__cause__, ua.uaerrors.BadSubscriptionIdInvalid):
                raise
            self.publisher.forget(followed.number)
            return False
        return True

    async def _delete(self, session: Session, numbers: list[int]) -> None:
        """Lest one that was half made, or that the server ended in part, sends on."""
        try:
            with translated(f"{self._hands.name}: giving subscriptions up"):
                await session.services.delete_subscriptions(numbers)
        except DriverError as error:
            if not isinstance(error.__cause__, ua.UaStatusCodeError):
                raise

    async def _create(self, session: Session, plan: OpcuaReadPlan) -> list[Frame]:
        doing = f"{self._hands.name}: subscribing"
        with translated(doing):
            try:
                made = await session.services.create_subscription(self._hands.parameters(plan), callback=_ignore)
            except _UNSUBSCRIBABLE as error:
                raise NoSubscriptions(f"{doing}: {type(error).__name__}") from error
        followed = Followed(plan, made.SubscriptionId)
        self._followed.append(followed)
        keepalive_s = made.RevisedPublishingInterval * made.RevisedMaxKeepAliveCount / 1000
        self.publisher.follow(made.SubscriptionId, keepalive_s + self._timeout_s)
        refused = await self._hands.monitor(session, made.SubscriptionId, plan.items)
        followed.is_complete = True
        self._unkept.difference_update(plan.tags)
        self._mender.add(Job(self._nodes(session, plan), None, _notifiers(plan)))
        frames = self._hands.bad_frames(refused)
        self._continuity.note(frames)
        self._quarantine(followed, [tag for tag, _ in refused])
        return frames

    def _nodes(self, session: Session, plan: OpcuaReadPlan) -> dict[int, Any]:
        nodes = ((item.tag, session.resolve(item.node)) for item in plan.items if not item.is_event)
        return {tag: node for tag, node in nodes if node is not None}

    async def receive(self) -> Notification:
        """The next readings: what mends a hole, then what the server sends. May be cancelled without losing any.

        Raises:
            DeviceUnreachable
        """
        while True:
            assert self._session is not None
            if self._mender.has_work:
                await self._session.renew()
                frames = await self._mender.step(self._session)
                self._await_signs()
                if frames:
                    return Notification(frames, None)
            elif self._held:
                job, self._held[0].job = self._held[0].job, None
                if job is not None:
                    self._mend(job)
                    continue
                piece = self._held.popleft()
                given = Notification(piece.frames, piece.receipt)
                self._given.append(given)
                return given
            else:
                message = await self._next()
                if message is not None:
                    self._take(self._session, message)

    def acknowledge(self, receipt: Receipt) -> None:
        """Readings are on disk."""
        while self._given and any(given.receipt == receipt for given in self._given):
            self._continuity.note(self._given.popleft().frames)
        self.publisher.acknowledge(receipt)

    async def _next(self) -> Message | None:
        """The next message; None when it is time to look for quarantined nodes, or how well the server is, which is done."""
        due_at = min(self._recheck_at, self._hands.servers.look_at)
        try:
            async with asyncio.timeout_at(None if due_at == float("inf") else due_at):
                return await self.publisher.next()
        except TimeoutError:
            pass
        assert self._session is not None
        now = asyncio.get_running_loop().time()
        if now >= self._hands.servers.look_at:
            await self._hands.servers.look(self._session)
        if now < self._recheck_at:
            return None
        for followed in self._followed:
            await self._recheck(self._session, followed)
        self._schedule_recheck()
        return None

    def _take(self, session: Session, message: Message) -> None:
        """Hold a message's readings, each piece of them behind the hole that it tells of."""
        followed = next((one for one in self._followed if one.number == message.receipt.subscription), None)
        if message.is_sign:
            for job in [job for job in self._settling if job.subscription == message.receipt.subscription]:
                self._settling.remove(job)
                self._mend(job)
            return
        if message.is_gap:
            if followed is not None:
                nodes = self._nodes(session, followed.plan)
                self._mend(Job(nodes, message.receipt.subscription, _notifiers(followed.plan)))
            return
        frames = self._continuity.fresh(self._hands.frames(message))
        if not frames:
            self.publisher.acknowledge(message.receipt)
            return
        self._held.append(_Piece())
        for frame in frames:
            overflowed = {} if followed is None else self._overflowed(frame)
            if followed is not None and overflowed:
                nodes = self._nodes(session, followed.plan)
                nodes = {tag: nodes[tag] for tag in overflowed if tag in nodes}
                if self._held[-1].frames:
                    self._held.append(_Piece())
                self._held[-1].job = Job(nodes, followed.number, before_ns=overflowed, unkept=self._unkept)
            self._held[-1].frames.append(frame)
        self._held[-1].receipt = message.receipt
        if followed is not None:
            self._quarantine(followed, _deleted(frames))

    def _await_signs(self) -> None:
        """What can be done only when the server has sent all that it has."""
        for job in self._mender.settling:
            assert job.subscription is not None
            self.publisher.expect_sign(job.subscription)
        self._settling += self._mender.settling
        self._mender.settling.clear()

    def _mend(self, job: Job) -> None:
        """A hole in the midst of what goes on: it begins behind what was given, acknowledged or not."""
        while self._given:
            self._continuity.note(self._given.popleft().frames)
        self._mender.add(job)

    def _overflowed(self, frame: Frame) -> dict[int, int]:
        """Device's time, by tag, of new readings that say that others right before them were lost in the server's queue."""
        if frame.source_ns is None:
            return {}
        flags = ((frame.status & OVERFLOW) == OVERFLOW) & (frame.source_ns > 0)
        found = zip(frame.tags[flags].tolist(), frame.source_ns[flags].tolist(), strict=True)
        return {tag: at for tag, at in found if at > self._continuity.source_ns(tag)}

    def _quarantine(self, followed: Followed, tags: Sequence[int]) -> None:
        if tags:
            items = {item.tag: item for item in followed.plan.items}
            followed.missing.update({tag: items[tag] for tag in tags if tag in items})
            self._schedule_recheck()

    def _schedule_recheck(self) -> None:
        waits = any(followed.missing for followed in self._followed)
        self._recheck_at = asyncio.get_running_loop().time() + RECHECK_S if waits else float("inf")

    async def _recheck(self, session: Session, followed: Followed) -> None:
        """Ask for the quarantined nodes again; those that are there send their value by themselves."""
        if not followed.missing:
            return
        missing = followed.missing
        refused = await self._hands.monitor(session, followed.number, list(missing.values()))
        followed.missing = {tag: missing[tag] for tag, _ in refused}
        # Of one that has had readings some may be missing.
        found = [tag for tag in missing.keys() - followed.missing.keys() if self._continuity.source_ns(tag)]
        if found:
            nodes = self._nodes(session, followed.plan)
            self._mend(Job({tag: nodes[tag] for tag in found if tag in nodes}, None))

    async def pause(self) -> None:
        """Before the session is suspended."""
        await self.publisher.pause()

    @property
    def session(self) -> Session:
        """The one that the subscriptions are in.

        Raises:
            DeviceUnreachable: none yet.
        """
        if self._session is None:
            raise DeviceUnreachable(f"{self._hands.name}: not subscribed")
        return self._session


def _notifiers(plan: OpcuaReadPlan) -> list[int]:
    return [item.tag for item in plan.items if item.is_event]


def _deleted(frames: Sequence[Frame]) -> list[int]:
    return [tag for frame in frames for tag in frame.tags[frame.status == Status.BAD_NODE_ID_UNKNOWN].tolist()]


def _ignore(_publication: object) -> None:
    """asyncua wants a callback for its own publish loop, which doesn't run."""
