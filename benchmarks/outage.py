"""The broker away, twice, at 5,000 values/s: is anything missing, and how late is live data while the backlog drains?

    python -m benchmarks.outage [--json] [--minutes 10] [--short-s 30] [--devices 5] [--period-ms 100]

Devices in C, the gateway as shipped with its outbox on disk, mosquitto (ended with SIGTERM, so that it keeps what it owes the
subscriber), mosquitto_sub. First the broker is away for 30 s, then for `--minutes`. For each:

| key | |
|---|---|
| `polls`, `missing` | served from the end of the broker until everything was there again; of them, never came |
| `reconnect_s` | from the broker's return to the first message of the gateway's |
| `drain_s` | from that message to the last of the backlog |
| `drain_values_per_s`, `drain_to_live` | in that time; against the live rate |
| `live_age_ms_p50`, `_p99`, `_max` | of polls served in that time, by whichever lane: from the device's answer on |
| `live_marked_historical` | how many of those polls bore `"historical": true` |
| `backlog_marked_historical` | the part of the backlog that bore it; 0 where the gateway has one lane |
| `out_of_order` | messages of the backlog (of the history lane, where there is one) after a later one of the same device |

And of the whole run: `altered`, `repeated`. Ends with 1 when anything is missing or altered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.account import Account, Columns, fate, share
from benchmarks.gateway_process import TOPIC, Gateway, Load
from benchmarks.line import WRAP, Line
from benchmarks.peers.broker import Broker
from benchmarks.subscriber import Subscriber

_REGISTERS = 100
_NS = 1_000_000_000
_CALM_S = 5.0
_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Outage:
    """When the broker went, when it was back, and when all that was served had come."""

    gone_ns: int
    back_ns: int
    over_ns: int
    outbox_bytes: int
    """At the broker's return."""


def run(outages_s: list[float], devices: int, period_ms: int) -> dict[str, Any]:
    """One run; see the module's docstring.

    Raises:
        SystemExit: so many polls can't be told apart.
    """
    most_s = sum(2 * outage_s for outage_s in outages_s) + _PATIENCE_S
    if most_s * 1000 / period_ms >= WRAP:
        raise SystemExit(f"so many polls can't be told apart: at {period_ms} ms at most {WRAP * period_ms / 1000:.0f} s in all")
    account = Account(_REGISTERS)
    outages: list[Outage] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outage-")))
        broker = stack.enter_context(Broker(folder))
        line = Line(devices, folder)
        with line:
            subscriber = stack.enter_context(Subscriber(broker.port, [TOPIC], account.take))
            with Gateway(folder / "gateway", Load(line.ports, period_ms, broker.port)) as gateway:
                _wait(lambda: account.count >= 10 * devices)
                for outage_s in outages_s:
                    time.sleep(_CALM_S)
                    outages.append(_outage(broker, gateway, outage_s, lambda: _owed(line, account), devices))
                time.sleep(_CALM_S)
            subscriber.wait_quiet(2, 30)
        columns = account.columns()
    whole = fate(columns, line.served, 0, 0)
    found: dict[str, Any] = {"altered": account.altered, "repeated": whole.repeated, "gap_messages": account.unexpected}
    for outage_s, outage in zip(outages_s, outages, strict=True):
        found[f"outage_{outage_s:g}s"] = judge(columns, line.served, outage, period_ms)
    return found


def _outage(broker: Broker, gateway: Gateway, outage_s: float, owed: Callable[[], int], devices: int) -> Outage:
    gone_ns = time.time_ns()
    broker.stop()
    time.sleep(outage_s)
    outbox_bytes = gateway.outbox_bytes()
    broker.start()
    back_ns = time.time_ns()
    sys.stderr.write(f"the broker is back after {outage_s:g} s; {owed()} polls are owed\n")
    _wait(lambda: owed() <= 3 * devices)
    return Outage(gone_ns, back_ns, time.time_ns(), outbox_bytes)


def _owed(line: Line, account: Account) -> int:
    """Polls that were served and haven't come."""
    requests, _ = line.count()
    return requests - account.distinct


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.stderr.write(f"not within {_PATIENCE_S:g} s\n")
            return
        time.sleep(0.1)


def judge(columns: Columns, served: list[npt.NDArray[np.int64]], outage: Outage, period_ms: int) -> dict[str, Any]:
    """Of one outage."""
    found = fate(columns, served, outage.gone_ns - _NS, outage.over_ns - _NS)
    served_ns, came_ns, is_historical = _polls(columns, served)
    # What the broker itself still owed is of the first moments; a poll of a second later can only come from the gateway.
    gateways_own = came_ns[(served_ns >= outage.gone_ns + _NS) & (served_ns < outage.back_ns) & (came_ns > 0)]
    first_ns = int(gateways_own.min()) if len(gateways_own) else outage.over_ns
    backlog = (served_ns >= outage.gone_ns) & (served_ns < first_ns) & (came_ns >= first_ns)
    last_ns = int(came_ns[backlog].max()) if backlog.any() else first_ns
    drain_s = max((last_ns - first_ns) / _NS, 1e-3)
    live = (served_ns >= first_ns) & (served_ns < max(last_ns, first_ns + _NS)) & (came_ns > 0)
    ages = np.sort((came_ns[live] - served_ns[live]) / 1e6)
    drained = int(backlog.sum()) * _REGISTERS
    live_rate = len(served) * _REGISTERS * 1000 / period_ms
    return {
        "polls": found.polls,
        "missing": found.missing,
        "reconnect_s": round((first_ns - outage.back_ns) / _NS, 2),
        "backlog_polls": int(backlog.sum()),
        "outbox_mb": round(outage.outbox_bytes / 2**20, 1),
        "drain_s": round(drain_s, 2),
        "drain_values_per_s": round(drained / drain_s),
        "drain_to_live": round(drained / drain_s / live_rate, 1),
        "live_polls": int(live.sum()),
        "live_age_ms_p50": share(ages, 0.5),
        "live_age_ms_p99": share(ages, 0.99),
        "live_age_ms_max": share(ages, 1.0),
        "live_marked_historical": int(is_historical[live].sum()),
        "backlog_marked_historical": round(float(is_historical[backlog].mean()), 4) if backlog.any() else 0.0,
        "out_of_order": _out_of_order(columns, served, outage.gone_ns, first_ns),
    }


def _polls(
    columns: Columns, served: list[npt.NDArray[np.int64]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Of every poll of every device: when it was served, when it first came (0: never), whether that message was historical."""
    came, marked = [], []
    for device, at_ns in enumerate(served):
        of_device = np.flatnonzero((columns.device == device) & (columns.serial >= 1) & (columns.serial <= len(at_ns)))
        places, firsts = np.unique(columns.serial[of_device], return_index=True)
        chosen = of_device[firsts]
        first_ns, flag = np.zeros(len(at_ns), np.int64), np.zeros(len(at_ns), np.bool_)
        first_ns[places - 1], flag[places - 1] = columns.at_ns[chosen], columns.is_historical[chosen]
        came.append(first_ns)
        marked.append(flag)
    return np.concatenate(served), np.concatenate(came), np.concatenate(marked)


def _out_of_order(columns: Columns, served: list[npt.NDArray[np.int64]], gone_ns: int, first_ns: int) -> int:
    count = 0
    came = columns.at_ns >= first_ns
    if (columns.is_historical & came).any():
        came &= columns.is_historical
    for device, at_ns in enumerate(served):
        serials = columns.serial[(columns.device == device) & came]
        _, firsts = np.unique(serials, return_index=True)
        serials = serials[np.sort(firsts)]
        first = int(np.searchsorted(at_ns, gone_ns)) + 1
        last = int(np.searchsorted(at_ns, first_ns))
        serials = serials[(serials >= first) & (serials <= last)]
        if len(serials):
            count += int((serials < np.maximum.accumulate(serials)).sum())
    return count


def main() -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, as after Ctrl-C
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--short-s", type=float, default=30.0)
    parser.add_argument("--devices", type=int, default=5)
    parser.add_argument("--period-ms", type=int, default=100)
    arguments = parser.parse_args()
    found = run([arguments.short_s, arguments.minutes * 60], arguments.devices, arguments.period_ms)
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        for name, figure in found.items():
            if not isinstance(figure, dict):
                sys.stdout.write(f"{name:>28}  {figure}\n")
                continue
            sys.stdout.write(f"{name}\n" + "".join(f"{key:>28}  {value}\n" for key, value in figure.items()))
    missing = sum(figure["missing"] for figure in found.values() if isinstance(figure, dict))
    sys.exit(1 if missing or found["altered"] else 0)


if __name__ == "__main__":
    main()
