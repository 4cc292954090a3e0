"""Resolution as the store grows:

    python -m benchmarks.growth [--json] [--counts N,N,...] [--rounds N] [--seconds S] [--folder F]

For each count a node over SQLite with that many identifiers of 1 KB, pinned to one core, wrk with 32 connections on the other,
all in turn in each round: cold (each identifier once, in no order of the store) and warm (10,000 identifiers over and over).

cold_rps, warm_rps: answers per second, medians. cold_per_cpu_s: per second of the node's CPU, which other work touches less.
cold_of_first, cold_cpu_of_first: by count, the medians of each round's ratio to the first count. bytes_each: of the file, by
identifier. wrong: answers other than 200; not 0 means that the figures are worth nothing. Each file is read through before it
is asked, so that it lies in the system's cache, if memory_mb is enough: cold is the node's own cache. From the disk itself an
answer takes as long as two reads of it.

Needed: wrk; 1.25 KB of disk for each identifier of all counts. The stores stay in --folder and are taken as they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.resolve import Figures, Load
from benchmarks.resolve_node import NodeProcess, fill

_NODE_CORE, _LOAD_CORE = "0", "1"
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class _Size:
    folder: Path
    load: Load
    figures: Figures
    bytes_each: float


def measure(folder: Path, counts: Sequence[int], rounds: int, seconds: float) -> dict[str, Any]:
    """Fill, run the rounds, tell."""
    sizes = [_size(folder, count, before, seconds) for count, before in zip(counts, (None, *counts), strict=False)]
    for _ in range(rounds):
        for size in sizes:
            _run(size)
    return _told(counts, sizes)


def _size(folder: Path, count: int, before: int | None, seconds: float) -> _Size:
    """A store of that many; it begins as a copy of the one before it."""
    own = folder / f"{count}"
    own.mkdir(parents=True, exist_ok=True)
    path = own / "idnode.db"
    if before is not None and not path.exists():
        shutil.copyfile(folder / f"{before}" / "idnode.db", path)
    rate = fill(path, count)
    sys.stderr.write(f"{count:,} identifiers: {rate:,.0f} registered per second\n")
    return _Size(own, Load(count, seconds, _LOAD_CORE), Figures(), path.stat().st_size / count)


def _read_through(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(_BLOCK_BYTES):
            pass


def _run(size: _Size) -> None:
    _read_through(size.folder / "idnode.db")
    node = NodeProcess(size.folder, _NODE_CORE)
    try:
        rate = size.figures.take("cold", lambda: size.load.cold(node.url), node.cpu_s)
        size.load.heat(node.url)
        size.figures.take("warm", lambda: size.load.warm(node.url), node.cpu_s)
    finally:
        node.stop()
    sys.stderr.write(f"{size.folder.name}: {rate:,.0f}/s cold\n")


def _told(counts: Sequence[int], sizes: Sequence[_Size]) -> dict[str, Any]:
    def by_count(values: Sequence[float], digits: int = 0) -> dict[str, float]:
        return {str(count): round(value, digits) for count, value in zip(counts, values, strict=True)}

    def of_first(kind: dict[int, list[float]]) -> dict[str, float]:
        first = kind[0]
        return by_count([statistics.median(a / b for a, b in zip(own, first, strict=True)) for own in kind.values()], 3)

    rates = {place: size.figures.rates["cold"] for place, size in enumerate(sizes)}
    per_cpu_s = {place: size.figures.per_cpu_s["cold"] for place, size in enumerate(sizes)}
    return {
        "cold_rps": by_count([statistics.median(own) for own in rates.values()]),
        "warm_rps": by_count([statistics.median(size.figures.rates["warm"]) for size in sizes]),
        "cold_per_cpu_s": by_count([statistics.median(own) for own in per_cpu_s.values()]),
        "cold_of_first": of_first(rates),
        "cold_cpu_of_first": of_first(per_cpu_s),
        "bytes_each": by_count([size.bytes_each for size in sizes]),
        "memory_mb": round(psutil.virtual_memory().total / 1e6),
        "interpreter": sys.version,
        "wrong": sum(size.figures.wrong for size in sizes),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="all of it, as one JSON object")
    parser.add_argument("--counts", default="1000000,2000000,5000000,10000000", help="ascending")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each run of wrk")
    parser.add_argument("--folder", type=Path, help="where the stores are kept; else they are made and removed")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="mumian-growth-") as made:
        result = measure(given.folder or Path(made), [int(each) for each in given.counts.split(",")], given.rounds, given.seconds)
    if given.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{name:20} {value}\n" for name, value in result.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
