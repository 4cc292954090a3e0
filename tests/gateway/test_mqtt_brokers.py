"""The forwarder and the MQTT sink against real brokers, watched by an independent client."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from drivers.model import Kind
from gateway.backoff import Backoff
from gateway.clock import SystemClock
from gateway.forwarder import Forwarder
from gateway.log import Log
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.outbox.memory import MemoryOutbox
from gateway.sinks.mqtt import MqttSink, MqttTarget
from gateway.sinks.payload import Messages
from simulators.demo.brokers import embedded_broker
from simulators.demo.subscriber import Subscriber
from tests.gateway.fakes import Uniform, frame, table
from tests.services import Mosquitto

TABLE = table(("speed", Kind.FLOAT))
STORED = encode_table(TABLE)
DIGEST = table_digest(STORED)
GUARD_S = 50.0


@contextmanager
def subscribed(path: Path, url: str) -> Iterator[Subscriber]:
    subscriber = Subscriber(path, url, "mumian/#", f"witness-{path.name}")
    subscriber.start(20)
    try:
        yield subscriber
    finally:
        subscriber.stop()


class Works:
    """An outbox that is filled and forwarded to a broker."""

    def __init__(self, url: str, version: int) -> None:
        self.outbox = MemoryOutbox({"broker": frozenset({RecordKind.TELEMETRY})})
        host, port = url.removeprefix("mqtt://").split(":")
        messages = Messages("works", self.outbox.epoch, "mumian/{gateway}/{device}", self.outbox.note)
        target = MqttTarget(host, int(port), "gateway-1", version=version)
        self.clock = SystemClock()
        sink = MqttSink("broker", target, messages, window=50, clock=self.clock)
        self.forwarder = Forwarder(self.outbox, sink, clock=self.clock, backoff=Backoff(Uniform(0.0)), log=Log("sink"))
        self.task = asyncio.ensure_future(self.forwarder.run())

    async def produce(self, count: int) -> None:
        for _ in range(count):
            record = encode_record(DIGEST, [frame([0], [1.5])])
            await self.outbox.append([Entry(RecordKind.TELEMETRY, record, 1)], {table_key(DIGEST): STORED})

    async def drained(self) -> None:
        async with asyncio.timeout(GUARD_S):
            await self.forwarder.drained()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def delivered(path: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(path)) as database:
        return [(seq, payload) for seq, payload in database.execute("SELECT seq, payload FROM messages ORDER BY id")]


async def received(subscriber: Subscriber, count: int) -> None:
    """Return once the witness has so many messages, and nothing more comes; it may have to connect again first."""
    async with asyncio.timeout(GUARD_S):
        while subscriber.received < count:
            await asyncio.to_thread(subscriber.wait_quiet, 0.2, 5)
    await asyncio.to_thread(subscriber.wait_quiet, 0.2, 5)


async def test_everything_arrives_once_and_in_order_at_the_embedded_broker(tmp_path: Path) -> None:
    path = tmp_path / "delivered.db"
    with embedded_broker() as url, subscribed(path, url) as subscriber:
        works = Works(url, 5)
        await works.produce(300)
        await works.drained()
        await works.stop()
        await received(subscriber, 300)
    assert [seq for seq, _ in delivered(path)] == list(range(1, 301))
    assert json.loads(delivered(path)[0][1])["values"] == {"speed": 1.5}


@pytest.mark.services
@pytest.mark.parametrize("version", [5, 4])
async def test_everything_arrives_once_and_in_order_at_mosquitto(mosquitto: Mosquitto, tmp_path: Path, version: int) -> None:
    path = tmp_path / "delivered.db"
    with subscribed(path, mosquitto.url) as subscriber:
        works = Works(mosquitto.url, version)
        await works.produce(300)
        await works.drained()
        await works.stop()
        await received(subscriber, 300)
    assert [seq for seq, _ in delivered(path)] == list(range(1, 301))


@pytest.mark.services
async def test_a_broker_that_is_restarted_in_mid_run_costs_repeats_and_no_message(mosquitto: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "delivered.db"
    with subscribed(path, mosquitto.url) as subscriber:
        works = Works(mosquitto.url, 5)
        producing = asyncio.ensure_future(works.produce(2000))
        async with asyncio.timeout(GUARD_S):
            await works.outbox.wait(500, frozenset({RecordKind.TELEMETRY}))
        await asyncio.to_thread(mosquitto.restart)
        await producing
        await works.produce(100)
        await works.drained()
        await works.stop()
        await received(subscriber, 2100)
    payloads: dict[int, set[str]] = {}
    for seq, payload in delivered(path):
        payloads.setdefault(seq, set()).add(payload)
    assert sorted(payloads) == list(range(1, 2101))
    assert all(len(same) == 1 for same in payloads.values())


@pytest.mark.services
async def test_a_broker_that_is_killed_and_comes_back_gets_all_that_it_had_not_acknowledged(mosquitto: Mosquitto) -> None:
    works = Works(mosquitto.url, 5)
    await works.produce(200)
    await asyncio.to_thread(mosquitto.kill)
    await works.produce(200)
    acknowledged_before = works.forwarder.acknowledged
    assert works.outbox.counts().stored == 400 - works.outbox.counts().removed
    await asyncio.to_thread(mosquitto.start)
    await works.drained()
    await works.stop()
    assert works.forwarder.acknowledged >= 400 >= acknowledged_before
    assert works.outbox.counts().removed == 400
