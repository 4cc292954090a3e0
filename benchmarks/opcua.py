"""What a value costs that an OPC UA server notifies: our driver, a bare asyncua client and npm's node-opcua client, in turn.

    python -m benchmarks.opcua [--json] [--rounds N] [--seconds S] [--items N] [--servers N] [--cache FOLDER]

| key | what | target |
|---|---|---|
| us_per_value | CPU per notified value of our driver, from the socket to frames and the acknowledgement | 4 |
| us_per_value_asyncua | the same of asyncua's own subscription | |
| us_per_value_node | the same of node-opcua's client (JavaScript) | |
| items_max | items at 1 Hz that our driver followed without missing one in a hundred, over all servers | |
| items_max_bound | what ended that: "servers", there were no more of them; "cpu", the client used most of a core; "machine" | |
| values_per_s_max | values a second that it followed from them when they notify ever more often; within a factor of two | |
| values_per_s_max_bound | the same | |

All clients follow the same servers, one client after the other; each server is a process of its own with `--items` Doubles
(5,000) written once a second, since one saturates at about 9,000 a second. Figures are medians over the rounds; CPU is user
and system time of the client alone. The ceilings are looked for with servers that cost next to nothing
(benchmarks/opcua_prepared.py): 1, 2, 4, ... `--servers`, then more often a second; `client_cores` says what our client used
then. node-opcua is installed by npm into the cache folder when
it isn't there; without node it is left out, and its key is null.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NODE_OPCUA = "node-opcua@2.186.0"
KEPT = 0.99
"""Share of the values that must have come, of each server."""
MOST_CORES = 0.9
"""From here on the client's core is what ends it."""


@contextlib.contextmanager
def serving(servers: int, items: int, module: str = "benchmarks.opcua_server", *words: str) -> Iterator[list[int]]:
    """Ports of that many servers, which end with the block."""
    command = [sys.executable, "-m", module, str(items), *words]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(servers)]
    try:
        yield [int(process.stdout.readline()) for process in processes if process.stdout is not None]
    finally:
        for process in processes:
            process.communicate()


def node_path(cache: Path) -> Path | None:
    """The folder that has node-opcua, installed there if need be; None without node."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    folder = cache / "node-opcua"
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (cache / "node-opcua.log").open("wb") as log:
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), NODE_OPCUA]
            subprocess.run(command, stdout=log, stderr=log, cwd=folder, check=True)
        (folder / "installed").touch()
    return folder / "node_modules"


def run_client(mode: str, items: int, seconds: float, ports: Sequence[int], modules: Path | None = None) -> dict[str, float]:
    """values, cpu_s and wall_s of one client: driver, asyncua, share or node."""
    words = [str(items), str(seconds), *map(str, ports)]
    command = [sys.executable, "-m", "benchmarks.opcua_reader", mode, *words]
    environment = dict(os.environ)
    if mode == "node":
        command = ["node", str(Path(__file__).with_suffix("").with_name("opcua_reader.js")), *words]
        environment["NODE_PATH"] = str(modules)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def per_value(rounds: int, items: int, seconds: float, modules: Path | None) -> dict[str, float | None]:
    """CPU per value of each client, in turn against one server."""
    modes = ["driver", "asyncua", *(["node"] if modules is not None else [])]
    rows: dict[str, list[float]] = {mode: [] for mode in modes}
    with serving(1, items) as ports:
        for _ in range(rounds):
            for mode in modes:
                found = run_client(mode, items, seconds, ports, modules)
                rows[mode].append(found["cpu_s"] * 1e6 / max(1, found["values"]))
    median = {mode: round(statistics.median(row), 2) for mode, row in rows.items()}
    return {
        "us_per_value": median["driver"],
        "us_per_value_asyncua": median["asyncua"],
        "us_per_value_node": median.get("node"),
        "asyncua_ratio": round(median["asyncua"] / median["driver"], 1),
        "node_ratio": round(median["node"] / median["driver"], 2) if "node" in median else None,
    }


def most_items(servers: int, items: int, seconds: float) -> dict[str, float | str | None]:
    """The most items, and then the most values a second, that our driver follows, and the cores that it uses for them."""
    count, best = 1, _follow(1, items, 1.0, seconds)
    while count < servers and _is_whole(best):
        following = _follow(min(2 * count, servers), items, 1.0, seconds)
        if not _is_whole(following):
            best = {**best, "bound": _bound(following)}
            break
        count, best = min(2 * count, servers), following
    hz, fastest, factor = 1.0, best, 4.0
    ended: dict[str, Any] = {}
    while factor >= 2:
        following = _follow(count, items, factor * hz, seconds)
        if _is_whole(following):
            hz, fastest = factor * hz, following
        else:
            ended, factor = following, factor / 2
    return {
        "items_max": items * count if _is_whole(best) else 0,
        "items_max_bound": best.get("bound", "servers"),
        "servers": count,
        "client_cores": best["cores"],
        "values_per_s_max": round(items * count * hz),
        "values_per_s_max_bound": _bound(ended),
        "values_per_s_max_cores": fastest["cores"],
    }


def _follow(count: int, items: int, hz: float, seconds: float) -> dict[str, Any]:
    with serving(count, items, "benchmarks.opcua_prepared", str(hz)) as ports:
        try:
            found = run_client(f"share:{hz:g}", items, seconds, ports)
        except subprocess.CalledProcessError:
            return {"share": 0.0, "cores": None}
    return {"share": found["share"], "cores": round(found["cpu_s"] / found["wall_s"], 3)}


def _is_whole(found: dict[str, Any]) -> bool:
    return bool(found["share"] >= KEPT)


def _bound(found: dict[str, Any]) -> str:
    return "cpu" if found["cores"] is not None and found["cores"] >= MOST_CORES else "machine"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.opcua")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="each client, once all items have a value")
    parser.add_argument("--items", type=int, default=5000, help="of each server")
    parser.add_argument("--servers", type=int, default=4, help="at most, for items_max")
    parser.add_argument("--cache", type=Path, default=Path("run/benchmark-cache"), help="where node-opcua is installed")
    arguments = parser.parse_args(argv)
    modules = node_path(arguments.cache.absolute())
    result: dict[str, float | str | None] = {}
    result |= per_value(arguments.rounds, arguments.items, arguments.seconds, modules)
    result.update(most_items(arguments.servers, arguments.items, arguments.seconds))
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.writelines(f"{key:24} {value}\n" for key, value in result.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
