"""What an MQTT sink can be told to do, against a broker that shows what came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from drivers.model import Kind
from gateway.backoff import Backoff
from gateway.clock import SystemClock
from gateway.forwarder import Forwarder
from gateway.outbox.base import Entry, Record, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.outbox.memory import MemoryOutbox
from gateway.secret import read_secret
from gateway.sinks.base import SinkRefused, SinkUnreachable
from gateway.sinks.blame import CLOSES_TO_BLAME, CLOSES_TO_DOUBT
from gateway.sinks.mqtt import MqttSink, MqttTarget
from gateway.sinks.packets import PublishOptions
from gateway.sinks.payload import Messages
from gateway.sinks.selection import Selection
from tests.gateway.broker import ScriptedBroker
from tests.gateway.fakes import FakeClock, MemoryLog, Uniform, frame, table

GUARD_S = 30.0
TELEMETRY = frozenset({RecordKind.TELEMETRY})
TABLE = table(("speed", Kind.FLOAT), ("pulses", Kind.FLOAT))
STORED = encode_table(TABLE)
DIGEST = table_digest(STORED)


class HastyClock(SystemClock):
    """Waits between attempts for nobody; deadlines are real."""

    async def sleep_until(self, when: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start()
    yield broker
    await broker.stop()


def encode(record: Record, _: bool = False) -> list[tuple[str, bytes]]:
    return [("topic", record.payload)]


def make(
    broker: ScriptedBroker,
    encode: Callable[[Record, bool], list[tuple[str, bytes]]] = encode,
    window: int = 100,
    version: int = 5,
    options: PublishOptions | None = None,
    clock: FakeClock | None = None,
    **target: object,
) -> MqttSink:
    options = options or PublishOptions()
    where = MqttTarget("127.0.0.1", broker.port, "g", version=version, options=options, **target)  # type: ignore[arg-type]
    return MqttSink("broker", where, encode, window=window, clock=clock or HastyClock())


def record(seq: int) -> Record:
    return Record(seq, RecordKind.TELEMETRY, str(seq).encode())


async def acknowledged(sink: MqttSink, count: int) -> list[int]:
    seqs: list[int] = []
    async with asyncio.timeout(GUARD_S):
        while len(seqs) < count:
            seqs += await sink.acknowledged()
            await asyncio.sleep(0)  # a rejection that nobody asked for yet makes acknowledged() return at once
    return seqs


@pytest.mark.parametrize("version", [4, 5])
async def test_at_qos_2_a_record_is_acknowledged_by_its_pubcomp(broker: ScriptedBroker, version: int) -> None:
    sink = make(broker, version=version, options=PublishOptions(qos=2))
    await sink.open()
    sink.send([record(1), record(2)])
    assert await acknowledged(sink, 2) == [1, 2]
    assert [publication.qos for publication in broker.publications] == [2, 2]
    assert broker.releases == [publication.mid for publication in broker.publications]
    await sink.close()


async def test_at_qos_2_a_pubrec_that_blames_the_record_rejects_it_and_is_not_released(broker: ScriptedBroker) -> None:
    broker.publish_codes[b"1"] = 0x99
    sink = make(broker, options=PublishOptions(qos=2))
    await sink.open()
    sink.send([record(1), record(2)])
    assert await acknowledged(sink, 1) == [2]
    assert [seq for seq, _ in sink.rejected()] == [1]
    assert len(broker.releases) == 1
    await sink.close()


@pytest.mark.parametrize(("most", "qos"), [(0, 1), (1, 2)])
async def test_a_broker_that_does_not_take_the_quality_of_service_is_refused(broker: ScriptedBroker, most: int, qos: int) -> None:
    broker.properties = bytes((0x24, most))
    with pytest.raises(SinkRefused, match=f"takes no QoS {qos}"):
        await make(broker, options=PublishOptions(qos=qos)).open()


async def test_a_broker_that_retains_nothing_is_refused_when_it_should(broker: ScriptedBroker) -> None:
    broker.properties = bytes((0x25, 0))
    with pytest.raises(SinkRefused, match="takes no retained messages"):
        await make(broker, options=PublishOptions(is_retained=True)).open()
    sink = make(broker)
    await sink.open()
    await sink.close()


async def test_properties_and_retain_are_on_every_message(broker: ScriptedBroker) -> None:
    sink = make(broker, options=PublishOptions(is_retained=True, expiry_s=7, content_type="j", user_properties=(("a", "b"),)))
    await sink.open()
    sink.send([record(1), record(2)])
    await acknowledged(sink, 2)
    expected = b"\x02\0\0\0\x07\x03\0\x01j\x26\0\x01a\0\x01b"
    assert [(p.flags & 1, p.properties) for p in broker.publications] == [(1, expected)] * 2
    await sink.close()


async def test_a_topic_alias_is_told_anew_on_each_connection_and_only_where_the_broker_takes_it(broker: ScriptedBroker) -> None:
    sink = make(broker, options=PublishOptions(topic_aliases=5))
    for properties, topics in ((b"\x22\0\x01", ["topic", ""]), (b"\x22\0\x01", ["topic", ""]), (b"", ["topic", "topic"])):
        broker.properties = properties
        broker.publications.clear()
        await sink.open()
        sink.send([record(1), record(2)])
        await acknowledged(sink, 2)
        assert [publication.topic for publication in broker.publications] == topics
    await sink.close()


async def test_records_are_joined_and_all_acknowledged_by_one_puback(broker: ScriptedBroker) -> None:
    sink = make(broker, batch_records=3, batch_s=0.0)
    await sink.open()
    assert sink.window == 300
    sink.send([record(seq) for seq in range(1, 8)])
    assert await acknowledged(sink, 7) == [1, 2, 3, 4, 5, 6, 7]
    assert [publication.payload for publication in broker.publications] == [b"[1,2,3]", b"[4,5,6]", b"[7]"]
    await sink.close()


async def test_a_record_waits_for_others_no_longer_than_it_may(broker: ScriptedBroker) -> None:
    clock = FakeClock()
    sink = make(broker, clock=clock, batch_records=100, batch_s=2.0)
    await sink.open()
    sink.send([record(1)])
    waiting = asyncio.ensure_future(sink.acknowledged())
    await clock.advance(1.9)
    assert not broker.publications
    await clock.advance(0.2)
    async with asyncio.timeout(GUARD_S):
        assert list(await waiting) == [1]
    await sink.close()


async def test_a_batch_on_which_one_record_is_refused_costs_that_record_alone(broker: ScriptedBroker) -> None:
    broker.publish_codes = {b"[1,2,3]": 0x99, b"[2]": 0x99}
    sink = make(broker, batch_records=3, batch_s=0.0)
    await sink.open()
    sink.send([record(seq) for seq in (1, 2, 3)])
    assert await acknowledged(sink, 2) == [1, 3]
    assert [seq for seq, _ in sink.rejected()] == [2]
    await sink.close()


async def test_more_messages_than_the_window_go_as_acknowledgements_come(broker: ScriptedBroker) -> None:
    def by_tag(one: Record, _: bool) -> list[tuple[str, bytes]]:
        return [(f"t/{tag}", one.payload) for tag in range(20)]

    broker.properties = bytes((0x21, 0, 3))
    broker.is_holding = True
    sink = make(broker, by_tag)
    await sink.open()
    sink.send([record(1), record(2)])
    async with asyncio.timeout(GUARD_S):
        await broker.wait_published(3)
    assert len(broker.held) == 3
    broker.release()
    assert await acknowledged(sink, 2) == [1, 2]
    assert [publication.topic for publication in broker.publications] == [f"t/{tag}" for tag in range(20)] * 2
    await sink.close()


async def test_a_secret_is_read_anew_at_each_connect(broker: ScriptedBroker, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    sink = make(broker, secret=lambda: read_secret(path))
    for token in ("first", "second"):
        path.write_text(token)
        await sink.open()
        assert broker.credentials == ("g", "", token)
    path.unlink()
    with pytest.raises(SinkRefused, match="No such file"):
        await sink.open()
    await sink.close()


async def test_a_broker_that_answers_garbage_is_unreachable(broker: ScriptedBroker) -> None:
    broker.garbage = b"\x40\x00"
    sink = make(broker)
    await sink.open()
    sink.send([record(1)])
    async with asyncio.timeout(GUARD_S):
        with pytest.raises(SinkUnreachable, match="speaks no MQTT"):
            await sink.acknowledged()
    await sink.close()


class Works:
    """An outbox with a forwarder for each of several sinks."""

    def __init__(self, *sinks: MqttSink) -> None:
        self.outbox = MemoryOutbox({sink.name: TELEMETRY for sink in sinks})
        self.log = MemoryLog()
        clock = HastyClock()
        self.forwarders = [
            Forwarder(self.outbox, sink, clock=clock, backoff=Backoff(Uniform(0.0)), log=self.log) for sink in sinks
        ]
        self.tasks = [asyncio.ensure_future(forwarder.run()) for forwarder in self.forwarders]

    async def produce(self, payloads: Sequence[bytes]) -> None:
        await self.outbox.append([Entry(RecordKind.TELEMETRY, payload, 1) for payload in payloads])

    async def drained(self, which: int = 0) -> None:
        async with asyncio.timeout(GUARD_S):
            await self.forwarders[which].drained()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.mark.parametrize("batch_records", [1, 4])
async def test_a_record_on_which_the_broker_keeps_closing_is_set_aside_and_all_others_arrive(
    broker: ScriptedBroker, batch_records: int
) -> None:
    broker.closes_on = b"13"
    broker.closes_when_it_holds = True
    works = Works(make(broker, window=10, batch_records=batch_records))
    await works.produce([b"%d" % seq for seq in range(1, 41)])
    await works.drained()
    await works.stop()
    arrived = {int(part) for p in broker.publications for part in p.payload.strip(b"[]").split(b",")}
    assert arrived == set(range(1, 41))
    assert works.forwarders[0].rejected == 1
    assert works.outbox.counts().dropped == {"broker closes": 1}
    assert works.outbox.counts().removed == 39
    (line,) = (line for line in works.log.lines if "set aside" in line)
    assert line.startswith("record 13 is set aside: broker closes: ")
    assert broker.connections >= CLOSES_TO_BLAME + CLOSES_TO_DOUBT


@pytest.mark.parametrize("ends", ["we close", "silence"])
async def test_a_connection_that_the_broker_did_not_end_blames_no_record(broker: ScriptedBroker, ends: str) -> None:
    broker.is_holding = True
    sink = make(broker, acknowledge_s=0.01 if ends == "silence" else 10.0)
    for _ in range(3 * CLOSES_TO_BLAME):
        await sink.open()
        sink.send([record(1)])
        if ends == "we close":
            sink._client._connection._transport.close()
        async with asyncio.timeout(GUARD_S):
            with pytest.raises(SinkUnreachable):
                await sink.acknowledged()
    assert list(sink.rejected()) == []
    assert sink.window == 100
    await sink.close()


async def test_a_dead_broker_beside_a_live_one_holds_nobody_back(broker: ScriptedBroker) -> None:
    dead = ScriptedBroker()
    await dead.start()
    await dead.stop()
    mute = ScriptedBroker(is_holding=True)
    await mute.start()
    live_sink, dead_sink, mute_sink = make(broker), make(dead), make(mute)
    dead_sink.name, mute_sink.name = "dead", "mute"
    works = Works(live_sink, dead_sink, mute_sink)
    await works.produce([b"%d" % seq for seq in range(1, 501)])
    await works.drained(0)
    assert [int(publication.payload) for publication in broker.publications] == list(range(1, 501))
    assert [works.outbox.cursor(name) for name in ("broker", "dead", "mute")] == [500, 0, 0]
    assert works.outbox.counts().stored == 500
    await dead.start()
    await works.drained(1)
    mute.release()
    await works.drained(2)
    await works.stop()
    assert works.outbox.counts().stored == 0
    await dead.stop()
    await mute.stop()


async def test_each_sink_gets_what_it_selects_and_the_rest_holds_nothing_back(broker: ScriptedBroker) -> None:
    other = ScriptedBroker()
    await other.start()
    notes = {table_key(DIGEST): STORED}
    chosen = Messages("w", "e", "a", notes.get, selection=Selection(tags=("pulses",)))
    nothing = Messages("w", "e", "b", notes.get, selection=Selection(devices=("pump",)))
    one, none = make(broker, chosen), make(other, nothing)
    none.name = "other"
    works = Works(one, none)
    await works.produce([encode_record(DIGEST, [frame([0, 1], [1.0, float(n)])]) for n in range(10)])
    for which in (0, 1):
        await works.drained(which)
    await works.stop()
    assert [json.loads(p.payload)["values"] for p in broker.publications] == [{"pulses": float(n)} for n in range(10)]
    assert not other.publications
    assert works.outbox.counts().removed == 10
    await other.stop()


async def test_a_great_backlog_is_on_its_way_a_window_at_a_time(broker: ScriptedBroker) -> None:
    """What is handed to the connection is bounded by the window, however much waits."""
    broker.is_holding = True
    payload = np.zeros(100_000, np.uint8).tobytes()
    works = Works(make(broker, window=20))
    await works.produce([payload] * 300)
    async with asyncio.timeout(GUARD_S):
        await broker.wait_published(20)
    assert works.forwarders[0].in_flight == 20
    assert len(broker.held) == 20
    broker.release()
    await works.drained()
    await works.stop()
    assert len(broker.publications) == 300
