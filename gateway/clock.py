"""Time as a parameter: nothing in the gateway asks the operating system for it directly."""

from __future__ import annotations

import asyncio
import time
from math import ceil
from typing import Protocol

from drivers.prompt import Prompt

_STEPS_PER_S = 1000


class Clock(Protocol):
    """Wall time for what is recorded, monotonic time for what is waited for."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC. May jump: nothing is ordered or waited for by it."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    async def sleep_until(self, when: float) -> None:
        """Return once monotonic() has reached `when`; at once, but after giving way, when it has already."""

    def timeout_at(self, when: float) -> asyncio.Timeout:
        """A context that raises TimeoutError in its task once monotonic() has reached `when`."""


class SystemClock:
    """The operating system's clocks. For loops that count CLOCK_MONOTONIC, as asyncio's and uvloop do.

    Sleepers wake in steps of a millisecond; those of one step share a timer, since a thousand devices' timers would cost as much
    as a good part of their polls.
    """

    def __init__(self) -> None:
        self._sleepers: dict[int, list[Prompt[None]]] = {}
        """Who wakes at which step."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when: float) -> None:
        if when <= time.monotonic():
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        step = ceil(when * _STEPS_PER_S)
        sleepers = self._sleepers.get(step)
        if sleepers is None:
            sleepers = self._sleepers[step] = []
            loop.call_at(step / _STEPS_PER_S, self._wake, step)
        sleeper: Prompt[None] = Prompt(loop)
        sleepers.append(sleeper)
        await sleeper

    def timeout_at(self, when: float) -> asyncio.Timeout:
        return asyncio.timeout(max(0.0, when - time.monotonic()))

    def _wake(self, step: int) -> None:
        for sleeper in self._sleepers.pop(step):
            sleeper.settle(None)
