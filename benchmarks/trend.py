"""Slopes with their confidence, by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Trend:
    """y = level + slope * x."""

    slope: float
    low: float
    """Of the slope's confidence interval, 95 %."""
    high: float
    level: float
    r2: float
    """The part of the variance that the line explains; 1.0 where there is none."""


def fit(x: Sequence[float], y: Sequence[float]) -> Trend:
    """The line through at least three points."""
    at, of = np.asarray(x, float), np.asarray(y, float)
    n = len(at)
    if n < 3 or len(of) != n:
        raise ValueError("a line with a confidence needs at least three points")
    spread = float(((at - at.mean()) ** 2).sum())
    slope = float(((at - at.mean()) * (of - of.mean())).sum() / spread)
    level = float(of.mean() - slope * at.mean())
    left = float(((of - level - slope * at) ** 2).sum())
    total = float(((of - of.mean()) ** 2).sum())
    reach = student_t(n - 2) * sqrt(left / (n - 2) / spread)
    return Trend(slope, slope - reach, slope + reach, level, 1.0 - left / total if total else 1.0)


def blocks(x: Sequence[float], y: Sequence[float], count: int) -> tuple[list[float], list[float]]:
    """Means of `count` blocks of neighbours: readings that follow each other closely aren't independent, such means nearly."""
    parts = [part for part in np.array_split(np.arange(len(x)), count) if len(part)]
    return [float(np.mean(np.take(x, part))) for part in parts], [float(np.mean(np.take(y, part))) for part in parts]


def student_t(freedom: int) -> float:
    """The two-sided 95 % point of Student's t: Abramowitz and Stegun 26.7.5, exact for one and two degrees."""
    if freedom == 1:
        return 12.7062
    if freedom == 2:
        return 4.3027
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4
