"""Carries records from the outbox to one sink: lanes, window, order, back-off, quarantine.

Records go out in the order of their seqs; acknowledgements may come in any. What counts as acknowledged moves only through the
unbroken run from where a slice began, so that what lies beyond a gap is sent again after a break: at least once, never not.

With a policy, records that have waited too long go in a lane of their own, as history, and what comes now goes beside them at
once (I6). Without one everything goes in one order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.lanes import Drain, History, Lane, LanePolicy
from gateway.log import Log
from gateway.outbox import ranges
from gateway.outbox.base import Outbox, Record
from gateway.outbox.ranges import Ranges
from gateway.sinks.base import Sink, SinkError, SinkRefused

STEADY_S = 5.0
"""A connection that held for so long has proved itself: its loss is met with an immediate attempt, not with growing waits."""
DEPTH_CAP = 1000
"""depth() counts no further."""
SLICE = 32
"""Records of history that are read and handed over at once: the event loop is kept no longer from what is live."""
_NS = 1_000_000_000


class SinkState(StrEnum):
    """How a sink's connection is."""

    STARTING = "starting"
    ONLINE = "online"
    AWAY = "away"
    REFUSED = "refused"


class Forwarder:
    """One sink's task."""

    def __init__(
        self, outbox: Outbox, sink: Sink, *, clock: Clock, backoff: Backoff, log: Log, policy: LanePolicy | None = None
    ) -> None:
        """`policy`: None for one lane."""
        self.state = SinkState.STARTING
        self.trouble: str | None = None
        """Why the sink isn't online."""
        self.acknowledged = 0
        self.historical = 0
        """Those of them that went as history."""
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
        self._policy = policy
        self._live = Lane()
        self._history = History(policy.drain if policy else Drain.OLDEST_FIRST)
        self._sent = 0
        """The newest seq of the live lane."""
        self._is_turn_of_history = False
        """Whose turn it is where only one record may go at a time."""
        self._moved = asyncio.Event()

    @property
    def name(self) -> str:
        """The sink's."""
        return self._sink.name

    @property
    def in_flight(self) -> int:
        """Records handed over and not acknowledged."""
        return self._live.in_flight + self._history.in_flight

    def depth(self) -> int:
        """Records that wait for this sink, those in flight included; counted up to DEPTH_CAP."""
        return len(self.waiting(DEPTH_CAP))

    def lane_depths(self) -> tuple[int, int]:
        """Seqs that wait live and as history, those in flight included; seqs of kinds that the sink doesn't carry count, too.

        Which of them are late is decided once the sink is reached: before, all count as live.
        """
        history = self._history.depth
        waiting = ranges.holes(self._outbox.acknowledged(self.name), 1, self._outbox.last_seq)
        return max(0, ranges.size(waiting) - history), history

    def waiting(self, limit: int) -> list[Record]:
        """The first records that this sink hasn't acknowledged, at most `limit`."""
        found: list[Record] = []
        for first, last in ranges.holes(self._outbox.acknowledged(self.name), 1, self._outbox.last_seq):
            found += self._outbox.read(first - 1, limit - len(found), self._sink.kinds, last)
            if len(found) >= limit:
                break
        return found

    async def run(self) -> None:
        """Forward until cancelled."""
        try:
            while True:
                await self._clock.sleep_until(self._clock.monotonic() + self._backoff.next_s())
                try:
                    await self._sink.open()
                    self.connects += 1
                    if not self.waiting(1):
                        self._recover()  # with something to send, its acknowledgement is the better proof
                    await self._carry()
                except SinkError as error:
                    await self._lose(error)
        finally:
            await self._sink.close()

    async def drained(self) -> None:
        """Return once the sink has everything that is stored now or meanwhile."""
        while self.waiting(1):
            self._moved.clear()
            await self._moved.wait()

    async def _carry(self) -> None:
        """Send and acknowledge over one connection, until it breaks."""
        self._forget()
        self._begin()
        tasks = [asyncio.ensure_future(self._send_live()), asyncio.ensure_future(self._acknowledge_for_ever())]
        if self._policy is not None:
            tasks.append(asyncio.ensure_future(self._send_history()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def _begin(self) -> None:
        """Live goes on behind the newest that is acknowledged; holes before it are history."""
        acknowledged = self._outbox.acknowledged(self.name)
        if self._policy is None:
            self._sent = self._outbox.cursor(self.name)
        else:
            self._sent = acknowledged[-1][1] if acknowledged else 0
            self._outbox.fence(self.name, ())
            self._add_history(ranges.holes(acknowledged, 1, self._sent))

    async def _send_live(self) -> None:
        while True:
            await self._outbox.wait(self._sent, self._sink.kinds)
            while (room := self._live_room()) <= 0:
                self._moved.clear()
                await self._moved.wait()
            records = self._outbox.read(self._sent, room, self._sink.kinds)
            if not records:
                continue  # dropped while the window was full
            if self._are_late(records):
                newest = self._outbox.last_seq
                self._add_history(((self._sent + 1, newest),))
                self._sent = newest
                continue
            after, self._sent = self._sent, records[-1].seq
            self._live.hand_over(after, self._sent, [record.seq for record in records])
            self._is_turn_of_history = True
            self._sink.send(records)
            await self._settle(())

    async def _send_history(self) -> None:
        history = self._history
        while True:
            while not history.pending or (room := self._history_room()) <= 0:
                self._moved.clear()
                await self._moved.wait()
            (first, last), newest = history.next_span()
            limit = min(room, SLICE)
            records = self._outbox.read(first - 1, limit, self._sink.kinds, last, newest=newest)
            after, through = first - 1, last
            if len(records) == limit:
                after, through = (records[0].seq - 1, last) if newest else (after, records[-1].seq)
            history.sent(after, through, [record.seq for record in records])
            self._fence()
            self._is_turn_of_history = False
            if records:
                self._sink.send(records, historical=True)
            await self._settle(())
            await asyncio.sleep(0)  # polls and live records come between two slices

    def _are_late(self, records: Sequence[Record]) -> bool:
        """Whether the first that tells its time has waited too long to go live; a time beyond now, too, is no sign of haste."""
        if self._policy is None:
            return False
        stored_ns = next((record.at_ns for record in records if record.at_ns), None)
        return stored_ns is not None and abs(self._clock.now_ns() - stored_ns) > self._policy.late_after_s * _NS

    def _live_room(self) -> int:
        """How many records may go live now."""
        room = self._sink.window - self.in_flight
        if self._policy is None or self._history.is_empty:
            return room
        if self._sink.window == 1:
            return 0 if self._history.pending and self._is_turn_of_history else room
        return min(room, self._policy.quotas(self._sink.window)[0] - self._live.in_flight)

    def _history_room(self) -> int:
        """How many records may go as history now."""
        assert self._policy is not None
        room = self._sink.window - self.in_flight
        if self._sink.window == 1:
            is_live_waiting = room > 0 and bool(self._outbox.read(self._sent, 1, self._sink.kinds))
            return 0 if is_live_waiting and not self._is_turn_of_history else room
        return min(room, self._policy.quotas(self._sink.window)[1] - self._history.in_flight)

    def _add_history(self, late: Ranges) -> None:
        if not late:
            return
        if self._history.is_empty:
            self._log.info(f"{ranges.size(late)} seqs are late and go as history beside what is live", event="history")
        self._history.add(late, ranges.union(self._live.on_way(), self._history.on_way()))
        self._fence()
        self._moved.set()

    def _fence(self) -> None:
        """Tell the outbox where what goes and is acknowledged apart begins and ends."""
        history = self._history
        self._outbox.fence(self.name, [*self._live.edges(), *history.edges(), *ranges.edges(history.pending), self._sent])

    async def _acknowledge_for_ever(self) -> None:
        while True:
            await self._settle(await self._sink.acknowledged())

    async def _settle(self, seqs: Sequence[int]) -> None:
        """Those are with the other side for good; those that the sink rejected go to the quarantine."""
        if seqs:
            historical = self._history.settle(seqs)
            self.historical += historical
            taken = historical + self._live.settle(seqs)
            self.acknowledged += taken
            if taken:
                self._recover()
        for seq, reason in self._sink.rejected():
            if self._live.has(seq) or self._history.has(seq):
                self._log.alarm(f"record {seq} is set aside: {reason}", event="quarantine", seq=seq)
                await self._outbox.quarantine(self.name, seq, reason)
                _ = self._live.settle((seq,)) or self._history.settle((seq,))
                self.rejected += 1
        for after, through in self._live.take_done():
            await self._outbox.acknowledge(self.name, through, after)
        if not self._history.is_empty:
            await self._acknowledge_history()
        if self._policy is not None and self._history.is_empty:
            self._look_for_holes()
        self._moved.set()

    async def _acknowledge_history(self) -> None:
        for after, through in self._history.take_done():
            await self._outbox.acknowledge(self.name, through, after)
        if self._history.is_empty:
            self._log.info("history is delivered", event="history")
            self._outbox.fence(self.name, ())

    def _look_for_holes(self) -> None:
        """The outbox may have forgotten ranges that were acknowledged, when there were too many."""
        begins_after = self._live.begins_after
        below = self._sent if begins_after is None else begins_after
        if self._outbox.cursor(self.name) < below:
            self._add_history(ranges.holes(self._outbox.acknowledged(self.name), 1, below))

    def _forget(self) -> None:
        """What was unacknowledged will be sent again."""
        self._live.clear()
        self._history.clear()

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
