"""Which request meets which fault. Pure: the same script, seed and sequence of requests give the same faults."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from simulators.faults.script import (
    AnyRequestFault,
    DeviceFault,
    FaultKind,
    RequestFault,
    TimedFault,
)
from simulators.modbus.framing import FramingKind
from simulators.plant.noise import uniform

_S = 1_000_000_000
CHANNEL = 1000
"""Channels of the seed from here on belong to faults, one each; the plant's physics use those below."""
_DRAWS = 1024
"""Numbers that one fault may draw for one request."""

Dice = Callable[[int], float]
"""The kth number, in [0, 1), that belongs to one fault and one request."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that is due for a request."""

    fault: Any
    """A RequestFault."""
    dice: Dice


@dataclass(slots=True)
class Line:
    """One fault of the script, and how far it has come."""

    fault: RequestFault
    channel: int
    is_added: bool = False
    """Beyond the script."""
    seen: int = 0
    struck: int = 0

    def take(self, seed: int) -> Strike | None:
        """Count a request that reaches this fault in its time."""
        if self.fault.count is not None and self.struck >= self.fault.count:
            return None
        self.seen += 1
        first = self.seen * _DRAWS
        if self.seen % self.fault.every or uniform(seed, self.channel, first) >= self.fault.probability:
            return None
        self.struck += 1
        return Strike(self.fault, lambda k: uniform(seed, self.channel, first + 1 + k % (_DRAWS - 1)))


class Schedule:
    """The request faults of one device."""

    def __init__(self, script: Sequence[Any], device: str, seed: int) -> None:
        """`script`: the whole of it; a fault's place there is its channel of the seed."""
        self._seed = seed
        self._channels = itertools.count(CHANNEL + len(script))
        self._lines = [
            Line(fault, CHANNEL + place)
            for place, fault in enumerate(script)
            if fault.device == device and isinstance(fault, AnyRequestFault)
        ]

    def add(self, fault: AnyRequestFault) -> None:
        """One more, behind the others; with a channel that no fault had before."""
        self._lines.append(Line(fault, next(self._channels), is_added=True))

    def withdraw(self) -> None:
        """Take away all that were added."""
        self._lines = [line for line in self._lines if not line.is_added]

    def choose(self, elapsed_ns: int, framing: FramingKind, *, has_data: bool) -> Strike | None:
        """The fault of the next request, of which there is one per call.

        Args:
            elapsed_ns: since the plant's start.
            has_data: whether the device has an answer with readings; a byte count can only be wrong in such a one.
        """
        for line in self._lines:
            fault: Any = line.fault
            if in_force(fault, elapsed_ns) and _applies(fault.kind, framing, has_data):
                strike = line.take(self._seed)
                if strike is not None:
                    return strike
        return None


@dataclass(frozen=True, slots=True)
class Lab:
    """What the fault script holds for one device."""

    schedule: Schedule
    device_faults: tuple[DeviceFault, ...] = ()
    patience_ns: int = 0
    """An answer that a fault made later than this is never demanded of the client."""


def lab_for(script: Sequence[Any], device: str, seed: int, patience_s: float = 0.0) -> Lab:
    """The part of a script that belongs to a device."""
    faults = tuple(fault for fault in script if fault.device == device and not isinstance(fault, AnyRequestFault))
    return Lab(Schedule(script, device, seed), faults, round(patience_s * _S))


def in_force(fault: TimedFault, elapsed_ns: int) -> bool:
    """Whether an instant lies in one of the fault's times."""
    since_ns = elapsed_ns - round(fault.at_s * _S)
    for_s = getattr(fault, "for_s", None)
    if since_ns < 0:
        return False
    if fault.again_s is not None:
        since_ns %= round(fault.again_s * _S)
    return for_s is None or since_ns < round(for_s * _S)


def _applies(kind: FaultKind, framing: FramingKind, has_data: bool) -> bool:
    """Whether a frame has what the fault makes wrong."""
    if kind is FaultKind.WRONG_TRANSACTION:
        return framing is FramingKind.MBAP
    if kind is FaultKind.WRONG_CHECKSUM:
        return framing is not FramingKind.MBAP
    return has_data or kind is not FaultKind.WRONG_BYTE_COUNT
