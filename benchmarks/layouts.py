"""How SQLite may hold a kilobyte under a name (D33): python -m benchmarks.layouts [--json] [--rows N] [--rounds N].

A WITHOUT ROWID table by prefix and suffix, and rowid tables with a unique index at three page sizes, each filled in the order of
the keys and in a shuffled one, 5000 rows in a transaction, synced. `bytes` and `per_s` of a row; `read_us`: CPU of a point read
by another connection, the layouts in turn, the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

PIECE = 5000
READS = 4000
_CONTENT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """A table, and how it is asked."""

    page_bytes: int
    table: str
    insert: str
    select: str


def _rowid(page_bytes: int) -> Layout:
    return Layout(
        page_bytes,
        "CREATE TABLE held (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, version INTEGER, content BLOB) STRICT",
        "INSERT INTO held VALUES (NULL, ?1 || '/' || ?2, 1, ?3)",
        "SELECT version, content FROM held WHERE key = ?1 || '/' || ?2",
    )


LAYOUTS = {
    "without_rowid_4096": Layout(
        4096,
        "CREATE TABLE held (prefix TEXT, suffix TEXT, version INTEGER, content BLOB, PRIMARY KEY (prefix, suffix)) WITHOUT ROWID",
        "INSERT INTO held VALUES (?, ?, 1, ?)",
        "SELECT version, content FROM held WHERE prefix = ? AND suffix = ?",
    ),
    **{f"rowid_{page_bytes}": _rowid(page_bytes) for page_bytes in (4096, 8192, 16_384)},
}


def _key(number: int) -> tuple[str, str]:
    return "88.100.1", f"P{number:08d}"


def fill(path: Path, layout: Layout, order: list[int]) -> float:
    """Rows a second."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in (f"page_size = {layout.page_bytes}", "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(layout.table)
        content = random.Random(1).randbytes(_CONTENT_BYTES)
        began = time.perf_counter()
        for first in range(0, len(order), PIECE):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(layout.insert, [(*_key(number), content) for number in order[first : first + PIECE]])
            connection.execute("COMMIT")
        return len(order) / (time.perf_counter() - began)


def read_us(path: Path, layout: Layout, rows: int, seed: int) -> float:
    """CPU of one read."""
    draw = random.Random(seed)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        wanted = [_key(draw.randrange(rows)) for _ in range(READS)]
        began = time.process_time()
        for key in wanted:
            connection.execute(layout.select, key).fetchone()
        return (time.process_time() - began) / READS * 1e6


def measure(folder: Path, rows: int, rounds: int) -> dict[str, dict[str, float]]:
    """Each layout's figures."""
    shuffled = list(range(rows))
    random.Random(2).shuffle(shuffled)
    found: dict[str, dict[str, float]] = {}
    for name, layout in LAYOUTS.items():
        in_order = fill(folder / f"{name}.db", layout, list(range(rows)))
        in_disorder = fill(folder / f"{name}-shuffled.db", layout, shuffled)
        size = (folder / f"{name}.db").stat().st_size
        found[name] = {"bytes": round(size / rows), "per_s": round(in_order), "per_s_shuffled": round(in_disorder)}
    times: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    for seed in range(rounds):
        for name, layout in LAYOUTS.items():
            times[name].append(read_us(folder / f"{name}.db", layout, rows, seed))
    for name in LAYOUTS:
        found[name]["read_us"] = round(statistics.median(times[name]), 1)
    return found


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mumian-layouts-") as folder:
        found = measure(Path(folder), options.rows, options.rounds)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for name, figures in found.items():
        sys.stdout.write(f"{name:>20}  " + "  ".join(f"{key} {value}" for key, value in figures.items()) + "\n")


if __name__ == "__main__":
    main()
