"""Live data beside a long backlog (I6): python -m benchmarks.lanes [--json] [--frames N] [--devices N] [--period-ms MS].

An outbox is filled with a backlog, then the real gateway starts on it, polls Modbus devices and publishes to Debian's mosquitto.
A subscriber that does nothing but look for seq, time and mark in the bytes that it gets (QoS 0) counts. `ready_s`: from the start
of the process to the first live message there. `drain_ratio`: historical messages over live ones, from the first historical one
to the last. `live_age_ms_*`: from a response at the gateway to the subscriber, of live messages during the drain. `in_order`:
each historical seq came right after the one below it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.account import share
from benchmarks.backlog import CARRIERS, TAGS, fill
from benchmarks.line import Line
from benchmarks.publish import mosquitto
from gateway.outbox.sqlite import SqliteOutbox

_CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04seen"
"""MQTT 3.1.1, clean session, no keep-alive, client identifier "seen"."""
_SUBSCRIBE = b"\x82\x0d\x00\x01\x00\x08mumian/#\x00"
_HEAD = re.compile(rb'"seq":([0-9]+),"device":"[^"]+","t":([0-9]+),("historical":true,|)(?:"clock":"[a-z]+",)?"values"')
_MOST_HEAD = 200
"""Bytes that a head which was cut may have."""


@dataclass
class Seen:
    """What a subscriber has got."""

    started_at: float
    ready_s: float | None = None
    live: int = 0
    """Messages during the drain."""
    ages_ms: list[float] = field(default_factory=list)
    """Of live messages during the drain."""
    historical: int = 0
    repeated: int = 0
    out_of_order: int = 0
    highest: int = 0
    """Historical seq."""
    first_at: float = 0.0
    last_at: float = 0.0

    def take(self, seq: int, t_ms: int, *, historical: bool) -> None:
        """A message."""
        now = time.monotonic()
        if historical:
            self.first_at = self.first_at or now
            self.last_at = now
            self.historical += 1
            if seq == self.highest + 1:
                self.highest = seq
            elif seq <= self.highest:
                self.repeated += 1
            else:
                self.out_of_order += 1
            return
        if self.ready_s is None:
            self.ready_s = now - self.started_at
        if self.first_at:
            self.live += 1
            self.ages_ms.append(time.time() * 1000 - t_ms)


class Subscriber(threading.Thread):
    """Takes everything from a broker on that port until the connection is closed."""

    def __init__(self, port: int, seen: Seen) -> None:
        super().__init__(name="subscriber", daemon=True)
        self._seen = seen
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.settimeout(None)
        self._socket.sendall(_CONNECT + _SUBSCRIBE)

    def run(self) -> None:
        """Read."""
        rest = b""
        while chunk := self._socket.recv(1 << 20):
            rest += chunk
            end = 0
            for found in _HEAD.finditer(rest):
                end = found.end()
                self._seen.take(int(found[1]), int(found[2]), historical=bool(found[3]))
            rest = rest[max(end, len(rest) - _MOST_HEAD) :]

    def stop(self) -> None:
        """Leave."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._socket.close()


def settings(folder: Path, ports: list[int], period_ms: int, broker: int, history: dict[str, Any]) -> Path:
    """A gateway file; every device has as many tags as a record of the backlog."""
    tags = [{"name": f"t{n}", "area": "holding_register", "address": n, "type": "uint16"} for n in range(TAGS)]
    document = {
        "gateway": "lanes",
        "outbox": {"path": str(folder / "outbox.db"), "max_bytes": 64 * 1024**3},
        "devices": [
            {"name": f"d{place}", "driver": "modbus", "address": f"127.0.0.1:{port}", "period_ms": period_ms, "tags": tags}
            for place, port in enumerate(ports)
        ],
        "sinks": [{"kind": "mqtt", "name": "broker", "url": f"mqtt://127.0.0.1:{broker}", "history": history}],
    }
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


async def _make(path: Path) -> None:
    outbox = SqliteOutbox(path, CARRIERS)
    await outbox.open()
    await outbox.close()


def measure(frames: int, count: int, period_ms: int, history: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """Fill, start, watch the drain to its end or for `limit_s`."""
    with tempfile.TemporaryDirectory(prefix="mumian-lanes-") as name, mosquitto() as broker, Line(count, Path(name)) as line:
        folder, ports = Path(name), line.ports
        asyncio.run(_make(folder / "outbox.db"))
        fill(folder / "outbox.db", frames)
        with (folder / "outbox.db").open("rb") as file:
            os.fsync(file.fileno())  # filled without; the start would have to wait for it
        (folder / "outbox.db.mark").unlink()  # it knows nothing of what was filled in
        file_bytes = (folder / "outbox.db").stat().st_size
        path = settings(folder, ports, period_ms, broker, history)
        seen = Seen(time.monotonic())
        subscriber = Subscriber(broker, seen)
        subscriber.start()
        with (folder / "log").open("wb") as log:
            seen.started_at = time.monotonic()
            process = subprocess.Popen([sys.executable, "-m", "mumian", "gateway", "run", str(path)], stderr=log)
            try:
                _watch(seen, frames, limit_s)
            finally:
                process.terminate()
                process.wait(30)
                subscriber.stop()
        if not seen.historical or seen.ready_s is None:
            raise SystemExit((folder / "log").read_text("utf-8"))
    return {"frames": frames, "file_bytes": file_bytes, **_figures(seen, frames, history)}


def _watch(seen: Seen, frames: int, limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while seen.historical < frames and time.monotonic() < until:
        time.sleep(0.1)


def _figures(seen: Seen, frames: int, history: dict[str, Any]) -> dict[str, Any]:
    took_s = max(seen.last_at - seen.first_at, 1e-9)
    ages = np.sort(np.array(seen.ages_ms))
    in_order = not seen.out_of_order and not seen.repeated if history["drain"] == "oldest_first" else None
    return {
        "ready_s": round(seen.ready_s or 0.0, 2),
        "drained": seen.historical,
        "is_whole": seen.historical >= frames,
        "drain_s": round(took_s, 1),
        "drain_per_s": round(seen.historical / took_s),
        "live_per_s": round(seen.live / took_s),
        "drain_ratio": round(seen.historical / max(seen.live, 1), 1),
        "live_age_ms_p50": share(ages, 0.5),
        "live_age_ms_p99": share(ages, 0.99),
        "live_age_ms_max": share(ages, 1.0),
        "in_order": in_order,
    }


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--period-ms", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--drain", choices=("oldest_first", "newest_first", "interleaved"), default="oldest_first")
    parser.add_argument("--limit-s", type=float, default=300.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    history = {"share": options.share, "drain": options.drain}
    found = measure(options.frames, options.devices, options.period_ms, history, options.limit_s)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for key, value in found.items():
        sys.stdout.write(f"{key:>18}  {value}\n")


if __name__ == "__main__":
    main()
