"""What a value costs that an OPC UA server notifies: our driver, a bare asyncua client and npm's node-opcua client, in turn.

    python -m benchmarks.opcua [--json] [--rounds N] [--seconds S] [--items N] [--servers N] [--cache FOLDER]

| key | what | target |
|---|---|---|
| us_per_value | CPU per notified value of our driver, from the socket to frames and the acknowledgement | 4 |
| us_per_value_asyncua | the same of asyncua's own subscription | |
| us_per_value_node | the same of node-opcua's client (JavaScript) | |
| received | least part of the values served that came, by client | |
| items_max | items at 1 Hz that our driver followed without missing one in a hundred, over all servers | |
| items_max_bound | what ended that: see below | |
| values_per_s_max | values a second that it followed from them when they notify ever more often; within a factor of two | |
| values_per_s_max_bound | the same | |

All clients follow the same server, one client after the other, round by round: `--items` Doubles (5,000), each written once a
second for `--seconds`, when the client is warm. A client that receives less than 99 of 100 values that were written
meanwhile, or more than all, is an error and no figure. Figures are medians over the rounds; CPU is user and system time of the
client alone.

The ceilings are looked for with servers that cost next to nothing (benchmarks/opcua_prepared.py), each a process of its own: 1,
2, 4, ... `--servers`, then more often a second. A step is followed when 95 of 100 values that were due were served, and 99 of 100
of these came within LATE_S. What ended it: "servers", there were no more of them; "cpu", our client used most of a core
(`client_cores` says what it used at the last step that it followed); "machine", neither: the servers and it had too little of
the machine's cores; "time", the search had to end.
node-opcua is installed by npm into the cache folder when it isn't there; without node it is left out, and its key is null. What
is going on is said on standard error. Each step has its time; one that isn't done then ends the run with what was waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.dialogue import Overdue, Program, Progress, running

NODE_OPCUA = "node-opcua@2.186.0"
KEPT = 0.99
"""Share of the values that must have come, of each server."""
PACE = 0.95
"""Share of the values due that each server must have served."""
LATE_S = 1.5
"""What comes later hasn't been followed."""
MOST_CORES = 0.9
"""From here on the client's core is what ends it."""
START_S, FOLLOW_S, ANSWER_S, INSTALL_S = 90.0, 60.0, 10.0, 180.0
"""How long a server may take to start, a client to have every item's first value, a program to answer, npm to install."""
WARM_S = 3
"""Seconds of writes before those that count: node's compiler alone takes some tenths of a second of CPU in them."""
SETTLE_S = 2.0
"""Twice the publishing interval: so long after the last write everything must have come."""
STEP_S = 5.0
"""Of each step of the search for the ceilings."""
GROW_S, HASTEN_S = 60.0, 60.0
"""So long after the search for more items, and then that for more values a second, has begun, no further step of it begins."""


async def node_path(cache: Path, progress: Progress) -> Path | None:
    """The folder that has node-opcua, installed there if need be; None without node."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        progress.say("no node: node-opcua is left out")
        return None
    folder = cache / "node-opcua"
    if not (folder / "installed").exists():
        progress.say("npm installs node-opcua")
        folder.mkdir(parents=True, exist_ok=True)
        with (cache / "node-opcua.log").open("wb") as log:
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), NODE_OPCUA]
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, cwd=folder)
            try:
                code = await asyncio.wait_for(process.wait(), INSTALL_S)
            except TimeoutError:
                process.kill()
                raise Overdue(f"npm: no node-opcua within {INSTALL_S:g} s: see {log.name}") from None
        if code:
            raise Overdue(f"npm: no node-opcua, code {code}: see {log.name}")
        (folder / "installed").touch()
    return folder / "node_modules"


def client(stack: contextlib.AsyncExitStack, mode: str, items: int, modules: Path | None) -> Any:
    """Start one: driver, asyncua, times or node."""
    command, environment = [sys.executable, "-m", "benchmarks.opcua_reader", mode, str(items)], dict(os.environ)
    if mode == "node":
        command = ["node", str(Path(__file__).with_suffix("").with_name("opcua_reader.js")), str(items)]
        environment["NODE_PATH"] = str(modules)
    return stack.enter_async_context(running(f"client {mode}", command, environment))


async def server(stack: contextlib.AsyncExitStack, module: str, items: int) -> tuple[Program, int]:
    """Start one; with its port."""
    program = await stack.enter_async_context(running("server", [sys.executable, "-m", module, str(items)]))
    return program, await program.answer("its port", START_S)


async def per_value(rounds: int, items: int, seconds: int, modules: Path | None, progress: Progress) -> dict[str, Any]:
    """CPU per value of each client, in turn against one server."""
    modes = ["driver", "asyncua", *(["node"] if modules is not None else [])]
    costs: dict[str, list[float]] = {mode: [] for mode in modes}
    shares: dict[str, list[float]] = {mode: [] for mode in modes}
    async with contextlib.AsyncExitStack() as stack:
        serving, port = await server(stack, "benchmarks.opcua_server", items)
        progress.say(f"server with {items:,} items is there")
        for number in range(1, rounds + 1):
            for mode in modes:
                async with contextlib.AsyncExitStack() as own:
                    following = await client(own, mode, items, modules)
                    await following.ask(f"follow {port}", FOLLOW_S)
                    found, share = await _served(serving, following, seconds)
                costs[mode].append(found["cpu_s"] * 1e6 / found["values"])
                shares[mode].append(share)
                progress.say(f"round {number} of {rounds}, {mode}: {found['values']:,} values, {costs[mode][-1]:.2f} us each")
                if not KEPT <= share <= 1:
                    raise Overdue(f"client {mode}: {found['values']:,} values came, {share:.3f} of what was served")
    median = {mode: round(statistics.median(row), 2) for mode, row in costs.items()}
    return {
        "us_per_value": median["driver"],
        "us_per_value_asyncua": median["asyncua"],
        "us_per_value_node": median.get("node"),
        "asyncua_ratio": round(median["asyncua"] / median["driver"], 1),
        "node_ratio": round(median["node"] / median["driver"], 2) if "node" in median else None,
        "received": {mode: round(min(row), 4) for mode, row in shares.items()},
    }


async def _served(serving: Program, following: Program, seconds: int) -> tuple[dict[str, Any], float]:
    """What the client says of values that are written for so long, once it is warm, and which share of them has come."""
    await serving.ask(str(WARM_S), 3 * WARM_S + ANSWER_S)
    await asyncio.sleep(SETTLE_S)
    await following.ask("begin", ANSWER_S)
    written = await serving.ask(str(seconds), 3 * seconds + ANSWER_S)
    await asyncio.sleep(SETTLE_S)
    found: dict[str, Any] = await following.ask("end", ANSWER_S)
    return found, found["values"] / written["values"]


class Ceiling:
    """The search for the most that our driver follows."""

    def __init__(self, stack: contextlib.AsyncExitStack, items: int, progress: Progress) -> None:
        self._stack = stack
        self._items = items
        self._progress = progress
        self._servers: list[tuple[Program, int]] = []
        self._client: Program | None = None

    async def grow(self, count: int) -> None:
        """To so many servers, all of them followed."""
        missing = range(count - len(self._servers))
        added = await asyncio.gather(*(server(self._stack, "benchmarks.opcua_prepared", self._items) for _ in missing))
        if self._client is None:
            self._client = await client(self._stack, "times", self._items, None)
        for _, port in added:
            await self._client.ask(f"follow {port}", FOLLOW_S)
        self._servers += added
        self._progress.say(f"{count} prepared servers are followed, {count * self._items:,} items")

    async def step(self, hz: float) -> dict[str, Any]:
        """Values so often a second: the share that came, that was served, and the client's cores."""
        assert self._client is not None
        await self._turn(hz)
        await asyncio.sleep(1.0)
        await self._client.ask("begin", ANSWER_S)
        await asyncio.sleep(STEP_S)
        found = await self._client.ask("end", ANSWER_S)
        ticks = await self._turn(0)
        rows = [share(found, found["times"][str(port)], ticks_ns, self._items, hz) for port, ticks_ns in ticks.items()]
        step = {
            "share": min(came for came, _ in rows),
            "pace": min(pace for _, pace in rows),
            "cores": round(found["cpu_s"] / found["wall_s"], 3),
            "values": found["values"],
        }
        self._progress.say(
            f"{self._items * len(ticks):,} items at {hz:g} Hz: {step['share']:.3f} came of {step['pace']:.3f} served,"
            f" {step['cores']:.2f} cores"
        )
        await asyncio.sleep(LATE_S)  # what is still on its way comes now
        return step

    async def _turn(self, hz: float) -> dict[int, list[int]]:
        answers = await asyncio.gather(*(program.ask(f"{hz:g}", ANSWER_S) for program, _ in self._servers))
        return {port: answer["ticks_ns"] for (_, port), answer in zip(self._servers, answers, strict=True)}


def share(
    found: Mapping[str, Any], times: Mapping[str, int], ticks_ns: Sequence[int], items: int, hz: float
) -> tuple[float, float]:
    """Of what one server served from the begin until LATE_S before the end: the share that came; and the share that was served.

    `times`: how many values came, by source time; `ticks_ns`: at which times every item was served.
    """
    until_ns = found["to_ns"] - LATE_S * 1e9
    served = [at_ns for at_ns in ticks_ns if found["from_ns"] <= at_ns < until_ns]
    due = int(hz * (until_ns - found["from_ns"]) / 1e9)
    if not served:
        return 0.0, 0.0
    came = sum(min(times.get(str(at_ns), 0), items) for at_ns in served)
    return came / (items * len(served)), min(1.0, len(served) / max(1, due))


def _is_whole(step: Mapping[str, Any]) -> bool:
    return bool(step["share"] >= KEPT and step["pace"] >= PACE)


def _bound(step: Mapping[str, Any]) -> str:
    return "cpu" if step["cores"] >= MOST_CORES else "machine"


async def most_items(servers: int, items: int, progress: Progress) -> dict[str, Any]:
    """The most items, and then the most values a second, that our driver follows, and the cores that it uses for them."""
    async with contextlib.AsyncExitStack() as stack:
        ceiling = Ceiling(stack, items, progress)
        count, best, bound = 0, dict[str, Any](), "servers"
        until_s = time.monotonic() + GROW_S
        while count < servers:
            if count and time.monotonic() > until_s:
                bound = "time"
                break
            following = max(1, min(2 * count, servers))
            await ceiling.grow(following)
            step = await ceiling.step(1.0)
            if not _is_whole(step):
                bound = _bound(step)
                break
            count, best = following, step
        found = {"items_max": items * count, "items_max_bound": bound, "servers": count, "client_cores": best.get("cores")}
        return found | await _most_often(ceiling, items * count, best) if count else found


async def _most_often(ceiling: Ceiling, items: int, best: dict[str, Any]) -> dict[str, Any]:
    hz, factor, bound = 1.0, 4.0, "time"
    until_s = time.monotonic() + HASTEN_S
    while factor >= 2 and time.monotonic() < until_s:
        step = await ceiling.step(factor * hz)
        if _is_whole(step):
            hz, best = factor * hz, step
        else:
            bound, factor = _bound(step), factor / 2
    return {
        "values_per_s_max": round(items * hz),
        "values_per_s_max_bound": bound,
        "values_per_s_max_cores": best["cores"],
    }


async def measure(arguments: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Every key."""
    modules = await node_path(arguments.cache.absolute(), progress)
    found = await per_value(arguments.rounds, arguments.items, arguments.seconds, modules, progress)
    return found | await most_items(arguments.servers, arguments.items, progress)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.opcua")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="of writes for each client, once it is warm")
    parser.add_argument("--items", type=int, default=5000, help="of each server")
    parser.add_argument("--servers", type=int, default=8, help="at most, for items_max")
    parser.add_argument("--cache", type=Path, default=Path("run/benchmark-cache"), help="where node-opcua is installed")
    arguments = parser.parse_args(argv)
    try:
        result = asyncio.run(measure(arguments, Progress("opcua")))
    except Overdue as error:
        sys.stderr.write(f"opcua: {error}\n")
        return 1
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.writelines(f"{key:24} {value}\n" for key, value in result.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
