"""Machine states, cycles and stops."""

from __future__ import annotations

from typing import Any

from tests.derived.bench import BAD, NO_DATA, UNCERTAIN, Bench

INPUTS = {"red": "bit", "green": "bit", "amps": ("real", "AMP")}
STATE = {
    "name": "state",
    "kind": "state",
    "fault": "red",
    "running": "green and amps > 2",
    "idle": "amps > 0.3",
    "otherwise": "off",
}


def machine(*more: dict[str, Any], **changed: Any) -> Bench:
    return Bench(INPUTS, [STATE | changed, *more])


def test_the_first_condition_that_holds_decides() -> None:
    bench = machine()
    for inputs in ((0, 0, 0.0), (0, 0, 1.0), (0, 1, 3.0), (1, 1, 3.0), (0, 1, 0.1)):
        bench.poll(*inputs)
    assert bench.of("state") == ["off", "idle", "running", "fault", "off"]


def test_packml_names_are_offered() -> None:
    bench = machine(names="packml")
    for inputs in ((0, 0, 0.0), (0, 0, 1.0), (0, 1, 3.0), (1, 1, 3.0)):
        bench.poll(*inputs)
    assert bench.of("state") == ["Stopped", "Idle", "Execute", "Aborted"]


def test_a_bad_condition_makes_the_state_bad_unless_one_before_it_holds() -> None:
    bench = machine()
    bench.poll(0, 1, None)
    assert bench.last("state") == (None, BAD)
    bench.poll(1, 1, None)
    assert bench.last("state") == ("fault", 0)
    bench.poll(None, 1, 3.0)
    assert bench.last("state") == (None, BAD)


def test_a_state_that_no_condition_gives_is_unknown_unless_the_settings_say_otherwise() -> None:
    bench = Bench(INPUTS, [{"name": "state", "kind": "state", "fault": "red", "running": "green"}])
    bench.poll(0, 0, 0.0)
    assert bench.last("state") == (None, NO_DATA)


def test_a_bad_lamp_never_lets_the_state_fall_back_to_otherwise() -> None:
    lamp = {"name": "lamp", "kind": "lamp", "input": "red"}
    bench = Bench(INPUTS, [lamp, {"name": "state", "kind": "state", "fault": "lamp", "running": "green", "otherwise": "off"}])
    bench.poll(None, 0, 0.0)
    assert bench.last("state") == (None, BAD)
    assert bench.last("lamp")[0] is None


def test_another_state_counts_once_it_has_stayed_and_then_from_its_begin() -> None:
    bench = machine(hold_s=1.0)
    for inputs in ((0, 0, 1.0), (0, 1, 3.0), (0, 0, 1.0), (0, 1, 3.0), (0, 1, 3.0), (0, 1, 3.0)):
        bench.poll(*inputs)
    assert bench.begins("state") == [("idle", 0.5), ("running", 2.0)]


def test_a_cycle_is_timed_from_a_pulse_and_bounce_is_no_cycle() -> None:
    bench = Bench({"pulse": "bit"}, [{"name": "cycle", "kind": "cycle", "input": "pulse", "shortest_s": 1.2}])
    for step in range(40):
        bench.poll(step % 8 in (0, 2))  # each pulse comes twice, 1 s apart
    assert bench.last("cycle.count")[0] == 5
    assert bench.last("cycle") == (4.0, 0)


def test_a_cycle_is_timed_from_a_currents_pattern() -> None:
    press = {"name": "stroke", "kind": "hysteresis", "input": "amps", "on_above": 5, "off_below": 3}
    bench = Bench(INPUTS, [press, {"name": "cycle", "kind": "cycle", "input": "stroke"}])
    for step in range(50):
        bench.poll(0, 1, 8.0 if step % 6 < 2 else 2.0)
    assert bench.last("cycle") == (3.0, 0)


def test_a_cycle_with_a_gap_is_uncertain_and_one_with_a_stop_is_not_timed() -> None:
    bench = Bench({"raw": "count"}, [{"name": "cycle", "kind": "cycle", "input": "raw", "longest_s": 10}])
    for value in (1, 2, 2, 3):
        bench.poll(value)
    assert bench.last("cycle") == (1.0, 0)
    bench.poll(None)
    bench.poll(4)
    assert bench.last("cycle") == (1.0, UNCERTAIN)
    for _ in range(30):
        bench.poll(4)
    bench.poll(5)
    assert bench.last("cycle.count")[0] == 4
    assert bench.last("cycle")[0] == 1.0


STOPS = {"name": "stops", "kind": "stops", "running": "green", "micro_s": 5}


def stopped(bench: Bench, runs: str) -> None:
    """`runs`: a letter per poll: 1 runs, 0 stands, x Bad."""
    for letter in runs:
        bench.poll(0, None if letter == "x" else int(letter), 0.0)


def figures(bench: Bench) -> tuple[object, object, object, object]:
    micro, long, unclear, stopped_s = (bench.last(f"stops{what}")[0] for what in ("", ".long", ".unclear", ".stopped_s"))
    return micro, long, unclear, stopped_s


def test_stops_are_told_apart_by_their_length() -> None:
    bench = Bench(INPUTS, [STOPS])
    stopped(bench, "0011" + "0" * 10 + "11" + "0" * 11 + "11")
    assert figures(bench) == (1, 1, 0, 10.5)


def test_a_stop_with_a_gap_is_unclear_unless_it_is_long_or_short_in_any_case() -> None:
    for runs, expected in (
        ("11" + "00xx00" + "11", (1, 0, 0, 3.0)),
        ("11" + "0000" + "x" * 10 + "0000" + "11", (0, 0, 1, 9.0)),
        ("11" + "0" * 12 + "xxx" + "11", (0, 1, 0, 7.5)),
        ("11" + "x" * 20 + "11", (0, 0, 0, 0.0)),
    ):
        bench = Bench(INPUTS, [STOPS])
        stopped(bench, runs)
        assert figures(bench) == expected, runs


def test_a_stop_that_is_excused_is_not_counted() -> None:
    bench = Bench(INPUTS, [STOPS | {"unless": "red"}])
    for red, green in ((0, 1), (0, 0), (1, 0), (0, 0), (0, 1), (0, 0), (0, 1)):
        bench.poll(red, green, 0.0)
    assert figures(bench) == (1, 0, 0, 0.5)
