"""Debounce, hysteresis and lamps: what bounces, flickers and blinks."""

from __future__ import annotations

from tests.derived.bench import BAD, WAITING, Bench


def debounced(on_s: float = 1.0, off_s: float = 2.0) -> Bench:
    return Bench({"door": "bit"}, [{"name": "open", "kind": "debounce", "input": "door", "on_s": on_s, "off_s": off_s}])


def test_a_value_counts_once_it_has_stayed_and_then_from_its_begin() -> None:
    bench = debounced()
    for value in (0, 1, 1, 1, 0, 0, 0, 0, 0):
        bench.poll(value)
    assert bench.begins("open") == [(False, 0.5), (True, 1.0), (False, 2.5)]


def test_bounce_is_no_change() -> None:
    bench = debounced()
    for value in (0, 1, 0, 1, 0, 1, 0, 0, 0):
        bench.poll(value)
    assert bench.of("open") == [False]


def test_a_delay_counts_nothing_that_was_not_seen() -> None:
    bench = debounced()
    bench.poll(0)
    bench.poll(1)
    bench.poll(1, after_s=60)
    assert bench.of("open") == [False]
    bench.poll(1)
    bench.poll(1)
    assert bench.begins("open")[-1] == (True, 61.0)


def test_a_bad_reading_is_bad_and_begins_the_delay_anew() -> None:
    bench = debounced()
    for value in (0, 1, None, 1, 1):
        bench.poll(value)
    assert bench.of("open") == [False, None, False]
    assert ("open", None, BAD, 0.5) in bench.told
    bench.poll(1)
    assert bench.begins("open")[-1] == (True, 2.0)


def test_a_step_of_the_wall_clock_makes_no_time() -> None:
    bench = debounced()
    bench.poll(0)
    bench.poll(1)
    bench.wall_ns += 3600 * 10**9
    bench.poll(1)
    assert bench.of("open") == [False]
    bench.wall_ns -= 7200 * 10**9
    bench.poll(1)
    assert bench.of("open") == [False, True]


def clamped() -> Bench:
    one = {
        "name": "runs",
        "kind": "hysteresis",
        "input": "amps",
        "on_above": 2,
        "off_below": 1,
        "unit": "A",
        "on_s": 1,
        "off_s": 0.5,
    }
    return Bench({"amps": ("real", "AMP")}, [one])


def test_noise_between_the_thresholds_changes_nothing() -> None:
    bench = clamped()
    for value in (0.5, 2.5, 2.4, 2.6, 1.5, 1.2, 1.9, 0.9, 1.1, 0.9, 0.9):
        bench.poll(value)
    assert bench.begins("runs") == [(False, 0.5), (True, 1.0), (False, 5.0)]


def test_between_the_thresholds_at_the_start_nothing_is_known() -> None:
    bench = clamped()
    bench.poll(1.5)
    assert bench.last("runs") == (None, WAITING)
    bench.poll(2.5)
    assert bench.last("runs") == (True, 0)


def lamp(**asked: float) -> Bench:
    return Bench({"red": "bit"}, [{"name": "lamp", "kind": "lamp", "input": "red", **asked}], period_s=0.1)


def test_a_lamp_that_flickers_at_five_hertz_is_lit_and_does_not_blink() -> None:
    bench = lamp(flicker_s=0.25)
    for step in range(100):
        bench.poll(1 - step % 2, after_s=0.1)
    assert bench.of("lamp") == [True]
    assert bench.of("lamp.blinking") == [False]


def test_a_lamp_that_blinks_is_known_from_its_first_flash_on_to_its_last() -> None:
    bench = lamp(blink_s=3)
    for step in range(150):
        bench.poll(1 if 20 <= step < 90 and (step - 20) % 10 < 5 else 0, after_s=0.1)
    ((_, before), (_, begun), (_, ended)) = [(value, since) for value, since in bench.begins("lamp.blinking")]
    assert begun is not None
    assert ended is not None
    assert abs(begun - 2.1) < 1e-6
    assert abs(ended - 8.6) < 1e-6
    assert before is None
    assert [value for value, _ in bench.begins("lamp")] == [False, True, False, True, False]  # dark once until it is known


def test_a_lamp_that_is_switched_on_off_and_on_at_leisure_does_not_blink() -> None:
    bench = lamp(blink_s=3)
    for step in range(200):
        bench.poll(int(step % 80 < 40), after_s=0.1)
    assert bench.of("lamp.blinking") == [False]
    assert bench.of("lamp") == [True, False, True, False, True]


def test_a_blink_has_ended_when_it_is_dark_for_longer_than_ever_and_the_clock_alone_says_so() -> None:
    bench = lamp(blink_s=3)
    for step in range(24):
        bench.poll(int(step % 10 < 5), after_s=0.1)
    assert bench.last("lamp.blinking") == (True, 0)
    for _ in range(6):
        bench.poll(0, after_s=0.1)
    assert bench.last("lamp.blinking") == (True, 0)
    bench.pass_time(0.1)
    bench.look()
    assert bench.begins("lamp.blinking")[-1] == (False, 2.5)
    assert bench.last("lamp") == (False, 0)


def test_a_lamp_that_flashes_twice_and_pauses_blinks_once_its_pause_is_known() -> None:
    bench = lamp(blink_s=3, flicker_s=0.05)
    for _ in range(6):
        for lit in (1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0):
            bench.poll(lit, after_s=0.1)
    assert bench.of("lamp.blinking").count(False) == 2  # before the first flash, and in its first pause
    assert bench.last("lamp.blinking") == (True, 0)
