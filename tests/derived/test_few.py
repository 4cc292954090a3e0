"""Few tags are stepped tag by tag, many in columns: that comes to the same, to the bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from gateway.derived import member, switching, telling
from gateway.derived.columns import Few, Group, Rows, Signal, Tick
from gateway.derived.counting import Count, Rate
from gateway.derived.settings import DerivedSettings
from gateway.derived.states import Cycle, State, Stops
from gateway.derived.switching import Debounce, Hysteresis, Lamp
from tests.derived.test_looks import bench, play

KINDS: Mapping[str, tuple[type[Any], list[dict[str, Any]]]] = {
    "debounce": (Debounce, [{"input": "x", "on_s": 0.25, "off_s": 1.0}, {"input": "x"}, {"input": "x", "on_s": 2}]),
    "hysteresis": (
        Hysteresis,
        [{"input": "x", "on_above": 0.6, "off_below": 0.4, "off_s": 0.5}, {"input": "x", "on_above": 0.5, "off_below": 0.5}],
    ),
    "lamp": (Lamp, [{"input": "x"}, {"input": "x", "flicker_s": 0}, {"input": "x", "flicker_s": 1, "blink_s": 4}]),
    "count": (
        Count,
        [
            {"input": "x", "bits": 16, "shortest_s": 0.25},
            {"input": "x"},
            {"input": "x", "max_step": 3},
            {"input": "x", "bits": 8},
        ],
    ),
    "rate": (Rate, [{"input": "x", "window_s": 4}, {"input": "x", "window_s": 8, "per": "h"}]),
    "state": (
        State,
        [
            {"fault": "x", "running": "x", "hold_s": 0.75},
            {"idle": "x", "otherwise": "off"},
            {"fault": "x", "idle": "x", "running": "x", "otherwise": "running", "names": "packml"},
        ],
    ),
    "cycle": (Cycle, [{"input": "x", "shortest_s": 2}, {"input": "x", "longest_s": 3}, {"input": "x"}]),
    "stops": (Stops, [{"running": "x", "micro_s": 1}, {"running": "x", "micro_s": 3}]),
}
NUMBERS = ("hysteresis", "count", "rate")


def group_of(kind: str) -> Group:
    adapter: TypeAdapter[Any] = TypeAdapter(DerivedSettings)
    made, settings = KINDS[kind]
    own = [adapter.validate_python({"name": f"t{n}", "device": "m", "kind": kind} | one) for n, one in enumerate(settings)]
    group: Group = Cycle(own, [False, False, True]) if made is Cycle else made(own)
    return group


def signal_of(random: Random, kind: str, before: list[float], now_s: float, *, is_absent: bool) -> Signal:
    """Mostly as before; now and then Bad or, where that may be, absent."""
    for at in range(len(before)):
        if random.random() < 0.3:
            if kind not in NUMBERS:
                before[at] = 1.0 - before[at]
            elif kind == "hysteresis":
                before[at] = random.choice([0.3, 0.4, 0.5, 0.6, 0.7])
            else:
                before[at] = max(0.0, before[at] + random.choice([1, 1, 2, 5, -1, -300]))
    status = np.array([0x8005_0000 if random.random() < 0.02 else 0 for _ in before], np.uint32)
    since = np.array([random.choice([now_s, now_s, now_s, now_s - 0.5, now_s + 1, -np.inf]) for _ in before])
    values = np.where(status != 0, np.nan, before)
    if is_absent:
        values[0], status[0], since[0] = np.nan, 0, np.nan
    return Signal(values, status, since)


def contents(rows: Rows, told: Mapping[str, Signal]) -> tuple[object, ...]:
    signals = [(name, *(part.tobytes() for part in (one.values, one.status, one.since))) for name, one in sorted(told.items())]
    return rows.pack(0.0), signals


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_kind_stepped_tag_by_tag_comes_to_what_columns_do(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    columns, few = group_of(kind), group_of(kind)
    assert isinstance(few, Few)
    m = columns.rows.m
    fields = {"state": ("fault", "idle", "running"), "stops": ("running",)}.get(kind, ("input",))
    values = {field: [0.0] * m for field in fields}
    now_s, taken = 1000.0, Counter[bool]()
    for nth in range(300):
        dt_s = random.choice([0.25, 0.25, 0.25, 0.5, 1.0])  # so that limits are met exactly
        now_s += dt_s
        tick = Tick(now_s, 0, dt_s, random.choice([dt_s, min(dt_s, 0.25)]))
        inputs = {
            field: signal_of(random, kind, values[field], now_s, is_absent=kind == "state" and nth % 3 > 0) for field in fields
        }
        unseen = np.full(m, nth == 0 or random.random() < 0.02)
        with np.errstate(all="ignore"):
            expected = columns.step(tick, inputs, unseen)
            is_plain = not unseen.any() and not any(one.status.any() for one in inputs.values())
            told = few.step_few(tick, inputs) if is_plain else None
            taken[told is not None] += 1
            told = few.step(tick, inputs, unseen) if told is None else told
        assert contents(few.rows, told) == contents(columns.rows, expected), nth
        assert few.is_settled == columns.is_settled
        if isinstance(few, Cycle) and isinstance(columns, Cycle):
            assert few.ended.tolist() == columns.ended.tolist()
        soon_s = few.next_s()
        monkeypatch.setattr(switching, "FEW", 0)
        assert columns.next_s() == soon_s
        monkeypatch.undo()
    assert taken[True] > 100
    assert taken[False] > 5


@pytest.mark.parametrize("seed", range(4, 7))
def test_a_device_of_few_tags_tells_and_keeps_what_it_would_with_columns(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = bench()
    told, memories = play(one, seed, 100), one.memories()
    for module in (member, switching, telling):
        monkeypatch.setattr(module, "FEW", 0)
    other = bench()
    assert play(other, seed, 100) == told
    assert other.memories() == memories
