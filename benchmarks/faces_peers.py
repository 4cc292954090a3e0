"""What benchmarks.faces runs beside a node: its Handle client in C, and Knot DNS under dnsperf."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("handle_client.c")
_STRIDE = 7919
_PATIENCE_S = 60
_ZONE = "id.test"
_NEEDED = {"gcc": "gcc", "wrk": "wrk", "knotd": "knot", "dnsperf": "dnsperf"}
"""Programs, each with Debian's package."""


def require() -> None:
    """End where a program is missing, and say which."""
    if absent := [f"{name} (package {package})" for name, package in _NEEDED.items() if _which(name) is None]:
        raise SystemExit(f"not installed: {', '.join(absent)}")


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@dataclass(frozen=True)
class HandleClient:
    """The client in C, compiled, on a core."""

    program: Path
    core: str
    connections: int
    window: int

    @classmethod
    def built(cls, folder: Path, core: str, connections: int, window: int) -> HandleClient:
        """Compile it."""
        program = folder / "handle_client"
        subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-o", program, _SOURCE], check=True)
        return cls(program, core, connections, window)

    def run(self, mode: str, port: str, count: int, first: int, turn: int, seconds: float, types: str = "") -> dict[str, float]:
        """Ask for `turn` of `count` identifiers from the `first` on, again and again; see the client's head."""
        numbers = (port, count, first, _STRIDE, turn, seconds, self.connections, self.window)
        command = ["taskset", "-c", self.core, str(self.program), mode, *map(str, numbers), types]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the Handle client ended with {done.returncode}: {done.stderr.strip()}")
        report: dict[str, float] = json.loads(done.stdout)
        return report


@dataclass(frozen=True)
class Dns:
    """A server of names, and who asks it."""

    port: int
    pid: int
    queries: Path
    core: str
    connections: int
    outstanding: int

    def run(self, seconds: float) -> dict[str, float]:
        """Queries answered in so many seconds, of how many bytes."""
        words = ("-c", str(self.connections), "-T", "1", "-q", str(self.outstanding), "-l", str(seconds), "-d", str(self.queries))
        command = ["taskset", "-c", self.core, "dnsperf", "-s", "127.0.0.1", "-p", str(self.port), *words]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = {name: float(_figure(told, pattern)) for name, pattern in _FIGURES.items()}
        return {**found, "wrong": found["requests"] - found["right"]}


_FIGURES = {
    "requests": r"Queries completed: +(\d+)",
    "right": r"NOERROR (\d+)",
    "seconds": r"Run time \(s\): +([\d.]+)",
    "answer_bytes": r"response (\d+)",
}


def _figure(told: str, pattern: str) -> str:
    found = re.search(pattern, told)
    if found is None:
        raise RuntimeError(f"dnsperf told otherwise: {told[-500:]}")
    return found[1]


@contextlib.contextmanager
def knot(folder: Path, count: int, text_bytes: int, client: HandleClient) -> Iterator[Dns]:
    """Knot DNS, one UDP worker on the first core, with `count` names, each with `text_bytes` of TXT; asked as by that client."""
    place = folder / "knot"
    place.mkdir()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    (place / "knot.conf").write_text(_knot_settings(place, port), "ascii")
    halves = f'"{"x" * (text_bytes // 2)}" "{"y" * (text_bytes - text_bytes // 2)}"'
    with (place / "zone").open("w", encoding="ascii") as zone:
        zone.write(f"$ORIGIN {_ZONE}.\n$TTL 3600\n@ SOA ns. admin. 1 3600 3600 3600 3600\n@ NS ns\nns A 127.0.0.1\n")
        zone.writelines(f"P{number:08d} TXT {halves}\n" for number in range(count))
    queries = place / "queries"
    with queries.open("w", encoding="ascii") as file:
        file.writelines(f"P{number * _STRIDE % count:08d}.{_ZONE} TXT\n" for number in range(count))
    program = _which("knotd") or "knotd"
    command = ["taskset", "-c", "0", program, "-c", str(place / "knot.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            outstanding = client.connections * client.window
            dns = Dns(port, process.pid, queries, client.core, client.connections, outstanding)
            _wait(dns)
            yield dns
        finally:
            process.terminate()
            process.wait(_PATIENCE_S)


def _wait(dns: Dns) -> None:
    """Until the zone is loaded."""
    for _ in range(_PATIENCE_S):
        with contextlib.suppress(subprocess.CalledProcessError, RuntimeError):
            if not dns.run(1)["wrong"]:
                return
    raise RuntimeError("Knot DNS doesn't answer")


def _knot_settings(place: Path, port: int) -> str:
    return (
        f"server:\n    rundir: {place}\n    listen: 127.0.0.1@{port}\n"
        "    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
        f"database:\n    storage: {place}/db\n"
        f"zone:\n  - domain: {_ZONE}\n    file: {place}/zone\n    zonefile-sync: -1\n    journal-content: none\n"
    )
