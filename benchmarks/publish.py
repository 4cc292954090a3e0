"""CPU a message from record to PUBACK: our MQTT sink beside its own client library used plainly, in turn, at mosquitto.

Run as `python -m benchmarks.publish [--json] [--rounds N] [--messages N] [--bytes N]`; starts Debian's mosquitto on a free port.
QoS 1, 100 in flight, uvloop, the process' own CPU (user and system); the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gmqtt
import uvloop

from gateway.clock import SystemClock
from gateway.outbox.base import Record, RecordKind
from gateway.sinks.mqtt import MqttSink, MqttTarget

_WINDOW = 100
_PATIENCE_S = 10.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=1500)
    options = parser.parse_args()
    ways: dict[str, Callable[[int, int, int], Coroutine[Any, Any, None]]] = {"sink": _by_sink, "gmqtt": _by_gmqtt}
    cost_us: dict[str, list[float]] = {name: [] for name in ways}
    rate: dict[str, list[float]] = {name: [] for name in ways}
    with mosquitto() as port:
        for _ in range(options.rounds):
            for name, way in ways.items():
                started_s, cpu_s = time.perf_counter(), time.process_time()
                uvloop.run(way(port, options.messages, options.bytes))
                cost_us[name].append((time.process_time() - cpu_s) / options.messages * 1e6)
                rate[name].append(options.messages / (time.perf_counter() - started_s))
    found = {
        name: {"us": round(statistics.median(cost_us[name]), 1), "per_s": round(statistics.median(rate[name]))} for name in ways
    }
    if options.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(f"{name:8} {figures['us']:6.1f} us CPU a message {figures['per_s']:8.0f} messages/s")


async def _by_sink(port: int, count: int, size: int) -> None:
    target = MqttTarget("127.0.0.1", port, "benchmark")
    sink = MqttSink("b", target, lambda record, _: [("bench/t", record.payload)], window=_WINDOW, clock=SystemClock())
    await sink.open()
    records = [Record(seq, RecordKind.TELEMETRY, b"x" * size) for seq in range(1, count + 1)]
    sent = acknowledged = 0
    while acknowledged < count:
        room = _WINDOW - (sent - acknowledged)
        if room and sent < count:
            sink.send(records[sent : sent + room])
            sent = min(count, sent + room)
        acknowledged += len(await sink.acknowledged())
    await sink.close()


class _Counting:
    """gmqtt's storage of what is unacknowledged; wakes who waits for room."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.moved = asyncio.Event()

    def push_message(self, _mid: int, _packet: bytes) -> None:
        self.in_flight += 1

    def remove_message_by_mid(self, _mid: int) -> None:
        self.in_flight -= 1
        self.moved.set()

    is_empty = True

    async def wait_empty(self) -> None:
        return

    def get_all(self) -> list[tuple[int, bytes]]:
        return []

    def clear(self) -> None:
        return


async def _by_gmqtt(port: int, count: int, size: int) -> None:
    storage = _Counting()
    client = gmqtt.Client("benchmark-plain", clean_session=True, persistent_storage=storage)
    await client.connect("127.0.0.1", port)
    payload, sent = b"x" * size, 0
    while sent < count or storage.in_flight:
        while sent < count and storage.in_flight < _WINDOW:
            client.publish("bench/t", payload, qos=1)
            sent += 1
        storage.moved.clear()
        await storage.moved.wait()
    await client.disconnect()


@contextmanager
def mosquitto() -> Iterator[int]:
    """Debian's, on a free port, without a limit of its own; yields the port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        sys.exit("mosquitto is not installed (Debian package mosquitto)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\nlog_dest none\n"
        )
        process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            _wait_listening(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def _wait_listening(port: int) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    main()
