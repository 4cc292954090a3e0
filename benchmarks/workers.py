"""What a second worker brings: python -m benchmarks.workers [--json] [--count N] [--rounds N] [--seconds S] [--share S]
[--folder F].

Two workers and wrk don't fit on two cores. So each worker gets `share` of a core: the node is pinned to the first, with one
worker and with two in turn, each in a group of its own whose CPU time the kernel cuts off after `share` of every 10 ms; wrk has
the other core. With a quarter of a core each, wrk and the first core have room to spare. What lowers the first core's clock when
a worker pauses would make two look better than they are: a process that runs only when nobody else would keeps the core awake.

warm_ratio, cold_ratio: rate of two over that of one in the same round, median of the rounds. used: what the workers used of what
they were given, the least of all runs; well below 1 means that something else held them up, wrk or other work on the machine, and
that the ratio is worth nothing. rounds: answers per second, in the order of the runs. wrong: see benchmarks.resolve.

Needed: root, the kernel's cgroup v1 with the cpu controller (/sys/fs/cgroup/cpu), wrk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.resolve import Load
from benchmarks.resolve_node import NodeProcess, cpu_s, fill

_GROUPS = Path("/sys/fs/cgroup/cpu")
_PERIOD_US = 10_000
_SPIN = """
import os
parent = os.getppid()
while os.getppid() == parent:
    pass
"""
"""However this program ends, it isn't left behind."""


@contextmanager
def limited(pid: int, share: float) -> Iterator[None]:
    """A process that gets `share` of a core at most; it must have ended when this does."""
    group = _GROUPS / f"mumian-{pid}"
    try:
        group.mkdir()
    except OSError as error:
        raise SystemExit(f"{group}: {error.strerror}. Needed: root, and cgroup v1 with the cpu controller") from error
    try:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US), "ascii")
        (group / "cpu.cfs_quota_us").write_text(str(round(share * _PERIOD_US)), "ascii")
        (group / "cgroup.procs").write_text(str(pid), "ascii")
        yield
    finally:
        group.rmdir()


@contextmanager
def awake(core: str) -> Iterator[None]:
    """A core that doesn't rest."""
    command = ["taskset", "-c", core, "chrt", "--idle", "0", sys.executable, "-c", _SPIN]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield
        finally:
            process.kill()


@dataclass
class Runs:
    """Rates by kind and number of workers."""

    rates: dict[str, dict[int, list[float]]] = field(default_factory=lambda: {"warm": {1: [], 2: []}, "cold": {1: [], 2: []}})
    used: list[float] = field(default_factory=list)
    wrong: int = 0

    def take(self, kind: str, pids: list[int], given_s: float, run: Callable[[], dict[str, float]]) -> None:
        """One run of wrk against these workers, each of which is given so many seconds of CPU."""
        before = sum(map(cpu_s, pids))
        report = run()
        self.used.append((sum(map(cpu_s, pids)) - before) / (given_s * len(pids)))
        self.rates[kind][len(pids)].append(report["requests"] / report["seconds"])
        self.wrong += int(report["wrong"])

    def told(self) -> dict[str, object]:
        """The medians and their ratios."""
        middle = {kind: {many: statistics.median(of) for many, of in rates.items()} for kind, rates in self.rates.items()}
        return {
            **{f"{kind}_{many}_rps": round(rate) for kind, rates in middle.items() for many, rate in rates.items()},
            **{f"{kind}_ratio": round(_ratio(rates), 2) for kind, rates in self.rates.items()},
            "used": round(min(self.used), 2),
            "rounds": {
                f"{kind}_{many}": [round(rate) for rate in runs]
                for kind, rates in self.rates.items()
                for many, runs in rates.items()
            },
            "wrong": self.wrong,
        }


def _ratio(rates: Mapping[int, Sequence[float]]) -> float:
    return statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))


def measure(folder: Path, count: int, rounds: int, seconds: float, share: float) -> dict[str, object]:
    """One worker and two, in turn."""
    fill(folder / "idnode.db", count)
    runs = Runs()
    with awake("0"):
        for _ in range(rounds):
            for many in (1, 2):
                _ask(runs, folder, count, seconds, share, many)
    return {**runs.told(), "share": share, "count": count}


def _ask(runs: Runs, folder: Path, count: int, seconds: float, share: float, many: int) -> None:
    more: dict[str, object] = {} if many == 1 else {"workers": many}
    node = NodeProcess(folder, "0", store={"path": "idnode.db"}, **more)
    with ExitStack() as stack:
        workers = node.family()[1:] if many > 1 else node.family()
        for pid in workers:
            stack.enter_context(limited(pid, share))
        stack.callback(node.stop)
        load = Load(count, seconds, "1")
        load.heat(node.url)
        runs.take("warm", workers, share * seconds, lambda: load.warm(node.url))
        runs.take("cold", workers, share * seconds, lambda: load.cold(node.url))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="all of it, as one JSON object")
    parser.add_argument("--count", type=int, default=1_000_000, help="identifiers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each run of wrk")
    parser.add_argument("--share", type=float, default=0.25, help="of a core, for each worker")
    parser.add_argument("--folder", type=Path, help="where the store is kept; else it is made and removed")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="mumian-workers-") as made:
        folder = given.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(folder, given.count, given.rounds, given.seconds, given.share)
    if given.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{name:12} {value}\n" for name, value in result.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
