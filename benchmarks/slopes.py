"""What one more costs: a sink, a device, twice the tags; CPU and memory of the gateway, fitted over interleaved rounds.

    python -m benchmarks.slopes [--json] [--rounds N] [--seconds S] [--only sinks|devices|tags]...

| key | what is varied | the rest |
|---|---|---|
| `sinks` | 1 to 4 sinks at one broker | 100 devices x 100 tags, 10 polls/s: 100,000 values/s to each |
| `devices` | 10 to 200 devices | 100 tags, 10 polls/s each |
| `tags` | 100 to 3200 tags a device, doubled | 5 devices, 10 polls/s each |

Devices in C, mosquitto, mosquitto_sub, every value changing, the outbox on disk. Each has its points (medians of the rounds),
the slope of the line through all samples with its 95 % confidence, and, for tags, by what factor a doubling multiplies CPU (from
the line through the logarithms). A point at which less than 98 % of what was offered was read is `held: false`: its CPU says less
than its load would.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.trend import Trend, fit
from benchmarks.window import Case, Sample, measure

_SETTLE_S = 3.0
"""At most; no longer than what is measured."""
_HELD = 0.98
_PERIOD_MS = 100

_SERIES: dict[str, tuple[tuple[int, ...], Callable[[int], Case]]] = {
    "sinks": ((1, 2, 3, 4), lambda n: Case(_PERIOD_MS, devices=100, sinks=n)),
    "devices": ((10, 50, 100, 200), lambda n: Case(_PERIOD_MS, devices=n)),
    "tags": ((100, 200, 400, 800, 1600, 3200), lambda n: Case(_PERIOD_MS, devices=5, registers=n)),
}

Samples = dict[str, dict[int, list[Sample]]]


def run(names: list[str], rounds: int, seconds: float) -> Samples:
    """All points in turn, `rounds` times."""
    samples: Samples = {name: {n: [] for n in _SERIES[name][0]} for name in names}
    for _ in range(rounds):
        for name in names:
            points, case = _SERIES[name]
            for n in points:
                sample = measure(case(n), min(_SETTLE_S, seconds), seconds)
                samples[name][n].append(sample)
                cores = sample.cpu_s / sample.seconds
                sys.stderr.write(f"{name} {n}: {cores:.3f} cores, {sample.rss_mb:.0f} MB, {sample.missing} missing\n")
    return samples


def figures(samples: Samples) -> dict[str, Any]:
    """By series: the points and the slopes."""
    found: dict[str, Any] = {}
    for name, by_point in samples.items():
        case = _SERIES[name][1]
        x = [float(n) for n, those in by_point.items() for _ in those]
        cores = [100 * one.cpu_s / one.seconds for those in by_point.values() for one in those]
        rss = [one.rss_mb for those in by_point.values() for one in those]
        found[name] = {
            "points": [_point(n, case(n), those) for n, those in by_point.items()],
            "cpu_percent_of_a_core_per_one_more": _trend(fit(x, cores)),
            "rss_mb_per_one_more": _trend(fit(x, rss)),
        }
        if name == "tags":
            doubled = fit([math.log2(n) for n in x], [math.log2(core) for core in cores])
            found[name]["cpu_factor_per_doubling"] = round(2**doubled.slope, 3)
            found[name]["cpu_factor_per_doubling_95"] = [round(2**doubled.low, 3), round(2**doubled.high, 3)]
    return found


def _point(n: int, case: Case, samples: list[Sample]) -> dict[str, Any]:
    polled = statistics.median(one.polled / one.seconds for one in samples)
    return {
        "at": n,
        "cpu_percent_of_a_core": round(100 * statistics.median(one.cpu_s / one.seconds for one in samples), 2),
        "rss_mb": round(statistics.median(one.rss_mb for one in samples), 1),
        "values_per_s": round(polled),
        "us_per_value": round(1e6 * statistics.median(one.cpu_s / max(one.polled, 1) for one in samples), 3),
        "messages_per_s_of_other_sinks": round(statistics.median(one.also / one.seconds for one in samples)),
        "missing": sum(one.missing for one in samples),
        "held": polled >= _HELD * case.offered_per_s,
    }


def _trend(trend: Trend) -> dict[str, Any]:
    digits = 6 if abs(trend.slope) < 0.01 else 4
    return {
        "slope": round(trend.slope, digits),
        "slope_95": [round(trend.low, digits), round(trend.high, digits)],
        "at_none": round(trend.level, 2),
        "r2": round(trend.r2, 3),
    }


def _text(found: dict[str, Any]) -> str:
    parts = []
    for name, about in found.items():
        parts.append(f"{name}\n")
        parts += ["  " + "  ".join(f"{key} {value}" for key, value in point.items()) + "\n" for point in about["points"]]
        parts += [f"  {key}: {value}\n" for key, value in about.items() if key != "points"]
    return "".join(parts)


def main() -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, as after Ctrl-C
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--only", action="append", choices=list(_SERIES), default=None)
    arguments = parser.parse_args()
    names = list(dict.fromkeys(arguments.only or _SERIES))
    found = figures(run(names, arguments.rounds, arguments.seconds))
    sys.stderr.write(f"load average of the machine at the end: {os.getloadavg()[0]:.1f}\n")
    sys.stdout.write(json.dumps(found) + "\n" if arguments.json else _text(found))


if __name__ == "__main__":
    main()
