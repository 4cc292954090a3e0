"""The process as the system sees it, and how punctually its event loop runs."""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock, ClockWatch
from gateway.histogram import Histogram
from gateway.log import OUTLET

BEAT_S = 0.5
_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Consumption:
    """What the process uses now."""

    cpu_s: float
    """User and system, all threads, since its start."""
    resident_bytes: int
    descriptors: int | None
    """Open ones; None where the system doesn't tell."""
    most_descriptors: int


def consumption() -> Consumption:
    """Ask the system; microseconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    try:
        resident = int(_STATM.read_text("ascii").split()[1]) * resource.getpagesize()
        # One of them is the listing's own.
        descriptors: int | None = len(os.listdir(_DESCRIPTORS)) - 1
    except OSError:  # not Linux: the greatest size so far is the best there is
        resident, descriptors = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024), None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Consumption(used.ru_utime + used.ru_stime, resident, descriptors, limit)


class Pulse:
    """Beats twice a second, and counts how late each beat comes: what a stalled event loop costs all."""

    def __init__(self, clock: Clock, clock_watch: ClockWatch) -> None:
        """`clock_watch`: looks at each beat, so that it notices without readings too."""
        self.lag = Histogram()
        self.started_at_s = time.time()
        """Seconds since the epoch."""
        self._clock = clock
        self._clock_watch = clock_watch
        self._began_s = clock.monotonic()

    @property
    def uptime_s(self) -> float:
        return self._clock.monotonic() - self._began_s

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            due = self._clock.monotonic() + BEAT_S
            await self._clock.sleep_until(due)
            self.lag.observe(max(0.0, self._clock.monotonic() - due))
            self._clock_watch.look()
            OUTLET.limiter.settle()
