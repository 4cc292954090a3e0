"""Breaks of every kind: what the server still has comes, in order and once; what it hasn't is filled from history, or told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asyncua import ua

from drivers.errors import DeviceUnreachable
from drivers.opcua import following
from drivers.status import Status
from tests.drivers.opcua_server import NAMESPACE, OpcuaServer
from tests.drivers.test_opcua_driver import HASTY, PATIENT_MS, Bench, at
from tests.drivers.wire import Mode, Wire

NODE = f"nsu={NAMESPACE};s="
LEVEL = {"name": "level", "node": NODE + "level", "type": "float"}
COUNT = {"name": "count", "node": NODE + "count", "type": "int"}


@pytest.fixture
async def bench(opcua_server: OpcuaServer, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    await opcua_server.reset()
    await opcua_server.put(("level", 1.5, at(0)), ("count", -7, at(0)))
    await opcua_server.end_sessions()
    async with Wire(opcua_server.port).laid() as wire:
        bench = Bench(opcua_server, wire, tags=[LEVEL, COUNT], timeout_ms=getattr(request, "param", PATIENT_MS))
        await bench.subscribe()
        await settle(bench)
        yield bench
        await bench.driver.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await opcua_server.forget_history()


async def settle(bench: Bench) -> None:
    """Take the initial values."""
    names: set[str] = set()
    while len(names) < 2:
        names |= {name for name, *_ in await bench.take()}


async def lose_link(bench: Bench) -> None:
    """Cut the wire, and do what the gateway's poller does on a loss."""
    receiving = asyncio.create_task(bench.driver.receive())
    await asyncio.wait([receiving], timeout=0)
    bench.wire.cut()
    with pytest.raises(DeviceUnreachable):
        await receive_for_ever(bench, receiving)
    await bench.driver.suspend()


async def receive_for_ever(bench: Bench, receiving: asyncio.Task[Any]) -> None:
    while True:
        await receiving
        receiving = asyncio.create_task(bench.driver.receive())


async def levels(bench: Bench, until: float) -> list[tuple[object, int]]:
    """(value, status) of `level` as they come, through `until`; values of Bad ones are None."""
    found: list[tuple[object, int]] = []
    while not found or found[-1] != (until, 0):
        found += [
            (None if status & 0x8000_0000 else value, status) for name, value, status, _ in await bench.take() if name == "level"
        ]
    return found


def good(*values: float) -> list[tuple[object, int]]:
    return [(value, 0) for value in values]


async def test_the_session_is_taken_up_and_what_happened_meanwhile_comes(bench: Bench) -> None:
    session = await bench.server.session_ids()
    await lose_link(bench)
    await bench.server.put(*(("level", float(step), at(step)) for step in range(2, 7)))
    await bench.subscribe()
    assert [(name, value) for name, value, _, _ in bench.readings(bench.refused)] == [("level", 1.5), ("count", -7)]
    assert await levels(bench, 6.0) == good(2, 3, 4, 5, 6)
    assert await bench.server.session_ids() == session


async def test_a_message_on_its_way_when_the_wire_broke_is_asked_for_again(bench: Bench) -> None:
    lost: list[int] = []

    def lose(result: Any) -> bool:
        if not result.NotificationMessage.NotificationData:
            return True
        lost.append(result.NotificationMessage.SequenceNumber)
        return False

    await bench.on_publish(lose)
    await bench.server.put(("level", 2.0, at(2)))
    while not lost:
        await bench.driver.read(bench.plan.scans[0].plan)
    await lose_link(bench)
    await bench.subscribe()
    assert await levels(bench, 2.0) == good(2)
    assert bench.publisher is not None
    assert bench.publisher.republished == 1


async def test_what_was_given_but_not_acknowledged_comes_again_first(bench: Bench) -> None:
    await bench.server.put(("level", 2.0, at(2)))
    await bench.driver.receive()
    await lose_link(bench)
    await bench.server.put(("level", 3.0, at(3)))
    await bench.subscribe()
    assert ("level", 1.5) in [(name, value) for name, value, _, _ in bench.readings(bench.refused)]
    assert await levels(bench, 3.0) == good(2, 3)
    assert await bench.unacknowledged() == []


async def test_fifty_breaks_never_make_a_second_session(bench: Bench) -> None:
    session = await bench.server.session_ids()
    for step in range(2, 52):
        await lose_link(bench)
        await bench.server.put(("level", float(step), at(step)))
        await bench.subscribe()
        assert await levels(bench, float(step)) == good(step)
        assert await bench.server.session_ids() == session


async def test_history_fills_what_no_subscription_kept(bench: Bench) -> None:
    await bench.server.keep_history("level", "count")
    await lose_link(bench)
    await bench.server.end_sessions()
    await bench.server.put(*(("level", float(step), at(step)) for step in range(2, 6)))
    await bench.server.history_settled("level", 5.0)
    await bench.subscribe()
    assert bench.readings(bench.refused) == []
    # Not before the present value was looked at: the history might have it then.
    assert await levels(bench, 5.0) == good(2, 3, 4, 5)
    await bench.server.put(("level", 6.0, at(6)))
    assert await levels(bench, 6.0) == good(6)
    assert bench.driver.mender.filled == 4
    assert bench.driver.mender.gaps == 0


async def test_without_history_there_is_one_gap_and_only_where_something_changed(bench: Bench) -> None:
    await lose_link(bench)
    await bench.server.end_sessions()
    await bench.server.put(*(("level", float(step), at(step)) for step in range(2, 6)))
    await bench.subscribe()
    told = await bench.take()
    assert [(name, status) for name, _, status, _ in told] == [("level", Status.BAD_DATA_LOST)]
    assert await levels(bench, 5.0) == good(5)
    assert bench.driver.mender.gaps == 1


async def test_a_queue_that_overflowed_is_filled_from_history(bench: Bench) -> None:
    await bench.server.keep_history("level")
    await bench.driver.close()
    small = Bench(bench.server, bench.wire, tags=[LEVEL, COUNT], queue_size=2)
    await small.subscribe()
    await settle(small)
    await lose_link(small)
    await small.server.overflow(*(("level", float(step), at(step)) for step in range(2, 8)))
    await small.server.history_settled("level", 7.0)
    await small.subscribe()
    found = [(value, status & 0xFFFF_0000) for value, status in await levels(small, 7.0)]
    assert found == good(2, 3, 4, 5, 6, 7)
    await small.driver.close()


async def test_history_comes_in_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.opcua.history.VALUES_PER_NODE", 3)
    await bench.server.keep_history("level", "count")
    await lose_link(bench)
    await bench.server.end_sessions()
    await bench.server.put(*(("level", float(step), at(step)) for step in range(2, 22)))
    await bench.server.history_settled("level", 21.0)
    await bench.subscribe()
    assert await levels(bench, 21.0) == good(*range(2, 22))


async def test_a_break_while_history_is_read_goes_on_where_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.opcua.history.VALUES_PER_NODE", 3)
    await bench.server.keep_history("level", "count")
    await lose_link(bench)
    await bench.server.end_sessions()
    await bench.server.put(*(("level", float(step), at(step)) for step in range(2, 12)))
    await bench.server.history_settled("level", 11.0)
    await bench.subscribe()
    first = [value for name, value, _, _ in await bench.take() if name == "level"]
    assert 0 < len(first) < 10
    await lose_link(bench)
    await bench.subscribe()
    assert [*first, *(value for value, _ in await levels(bench, 11.0))] == [float(step) for step in range(2, 12)]


async def test_a_subscription_that_the_server_ended_is_made_anew_in_the_same_session(bench: Bench) -> None:
    session = await bench.server.session_ids()
    subscription = await bench.server.newest_subscription()
    await bench.server.run(subscription.enqueue_statuschange(ua.StatusCode(ua.StatusCodes.BadTimeout)))
    with pytest.raises(DeviceUnreachable, match="ended the subscription"):
        await bench.take()
    await bench.driver.suspend()
    await bench.subscribe()
    await bench.server.put(("level", 2.0, at(2)))
    assert (await levels(bench, 2.0))[-1] == (2.0, 0)
    assert await bench.server.session_ids() == session
    assert await bench.server.subscription_count() == 1


@HASTY
async def test_a_session_that_stays_dumb_is_not_taken_up_for_ever(bench: Bench) -> None:
    await lose_link(bench)
    await bench.subscribe()
    bench.wire.mode = Mode.SWALLOW
    with pytest.raises(DeviceUnreachable, match="no sign of life"):
        await bench.driver.receive()
    await bench.driver.suspend()
    bench.wire.mode = Mode.FORWARD
    await bench.subscribe()
    await bench.server.put(("level", 2.0, at(2)))
    assert (await levels(bench, 2.0))[-1] == (2.0, 0)


async def test_a_deleted_node_is_bad_and_found_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RECHECK_S", 0.0)
    await bench.driver.close()
    await bench.server.delete("extra")
    other = Bench(bench.server, bench.wire, tags=[LEVEL, {"name": "extra", "node": NODE + "extra", "type": "float"}])
    await other.subscribe()
    assert [(name, status) for name, _, status, _ in other.readings(other.refused)] == [("extra", Status.BAD_NODE_ID_UNKNOWN)]
    receiving = asyncio.create_task(other.take())
    assert [name for name, *_ in await receiving] == ["level"]
    receiving = asyncio.create_task(other.take())
    await other.server.add("extra", 8.5)
    assert [(name, value, status) for name, value, status, _ in await receiving] == [("extra", 8.5, 0)]
    await other.driver.close()
    await other.server.delete("extra")


async def test_another_address_is_tried_and_kept(opcua_server: OpcuaServer, bench: Bench) -> None:
    await bench.driver.close()
    async with Wire(opcua_server.port).laid() as second:
        backup = [f"opc.tcp://127.0.0.1:{second.port}"]
        other = Bench(opcua_server, bench.wire, tags=[LEVEL, COUNT], backup_endpoints=backup)
        await other.subscribe()
        await settle(other)
        bench.wire.mode = Mode.CUT
        await lose_link(other)
        for _ in range(4):
            try:
                await other.subscribe()
            except DeviceUnreachable:
                await other.driver.suspend()
            else:
                break
        assert second.to_device > 0
        await opcua_server.put(("level", 2.0, at(2)))
        assert (await levels(other, 2.0))[-1] == (2.0, 0)
        await other.driver.close()


@HASTY
@pytest.mark.parametrize("swallowed", range(0, 400, 40))
async def test_connecting_to_a_black_hole_ends(opcua_server: OpcuaServer, bench: Bench, swallowed: int) -> None:
    """Whatever the byte after which the server says nothing more."""
    await lose_link(bench)
    bench.wire.swallow_after = bench.wire.to_device + swallowed
    with pytest.raises(DeviceUnreachable):
        await bench.subscribe()
    await bench.driver.suspend()
    bench.wire.swallow_after = None
