"""The bench over OPC UA, asked by asyncua's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from asyncua import Client, ua

from simulators.ledger import Served, read_parts
from simulators.plant.signals import COLUMNS
from tests.simulators.plants import GUARD_S, Plant, running, served, settings
from tests.simulators.test_recording import GOOD, HEADING

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Seen = tuple[str, Any, int]
"""(tag, value, source time in ms)"""


class Notifications:
    """Every data change, in the order received."""

    def __init__(self) -> None:
        self.all: list[Seen] = []
        self.arrived = asyncio.Condition()

    async def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        at = data.monitored_item.Value.SourceTimestamp
        assert at.microsecond % 1000 == 0
        tag = node.nodeid.Identifier.removeprefix("bench.")
        async with self.arrived:
            self.all.append((tag, value, (at - EPOCH) // timedelta(milliseconds=1)))
            self.arrived.notify_all()

    async def wait(self, tag: str, value: object, after: int = 0) -> None:
        """Until that change has been seen, not counting the first `after` notifications."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: any(seen[:2] == (tag, value) for seen in self.all[after:]))


@asynccontextmanager
async def connected(plant: Plant) -> AsyncIterator[Client]:
    client = Client(plant.bench, timeout=GUARD_S)
    async with asyncio.timeout(GUARD_S), client:
        yield client


async def node(client: Client, tag: str) -> Any:
    index = await client.get_namespace_index("urn:mumian:plant")
    return client.get_node(ua.NodeId(f"bench.{tag}", index))


async def subscribe(client: Client, tags: tuple[str, ...], period_ms: int = 20) -> tuple[Any, Notifications]:
    seen = Notifications()
    subscription = await client.create_subscription(period_ms, seen)
    await subscription.subscribe_data_change([await node(client, tag) for tag in tags], queuesize=100)
    return subscription, seen


def readings(rows: list[Served]) -> list[Seen]:
    return [(tag, value, source_ms or 0) for row in rows for tag, value, source_ms in row.readings]


async def shake_hands(client: Client, seen: Notifications) -> None:
    """Take the part that is complete, or the next one that will be."""
    ack = await node(client, "cycle_ack")
    mark = max((at for at, change in enumerate(seen.all) if change[0] == "cycle_complete"), default=0)
    await seen.wait("cycle_complete", value=True, after=mark)
    mark = len(seen.all)
    await ack.write_value(value=True)
    await seen.wait("cycle_complete", value=False, after=mark)
    await ack.write_value(value=False)


TAGS = (*COLUMNS, "cycle_complete", "cycle_ack", "part_number", "order_number", "running")


async def test_the_ledger_says_what_the_client_was_sent_bit_for_bit(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant, connected(plant) as client:
        subscription, seen = await subscribe(client, TAGS)
        await shake_hands(client, seen)
        await seen.wait("part_number", 2)
        await subscription.delete()
    rows = served(tmp_path)
    assert {row.device for row in rows} == {"bench"}
    recorded = readings(rows)
    assert recorded[: len(seen.all)] == seen.all
    assert {tag for tag, _, _ in seen.all} == set(TAGS)
    assert {type(value) for tag, value, _ in recorded if tag == "part_number"} == {int}
    for tag in TAGS:
        times = [source_ms for name, _, source_ms in recorded if name == tag]
        assert times == sorted(set(times))


async def test_a_message_is_acknowledged_when_the_client_says_so(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant, connected(plant) as client:
        subscription, seen = await subscribe(client, TAGS)
        await shake_hands(client, seen)
        await shake_hands(client, seen)
        await subscription.delete()
    flags = [row.acknowledged for row in served(tmp_path)]
    assert True in flags
    # Each publish request acknowledges what came before it; only the last messages can be without.
    assert flags == sorted(flags, reverse=True)


async def test_every_sample_of_a_cycle_reaches_a_subscriber_that_asks_for_a_queue(tmp_path: Path) -> None:
    recording = tmp_path / "recording.csv"
    lines = [GOOD.replace("1.3302", f"{number}.25") for number in range(60)]
    recording.write_text("\n".join([HEADING, *lines]), "utf-8")
    plant_settings = settings(tmp_path, replay=recording, sample_s=0.005, cycle_s=0.2)
    async with running(plant_settings) as plant, connected(plant) as client:
        subscription, seen = await subscribe(client, ("current", "cycle_complete", "cycle_ack"), period_ms=500)
        await shake_hands(client, seen)
        mark = len(seen.all)
        await seen.wait("cycle_complete", value=True, after=mark)
        await subscription.delete()
    values = [value for tag, value, _ in seen.all if tag == "current"]
    # 40 samples a cycle; the recording goes on where the cycle before it stopped, and begins again at its end.
    expected = [float(number % 60) + 0.25 for number in range(80)]
    assert values == expected[expected.index(values[0]) :]
    assert len(values) > 40


async def test_the_handshake_is_written_into_the_books(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant, connected(plant) as client:
        subscription, seen = await subscribe(client, TAGS)
        await shake_hands(client, seen)
        mark = len(seen.all)
        await seen.wait("cycle_complete", value=True, after=mark)
        await subscription.delete()
    one, two = read_parts(plant.ledger)
    assert (one.part, two.part) == (1, 2)
    assert one.acknowledged_ns is not None
    assert one.started_ns < one.completed_ns < one.acknowledged_ns < two.started_ns + 1_000_000
    assert two.acknowledged_ns is None
    recorded = readings(served(tmp_path))
    assert ("cycle_complete", True, one.completed_ns // 1_000_000) in recorded
    samples = [source_ms for tag, _, source_ms in recorded if tag == "voltage"]
    between = range(one.completed_ns // 1_000_000 + 1, two.started_ns // 1_000_000)
    assert not set(samples) & set(between)


async def test_a_restarted_plant_goes_on_with_its_part_numbers(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant, connected(plant) as client:
        _, seen = await subscribe(client, TAGS)
        await seen.wait("cycle_complete", value=True)
    async with running(settings(tmp_path)) as plant, connected(plant) as client:
        _, seen = await subscribe(client, TAGS)
        await seen.wait("cycle_complete", value=True)
    assert [part.part for part in read_parts(plant.ledger)] == [1, 2]
    assert len({row.connection for row in served(tmp_path)}) == 2


async def test_only_the_handshakes_bit_can_be_written_and_bears_the_benchs_own_time(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant, connected(plant) as client:
        for tag in set(TAGS) - {"cycle_ack"}:
            protected = await node(client, tag)
            before = await protected.read_data_value()
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await protected.write_value(before)
        ack = await node(client, "cycle_ack")
        for wrong in (ua.Variant(1, ua.VariantType.Int32), ua.Variant([True], ua.VariantType.Boolean)):
            with pytest.raises(ua.UaStatusCodeError, match="BadTypeMismatch"):
                await ack.write_value(wrong)
        old = datetime(2001, 1, 1, tzinfo=UTC)
        await ack.write_value(ua.DataValue(ua.Variant(Value=True), SourceTimestamp=old))
        written = await ack.read_data_value()
        assert written.Value.Value is True
        assert written.SourceTimestamp > datetime(2020, 1, 1, tzinfo=UTC)
        assert written.SourceTimestamp.microsecond % 1000 == 0
        with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
            await client.nodes.objects.add_variable(ua.NodeId("mine", 2), "mine", 1)


async def test_a_user_name_is_refused_also_the_administrators(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant:
        client = Client(plant.bench, timeout=GUARD_S)
        client.set_user("admin")
        client.set_password("admin")
        with pytest.raises(ua.UaError):
            await client.connect()


async def test_the_bench_can_be_browsed_and_tells_the_time(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as plant, connected(plant) as client:
        index = await client.get_namespace_index("urn:mumian:plant")
        folder = await client.nodes.objects.get_child(f"{index}:bench")
        assert {(await child.read_browse_name()).Name for child in await folder.get_children()} == set(TAGS)
        now = await client.get_node(ua.ObjectIds.Server_ServerStatus_CurrentTime).read_value()
        assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)


async def monitor(client: Client, tag: str) -> tuple[Any, int]:
    """A session without a publishing task, and the id of a subscription to the tag."""
    session = client.uaclient.session
    created = await session.create_subscription(
        ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=20.0, RequestedLifetimeCount=1000, RequestedMaxKeepAliveCount=100
        ),
        lambda _: None,
    )
    session._publish_task.cancel()
    item = ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=(await node(client, tag)).nodeid, AttributeId=ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(ClientHandle=5, QueueSize=100),
    )
    await session.create_monitored_items(
        ua.CreateMonitoredItemsParameters(SubscriptionId=created.SubscriptionId, ItemsToCreate=[item])
    )
    return session, created.SubscriptionId


async def publish(session: Any, acknowledge: tuple[int, int] | None = None) -> Any:
    """The next notification message that holds something."""
    acks = [ua.SubscriptionAcknowledgement(*acknowledge)] if acknowledge else []
    while True:
        message = (await session.publish(acks)).Parameters.NotificationMessage
        if message.NotificationData:
            return message
        acks = []


async def test_a_message_can_be_had_again_until_it_is_acknowledged(tmp_path: Path) -> None:
    async with running(settings(tmp_path, cycle_s=10.0)) as plant, connected(plant) as client:
        session, subscription = await monitor(client, "voltage")
        first = await publish(session)
        second = await publish(session)
        assert (first.SequenceNumber, second.SequenceNumber) == (1, 2)
        for _ in range(2):
            assert (await session.republish(subscription, 1)).NotificationData == first.NotificationData
        await publish(session, acknowledge=(subscription, 1))
        with pytest.raises(ua.UaStatusCodeError, match="BadMessageNotAvailable"):
            await session.republish(subscription, 1)
        with pytest.raises(ua.UaStatusCodeError, match="BadSubscriptionIdInvalid"):
            await session.republish(subscription + 1, 2)
    assert [row.acknowledged for row in served(tmp_path)][:3] == [True, False, False]


def test_a_client_that_dies_takes_nobody_with_it(tmp_path: Path) -> None:
    """On the loop that the plant really runs on, whose transports raise when they are written to after their end."""

    async def scenario() -> None:
        async with running(settings(tmp_path)) as plant:
            victim = Client(plant.bench, timeout=GUARD_S)
            await victim.connect()
            _, seen = await subscribe(victim, TAGS)
            await seen.wait("cycle_complete", value=True)
            victim.uaclient.protocol.transport.abort()
            async with connected(plant) as client:
                subscription, seen = await subscribe(client, TAGS)
                await shake_hands(client, seen)
                await shake_hands(client, seen)
                await subscription.delete()

    uvloop.run(scenario())
    rows = served(tmp_path)
    assert {row.connection for row in rows} == {1, 2}
    assert [part.part for part in read_parts(tmp_path / "ledger.db") if part.acknowledged_ns] == [1, 2]
