"""Dumb machines with known true states: a lathe, a press, a saw, seen through lamps, a clamp, a counter and a door contact.

Everything at an instant follows from the seed, the counter too. What the sensors do to the truth is what such sensors do: the
green lamp flickers at 5 Hz, the red one blinks once a second, the clamp is noisy, the counter has 16 bits, begins anew when the
machine is switched off, and counts some parts twice since its contact bounces, as the door's does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

from simulators.plant.noise import bell, uniform

_S = 1_000_000_000
_MS = 1_000_000
COUNTER_VALUES = 1 << 16
CLAMP_A = 0.01
"""Amperes per count of the clamp's register."""
_FIRST_COUNT = 65_480
_FLICKER_NS, _DARK_NS = 200 * _MS, 80 * _MS
"""The green lamp's contact is loose: it is dark for the last part of each such period."""
_BLINK_NS = 1_000 * _MS
_CLAMP_TICK_NS = 10 * _MS
_CLAMP_NOISE_A = 0.08
_BOUNCE_NS, _BOUNCE_SHARE = 30 * _MS, 0.08
"""How long behind a part the counter counts it again, and how often it does."""
_DOOR_BOUNCE_NS, _DOOR_TICK_NS = 60 * _MS, 8 * _MS
_DOOR = (0.2, 0.9)
"""Between which shares of a fault the door stands open."""
_LOAD_SHARE = 0.4
"""Which part of a cycle the motor is under load."""
_VOLT_AMPERE = 3 * 230.0 * 0.8
"""Watts per ampere of the clamped phase."""


class Truth(Enum):
    """What the machine really does, with what it draws meanwhile in A (beside the load of a cycle)."""

    OFF = "off", 0.0
    IDLE = "idle", 1.0
    RUNNING = "running", 3.0
    FAULT = "fault", 0.8

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def amperes(self) -> float:
        return self.value[1]


_LOAD_A = 4.0
_DWELL_S = {Truth.OFF: (240.0, 900.0), Truth.RUNNING: (60.0, 900.0), Truth.FAULT: (20.0, 300.0)}
_MICRO_S, _LONG_S = (4.0, 50.0), (70.0, 400.0)
_MICRO_SHARE = 0.6
MICRO_S = 60.0
"""No stop is nearly as long: what is shorter is a micro-stop."""
_NEXT: dict[Truth, tuple[tuple[float, Truth], ...]] = {
    Truth.OFF: ((1.0, Truth.IDLE),),
    Truth.IDLE: ((0.93, Truth.RUNNING), (0.07, Truth.OFF)),
    Truth.RUNNING: ((0.85, Truth.IDLE), (0.15, Truth.FAULT)),
    Truth.FAULT: ((1.0, Truth.IDLE),),
}


@dataclass(frozen=True, slots=True)
class Sensors:
    """What can be seen at one instant."""

    red: bool
    yellow: bool
    green: bool
    door_open: bool
    counter: int
    """16 bits."""
    current: int
    """In counts of CLAMP_A."""


@dataclass(frozen=True, slots=True)
class Dwell:
    """One true state from its begin to its end. Times in ns since power-up."""

    begin_ns: int
    end_ns: int
    state: Truth
    cycle_ns: int
    """How long a part takes; parts are made while it runs."""
    parts: int
    """Made before."""
    reset_at: int
    """The parts at which the counter last began at its first value."""
    is_first_power: bool
    joules: float
    """Drawn before."""

    @property
    def made(self) -> int:
        """Parts of this dwell."""
        return (self.end_ns - self.begin_ns) // self.cycle_ns if self.state is Truth.RUNNING else 0


class DumbMachine:
    """One machine's whole life, made as far as it is asked for."""

    def __init__(self, seed: int, name: str) -> None:
        self._seed = seed
        self._random = Random(f"{name}/{seed}")
        self._salt = self._random.getrandbits(31)
        self._dwells = [self._dwell(0, Truth.IDLE, 0, 0, 0.0, is_first_power=True)]
        self._begins = [0]

    def at(self, elapsed_ns: int) -> Sensors:
        """The sensors `elapsed_ns` after power-up."""
        elapsed_ns = max(elapsed_ns, 0)
        dwell = self._at(elapsed_ns)
        within_ns = elapsed_ns - dwell.begin_ns
        noise = _CLAMP_NOISE_A * bell(self._salt, 1, elapsed_ns // _CLAMP_TICK_NS)
        return Sensors(
            red=dwell.state is Truth.FAULT and within_ns % _BLINK_NS < _BLINK_NS // 2,
            yellow=dwell.state is Truth.IDLE,
            green=dwell.state is Truth.RUNNING and elapsed_ns % _FLICKER_NS < _FLICKER_NS - _DARK_NS,
            door_open=self._door(dwell, elapsed_ns),
            counter=self._counter(dwell, elapsed_ns),
            current=max(0, round((_amperes(dwell, elapsed_ns) + noise) / CLAMP_A)),
        )

    def dwells(self, begin_ns: int, end_ns: int) -> Iterator[Dwell]:
        """The true states that touch a span, in order."""
        dwell = self._at(begin_ns)
        while dwell.begin_ns < end_ns:
            yield dwell
            dwell = self._at(dwell.end_ns)

    def parts(self, begin_ns: int, end_ns: int) -> int:
        """How many parts were finished in [begin, end)."""
        return self._made(end_ns) - self._made(begin_ns)

    def spent_s(self, state: Truth, begin_ns: int, end_ns: int) -> float:
        """How long it was in a state."""
        spans = [
            min(one.end_ns, end_ns) - max(one.begin_ns, begin_ns) for one in self.dwells(begin_ns, end_ns) if one.state is state
        ]
        return sum(spans) / _S

    def stops_s(self, begin_ns: int, end_ns: int) -> list[float]:
        """The lengths of the stops that began and ended within a span, those in which it was off left out."""
        stops: list[float] = []
        since_ns: int | None = None
        is_excused = False
        before = None
        for one in self.dwells(begin_ns, end_ns):
            if one.state is Truth.RUNNING:
                if since_ns is not None and not is_excused:
                    stops.append((one.begin_ns - since_ns) / _S)
                since_ns, is_excused = None, False
            elif before is Truth.RUNNING:
                since_ns = one.begin_ns
            is_excused |= one.state is Truth.OFF
            before = one.state
        return stops

    def facts(self, begin_ns: int, end_ns: int) -> list[tuple[int, str, str]]:
        """What happened in [begin, end): when (ns since power-up), what (state, part, door), and its value."""
        found: list[tuple[int, str, str]] = []
        for one in self.dwells(begin_ns, end_ns):
            found.append((one.begin_ns, "state", one.state.word))
            found += [(one.begin_ns + nth * one.cycle_ns, "part", str(one.parts + nth)) for nth in range(1, one.made + 1)]
            found += [(mark, "door", word) for mark, word in zip(_door_span(one), ("open", "closed"), strict=False)]
        return sorted(fact for fact in found if begin_ns <= fact[0] < end_ns)

    def energy_j(self, elapsed_ns: int) -> float:
        """What it has drawn since power-up."""
        dwell = self._at(elapsed_ns)
        return dwell.joules + _joules(dwell, elapsed_ns - dwell.begin_ns)

    def _made(self, elapsed_ns: int) -> int:
        dwell = self._at(max(elapsed_ns - 1, 0))
        return dwell.parts + min(_within(dwell, elapsed_ns), dwell.made)

    def _at(self, elapsed_ns: int) -> Dwell:
        while elapsed_ns >= self._dwells[-1].end_ns:
            last = self._dwells[-1]
            shares, states = zip(*_NEXT[last.state], strict=True)
            (state,) = self._random.choices(states, shares)
            parts = last.parts + last.made
            is_switched_off = state is Truth.OFF
            reset_at = parts if is_switched_off else last.reset_at
            joules = last.joules + _joules(last, last.end_ns - last.begin_ns)
            first = last.is_first_power and not is_switched_off
            self._dwells.append(self._dwell(last.end_ns, state, parts, reset_at, joules, is_first_power=first))
            self._begins.append(last.end_ns)
        return self._dwells[bisect_right(self._begins, elapsed_ns) - 1]

    def _dwell(self, begin_ns: int, state: Truth, parts: int, reset_at: int, joules: float, *, is_first_power: bool) -> Dwell:
        span = _DWELL_S.get(state) or (_MICRO_S if self._random.random() < _MICRO_SHARE else _LONG_S)
        length_ns = round(self._random.uniform(*span) * _S)
        cycle_ns = round(self._random.uniform(3.0, 6.0) * _S)
        return Dwell(begin_ns, begin_ns + length_ns, state, cycle_ns, parts, reset_at, is_first_power, joules)

    def _counter(self, dwell: Dwell, elapsed_ns: int) -> int:
        made = dwell.parts + min(_within(dwell, elapsed_ns), dwell.made)
        last_ns = dwell.begin_ns + (made - dwell.parts) * dwell.cycle_ns if dwell.state is Truth.RUNNING else 0
        settled = made if elapsed_ns - last_ns >= _BOUNCE_NS or made == dwell.parts else made - 1
        again = self._bounces(settled) - self._bounces(dwell.reset_at)
        first = _FIRST_COUNT if dwell.is_first_power else 0
        return (first + made - dwell.reset_at + again) % COUNTER_VALUES

    def _bounces(self, made: int) -> int:
        """How many of the first parts were counted twice."""
        every = round(1 / _BOUNCE_SHARE)
        return (made + self._salt % every) // every

    def _door(self, dwell: Dwell, elapsed_ns: int) -> bool:
        span = _door_span(dwell)
        if not span:
            return False
        for mark, becomes in zip(span, (True, False), strict=True):
            if 0 <= elapsed_ns - mark < _DOOR_BOUNCE_NS:
                return (uniform(self._salt, 2, elapsed_ns // _DOOR_TICK_NS) < 0.5) is becomes
        return span[0] <= elapsed_ns < span[1]


def _door_span(dwell: Dwell) -> tuple[int, ...]:
    if dwell.state is not Truth.FAULT:
        return ()
    length_ns = dwell.end_ns - dwell.begin_ns
    return tuple(dwell.begin_ns + round(share * length_ns) for share in _DOOR)


def _within(dwell: Dwell, elapsed_ns: int) -> int:
    """Parts of this dwell that are finished by then."""
    return (elapsed_ns - dwell.begin_ns) // dwell.cycle_ns if dwell.state is Truth.RUNNING else 0


def _amperes(dwell: Dwell, elapsed_ns: int) -> float:
    phase = (elapsed_ns - dwell.begin_ns) % dwell.cycle_ns / dwell.cycle_ns
    is_loaded = dwell.state is Truth.RUNNING and phase < _LOAD_SHARE
    return dwell.state.amperes + (_LOAD_A if is_loaded else 0.0)


def _joules(dwell: Dwell, within_ns: int) -> float:
    watts = dwell.state.amperes * _VOLT_AMPERE
    joules = watts * within_ns / _S
    if dwell.state is Truth.RUNNING:
        cycles, rest_ns = divmod(within_ns, dwell.cycle_ns)
        loaded_ns = cycles * dwell.cycle_ns * _LOAD_SHARE + min(rest_ns, dwell.cycle_ns * _LOAD_SHARE)
        joules += _LOAD_A * _VOLT_AMPERE * loaded_ns / _S
    return joules
