"""What the bench's eight sensors show in a cycle: seeded signals, or a recording played back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp
from random import Random
from typing import Protocol

COLUMNS = (
    "accelerometer_1",
    "accelerometer_2",
    "current",
    "pressure",
    "temperature",
    "thermocouple",
    "voltage",
    "flow_rate",
)
"""Tag names, in the order of a Row: g, g, A, bar, degrees Celsius (motor, liquid), V, L/min."""

Row = tuple[float, float, float, float, float, float, float, float]


class Signals(Protocol):
    """Where the bench's values come from."""

    def cycle(self, part: int) -> Iterator[Row]:
        """The rows of a part's cycle, one per sample, without end. Asked for once per part, parts ascending."""


class SeededSignals:
    """A pump that is tested: it starts, runs up, and runs steadily. A part's rows depend on seed and part alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def cycle(self, part: int) -> Iterator[Row]:
        random = Random(f"bench/{self._seed}/{part}")
        vibration = random.gauss(1.0, 0.02)
        flow = random.gauss(32.0, 0.4)
        motor = 75.0 + 3.0 * random.random()
        liquid = 25.7 + 0.3 * random.random()
        sample = 0
        while True:
            run_up = 1.0 - exp(-sample / 2.0)
            yield (
                round(0.0267 * vibration * (0.3 + 0.7 * run_up) + random.gauss(0.0, 0.0003), 7),
                round(0.0402 * vibration * (0.3 + 0.7 * run_up) + random.gauss(0.0, 0.0006), 7),
                round(0.98 + 1.3 * exp(-sample / 1.5) + random.gauss(0.0, 0.25), 6),
                # The pressure transmitter resolves a third of a bar, so its noise shows as a few distinct values.
                round(0.054711 + 0.327927 * round(random.gauss(0.1, 0.75)), 6),
                round(motor + 0.01 * sample + random.gauss(0.0, 0.1), 4),
                round(liquid + 0.001 * sample + random.gauss(0.0, 0.005), 4),
                round(random.gauss(231.0, 10.7), 3),
                round(max(flow * run_up + random.gauss(0.0, 0.4), 0.0), 3),
            )
            sample += 1


class RecordedSignals:
    """A recording, row after row through all cycles, from the top again when it ends."""

    def __init__(self, rows: Sequence[Row]) -> None:
        if not rows:
            raise ValueError("a recording needs at least one row")
        self._rows = rows
        self._next = 0

    def cycle(self, part: int) -> Iterator[Row]:
        del part
        while True:
            row = self._rows[self._next]
            self._next = (self._next + 1) % len(self._rows)
            yield row


def signals_of(seed: int, rows: Sequence[Row] | None) -> Signals:
    """Those of a recording where there is one, else seeded ones."""
    return SeededSignals(seed) if rows is None else RecordedSignals(rows)
