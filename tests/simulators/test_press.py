"""The press's physics."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.plant.press import Light, Press

S = 1_000_000_000
MS = 1_000_000
HOUR = 3600 * S


def test_the_same_seed_gives_the_same_life_in_whatever_order_it_is_asked() -> None:
    instants = [random.Random(3).randrange(HOUR) for _ in range(500)]
    forwards, shuffled = Press(7), Press(7)
    expected = {at: forwards.at(at) for at in sorted(instants)}
    assert {at: shuffled.at(at) for at in instants} == expected


def test_another_seed_gives_another_life() -> None:
    one, other = Press(1), Press(2)
    assert [one.at(at) for at in range(0, 600 * S, S)] != [other.at(at) for at in range(0, 600 * S, S)]


def test_exactly_one_light_burns_unless_the_press_is_off() -> None:
    press = Press(5)
    for at in range(0, HOUR, S):
        reading = press.at(at)
        lit = reading.light_red + reading.light_yellow + reading.light_green
        assert lit == (0 if press.light(at) is Light.OFF else 1)


def test_every_state_is_seen_within_two_hours_and_stays_for_seconds() -> None:
    press = Press(1)
    lights = [press.light(at) for at in range(0, 2 * HOUR, S)]
    assert set(lights) == set(Light)
    changes = [at for at in range(1, len(lights)) if lights[at] is not lights[at - 1]]
    assert min(after - before for before, after in pairwise(changes)) >= 3


def test_pulses_come_one_by_one_and_only_while_running() -> None:
    press = Press(11)
    before = press.at(0)
    for at in range(100 * MS, 900 * S, 100 * MS):
        now = press.at(at)
        assert now.pulses - before.pulses in (0, 1)
        if now.pulses > before.pulses:
            assert Light.RUNNING in (press.light(at), press.light(at - 100 * MS))
        before = now
    assert before.pulses > 100


def test_the_door_is_shut_while_the_press_runs() -> None:
    press = Press(4)
    readings = [press.at(at) for at in range(0, HOUR, S)]
    assert not any(reading.door_open and reading.light_green for reading in readings)
    assert any(reading.door_open for reading in readings)


def test_the_clamp_sees_strokes_as_peaks() -> None:
    press = Press(1)
    running = [press.at(at).current for at in range(0, 20 * S, 20 * MS)]
    idle = next(at for at in range(0, HOUR, S) if press.light(at) is Light.IDLE)
    assert max(running) > 3 * min(running)
    assert 100 < press.at(idle).current < 180


@given(start=st.integers(0, 1800 * S), length=st.integers(1, 3 * S))
def test_energy_is_the_integral_of_power(start: int, length: int) -> None:
    press = Press(9)
    steps = 2000
    width = length / steps
    summed = sum(press.power_w(round(start + (step + 0.5) * width)) for step in range(steps)) * width / S
    assert press.energy_j(start + length) - press.energy_j(start) == pytest.approx(summed, rel=2e-3, abs=0.05)


def test_before_power_up_it_is_as_at_power_up() -> None:
    assert Press(1).at(-5 * S) == Press(1).at(0)
