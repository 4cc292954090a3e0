"""A limit to how long a task may wait, at the price of two assignments a wait: some wait thousands of times a second."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

from gateway.clock import Clock


class Watchdog:
    """Watches one task, from a task of its own: run() it for as long as the other may wait."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._until_s = inf
        self._has_barked = False

    def begin(self, now_s: float) -> None:
        """The task begins to wait."""
        self._until_s = now_s + self._limit_s

    def end(self) -> None:
        """It has what it waited for."""
        self._until_s = inf

    def takes(self, task: asyncio.Task[Any]) -> bool:
        """Whether a cancellation that the task has met was ours; it is then taken back, and the task goes on."""
        self._until_s = inf
        if not self._has_barked:
            return False
        self._has_barked = False
        return task.uncancel() == 0

    async def run(self, task: asyncio.Task[Any]) -> None:
        """Cancel the task when it has waited too long. Until cancelled."""
        while True:
            await self._clock.sleep_until(min(self._until_s, self._clock.monotonic() + self._limit_s))
            if self._clock.monotonic() >= self._until_s:
                self._until_s = inf
                self._has_barked = True
                task.cancel()
