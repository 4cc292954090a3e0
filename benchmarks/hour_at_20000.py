"""An hour at 20,000 values/s: do memory and descriptors stay as they are, and does everything arrive?

    python -m benchmarks.hour_at_20000 [--json] [--minutes 60] [--devices 20] [--period-ms 100]

Devices in C, the gateway as shipped with its outbox on disk, mosquitto, mosquitto_sub. Each 10 s resident memory and open
descriptors of the gateway and the bytes of its outbox are taken. Slopes are of the means of blocks of five minutes (three or
more) after the first sixth of the run, with their 95 % confidence. Flat: after that sixth memory grew by less than 2 % from
the first block to the last, and descriptors by less than one. Every poll is held against what the device served. Ends with 1
when it isn't flat or something is missing or altered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.account import Account, ages_ms, fate, share
from benchmarks.gateway_process import TOPIC, Gateway, Load
from benchmarks.line import WRAP, Line
from benchmarks.peers.broker import Broker
from benchmarks.subscriber import Subscriber
from benchmarks.trend import blocks, fit

_REGISTERS = 100
_NS = 1_000_000_000
_TAIL_S = 1.0
"""Polls of the last second may be on their way when the gateway is told to stop."""
_MOST_GROWTH = 0.02


def run(minutes: float, devices: int, period_ms: int, every_s: float) -> dict[str, Any]:
    """One run; see the module's docstring."""
    if minutes * 60_000 / period_ms >= WRAP:
        raise SystemExit(f"so many polls can't be told apart: at most {WRAP * period_ms // 60_000} minutes at {period_ms} ms")
    account = Account(_REGISTERS)
    points: list[tuple[float, int, int, int]] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hour-")))
        broker = stack.enter_context(Broker(folder))
        line = Line(devices, folder)
        with line:
            subscriber = stack.enter_context(Subscriber(broker.port, [TOPIC], account.take))
            with Gateway(folder / "gateway", Load(line.ports, period_ms, broker.port)) as gateway:
                time.sleep(3)
                began_ns, cpu_s, start, before = time.time_ns(), sum(gateway.cpu_s()), time.monotonic(), account.values
                while (elapsed := time.monotonic() - start) < minutes * 60:
                    points.append((elapsed / 60, gateway.rss_bytes(), gateway.descriptors(), gateway.outbox_bytes()))
                    _say(points[-1], account.values - before)
                    time.sleep(max(0.0, start + len(points) * every_s - time.monotonic()))
                used_s, seconds, values = sum(gateway.cpu_s()) - cpu_s, time.monotonic() - start, account.values - before
                ended_ns = time.time_ns()
            subscriber.wait_quiet(2, 30)
        columns = account.columns()
    found = fate(columns, line.served, began_ns, ended_ns - int(_TAIL_S * _NS))
    ages = ages_ms(columns, line.served, began_ns, ended_ns)
    return {
        "minutes": round(seconds / 60, 1),
        "values_per_s": round(values / seconds),
        "values_per_cpu_s": round(values / used_s),
        "polls": found.polls,
        "missing": found.missing,
        "repeated": found.repeated,
        "altered": account.altered,
        "age_ms_p50": share(ages, 0.5),
        "age_ms_p99": share(ages, 0.99),
        "age_ms_max": share(ages, 1.0),
    } | slopes(points)


def slopes(points: list[tuple[float, int, int, int]]) -> dict[str, Any]:
    """Of (minute, RSS, descriptors, bytes of the outbox), after the first sixth of the run."""
    settled = points[-1][0] / 6
    kept = [point for point in points if point[0] >= settled]
    minutes = [point[0] for point in kept]
    count = max(3, round((minutes[-1] - minutes[0]) / 5))
    x, rss = blocks(minutes, [point[1] / 1024 for point in kept], count)
    _, fds = blocks(minutes, [float(point[2]) for point in kept], count)
    memory, descriptors = fit(x, rss), fit(x, fds)
    growth = (rss[-1] - rss[0]) / rss[0]
    return {
        "settled_after_minutes": round(settled, 1),
        "rss_mb_first": round(rss[0] / 1024, 1),
        "rss_mb_last": round(rss[-1] / 1024, 1),
        "rss_mb_max": round(max(point[1] for point in points) / 2**20, 1),
        "rss_growth_percent": round(100 * growth, 2),
        "rss_kib_per_minute": round(memory.slope, 2),
        "rss_kib_per_minute_95": [round(memory.low, 2), round(memory.high, 2)],
        "descriptors_first": round(fds[0], 2),
        "descriptors_last": round(fds[-1], 2),
        "descriptors_per_hour": round(60 * descriptors.slope, 3),
        "descriptors_per_hour_95": [round(60 * descriptors.low, 3), round(60 * descriptors.high, 3)],
        "outbox_mb_first": round(kept[0][3] / 2**20, 1),
        "outbox_mb_last": round(kept[-1][3] / 2**20, 1),
        "outbox_mb_max": round(max(point[3] for point in points) / 2**20, 1),
        "rss_mb_by_block": [round(value / 1024, 1) for value in rss],
        "flat": growth < _MOST_GROWTH and fds[-1] - fds[0] < 1,
    }


def _say(point: tuple[float, int, int, int], values: int) -> None:
    minute, rss, fds, outbox = point
    sys.stderr.write(
        f"{minute:6.2f} min  RSS {rss / 2**20:6.1f} MiB  {fds} descriptors  outbox {outbox / 2**20:.1f} MiB  {values} values\n"
    )
    sys.stderr.flush()


def main() -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, as after Ctrl-C
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--period-ms", type=int, default=100)
    parser.add_argument("--every-s", type=float, default=10.0)
    arguments = parser.parse_args()
    found = run(arguments.minutes, arguments.devices, arguments.period_ms, arguments.every_s)
    sys.stdout.write(
        json.dumps(found) + "\n" if arguments.json else "".join(f"{key:>24}  {value}\n" for key, value in found.items())
    )
    sys.exit(0 if found["flat"] and not found["missing"] and not found["altered"] else 1)


if __name__ == "__main__":
    main()
