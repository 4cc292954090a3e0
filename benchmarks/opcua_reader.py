"""One client of `benchmarks.opcua`: our driver, or a bare asyncua client, subscribed to servers of benchmarks/opcua_server.py.

    python -m benchmarks.opcua_reader driver|asyncua|share[:HZ] ITEMS SECONDS PORT...

It prints a JSON object: values, CPU time (user and system of this process) and wall time, counted from when every item had its
first value. `share` is the driver again, and says which share came of the values that were due, by their source times: one of
every item each second, or HZ of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

import uvloop
from asyncua import Client, ua

from benchmarks.opcua_server import NAMESPACE
from drivers.model import reading_count
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from drivers.opcua.settings import OpcuaSettings

PATIENCE_S = 60.0
"""For the first values."""


class Count:
    """Values that have come, of all servers."""

    def __init__(self, first: int) -> None:
        """`first`: so many are the first values of all items."""
        self.values = 0
        self.begun = asyncio.Event()
        self._first = first
        self.writes: dict[int, Counter[int]] | None = None
        """By port, how many values came of each write, by its source time; None where nobody asks."""

    def add(self, values: int) -> None:
        self.values += values
        if self.values >= self._first:
            self.begun.set()


def _share(writes: Counter[int], items: int, hz: float = 1.0) -> float:
    """Of the values between the first and the last write, which may have been cut by the window."""
    times = sorted(writes)
    if len(times) < 2:
        return 0.0
    due = round((times[-1] - times[0]) / 1e9 * hz) - 1
    return sum(writes[at] for at in times[1:-1]) / (items * max(1, due))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _drive(port: int, items: int, count: Count) -> None:
    tags = [{"name": f"v{number}", "node": f"nsu={NAMESPACE};i={number + 1}"} for number in range(items)]
    settings = OpcuaSettings.model_validate(
        {
            "name": "d",
            "driver": "opcua",
            "endpoint": f"opc.tcp://127.0.0.1:{port}",
            "security": "none",
            "publishing_interval_ms": 1000,
            "timeout_ms": 30_000,
            "tags": tags,
        }
    )
    plan = compile_device(settings)
    driver = OpcuaDriver(settings, plan)
    await driver.connect()
    try:
        await driver.subscribe([scan.plan for scan in plan.scans])
        while True:
            notification = await driver.receive()
            count.add(reading_count(notification.frames))
            if count.writes is not None:
                for frame in notification.frames:
                    assert frame.source_ns is not None
                    count.writes[port].update(frame.source_ns.tolist())
            await driver.acknowledge(notification.receipt)
    finally:
        await driver.close()


class _Handler:
    def __init__(self, count: Count) -> None:
        self._count = count

    def datachange_notification(self, _node: Any, _value: Any, _data: Any) -> None:
        self._count.add(1)


async def _follow(port: int, items: int, count: Count) -> None:
    async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=30) as client:
        index = await client.get_namespace_index(NAMESPACE)
        subscription = await client.create_subscription(1000, _Handler(count))
        nodes = [client.get_node(ua.NodeId(number + 1, index)) for number in range(items)]
        for start in range(0, items, 500):
            await subscription.subscribe_data_change(nodes[start : start + 500])
        await asyncio.Event().wait()


async def _measure(mode: str, items: int, seconds: float, ports: Sequence[int]) -> dict[str, float]:
    mode, _, hz = mode.partition(":")
    count = Count(items * len(ports))
    client = _follow if mode == "asyncua" else _drive
    work: list[Coroutine[Any, Any, None]] = [client(port, items, count) for port in ports]
    tasks = [asyncio.create_task(each) for each in work]
    ready = asyncio.create_task(asyncio.wait_for(count.begun.wait(), PATIENCE_S))
    await asyncio.wait([*tasks, ready], return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in tasks if task.done()]
    if failed:
        failed[0].result()
    await ready
    if mode == "share":
        count.writes = {port: Counter() for port in ports}
    begin_s, cpu_s, values = time.monotonic(), _cpu_s(), count.values
    await asyncio.sleep(seconds)
    found = {"values": count.values - values, "cpu_s": _cpu_s() - cpu_s, "wall_s": time.monotonic() - begin_s}
    if count.writes is not None:
        found["share"] = min(_share(writes, items, float(hz or 1)) for writes in count.writes.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    _mode, _items, _seconds, *_ports = sys.argv[1:]
    sys.stdout.write(json.dumps(uvloop.run(_measure(_mode, int(_items), float(_seconds), [int(port) for port in _ports]))))
