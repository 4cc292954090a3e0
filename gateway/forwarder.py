"""Carries records from the outbox to one sink: cursor, window, order, back-off, quarantine.

Records go out in the order of their seqs; acknowledgements may come in any. The cursor moves only through the unbroken run of
acknowledged records from its place on, so that what lies beyond a gap is sent again after a break: at least once, never not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from enum import StrEnum

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.log import Log
from gateway.outbox.base import Outbox, Record
from gateway.sinks.base import Sink, SinkError, SinkRefused

STEADY_S = 5.0
"""A connection that held for so long has proved itself: its loss is met with an immediate attempt, not with growing waits."""
DEPTH_CAP = 1000
"""depth() counts no further."""


class SinkState(StrEnum):
    """How a sink's connection is."""

    STARTING = "starting"
    ONLINE = "online"
    AWAY = "away"
    REFUSED = "refused"


class Forwarder:
    """One sink's task."""

    def __init__(self, outbox: Outbox, sink: Sink, *, clock: Clock, backoff: Backoff, log: Log) -> None:
        self.state = SinkState.STARTING
        self.trouble: str | None = None
        """Why the sink isn't online."""
        self.acknowledged = 0
        self.rejected = 0
        self.connects = 0
        """Connections made."""
        self._outbox = outbox
        self._sink = sink
        self._clock = clock
        self._backoff = backoff
        self._log = log
        self._away_at: float | None = None
        self._online_at = 0.0
        self._order: deque[int] = deque()
        """Seqs handed over and not behind the cursor yet, ascending."""
        self._open: set[int] = set()
        """Those of them that are neither acknowledged nor rejected."""
        self._sent = 0
        self._moved = asyncio.Event()

    @property
    def name(self) -> str:
        """The sink's."""
        return self._sink.name

    @property
    def in_flight(self) -> int:
        """Records handed over and not acknowledged."""
        return len(self._open)

    def depth(self) -> int:
        """Records that wait for this sink, those in flight included; counted up to DEPTH_CAP."""
        return len(self.waiting(DEPTH_CAP))

    def waiting(self, limit: int) -> list[Record]:
        """The first records that this sink hasn't acknowledged, at most `limit`."""
        return self._outbox.read(self._outbox.cursor(self.name), limit, self._sink.kinds)

    async def run(self) -> None:
        """Forward until cancelled."""
        try:
            while True:
                await self._clock.sleep_until(self._clock.monotonic() + self._backoff.next_s())
                try:
                    await self._sink.open()
                    self.connects += 1
                    if not self._outbox.read(self._outbox.cursor(self.name), 1, self._sink.kinds):
                        self._recover()  # with something to send, its acknowledgement is the better proof
                    await self._carry()
                except SinkError as error:
                    await self._lose(error)
        finally:
            await self._sink.close()

    async def drained(self) -> None:
        """Return once the sink has everything that is stored now or meanwhile."""
        while self._outbox.read(self._outbox.cursor(self.name), 1, self._sink.kinds):
            self._moved.clear()
            await self._moved.wait()

    async def _carry(self) -> None:
        """Send and acknowledge over one connection, until it breaks."""
        self._sent = self._outbox.cursor(self.name)
        self._forget()
        sending = asyncio.ensure_future(self._send_for_ever())
        acknowledging = asyncio.ensure_future(self._acknowledge_for_ever())
        try:
            await asyncio.wait({sending, acknowledging}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            acknowledging.cancel()
            outcomes = await asyncio.gather(acknowledging, sending, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _send_for_ever(self) -> None:
        while True:
            await self._outbox.wait(self._sent, self._sink.kinds)
            while (room := self._sink.window - self.in_flight) <= 0:
                self._moved.clear()
                await self._moved.wait()
            records = self._outbox.read(self._sent, room, self._sink.kinds)
            if not records:
                continue  # dropped while the window was full
            seqs = [record.seq for record in records]
            self._order.extend(seqs)
            self._open.update(seqs)
            self._sent = records[-1].seq
            self._sink.send(records)
            await self._settle(())

    async def _acknowledge_for_ever(self) -> None:
        while True:
            await self._settle(await self._sink.acknowledged())

    async def _settle(self, seqs: Iterable[int]) -> None:
        """Those are with the other side for good; those that the sink rejected go to the quarantine."""
        for seq in seqs:
            if seq in self._open:
                self._open.discard(seq)
                self.acknowledged += 1
                self._recover()
        for seq, reason in self._sink.rejected():
            if seq in self._open:
                self._log.alarm(f"record {seq} is set aside: {reason}", event="quarantine", seq=seq)
                await self._outbox.quarantine(self.name, seq, reason)
                self._open.discard(seq)
                self.rejected += 1
        through = 0
        while self._order and self._order[0] not in self._open:
            through = self._order.popleft()
        if through:
            await self._outbox.acknowledge(self.name, through)
        self._moved.set()

    def _forget(self) -> None:
        """What was unacknowledged will be sent again."""
        self._order.clear()
        self._open.clear()

    async def _lose(self, error: SinkError) -> None:
        now = self._clock.monotonic()
        if self.state is SinkState.ONLINE and now - self._online_at >= STEADY_S:
            self._backoff.reset()
        state = SinkState.REFUSED if isinstance(error, SinkRefused) else SinkState.AWAY
        self._forget()
        await self._sink.close()
        if self._away_at is None:
            self._away_at = now
        if state is not self.state:
            self.state = state
            if state is SinkState.REFUSED:
                self._log.alarm(f"refused, nothing is dropped: {error}", event="state", state=state.value)
            else:
                self._log.warning(f"lost: {error}", event="state", state=state.value)
        self.trouble = str(error)
        if state is SinkState.REFUSED:
            await self._clock.sleep_until(now + self._backoff.refused_s())

    def _recover(self) -> None:
        if self.state is SinkState.ONLINE:
            return
        self._online_at = self._clock.monotonic()
        if self._away_at is None:
            self._log.info("online", event="state", state="online")
        else:
            away_s = self._online_at - self._away_at
            self._log.info(f"back after {away_s:.1f} s", event="state", state="online", after_s=round(away_s, 3))
        self._away_at = None
        self.state, self.trouble = SinkState.ONLINE, None
