"""The energy meter of the hall: three phases that carry the press, the bench and the lights."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import sqrt

from simulators.plant.noise import bell, drift
from simulators.plant.press import Press

_S = 1_000_000_000
_TICK_NS = 200_000_000
"""The meter measures five times a second, as such meters do; in between its registers stand still, but for the energy."""
_J_PER_KWH = 3_600_000.0
_ENERGY_BEFORE_KWH = 1_204.375
_LIGHTS_W = 310.0
_BENCH_STANDBY_W = 90.0
_BENCH_RUNNING_W = 750.0
_SHARES = (0.345, 0.33, 0.325)
"""How the load lies on the three phases."""
_BENCH_POWER_FACTOR = 0.78


@dataclass(frozen=True, slots=True)
class MeterReading:
    """The registers at one instant; each value is exactly a binary32."""

    voltage_l1: float
    voltage_l2: float
    voltage_l3: float
    current_l1: float
    current_l2: float
    current_l3: float
    power_w: float
    frequency_hz: float
    power_factor: float
    energy_kwh: float


class BenchLoad:
    """When the bench ran. It depends on the handshake, so it is told, not computed. Times in ns since power-up, ascending."""

    def __init__(self) -> None:
        self._running = False
        self._since_ns = 0
        self._ran_ns = 0

    def switch(self, elapsed_ns: int, running: bool) -> None:
        """The bench's pump starts or stops."""
        self._ran_ns = self._ran_until(elapsed_ns)
        self._since_ns = elapsed_ns
        self._running = running

    def power_w(self) -> float:
        """What the bench draws now."""
        return _BENCH_STANDBY_W + (_BENCH_RUNNING_W if self._running else 0.0)

    def energy_j(self, elapsed_ns: int) -> float:
        """What it has drawn since power-up."""
        return (_BENCH_STANDBY_W * elapsed_ns + _BENCH_RUNNING_W * self._ran_until(elapsed_ns)) / _S

    def _ran_until(self, elapsed_ns: int) -> int:
        return self._ran_ns + (max(elapsed_ns - self._since_ns, 0) if self._running else 0)


class Meter:
    """Follows the press and the bench; only the bench's load makes it depend on more than the instant."""

    def __init__(self, seed: int, press: Press, bench: BenchLoad) -> None:
        self._seed = seed
        self._press = press
        self._bench = bench

    def at(self, elapsed_ns: int) -> MeterReading:
        """The registers `elapsed_ns` after power-up."""
        elapsed_ns = max(elapsed_ns, 0)
        measured_ns = elapsed_ns // _TICK_NS * _TICK_NS
        tick = measured_ns // _TICK_NS
        press_w = self._press.power_w(measured_ns)
        other_w = self._bench.power_w() + _LIGHTS_W
        power_w = press_w + other_w
        apparent = press_w / self._press.light(measured_ns).power_factor + other_w / _BENCH_POWER_FACTOR
        power_factor = power_w / apparent
        u1, u2, u3 = (self._volts(phase, measured_ns, tick) for phase in range(3))
        return MeterReading(
            binary32(u1),
            binary32(u2),
            binary32(u3),
            binary32(_SHARES[0] * apparent / u1),
            binary32(_SHARES[1] * apparent / u2),
            binary32(_SHARES[2] * apparent / u3),
            binary32(power_w * (1.0 + 0.002 * bell(self._seed, 20, tick))),
            binary32(50.0 + 0.012 * drift(self._seed, 21, measured_ns, 7 * _S)),
            binary32(power_factor),
            binary32(self.energy_kwh(elapsed_ns)),
        )

    def energy_kwh(self, elapsed_ns: int) -> float:
        """The counter before it is rounded to a binary32."""
        joules = self._press.energy_j(elapsed_ns) + self._bench.energy_j(elapsed_ns) + _LIGHTS_W * elapsed_ns / _S
        return _ENERGY_BEFORE_KWH + joules / _J_PER_KWH

    def _volts(self, phase: int, measured_ns: int, tick: int) -> float:
        slow = drift(self._seed, 10 + phase, measured_ns, 11 * _S)
        return 230.0 * (1.0 + 0.006 * slow) + 0.05 * sqrt(phase + 1.0) * bell(self._seed, 15 + phase, tick)


def binary32(value: float) -> float:
    """The nearest binary32, as a double: what is left of a value that went through two registers."""
    (rounded,) = struct.unpack(">f", struct.pack(">f", value))
    return float(rounded)
