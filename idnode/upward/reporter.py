"""Tells a top-level node what happens here: makes reports when a period is over, sends what waits, oldest first, and beats.

It is one of the duties of the process that writes (idnode.duties); of several nodes on one database it is one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from epcis.timestamps import from_epoch_ms
from idnode.announcing.turn import Turn
from idnode.operations.report import Upward
from idnode.store.base import StoreAway, StoreFailed, StoreFull
from idnode.store.business import Business
from idnode.upward.adapter import Adapter, NotReached, OutOfStep, Place, Refused
from idnode.upward.books import Books, Waiting
from idnode.upward.report import Heartbeat
from idnode.upward.settings import UpwardSettings

LOOK_S = 5.0
"""How often it looks whether somebody has changed the books, at least."""
IN_A_ROW = 100
"""Reports that are sent before it is looked at what else is due."""
_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Facts:
    """Who reports."""

    prefix: str
    name: str
    url: str
    """Where its identifiers resolve."""


class Reporter:
    """One node's."""

    def __init__(
        self,
        store: Business,
        adapter: Adapter,
        settings: UpwardSettings,
        facts: Facts,
        now_ms: Callable[[], int],
        turn: Turn | None = None,
        say: Callable[[str], None] = lambda _: None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            turn: this node's, where others may use the store.
            say: tells whoever runs the node what has changed.
            draw: a number from 0 to 1, for pauses that are not everybody's.
        """
        self._adapter = adapter
        self._settings = settings
        self._facts = facts
        self._now_ms = now_ms
        self._turn = turn
        self._say = say
        self._draw = draw
        self._books = Books(store, now_ms)
        self._began_ms = now_ms()
        self._made_ms: int | None = None
        """When it was last looked at what there is to be told."""
        self._beaten_ms: int | None = None
        self._next_ms = 0
        """No report is sent before."""
        self._failed = 0
        """Attempts to send a report, in a row."""
        self._failures_now = {"report": "", "heartbeat": ""}
        """Why the last one of each wasn't taken; empty where it was."""
        self._link: str | None = None
        """What was last written of it; None: not known."""
        self._is_full = False
        self._storage = "ok"
        self._mine = turn is None
        self._head: Waiting | None = None
        self._sent = self._refused = self._failures = 0

    async def run(self) -> None:
        """Report until cancelled, or until the store has failed."""
        while True:
            try:
                pause_s = await self.step()
            except StoreFailed:
                return  # the server ends by it
            await asyncio.sleep(pause_s)

    async def step(self) -> float:
        """Do what is due; the seconds until something may be due again.

        Raises:
            StoreFailed
        """
        try:
            self._mine = self._turn is None or await self._turn.is_mine()
            if self._mine:
                await self._report()
            self._storage = "ok"
        except StoreFull:
            self._storage = "full"
        except StoreAway:
            self._storage = "away"
        if not self._mine:
            return LOOK_S
        await self._beat()
        return self._until() if self._storage == "ok" else LOOK_S

    async def close(self) -> None:
        """Give up what is open."""
        await self._adapter.close()

    def figures(self) -> Upward:
        """What the metrics tell."""
        oldest_s = 0.0 if self._head is None else max(0, self._now_ms() - self._head.end_ms) / 1000
        state = self._books.state
        return Upward(
            state.waiting, state.aside, oldest_s, self._sent, self._refused, self._failures, self._mine and not self._failure
        )

    async def _report(self) -> None:
        await self._books.open()
        if self._is_due(self._made_ms, self._settings.period_s):
            await self._make()
        for number in range(IN_A_ROW):
            self._head = await self._books.head()
            if self._head is None or self._is_pausing():
                return
            if number == 0:
                await self._books.check_writable()  # who can't note that a report was taken sends none
            if self._turn is not None and not await self._turn.is_mine():
                return
            if not await self._send(self._head):
                return

    async def _make(self) -> None:
        most = self._settings.most_waiting
        await self._books.make(self._facts.prefix, self._adapter.render, most)
        self._made_ms = self._now_ms()
        state = self._books.state
        is_full = state.waiting + state.aside >= most
        if is_full and not self._is_full:
            self._say(
                f"{state.waiting} reports wait for the top-level node and {state.aside} were refused, as many as may be:"
                " what comes now is in the next one that there is room for"
            )
        self._is_full = is_full

    async def _send(self, report: Waiting) -> bool:
        """Whether to go on with the next."""
        epoch = self._books.state.epoch
        try:
            await self._adapter.report(report.body, Place(self._facts.prefix, epoch, report.sequence))
        except NotReached as error:
            self._failed += 1
            self._failures += 1
            self._next_ms = self._now_ms() + int(self._pause_s(error.after_s) * 1000)
            await self._note(report=str(error))
            return False
        except OutOfStep as error:
            if report.sequence > 1:
                self._say(f"the top-level node says that {error}, so this store was put back: all is reported anew")
                await self._books.begin_anew()
                self._made_ms = None
                await self._taken()
                return False
            await self._put_aside(report, str(error))  # of a new epoch it can't be
        except Refused as error:
            await self._put_aside(report, str(error))
        else:
            await self._books.acknowledged(report)
            self._sent += 1
        await self._taken()
        return True

    async def _taken(self) -> None:
        self._failed = self._next_ms = 0
        await self._note(report="", heartbeat="")  # what was so at the last beat is so no more

    async def _put_aside(self, report: Waiting, reason: str) -> None:
        self._refused += 1
        self._say(f"the top-level node refused report {report.sequence}, which is put aside: {reason}")
        await self._books.put_aside(report, reason)

    async def _beat(self) -> None:
        if not self._is_due(self._beaten_ms, self._settings.heartbeat_s):
            return
        self._beaten_ms = self._now_ms()
        try:
            await self._adapter.beat(self._heartbeat())
        except NotReached as error:
            self._failures += 1
            failure = str(error)
        else:
            failure = ""
            if self._failures_now["heartbeat"]:
                self._next_ms = 0  # it is there again: what waits needn't
        with contextlib.suppress(StoreFull, StoreAway):
            await self._note(heartbeat=failure)

    def _heartbeat(self) -> Heartbeat:
        state, head = self._books.state, self._head
        return Heartbeat(
            node=self._facts.prefix,
            url=self._facts.url,
            name=self._facts.name,
            at=from_epoch_ms(self._now_ms()),
            since=from_epoch_ms(self._began_ms),
            epoch=state.epoch,
            last_sequence=state.last,
            waiting=state.waiting,
            put_aside=state.aside,
            oldest=None if head is None else from_epoch_ms(head.end_ms),
            storage=self._storage,
        )

    @property
    def _failure(self) -> str:
        return self._failures_now["report"] or self._failures_now["heartbeat"]

    async def _note(self, **failures: str) -> None:
        """How the last attempt went; whoever runs the node hears of it when that has changed."""
        before = self._failure
        self._failures_now |= failures
        now = self._failure
        if now and not before:
            self._say(f"the top-level node isn't reached: {now}")
        elif before and not now:
            self._say("the top-level node is reached again")
        if now != self._link:
            await self._books.tell_link(now)
            self._link = now

    def _pause_s(self, after_s: float) -> float:
        """Doubling, of which half is chance, and no shorter than the top-level node has asked for within what is the longest."""
        longest = self._settings.longest_pause_s
        pause_s: float = min(self._settings.first_pause_s * 2 ** min(self._failed - 1, _MOST_DOUBLINGS), longest)
        return max(pause_s * (1 + self._draw()) / 2, min(after_s, longest))

    def _is_pausing(self) -> bool:
        """Whether the next attempt is still to be waited for; a clock that was set back makes none longer than the longest."""
        return 0 < self._next_ms - self._now_ms() <= self._settings.longest_pause_s * 1000

    def _is_due(self, last_ms: int | None, period_s: float) -> bool:
        """Whether so long has passed; also where the clock was set back."""
        return last_ms is None or not 0 <= self._now_ms() - last_ms < period_s * 1000

    def _until(self) -> float:
        now_ms = self._now_ms()
        due = [LOOK_S * 1000]
        for last_ms, period_s in ((self._made_ms, self._settings.period_s), (self._beaten_ms, self._settings.heartbeat_s)):
            due.append(0 if last_ms is None else last_ms + period_s * 1000 - now_ms)
        if self._head is not None:
            due.append(self._next_ms - now_ms if self._is_pausing() else 0)
        return max(0.05, min(due) / 1000)
