"""Carries records from the outbox to one sink: cursor, window, order, back-off, quarantine.

Records go out in the order of their seqs; acknowledgements may come in any. The cursor moves only through the unbroken run of
acknowledged records from its place on, so that what lies beyond a gap is sent again after a break: at least once, never not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.log import Log
from gateway.outbox.base import Outbox
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
        self._outbox = outbox
        self._sink = sink
        self._clock = clock
        self._backoff = backoff
        self._log = log
        self._away_at: float | None = None
        self._online_at = 0.0
        self._waiting: dict[int, bool] = {}
        """Seqs handed over and not behind the cursor yet, in order; True: done with."""
        self._sent = 0
        self._moved = asyncio.Event()

    @property
    def name(self) -> str:
        """The sink's."""
        return self._sink.name

    @property
    def in_flight(self) -> int:
        """Records handed over and not acknowledged."""
        return sum(not done for done in self._waiting.values())

    def depth(self) -> int:
        """Records that wait for this sink, those in flight included; counted up to DEPTH_CAP."""
        return len(self._outbox.read(self._outbox.cursor(self.name), DEPTH_CAP, self._sink.kinds))

    async def run(self) -> None:
        """Forward until cancelled."""
        try:
            while True:
                await self._clock.sleep_until(self._clock.monotonic() + self._backoff.next_s())
                try:
                    await self._sink.open()
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
        """Send and acknowledge over one connection."""
        self._sent = self._outbox.cursor(self.name)
        self._waiting = {}
        acknowledging = asyncio.ensure_future(self._sink.acknowledged())
        arriving = asyncio.ensure_future(self._outbox.wait(self._sent, self._sink.kinds))
        try:
            while True:
                watched = {acknowledging} if self._is_window_full() else {acknowledging, arriving}
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if acknowledging.done():
                    await self._settle(acknowledging.result())
                    acknowledging = asyncio.ensure_future(self._sink.acknowledged())
                if arriving.done():
                    await self._send()
                    arriving = asyncio.ensure_future(self._outbox.wait(self._sent, self._sink.kinds))
        finally:
            acknowledging.cancel()
            arriving.cancel()
            await asyncio.gather(acknowledging, arriving, return_exceptions=True)

    def _is_window_full(self) -> bool:
        return self.in_flight >= self._sink.window

    async def _send(self) -> None:
        room = self._sink.window - self.in_flight
        records = self._outbox.read(self._sent, room, self._sink.kinds) if room > 0 else []
        if not records:
            return
        self._waiting.update((record.seq, False) for record in records)
        self._sent = records[-1].seq
        self._sink.send(records)
        await self._settle(())

    async def _settle(self, seqs: Iterable[int]) -> None:
        """Those are with the other side for good; those that the sink rejected go to the quarantine."""
        for seq in seqs:
            if self._waiting.get(seq) is False:
                self._waiting[seq] = True
                self.acknowledged += 1
                self._recover()
        for seq, reason in self._sink.rejected():
            if self._waiting.get(seq) is False:
                self._log.alarm(f"record {seq} is set aside: {reason}")
                await self._outbox.quarantine(self.name, seq, reason)
                self._waiting[seq] = True
                self.rejected += 1
        through = 0
        for seq, done in self._waiting.items():
            if not done:
                break
            through = seq
        if through:
            await self._outbox.acknowledge(self.name, through)
            self._waiting = {seq: done for seq, done in self._waiting.items() if seq > through}
            self._moved.set()

    async def _lose(self, error: SinkError) -> None:
        now = self._clock.monotonic()
        if self.state is SinkState.ONLINE and now - self._online_at >= STEADY_S:
            self._backoff.reset()
        state = SinkState.REFUSED if isinstance(error, SinkRefused) else SinkState.AWAY
        self._waiting = {}
        await self._sink.close()
        if self._away_at is None:
            self._away_at = now
        if state is not self.state:
            self.state = state
            if state is SinkState.REFUSED:
                self._log.alarm(f"refused, nothing is dropped: {error}")
            else:
                self._log.warning(f"lost: {error}")
        self.trouble = str(error)
        if state is SinkState.REFUSED:
            await self._clock.sleep_until(now + self._backoff.refused_s())

    def _recover(self) -> None:
        if self.state is SinkState.ONLINE:
            return
        self._online_at = self._clock.monotonic()
        if self._away_at is None:
            self._log.info("online")
        else:
            self._log.info(f"back after {self._online_at - self._away_at:.1f} s")
        self._away_at = None
        self.state, self.trouble = SinkState.ONLINE, None
