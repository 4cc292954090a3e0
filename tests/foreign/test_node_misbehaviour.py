"""A server that isn't ours and lies about its limits, says nothing, is slow, changes its types, or dies amid a Browse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import DeviceTimeout, DeviceUnreachable
from drivers.opcua.settings import OpcuaSettings
from drivers.registry import browse_device
from drivers.status import Status
from tests.drivers.wire import Wire
from tests.foreign.node_server import NodeServer
from tests.foreign.test_node_breaks import Line

pytestmark = pytest.mark.services


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NodeServer]:
    with NodeServer(tmp_path) as server:
        yield server


def tag(name: str, **other: Any) -> dict[str, Any]:
    return {"name": name, "node": f"nsu=urn:mumian:test;s={name}", **other}


def settings_of(server: NodeServer, **other: Any) -> OpcuaSettings:
    given = {"name": "foreign", "driver": "opcua", "endpoint": f"opc.tcp://localhost:{server.port}", "security": "none"}
    return OpcuaSettings.model_validate({**given, "timeout_ms": 2000, "tags": [tag("level")], **other})


async def test_a_server_that_bears_less_than_it_says_is_asked_for_less(server: NodeServer) -> None:
    server.tell("lie", said=1_000_000, borne=2)
    async with Wire(server.port).laid() as wire:
        line = Line(server, wire, tags=[tag(name) for name in ("level", "count", "kept", "pressure")])
        await line.connect()
        await line.settle()
        assert line.driver.learnt["max_monitored_items_per_call"] == 2
        frames = await line.driver.read(line.plan.scans[0].plan)
        assert sum(len(frame.tags) for frame in frames) == 4
        assert line.driver.learnt["max_nodes_per_read"] == 2
        await line.driver.close()
    found = await browse_device(settings_of(server), None, 1000)
    assert {"level", "count", "kept", "pressure"} <= {one.name for one in found.tags}


@pytest.mark.parametrize("said", [0, 0xFFFF_FFFF])
async def test_limits_that_say_nothing_are_none(server: NodeServer, said: int) -> None:
    server.tell("lie", said=said, borne=0)
    async with Wire(server.port).laid() as wire:
        line = Line(server, wire)
        await line.connect()
        await line.settle()
        assert not {name for name in line.driver.learnt if name.startswith("max_")}
        await line.driver.close()


async def test_a_server_that_never_answers_is_told_and_taken_up_again_when_it_does(server: NodeServer) -> None:
    async with Wire(server.port).laid() as wire:
        line = Line(server, wire, timeout_ms=300)
        line.put("level", 1.0)
        await line.connect()
        await line.settle()
        server.freeze()
        with pytest.raises(DeviceTimeout, match="no answer in time"):
            await line.driver.read(line.plan.scans[0].plan)
        await line.driver.suspend()
        with pytest.raises(DeviceTimeout, match="no answer in time"):
            await line.driver.connect()
        await line.driver.suspend()
        server.thaw()
        line.put("level", 2.0)
        await line.connect()
        assert await line.through("level", 2.0) == [2.0]
        assert server.tell("count") == {"sessions": 1, "subscriptions": 1}
        await line.driver.close()


async def test_a_slow_answer_is_waited_for_and_one_that_is_too_slow_costs_no_other_tag(server: NodeServer) -> None:
    server.tell("slow", name="slow", ms=400)
    async with Wire(server.port).laid() as wire:
        line = Line(server, wire, tags=[tag("level"), tag("slow")], timeout_ms=2000)
        await line.connect()
        frames = await line.driver.read(line.plan.scans[0].plan)
        assert {value for _, value, _ in line.readings(frames)} == {1.5, 400.0}
        await line.driver.close()
        hasty = Line(server, wire, tags=[tag("level"), tag("slow")], timeout_ms=200)
        await hasty.connect()
        line.put("level", 3.0)
        assert (await hasty.through("level", 3.0))[-1] == 3.0
        with pytest.raises(DeviceTimeout):
            await hasty.driver.read(hasty.plan.scans[0].plan)
        await hasty.driver.suspend()
        await hasty.connect()
        assert server.tell("count")["sessions"] == 1
        await hasty.driver.close()


async def test_another_type_than_yesterday_is_a_status_of_that_tag_alone(server: NodeServer) -> None:
    async with Wire(server.port).laid() as wire:
        line = Line(server, wire, tags=[tag("level"), tag("count", type="int")])
        await line.connect()
        await line.settle()
        server.tell("retype", name="count", type="String", value="seven")
        wire.cut()
        await line.lose()
        server.tell("end")
        line.put("level", 2.0)
        await line.connect()
        seen: dict[str, tuple[object, int]] = {}
        while seen.get("level", (0, 0))[0] != 2.0 or seen.get("count", (0, 0))[1] != Status.BAD_TYPE_MISMATCH:
            seen |= {name: (value, status) for name, value, status in await line.take()}
        assert seen["level"] == (2.0, 0)
        await line.driver.close()


async def test_a_server_that_dies_in_the_midst_of_a_browse_ends_it_and_can_be_browsed_when_it_is_back(server: NodeServer) -> None:
    server.tell("die")
    with pytest.raises(DeviceUnreachable, match="browsing"):
        await browse_device(settings_of(server), None, 1000)
    server.kill()
    server.start()
    found = await browse_device(settings_of(server), None, 1000)
    assert "level" in {one.name for one in found.tags}
