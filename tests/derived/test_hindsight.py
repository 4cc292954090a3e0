"""When a state began whose lamp was dark at first, and when it is told."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from tests.derived.bench import NO_DATA, Bench

LAMPS = ("red", "yellow", "green")
BLINK = (1, 1, 1, 1, 1, 0, 0, 0, 0, 0)
"""Once a second, looked at ten times."""


def lights(period_s: float = 0.1, hold_s: float = 1.0, *more: dict[str, Any], **lamps: dict[str, Any]) -> Bench:
    """A stack light; `lamps`: settings of those that are more than a bit."""
    derived = [{"name": f"{name}_lamp", "kind": "lamp", "input": name} | asked for name, asked in lamps.items()]
    conditions = {
        field: f"{name}_lamp" if name in lamps else name
        for field, name in (("fault", "red"), ("running", "green"), ("idle", "yellow"))
    }
    state = {"name": "state", "kind": "state", "otherwise": "off", "hold_s": hold_s} | conditions
    return Bench(dict.fromkeys(("red", "yellow", "green"), "bit"), [*derived, state, *more], period_s=period_s)


def show(bench: Bench, period_s: float = 0.1, **lamps: Sequence[int | None]) -> None:
    """Poll by poll; lamps that aren't named are dark."""
    for shown in zip(*(lamps.get(name) or [0] * len(next(iter(lamps.values()))) for name in LAMPS), strict=True):
        bench.poll(*shown, after_s=period_s)


def begins(bench: Bench) -> list[tuple[object, float | None]]:
    return [(state, None if since_s is None else round(since_s, 3)) for state, since_s in bench.begins("state")]


def test_behind_a_steady_lamp_a_state_began_when_that_went_out() -> None:
    bench = lights(green={"flicker_s": 0.35})
    show(bench, yellow=[1] * 20)
    show(bench, green=[0, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1])
    assert begins(bench) == [("idle", 0.1), ("running", 2.1)]


def test_a_blinking_lamp_that_is_dark_at_first_blinks_from_when_the_steady_one_went_out() -> None:
    bench = lights(red={"flicker_s": 0.25})
    show(bench, yellow=[1] * 20)
    show(bench, red=[0] * 4 + list(BLINK) * 2)
    assert begins(bench) == [("idle", 0.1), ("fault", 2.1)]


def test_behind_a_lamp_that_flickers_the_last_dark_look_is_taken() -> None:
    bench = lights(period_s=0.75, hold_s=2.0, red={"flicker_s": 1.6}, green={"flicker_s": 1.0})
    show(bench, 0.75, green=[0, 0, 1, 1, 0, 0, 1, 1, 0, 0])  # the last two are its own, or one of them is
    show(bench, 0.75, red=[1, 1, 0, 0, 1, 1, 0, 0])
    assert begins(bench)[-1] == ("fault", 7.5)


def test_no_more_darkness_is_put_down_to_a_lamp_than_it_was_seen_to_have() -> None:
    bench = lights(red={"flicker_s": 0.25}, green={"flicker_s": 0.25})
    show(bench, green=[1, 1, 0, 1] * 5)
    show(bench, red=[0] * 4 + list(BLINK) * 2)  # one may be green's, four aren't
    assert begins(bench)[-1] == ("fault", 2.1)


def test_a_lamp_that_was_always_steady_is_lit_from_its_first_lit_look_on_behind_one_that_flickers() -> None:
    bench = lights(green={"flicker_s": 0.25}, yellow={"flicker_s": 0.25})
    show(bench, green=[1, 1, 0, 1] * 5 + [0])
    show(bench, yellow=[1] * 15)
    assert begins(bench)[-1] == ("idle", 2.2)


def test_a_bit_that_is_no_lamp_is_taken_at_its_word() -> None:
    bench = lights(green={"flicker_s": 0.25})
    show(bench, green=[1] * 20)
    show(bench, yellow=[0, 0, 1] + [1] * 12)
    assert begins(bench)[-1] == ("idle", 2.3)


def test_what_was_another_lamps_time_is_not_put_down_to_the_new_state() -> None:
    bench = lights(red={}, green={})
    show(bench, green=[1] * 20)
    show(bench, yellow=[1, 1, 1] + [0] * 15, red=[0] * 3 + [1] * 15)
    assert begins(bench)[-1] == ("fault", 2.4)


@pytest.mark.parametrize("blind", ["bad", "unseen"])
def test_what_was_not_seen_is_not_put_down_to_it_either(blind: str) -> None:
    bench = lights(red={"flicker_s": 0.25}, hold_s=2.0)
    show(bench, yellow=[1] * 20)
    show(bench, red=[0, 0])
    if blind == "bad":
        show(bench, red=[None, 0])
    else:
        show(bench, 60.0, red=[0])
    show(bench, red=[1] * 25)
    assert begins(bench)[-1] == ("fault", 62.3 if blind == "unseen" else 2.5)


def test_a_state_that_is_unknown_in_the_dark_still_began_when_the_steady_lamp_went_out() -> None:
    bench = Bench(
        {"yellow": "bit", "green": "bit"},
        [
            {"name": "lamp", "kind": "lamp", "input": "green"},
            {"name": "state", "kind": "state", "running": "lamp", "idle": "yellow", "hold_s": 1},
        ],
        period_s=0.1,
    )
    for inputs in [(1, 0)] * 20 + [(0, 0)] * 2 + [(0, 1)] * 15:
        bench.poll(*inputs, after_s=0.1)
    assert (None, NO_DATA) in [(state, status) for name, state, status, _ in bench.told if name == "state"]
    assert begins(bench)[-1] == ("running", 2.1)


def test_stops_are_as_long_as_the_states_say() -> None:
    stops = {"name": "stops", "kind": "stops", "running": "state.running", "micro_s": 60}
    bench = lights(0.1, 1.0, stops, green={"flicker_s": 0.35})
    flicker = [0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    show(bench, yellow=[1] * 20)
    show(bench, green=flicker)
    show(bench, yellow=[1] * 30)
    show(bench, green=flicker)
    assert begins(bench)[1:] == [("running", 2.1), ("idle", 3.7), ("running", 6.7)]
    assert bench.last("stops.stopped_s") == (pytest.approx(3.0), 0)


def test_the_end_of_a_fault_is_told_once_the_blink_is_longer_dark_than_it_ever_was() -> None:
    bench = lights(red={"flicker_s": 0.25}, hold_s=0.6)
    show(bench, yellow=[1] * 20)
    show(bench, red=BLINK * 3)
    show(bench, yellow=[1] * 6)
    assert bench.of("state")[-1] == "fault"
    show(bench, yellow=[1])  # hold_s after its begin, and not blink_s after the last flash but one
    assert begins(bench)[-1] == ("idle", 5.1)


@pytest.mark.parametrize("seed", range(6))
def test_states_follow_one_another_in_the_order_of_their_begins(seed: int) -> None:
    random = Random(seed)
    bench = lights(hold_s=random.choice([0.0, 0.3, 1.0]), red={"flicker_s": 0.25}, green={"flicker_s": 0.25})
    for _ in range(60):
        lamp, length = random.choice(LAMPS), random.randrange(1, 12)
        show(bench, 0.1, **{lamp: [int(random.random() < 0.7) for _ in range(length)]})
    times = [since_s for _, since_s in bench.begins("state") if since_s is not None]
    assert len(times) > 5
    assert times == sorted(times)


def test_a_state_that_waits_at_a_kill_begins_with_what_is_seen_again() -> None:
    bench = lights(red={"flicker_s": 0.25}, hold_s=1.0)
    show(bench, yellow=[1] * 20)
    show(bench, red=[0, 0, 1, 1, 1])
    kept = bench.memories()
    bench.restart()
    bench.pass_time(30)
    bench.resume(kept)
    show(bench, red=[1] * 15)
    assert [state for state, _ in begins(bench)].count("fault") == 1
    assert begins(bench)[-1] == ("fault", 32.6)


def test_what_a_lamp_was_seen_to_do_outlives_a_kill() -> None:
    bench = lights(red={"flicker_s": 0.25}, green={"flicker_s": 0.25})
    show(bench, green=[1, 1, 0, 1] * 5)
    kept = bench.memories()
    bench.restart()
    bench.resume(kept)
    show(bench, green=[1] * 10 + [0])  # may be its own
    show(bench, red=BLINK * 2)
    assert begins(bench)[-1] == ("fault", 3.1)


def test_what_could_not_be_stored_is_reckoned_anew_to_the_same_begin() -> None:
    bench = lights(red={"flicker_s": 0.25})
    show(bench, yellow=[1] * 20)
    show(bench, red=[0, 0, *BLINK])
    for _ in range(3):
        bench.poll(1, 0, 0, after_s=0.1, accept=False)
    bench.poll(1, 0, 0, after_s=0.1)
    assert begins(bench)[-1] == ("fault", 2.1)


FOLLOWS = {"idle": ("running", "fault", "off"), "running": ("idle", "fault"), "fault": ("idle",), "off": ("idle",)}
SLOW = 0.75, 2.0, {"red": {"flicker_s": 1.6}, "green": {"flicker_s": 1.0}}
QUICK = 0.1, 1.0, {name: {"flicker_s": 0.25} for name in LAMPS}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("period_s", "hold_s", "lamps"), [SLOW, QUICK], ids=["slow", "quick"])
def test_every_begin_is_within_one_poll_of_the_truth(
    period_s: float, hold_s: float, lamps: dict[str, dict[str, Any]], seed: int
) -> None:
    """As in the workshop: green is dark for 80 of 200 ms, red for the second half of each second of its own."""
    random = Random(seed)
    bench = lights(period_s, hold_s, **lamps)
    at_s, ends_s, state = random.random() * period_s, 0.0, "off"
    true: list[tuple[str, float]] = []
    bench.pass_time(at_s)
    while len(true) < 40:
        while ends_s <= at_s:
            state, begin_s = random.choice(FOLLOWS[state]), ends_s
            true.append((state, begin_s))
            ends_s += random.uniform(5, 9)
        red, green = state == "fault" and (at_s - begin_s) % 1 < 0.5, state == "running" and at_s % 0.2 < 0.12
        bench.poll(red, state == "idle", green, after_s=period_s)
        at_s += period_s
    told = [(value, since_s - period_s) for value, since_s in bench.begins("state") if since_s is not None]
    assert [value for value, _ in told] == [value for value, _ in true][: len(told)]
    assert len(told) >= len(true) - 1
    worst = max(abs(one_s - begin_s) for (_, one_s), (_, begin_s) in list(zip(told, true, strict=False))[1:])
    assert worst <= period_s + 1e-3
