"""The OPC UA driver's subscription: what comes, in which order, and when it is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvloop
from asyncua import ua

from drivers.base import Notification
from drivers.errors import DeviceRefused, DeviceTimeout, DeviceUnreachable
from drivers.model import Frame, value_at
from drivers.opcua.driver import OpcuaDriver
from drivers.opcua.plan import compile_device
from drivers.opcua.publishing import MOST_OUTSTANDING, Publisher
from drivers.status import Status
from tests.drivers.opcua_server import OpcuaServer
from tests.drivers.test_opcua_contract import settings
from tests.drivers.wire import Mode, Wire

PATIENT_MS = 20_000
"""For a machine that is busy; where silence is what is tried, a test says how long."""
HASTY = pytest.mark.parametrize("bench", [4000], indirect=True)
START = datetime(2026, 5, 4, 3, 2, 1, 123000, tzinfo=UTC)


def at(step: int) -> datetime:
    return START + timedelta(milliseconds=step)


class Bench:
    """A driver subscribed to the server through a wire."""

    def __init__(self, server: OpcuaServer, wire: Wire, **other: Any) -> None:
        self.server = server
        self.wire = wire
        self.settings = settings(wire.port, **other)
        self.plan = compile_device(self.settings)
        self.driver = OpcuaDriver(self.settings, self.plan)
        self.refused: list[Frame] = []

    @property
    def publisher(self) -> Publisher | None:
        return None if self.driver._following is None else self.driver._following.publisher

    async def subscribe(self) -> None:
        await self.driver.connect()
        self.refused = await self.driver.subscribe([scan.plan for scan in self.plan.scans])

    async def first(self) -> dict[str, tuple[object, int]]:
        """Subscribe, and take and acknowledge the initial values."""
        await self.subscribe()
        found = {
            name: (value, status)
            for name, value, status, _ in self.readings(self.refused)
            if status != Status.BAD_NODE_ID_UNKNOWN
        }
        while len(found) < len(self.plan.tags.names) - 1:
            for name, value, status, _ in await self.take():
                found[name] = (value, status)
        return found

    async def take(self) -> list[tuple[str, object, int, int]]:
        """Readings of the next notification in order, which is acknowledged."""
        notification = await self.driver.receive()
        await self.driver.acknowledge(notification.receipt)
        return self.readings(notification.frames)

    def readings(self, frames: list[Frame]) -> list[tuple[str, object, int, int]]:
        """(name, value, status, source_ns)"""
        found = []
        for frame in frames:
            assert len(set(frame.tags.tolist())) == len(frame.tags)
            for place, tag in enumerate(frame.tags.tolist()):
                value = value_at(frame.values, place, self.plan.tags.kinds[tag])
                source_ns = 0 if frame.source_ns is None else int(frame.source_ns[place])
                found.append((self.plan.tags.names[tag], value, int(frame.status[place]), source_ns))
        return found

    async def unacknowledged(self) -> list[int]:
        """Sequence numbers that the server still keeps, once it has seen all that the driver has sent."""
        await self.driver.read(self.plan.scans[0].plan)
        subscription = await self.server.newest_subscription()
        return list(subscription._not_acknowledged_results)

    async def on_publish(self, hook: Any) -> None:
        """Call `hook(result)` in the server before it sends a publish response; it is lost when the hook returns False."""
        subscription = await self.server.newest_subscription()
        send = subscription.pub_result_callback

        async def hooked(result: Any, request: Any) -> None:
            if hook(result) is not False:
                await send(result, request)

        subscription.pub_result_callback = hooked


@pytest.fixture
async def bench(opcua_server: OpcuaServer, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    await opcua_server.reset()
    async with Wire(opcua_server.port).laid() as wire:
        bench = Bench(opcua_server, wire, timeout_ms=getattr(request, "param", PATIENT_MS))
        yield bench
        await bench.driver.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_initial_values_come_and_an_unknown_node_is_a_bad_frame(bench: Bench) -> None:
    found = await bench.first()
    assert found == {
        "level": (1.5, 0),
        "count": (-7, 0),
        "total": (2**64 - 1, 0),
        "running": (True, 0),
        "order": ("P-4711", 0),
        "speed": (5, 0),
    }
    ((name, _, status, _),) = bench.readings(bench.refused)
    assert (name, status) == ("nowhere", Status.BAD_NODE_ID_UNKNOWN)


async def test_an_unknown_namespace_is_a_bad_frame_too(opcua_server: OpcuaServer, bench: Bench) -> None:
    tags = [
        {"name": "level", "node": bench.settings.tags[0].node},
        {"name": "other", "node": "nsu=urn:nowhere;s=level"},
    ]
    other = Bench(opcua_server, bench.wire, tags=tags)
    await other.subscribe()
    assert [(name, status) for name, _, status, _ in other.readings(other.refused)] == [("other", Status.BAD_NODE_ID_UNKNOWN)]
    found = other.readings(await other.driver.read(other.plan.scans[0].plan))
    assert sorted((name, status) for name, _, status, _ in found) == [("level", 0), ("other", Status.BAD_NODE_ID_UNKNOWN)]
    await other.driver.close()


async def test_a_notification_is_acknowledged_when_told_and_not_before(bench: Bench) -> None:
    await bench.first()
    assert await bench.unacknowledged() == []
    held: list[Notification] = []
    for level in (2.0, 3.0):
        await bench.server.put(("level", level, None))
        held.append(await bench.driver.receive())
    kept = await bench.unacknowledged()
    assert len(kept) == 2
    await bench.driver.acknowledge(held[0].receipt)
    assert await bench.unacknowledged() == kept[1:]
    await bench.driver.acknowledge(held[1].receipt)
    assert await bench.unacknowledged() == []


async def test_a_receipt_of_an_old_connection_acknowledges_nothing_new(bench: Bench) -> None:
    await bench.subscribe()
    old = await bench.driver.receive()
    await bench.driver.close()
    await bench.driver.acknowledge(old.receipt)
    await bench.subscribe()
    await bench.driver.receive()
    await bench.driver.acknowledge(old.receipt)
    assert await bench.unacknowledged() == [1]


async def test_changes_of_one_tag_come_in_successive_frames_with_their_own_times(bench: Bench) -> None:
    await bench.first()
    await bench.server.put(*(("level", float(step), at(step)) for step in range(5)))
    notification = await bench.driver.receive()
    assert [len(frame.tags) for frame in notification.frames] == [1] * 5
    assert [(value, source_ns) for _, value, _, source_ns in bench.readings(notification.frames)] == [
        (float(step), (1777863721123 + step) * 1_000_000) for step in range(5)
    ]


async def test_what_several_tags_did_in_turn_is_seen_in_turn(bench: Bench) -> None:
    """asyncua groups a notification by node; the source times say what really happened."""
    await bench.first()
    changes = [("level", 1.0, at(0)), ("level", 2.0, at(10)), ("running", False, at(20)), ("level", 3.0, at(30))]
    await bench.server.put(*changes)
    seen = await bench.take()
    assert [(name, value) for name, value, _, _ in seen] == [(name, value) for name, value, _ in changes]


async def test_status_and_time_of_the_device_are_kept(bench: Bench) -> None:
    await bench.first()
    await bench.server.put(("level", 8.0, at(1)), status=Status.UNCERTAIN_LAST_USABLE_VALUE)
    (name, value, status, source_ns), *_ = await bench.take()
    assert (name, value, status) == ("level", 8.0, Status.UNCERTAIN_LAST_USABLE_VALUE)
    assert source_ns == 1777863721124 * 1_000_000
    await bench.server.put(("level", 9.0, at(2)), status=Status.BAD_SENSOR_FAILURE)
    ((name, value, status, _),) = await bench.take()
    assert (name, status) == ("level", Status.BAD_SENSOR_FAILURE)
    assert value != value


async def test_an_overflow_is_counted_and_its_value_kept(bench: Bench) -> None:
    await bench.first()
    await bench.server.put(("level", 8.0, None), status=0x0480)
    ((_, _, gap, _),) = await bench.take()
    assert gap == Status.BAD_DATA_LOST
    ((_, value, status, _),) = await bench.take()
    assert (value, status, bench.driver.counts["overflows"]) == (8.0, 0x0480, 1)


async def test_a_lost_notification_is_asked_for_again_and_comes_in_order(bench: Bench) -> None:
    await bench.first()
    lost: list[int] = []

    def lose_one(result: Any) -> bool:
        if lost or not result.NotificationMessage.NotificationData:
            return True
        lost.append(result.NotificationMessage.SequenceNumber)
        return False

    await bench.on_publish(lose_one)
    await bench.server.put(("level", 2.0, None))
    receiving = asyncio.create_task(bench.take())
    while not lost:
        await bench.driver.read(bench.plan.scans[0].plan)
    await bench.server.put(("level", 3.0, None))
    first, second = await receiving, await bench.take()
    assert [[value for _, value, _, _ in readings] for readings in (first, second)] == [[2.0], [3.0]]
    assert await bench.unacknowledged() == []


async def test_a_keepalive_tells_of_a_lost_notification_too(bench: Bench) -> None:
    await bench.first()
    lost: list[int] = []

    def lose_one(result: Any) -> bool:
        if lost or not result.NotificationMessage.NotificationData:
            return True
        lost.append(result.NotificationMessage.SequenceNumber)
        return False

    await bench.on_publish(lose_one)
    await bench.server.put(("level", 2.0, None))
    assert [value for _, value, _, _ in await bench.take()] == [2.0]
    assert lost


async def test_a_notification_lost_for_good_is_a_gap_in_its_place(bench: Bench) -> None:
    await bench.first()
    subscription = await bench.server.newest_subscription()
    lost: list[int] = []

    def lose_one(result: Any) -> bool:
        if lost or not result.NotificationMessage.NotificationData:
            return True
        lost.append(result.NotificationMessage.SequenceNumber)
        del subscription._not_acknowledged_results[lost[0]]
        return False

    await bench.on_publish(lose_one)
    await bench.server.put(("level", 2.0, None))
    told = await bench.take() + await bench.take()
    assert [(name, status) for name, _, status, _ in told] == [("level", Status.BAD_DATA_LOST), ("level", 0)]
    assert told[1][1] == 2.0
    await bench.server.put(("level", 3.0, None))
    assert [value for _, value, _, _ in await bench.take()] == [3.0]


async def test_a_cancelled_receive_loses_nothing(bench: Bench) -> None:
    await bench.first()
    seen: list[object] = []
    for level in range(2, 12):
        receiving = asyncio.create_task(bench.driver.receive())
        await asyncio.wait([receiving], timeout=0)
        receiving.cancel()
        await asyncio.wait([receiving])
        if not receiving.cancelled():
            # It had its readings before the cancellation came.
            notification = receiving.result()
            await bench.driver.acknowledge(notification.receipt)
            seen += [value for _, value, _, _ in bench.readings(notification.frames)]
        await bench.server.put(("level", float(level), None))
    while len(seen) < 10:
        seen += [value for _, value, _, _ in await bench.take()]
    assert seen == [float(level) for level in range(2, 12)]


async def test_keepalives_are_a_sign_of_life(opcua_server: OpcuaServer, bench: Bench) -> None:
    """Quiet for several times the silence that would be death, then a change: it arrives."""
    quiet = Bench(opcua_server, bench.wire, publishing_interval_ms=50, keepalive_s=0.05, timeout_ms=1000)
    await quiet.first()
    loop = asyncio.get_running_loop()
    heard, enough = 0, asyncio.Event()

    def count(_result: Any) -> None:
        nonlocal heard
        heard += 1
        if heard == 25:
            loop.call_soon_threadsafe(enough.set)

    await quiet.on_publish(count)
    receiving = asyncio.create_task(quiet.take())
    waiting = asyncio.create_task(enough.wait())
    await asyncio.wait([receiving, waiting], return_when=asyncio.FIRST_COMPLETED)
    assert waiting.done()
    await opcua_server.put(("level", 2.0, None))
    assert [value for _, value, _, _ in await receiving] == [2.0]
    await quiet.driver.close()


@HASTY
async def test_a_server_that_falls_silent_is_given_up(bench: Bench) -> None:
    await bench.first()
    bench.wire.mode = Mode.SWALLOW
    with pytest.raises(DeviceTimeout, match="no sign of life"):
        await bench.driver.receive()
    bench.wire.mode = Mode.FORWARD
    await bench.first()


async def test_a_cut_wire_is_noticed_at_once_and_unacknowledged_values_come_again(bench: Bench) -> None:
    await bench.first()
    await bench.server.put(("level", 2.0, None))
    await bench.driver.receive()
    receiving = asyncio.create_task(bench.driver.receive())
    await asyncio.wait([receiving], timeout=0)
    bench.wire.cut()
    with pytest.raises(DeviceUnreachable):
        await receiving
    assert (await bench.first())["level"] == (1.5, 0)
    assert [value for _, value, _, _ in await bench.take()] == [2.0]


async def test_what_has_arrived_before_the_cut_is_still_given(bench: Bench) -> None:
    await bench.subscribe()
    receiving = asyncio.create_task(bench.driver.receive())
    while not (bench.publisher and bench.publisher._arrived):
        await bench.driver.read(bench.plan.scans[0].plan)
        if receiving.done():
            break
    bench.wire.cut()
    assert (await receiving).frames


async def test_a_subscription_that_the_server_ends_is_gone(bench: Bench) -> None:
    await bench.first()
    subscription = await bench.server.newest_subscription()
    await bench.server.run(subscription.enqueue_statuschange(ua.StatusCode(ua.StatusCodes.BadTimeout)))
    with pytest.raises(DeviceUnreachable, match="ended the subscription"):
        await bench.driver.receive()


async def test_closing_leaves_no_session_and_no_subscription_behind(bench: Bench) -> None:
    await bench.first()
    service = bench.server.server.iserver.subscription_service
    before = len(service.subscriptions)
    await bench.driver.close()
    assert len(service.subscriptions) == before - 1


async def test_what_is_not_fetched_stays_in_the_server(bench: Bench) -> None:
    """Without receive() no more publish requests are sent than the window; the changes wait in the server's queue."""
    await bench.first()
    publisher = bench.publisher
    assert publisher is not None
    for level in range(2, 30):
        await bench.server.put(("level", float(level), None))
        await bench.driver.read(bench.plan.scans[0].plan)
        assert len(publisher._requests) + len(publisher._arrived) <= MOST_OUTSTANDING
    seen: list[object] = []
    while len(seen) < 28:
        seen += [value for _, value, _, _ in await bench.take()]
    assert seen == [float(level) for level in range(2, 30)]


async def test_a_server_that_wants_fewer_requests_gets_fewer(bench: Bench) -> None:
    await bench.first()
    publisher = bench.publisher
    assert publisher is not None
    acks = [ua.SubscriptionAcknowledgement(next(iter(publisher._trackers)), 1)]

    async def refuse() -> bytes:
        raise ua.uaerrors.BadTooManyPublishRequests

    request = asyncio.create_task(refuse())
    publisher._requests[request] = acks
    request.add_done_callback(publisher._answered)
    await asyncio.wait([request])
    assert publisher._limit < MOST_OUTSTANDING
    assert publisher._acks == acks
    await bench.server.put(("level", 2.0, None))
    assert [value for _, value, _, _ in await bench.take()] == [2.0]


async def test_the_secure_channel_is_renewed_when_its_time_has_come(bench: Bench) -> None:
    await bench.first()
    session = bench.driver._session
    assert session is not None
    session._renew_at_s = 0.0
    await bench.server.put(("level", 2.0, None))
    assert [value for _, value, _, _ in await bench.take()] == [2.0]
    assert session.renew_at_s > asyncio.get_running_loop().time()
    await bench.server.put(("level", 3.0, None))
    assert [value for _, value, _, _ in await bench.take()] == [3.0]


def test_the_driver_works_on_uvloop_too(opcua_server: OpcuaServer) -> None:
    async def scenario() -> None:
        await opcua_server.reset()
        async with asyncio.timeout(20), Wire(opcua_server.port).laid() as wire:
            bench = Bench(opcua_server, wire)
            assert (await bench.first())["level"] == (1.5, 0)
            bench.wire.cut()
            with pytest.raises(DeviceUnreachable):
                await bench.driver.receive()
            assert (await bench.first())["level"] == (1.5, 0)
            await bench.driver.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_receiving_and_subscribing_want_a_connection(bench: Bench) -> None:
    with pytest.raises(DeviceUnreachable):
        await bench.driver.receive()
    with pytest.raises(DeviceUnreachable):
        await bench.driver.subscribe([bench.plan.scans[0].plan])
    await bench.driver.acknowledge(None)


@pytest.mark.parametrize(
    ("tag", "value"),
    [("speed", True), ("speed", 1.5), ("speed", "fast"), ("running", 1), ("order", 5), ("level", "x"), ("level", 1.0)],
)
async def test_a_value_of_another_type_or_a_variable_that_is_not_writable_is_refused(
    opcua_server: OpcuaServer, bench: Bench, tag: str, value: object
) -> None:
    tags = [{**setting.model_dump(mode="json"), "access": "read_write"} for setting in bench.settings.tags]
    writer = Bench(opcua_server, bench.wire, tags=tags)
    await writer.driver.connect()
    with pytest.raises(DeviceRefused, match=tag):
        await writer.driver.write(writer.plan.tags.names.index(tag), value)
    await writer.driver.close()
