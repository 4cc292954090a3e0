"""The sink contract, on the memory sink, the MQTT sink and the EPCIS sink."""

from __future__ import annotations

import asyncio

import httpx
import msgspec

from gateway.clock import SystemClock
from gateway.outbox.base import Record, RecordKind
from gateway.sinks.base import Sink, SinkRefused, SinkUnreachable
from gateway.sinks.epcis import EpcisSink
from gateway.sinks.mqtt import MqttSink, MqttTarget
from tests.contracts.sink_contract import OtherSide, SinkContract
from tests.gateway.broker import ScriptedBroker
from tests.gateway.fakes import MemorySink, settle


class MemorySide:
    """The other side of a MemorySink."""

    def __init__(self, sink: MemorySink) -> None:
        self._sink = sink

    def received(self) -> list[int]:
        return [record.seq for record in self._sink.sent]

    async def wait_received(self, count: int) -> None:
        assert len(self._sink.sent) >= count

    def hold(self) -> None:
        self._sink.acknowledges_itself = False

    def release(self) -> None:
        self._sink.acknowledges_itself = True
        self._sink.acknowledge(*list(self._sink.in_flight))

    def refuse_record(self, seq: int) -> None:
        self._sink.reject[seq] = "malformed: scripted"

    def refuse_us(self) -> None:
        self._sink.open_answers.append(SinkRefused("scripted"))

    async def go_away(self) -> None:
        self._sink.open_answers.append(SinkUnreachable("scripted"))
        self._sink.fail(SinkUnreachable("scripted"))

    async def come_back(self) -> None:
        self._sink.open_answers.clear()

    async def close(self) -> None:
        await settle()


class TestMemorySink(SinkContract):
    async def make(self) -> tuple[Sink, OtherSide]:
        sink = MemorySink()
        return sink, MemorySide(sink)

    def record(self, seq: int) -> Record:
        return Record(seq, RecordKind.TELEMETRY, b"")


class BrokerSide:
    """A broker on the other side; payloads are the seqs."""

    def __init__(self, broker: ScriptedBroker) -> None:
        self._broker = broker

    def received(self) -> list[int]:
        return [int(publication.payload) for publication in self._broker.publications]

    async def wait_received(self, count: int) -> None:
        await self._broker.wait_published(count)

    def hold(self) -> None:
        self._broker.is_holding = True

    def release(self) -> None:
        self._broker.release()

    def refuse_record(self, seq: int) -> None:
        self._broker.publish_codes[str(seq).encode()] = 0x99

    def refuse_us(self) -> None:
        self._broker.connect_code = 0x87

    async def go_away(self) -> None:
        await self._broker.stop()

    async def come_back(self) -> None:
        await self._broker.start()

    async def close(self) -> None:
        await self._broker.stop()


class TestMqttSink(SinkContract):
    async def make(self) -> tuple[Sink, OtherSide]:
        broker = ScriptedBroker()
        await broker.start()
        target = MqttTarget("127.0.0.1", broker.port, "tester")
        sink = MqttSink("broker", target, lambda record, _: [("t", record.payload)], window=10, clock=SystemClock())
        return sink, BrokerSide(broker)

    def record(self, seq: int) -> Record:
        return Record(seq, RecordKind.TELEMETRY, str(seq).encode())


class NodeSide:
    """A node behind an HTTP transport of our own."""

    def __init__(self) -> None:
        self._received: list[int] = []
        self._refused: set[int] = set()
        self._refuses_us = False
        self._is_away = False
        self._free = asyncio.Event()
        self._free.set()
        self._changed = asyncio.Condition()

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if self._is_away:
            raise httpx.ConnectError("nobody there", request=request)
        if request.method == "OPTIONS":
            return httpx.Response(405)
        document = msgspec.json.decode(await request.aread())
        (event,) = document["epcisBody"]["eventList"]
        async with self._changed:
            self._received.append(event["n"])
            self._changed.notify_all()
        await self._free.wait()
        if self._is_away:
            raise httpx.ReadError("broken", request=request)
        if self._refuses_us:
            return httpx.Response(401, json={"title": "who are you"})
        if event["n"] in self._refused:
            return httpx.Response(400, json={"detail": "no such step"})
        return httpx.Response(202)

    def received(self) -> list[int]:
        return self._received

    async def wait_received(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._received) >= count)

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def refuse_record(self, seq: int) -> None:
        self._refused.add(seq)

    def refuse_us(self) -> None:
        self._refuses_us = True

    async def go_away(self) -> None:
        self._is_away = True
        self._free.set()

    async def come_back(self) -> None:
        self._is_away = False

    async def close(self) -> None:
        await settle()


class TestEpcisSink(SinkContract):
    async def make(self) -> tuple[Sink, OtherSide]:
        node = NodeSide()
        transport = httpx.MockTransport(node.answer)
        return EpcisSink("node", "http://node", "secret", window=8, clock=SystemClock(), transport=transport), node

    def record(self, seq: int) -> Record:
        event = {"type": "ObjectEvent", "eventTime": "2026-01-01T00:00:00.000Z", "n": seq}
        return Record(seq, RecordKind.PRODUCT, msgspec.json.encode(event))
