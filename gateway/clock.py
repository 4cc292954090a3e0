"""Time as a parameter: nothing in the gateway asks the operating system for it directly."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Callable
from enum import IntFlag
from math import ceil
from operator import itemgetter
from typing import Protocol

from drivers.prompt import Prompt
from gateway.log import Log

_STEPS_PER_S = 1000
_ROUNDING = 1e-3
"""Steps: times that differ by up to a microsecond share a timer."""
_when = itemgetter(0)
_NS = 1_000_000_000
STEP_MARK_S = 60.0
"""For so long after a step records bear its mark."""
_SLEW_NS_PER_S = 1_000_000
"""A clock that is slewed gains or loses less than this; adjtime's limit is half of it."""
_ASK_S = 16.0
"""How often the kernel is asked whether its clock is synchronised."""
_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than any platform's struct timex."""


class ClockMark(IntFlag):
    """What is wrong with the clock by which a record was stamped."""

    STEPPED = 1
    """Within the last minute it was set: times before and after can't be compared."""
    UNSYNCHRONISED = 2
    """The kernel says that nothing disciplines it."""


_STEPPED, _UNSYNCHRONISED = int(ClockMark.STEPPED), int(ClockMark.UNSYNCHRONISED)
"""Flags are ten times slower."""


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
    """The operating system's clocks. For loops that count CLOCK_MONOTONIC, as asyncio's and uvloop do.

    Sleepers wake in steps of a millisecond, up to a microsecond early; those of one step share a timer, since a thousand devices'
    timers would cost as much as a good part of their polls. They wake in the order of their times.
    """

    def __init__(self) -> None:
        self._sleepers: dict[int, list[tuple[float, Prompt[None]]]] = {}
        """Who wakes at which step, and would by a finer clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when: float) -> None:
        if when <= time.monotonic():
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        step = ceil(when * _STEPS_PER_S - _ROUNDING)
        sleepers = self._sleepers.get(step)
        if sleepers is None:
            sleepers = self._sleepers[step] = []
            loop.call_at(step / _STEPS_PER_S, self._wake, step)
        sleeper: Prompt[None] = Prompt(loop)
        sleepers.append((when, sleeper))
        await sleeper

    def timeout_at(self, when: float) -> asyncio.Timeout:
        return asyncio.timeout(max(0.0, when - time.monotonic()))

    def _wake(self, step: int) -> None:
        for _, sleeper in sorted(self._sleepers.pop(step), key=_when):
            sleeper.settle(None)


def kernel_synchronised() -> bool | None:
    """Whether the kernel says that its clock is synchronised (adjtimex(2)); None where it can't be asked."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError, TypeError):
        return None
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))  # all zero, modes too: nothing is set
    return None if state < 0 else state != _TIME_ERROR


class ClockWatch:
    """Notices when the wall clock is set, and whether it is synchronised.

    Looked at whenever a record is made. Beside the monotonic clock the wall clock may gain or lose what slewing explains, and
    `step_s` more, however many looks that takes: a clock that runs too fast is noticed as one that was set. A machine that slept
    has stepped too, since the monotonic clock sleeps with it.
    """

    def __init__(
        self, clock: Clock, log: Log, *, step_s: float = 1.0, synchronised: Callable[[], bool | None] = kernel_synchronised
    ) -> None:
        """`synchronised`: asked now and then; None when it isn't known."""
        self.steps = 0
        """How often the clock was set."""
        self.last_step_s = 0.0
        """By how much, forward or (negative) back, the last time."""
        self.synchronised: bool | None = None
        self._clock = clock
        self._log = log
        self._step_ns = step_s * _NS
        self._ask = synchronised
        self._looked_s = clock.monotonic()
        self._lead_ns = clock.now_ns() - int(self._looked_s * _NS)
        """Of the wall clock before the monotonic one: as of the last step, and what slewing has explained since."""
        self._marked_until_s = self._asked_until_s = self._looked_s

    def look(self) -> int:
        """What is wrong now, bits of ClockMark. Steps are logged once a minute at most, and counted all."""
        now_s = self._clock.monotonic()
        lead_ns = self._clock.now_ns() - int(now_s * _NS)
        gained_ns = lead_ns - self._lead_ns
        slewed_ns = int(_SLEW_NS_PER_S * (now_s - self._looked_s))
        if abs(gained_ns) > self._step_ns + slewed_ns:
            self._note_step(gained_ns / _NS, now_s)
            self._lead_ns = lead_ns
        else:
            self._lead_ns += max(-slewed_ns, min(gained_ns, slewed_ns))
        self._looked_s = now_s
        if now_s >= self._asked_until_s:
            self._asked_until_s = now_s + _ASK_S
            self._note_synchronised(self._ask())
        mark = _STEPPED if now_s < self._marked_until_s else 0
        return mark if self.synchronised is not False else mark | _UNSYNCHRONISED

    def _note_step(self, step_s: float, now_s: float) -> None:
        self.steps += 1
        self.last_step_s = step_s
        if now_s >= self._marked_until_s:
            direction = "forward" if step_s > 0 else "back"
            self._log.warning(
                f"the clock was set {direction} by {abs(step_s):.3f} s; records are marked for {STEP_MARK_S:g} s",
                event="clock_step",
                step_s=round(step_s, 3),
            )
        self._marked_until_s = now_s + STEP_MARK_S

    def _note_synchronised(self, synchronised: bool | None) -> None:
        before, self.synchronised = self.synchronised, synchronised
        if synchronised is False and before is not False:
            self._log.warning("the clock isn't synchronised; records are marked", event="clock_unsynchronised")
        elif synchronised and before is False:
            self._log.info("the clock is synchronised", event="clock_synchronised")
