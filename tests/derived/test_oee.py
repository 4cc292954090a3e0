"""OEE over shifts and orders, energy per part, and what outlives a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.derived.bench import NS, UNCERTAIN, Bench

MIDNIGHT_NS = round(datetime(2026, 3, 28, tzinfo=UTC).timestamp()) * NS
"""The night in which Berlin's clocks go forward begins 23 hours later."""
SHIFTS = {
    "shifts": [
        {"name": "early", "begin": "06:00", "end": "14:00", "breaks": [{"begin": "09:00", "end": "09:30"}]},
        {"name": "night", "begin": "22:00", "end": "06:00", "breaks": [{"begin": "02:00", "end": "02:30"}]},
    ]
}
STEP_S = 20
DERIVED: list[dict[str, Any]] = [
    {"name": "state", "kind": "state", "running": "green", "otherwise": "idle"},
    {"name": "parts", "kind": "count", "input": "raw"},
    {"name": "bad", "kind": "count", "input": "scrap"},
    {"name": "oee", "kind": "oee", "state": "state", "count": "parts", "reject": "bad", "ideal_cycle_s": 60, "every_s": 600},
]


class Plant(Bench):
    """A machine that makes a part every 100 s while it runs, every tenth of them bad; polled each STEP_S."""

    def __init__(self, at_s: float, derived: list[dict[str, Any]] | None = None, **calendar: Any) -> None:
        inputs = {"green": "bit", "raw": "count", "scrap": "count", "order": "text"}
        start_ns = MIDNIGHT_NS + round(at_s * NS)
        super().__init__(inputs, derived or DERIVED, period_s=STEP_S, start_ns=start_ns, calendar=SHIFTS | calendar)
        self.ran_s = 0.0

    def run(self, seconds: float, *, runs: bool = True, order: str = "A", silent: bool = False) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.ran_s += STEP_S if runs else 0
            parts = int(self.ran_s // 100)
            if silent:
                self.pass_time(STEP_S)
            else:
                self.poll(int(runs), parts, parts // 10, order, after_s=STEP_S)

    def closed(self) -> list[dict[str, Any]]:
        """What was told of each period that ended."""
        begins = {since for name, value, _, since in self.told if name == "oee.closed" and value is True}
        found = []
        for begin in sorted(begin for begin in begins if begin is not None):
            told = {name: value for name, value, _, since in self.told if since == begin and name.startswith("oee")}
            found.append(told | {"begin": begin + (self.start_ns - MIDNIGHT_NS) / NS})
        return found

    def early(self) -> dict[str, Any]:
        """The one early shift."""
        (found,) = [shift for shift in self.closed() if shift["oee.period"] == "2026-03-28/early"]
        return found


def test_a_shift_is_reckoned_from_its_planned_time() -> None:
    plant = Plant(6 * 3600 - 600)
    plant.run(600)
    plant.run(3600)
    plant.run(7200, runs=False)
    plant.run(5 * 3600 + 600)
    shift = plant.early()
    assert shift["begin"] == 6 * 3600
    assert shift["oee.period"] == "2026-03-28/early"
    assert shift["oee.planned_s"] == pytest.approx(7.5 * 3600)
    assert shift["oee.running_s"] == pytest.approx(5.5 * 3600, abs=2 * STEP_S)  # the break lay in the second hour of standing
    assert shift["oee.idle_s"] == pytest.approx(2 * 3600, abs=2 * STEP_S)
    assert shift["oee.unknown_s"] == pytest.approx(0, abs=1e-3)
    assert shift["oee.count"] in (216, 215, 217)
    parts, rejects = shift["oee.count"], shift["oee.reject"]
    assert shift["oee.availability"] == pytest.approx(5.5 / 7.5, abs=1e-3)
    assert shift["oee.performance"] == pytest.approx(parts * 60 / (5.5 * 3600), abs=1e-3)
    assert shift["oee.quality"] == pytest.approx((parts - rejects) / parts)
    factors = [shift[f"oee.{name}"] for name in ("availability", "performance", "quality")]
    assert shift["oee"] == pytest.approx(factors[0] * factors[1] * factors[2])


def test_a_night_shift_ends_on_the_next_day_and_is_an_hour_shorter_when_the_clocks_go_forward() -> None:
    plant = Plant(20 * 3600, time_zone="Europe/Berlin")  # 21:00 there
    plant.run(10 * 3600)
    (night,) = plant.closed()
    assert night["oee.period"] == "2026-03-28/night"
    assert night["begin"] == 21 * 3600
    assert night["oee.planned_s"] == pytest.approx(6.5 * 3600)  # the break, in the hour that is skipped, comes behind it


def test_of_a_state_that_was_known_late_only_planned_time_counts() -> None:
    held = [one | {"hold_s": 50} if one["kind"] == "state" else one for one in DERIVED]
    plant = Plant(6 * 3600 - 100, held)
    plant.run(100 + 3.5 * 3600 - 40)
    plant.run(100, runs=False)  # it stands from 20 s before the break's end on, which is known 40 s after that
    plant.run(4.5 * 3600)
    assert plant.early()["oee.idle_s"] == pytest.approx(80, abs=0.1)
    assert plant.early()["oee.unknown_s"] == pytest.approx(0, abs=0.1)


def test_a_gap_is_unknown_time_neither_running_nor_standing() -> None:
    plant = Plant(6 * 3600 - 60)
    plant.run(3660)
    plant.run(3600, silent=True)
    plant.run(7 * 3600)
    shift = plant.early()
    assert shift["oee.unknown_s"] == pytest.approx(3600, abs=2 * STEP_S)
    assert shift["oee.running_s"] == pytest.approx(6.5 * 3600, abs=2 * STEP_S)
    assert plant.last("oee.running_s")[1] == UNCERTAIN


def test_a_bad_state_is_unknown_time_too() -> None:
    plant = Plant(6 * 3600 - 60)
    plant.run(3660)
    for _ in range(60):
        plant.poll(None, None, None, "A", after_s=10)
    plant.run(7.5 * 3600)
    assert plant.early()["oee.unknown_s"] == pytest.approx(610, abs=2 * STEP_S)


def test_a_late_start_is_unknown_time() -> None:
    plant = Plant(8 * 3600)
    plant.run(6.5 * 3600)
    shift = plant.early()
    assert shift["begin"] == 6 * 3600
    assert shift["oee.unknown_s"] == pytest.approx(2 * 3600, abs=2 * STEP_S)


def test_a_clock_that_is_set_back_into_a_shift_that_was_told_does_not_tell_it_anew() -> None:
    plant = Plant(13.5 * 3600)
    plant.run(3600)
    assert [shift["begin"] for shift in plant.closed()] == [6 * 3600]
    plant.wall_ns -= 3600 * NS
    plant.run(2400)
    begins = [shift["begin"] for shift in plant.closed()]
    assert begins[0] == 6 * 3600
    assert begins[1] == pytest.approx(13.5 * 3600, abs=2 * STEP_S)


def test_a_clock_that_is_set_forward_makes_unknown_time_and_no_running_time() -> None:
    plant = Plant(6 * 3600 - 60)
    plant.run(3660)
    plant.wall_ns += 3600 * NS
    plant.run(6 * 3600 + 600)
    shift = plant.early()
    assert shift["oee.running_s"] == pytest.approx(6.5 * 3600, abs=700)
    assert shift["oee.unknown_s"] > 3000


def test_orders_are_reckoned_one_by_one_and_outside_of_shifts_no_time_is_planned() -> None:
    by_order = DERIVED[3] | {"per": "order", "order": "order"}
    plant = Plant(12 * 3600, [*DERIVED[:3], by_order])
    plant.run(3600, order="A-1")
    plant.run(10 * 3600, order="A-2")
    plant.run(600, order="")
    plant.run(600, order="A-3")
    first, second = plant.closed()
    assert first["oee.period"] == "A-1"
    assert first["oee.planned_s"] == pytest.approx(3600, abs=2 * STEP_S)
    assert second["oee.period"] == "A-2"
    assert second["oee.planned_s"] == pytest.approx(2 * 3600, abs=2 * STEP_S)  # to 14:00, and from 22:00 on
    assert second["oee.count"] == pytest.approx(360, abs=2)


def test_everything_goes_on_after_a_restart_and_the_time_between_is_unknown() -> None:
    plant = Plant(6 * 3600 - 60)
    plant.run(3660)
    kept = plant.memories()
    plant.restart()
    plant.pass_time(1800)
    plant.ran_s += 1800
    plant.resume(kept)
    plant.run(6.5 * 3600 + 60)
    shift = plant.early()
    assert shift["oee.unknown_s"] == pytest.approx(1800, abs=2 * STEP_S)
    assert shift["oee.count"] == pytest.approx(288, abs=1)
    assert plant.last("parts")[0] == pytest.approx(plant.ran_s // 100, abs=1)


def test_what_the_settings_changed_begins_anew_and_the_rest_goes_on() -> None:
    plant = Plant(6 * 3600 - 60)
    plant.run(3660)
    looked_ns, since_s, kept = plant.memories()
    plant.restart()
    plant.resume((looked_ns, since_s, [tag._replace(settings=b"other") if tag.name == "bad" else tag for tag in kept]))
    plant.run(100)
    assert plant.last("parts")[0] == plant.ran_s // 100
    assert plant.last("bad")[0] == 0


def test_what_could_not_be_stored_counts_once_it_can() -> None:
    plant = Plant(6 * 3600 - 60)
    plant.run(3660)
    before = plant.last("oee.count")
    for _ in range(90):
        plant.ran_s += 10
        plant.poll(1, int(plant.ran_s // 100), 0, "A", after_s=10, accept=False)
    plant.run(600)
    assert before[0] is not None
    assert plant.last("parts")[0] == plant.ran_s // 100


def test_a_shift_ends_though_the_device_is_away() -> None:
    plant = Plant(13.5 * 3600)
    plant.run(600)
    plant.poll(None, None, None, "A", after_s=10)
    due_ns = plant.report.next_heartbeat_ns()
    assert due_ns is not None
    assert due_ns <= plant.wall_ns + 600 * NS
    plant.pass_time(3600)
    plant.look()
    assert [shift["begin"] for shift in plant.closed()] == [6 * 3600]


def energy(source: dict[str, str], kind: tuple[str, str]) -> Bench:
    derived = [
        {"name": "parts", "kind": "count", "input": "raw"},
        {"name": "each", "kind": "energy_per_part", "count": "parts"} | source,
    ]
    return Bench({"raw": "count", "meter": kind}, derived)


def test_energy_per_part_of_a_meter() -> None:
    bench = energy({"energy": "meter"}, ("real", "KWH"))
    for step in range(20):
        bench.poll(step // 4, 100 + step * 0.25)
    assert bench.last("each") == (1.0, 0)
    assert bench.table.units[bench.table.names.index("each")] == "KWH"


def test_energy_per_part_of_a_power_and_a_gap_makes_it_uncertain() -> None:
    bench = energy({"power": "meter"}, ("real", "KWT"))
    for step in range(20):
        bench.poll(step // 4, 3600.0)
    assert bench.last("each") == (pytest.approx(2.0), 0)
    bench.poll(5, None)
    for _ in range(4):
        bench.poll(6, 3600.0)
    assert bench.last("each")[1] == UNCERTAIN
    assert bench.table.units[bench.table.names.index("each.total")] == "KWH"


def test_a_power_that_stood_still_and_jumps_is_summed_up_to_the_last_look() -> None:
    bench = energy({"power": "meter"}, ("real", "KWT"))
    for _ in range(8):
        bench.poll(0, 0.0, after_s=0.3)
    bench.poll(0, 3600.0, after_s=0.3)
    assert bench.last("each.total")[0] == pytest.approx(0.15)


def test_a_meter_that_was_reset_gives_no_figure_for_that_part() -> None:
    bench = energy({"energy": "meter"}, ("real", "KWH"))
    for step, meter in enumerate((10, 11, 12, 0.5, 1.5)):
        bench.poll(step, meter)
    assert bench.of("each")[-3:] == [1.0, None, 1.0]
