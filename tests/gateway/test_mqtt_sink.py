"""The MQTT sink against a broker that misbehaves on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.clock import Clock, SystemClock
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import RecordUnknown
from gateway.sinks.base import SinkRefused, SinkUnreachable
from gateway.sinks.mqtt import CONNECT_S, MqttSink, MqttTarget
from tests.gateway.broker import ScriptedBroker
from tests.gateway.fakes import FakeClock

GUARD_S = 20.0


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start()
    yield broker
    await broker.stop()


def encode(record: Record, _: bool = False) -> list[tuple[str, bytes]]:
    if record.payload == b"unknown":
        raise RecordUnknown("record version 9")
    return [(f"topic/{record.seq}", record.payload)]


def make(broker: ScriptedBroker, clock: Clock | None = None, window: int = 100, **target: object) -> MqttSink:
    where = MqttTarget("127.0.0.1", broker.port, "gateway-1", **target)  # type: ignore[arg-type]
    return MqttSink("broker", where, encode, window=window, clock=clock or SystemClock())


def record(seq: int, payload: bytes | None = None) -> Record:
    return Record(seq, RecordKind.TELEMETRY, str(seq).encode() if payload is None else payload)


async def acknowledged(sink: MqttSink, count: int) -> list[int]:
    seqs: list[int] = []
    async with asyncio.timeout(GUARD_S):
        while len(seqs) < count:
            seqs += await sink.acknowledged()
            await asyncio.sleep(0)  # a rejection that nobody asked for yet makes acknowledged() return at once
    return seqs


@pytest.mark.parametrize(("version", "level"), [(5, 5), (4, 4)])
async def test_topic_and_payload_arrive_at_qos_1_in_both_versions(broker: ScriptedBroker, version: int, level: int) -> None:
    sink = make(broker, version=version)
    await sink.open()
    sink.send([record(7, b"payload")])
    assert await acknowledged(sink, 1) == [7]
    (publication,) = broker.publications
    assert (publication.topic, publication.payload, broker.level) == ("topic/7", b"payload", level)
    await sink.close()


async def test_it_connects_with_its_name_and_password(broker: ScriptedBroker) -> None:
    sink = make(broker, username="press", secret=lambda: "secret")
    await sink.open()
    assert broker.credentials == ("gateway-1", "press", "secret")
    await sink.close()


async def test_acknowledgements_may_come_in_any_order(broker: ScriptedBroker) -> None:
    sink = make(broker)
    await sink.open()
    broker.is_holding = True
    sink.send([record(1), record(2), record(3)])
    await broker.wait_published(3)
    broker.held.reverse()
    broker.release()
    assert await acknowledged(sink, 3) == [3, 2, 1]
    await sink.close()


async def test_the_brokers_receive_maximum_is_obeyed(broker: ScriptedBroker) -> None:
    broker.properties = bytes((0x21, 0, 5))
    sink = make(broker)
    await sink.open()
    assert sink.window <= 5
    sink.send([record(seq) for seq in range(sink.window)])
    await acknowledged(sink, sink.window)
    await sink.close()


async def test_a_receive_maximum_of_one_is_obeyed_too(broker: ScriptedBroker) -> None:
    broker.properties = bytes((0x21, 0, 1))
    sink = make(broker)
    await sink.open()
    assert sink.window == 1
    for seq in range(1, 4):
        sink.send([record(seq)])
        assert await acknowledged(sink, 1) == [seq]
    await sink.close()


async def test_a_window_is_its_own_again_when_the_next_broker_allows_it(broker: ScriptedBroker) -> None:
    broker.properties = bytes((0x21, 0, 5))
    sink = make(broker)
    await sink.open()
    broker.properties = b""
    await sink.open()
    assert sink.window == 100
    await sink.close()


async def test_a_record_beyond_the_brokers_packet_size_is_rejected_and_its_neighbours_go(broker: ScriptedBroker) -> None:
    broker.properties = bytes((0x27, 0, 0, 0, 100))
    sink = make(broker)
    await sink.open()
    sink.send([record(1), record(2, b"x" * 200), record(3)])
    assert await acknowledged(sink, 2) == [1, 3]
    ((seq, reason),) = sink.rejected()
    assert seq == 2
    assert reason.startswith("too large: ")
    await sink.close()


async def test_a_record_that_cannot_be_read_is_rejected_and_its_neighbours_go(broker: ScriptedBroker) -> None:
    sink = make(broker)
    await sink.open()
    sink.send([record(1), record(2, b"unknown"), record(3)])
    assert await acknowledged(sink, 2) == [1, 3]
    assert list(sink.rejected()) == [(2, "unreadable: record version 9")]
    await sink.close()


@pytest.mark.parametrize("code", [0x90, 0x95, 0x99])
async def test_a_puback_that_blames_the_record_rejects_it(broker: ScriptedBroker, code: int) -> None:
    broker.publish_codes[b"1"] = code
    sink = make(broker)
    await sink.open()
    sink.send([record(1)])
    async with asyncio.timeout(GUARD_S):
        assert list(await sink.acknowledged()) == []
    ((seq, reason),) = sink.rejected()
    assert seq == 1
    assert f"0x{code:02X}" in reason
    await sink.close()


@pytest.mark.parametrize(("code", "error"), [(0x87, SinkRefused), (0x97, SinkUnreachable), (0x80, SinkUnreachable)])
async def test_a_puback_that_says_no_acknowledges_nothing(broker: ScriptedBroker, code: int, error: type[Exception]) -> None:
    broker.publish_codes[b"1"] = code
    sink = make(broker)
    await sink.open()
    sink.send([record(1)])
    async with asyncio.timeout(GUARD_S):
        with pytest.raises(error):
            await sink.acknowledged()
    assert list(sink.rejected()) == []
    await sink.close()


async def test_a_puback_that_knows_no_subscriber_is_an_acknowledgement(broker: ScriptedBroker) -> None:
    broker.publish_codes[b"1"] = 0x10
    sink = make(broker)
    await sink.open()
    sink.send([record(1)])
    assert await acknowledged(sink, 1) == [1]
    await sink.close()


@pytest.mark.parametrize(
    ("version", "code", "error"),
    [
        (5, 0x86, SinkRefused),
        (5, 0x87, SinkRefused),
        (5, 0x85, SinkRefused),
        (5, 0x88, SinkUnreachable),
        (5, 0x89, SinkUnreachable),
        (4, 2, SinkRefused),
        (4, 3, SinkUnreachable),
        (4, 5, SinkRefused),
    ],
)
async def test_a_refused_connect_says_whether_to_try_again(
    broker: ScriptedBroker, version: int, code: int, error: type[Exception]
) -> None:
    broker.connect_code = code
    sink = make(broker, version=version)
    with pytest.raises(error, match=f"code {code}"):
        await sink.open()
    assert broker.connections == 1


async def test_a_broker_that_knows_no_mqtt_5_is_refused_with_the_way_out(broker: ScriptedBroker) -> None:
    broker.connect_code = 1
    sink = make(broker)
    with pytest.raises(SinkRefused, match=r"set version: 3\.1\.1"):
        await sink.open()
    assert broker.connections == 1


async def test_a_broker_that_says_nothing_to_connect_is_given_up(broker: ScriptedBroker) -> None:
    broker.answers_connect = False
    clock = FakeClock()
    sink = make(broker, clock)
    opening = asyncio.ensure_future(sink.open())
    async with asyncio.timeout(GUARD_S):
        while not broker.level:
            await clock.advance(0)
        await clock.advance(CONNECT_S)
        await clock.advance(5)
        with pytest.raises(SinkUnreachable, match="did not answer"):
            await opening


async def test_a_broker_that_acknowledges_nothing_is_given_up_at_the_deadline(broker: ScriptedBroker) -> None:
    clock = FakeClock()
    sink = make(broker, clock, acknowledge_s=10.0)
    await sink.open()
    broker.is_holding = True
    sink.send([record(1)])
    await broker.wait_published(1)
    waiting = asyncio.ensure_future(sink.acknowledged())
    await clock.advance(9)
    assert not waiting.done()
    await clock.advance(2)
    async with asyncio.timeout(GUARD_S):
        with pytest.raises(SinkUnreachable, match="acknowledged nothing for 10 s"):
            await waiting
    closing = asyncio.ensure_future(sink.close())
    await clock.advance(2)
    await closing


async def test_an_idle_connection_has_no_deadline(broker: ScriptedBroker) -> None:
    clock = FakeClock()
    sink = make(broker, clock, acknowledge_s=10.0)
    await sink.open()
    waiting = asyncio.ensure_future(sink.acknowledged())
    await clock.advance(1000)
    assert not waiting.done()
    sink.send([record(1)])
    async with asyncio.timeout(GUARD_S):
        assert list(await waiting) == [1]
    await sink.close()


@pytest.mark.parametrize(("code", "error"), [(0x8E, SinkRefused), (0x87, SinkRefused), (0x8B, SinkUnreachable)])
async def test_a_goodbye_says_whether_to_come_again(broker: ScriptedBroker, code: int, error: type[Exception]) -> None:
    broker.goodbye = code
    sink = make(broker)
    await sink.open()
    sink.send([record(1)])
    async with asyncio.timeout(GUARD_S):
        with pytest.raises(error):
            await sink.acknowledged()
    assert broker.connections == 1
    await sink.close()


async def test_a_lost_connection_is_noticed_though_nothing_is_in_flight(broker: ScriptedBroker) -> None:
    sink = make(broker)
    await sink.open()
    waiting = asyncio.ensure_future(sink.acknowledged())
    await broker.stop()
    async with asyncio.timeout(GUARD_S):
        with pytest.raises(SinkUnreachable):
            await waiting
    assert broker.connections == 1
    await sink.close()


async def test_a_host_that_nobody_knows_is_unreachable() -> None:
    sink = MqttSink("broker", MqttTarget("no-such-host.invalid", 1883, "x"), encode, window=1, clock=SystemClock())
    with pytest.raises(SinkUnreachable):
        await sink.open()
