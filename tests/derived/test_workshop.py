"""A shift of a dumb machine over Modbus, on virtual time: what is derived, against what was true.

Of two hours, or of SHIFT_HOURS as the environment says: `make hour` takes eight.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from simulators.plant.workshop import MICRO_S, DumbMachine, Truth
from tests.derived.workshop import Told, Watched, watch

POLL_S = 0.75
HOURS = int(os.environ.get("SHIFT_HOURS", "2"))
BREAK_MIN = (round(60 * HOURS * 7 / 16), round(60 * HOURS / 2))
"""From and to, since the shift began."""
S = 1_000_000_000
SEED = 21
START_NS = round(datetime(2026, 11, 30, 5, 59, tzinfo=UTC).timestamp()) * S
BEGIN_S = 60.0
"""When the shift begins."""
FILE = """\
gateway: works
heartbeat_s: 86400
calendar:
  time_zone: UTC
  shifts:
    - {{name: early, begin: "06:00", end: "END", breaks: [{{begin: "FROM", end: "TO"}}]}}
devices:
  - name: lathe
    driver: modbus
    address: {lathe}
    period_ms: 750
    tags:
      - {{name: red, area: discrete_input, address: 0}}
      - {{name: yellow, area: discrete_input, address: 1}}
      - {{name: green, area: discrete_input, address: 2}}
      - {{name: door, area: discrete_input, address: 3}}
      - {{name: counter, area: input_register, address: 0}}
derived:
  - {{device: lathe, name: red_lamp, kind: lamp, input: red, flicker_s: 1.6}}
  - {{device: lathe, name: green_lamp, kind: lamp, input: green, flicker_s: 1.0}}
  - {{device: lathe, name: open, kind: debounce, input: door, on_s: 0.7, off_s: 0.7}}
  - device: lathe
    name: state
    kind: state
    fault: red_lamp
    running: green_lamp
    idle: yellow
    otherwise: "off"
    hold_s: 2
  - {{device: lathe, name: parts, kind: count, input: counter, bits: 16, shortest_s: 2}}
  - {{device: lathe, name: stops, kind: stops, running: state.running, micro_s: 60, unless: state.off}}
  - {{device: lathe, name: oee, kind: oee, state: state, count: parts, ideal_cycle_s: 3}}
sinks:
  - {{kind: mqtt, url: "mqtt://broker"}}
"""

for word, minutes in (("END", 60 * HOURS), ("FROM", BREAK_MIN[0]), ("TO", BREAK_MIN[1])):
    FILE = FILE.replace(word, f"{6 + minutes // 60:02}:{minutes % 60:02}")

LOAD = """\
gateway: works
heartbeat_s: 86400
devices:
  - name: lathe
    driver: modbus
    address: {lathe}
    period_ms: 500
    tags:
      - {{name: counter, area: input_register, address: 0}}
      - {{name: current, area: input_register, address: 1, scale: 0.01, unit: AMP, deadband: 1000}}
calculated:
  - {{device: lathe, name: power, unit: WTT, expression: "current * 552", deadband: 1000000}}
derived:
  - {{device: lathe, name: loaded, kind: hysteresis, input: current, on_above: 5.5, off_below: 4.5, unit: A}}
  - {{device: lathe, name: parts, kind: count, input: counter, bits: 16, shortest_s: 2}}
  - {{device: lathe, name: cycle, kind: cycle, input: loaded, longest_s: 10}}
  - {{device: lathe, name: each, kind: energy_per_part, power: power, count: parts}}
sinks:
  - {{kind: mqtt, url: "mqtt://broker"}}
"""
"""What a clamp sees of each cycle."""


@dataclass(frozen=True)
class Shift:
    """HOURS and a minute on either side."""

    watched: Watched
    machine: DumbMachine

    def told(self, name: str) -> list[Told]:
        """A tag's readings."""
        return self.watched.told[name]

    def last(self, name: str, begin_s: float | None = None) -> Told:
        """The last one; of those that bear that source time, where it is given."""
        return [one for one in self.told(name) if begin_s is None or one.begin_s == begin_s][-1]

    def facts(self, what: str) -> list[tuple[float, str]]:
        """What was true: when, in seconds since the begin, and what."""
        truth = self.watched.truth
        return [((fact.at_ns - self.watched.start_ns) / S, fact.value) for fact in truth if fact.what == what]


SECONDS = HOURS * 3600 + 120.0
MS_POLLS = 0.001 / POLL_S
"""What is published is in whole ms."""


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Shift:
    folder = tmp_path_factory.mktemp("workshop")
    watched = watch(folder, FILE, START_NS, SECONDS, seed=SEED, machines=[{"name": "lathe"}])
    return Shift(watched["lathe"], DumbMachine(SEED, "lathe"))


def ns(seconds: float) -> int:
    return round(seconds * S)


LAMPS = {"running": "green", "fault": "red", "idle": "yellow"}
WAVERING = ("running", "fault")
"""Their lamps may be dark at a look."""
HOLD_POLLS = math.ceil(2 / POLL_S)


@dataclass(frozen=True)
class Lateness:
    """A state that was told; in polls."""

    state: str
    begin: float
    """How long after the true begin the one that was told is."""
    seen: float
    """How long after it the lamp was lit at a poll, by the truth; of a state without one, when the first poll was."""
    told: float
    """How long after it the state was told."""


def first_seen_s(shift: Shift, state: str, at_s: float) -> float:
    """By the truth: the first poll from `at_s` on at which the state's lamp was lit; of a state without one, the first poll."""
    poll_s = shift.told("green")[0].at_s
    poll_s += math.ceil((at_s - poll_s) / POLL_S) * POLL_S
    while state in LAMPS and not getattr(shift.machine.at(ns(poll_s)), LAMPS[state]):
        poll_s += POLL_S
    return poll_s


def lateness(shift: Shift) -> list[Lateness]:
    """Each state that was told."""
    found = []
    for one, (at_s, value) in zip(shift.told("state"), shift.facts("state"), strict=False):
        assert one.begin_s is not None
        times = (one.begin_s, first_seen_s(shift, value, at_s), one.at_s)
        found.append(Lateness(value, *((time_s - at_s) / POLL_S for time_s in times)))
    return found


def test_every_state_is_told_once_and_began_within_one_poll_of_when_it_truly_did(shift: Shift) -> None:
    true, told = [value for _, value in shift.facts("state")], [one.value for one in shift.told("state")]
    assert len(true) > 6 * HOURS
    assert told == true[: len(told)]
    assert len(true) - len(told) <= 1  # the last one may not have stayed long enough
    late = lateness(shift)
    assert [one for one in late if abs(one.begin) > 1 + MS_POLLS] == []
    assert [one for one in late if one.state not in WAVERING and one.begin < -MS_POLLS] == []
    begins = [one.begin_s for one in shift.told("state")]
    assert begins == sorted(begins, key=lambda begin: begin or 0.0)


def test_a_state_is_told_when_it_has_stayed_and_no_later(shift: Shift) -> None:
    late = lateness(shift)[1:]  # the first one is told at once
    assert [one for one in late if one.told > one.seen + HOLD_POLLS + MS_POLLS] == []
    assert max(one.seen for one in late if one.state not in WAVERING) <= 1 + MS_POLLS
    assert max(one.seen for one in late if one.state in WAVERING) <= 3 + MS_POLLS
    for kind, some in (("steady", False), ("flickering or blinking", True)):
        ones = [one for one in late if (one.state in WAVERING) is some]
        begins = [one.begin for one in ones]
        print(  # what docs/dumb-devices.md says of a shift
            f"{kind}: {len(ones)} states, begin {min(begins):+.2f} to {max(begins):+.2f} polls from the truth, "
            f"seen up to {max(one.seen for one in ones):.2f} and told up to {max(one.told for one in ones):.2f} after it"
        )


def test_parts_are_exact_though_the_counter_bounces_rolls_over_and_is_reset(shift: Shift) -> None:
    made = shift.facts("part")
    shown = [one.value for one in shift.told("counter")]
    assert any(later < earlier and earlier > 65_000 for earlier, later in pairwise(shown))
    assert shift.last("parts.resets").value >= 1
    assert shown[-1] > 0
    assert shift.last("parts").value == len(made) == shift.machine.parts(0, ns(SECONDS - POLL_S))
    first: dict[int, float] = {}
    for one in shift.told("parts"):  # a reset has the same count told again, as Uncertain and then as Good
        first.setdefault(one.value, one.at_s)
    assert sorted(first) == list(range(len(made) + 1))
    assert [nth for nth, at_s in first.items() if nth and not -0.001 <= at_s - made[nth - 1][0] <= POLL_S + 0.01] == []


def test_stops_are_counted_as_they_were(shift: Shift) -> None:
    end_s = shift.told("state")[-1].at_s
    stops = shift.machine.stops_s(0, ns(end_s))
    micro = [length for length in stops if length <= MICRO_S]
    assert shift.last("stops").value == len(micro) > HOURS / 2
    assert shift.last("stops.long").value == len(stops) - len(micro) > HOURS / 2
    assert shift.last("stops.unclear").value == 0
    assert shift.last("stops.stopped_s").value == pytest.approx(sum(stops), abs=POLL_S * len(stops))


def test_the_shifts_oee_is_that_of_the_truth(shift: Shift) -> None:
    (closed,) = [one for one in shift.told("oee.closed") if one.value]
    begin = closed.begin_s
    assert begin == BEGIN_S
    rest = [BEGIN_S + 60 * minute for minute in BREAK_MIN]
    spans = [(BEGIN_S, rest[0]), (rest[1], BEGIN_S + HOURS * 3600)]
    planned_s = HOURS * 3600 - (rest[1] - rest[0])
    late = [(one.state, abs(one.begin) * POLL_S) for one in lateness(shift)]
    true = {state: sum(shift.machine.spent_s(state, ns(a), ns(b)) for a, b in spans) for state in Truth}
    for state, seconds in true.items():
        ends = [later for (word, _), (_, later) in pairwise(late) if word == state.word]
        off_s = sum(ends) + sum(seconds_ for word, seconds_ in late if word == state.word)  # of its begins and ends
        assert shift.last(f"oee.{state.word}_s", begin).value == pytest.approx(seconds, abs=off_s + 0.1)
    assert shift.last("oee.planned_s", begin).value == pytest.approx(planned_s)
    assert shift.last("oee.unknown_s", begin).value == pytest.approx(0, abs=0.1)
    parts = shift.machine.parts(ns(BEGIN_S), ns(BEGIN_S + HOURS * 3600))
    assert abs(shift.last("oee.count", begin).value - parts) <= 1  # one within the poll at either end
    running = true[Truth.RUNNING]
    assert shift.last("oee.availability", begin).value == pytest.approx(running / planned_s, rel=1e-3)
    assert shift.last("oee.performance", begin).value == pytest.approx(parts * 3 / running, rel=2e-3)
    assert shift.last("oee", begin).value == pytest.approx(parts * 3 / planned_s, rel=2e-3)
    assert shift.last("oee.period", begin).value == "2026-11-30/early"


def test_the_door_opens_and_closes_once_though_its_contact_bounces(shift: Shift) -> None:
    true = shift.facts("door")
    told = shift.told("open")[1:]
    assert [one.value for one in told] == [value == "open" for _, value in true]
    for one, (at, _) in zip(told, true, strict=True):
        assert one.begin_s is not None
        assert -0.001 <= one.begin_s - at <= POLL_S + 0.08  # the contact bounces for 60 ms


def test_cycles_and_energy_are_seen_in_the_current(tmp_path: Path) -> None:
    seconds = 1800.0
    seen = Shift(
        watch(tmp_path, LOAD, START_NS, seconds, seed=SEED, machines=[{"name": "lathe"}])["lathe"], DumbMachine(SEED, "lathe")
    )
    made = seen.facts("part")
    assert abs(seen.last("cycle.count").value - len(made)) <= 5  # a cycle may be begun and not ended, as each run's last one is
    running = [one for one in seen.machine.dwells(0, ns(seconds)) if one.state is Truth.RUNNING]
    longest = max(one.cycle_ns for one in running) / S
    times = [one.value for one in seen.told("cycle") if one.value is not None]
    within = [value for value in times if value <= longest + 2 * 0.5]  # others hold a short stop
    assert len(within) > 0.97 * len(times)
    assert min(times) >= min(one.cycle_ns for one in running) / S - 2 * 0.5
    assert seen.last("each.total").value * 3600 == pytest.approx(seen.machine.energy_j(ns(seconds)), rel=0.03)
    assert len([one for one in seen.told("each") if one.value is not None]) >= len(made) - 1
