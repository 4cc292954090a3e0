"""One client of `benchmarks.opcua`: our driver, or a bare asyncua client, subscribed to servers of benchmarks/opcua_server.py.

    python -m benchmarks.opcua_reader driver|asyncua|times ITEMS

Each line of its input is answered with a line of JSON: "follow PORT ..." once every item of these servers has its first value,
"begin" at once, "end" with what has come since: values, CPU time (user and system of this process), wall time and the wall clock
at both ends. `times` is the driver again, which tells too how many values had which source time, by port. It ends when its input
does.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

import uvloop
from asyncua import Client, ua

from benchmarks.opcua_server import NAMESPACE, say
from drivers.model import Frame, reading_count
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from drivers.opcua.settings import OpcuaSettings

QUEUE = 100
"""Of each item, for every client."""


class Count:
    """Values that have come of one server."""

    def __init__(self, items: int) -> None:
        self.values = 0
        self.begun = asyncio.Event()
        """So many have come as there are items."""
        self.by_time: Counter[int] | None = None
        """How many by source time; None where nobody asks."""
        self._items = items

    def add(self, values: int) -> None:
        """They have come."""
        self.values += values
        if self.values >= self._items:
            self.begun.set()

    def add_times(self, frame: Frame) -> None:
        """Note the source times of those that have come."""
        assert self.by_time is not None
        assert frame.source_ns is not None
        first = int(frame.source_ns[0])
        if (frame.source_ns == first).all():  # mostly: they have been written together
            self.by_time[first] += len(frame.tags)
        else:
            self.by_time.update(frame.source_ns.tolist())


async def _drive(port: int, items: int, count: Count) -> None:
    tags = [{"name": f"v{number}", "node": f"nsu={NAMESPACE};i={number + 1}"} for number in range(items)]
    settings = OpcuaSettings.model_validate(
        {
            "name": "d",
            "driver": "opcua",
            "endpoint": f"opc.tcp://127.0.0.1:{port}",
            "security": "none",
            "publishing_interval_ms": 1000,
            "queue_size": QUEUE,
            "timeout_ms": 60_000,
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
            if count.by_time is not None:
                for frame in notification.frames:
                    count.add_times(frame)
            await driver.acknowledge(notification.receipt)
    finally:
        await driver.close()


class _Handler:
    def __init__(self, count: Count) -> None:
        self._count = count

    def datachange_notification(self, _node: Any, _value: Any, _data: Any) -> None:
        self._count.add(1)


async def _follow(port: int, items: int, count: Count) -> None:
    # Its watchdog gives up on a server that is busy for a second, as one is that makes 500 items on a busy machine.
    async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=60, watchdog_intervall=60) as client:
        index = await client.get_namespace_index(NAMESPACE)
        subscription = await client.create_subscription(1000, _Handler(count))
        nodes = [client.get_node(ua.NodeId(number + 1, index)) for number in range(items)]
        for start in range(0, items, 500):
            await subscription.subscribe_data_change(nodes[start : start + 500], queuesize=QUEUE)
        await asyncio.Event().wait()


class Reader:
    """One client of some servers."""

    def __init__(self, mode: str, items: int) -> None:
        self._mode = mode
        self._items = items
        self._counts: dict[int, Count] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._began = (0, 0.0, 0.0, 0)

    async def follow(self, ports: Sequence[int]) -> None:
        """Until every item of these, too, has a value."""
        client = _follow if self._mode == "asyncua" else _drive
        for port in ports:
            count = self._counts[port] = Count(self._items)
            work: Coroutine[Any, Any, None] = client(port, self._items, count)
            self._tasks.append(asyncio.create_task(work))
        for port in ports:
            begun = asyncio.create_task(self._counts[port].begun.wait())
            waits: list[asyncio.Task[Any]] = [*self._tasks, begun]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failed()

    def begin(self) -> None:
        """From here on it counts."""
        for count in self._counts.values():
            count.by_time = Counter() if self._mode == "times" else None
        self._began = self._values(), _cpu_s(), time.monotonic(), time.time_ns()

    def end(self) -> dict[str, Any]:
        """What has come since."""
        self._raise_failed()
        values, cpu_s, wall_s, at_ns = self._began
        found = {"values": self._values() - values, "cpu_s": _cpu_s() - cpu_s, "wall_s": time.monotonic() - wall_s}
        times = {port: dict(count.by_time) for port, count in self._counts.items() if count.by_time is not None}
        for count in self._counts.values():
            count.by_time = None
        return found | {"from_ns": at_ns, "to_ns": time.time_ns(), "times": times}

    async def close(self) -> None:
        """Unsubscribe."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _values(self) -> int:
        return sum(count.values for count in self._counts.values())

    def _raise_failed(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _serve(mode: str, items: int) -> None:
    reader = Reader(mode, items)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, *ports = line.split()
        if word == "follow":
            await reader.follow([int(port) for port in ports])
            say(None)
        elif word == "begin":
            reader.begin()
            say(None)
        else:
            say(reader.end())
    await reader.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
