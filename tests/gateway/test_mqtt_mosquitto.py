"""The sink against mosquitto set up as plants set it up, and as they shouldn't."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.model import Kind
from gateway.backoff import Backoff
from gateway.clock import SystemClock
from gateway.forwarder import Forwarder, SinkState
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.outbox.memory import MemoryOutbox
from gateway.sinks.mqtt import MqttSink, MqttTarget
from gateway.sinks.packets import PublishOptions
from gateway.sinks.payload import Messages
from gateway.sinks.tls import client_context
from tests.drivers.certificates import Authority
from tests.gateway.fakes import MemoryLog, Uniform, frame, table
from tests.services import Mosquitto, free_port, require_service

GUARD_S = 30.0
TABLE = table(("speed", Kind.FLOAT), ("label", Kind.TEXT))
STORED = encode_table(TABLE)
DIGEST = table_digest(STORED)
TELEMETRY = frozenset({RecordKind.TELEMETRY})
pytestmark = pytest.mark.services


class HastyClock(SystemClock):
    """Waits between attempts for nobody; deadlines are real."""

    async def sleep_until(self, when: float) -> None:
        await asyncio.sleep(0)


@contextmanager
def broker_with(folder: Path, *lines: str) -> Iterator[Mosquitto]:
    """Mosquitto with these lines more in its configuration."""
    broker = Mosquitto(folder, free_port(), persistence=False)
    with broker._config.open("a", encoding="utf-8") as config:
        config.write("\n".join(lines) + "\n")
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Works:
    """An outbox of labels and its way to a broker."""

    def __init__(self, broker: Mosquitto, labels: Sequence[str], window: int = 10, **target: object) -> None:
        self.outbox = MemoryOutbox({"broker": TELEMETRY})
        self.log = MemoryLog()
        self._labels = labels
        where = MqttTarget("127.0.0.1", broker.port, "gateway", **target)  # type: ignore[arg-type]
        messages = Messages("works", self.outbox.epoch, "t/{device}", self.outbox.note)
        clock = HastyClock()
        sink = MqttSink("broker", where, messages, window=window, clock=clock)
        self.forwarder = Forwarder(self.outbox, sink, clock=clock, backoff=Backoff(Uniform(0.0)), log=self.log)

    async def __aenter__(self) -> Works:
        records = [encode_record(DIGEST, [frame([0], [1.5]), frame([1], [label], dtype=object)]) for label in self._labels]
        await self.outbox.append([Entry(RecordKind.TELEMETRY, one, 2) for one in records], {table_key(DIGEST): STORED})
        self._task = asyncio.ensure_future(self.forwarder.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def drained(self) -> None:
        async with asyncio.timeout(GUARD_S):
            await self.forwarder.drained()

    async def refused(self) -> str:
        """Return once the broker has refused, with why."""
        async with asyncio.timeout(GUARD_S):
            while self.forwarder.state is not SinkState.REFUSED:  # noqa: ASYNC110 -- it has no event for it
                await asyncio.sleep(0)
        return self.forwarder.trouble or ""


def password_lines(folder: Path) -> list[str]:
    """A broker that knows `press` with the password `secret` and nobody else."""
    passwords = folder / "passwords"
    subprocess.run([require_service("mosquitto_passwd"), "-b", "-c", passwords, "press", "secret"], check=True)
    return [f"password_file {passwords}", "allow_anonymous false"]


async def test_a_packet_over_the_size_of_a_broker_that_only_closes_is_set_aside_and_all_others_arrive(tmp_path: Path) -> None:
    """MQTT 3.1.1 has no word for it: mosquitto closes the connection."""
    with broker_with(tmp_path, "max_packet_size 2000") as broker:
        labels = ["x" * 5000 if n == 17 else "short" for n in range(1, 41)]
        async with Works(broker, labels, version=4) as works:
            await works.drained()
        assert works.outbox.counts().dropped == {"broker closes": 1}
        assert works.outbox.counts().removed == 39
        assert any(line.startswith("record 17 is set aside: ") for line in works.log.lines)


async def test_a_broker_of_mqtt_5_says_its_size_and_nothing_is_tried_in_vain(tmp_path: Path) -> None:
    with broker_with(tmp_path, "max_packet_size 2000") as broker:
        labels = ["x" * 5000 if n == 17 else "short" for n in range(1, 41)]
        async with Works(broker, labels, batch_records=5, batch_s=0.01) as works:
            await works.drained()
        assert works.outbox.counts().dropped == {"too large": 1}
        assert works.outbox.counts().removed == 39


async def test_name_and_password_are_checked_by_a_real_broker(tmp_path: Path) -> None:
    with broker_with(tmp_path, *password_lines(tmp_path)) as broker:
        async with Works(broker, ["a"], username="press", secret=lambda: "wrong") as works:
            assert "ot authori" in await works.refused()
        assert works.outbox.counts().stored == 1
        async with Works(broker, ["a"], username="press", secret=lambda: "secret") as works:
            await works.drained()


@pytest.mark.parametrize("version", [4, 5])
async def test_both_sides_show_a_certificate_to_a_real_broker(tmp_path: Path, version: int) -> None:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    theirs, ours = servers.issue("broker", host="127.0.0.1"), clients.issue("gateway")
    lines = [f"cafile {clients.certificate}", f"certfile {theirs.certificate}", f"keyfile {theirs.key}"]
    with broker_with(tmp_path, *lines, "require_certificate true") as broker:
        context = client_context(servers.certificate, ours.certificate, ours.key, None)
        async with Works(broker, ["x" * 20_000] * 200, version=version, tls=context) as works:
            await works.drained()
        assert works.outbox.counts().removed == 200


async def test_a_retained_message_with_properties_is_what_a_late_subscriber_gets(tmp_path: Path) -> None:
    with broker_with(tmp_path) as broker:
        options = PublishOptions(is_retained=True, expiry_s=60, content_type="application/json", user_properties=(("a", "b"),))
        async with Works(broker, ["first", "last"], options=options) as works:
            await works.drained()
        subscribe = [
            require_service("mosquitto_sub"),
            "-p",
            str(broker.port),
            "-V",
            "5",
            "-C",
            "1",
            "-t",
            "t/#",
            "-F",
            "%C %P %r %p",
        ]
        done = await asyncio.to_thread(subprocess.run, subscribe, capture_output=True, text=True, timeout=GUARD_S, check=True)
        content_type, user, retained, payload = done.stdout.strip().split(" ", 3)
        assert (content_type, user, retained) == ("application/json", "a:b", "1")
        assert json.loads(payload)["values"]["label"] == "last"
