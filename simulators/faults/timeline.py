"""Begins and ends the faults of a device itself, by the loop's time: outages, stuck values, clock steps."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from simulators.faults.script import TimedFault

_Fault = TypeVar("_Fault", bound=TimedFault)


class Timeline(Generic[_Fault]):
    """Callbacks only: on a loop whose time is virtual, it is virtual too."""

    def __init__(
        self, faults: Sequence[_Fault], begin: Callable[[int, _Fault], None], end: Callable[[int, _Fault], None]
    ) -> None:
        """`begin` and `end` get a fault's place among `faults`, and the fault. One without `for_s` has no end."""
        self._faults = faults
        self._places = itertools.count(len(faults))
        self._begin_fault = begin
        self._end_fault = end
        self._timers: set[asyncio.TimerHandle] = set()

    def start(self, elapsed_s: float) -> None:
        """`elapsed_s`: how long the plant has run."""
        start = asyncio.get_running_loop().time() - elapsed_s
        for place, fault in enumerate(self._faults):
            self._at(start + fault.at_s, self._begin, place, fault)

    def add(self, fault: _Fault) -> None:
        """One more, whose times count from now."""
        self._at(asyncio.get_running_loop().time() + fault.at_s, self._begin, next(self._places), fault)

    def stop(self) -> None:
        """Nothing begins or ends any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _at(self, when: float, call: Callable[[int, _Fault, float], None], place: int, fault: _Fault) -> None:
        def due() -> None:
            self._timers.discard(timer)
            call(place, fault, when)

        timer = asyncio.get_running_loop().call_at(when, due)
        self._timers.add(timer)

    def _begin(self, place: int, fault: _Fault, when: float) -> None:
        self._begin_fault(place, fault)
        for_s = getattr(fault, "for_s", None)
        if for_s is not None:
            self._at(when + for_s, self._end, place, fault)
        if fault.again_s is not None:
            self._at(when + fault.again_s, self._begin, place, fault)

    def _end(self, place: int, fault: _Fault, when: float) -> None:
        del when
        self._end_fault(place, fault)
