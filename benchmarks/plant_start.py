"""How long the pytest plugin's fresh plant takes: `python -m benchmarks.plant_start [--plants N] [--json]`.

A plant is started as the fixture mumian_plant does it, asked once over Modbus TCP, and closed, again and again on one thread.

| key | meaning |
|---|---|
| plants | how many were started |
| start_ms_p50, start_ms_p99, start_ms_most | from the settings to devices that listen |
| first_answer_ms_p50 | from connecting to the first answer |
| close_ms_p50 | until nothing listens and the ledger is complete |
| bench_ms | the OPC UA bench, when it is asked for: once, with what has to be loaded for it |
| load_ms | what the first plant of a session takes beyond that: the modules are loaded |
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

_REQUEST = bytes.fromhex("000100000006010300000002")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plant_start", description="Start fresh plants, one after the other."
    )
    parser.add_argument("--plants", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.plants < 2:
        parser.error("--plants must be 2 or more")
    with tempfile.TemporaryDirectory(prefix="mumian-plants-") as folder:
        result = measure(Path(folder), arguments.plants)
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for key, value in result.items():
        sys.stdout.write(f"{key:20} {value:8.1f}\n")


def measure(folder: Path, plants: int) -> dict[str, float]:
    """The table above, in milliseconds."""
    at = time.perf_counter()
    from simulators.plugin_loop import LoopThread
    from simulators.plugin_plant import Plant, plant_settings

    load_ms = _since_ms(at)
    loop = LoopThread()
    starts, answers, closes, bench_ms = [], [], [], 0.0
    try:
        for number in range(plants):
            at = time.perf_counter()
            plant = Plant(loop, plant_settings(folder / str(number), {}))
            plant.open()
            starts.append(_since_ms(at))
            at = time.perf_counter()
            with socket.create_connection((plant.meter.host, plant.meter.port), 10) as client:
                client.sendall(_REQUEST)
                client.recv(100)
            answers.append(_since_ms(at))
            if number == plants - 1:
                at = time.perf_counter()
                _ = plant.bench
                bench_ms = _since_ms(at)
            at = time.perf_counter()
            plant.close()
            closes.append(_since_ms(at))
    finally:
        loop.close()
    return {
        "plants": plants,
        "start_ms_p50": median(starts),
        "start_ms_p99": quantiles(starts, n=100, method="inclusive")[98],
        "start_ms_most": max(starts),
        "first_answer_ms_p50": median(answers),
        "close_ms_p50": median(closes[:-1]),
        "bench_ms": bench_ms,
        "load_ms": load_ms,
    }


def _since_ms(at: float) -> float:
    return (time.perf_counter() - at) * 1000


if __name__ == "__main__":
    main()
