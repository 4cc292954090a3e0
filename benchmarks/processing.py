"""What each stage of the processing costs: microseconds per frame of 100 tags, of which every value changes.

Run as `python -m benchmarks.processing [--json] [--frames N] [--rounds N]`. The stages take turns; the median of
the rounds counts. "none" is the filter of a device of which nothing is asked; every other one is the whole way with that stage.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import numpy as np

from drivers.model import Frame, reading_count
from drivers.registry import compile_plan
from gateway.processing.plan import Reporting, plan_reports
from gateway.settings import GatewaySettings

_TAGS = 100
_PERIOD_NS = 100_000_000
_START_NS = 1_790_000_000_000_000_000
_FUNCTIONS = ["min", "max", "mean", "sum", "count", "first", "last", "stddev"]

_STAGES: dict[str, tuple[dict[str, Any], str | None]] = {
    "none": ({}, None),
    "deadband": ({"deadband": 0.5}, None),
    "percent_of_span": ({"deadband_percent": 1, "span_low": 0, "span_high": 100}, None),
    "percent_of_value": ({"deadband_percent": 1}, None),
    "swinging_door": ({"swinging_door": 0.5}, None),
    "aggregates": ({"aggregates": {"window_s": 1, "functions": _FUNCTIONS}}, None),
    "aggregates_replacing": ({"aggregates": {"window_s": 1, "functions": _FUNCTIONS, "replace": True}}, None),
    "calculated": ({}, "t{n} * t{m} / 1000 + 3"),
    "calculated_logic": ({}, "if(t{n} > t{m}, min(t{n}, 5) - t{m}, sqrt(abs(t{m})))"),
    "stale": ({"stale_after_s": 60, "stale_by": "value"}, None),
}
"""By name: what is asked of each of the 100 tags, and the expression of each of 100 calculated ones."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--frames", type=int, default=2000, help="frames per round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all stages")
    options = parser.parse_args()
    frames = make_frames(options.frames)
    costs: dict[str, list[float]] = {stage: [] for stage in _STAGES}
    reported: dict[str, float] = {}
    for _ in range(options.rounds):
        for stage in _STAGES:
            cost_us, count = measure(make_report(stage), frames)
            costs[stage].append(cost_us)
            reported[stage] = count / len(frames)
    result = {
        stage: {"us_per_frame": round(statistics.median(costs[stage]), 1), "reported_per_frame": round(reported[stage], 1)}
        for stage in _STAGES
    }
    if options.json:
        sys.stdout.write(json.dumps({"tags": _TAGS, "frames": options.frames, "rounds": options.rounds, "stages": result}) + "\n")
        return
    for stage, told in result.items():
        sys.stdout.write(f"{stage:22} {told['us_per_frame']:8.1f} us   {told['reported_per_frame']:6.1f} readings reported\n")


def make_report(stage: str) -> Reporting:
    """The way of a device of which that stage is asked."""
    asked, expression = _STAGES[stage]
    tags = [{"name": f"t{n}", "area": "holding_register", "address": n} | asked for n in range(_TAGS)]
    calculated = [
        {"device": "d", "name": f"c{n}", "expression": expression.format(n=n, m=(n + 1) % _TAGS)}
        for n in range(_TAGS if expression else 0)
        if expression
    ]
    settings = GatewaySettings.model_validate(
        {
            "gateway": "g",
            "devices": [{"name": "d", "driver": "modbus", "address": "127.0.0.1:1", "tags": tags}],
            "sinks": [{"kind": "mqtt", "url": "mqtt://broker"}],
            "calculated": calculated,
        }
    )
    return plan_reports(settings, {"d": compile_plan(settings.devices[0]).tags}, time.monotonic)["d"]


def make_frames(count: int) -> list[Frame]:
    """Polls of 100 slow sines with noise, ten a second; they share one array of tags as a driver's do."""
    tags = np.arange(_TAGS, dtype=np.int32)
    tags.flags.writeable = False
    random = np.random.default_rng(1)
    place = np.arange(_TAGS)
    status = np.zeros(_TAGS, np.uint32)
    frames = []
    for n in range(count):
        values = 50 + 40 * np.sin(n / 100 + place) + random.normal(scale=0.2, size=_TAGS)
        frames.append(Frame("d", _START_NS + n * _PERIOD_NS, tags, values, status))
    return frames


def measure(reporting: Reporting, frames: list[Frame]) -> tuple[float, int]:
    """CPU microseconds per frame, and how many readings were reported in all."""
    report = reporting.report
    count = 0
    began = time.process_time()
    for frame in frames:
        count += reading_count(report.pick([frame]))
        report.accept()
    return (time.process_time() - began) / len(frames) * 1e6, count


if __name__ == "__main__":
    main()
