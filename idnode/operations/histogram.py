"""How long things took, in buckets."""

from __future__ import annotations

from bisect import bisect_left

SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets, the last one of which is open."""


class Histogram:
    """Counts by bucket; adding is well below a microsecond."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """`times` things took that long each."""
        self.counts[bisect_left(SECONDS, seconds)] += times
        self.total_s += seconds * times
