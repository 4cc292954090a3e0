"""What the engine benchmark makes of its samples."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.engine import figures
from benchmarks.window import Case, Sample

SAMPLE = Sample(
    seconds=2.0,
    polled=10_000,
    delivered=10_000,
    also=0,
    user_s=0.02,
    system_s=0.005,
    rss_mb=70.0,
    polls=100,
    missing=0,
    age_ms_p50=5.0,
    age_ms_p99=9.0,
)
CASE = Case(period_ms=100, devices=5)


def test_figures_are_medians_and_ratios_those_of_the_rounds() -> None:
    ours = [replace(SAMPLE, user_s=user_s) for user_s in (0.015, 0.035, 0.045)]
    bare = [replace(SAMPLE, user_s=user_s) for user_s in (0.035, 0.035, 0.035)]
    floor = [replace(SAMPLE, user_s=0.005)] * 3
    found = figures({"": ours}, {("bare", ""): bare, ("floor", ""): floor}, {"": CASE})
    assert (found["floor_values_per_cpu_s"], found["of_floor"]) == (1_000_000, 0.25)
    assert (found["values_per_cpu_s"], found["bare_values_per_cpu_s"], found["ratio"]) == (250_000, 250_000, 1.0)
    assert (found["values_per_s"], found["offered_values_per_s"], found["cpu_share"]) == (5000, 5000, 0.02)


def test_one_round_that_fell_behind_is_told_and_what_is_missing_is_summed() -> None:
    late = replace(SAMPLE, polled=9_700, missing=3)
    found = figures({"_rbe": [SAMPLE, SAMPLE], "_held": [SAMPLE, late]}, {}, {"_rbe": CASE, "_held": CASE})
    assert (found["kept_up_rbe"], found["kept_up_held"]) == (True, False)
    assert (found["missing_rbe"], found["missing_held"]) == (0, 3)


def test_an_age_that_nobody_knows_is_none() -> None:
    assert figures({"_rbe": [replace(SAMPLE, age_ms_p99=None)]}, {}, {"_rbe": CASE})["age_ms_p99_rbe"] is None
