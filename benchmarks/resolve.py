"""Resolution over HTTP: python -m benchmarks.resolve [--json] [--count N] [--rounds N] [--seconds S] [--workers N] [--register N]
[--postgres N] [--folder F].

A node with N identifiers of 1 KB in SQLite, pinned to one core (with --workers: to none), wrk with 32 connections on the other;
in each round nginx with a static file of the answer's size, then the node warm (10,000 identifiers over and over), cold (each
identifier once, until they are all through: not in the cache of answers) and at half of what it did warm. Medians of the rounds.

http_warm_rps, http_cold_rps, nginx_rps: answers per second. http_p99_ms, http_p50_ms: at half load, warm. *_per_cpu_s: answers
per second of CPU that the node, or nginx, used, which other work on the machine touches less. http_warm_p99_ms,
http_cold_p99_ms: at full load. rss_mb: of the largest process at the end. fill_rps: identifiers registered per second through
the store when it was filled (null: it was there). wrong: answers other than 200 and broken connections; not 0 means that the
figures are worth nothing. register_bulk_rps, register_single_rps: of benchmarks.register, in the store itself, with as many
rounds; register_http_bulk_rps, register_http_bulk_2_workers_rps: as one stream over HTTP. postgres: the same of a node over a
server that is started for it, with --postgres identifiers, on whichever core the system gives it.

Needed: nginx-light, wrk, postgresql. The store stays in --folder and is taken as it is the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import register, register_postgres
from benchmarks.postgres import Postgres
from benchmarks.register_http import measure_http
from benchmarks.registration import OWNERS, PREFIX
from benchmarks.resolve_node import NodeProcess, cpu_s, fill, fill_postgres, nginx

_SCRIPT = Path(__file__).with_name("resolve_load.lua")
_CONNECTIONS = 32
_WARM = 10_000
_HEATERS = 6
_AHEAD = 100
"""Requests that are sent before the first answer is read."""
_STRIDE = 7919
"""Prime, so that it walks through all identifiers in no order of the store."""


@dataclass
class Figures:
    """What the rounds gave."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    p50_ms: dict[str, list[float]] = field(default_factory=dict)
    p99_ms: dict[str, list[float]] = field(default_factory=dict)
    per_cpu_s: dict[str, list[float]] = field(default_factory=dict)
    wrong: int = 0

    def take(self, name: str, run: Callable[[], dict[str, float]], cpu: Callable[[], float]) -> float:
        """One run of wrk against something that has used so much CPU; its rate."""
        used = cpu()
        report = run()
        used = cpu() - used
        self.per_cpu_s.setdefault(name, []).append(report["requests"] / used)
        rate = report["requests"] / report["seconds"]
        self.rates.setdefault(name, []).append(rate)
        self.p50_ms.setdefault(name, []).append(report["p50_ms"])
        self.p99_ms.setdefault(name, []).append(report["p99_ms"])
        self.wrong += int(report["wrong"])
        return rate


class Load:
    """wrk, walking through the identifiers of a node."""

    def __init__(self, count: int, seconds: float, core: str) -> None:
        self._count, self._seconds, self._core = count, seconds, core
        self._turn = min(_WARM, count)
        self._fresh = _WARM
        """How far the cold walk has come."""

    def heat(self, url: str) -> None:
        """Ask once for each identifier of warm(); over several connections, since each worker keeps its own answers."""
        host, port = url.removeprefix("http://").rsplit(":", 1)
        requests = [
            b"GET /api/handles/%s/P%08d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (PREFIX.encode(), place * _STRIDE % self._count)
            for place in range(self._turn)
        ]
        for _ in range(_HEATERS):
            with socket.create_connection((host, int(port)), 30) as connection:
                for start in range(0, len(requests), _AHEAD):
                    ahead = requests[start : start + _AHEAD]
                    connection.sendall(b"".join(ahead))
                    answers, received = 0, b""
                    while answers < len(ahead):
                        received += connection.recv(1 << 20)
                        answers = received.count(b"HTTP/1.1 200 OK")

    def warm(self, url: str, pause_ms: int = 0) -> dict[str, float]:
        """The same identifiers again and again."""
        return self._run(url, 0, self._turn, self._seconds, pause_ms)

    def cold(self, url: str) -> dict[str, float]:
        """Identifiers that were not asked for before, as long as there are any."""
        report = self._run(url, self._fresh, self._count, self._seconds, 0)
        self._fresh += int(report["requests"])
        return report

    def _run(self, url: str, first: int, turn: int, seconds: float, pause_ms: int) -> dict[str, float]:
        arguments = [str(each) for each in (self._count, first, _STRIDE, turn, pause_ms)]
        command = ["taskset", "-c", self._core, "wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
        done = subprocess.run(
            [*command, "--latency", "-s", str(_SCRIPT), url, "--", *arguments], capture_output=True, text=True, check=True
        )
        report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return report


@dataclass
class Asked:
    """What the rounds over one store gave."""

    figures: Figures
    answer_bytes: int
    rss_mb: float

    def rates(self) -> dict[str, object]:
        """What is told of any store."""
        figures = self.figures
        middle = {name: round(statistics.median(values)) for name, values in figures.rates.items()}
        return {
            "http_warm_rps": middle["warm"],
            "http_cold_rps": middle["cold"],
            "http_p99_ms": round(statistics.median(figures.p99_ms["half"]), 2),
            "http_p50_ms": round(statistics.median(figures.p50_ms["half"]), 2),
            "http_half_rps": middle["half"],
            "http_warm_p99_ms": round(statistics.median(figures.p99_ms["warm"]), 2),
            "http_cold_p99_ms": round(statistics.median(figures.p99_ms["cold"]), 2),
            "nginx_rps": middle["nginx"],
            "warm_of_nginx": round(middle["warm"] / middle["nginx"], 3),
            **{f"{name}_per_cpu_s": round(statistics.median(values)) for name, values in figures.per_cpu_s.items()},
            "rounds": {name: [round(value) for value in values] for name, values in figures.rates.items()},
            "rss_mb": round(self.rss_mb, 1),
            "wrong": figures.wrong,
        }


def ask(folder: Path, count: int, rounds: int, seconds: float, workers: int, store: dict[str, object]) -> Asked:
    """The rounds, over a store that is filled. `store`: the node's setting."""
    figures = Figures()
    load = Load(count, seconds, "1")
    more: dict[str, object] = {} if workers == 1 else {"workers": workers}
    node = NodeProcess(folder, "0" if workers == 1 else "0,1", store=store, **more)
    try:
        with urllib.request.urlopen(f"{node.url}/api/handles/{PREFIX}/P00000000", timeout=10) as answer:
            size = len(answer.read())
        with nginx(folder, "0", size) as (static, pid):
            for _ in range(rounds):
                figures.take("nginx", lambda: load.warm(static), lambda: cpu_s(pid))
                load.heat(node.url)
                rate = figures.take("warm", lambda: load.warm(node.url), node.cpu_s)
                figures.take("cold", lambda: load.cold(node.url), node.cpu_s)
                load.heat(node.url)
                half = functools.partial(load.warm, node.url, pause_ms=max(1, round(_CONNECTIONS / (rate / 2) * 1000)))
                figures.take("half", half, node.cpu_s)
        return Asked(figures, size, node.rss_mb())
    finally:
        node.stop()


def measure(folder: Path, count: int, rounds: int, seconds: float, workers: int, rows: int) -> dict[str, object]:
    """Fill, run the rounds, tell."""
    filled = fill(folder / "idnode.db", count)
    asked = ask(folder, count, rounds, seconds, workers, {"path": "idnode.db"})
    with tempfile.TemporaryDirectory(prefix="register-", dir=folder) as beside:
        registered = asyncio.run(register.measure(Path(beside), rounds, rows, 0))
        registered |= measure_http(Path(beside), rounds, rows, {"path": "idnode.db"})
    return {
        **asked.rates(),
        "fill_rps": round(filled) or None,
        **_told_of(registered),
        "count": count,
        "workers": workers,
        "answer_bytes": asked.answer_bytes,
        "file_mb": round((folder / "idnode.db").stat().st_size / 1e6, 1),
        "interpreter": sys.version,
    }


def measure_postgres(folder: Path, count: int, rounds: int, seconds: float, workers: int, rows: int) -> dict[str, object]:
    """The same over a server that is started for it."""
    with Postgres(register_postgres.SETTINGS) as server:
        url = server.make().url()
        filled = fill_postgres(url, count)
        asked = ask(folder, count, rounds, seconds, workers, {"postgres": url})
    registered = register_postgres.measure_postgres(rounds, rows, 0, OWNERS[-1])
    return {**asked.rates(), "fill_rps": round(filled), **_told_of(registered), "count": count}


def _told_of(registered: Mapping[str, float]) -> dict[str, object]:
    return {
        "register_bulk_rps": registered["register_bulk_rps"],
        "register_single_rps": registered["register_single_rps"],
        **{f"register_{name}": rate for name, rate in registered.items() if name.startswith("http_")},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="all of it, as one JSON object")
    parser.add_argument("--count", type=int, default=1_000_000, help="identifiers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each run of wrk")
    parser.add_argument(
        "--register", type=int, default=20_000, help="identifiers registered in each round of benchmarks.register"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--postgres", type=int, default=100_000, help="identifiers in PostgreSQL; 0 leaves it out")
    parser.add_argument("--folder", type=Path, help="where the store is kept; else it is made and removed")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="mumian-resolve-") as made:
        folder = given.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        arguments = (given.rounds, given.seconds, given.workers, given.register)
        result = measure(folder, given.count, *arguments)
        result["postgres"] = measure_postgres(folder, given.postgres, *arguments) if given.postgres else None
    if given.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{name:22} {value}\n" for name, value in result.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
