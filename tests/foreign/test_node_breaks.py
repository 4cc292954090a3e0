"""Restarts, cuts and moved sessions: what the server still has comes in order, what it hasn't is filled or told."""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psutil
import pytest

from drivers.errors import DeviceUnreachable, DriverError
from drivers.model import Frame, value_at
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from drivers.opcua.settings import OpcuaSettings
from drivers.status import Status
from tests.drivers.wire import Mode, Wire
from tests.foreign.node_server import NodeServer

pytestmark = pytest.mark.services

START_MS = (int(time.time()) // 1000 + 1) * 1_000_000
"""Ahead of now: the server stamps its first values with its own time."""
_TURNS = itertools.count()
"""Each test has its own stretch of the server's history."""
BACK_S = 5.0
MOST_GROWTH_MB = 2.0


class Line:
    """A gateway's link to the foreign server, without the gateway."""

    def __init__(self, server: NodeServer, wire: Wire, **other: Any) -> None:
        self.server = server
        self.wire = wire
        names = ("level", "kept")
        given = {
            "name": "foreign",
            "driver": "opcua",
            "endpoint": f"opc.tcp://localhost:{wire.port}",
            "security": "none",
            "publishing_interval_ms": 50,
            "sampling_interval_ms": 0,
            "timeout_ms": 2000,
            "keepalive_s": 1,
            "tags": [{"name": name, "node": f"nsu=urn:mumian:test;s={name}"} for name in names],
        }
        self.settings = OpcuaSettings.model_validate({**given, **other})
        self.plan = compile_device(self.settings)
        self.driver = OpcuaDriver(self.settings, self.plan)
        self.began_ms = START_MS + next(_TURNS) * 100_000

    async def connect(self) -> list[tuple[str, object, int]]:
        """Connect and subscribe, as often as it takes; what subscribe() gives."""
        while True:
            try:
                await self.driver.connect()
                return self.readings(await self.driver.subscribe([scan.plan for scan in self.plan.scans]))
            except DriverError:
                await self.driver.suspend()
                await asyncio.sleep(0)

    async def take(self) -> list[tuple[str, object, int]]:
        """The next readings, acknowledged."""
        notification = await self.driver.receive()
        await self.driver.acknowledge(notification.receipt)
        return self.readings(notification.frames)

    async def through(self, name: str, value: float) -> list[object]:
        """Good values and names of Bad statuses of one tag, through a value."""
        found: list[object] = []
        while not found or found[-1] != value:
            for other, this, status in await self.take():
                if other == name:
                    found.append(this if status == 0 else hex(status))
        return found

    async def settle(self) -> None:
        """Take the first values."""
        names: set[str] = set()
        while len(names) < len(self.settings.tags):
            names |= {name for name, *_ in await self.take()}

    async def lose(self) -> None:
        """Wait until the link is lost, and give it up as the gateway does."""
        with pytest.raises(DeviceUnreachable):
            await self._take_for_ever()
        await self.driver.suspend()

    async def _take_for_ever(self) -> None:
        while True:
            await self.take()

    def readings(self, frames: list[Frame]) -> list[tuple[str, object, int]]:
        """(name, value, status)"""
        return [
            (self.plan.tags.names[tag], value_at(frame.values, place, self.plan.tags.kinds[tag]), int(frame.status[place]))
            for frame in frames
            for place, tag in enumerate(frame.tags.tolist())
        ]

    def put(self, name: str, *values: float) -> None:
        """Values at one second each, by their number."""
        self.server.put(name, *((value, self.began_ms + round(1000 * value)) for value in values))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeServer]:
    with NodeServer(tmp_path_factory.mktemp("foreign")) as server:
        yield server


@pytest.fixture
async def line(server: NodeServer) -> AsyncIterator[Line]:
    async with Wire(server.port).laid() as wire:
        line = Line(server, wire)
        line.put("level", 1.0)
        line.put("kept", 1.0)
        await line.connect()
        await line.settle()
        yield line
        await line.driver.close()


async def test_a_cut_wire_loses_nothing_and_makes_no_second_session(line: Line) -> None:
    for step in range(2, 12):
        line.wire.cut()
        await line.lose()
        line.put("level", step, step + 0.25, step + 0.5)
        await line.connect()
        assert await line.through("level", step + 0.5) == [step, step + 0.25, step + 0.5]
        assert line.server.tell("count") == {"sessions": 1, "subscriptions": 1}


async def test_subscriptions_are_moved_into_a_new_session(line: Line) -> None:
    line.wire.cut()
    await line.lose()
    line.server.tell("orphan")
    line.put("level", 2, 3, 4)
    assert ("level", 1.0, 0) in await line.connect()
    assert await line.through("level", 4) == [2, 3, 4]
    assert line.server.tell("count") == {"sessions": 1, "subscriptions": 1}


async def test_a_session_that_ended_is_filled_from_history_or_told_as_a_gap(line: Line) -> None:
    line.wire.cut()
    await line.lose()
    line.server.tell("end")
    line.put("level", 2, 3, 4)
    line.put("kept", 2, 3, 4)
    await line.connect()
    seen: dict[str, list[object]] = {"level": [], "kept": []}
    while not all(found and found[-1] == 4 for found in seen.values()):
        for name, value, status in await line.take():
            seen[name].append(value if status == 0 else hex(status))
    assert seen == {"level": [hex(Status.BAD_DATA_LOST), 4], "kept": [2, 3, 4]}
    assert line.server.tell("count") == {"sessions": 1, "subscriptions": 1}


async def test_messages_that_the_server_forgot_are_filled_from_history_or_told_as_a_gap(line: Line) -> None:
    """They were sent into a dead wire, and are gone when they are asked for; session and subscription live on."""
    line.wire.mode = Mode.SWALLOW
    line.put("level", 2, 3)
    line.put("kept", 2, 3)
    line.server.tell("sent")
    line.wire.cut()
    await line.lose()
    line.wire.mode = Mode.FORWARD
    line.server.tell("forget")
    await line.connect()
    line.put("kept", 4)
    line.put("level", 4)
    seen: dict[str, list[object]] = {"level": [], "kept": []}
    while not all(found and found[-1] == 4 for found in seen.values()):
        for name, value, status in await line.take():
            seen[name].append(value if status == 0 else hex(status))
    assert seen["kept"] == [2, 3, 4]
    assert seen["level"][0] == hex(Status.BAD_DATA_LOST)
    assert line.server.tell("count") == {"sessions": 1, "subscriptions": 1}


async def test_fifty_restarts_of_the_server_with_data_back_in_time_and_memory_flat(
    line: Line, record_property: Callable[[str, object], None]
) -> None:
    loop = asyncio.get_running_loop()
    resident: list[int] = []
    for step in range(2, 52):
        line.server.tell("restart")
        began = loop.time()
        line.put("level", step)
        await line.lose()
        await line.connect()
        await line.through("level", step)
        assert loop.time() - began < BACK_S
        assert line.server.tell("count") == {"sessions": 1, "subscriptions": 1}
        gc.collect()
        resident.append(psutil.Process().memory_info().rss)
    early, late = (statistics.median(part) / 1e6 for part in (resident[5:15], resident[-10:]))
    record_property("resident_mb", [round(early, 1), round(late, 1)])
    sys.stdout.write(f"\nresident: {early:.1f} MB after 10 restarts, {late:.1f} MB after 50\n")
    assert late - early < MOST_GROWTH_MB


async def test_a_node_that_was_deleted_is_bad_alone(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.opcua.following.RECHECK_S", 0.0)
    line.server.tell("add", name="extra", value=1.0)
    tags = [{"name": name, "node": f"nsu=urn:mumian:test;s={name}"} for name in ("level", "extra")]
    other = Line(line.server, line.wire, tags=tags)
    await other.connect()
    await other.settle()
    line.server.tell("remove", name="extra")
    line.put("level", 60)
    assert await other.through("level", 60) == [60]
    await other.driver.close()
