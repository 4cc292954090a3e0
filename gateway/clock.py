"""Time as a parameter: nothing in the gateway asks the operating system for it directly."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


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
    """The operating system's clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when: float) -> None:
        await asyncio.sleep(max(0.0, when - time.monotonic()))

    def timeout_at(self, when: float) -> asyncio.Timeout:
        return asyncio.timeout(max(0.0, when - time.monotonic()))
