"""Keeping the statistics while the node runs: hands over what was counted, every few seconds and at the end."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from idnode.operations.meter import Shown
from idnode.operations.statistics import FLUSH_S, Count, Statistics, Tally

Add = Callable[[Sequence[Count]], Awaitable[None]]


class Books:
    """What all processes of a node have counted: the statistics' file on a thread of the loop's pool, one call after the other,
    and whoever else wants to know."""

    def __init__(self, statistics: Statistics, told: Callable[[Sequence[Count]], None]) -> None:
        """`told`: is handed all counts as they come; quick."""
        self._statistics = statistics
        self._told = told
        self._shown = Shown()
        self._turn = asyncio.Lock()
        self.lost = 0
        """Answers that couldn't be noted: the disk was full, or failed."""

    async def add(self, counts: Sequence[Count]) -> None:
        """Note them; what can't be noted is counted as lost, for answering goes on."""
        self._told(counts)
        shown = [msgspec.structs.replace(each, prefix=self._shown.name(each.prefix)) for each in counts]
        async with self._turn:
            try:
                await asyncio.to_thread(self._statistics.add, shown)
            except sqlite3.Error:
                self.lost += sum(each.count for each in counts)

    async def counts(self, first_day: int, last_day: int, prefix: str | None) -> list[Count]:
        """See Statistics.counts; none when it can't be read."""
        async with self._turn:
            try:
                return await asyncio.to_thread(self._statistics.counts, first_day, last_day, prefix)
            except sqlite3.Error:
                return []


@contextlib.asynccontextmanager
async def kept(tally: Tally, add: Add, now_ms: Callable[[], int]) -> AsyncIterator[None]:
    """While in it, what is counted is handed over every FLUSH_S; on leaving, the rest."""

    async def run() -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await add(tally.take(now_ms()))

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await add(tally.take(now_ms()))
