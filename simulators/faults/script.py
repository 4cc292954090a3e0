"""A fault script as an operator writes it: what happens to which device, and when. Times are the plant's own, from its start."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from config.settings import Mistake, Name, Settings

_COUNT_FIELD = 255
"""A byte count is a byte."""


class FaultKind(StrEnum):
    """Every fault. docs/simulators.md says what each does and which test shows it."""

    DELAY = "delay"
    JITTER = "jitter"
    TRICKLE = "trickle"
    DROP = "drop"
    LATE = "late"
    REPEATED = "repeated"
    WRONG_TRANSACTION = "wrong_transaction"
    WRONG_UNIT = "wrong_unit"
    WRONG_FUNCTION = "wrong_function"
    WRONG_CHECKSUM = "wrong_checksum"
    CUT = "cut"
    TRUNCATED = "truncated"
    OVERSIZED = "oversized"
    WRONG_BYTE_COUNT = "wrong_byte_count"
    JUNK = "junk"
    EXCEPTION = "exception"
    REFUSE = "refuse"
    HALF_OPEN = "half_open"
    RESTART = "restart"
    STUCK = "stuck"
    CLOCK_STEP = "clock_step"


class TimedFault(Settings):
    """What every fault has."""

    device: Name
    """The device that misbehaves."""
    at_s: float = Field(default=0.0, ge=0)
    """When it begins, in seconds since the plant's start."""
    again_s: float | None = Field(default=None, gt=0)
    """Begin anew every so many seconds; left out, it comes once."""


class RequestFault(TimedFault):
    """A fault of single answers. A request has at most one: that of the first fault in the list which is due."""

    for_s: float | None = Field(default=None, gt=0)
    """How long it is in force, in seconds; left out, to the end."""
    every: int = Field(default=1, ge=1)
    """Every so many requests, of those that no earlier fault of the list has taken, counted while it is in force."""
    probability: float = Field(default=1.0, gt=0, le=1)
    """Of each such request, drawn from the plant's seed."""
    count: int | None = Field(default=None, ge=1)
    """After so many it is over; left out, it never is."""

    def mistakes(self) -> Iterator[Mistake]:
        """A repetition without an end, or before the end."""
        yield from repetition_mistakes(self.for_s, self.again_s)


class SlowFault(RequestFault):
    """The answer is right, but slow."""

    kind: Literal[FaultKind.DELAY, FaultKind.JITTER, FaultKind.TRICKLE]
    """delay waits for delay_s, jitter for a part of it drawn from the seed, trickle before each single byte."""
    delay_s: float = Field(gt=0, le=3600)
    """How slow, in seconds."""


class PlainFault(RequestFault):
    """A fault without parameters."""

    kind: Literal[
        FaultKind.DROP,
        FaultKind.LATE,
        FaultKind.REPEATED,
        FaultKind.WRONG_TRANSACTION,
        FaultKind.WRONG_UNIT,
        FaultKind.WRONG_FUNCTION,
        FaultKind.WRONG_CHECKSUM,
    ]
    """drop: no answer; late: after the next request's; repeated: twice; the others: right but for that one field."""


class BytesFault(RequestFault):
    """Bytes are missing, or too many."""

    kind: Literal[
        FaultKind.CUT,
        FaultKind.TRUNCATED,
        FaultKind.OVERSIZED,
        FaultKind.WRONG_BYTE_COUNT,
        FaultKind.JUNK,
    ]
    """cut: close after so many; truncated, oversized: so many less, more; wrong_byte_count: announces more; junk: before it."""
    bytes: int = Field(default=2, ge=0, le=1000)
    """How many."""

    def mistakes(self) -> Iterator[Mistake]:
        """As every request's fault; and nothing is done with 0 bytes but a cut."""
        yield from super().mistakes()
        if self.bytes == 0 and self.kind is not FaultKind.CUT:
            yield ("bytes",), f"{self.kind.value} by 0 bytes does nothing", "1 or more"
        if self.bytes > _COUNT_FIELD and self.kind is FaultKind.WRONG_BYTE_COUNT:
            yield ("bytes",), f"a byte count can't be wrong by {self.bytes}", f"{_COUNT_FIELD} at most"


class ExceptionFault(RequestFault):
    """The device answers with an exception."""

    kind: Literal[FaultKind.EXCEPTION]
    """exception: in place of the data."""
    code: int = Field(ge=1, le=255)
    """The exception's code: 2 illegal address, 4 device failure, 6 busy, 11 no answer behind a gateway."""


class OutageFault(TimedFault):
    """The device can't be had for a while."""

    kind: Literal[FaultKind.REFUSE, FaultKind.HALF_OPEN, FaultKind.RESTART]
    """refuse: no new connections; half_open: those made now are never answered; restart: off, then from power-up again."""
    for_s: float = Field(gt=0)
    """How long, in seconds."""

    def mistakes(self) -> Iterator[Mistake]:
        """A repetition before the end."""
        yield from repetition_mistakes(self.for_s, self.again_s)


class StuckFault(TimedFault):
    """Values stand still; the device answers as if nothing were wrong."""

    kind: Literal[FaultKind.STUCK]
    """stuck: what was measured when it began is served on."""
    for_s: float = Field(gt=0)
    """How long, in seconds."""
    tags: tuple[Name, ...] = ()
    """Which; left out, all of the device."""

    def mistakes(self) -> Iterator[Mistake]:
        """A repetition before the end."""
        yield from repetition_mistakes(self.for_s, self.again_s)


class ClockStepFault(TimedFault):
    """The device's own clock jumps: from then on it measures what belongs to that other time."""

    kind: Literal[FaultKind.CLOCK_STEP]
    """clock_step: forward, or back."""
    step_s: float
    """By how much, in seconds; back when negative."""


AnyRequestFault = SlowFault | PlainFault | BytesFault | ExceptionFault
DeviceFault = OutageFault | StuckFault | ClockStepFault
Fault = Annotated[AnyRequestFault | DeviceFault, Field(discriminator="kind")]


def repetition_mistakes(for_s: float | None, again_s: float | None) -> Iterator[Mistake]:
    """What is wrong with a fault that comes again."""
    if again_s is None:
        return
    if for_s is None:
        yield ("again_s",), "repeats what has no end", "say how long it lasts with for_s"
    elif again_s <= for_s:
        yield ("again_s",), f"begins anew after {again_s:g} s, before it ends ({for_s:g} s)", "more than for_s"
