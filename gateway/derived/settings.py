"""What an operator writes of derived tags and shifts."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, StringConstraints

from config.settings import Mistake, Name, Settings
from gateway.derived.days import Day

Expression = Annotated[str, Field(min_length=1)]
"""In the language of calculated tags; it may read any derived tag of its device too."""
Seconds = Annotated[float, Field(ge=0, le=86_400)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""Local time, HH:MM."""
Date = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
"""A day, YYYY-MM-DD."""


class Per(StrEnum):
    """A unit of time."""

    SECOND = "s"
    MINUTE = "min"
    HOUR = "h"


class StateNames(StrEnum):
    """How states are called."""

    PLAIN = "plain"
    PACKML = "packml"


class MachineState(StrEnum):
    """What a machine does, as far as it can be seen from outside."""

    OFF = "off"
    IDLE = "idle"
    RUNNING = "running"
    FAULT = "fault"


class Period(StrEnum):
    """What OEE is reckoned over."""

    SHIFT = "shift"
    ORDER = "order"


class Derived(Settings):
    """What all derived tags have."""

    device: Name
    """The device whose tag it becomes; it is looked at when this device is read."""
    name: Name
    """The tag's name; further results are called name.what."""
    deadband: float = Field(default=0.0, ge=0)
    """A change smaller than or equal to this isn't reported."""
    heartbeat_s: float | None = Field(default=None, gt=0)
    """Report it at least this often, even unchanged; left out, the gateway's own heartbeat holds."""
    priority: int | None = Field(default=None, ge=-100, le=100)
    """For drop_by_priority of the outbox; left out, the device's in outbox.priorities."""
    gap_s: float | None = Field(default=None, gt=0)
    """Without a reading for longer than this nothing is known of the time; left out, three periods of its device and a second.

    A device that pushes its values has no such limit unless it is given.
    """


class DebounceSettings(Derived):
    """A Boolean that follows its input only once that has stayed for a while."""

    kind: Literal["debounce"]
    """Always debounce."""
    input: Expression
    """A Boolean tag, or an expression that gives one."""
    on_s: Seconds = 0.0
    """How long the input must be true."""
    off_s: Seconds = 0.0
    """How long it must be false."""


class HysteresisSettings(Derived):
    """A Boolean from a number: true above one threshold, false below another, unchanged between them."""

    kind: Literal["hysteresis"]
    """Always hysteresis."""
    input: Expression
    """A number, such as a clamp's current."""
    on_above: float
    """Above this it becomes true."""
    off_below: float
    """Below this it becomes false."""
    unit: str | None = None
    """Unit of the thresholds; it must be the input's."""
    on_s: Seconds = 0.0
    """For how long the input must stay above on_above."""
    off_s: Seconds = 0.0
    """For how long it must stay below off_below."""

    def mistakes(self) -> Iterator[Mistake]:
        """Thresholds that have changed places."""
        if self.off_below > self.on_above:
            yield ("off_below",), f"off_below {self.off_below:g} is above on_above {self.on_above:g}", "exchange them"


class LampSettings(Derived):
    """A lamp that may flicker or blink. True while it is lit or blinks; name.blinking: while it blinks."""

    kind: Literal["lamp"]
    """Always lamp."""
    input: Expression
    """The lamp's bit."""
    flicker_s: Seconds = 0.25
    """Being dark for no longer than this is flicker; it must span two polls to be of use."""
    blink_s: Seconds = 3.0
    """On, off and on again within this is blinking."""


class CountSettings(Derived):
    """Parts since the beginning, from a counter that rolls over, resets and bounces. name.resets: how often it was reset."""

    kind: Literal["count"]
    """Always count."""
    input: Expression
    """The counter's tag; whole numbers to 2^53."""
    bits: int | None = Field(default=None, ge=4, le=53)
    """Width of the counter: it goes on from 0 after 2^bits - 1."""
    modulus: float | None = Field(default=None, ge=2, le=2.0**53)
    """How many values it has, where that isn't a power of two: 10000 for one that goes on from 0 after 9999."""
    shortest_s: float | None = Field(default=None, gt=0, le=86_400)
    """The machine can't make parts faster than one in so long: what comes faster is bounce, and isn't counted."""
    max_step: float | None = Field(default=None, ge=1)
    """Most parts between two readings; a greater step isn't counted. Left out, a sixteenth of the modulus on a roll-over."""

    @property
    def values(self) -> float:
        """How many values the counter has; infinite where it doesn't roll over."""
        return float("inf") if self.bits is None and self.modulus is None else self.modulus or 2.0 ** (self.bits or 0)

    def mistakes(self) -> Iterator[Mistake]:
        """Two widths."""
        if self.bits is not None and self.modulus is not None:
            yield ("modulus",), "a counter has bits or a modulus, not both", "leave one of them out"


class RateSettings(Derived):
    """How fast a number grows, over a sliding window."""

    kind: Literal["rate"]
    """Always rate."""
    input: Expression
    """A number; of a counter that rolls over, give its count."""
    per: Per = Per.MINUTE
    """s, min or h."""
    window_s: float = Field(default=60.0, gt=0, le=86_400)
    """Over how long."""


class StateSettings(Derived):
    """The machine's state as a text; the first condition that holds decides, in the order fault, running, idle, off.

    Expressions read it as name.fault, name.running, name.idle and name.off. The reading's source_t is when the state began.
    """

    kind: Literal["state"]
    """Always state."""
    fault: Expression | None = None
    """When it is in fault."""
    running: Expression | None = None
    """When it runs."""
    idle: Expression | None = None
    """When it is ready and doesn't run."""
    off: Expression | None = None
    """When it is off."""
    otherwise: MachineState | None = None
    """The state when no condition holds; left out, it is then unknown (BadNoData)."""
    hold_s: Seconds = 0.0
    """How long another state must stay before it counts; it then counts from its begin."""
    names: StateNames = StateNames.PLAIN
    """plain: off, idle, running, fault; packml: Stopped, Idle, Execute, Aborted (ISA-TR88.00.02)."""

    def mistakes(self) -> Iterator[Mistake]:
        """No condition at all."""
        if self.fault is self.running is self.idle is self.off is None:
            yield (), "a state needs a condition", "add running:, idle:, fault: or off:"


class CycleSettings(Derived):
    """How long the last cycle took, in seconds; name.count: how many there were."""

    kind: Literal["cycle"]
    """Always cycle."""
    input: Expression
    """A Boolean that becomes true once per cycle (a pulse, a hysteresis, a state), or a count."""
    shortest_s: Seconds = 0.0
    """What comes sooner after the last one is bounce; for Booleans."""
    longest_s: float | None = Field(default=None, gt=0)
    """What took longer held a stop: it is counted, its time isn't told."""


class StopsSettings(Derived):
    """name: how many stops were no longer than micro_s; name.long, name.unclear (a gap leaves it open), name.stopped_s in all."""

    kind: Literal["stops"]
    """Always stops."""
    running: Expression
    """Whether the machine runs, such as state.running."""
    micro_s: float = Field(gt=0, le=86_400)
    """A stop up to so long is a micro-stop."""
    unless: Expression | None = None
    """A stop in which this was true at any time isn't counted, such as state.off."""


class OeeSettings(Derived):
    """OEE of the planned time of each shift or order; its parts are name.availability and so on (docs/dumb-devices.md)."""

    kind: Literal["oee"]
    """Always oee."""
    state: Name
    """A state of this device."""
    count: Expression
    """A count of this device: all parts, bad ones too."""
    reject: Expression | None = None
    """A count of bad parts; left out, there is no quality, and OEE is availability times performance."""
    ideal_cycle_s: float = Field(gt=0)
    """How long a part takes at best."""
    per: Period = Period.SHIFT
    """shift or order."""
    order: Name | None = None
    """Tag of this device with the production order, a number or a text; for per: order."""
    every_s: float = Field(default=60.0, ge=1, le=86_400)
    """How often the figures so far are told; the last ones of a period come with name.closed true."""

    def mistakes(self) -> Iterator[Mistake]:
        """An order where none is needed, or none where it is."""
        if (self.per is Period.ORDER) != (self.order is not None):
            missing = self.order is None
            yield ("order",), "per: order needs the tag of the order" if missing else "order is for per: order", None


class EnergySettings(Derived):
    """Energy of the last counted part, or the mean of those between two readings; name.total: the energy so far, of a power."""

    kind: Literal["energy_per_part"]
    """Always energy_per_part."""
    energy: Expression | None = None
    """An energy counter; its unit becomes the result's."""
    power: Expression | None = None
    """Or a power, which is summed up over time; WTT gives WHR, KWT gives KWH."""
    count: Expression
    """A count of this device."""

    def mistakes(self) -> Iterator[Mistake]:
        """Both sources, or none."""
        if (self.energy is None) == (self.power is None):
            yield (), "it needs either energy: or power:", None


DerivedSettings = Annotated[
    DebounceSettings
    | HysteresisSettings
    | LampSettings
    | CountSettings
    | RateSettings
    | StateSettings
    | CycleSettings
    | StopsSettings
    | OeeSettings
    | EnergySettings,
    Field(discriminator="kind"),
]
"""One entry of `derived`; its key `kind` says what is derived."""


class BreakSettings(Settings):
    """A planned break within a shift."""

    begin: TimeOfDay
    """When it begins."""
    end: TimeOfDay
    """When it ends."""


class ShiftSettings(Settings):
    """A shift; it belongs to the day on which it begins."""

    name: Name
    """Its name."""
    begin: TimeOfDay
    """When it begins, local time."""
    end: TimeOfDay
    """When it ends; not later than its begin means on the next day."""
    days: tuple[Day, ...] = tuple(Day)
    """On which days it begins."""
    breaks: tuple[BreakSettings, ...] = ()
    """Planned breaks: no planned time."""


class CalendarSettings(Settings):
    """When the plant is meant to work."""

    time_zone: str = "UTC"
    """A zone of the tz database, such as Asia/Shanghai; daylight saving is reckoned with."""
    shifts: tuple[ShiftSettings, ...] = ()
    """The shifts; they must not overlap."""
    holidays: tuple[Date, ...] = ()
    """Days on which no shift begins."""

    def mistakes(self) -> Iterator[Mistake]:
        """An unknown zone, shifts or breaks that overlap."""
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield ("time_zone",), f"there is no time zone {self.time_zone!r}", "write it as Asia/Shanghai"
            return
        from gateway.derived.shifts import calendar_mistakes

        yield from calendar_mistakes(self)
