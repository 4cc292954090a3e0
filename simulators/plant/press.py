"""A dumb press seen from outside: its stack light, a pulse for each stroke, and a clamp round one motor phase.

It runs by itself on a seeded timeline of states; everything at an instant follows from the timeline, so any instant can be
asked for, in any order.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from math import pi, sin
from random import Random

from simulators.plant.noise import bell

_S = 1_000_000_000
_MS = 1_000_000
_CLAMP_TICK_NS = 10 * _MS
"""The clamp's transducer settles this often; within one tick its noise stands still."""
_CLAMP_NOISE_A = 0.03
_PULSE_WRAP = 1 << 32
_STROKE_SHARE = 0.35
"""Which part of a stroke the ram is under load."""
_STROKE_PEAK_W = 5_600.0
_PHASE_VOLTAGE_V = 230.0
CLAMP_A = 0.01
"""Amperes per count of the clamp's register."""


class Light(Enum):
    """What the stack light says. (mean power in W without the stroke, power factor)"""

    OFF = (0.0, 1.0)
    IDLE = (420.0, 0.45)
    RUNNING = (1_150.0, 0.82)
    FAULT = (260.0, 0.40)

    @property
    def base_w(self) -> float:
        return self.value[0]

    @property
    def power_factor(self) -> float:
        return self.value[1]


_DWELL_S = {Light.OFF: (15.0, 45.0), Light.IDLE: (4.0, 12.0), Light.RUNNING: (20.0, 75.0), Light.FAULT: (5.0, 20.0)}
_NEXT: dict[Light, tuple[tuple[float, Light], ...]] = {
    Light.OFF: ((1.0, Light.IDLE),),
    Light.IDLE: ((0.93, Light.RUNNING), (0.05, Light.FAULT), (0.02, Light.OFF)),
    Light.RUNNING: ((0.88, Light.IDLE), (0.12, Light.FAULT)),
    Light.FAULT: ((0.9, Light.IDLE), (0.1, Light.OFF)),
}
_DOOR_OPEN = {Light.IDLE: (0.25, 0.75), Light.FAULT: (0.2, 0.95)}
"""Between which shares of a dwell the door stands open: the operator loads, or clears the fault."""


@dataclass(frozen=True, slots=True)
class PressReading:
    """What the retrofitted sensors show at one instant, as the wire carries it."""

    light_red: bool
    light_yellow: bool
    light_green: bool
    door_open: bool
    pulses: int
    """Strokes since power-up, modulo 2**32."""
    current: int
    """Clamp, in counts of CLAMP_A, 0..65535."""


@dataclass(frozen=True, slots=True)
class _Dwell:
    """One state from its start to its end, and what had come to pass before it. Times in ns since power-up."""

    start_ns: int
    end_ns: int
    light: Light
    stroke_ns: int
    pulses: int
    joules: float


class Press:
    """The press's whole life, made as far as it is asked for."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random(f"press/{seed}")
        self._dwells = [self._dwell(0, Light.RUNNING, 0, 0.0)]
        self._starts = [0]

    def at(self, elapsed_ns: int) -> PressReading:
        """The sensors `elapsed_ns` after power-up (before it: as at power-up)."""
        elapsed_ns = max(elapsed_ns, 0)
        dwell = self._at(elapsed_ns)
        amperes = self.power_w(elapsed_ns) / (3.0 * _PHASE_VOLTAGE_V * dwell.light.power_factor)
        noise = _CLAMP_NOISE_A * bell(self._seed, 1, elapsed_ns // _CLAMP_TICK_NS)
        return PressReading(
            light_red=dwell.light is Light.FAULT,
            light_yellow=dwell.light is Light.IDLE,
            light_green=dwell.light is Light.RUNNING,
            door_open=_door_open(dwell, elapsed_ns),
            pulses=_pulses(dwell, elapsed_ns) % _PULSE_WRAP,
            current=min(max(round((amperes + noise) / CLAMP_A), 0), 0xFFFF),
        )

    def light(self, elapsed_ns: int) -> Light:
        """The state at an instant."""
        return self._at(max(elapsed_ns, 0)).light

    def power_w(self, elapsed_ns: int) -> float:
        """Electrical power drawn at an instant, all phases together, without noise."""
        dwell = self._at(max(elapsed_ns, 0))
        if dwell.light is not Light.RUNNING:
            return dwell.light.base_w
        phase = (max(elapsed_ns, 0) - dwell.start_ns) % dwell.stroke_ns / dwell.stroke_ns
        if phase >= _STROKE_SHARE:
            return dwell.light.base_w
        return dwell.light.base_w + _STROKE_PEAK_W * sin(pi * phase / _STROKE_SHARE) ** 2

    def energy_j(self, elapsed_ns: int) -> float:
        """The integral of power_w() since power-up, in closed form."""
        elapsed_ns = max(elapsed_ns, 0)
        return _joules(self._at(elapsed_ns), elapsed_ns)

    def _at(self, elapsed_ns: int) -> _Dwell:
        while elapsed_ns >= self._dwells[-1].end_ns:
            last = self._dwells[-1]
            light = self._choose(last.light)
            dwell = self._dwell(last.end_ns, light, _pulses(last, last.end_ns), _joules(last, last.end_ns))
            self._dwells.append(dwell)
            self._starts.append(dwell.start_ns)
        return self._dwells[bisect_right(self._starts, elapsed_ns) - 1]

    def _choose(self, light: Light) -> Light:
        shares, successors = zip(*_NEXT[light], strict=True)
        (light,) = self._random.choices(successors, shares)
        return light

    def _dwell(self, start_ns: int, light: Light, pulses: int, joules: float) -> _Dwell:
        length_ns = round(self._random.uniform(*_DWELL_S[light]) * _S)
        stroke_ns = round(self._random.uniform(0.65, 0.95) * _S)
        return _Dwell(start_ns, start_ns + length_ns, light, stroke_ns, pulses, joules)


def _door_open(dwell: _Dwell, elapsed_ns: int) -> bool:
    if dwell.light not in _DOOR_OPEN:
        return False
    opens, closes = _DOOR_OPEN[dwell.light]
    return opens <= (elapsed_ns - dwell.start_ns) / (dwell.end_ns - dwell.start_ns) < closes


def _pulses(dwell: _Dwell, elapsed_ns: int) -> int:
    """Strokes completed by an instant within the dwell (its end included)."""
    if dwell.light is not Light.RUNNING:
        return dwell.pulses
    return dwell.pulses + (elapsed_ns - dwell.start_ns) // dwell.stroke_ns


def _joules(dwell: _Dwell, elapsed_ns: int) -> float:
    """Energy drawn by an instant within the dwell (its end included)."""
    within_ns = elapsed_ns - dwell.start_ns
    joules = dwell.joules + dwell.light.base_w * within_ns / _S
    if dwell.light is not Light.RUNNING:
        return joules
    strokes, rest_ns = divmod(within_ns, dwell.stroke_ns)
    # Integral of sin^2(pi x / share) from 0 to x, in shares of a stroke; a whole stroke holds share / 2.
    x = min(rest_ns / dwell.stroke_ns, _STROKE_SHARE)
    partial = x / 2.0 - _STROKE_SHARE * sin(2.0 * pi * x / _STROKE_SHARE) / (4.0 * pi)
    return joules + _STROKE_PEAK_W * dwell.stroke_ns / _S * (strokes * _STROKE_SHARE / 2.0 + partial)
