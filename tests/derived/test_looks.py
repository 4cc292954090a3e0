"""Looks leave out what can't have changed: whatever comes, what is told is what it would be if nothing were left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

from drivers.model import Frame
from gateway.derived import plan
from gateway.derived.columns import Tick
from gateway.derived.derivation import Derivation, Look
from gateway.derived.member import REST_S
from gateway.derived.oee import Oee
from tests.derived.bench import NO_DATA, Bench

INPUTS = {"red": "bit", "green": "bit", "yellow": "bit", "raw": "count", "raw2": "count", "amp": ("real", "AMP"), "amp2": "real"}
SHIFTS = [{"name": "one", "begin": "00:00", "end": "12:00", "breaks": [{"begin": "03:00", "end": "03:01"}]}]
DERIVED: Sequence[Mapping[str, Any]] = [
    {"name": "red_lamp", "kind": "lamp", "input": "red", "flicker_s": 0.6},
    {"name": "green_lamp", "kind": "lamp", "input": "green", "blink_s": 2},
    {"name": "steady", "kind": "debounce", "input": "yellow", "on_s": 0.4, "off_s": 1.1},
    {"name": "works", "kind": "hysteresis", "input": "amp", "on_above": 2, "off_below": 1.5, "unit": "A", "off_s": 0.3},
    {"name": "works2", "kind": "hysteresis", "input": "amp2", "on_above": 2, "off_below": 1.5, "on_s": 0.5},
    {"name": "parts", "kind": "count", "input": "raw", "bits": 8, "shortest_s": 0.2},
    {"name": "parts2", "kind": "count", "input": "raw2", "max_step": 5},
    {"name": "state", "kind": "state", "fault": "red_lamp", "running": "works", "idle": "steady", "otherwise": "off"},
    {"name": "state2", "kind": "state", "running": "works2", "idle": "green_lamp and not red", "hold_s": 0.7, "names": "packml"},
    {"name": "cycle", "kind": "cycle", "input": "parts", "longest_s": 20},
    {"name": "cycle2", "kind": "cycle", "input": "works2", "shortest_s": 0.4},
    {"name": "stops", "kind": "stops", "running": "state.running", "micro_s": 2, "unless": "state.off"},
    {"name": "stops2", "kind": "stops", "running": "state2.running", "micro_s": 1},
    {"name": "rate", "kind": "rate", "input": "parts", "window_s": 6},
    {"name": "rate2", "kind": "rate", "input": "parts2", "window_s": 10, "per": "h", "deadband": 0.5},
    {"name": "oee", "kind": "oee", "state": "state", "count": "parts", "reject": "parts2", "ideal_cycle_s": 1, "every_s": 3},
    {"name": "heavy", "kind": "hysteresis", "input": "load", "on_above": 2, "off_below": 1.5, "off_s": 0.3},
    {"name": "many2", "kind": "debounce", "input": "much", "off_s": 0.6},
    {"name": "many", "kind": "debounce", "input": "stops + stops2.unclear > 3 or rate > 40", "on_s": 1},
]
"""Two of each kind where two rows may differ; the expressions are tags, and more than tags."""
CALCULATED = [
    {"device": "m", "name": "load", "expression": "if(state.running, amp, 0)", "unit": "AMP"},
    {"device": "m", "name": "much", "expression": "heavy and load > amp2 or stops > 5"},
]


class Whole(Derivation):
    """Leaves nothing out: each look is at everything, and what rests is stepped once in REST_S all the same."""

    def _look(self, look: Look, changed: list[bool] | None) -> tuple[list[Frame], list[int]]:
        made: list[Frame] = []
        for depth, (expressions, members) in enumerate(self._depths):
            self._late.calculate([depth], look.wall_ns)
            for place, member in members:
                inputs = member.cut(self._evaluate(expressions, depth, look))
                is_resting = member.stepped_s is not None and 0 <= look.now_s - member.stepped_s < REST_S
                if look.is_whole or not is_resting or look.now_s >= member.due_s or member.differs(inputs):
                    self._keep(place, member)
                    member.told = {}
                    self._store(member, self._step(member, inputs, look))
                if isinstance(member.group, Oee) and member.group.closed:
                    tick = Tick(look.now_s, look.wall_ns, 0.0, 0.0)
                    made += [one for closed in member.group.closed for one in self._telling.closed(member, closed, tick)]
                    member.group.closed = []
        self._late.calculate(self._late.beyond(len(self._depths)), look.wall_ns)
        return made, list(range(len(self.members)))


def calculated(derived: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same, with an operation in each expression."""
    found = []
    for one in derived:
        new = dict(one)
        for field, text in one.items():
            if field in ("fault", "idle", "unless") or (field in ("input", "running") and one["kind"] not in ("count", "rate")):
                is_number = one["kind"] == "hysteresis" or text == "parts"
                new[field] = f"({text}) * 1" if is_number else f"({text}) and true"
            elif field in ("input", "count", "reject"):
                new[field] = f"{text} * 1"
        found.append(new)
    return found


def play(bench: Bench, seed: int, polls: int = 150) -> list[tuple[str, object, int, float | None]]:
    """A stream of noise, flicker, bounce, roll-overs, resets, Bad readings, gaps and failed appends; what is told of it."""
    random = Random(seed)
    values: list[float | None] = [0, 0, 0, 250, 7, 1.0, 1.0]
    with np.errstate(all="raise"):
        for _ in range(polls):
            for place in range(3):
                if random.random() < 0.25:
                    values[place] = random.choice([0, 1, 1, 0, None])
            for place, top in ((3, 256), (4, 1 << 20)):
                if random.random() < 0.3:
                    step = random.choice([1, 1, 1, 2, -1, 9])
                    values[place] = (
                        ((values[place] or 0) + step) % top if random.random() < 0.93 else random.choice([0, None, 40])
                    )
            for place in (5, 6):
                if random.random() < 0.5:
                    values[place] = random.choice([0.5, 1.6, 1.8, 3.0, None]) if random.random() < 0.2 else random.uniform(0.9, 3)
            after_s = (
                random.choice([0.1, 0.1, 0.1, 0.25, 0.5, 0.3, 1.2]) if random.random() < 0.97 else random.choice([8.0, 4000.0])
            )
            if random.random() < 0.15:
                bench.pass_time(0.05)
                bench.look()
            bench.poll(*values, after_s=after_s, accept=random.random() < 0.97)
    return bench.told


def bench(derived: Sequence[Mapping[str, Any]] = DERIVED) -> Bench:
    return Bench(INPUTS, derived, period_s=0.5, calendar={"time_zone": "UTC", "shifts": SHIFTS}, calculated=CALCULATED)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_out_in_a_look_could_not_have_changed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = play(bench(), seed)
    assert len({name for name, _, status, _ in told if status != NO_DATA}) > 30
    monkeypatch.setattr(plan, "Derivation", Whole)
    assert play(bench(), seed) == told


def test_an_expression_that_is_a_tag_and_nothing_else_comes_to_what_a_calculation_would() -> None:
    assert play(bench(calculated(DERIVED)), 9) == play(bench(), 9)


def test_what_was_taken_back_is_told_at_the_next_look_though_nothing_changed() -> None:
    one = Bench({"bit": "bit"}, [{"name": "open", "kind": "debounce", "input": "bit"}])
    one.poll(0, after_s=0.2)
    one.poll(1, after_s=0.2, accept=False)
    one.poll(1, after_s=0.2)
    assert one.of("open") == [False, True, True]


def test_a_look_without_readings_makes_none() -> None:
    one = Bench({"bit": "bit"}, [{"name": "open", "kind": "debounce", "input": "bit"}])
    assert [list(one.report.pick(())) for _ in range(2)] == [[], []]
