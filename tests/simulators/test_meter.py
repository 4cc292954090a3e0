"""The energy meter's physics, and the noise below it."""

from __future__ import annotations

import struct
from dataclasses import astuple
from itertools import pairwise
from statistics import fmean, pstdev

import pytest

from simulators.plant.meter import BenchLoad, Meter, binary32
from simulators.plant.noise import bell, drift, uniform
from simulators.plant.press import Press

S = 1_000_000_000


def meter(seed: int = 1) -> tuple[Meter, BenchLoad]:
    load = BenchLoad()
    return Meter(seed, Press(seed), load), load


def test_the_same_seed_and_instant_give_the_same_registers() -> None:
    one, other = meter(3)[0], meter(3)[0]
    assert [one.at(at) for at in range(0, 60 * S, S // 3)] == [other.at(at) for at in range(0, 60 * S, S // 3)]
    assert one.at(S) != meter(4)[0].at(S)


def test_every_value_is_what_a_binary32_holds() -> None:
    for value in astuple(meter()[0].at(12_345_678_901)):
        assert struct.unpack(">f", struct.pack(">f", value)) == (value,)
    assert binary32(0.1) == 0.100000001490116119384765625


def test_power_is_what_voltages_currents_and_power_factor_say() -> None:
    device, _ = meter()
    for at in range(0, 100 * S, 3 * S):
        r = device.at(at)
        apparent = r.voltage_l1 * r.current_l1 + r.voltage_l2 * r.current_l2 + r.voltage_l3 * r.current_l3
        assert r.power_w == pytest.approx(apparent * r.power_factor, rel=0.01)
        assert 0.3 < r.power_factor <= 1.0
        assert r.frequency_hz == pytest.approx(50.0, abs=0.05)
        assert r.voltage_l1 == pytest.approx(230.0, rel=0.03)


def test_power_follows_the_bench() -> None:
    device, load = meter()
    before = device.at(10 * S).power_w
    load.switch(10 * S, running=True)
    assert device.at(10 * S).power_w == pytest.approx(before + 750.0, abs=20.0)
    load.switch(14 * S, running=False)
    assert load.energy_j(20 * S) == 90.0 * 20 + 750.0 * 4


def test_energy_only_grows() -> None:
    device, load = meter()
    load.switch(5 * S, running=True)
    counters = [device.at(at).energy_kwh for at in range(0, 600 * S, 7 * S)]
    assert counters == sorted(counters)
    assert counters[-1] - counters[0] > 0.1


def test_noise_is_a_function_and_has_the_shape_it_promises() -> None:
    numbers = [bell(1, 2, tick) for tick in range(20_000)]
    assert fmean(numbers) == pytest.approx(0.0, abs=0.03)
    assert pstdev(numbers) == pytest.approx(1.0, abs=0.02)
    assert max(map(abs, numbers)) < 3.5
    assert fmean(uniform(1, 3, tick) for tick in range(20_000)) == pytest.approx(0.5, abs=0.01)
    assert bell(1, 2, 77) == bell(1, 2, 77) != bell(2, 2, 77)


def test_drift_has_no_jumps() -> None:
    walk = [drift(1, 4, at, S) for at in range(0, 20 * S, S // 100)]
    assert max(abs(after - before) for before, after in pairwise(walk)) < 0.12
