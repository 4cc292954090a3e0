"""Our gateway beside its peers, in turn, on the same simulated Modbus TCP devices in C and Debian's mosquitto.

    python -m benchmarks.peers [--json] [--only NAME]... [--rounds N] [--devices N] [--period-ms MS] [--cache DIR]

Peers are installed from PyPI and npm into the cache folder, each into a place of its own, when they aren't there yet. Each run
has a window undisturbed (values per CPU-second, memory, age at the subscriber), then the broker is killed with SIGKILL, stays
away, and comes back. A poll is missing when a device served it and it never came; figures are medians over the rounds, counts are
sums.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers.measurement import Figures, Plan, measure
from benchmarks.peers.nodered import NODE_RED
from benchmarks.peers.own import OWN
from benchmarks.peers.peer import Peer, PeerAbsent
from benchmarks.peers.rivals import default_cache
from benchmarks.peers.thingsboard import THINGSBOARD_MEMORY, THINGSBOARD_SQLITE

PEERS = {peer.name: peer for peer in (OWN, NODE_RED, THINGSBOARD_MEMORY, THINGSBOARD_SQLITE)}
_COUNTS = ("polls", "missing_undisturbed", "missing_outage", "repeated")


def compare(peers: list[Peer], cache: Path, plan: Plan, rounds: int) -> dict[str, dict[str, Any]]:
    """All peers in turn, `rounds` times; what isn't there says why."""
    result: dict[str, dict[str, Any]] = {}
    there = []
    for peer in peers:
        try:
            result[peer.name] = {"version": peer.version(cache)}
            there.append(peer)
        except PeerAbsent as reason:
            result[peer.name] = {"absent": str(reason)}
    samples: dict[str, list[Figures]] = {peer.name: [] for peer in there}
    for _ in range(rounds):
        for peer in there:
            with tempfile.TemporaryDirectory(prefix="peers-") as folder:
                samples[peer.name].append(measure(peer, cache, Path(folder), plan))
                sys.stderr.write(f"{peer.name}: {samples[peer.name][-1]}\n")
    for name, figures in samples.items():
        result[name].update(_summary(figures))
    return result


def _summary(samples: list[Figures]) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {name: [asdict(sample)[name] for sample in samples] for name in asdict(samples[0])}
    return {
        name: sum(column) if name in _COUNTS else (None if None in column else statistics.median(column))
        for name, column in columns.items()
    }


def _table(result: dict[str, dict[str, Any]]) -> str:
    names = list(result)
    keys = dict.fromkeys(key for figures in result.values() for key in figures)
    rows = [["", *names], *([key, *(str(result[name].get(key, "-")) for name in names)] for key in keys)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


def main() -> None:
    """The command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, as after Ctrl-C
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Our gateway beside its peers.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", action="append", choices=list(PEERS), default=None)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--registers", type=int, default=100)
    parser.add_argument("--period-ms", type=int, default=1000)
    parser.add_argument("--settle-s", type=float, default=12.0)
    parser.add_argument("--window-s", type=float, default=15.0)
    parser.add_argument("--outage-s", type=float, default=5.0)
    parser.add_argument("--recovery-s", type=float, default=40.0)
    parser.add_argument("--cache", type=Path, default=default_cache())
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        arguments.devices,
        arguments.registers,
        arguments.period_ms,
        arguments.settle_s,
        arguments.window_s,
        arguments.outage_s,
        arguments.recovery_s,
    )
    peers = [PEERS[name] for name in dict.fromkeys(arguments.only or PEERS)]
    result = compare(peers, arguments.cache.absolute(), plan, arguments.rounds)
    sys.stdout.write(json.dumps({"plan": asdict(plan), "peers": result}) + "\n" if arguments.json else _table(result))


if __name__ == "__main__":
    main()
