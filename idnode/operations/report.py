"""What one process of a node tells of itself, to be added up with what the others tell."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from idnode.operations.histogram import Histogram
from idnode.operations.limits import Limits
from idnode.operations.meter import Meter
from idnode.operations.slow_log import SlowLog
from idnode.operations.statistics import Count
from idnode.store.base import Store

_STATM = Path("/proc/self/statm")


class Durations(msgspec.Struct, array_like=True):
    """A histogram as it goes from process to process."""

    counts: list[int]
    total_s: float

    @classmethod
    def of(cls, histogram: Histogram) -> Durations:
        """As it stands now."""
        return cls(list(histogram.counts), histogram.total_s)


class Upward(msgspec.Struct, array_like=True):
    """How reports to the top-level node go, in the process that sends them."""

    waiting: int
    aside: int
    oldest_s: float
    """For how long the oldest has waited; 0 where none does."""
    sent: int
    """Acknowledged."""
    refused: int
    failures: int
    """Attempts that nobody took, heartbeats too."""
    is_reached: bool


class Report(msgspec.Struct):
    """All of it; counters since the process began."""

    name: str
    """`worker-0` and so on, `supervisor`, or `node` where there is only one process."""
    pid: int
    resident_bytes: int
    cpu_s: float
    answers: list[tuple[str, str, int, int]] = []
    """(face, prefix, status, count)."""
    durations: dict[str, Durations] = {}
    """By face, of the requests that went uvicorn's way."""
    hot: Durations | None = None
    """Of the requests that were answered in place."""
    commits: Durations | None = None
    """Of the store's commits, in the process that writes."""
    cache: tuple[int, int, int, int] | None = None
    """Hits, misses, entries, bytes."""
    connections: int | None = None
    restarts: int | None = None
    """Workers that were started again."""
    asked: list[tuple[str, str, int]] = []
    """(delegated prefix, outcome, count) of the questions that other nodes were asked."""
    elsewhere: dict[str, int] = {}
    """What resolutions under delegated prefixes were answered from."""
    shelf: tuple[int, int] | None = None
    """Entries and bytes of other nodes' answers."""
    upward: Upward | None = None


def commits_of(store: Store) -> Durations | None:
    """How long a store's commits took, where it tells."""
    commits = getattr(store, "commits", None)
    return Durations.of(commits) if isinstance(commits, Histogram) else None


Reports = Callable[[], Awaitable[Sequence[Report]]]


def report(name: str, meter: Meter | None = None) -> Report:
    """What there is to tell of this process; a meter's counts, where it has one."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    made = Report(name, os.getpid(), _resident_bytes(), used.ru_utime + used.ru_stime)
    if meter is not None:
        made.answers = _answers(meter)
        made.durations = {face: Durations.of(each) for face, each in meter.durations.items()}
        made.hot = Durations.of(meter.hot)
    return made


def _answers(meter: Meter) -> list[tuple[str, str, int, int]]:
    found: Counter[tuple[str, str, int]] = Counter()
    for (face, owner, status), count in meter.answers.items():
        found[face, meter.shown.name(owner), status] += count[0]
    return [(*key, count) for key, count in found.items()]


def _resident_bytes() -> int:
    return int(_STATM.read_text("ascii").split()[1]) * resource.getpagesize()


Counts = Callable[[int, int, str | None], Awaitable[list[Count]]]
"""First and last day, prefix or None for all."""


async def _no_counts(_: int, __: int, ___: str | None) -> list[Count]:
    return []


class Panel:
    """One process's own: what it counts and limits, and what the routes of operations ask."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.limits = Limits(None, None, 1.0)
        self.reports: Reports = self._own
        self.slow = SlowLog(None, 0.0)
        self.counts: Counts = _no_counts
        self.is_leaving: Callable[[], bool] = lambda: False

    async def _own(self) -> Sequence[Report]:
        return [report("node", self.meter)]
