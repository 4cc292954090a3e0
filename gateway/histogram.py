"""Durations counted in buckets: one bisection and two additions per event, so that the hot path can afford them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
"""Upper bounds of the buckets; what is longer goes into one more."""


class Histogram:
    """How many durations were at most as long as each bound."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        """By bucket, each for itself; the last is for what is longer than every bound."""
        self.total_s = 0.0
        """The sum of all durations."""

    def observe(self, duration_s: float) -> None:
        """Count one."""
        self.counts[bisect_left(SECONDS, duration_s)] += 1
        self.total_s += duration_s

    @property
    def count(self) -> int:
        return sum(self.counts)


def quantile_s(counts: Sequence[int], share: float) -> float | None:
    """The bound below which that share of the durations lies, interpolated within its bucket; None without a duration.

    What is longer than every bound counts as the greatest bound.
    """
    wanted = share * sum(counts)
    if wanted <= 0:
        return None
    below = 0
    low_s = 0.0
    for bound_s, count in zip(SECONDS, counts, strict=False):
        if count and below + count >= wanted:
            return low_s + (bound_s - low_s) * (wanted - below) / count
        below += count
        low_s = bound_s
    return SECONDS[-1]


def added(histograms: Iterable[Histogram]) -> list[int]:
    """The buckets of several, added up."""
    counts = [0] * (len(SECONDS) + 1)
    for histogram in histograms:
        for place, count in enumerate(histogram.counts):
            counts[place] += count
    return counts
