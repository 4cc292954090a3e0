"""Modbus to subscriber, values per CPU-second: the gateway beside a bare pymodbus + paho loop and a floor, in turn.

    python -m benchmarks.engine [--json] [--rounds N] [--seconds S] [--devices N] [--period-ms MS] [--peers [--cache DIR]]
    python -m benchmarks.engine --profile [--py-spy PATH] [--period-ms MS]

Devices in C (line_server.c) -> publisher -> mosquitto -> mosquitto_sub, the outbox on disk. CPU is user and system time of all
threads of the publisher, over the window in which values are counted; age is from the device's answer to the subscriber. Figures
are medians over the rounds, ratios medians of each round's; `missing` is the sum of polls that were served and never came. Only
the gateway keeps every reading on disk before it is sent, decodes into named tags with a status, and resends.

`of_floor`: the gateway's values per CPU-second as a part of floor.py's, which neither decodes, names, judges nor recovers. It
doesn't depend on the machine as the figures do.

`kept_up`: in every round at least 98 % of what was offered was read. Where it wasn't, the machine was too busy, and values per
CPU-second flatter: who comes late finds more to do at each wake-up.

| suffix of the keys | what is run |
|---|---|
| none, `_100ms` | every register changes with each poll, 20 and 100 ms: values delivered |
| `_rbe` | the same at 20 ms with a deadband on every tag |
| `_rbe_1_percent` | a deadband on every tag, one value in a hundred changes: values read and judged, of which 1 % are delivered |
| `_held` | 200,000 values/s offered (25 ms), the gateway on one core: what it delivers, its share of that core, its memory |

`interpreter`: one built without profile-guided optimisation, as Debian's is built with, costs a fifth to a third more CPU.
`load_average` is the machine's at the end (our own programs are about 1.5 of it): who else works on it spoils ages first.

`peers` needs --peers: the rivals of benchmarks/peers in the same rounds, at 1 s and at 100 ms, without a fault
(`python -m benchmarks.peers` has the faults), and our p99 age at 100 ms beside theirs at 1 s, a tenth of our load.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cpu_profile import profile
from benchmarks.peers.rivals import RIVAL_PERIODS_MS, Rivals, default_cache
from benchmarks.window import Case, Instead, Sample, measure

_SETTLE_S = 3.0
"""At most; no longer than what is measured."""
_CHANGE = {"deadband": 0.5}
_HELD_PERIOD_MS = 25
_KEPT_UP = 0.98
_BESIDE: tuple[Instead, ...] = ("bare", "floor")
_COMPARED = ("", "_100ms")


def cases(devices: int, period_ms: int | None) -> dict[str, Case]:
    """What is run, by suffix of the keys."""
    if period_ms is not None:
        return {"": Case(period_ms, devices)}
    return {
        "": Case(20, devices),
        "_100ms": Case(100, devices),
        "_rbe": Case(20, devices, tag=_CHANGE),
        "_rbe_1_percent": Case(20, devices, tag=_CHANGE, every=100),
        "_held": Case(_HELD_PERIOD_MS, devices, core=max(os.sched_getaffinity(0))),
    }


def compare(
    chosen: dict[str, Case], rounds: int, seconds: float, rivals: Rivals | None
) -> tuple[dict[str, list[Sample]], dict[tuple[Instead, str], list[Sample]]]:
    """The gateway's samples and, for the cases without an extra, those of what runs beside it; all in turn, `rounds` times."""
    ours: dict[str, list[Sample]] = {suffix: [] for suffix in chosen}
    beside: dict[tuple[Instead, str], list[Sample]] = {
        (i, suffix): [] for suffix in _COMPARED if suffix in chosen for i in _BESIDE
    }
    settle_s = min(_SETTLE_S, seconds)
    for _ in range(rounds):
        for suffix, case in chosen.items():
            ours[suffix].append(measure(case, settle_s, seconds))
            _say(f"gateway{suffix}", ours[suffix][-1])
            for instead in _BESIDE if suffix in _COMPARED else ():
                found = measure(dataclasses.replace(case, instead=instead), settle_s, seconds)
                beside[instead, suffix].append(found)
                _say(f"{instead}{suffix}", found)
        if rivals is not None:
            rivals.run_round(seconds)
    return ours, beside


def figures(
    ours: dict[str, list[Sample]], beside: dict[tuple[Instead, str], list[Sample]], chosen: dict[str, Case]
) -> dict[str, Any]:
    """All keys but `peers`."""
    found: dict[str, Any] = {}
    for suffix, samples in ours.items():
        others: dict[str, Any] = {}
        if suffix in _COMPARED:
            bare, floor = beside["bare", suffix], beside["floor", suffix]
            others = {
                "bare_values_per_cpu_s": round(_median(bare, lambda sample: sample.polled_per_cpu_s)),
                "ratio": _ratio(samples, bare),
                "bare_values_per_s": round(_median(bare, lambda sample: sample.delivered / sample.seconds)),
                "bare_age_ms_p99": _age(bare, "age_ms_p99"),
                "bare_rss_mb": round(_median(bare, lambda sample: sample.rss_mb)),
                "floor_values_per_cpu_s": round(_median(floor, lambda sample: sample.polled_per_cpu_s)),
                "of_floor": _ratio(samples, floor),
                "floor_values_per_s": round(_median(floor, lambda sample: sample.delivered / sample.seconds)),
                "floor_missing": sum(sample.missing for sample in floor),
            }
        keys = {
            "values_per_cpu_s": round(_median(samples, lambda sample: sample.polled_per_cpu_s)),
            "age_ms_p50": _age(samples, "age_ms_p50"),
            "age_ms_p99": _age(samples, "age_ms_p99"),
            "rss_mb": round(_median(samples, lambda sample: sample.rss_mb)),
            "values_per_s": round(_median(samples, lambda sample: sample.delivered / sample.seconds)),
            "polled_per_s": round(_median(samples, lambda sample: sample.polled / sample.seconds)),
            "offered_values_per_s": round(chosen[suffix].offered_per_s),
            "cpu_share": round(_median(samples, lambda sample: sample.cpu_s / sample.seconds), 3),
            "missing": sum(sample.missing for sample in samples),
            "kept_up": all(sample.polled >= _KEPT_UP * chosen[suffix].offered_per_s * sample.seconds for sample in samples),
        }
        found |= {f"{name}{suffix}": figure for name, figure in (keys | others).items()}
    return found


def _ratio(ones: list[Sample], others: list[Sample]) -> float:
    """Of values per CPU-second, the median over the rounds."""
    rates = [(one.polled_per_cpu_s, other.polled_per_cpu_s) for one, other in zip(ones, others, strict=True)]
    return round(statistics.median(one / other if other else float("nan") for one, other in rates), 2)


def _median(samples: list[Sample], figure: Callable[[Sample], float]) -> float:
    return statistics.median(figure(sample) for sample in samples)


def _age(samples: list[Sample], name: str) -> float | None:
    ages = [getattr(sample, name) for sample in samples]
    return None if None in ages else round(statistics.median(ages), 1)


def _say(what: str, sample: Sample) -> None:
    sys.stderr.write(
        f"{what}: {sample.polled_per_cpu_s:,.0f} values/CPU-s, p99 {sample.age_ms_p99} ms, {sample.missing} missing\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--period-ms", type=int, default=None, help="only this period, and none of the other cases")
    parser.add_argument("--peers", action="store_true", help="the rivals too; they are installed when they aren't there")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where the rivals are installed")
    parser.add_argument("--profile", action="store_true", help="where the gateway's CPU goes, instead")
    parser.add_argument("--py-spy", default="py-spy", help="the program py-spy, for --profile")
    return parser.parse_args()


def main() -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, as after Ctrl-C
    arguments = _arguments()
    if arguments.profile:
        case = Case(arguments.period_ms or 20, arguments.devices)
        found = profile(case, arguments.seconds, arguments.py_spy)
        sys.stdout.write(json.dumps(found.as_dict()) + "\n" if arguments.json else found.as_text())
        return
    chosen = cases(arguments.devices, arguments.period_ms)
    rivals = Rivals(arguments.cache, arguments.devices) if arguments.peers else None
    ours, beside = compare(chosen, arguments.rounds, arguments.seconds, rivals)
    result = figures(ours, beside, chosen)
    result["interpreter"] = sys.version
    result["load_average"] = round(os.getloadavg()[0], 1)
    result["peers"] = "python -m benchmarks.engine --json --peers" if rivals is None else rivals.found()
    if rivals is not None and "_100ms" in ours:
        own = result["age_ms_p99_100ms"]
        result["peers_age_ms_p99_at_a_tenth"] = rivals.beside(own, f"{RIVAL_PERIODS_MS[0]}ms")
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for name, figure in result.items():
        sys.stdout.write(f"{name:>36}  {figure:>14,}\n" if isinstance(figure, int | float) else f"{name:>36}  {figure}\n")


if __name__ == "__main__":
    main()
