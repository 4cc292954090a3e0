"""The ledger as a test reads it: what a device served, what was acknowledged, and what a collector must have."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby

from simulators.ledger import FaultRecord, Ledger, Part, Served, Value, read_faults, read_parts, read_served

_LOOK_S = 0.02


class LedgerView:
    """The ledger of a running plant. Each method sees everything served before it was called."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.path = ledger.path

    def served(self, device: str | None = None) -> list[Served]:
        """Every answer and notification, in the order served; of one device, or of all."""
        self._ledger.sync()
        return [row for row in read_served(self.path) if device in (None, row.device)]

    def values(self, device: str, tag: str, *, acknowledged: bool = False) -> list[Value]:
        """The values of a tag in the order served: all, or those that the client has proved to have."""
        return [
            value
            for row in self.served(device)
            if row.acknowledged or not acknowledged
            for name, value, _ in row.readings
            if name == tag
        ]

    def faults(self) -> list[FaultRecord]:
        """Every scripted or injected fault that came to pass."""
        self._ledger.sync()
        return read_faults(self.path)

    def parts(self) -> list[Part]:
        """Every part that the bench has completed."""
        self._ledger.sync()
        return read_parts(self.path)

    def wait_served(self, device: str, tag: str, count: int = 1, timeout_s: float = 10.0) -> list[Value]:
        """Return the values of a tag once it was served so often.

        Raises:
            AssertionError: not in time.
        """
        end = time.monotonic() + timeout_s
        while len(values := self.values(device, tag)) < count:
            if time.monotonic() > end:
                raise AssertionError(f"{device}.{tag} was served {len(values)} times in {timeout_s:g} s, not {count}")
            time.sleep(_LOOK_S)
        return values

    def assert_delivered(self, device: str, tag: str, delivered: Sequence[Value]) -> None:
        """Demand that a collector which reports changes has all that it proved to have.

        `delivered` is what it reported for the tag, in its order. Each value must have been served, in that order; and of the
        acknowledged ones none may be missing, except one that equals the one before it.

        Raises:
            AssertionError: says which value is lost, altered or out of order.
        """
        served = [(row.acknowledged, value) for row in self.served(device) for name, value, _ in row.readings if name == tag]
        runs = [(value, any(proved for proved, _ in run)) for value, run in groupby(served, key=lambda one: one[1])]
        at = 0
        for place, value in enumerate(key for key, _ in groupby(delivered)):
            found = next((index for index in range(at, len(runs)) if runs[index][0] == value), None)
            if found is None:
                kind = "was never served" if all(run[0] != value for run in runs) else "is out of order"
                raise AssertionError(f"{device}.{tag}: delivered value {place}, {value!r}, {kind}")
            _demand_none_lost(device, tag, runs[at:found])
            at = found + 1
        _demand_none_lost(device, tag, runs[at:])


def _demand_none_lost(device: str, tag: str, passed_over: Sequence[tuple[Value, bool]]) -> None:
    lost = [value for value, proved in passed_over if proved]
    if lost:
        raise AssertionError(f"{device}.{tag}: {len(lost)} acknowledged values were not delivered, first {lost[0]!r}")
