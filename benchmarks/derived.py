"""What derived tags cost: the share of a core that 10,000 of them take at 10 polls a second.

Run as `python -m benchmarks.derived [--json] [--seconds N] [--rounds N]`. Each machine has ten: three lamps, a hysteresis, a
debounce, a count, a state, a cycle, stops and a rate; a third of them runs at a time, each with
a noisy current and a part every 3 s.
"one_device" has all machines behind one device, "devices_N" the same on N devices; "quiet_..." without the noise, so that mostly
nothing changes. The same polls without derived tags are taken off ("base" tells them); the median of the rounds counts.
"kept" tells what their memory, stored once a second, comes to: bytes of notes a second, and what the process writes for them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from drivers.model import Frame
from drivers.registry import compile_plan
from gateway.clock import Clock as GatewayClock
from gateway.log import Log
from gateway.outbox.base import Entry
from gateway.outbox.sqlite import SqliteOutbox
from gateway.processing.keeping import Keeper
from gateway.processing.pipeline import Pipeline
from gateway.processing.plan import plan_reports
from gateway.processing.report import Report
from gateway.settings import GatewaySettings

_DERIVED = 10_000
_KINDS = 10
_HERTZ = 10
_START_NS = 1_790_000_000_000_000_000
_CYCLE_S = 3.0
_INPUTS = ("red", "yellow", "green", "current", "counter")


class Clock:
    """Time that the polls make."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        """See gateway.clock.Clock."""
        return self.now_s

    def now_ns(self) -> int:
        """See gateway.clock.Clock."""
        return _START_NS + round(self.now_s * 1e9)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of polls per round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds")
    options = parser.parse_args()
    shapes = {"one_device": (1, True), "devices_10": (10, True), "devices_100": (100, True), "quiet_devices_100": (100, False)}
    cores: dict[str, list[float]] = {name: [] for name in shapes}
    base: dict[str, list[float]] = {name: [] for name in shapes}
    for _ in range(options.rounds):
        for name, (devices, is_noisy) in shapes.items():
            plain = measure(devices, is_noisy=is_noisy, seconds=options.seconds, is_derived=False)
            whole = measure(devices, is_noisy=is_noisy, seconds=options.seconds, is_derived=True)
            base[name].append(plain)
            cores[name].append(whole - plain)
    kept = {
        name: asyncio.run(measure_kept(devices, seconds=options.seconds)) for name, (devices, noisy) in shapes.items() if noisy
    }
    result = {
        "derived": _DERIVED,
        "hertz": _HERTZ,
        "cores": {name: round(statistics.median(found), 4) for name, found in cores.items()},
        "base": {name: round(statistics.median(found), 4) for name, found in base.items()},
        "kept": kept,
    }
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for name, share in result["cores"].items():  # type: ignore[attr-defined]
        sys.stdout.write(f"{name:20} {share:8.4f} cores for {_DERIVED} derived tags at {_HERTZ} Hz\n")
    for name, found in kept.items():
        sys.stdout.write(f"{name:20} {found['notes']:8} B/s of notes {found['written']:8} B/s written to keep them\n")


def measure(devices: int, *, is_noisy: bool, seconds: float, is_derived: bool) -> float:
    """CPU seconds per second of polls."""
    machines = _DERIVED // _KINDS // devices
    clock = Clock()
    report = _report(machines, clock, is_derived=is_derived)
    polls = _polls(machines, round(seconds * _HERTZ), is_noisy=is_noisy)
    reports = [report] + [_report(machines, clock, is_derived=is_derived) for _ in range(devices - 1)]
    for frames in polls[:_HERTZ]:  # the first look is at everything
        _take(reports, frames, clock)
    began = time.process_time()
    for frames in polls[_HERTZ:]:
        _take(reports, frames, clock)
    return (time.process_time() - began) / (len(polls) - _HERTZ) * _HERTZ


async def measure_kept(devices: int, *, seconds: float) -> dict[str, int]:
    """Bytes a second that keeping costs once the first second has passed: of notes, and written by the process."""
    machines = _DERIVED // _KINDS // devices
    clock = Clock()
    reports = [_report(machines, clock, is_derived=True) for _ in range(devices)]
    with tempfile.TemporaryDirectory() as folder:
        outbox = SqliteOutbox(Path(folder) / "outbox.db", {})
        await outbox.open()
        keepers = [
            Keeper(f"d{n}", b"", report, outbox.note, clock=cast(GatewayClock, clock), log=Log("device"))
            for n, report in enumerate(reports)
            if isinstance(report, Pipeline)
        ]
        for keeper in keepers:
            await outbox.append([], keeper.resume()[1])
            keeper.resumed()
        notes, before = 0, 0
        for nth, frames in enumerate(_polls(machines, round((seconds + 1) * _HERTZ), is_noisy=True)):
            if nth == _HERTZ:
                notes, before = 0, _written()
            _take(reports, frames, clock)
            due = [(keeper, kept) for keeper in keepers if (kept := keeper.due(_no_records, has_news=True))]
            if due:
                await asyncio.gather(*(outbox.append([], kept) for _, kept in due))
            for keeper, kept in due:
                notes += sum(map(len, kept.values()))
                keeper.stored()
        await outbox.close()
        return {"notes": round(notes / seconds), "written": round((_written() - before) / seconds)}


def _no_records(frames: Sequence[Frame]) -> list[Entry]:
    assert not frames
    return []


def _written() -> int:
    """Bytes that this process has given to the system to write."""
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("wchar:")).split()[1])


def _take(reports: Sequence[Report], frames: Sequence[Frame], clock: Clock) -> None:
    clock.now_s += 1 / _HERTZ
    for report in reports:
        report.pick(frames)
        report.accept()


def _report(machines: int, clock: Clock, *, is_derived: bool) -> Report:
    area = {"red": "discrete_input", "yellow": "discrete_input", "green": "discrete_input"}
    tags: list[dict[str, object]] = [
        {"name": f"{what}{n}", "area": area.get(what, "input_register"), "address": place * machines + n}
        | ({} if what in area else {"unit": "AMP", "scale": 0.01, "deadband": 100} if what == "current" else {})
        for place, what in enumerate(_INPUTS)
        for n in range(machines)
    ]
    derived = [one for n in range(machines) for one in _machine(n)] if is_derived else []
    settings = GatewaySettings.model_validate(
        {
            "gateway": "g",
            "devices": [{"name": "d", "driver": "modbus", "address": "127.0.0.1:1", "period_ms": 100, "tags": tags}],
            "sinks": [{"kind": "mqtt", "url": "mqtt://broker"}],
            "derived": derived,
        }
    )
    return plan_reports(settings, {"d": compile_plan(settings.devices[0]).tags}, clock)["d"].report


def _machine(n: int) -> list[dict[str, object]]:
    return [
        {"device": "d", "name": f"{what}{n}", **asked}
        for what, asked in (
            ("red_lamp", {"kind": "lamp", "input": f"red{n}"}),
            ("yellow_lamp", {"kind": "lamp", "input": f"yellow{n}"}),
            ("green_lamp", {"kind": "lamp", "input": f"green{n}"}),
            ("steady", {"kind": "debounce", "input": f"green{n}", "on_s": 1, "off_s": 1}),
            ("works", {"kind": "hysteresis", "input": f"current{n}", "on_above": 2, "off_below": 1.5, "unit": "AMP", "off_s": 2}),
            ("parts", {"kind": "count", "input": f"counter{n}", "bits": 16, "shortest_s": 1}),
            (
                "state",
                {"kind": "state", "fault": f"red_lamp{n}", "running": f"works{n}", "idle": f"yellow_lamp{n}", "otherwise": "off"},
            ),
            ("cycle", {"kind": "cycle", "input": f"parts{n}"}),
            ("stops", {"kind": "stops", "running": f"state{n}.running", "micro_s": 60}),
            ("rate", {"kind": "rate", "input": f"parts{n}", "window_s": 60, "deadband": 0.5}),
        )
    ]


def _polls(machines: int, count: int, *, is_noisy: bool) -> list[list[Frame]]:
    random = np.random.default_rng(1)
    places = [np.arange(machines * first, machines * last, dtype=np.int32) for first, last in ((0, 3), (3, 4), (4, 5))]
    for tags in places:
        tags.flags.writeable = False
    offsets = random.uniform(0, 60, machines)
    found = []
    for n in range(count):
        at_ns = _START_NS + n * 1_000_000_000 // _HERTZ
        runs = (n / _HERTZ + offsets) % 60 < 20
        lamps = np.concatenate([np.zeros(machines, np.int64), (~runs).astype(np.int64), runs.astype(np.int64)])
        noise = random.normal(scale=0.05, size=machines) if is_noisy else 0.0
        parts = np.floor((n / _HERTZ + offsets) / _CYCLE_S).astype(np.int64)
        columns = (lamps, np.where(runs, 5.0, 1.0) + noise, parts)
        found.append(
            [
                Frame("d", at_ns, tags, values, np.zeros(len(tags), np.uint32))
                for tags, values in zip(places, columns, strict=True)
            ]
        )
    return found


if __name__ == "__main__":
    main()
