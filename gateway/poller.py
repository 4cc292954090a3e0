"""One device's task: owns its link, reads it on time, takes what was read onto disk, and only then goes on.

Reconnection has one owner, this task. It says once that a device is lost and once that it is back; in between the device's tags
are reported as Bad, once at the loss and then at each heartbeat. No device's fault delays another device: they share nothing but
the outbox (I7).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping
from enum import StrEnum
from typing import TypeVar

from drivers.base import Certified, Counting, DevicePlan, Driver, Learner, Recalling, Resumable, Subscriber, Writer
from drivers.errors import DeviceRefused, DriverError
from drivers.model import bad_frame
from drivers.status import Status
from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.expiry import Expiry
from gateway.intake import Intake, all_tags
from gateway.log import Log
from gateway.outbox.gathering import Gathering
from gateway.products.rule import Rule
from gateway.scheduler import Timetable
from gateway.watchdog import Watchdog

DEADLINE_S = 30.0
"""The longest that a driver may take over one request of ours, whatever its own timeouts."""
WRITE_RETRY_S = 30.0
STEADY_S = 5.0
"""A link that held for so long has proved itself: its loss is met with an immediate attempt, not with growing waits."""
_NS = 1_000_000_000
_T = TypeVar("_T")


class DeviceState(StrEnum):
    """How a device's link is."""

    STARTING = "starting"
    ONLINE = "online"
    LOST = "lost"
    REFUSED = "refused"


class Poller:
    """See the module's docstring. run() it in a task of its own; cancelled, it finishes the append under way (Outbox.append)."""

    def __init__(
        self,
        plan: DevicePlan,
        driver: Driver,
        intake: Intake,
        *,
        clock: Clock,
        backoff: Backoff,
        log: Log,
        place: int = 0,
        gathering: Gathering | None = None,
    ) -> None:
        """`place`: of the device in the configuration, to spread polls over time; `gathering`: the outbox's."""
        self.state = DeviceState.STARTING
        self.trouble: str | None = None
        """Why the device isn't online."""
        self.last_good_ns: int | None = None
        self.errors: Counter[str] = Counter()
        """How often the link was lost or not made, by the class of the error."""
        self._plan = plan
        self._driver = driver
        self._learner = driver if isinstance(driver, Learner) else None
        self._counting = driver if isinstance(driver, Counting) else None
        self._intake = intake
        self._clock = clock
        self._backoff = backoff
        self._log = log
        self._gathering = gathering or Gathering()
        self._expiry = Expiry(clock, log)
        self._lost_at: float | None = None
        self._online_at = 0.0
        self._next_write = 0.0
        self._refused_writes: set[str] = set()
        self._polled = [scan for scan in plan.scans if not scan.subscribed]
        self._subscribed = [scan for scan in plan.scans if scan.subscribed]
        if self._polled and self._subscribed:
            raise ValueError(f"device {plan.tags.device} mixes polled and subscribed scan classes")
        self.timetable = Timetable([scan.period_ns / _NS for scan in self._polled], place)

    @property
    def readings(self) -> int:
        """Readings taken since the start."""
        return self._intake.readings

    @property
    def learnt(self) -> Mapping[str, float]:
        """What the driver uses in place of settings (Learner)."""
        return self._learner.learnt if self._learner is not None else {}

    @property
    def certificates_end_ns(self) -> Mapping[str, int]:
        """When the certificates of the link end (Certified)."""
        return self._driver.certificates_end_ns if isinstance(self._driver, Certified) else {}

    @property
    def counts(self) -> Mapping[str, int]:
        """What the driver counts beside readings and errors (drivers.base.Counting)."""
        return self._counting.counts if self._counting is not None else {}

    async def run(self) -> None:
        """Serve the device until cancelled.

        Raises:
            OutboxFailed
        """
        try:
            reached = await self._intake.resume()
            if reached is not None and isinstance(self._driver, Recalling):
                self._driver.recall(reached)
            while True:
                await self._reach()
                try:
                    await (self._follow() if self._subscribed else self._poll())
                except (DriverError, TimeoutError) as error:
                    await self._lose(error)
        finally:
            try:
                await self._intake.finish()
            finally:
                await self._driver.close()

    async def _reach(self) -> None:
        """Connect, for as long as it takes."""
        while True:
            await self._wait(self._backoff.next_s())
            try:
                await self._within(self._driver.connect())
            except (DriverError, TimeoutError) as error:
                await self._lose(error)
            else:
                self._expiry.look(self.certificates_end_ns)
                return

    async def _wait(self, wait_s: float) -> None:
        """Let time pass; what is Bad is reported at its heartbeats meanwhile."""
        until = self._clock.monotonic() + wait_s
        while self.state is not DeviceState.STARTING:
            heartbeat = self._next_heartbeat()
            if heartbeat is None or heartbeat >= until:
                break
            await self._clock.sleep_until(heartbeat)
            await self._intake.take_repeats(self._clock.now_ns())
        await self._clock.sleep_until(until)

    async def _poll(self) -> None:
        self.timetable.start(self._clock.monotonic())
        polling = asyncio.current_task()
        assert polling is not None
        watchdog = Watchdog(self._clock, DEADLINE_S)
        watching = asyncio.create_task(watchdog.run(polling))
        try:
            while True:
                await self._poll_once(watchdog)
        except asyncio.CancelledError:
            if watchdog.takes(polling):
                raise TimeoutError from None
            raise
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def _poll_once(self, watchdog: Watchdog) -> None:
        index, due_s = self.timetable.next()
        await self._clock.sleep_until(due_s)
        now_s = self._clock.monotonic()
        self.timetable.begin(index, now_s)
        watchdog.begin(now_s)
        self._gathering.begin()
        try:
            frames = await self._driver.read(self._polled[index].plan)
            watchdog.end()
            self.timetable.answered(self._clock.monotonic())
            self._recover()
            await self._intake.take(frames)
        finally:
            self._gathering.end()
        if self._intake.own_rules:
            await self._shake_hands()
        self.timetable.end(index, self._clock.monotonic())

    async def _follow(self) -> None:
        assert isinstance(self._driver, Subscriber)
        refused = await self._within(self._driver.subscribe([scan.plan for scan in self._subscribed]))
        self._recover()
        self._intake.follow()
        await self._intake.take(refused)
        receiving = asyncio.ensure_future(self._driver.receive())
        waking = asyncio.ensure_future(self._intake.wake.wait())
        beating = asyncio.ensure_future(self._heartbeat())
        try:
            while True:
                await asyncio.wait({receiving, waking, beating}, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    notification = receiving.result()
                    await self._intake.take(notification.frames)
                    await self._driver.acknowledge(notification.receipt)
                    self.last_good_ns = self._clock.now_ns()
                    receiving = asyncio.ensure_future(self._driver.receive())
                if waking.done():
                    self._intake.wake.clear()
                    await self._intake.take(())
                    waking = asyncio.ensure_future(self._intake.wake.wait())
                self._expiry.look(self.certificates_end_ns)
                if beating.done():
                    await self._intake.take_repeats(self._clock.now_ns())
                    beating = asyncio.ensure_future(self._heartbeat())
                await self._shake_hands()
        finally:
            for task in (receiving, waking, beating):
                task.cancel()
            await asyncio.gather(receiving, waking, beating, return_exceptions=True)

    async def _heartbeat(self) -> None:
        """Return when a tag's heartbeat is due; look again at least once a second, since readings put it off."""
        now = self._clock.monotonic()
        heartbeat = self._next_heartbeat()
        await self._clock.sleep_until(now + 1.0 if heartbeat is None else max(heartbeat, now + 1.0))

    def _next_heartbeat(self) -> float | None:
        """The first heartbeat that is due, by the monotonic clock."""
        due_ns = self._intake.next_heartbeat_ns()
        return None if due_ns is None else self._clock.monotonic() + (due_ns - self._clock.now_ns()) / _NS

    async def _shake_hands(self) -> None:
        """Write what the handshakes of this device's rules want written. All that it rests on is on disk."""
        for rule in self._intake.own_rules:
            while (value := rule.write_due()) is not None and self._clock.monotonic() >= self._next_write:
                if not await self._write(rule, value):
                    break

    async def _write(self, rule: Rule, value: bool) -> bool:
        assert isinstance(self._driver, Writer)
        try:
            await self._within(self._driver.write(rule.spec.handshake.ack, value))
        except DeviceRefused as error:
            self._next_write = self._clock.monotonic() + WRITE_RETRY_S
            if rule.spec.name not in self._refused_writes:
                self._refused_writes.add(rule.spec.name)
                self._log.alarm(f"rule {rule.spec.name} waits: the device refuses its acknowledgement: {error}")
            return False
        self._refused_writes.discard(rule.spec.name)
        rule.written(value)
        return True

    async def _within(self, work: Awaitable[_T]) -> _T:
        async with self._clock.timeout_at(self._clock.monotonic() + DEADLINE_S):
            return await work

    async def _lose(self, error: Exception) -> None:
        """The link is gone, or couldn't be made: close it, say so once, report every tag as Bad once."""
        text = str(error) or f"no answer within {DEADLINE_S:g} s"
        kind = type(error).__name__
        self.errors[kind] += 1
        was_online = self.state is DeviceState.ONLINE
        if was_online and self._clock.monotonic() - self._online_at >= STEADY_S:
            self._backoff.reset()
        state = DeviceState.REFUSED if isinstance(error, DeviceRefused) else DeviceState.LOST
        self._intake.forget()
        await (self._driver.suspend() if isinstance(self._driver, Resumable) else self._driver.close())
        if state is not self.state:
            if state is DeviceState.REFUSED:
                self._log.alarm(f"refused: {text}", event="state", state=state.value, error=kind)
            else:
                self._log.warning(f"lost: {text}", event="state", state=state.value, error=kind)
            if self._lost_at is None:
                self._lost_at = self._clock.monotonic()
                code = Status.BAD_COMMUNICATION_ERROR if was_online else Status.BAD_NOT_CONNECTED
                frame = bad_frame(self._plan.tags.device, self._clock.now_ns(), all_tags(self._plan.tags), int(code))
                self.state, self.trouble = state, text
                await self._intake.take([frame])
        self.state, self.trouble = state, text
        if state is DeviceState.REFUSED:
            await self._wait(self._backoff.refused_s())

    def _recover(self) -> None:
        self.last_good_ns = self._clock.now_ns()
        if self.state is DeviceState.ONLINE:
            return
        if self._lost_at is not None:
            away_s = self._clock.monotonic() - self._lost_at
            self._log.info(f"back after {away_s:.1f} s", event="state", state="online", after_s=round(away_s, 3))
        else:
            self._log.info("online", event="state", state="online")
        if learnt := self.learnt:
            self._log.info("learnt: " + ", ".join(f"{name} {value:g}" for name, value in learnt.items()))
        self._lost_at = None
        self._online_at = self._clock.monotonic()
        self.state, self.trouble = DeviceState.ONLINE, None
