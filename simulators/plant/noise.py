"""Noise that is a function: the same seed, channel and instant give the same number, in whatever order they are asked for.

A generator with a state would make a value depend on how often the device was polled before. These hash the instant instead
(the finaliser of SplitMix64, Steele et al. 2014).
"""

from __future__ import annotations

from math import sqrt

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_SCALE = 1.0 / (1 << 53)


def mix(seed: int, channel: int, tick: int) -> int:
    """64 well-mixed bits."""
    z = (seed * _GOLDEN + channel * 0xD1B5_4A32_D192_ED03 + tick * 0x8CB9_2BA7_2F3D_8DD7) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
    return z ^ (z >> 31)


def uniform(seed: int, channel: int, tick: int) -> float:
    """A number in [0, 1)."""
    return (mix(seed, channel, tick) >> 11) * _SCALE


def bell(seed: int, channel: int, tick: int) -> float:
    """A number with mean 0 and standard deviation 1, within about 3.5 of 0: the sum of four 16-bit uniforms."""
    bits = mix(seed, channel, tick)
    total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
    return (total / 65535.0 - 2.0) * sqrt(3.0)


def drift(seed: int, channel: int, at_ns: int, period_ns: int) -> float:
    """A smooth walk through one bell() per period, so about as large; without corners (smoothstep between them)."""
    tick, within = divmod(at_ns, period_ns)
    x = within / period_ns
    blend = x * x * (3.0 - 2.0 * x)
    return bell(seed, channel, tick) * (1.0 - blend) + bell(seed, channel, tick + 1) * blend
