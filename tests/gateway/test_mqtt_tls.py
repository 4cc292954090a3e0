"""MQTT over TLS: whom the sink trusts, what it shows, and which name it expects."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.outbox.base import Record, RecordKind
from gateway.secret import SecretUnusable
from gateway.sinks.base import SinkRefused, SinkUnreachable
from gateway.sinks.mqtt import MqttSink, MqttTarget
from gateway.sinks.tls import client_context
from tests.drivers.certificates import Authority, Issued, server_context
from tests.gateway.broker import ScriptedBroker

GUARD_S = 20.0


@dataclass
class Secured:
    """A broker with a certificate, and both authorities."""

    broker: ScriptedBroker
    servers: Authority
    clients: Authority
    ours: Issued

    def sink(self, context: ssl.SSLContext) -> MqttSink:
        target = MqttTarget("127.0.0.1", self.broker.port, "g", tls=context)
        return MqttSink("broker", target, lambda record, _: [("t", record.payload)], window=10, clock=SystemClock())

    async def deliver(self, context: ssl.SSLContext) -> None:
        """Publish a record and have it acknowledged."""
        sink = self.sink(context)
        await sink.open()
        sink.send([Record(1, RecordKind.TELEMETRY, b"x" * 50_000)])
        async with asyncio.timeout(GUARD_S):
            assert list(await sink.acknowledged()) == [1]
        await sink.close()

    async def refused(self, context: ssl.SSLContext, error: type[Exception], text: str) -> None:
        sink = self.sink(context)
        with pytest.raises(error, match=text):
            await sink.open()
        await sink.close()


async def secured(tmp_path: Path, host: str, asks: bool) -> Secured:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    context = server_context(servers.issue("broker", host=host), clients)
    context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    broker = ScriptedBroker(tls=context)
    await broker.start()
    return Secured(broker, servers, clients, clients.issue("gateway"))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Secured]:
    made = await secured(tmp_path, "127.0.0.1", asks=True)
    yield made
    await made.broker.stop()


async def test_both_sides_show_a_certificate(here: Secured) -> None:
    await here.deliver(client_context(here.servers.certificate, here.ours.certificate, here.ours.key, None))


async def test_a_broker_that_asks_for_a_certificate_and_gets_none_is_no_broker_for_us(here: Secured) -> None:
    await here.refused(client_context(here.servers.certificate, None, None, None), SinkUnreachable, "broker 127")


async def test_a_broker_of_another_authority_is_refused(here: Secured) -> None:
    context = client_context(here.clients.certificate, here.ours.certificate, here.ours.key, None)
    await here.refused(context, SinkRefused, "is not trusted")


async def test_a_broker_may_bear_another_name_than_its_address(tmp_path: Path) -> None:
    made = await secured(tmp_path, "192.0.2.7", asks=False)
    await made.refused(client_context(made.servers.certificate, None, None, None), SinkRefused, "is not trusted")
    await made.deliver(client_context(made.servers.certificate, None, None, "192.0.2.7"))
    await made.broker.stop()


def test_files_that_are_no_certificates_are_told_by_name(tmp_path: Path) -> None:
    nonsense, secret = tmp_path / "nonsense.pem", tmp_path / "key.pem"
    nonsense.write_text("nonsense")
    secret.touch(mode=0o600)
    secret.write_text("nonsense")
    with pytest.raises(SecretUnusable, match=r"nonsense\.pem: no usable certificates"):
        client_context(nonsense, None, None, None)
    with pytest.raises(SecretUnusable, match=r"nonsense\.pem, .*key\.pem: no usable certificate"):
        client_context(None, nonsense, secret, None)
    with pytest.raises(SecretUnusable, match=r"absent\.pem"):
        client_context(None, nonsense, tmp_path / "absent.pem", None)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "clients").issue("gateway")
    ours.key.chmod(0o644)
    with pytest.raises(SecretUnusable, match="others may read it"):
        client_context(None, ours.certificate, ours.key, None)
