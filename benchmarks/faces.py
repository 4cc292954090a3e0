"""The faces of the resolver: python -m benchmarks.faces [--json] [--count N] [--links N] [--rounds N] [--seconds S] [--folder F].

A node with N identifiers of 1 KB, and as many items with a GTIN and a serial number as --links says, in SQLite, pinned to one
core; load from the other. In each round Knot DNS under dnsperf, one worker on that core, N names with as many bytes to tell;
then the node's faces: the Handle wire protocol by a client in C (CONNECTIONS x WINDOW requests outstanding), Digital Links by
wrk (32 connections). Medians of the rounds.

The file is read into the system's cache before. handle_udp_rps, handle_tcp_rps: 10,000 identifiers over and over;
handle_udp_cold_rps, handle_tcp_cold_rps: each once, not in the cache of answers. By UDP six of the seven values are asked for,
what fits a datagram; by TCP all. dl_redirect_rps, linkset_rps: of 10,000 items, whose link stands two levels above, and of the
linkset of all three; ..._cold_rps: each once.
dns_qps: Knot's. *_bytes: of an answer. *_per_cpu_s: answers per second of CPU that the node, or Knot, used. *_ms: at full
load. idle_clients_mb: what 5,000 TCP clients that ask nothing add to the node's memory, rss_idle_mb: what it has then in all.
wrong: refused, broken or not what was asked; not 0 means that the figures are worth nothing. lost: datagrams that were not
answered within half a second.

Needed: gcc, wrk, knot, dnsperf.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.faces_peers import HandleClient, knot, require
from benchmarks.register_http import HttpClient
from benchmarks.resolve_node import NodeProcess, cpu_s, fill

CONNECTIONS, WINDOW = 4, 32
_LOAD_CORE = "1"
_WARM = 10_000
_IDLE = 5000
_TYPES = "MADE,PRODUCT,SERIAL,URL,ORDER,TEST"
_TEXT_BYTES = 400
_GTIN = "09506000134352"
_SCRIPT = Path(__file__).with_name("link_load.lua")
_STRIDE = 7919
_LINKSET = "?linkType=linkset"
_NAMES = {
    "dns": "dns_qps",
    "udp": "handle_udp_rps",
    "udp_cold": "handle_udp_cold_rps",
    "tcp": "handle_tcp_rps",
    "tcp_cold": "handle_tcp_cold_rps",
    "redirect": "dl_redirect_rps",
    "redirect_cold": "dl_redirect_cold_rps",
    "linkset": "linkset_rps",
    "linkset_cold": "linkset_cold_rps",
}


@dataclass
class Figures:
    """What the rounds gave, by face."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    per_cpu_s: dict[str, list[float]] = field(default_factory=dict)
    p99_ms: dict[str, list[float]] = field(default_factory=dict)
    wrong: float = 0
    lost: float = 0

    def take(self, name: str, run: Callable[[], dict[str, float]], cpu: Callable[[], float]) -> dict[str, float]:
        """One run against something that has used so much CPU."""
        used = cpu()
        report = run()
        used = cpu() - used
        self.rates.setdefault(name, []).append(report["requests"] / report["seconds"])
        self.per_cpu_s.setdefault(name, []).append(report["requests"] / max(used, 0.01))
        self.p99_ms.setdefault(name, []).append(report.get("p99_ms", 0))
        self.wrong += report["wrong"]
        self.lost += report.get("lost", 0)
        return report

    def told(self) -> dict[str, object]:
        """The medians."""
        middle = {name: round(statistics.median(each)) for name, each in self.rates.items()}
        return {
            **{_NAMES[name]: rate for name, rate in middle.items()},
            "udp_of_dns": round(
                statistics.median(of / dns for of, dns in zip(self.rates["udp"], self.rates["dns"], strict=True)), 2
            ),
            **{f"{name}_per_cpu_s": round(statistics.median(each)) for name, each in self.per_cpu_s.items()},
            **{f"{name}_p99_ms": round(statistics.median(each), 2) for name, each in self.p99_ms.items() if name != "dns"},
            "rounds": {name: [round(rate) for rate in each] for name, each in self.rates.items()},
            "wrong": round(self.wrong),
            "lost": round(self.lost),
        }


@dataclass
class Links:
    """wrk, walking through the items of a node."""

    url: str
    count: int
    seconds: float
    fresh: int = _WARM
    """How far the cold walk has come."""

    def warm(self, more: str = "") -> dict[str, float]:
        """The same again and again."""
        return self._run(0, min(_WARM, self.count), more)

    def cold(self, more: str = "") -> dict[str, float]:
        """Each once, as long as there are any."""
        report = self._run(self.fresh, self.count, more)
        self.fresh += int(report["requests"])
        return report

    def _run(self, first: int, turn: int, more: str) -> dict[str, float]:
        numbers = [str(each) for each in (self.count, first, _STRIDE, turn)]
        command = ["taskset", "-c", _LOAD_CORE, "wrk", "-t1", "-c32", f"-d{max(1, round(self.seconds))}s", "--latency"]
        words = [*command, "-s", str(_SCRIPT), self.url, "--", *numbers, *([more] if more else [])]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return report


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[NodeProcess]:
    """A node over the folder's store, on the first core."""
    handle = {"address": "127.0.0.1", "port": 0}
    connections = {"most": _IDLE + 1000}
    node = NodeProcess(folder, "0", store={"path": "idnode.db"}, handle=handle, connections=connections)
    try:
        yield node
    finally:
        node.stop()


def register_items(folder: Path, count: int) -> None:
    """Give the enterprise a GS1 company prefix, its product a link, and register items of it, those that aren't there yet."""
    with serving(folder) as node:
        client = HttpClient(node, (folder / "admin.token").read_text("ascii").strip())
        marker = folder / f"items-{count}"
        if marker.exists():
            return
        client.ask("POST", "/v1/enterprises/pumpworks/prefixes", {"prefix": "gs1:9506000"})
        links = [
            {"relation": "gs1:defaultLink", "href": "https://pumps.example.cn/cdl32", "title": "CDL32"},
            {"relation": "gs1:pip", "href": "https://pumps.example.cn/zh/cdl32", "title": "离心泵", "languages": ["zh"]},
            {"relation": "gs1:instructions", "href": "https://pumps.example.cn/cdl32/manual", "title": "Manual"},
        ]
        product = {"handle": f"gs1:01/{_GTIN}", "values": [], "typed_links": links}
        client.ask("POST", "/v1/identifiers", {"registrations": [product]})
        done = client.ask("PUT", "/v1/jobs/items/rows", _rows(count), "application/x-ndjson")
        if done["created"] != count:
            raise RuntimeError(f"{done}")
        marker.touch()


def _rows(count: int) -> Iterator[bytes]:
    for first in range(0, count, 500):
        yield b"".join(map(_row, range(first, min(count, first + 500))))


def _row(number: int) -> bytes:
    values = [{"index": 2000, "type": "SERIAL", "data": f"SN-2026-{number:09d}"}]
    return msgspec.json.encode({"handle": f"gs1:01/{_GTIN}/21/S{number:08d}", "values": values}) + b"\n"


def idle_mb(node: NodeProcess, count: int) -> tuple[float, float]:
    """What so many TCP clients that ask nothing add to the node's memory, and what it has then: MB."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * count), most))
    host, _, port = node.handle.rpartition(":")
    before = node.rss_mb()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((host, int(port)), 30))
        time.sleep(2)  # the last are accepted
        after = node.rss_mb()
    return round(after - before, 1), round(after, 1)


def heat(run: Callable[[], dict[str, float]], turn: int) -> None:
    """Until each has been asked for, so that what is asked for warm is kept."""
    asked = 0.0
    while asked < turn:
        asked += run()["requests"]


def read_whole(path: Path) -> None:
    """Into the system's cache: what is measured is the node, not the disk."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


def measure(folder: Path, count: int, links: int, rounds: int, seconds: float) -> dict[str, object]:
    """Fill, run the rounds, tell."""
    fill(folder / "idnode.db", count)
    register_items(folder, links)
    read_whole(folder / "idnode.db")
    figures, sizes, turn = Figures(), {}, min(_WARM, count)
    with tempfile.TemporaryDirectory(prefix="faces-", dir=folder) as made:
        client = HandleClient.built(Path(made), _LOAD_CORE, CONNECTIONS, WINDOW)
        with knot(Path(made), count, _TEXT_BYTES, client) as dns, serving(folder) as node:
            port, fresh = node.handle.rpartition(":")[2], turn
            walk = Links(node.url, links, seconds)
            handles = partial(client.run, port=port, count=count, seconds=seconds)
            for _ in range(rounds):
                report = figures.take("dns", lambda: dns.run(seconds), lambda: cpu_s(dns.pid))
                sizes["dns_bytes"] = round(report["answer_bytes"])
                for mode, types in (("udp", _TYPES), ("tcp", "")):
                    asking = partial(handles, mode, types=types)
                    heat(partial(asking, first=0, turn=turn, seconds=1), turn)
                    report = figures.take(mode, partial(asking, first=0, turn=turn), node.cpu_s)
                    sizes[f"{mode}_bytes"] = round(report["bytes"] / report["requests"])
                    fresh += int(figures.take(f"{mode}_cold", partial(asking, first=fresh, turn=count), node.cpu_s)["asked"])
                for name, more in (("redirect", ""), ("linkset", _LINKSET)):
                    heat(partial(walk.warm, more), min(turn, links))
                    report = figures.take(name, partial(walk.warm, more), node.cpu_s)
                    sizes[f"{name}_bytes"] = round(report["bytes"] / report["requests"])
                    figures.take(f"{name}_cold", partial(walk.cold, more), node.cpu_s)
    with serving(folder) as node:
        idle, whole = idle_mb(node, _IDLE)
    return {
        **figures.told(),
        **sizes,
        "idle_clients_mb": idle,
        "rss_idle_mb": whole,
        "count": count,
        "links": links,
        "cold_walked_once": fresh <= count and walk.fresh <= links,
        "interpreter": sys.version,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="all of it, as one JSON object")
    parser.add_argument("--count", type=int, default=1_000_000, help="identifiers")
    parser.add_argument("--links", type=int, default=500_000, help="items with a GTIN and a serial number")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each run")
    parser.add_argument("--folder", type=Path, help="where the store is kept; else it is made and removed")
    given = parser.parse_args()
    require()
    with tempfile.TemporaryDirectory(prefix="mumian-faces-") as made:
        folder = given.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(folder, given.count, given.links, given.rounds, given.seconds)
    if given.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{name:22} {value}\n" for name, value in result.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
