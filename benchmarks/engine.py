"""Modbus to broker, values per CPU-second: the gateway beside a bare pymodbus + paho loop, in turn, same devices and broker.

Run as `python -m benchmarks.engine [--json] [--rounds N] [--seconds S] [--devices N] [--period-ms MS]`.

Values are counted by a subscriber, CPU (user + system, all threads) is the publishing process's own, over the same window; age is
from the arrival of the response at the gateway to the subscriber. Only the gateway keeps every reading on disk before it is sent,
decodes into named tags with a status, and resends. Without a period both 20 and 100 ms are measured; keys without a period are of
the first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as mqtt
import psutil
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from simulators.demo.brokers import embedded_broker

_REGISTERS = 100
_SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is polled."""

    ports: list[int]
    period_ms: int
    broker_port: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One window of one publisher."""

    values: int
    cpu_s: float
    rss_mb: float
    seconds: float
    ages_ms: list[float]

    @property
    def values_per_cpu_s(self) -> float:
        return self.values / self.cpu_s if self.cpu_s else 0.0


class Counter:
    """Counts the values that arrive under a topic."""

    def __init__(self, port: int, topic: str) -> None:
        self.values = 0
        self.ages_ms: list[float] = []
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._count
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(topic, qos=1)
        self._client.loop_start()
        self._ready.wait(10)

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _count(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        body = json.loads(message.payload)
        self.values += len(body["values"])
        if "t" in body:
            self.ages_ms.append(time.time() * 1000 - body["t"])


def gateway_settings(load: Load, folder: Path) -> Path:
    """A gateway file that reads what the bare loop reads: every register a tag, every change reported."""
    tags = [{"name": f"r{n}", "area": "holding_register", "address": n, "type": "uint16"} for n in range(_REGISTERS)]
    settings = {
        "gateway": "engine",
        "outbox": {"path": str(folder / "outbox.db")},
        "devices": [
            {"name": f"d{index}", "driver": "modbus", "address": f"127.0.0.1:{port}", "period_ms": load.period_ms, "tags": tags}
            for index, port in enumerate(load.ports)
        ],
        "sinks": [{"name": "broker", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{load.broker_port}", "window": 100}],
    }
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


def measure(command: list[str], topic: str, load: Load, seconds: float) -> Sample:
    """Run a publisher, let it settle, and count over a window."""
    counter = Counter(load.broker_port, topic)
    process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)
    try:
        watched = psutil.Process(process.pid)
        time.sleep(_SETTLE_S)
        began, values, cpu = time.monotonic(), counter.values, watched.cpu_times()
        counter.ages_ms.clear()
        time.sleep(seconds)
        after = watched.cpu_times()
        return Sample(
            values=counter.values - values,
            cpu_s=after.user + after.system - cpu.user - cpu.system,
            rss_mb=watched.memory_info().rss / 1e6,
            seconds=time.monotonic() - began,
            ages_ms=sorted(counter.ages_ms),
        )
    finally:
        process.terminate()
        process.wait(30)
        counter.close()


@contextlib.contextmanager
def devices(count: int) -> Iterator[list[int]]:
    """The register servers; yields their ports."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.registers", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield json.loads(server.stdout.readline())
    finally:
        server.stdin.close()
        server.wait(10)
        server.stdout.close()


def compare(load: Load, rounds: int, seconds: float) -> dict[str, list[Sample]]:
    """Both publishers in turn, `rounds` times."""
    samples: dict[str, list[Sample]] = {"gateway": [], "bare": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            path = gateway_settings(load, Path(folder))
            samples["gateway"].append(measure(["mumian", "gateway", "run", str(path)], "mumian/engine/#", load, seconds))
        bare = ["benchmarks.bare_loop", str(load.broker_port), str(load.period_ms / 1000), str(_REGISTERS)]
        samples["bare"].append(measure([*bare, *map(str, load.ports)], "mumian/bare/#", load, seconds))
    return samples


def _median(samples: list[Sample], figure: Callable[[Sample], float]) -> float:
    return statistics.median(figure(sample) for sample in samples)


def figures(load: Load, rounds: int, seconds: float) -> dict[str, float]:
    """Of one period."""
    samples = compare(load, rounds, seconds)
    ours, bare = samples["gateway"], samples["bare"]
    offered = len(load.ports) * _REGISTERS * 1000 / load.period_ms
    return {
        "values_per_cpu_s": round(_median(ours, lambda sample: sample.values_per_cpu_s)),
        "bare_values_per_cpu_s": round(_median(bare, lambda sample: sample.values_per_cpu_s)),
        "ratio": round(statistics.median(a.values_per_cpu_s / b.values_per_cpu_s for a, b in zip(ours, bare, strict=True)), 2),
        "age_ms_p50": round(_median(ours, lambda sample: quantile(sample.ages_ms, 0.5)), 1),
        "age_ms_p99": round(_median(ours, lambda sample: quantile(sample.ages_ms, 0.99)), 1),
        "values_per_s": round(_median(ours, lambda sample: sample.values / sample.seconds)),
        "bare_values_per_s": round(_median(bare, lambda sample: sample.values / sample.seconds)),
        "offered_values_per_s": round(offered),
        "rss_mb": round(_median(ours, lambda sample: sample.rss_mb)),
        "bare_rss_mb": round(_median(bare, lambda sample: sample.rss_mb)),
    }


def quantile(ordered: list[float], part: float) -> float:
    """Of ascending figures."""
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--period-ms", type=int, default=None)
    arguments = parser.parse_args()
    periods_ms = (20, 100) if arguments.period_ms is None else (arguments.period_ms,)
    result: dict[str, float] = {}
    with embedded_broker() as broker, devices(arguments.devices) as ports:
        for place, period_ms in enumerate(periods_ms):
            load = Load(ports, period_ms, int(broker.rsplit(":", 1)[1]))
            suffix = f"_{period_ms}ms" if place else ""
            found = figures(load, arguments.rounds, arguments.seconds)
            result |= {f"{name}{suffix}": figure for name, figure in found.items()}
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for name, figure in result.items():
        sys.stdout.write(f"{name:>28}  {figure:>12,}\n")


if __name__ == "__main__":
    main()
