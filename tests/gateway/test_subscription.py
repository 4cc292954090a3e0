"""The consumer's loop against real brokers, fed by the gateway's own sink, and the example of docs/mqtt.md."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.backoff import Backoff
from gateway.clock import SystemClock
from gateway.consumer import Gap, Reading
from gateway.forwarder import Forwarder
from gateway.log import Log
from gateway.outbox.base import Entry, RecordKind
from gateway.outbox.codec import encode_record, encode_table, table_digest, table_key
from gateway.outbox.memory import MemoryOutbox
from gateway.sinks.mqtt import MqttSink, MqttTarget
from gateway.sinks.packets import PublishOptions
from gateway.sinks.payload import Messages
from gateway.subscription import Subscription
from simulators.demo.brokers import embedded_broker
from tests.gateway.fakes import Uniform, frame, table
from tests.repo import tree
from tests.services import Mosquitto

TABLE = table(("speed", 0), ("pulses", 0))  # type: ignore[arg-type]
STORED = encode_table(TABLE)
GUARD_S = 30.0


async def deliver(url: str, count: int, topic: str = "mumian/{gateway}/{device}", version: int = 5, **target: object) -> None:
    """Records 1 to `count` through a forwarder and a sink, until all are acknowledged."""
    outbox = MemoryOutbox({"broker": frozenset({RecordKind.TELEMETRY})})
    records = [encode_record(table_digest(STORED), [frame([0, 1], [float(n), 0.5])]) for n in range(1, count + 1)]
    entries = [Entry(RecordKind.TELEMETRY, record, 2) for record in records]
    await outbox.append(entries, {table_key(table_digest(STORED)): STORED})
    host, port = url.removeprefix("mqtt://").split(":")
    where = MqttTarget(host, int(port), f"gateway-{outbox.epoch}", version=version, **target)  # type: ignore[arg-type]
    clock = SystemClock()
    sink = MqttSink("broker", where, Messages("works", outbox.epoch, topic, outbox.note), window=50, clock=clock)
    forwarder = Forwarder(outbox, sink, clock=clock, backoff=Backoff(Uniform(0.0)), log=Log("sink"))
    task = asyncio.ensure_future(forwarder.run())
    async with asyncio.timeout(GUARD_S):
        await forwarder.drained()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert outbox.counts().removed == count


class Listener:
    """Takes readings in a thread of its own until it has enough; `subscribed` is set once the broker has confirmed."""

    def __init__(self, url: str, enough: int) -> None:
        self.taken: list[Reading | Gap] = []
        self._subscription = Subscription(url, "mumian/#", "listener")
        self._enough = enough
        self.subscribed = threading.Event()
        self._subscription._client.on_subscribe = lambda *_: self.subscribed.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self.subscribed.wait(GUARD_S)

    def _run(self) -> None:
        with self._subscription as readings:
            for reading in readings:
                self.taken.append(reading)
                if len(self.taken) >= self._enough:
                    return

    def wait(self) -> list[tuple[str, float]]:
        self._thread.join(GUARD_S)
        ended = not self._thread.is_alive()
        self._subscription.close()
        self._thread.join(GUARD_S)
        assert ended, f"only {len(self.taken)} came"
        return [(one.tag, one.value) for one in self.taken if isinstance(one, Reading)]


def expected(count: int) -> list[tuple[str, float]]:
    return [pair for n in range(1, count + 1) for pair in (("speed", float(n)), ("pulses", 0.5))]


async def test_every_reading_comes_once_and_in_order_from_the_embedded_broker() -> None:
    with embedded_broker() as url:
        listener = Listener(url, 400)
        await deliver(url, 200)
        assert await asyncio.to_thread(listener.wait) == expected(200)


@pytest.mark.services
@pytest.mark.parametrize(
    "target",
    [
        {},
        {"version": 4},
        {"options": PublishOptions(qos=2)},
        {"options": PublishOptions(topic_aliases=8, content_type="application/json", expiry_s=60, is_marked_text=True)},
        {"batch_records": 7, "batch_s": 0.01},
        {"topic": "mumian/{gateway}/{device}/{tag}"},
        {"topic": "mumian/{gateway}/{device}/{tag}", "options": PublishOptions(topic_aliases=1), "batch_records": 3},
    ],
    ids=["plain", "3.1.1", "qos 2", "properties", "batches", "by tag", "by tag in batches"],
)
async def test_every_reading_comes_once_through_mosquitto_however_it_is_sent(
    mosquitto: Mosquitto, target: dict[str, object]
) -> None:
    listener = Listener(mosquitto.url, 400)
    await deliver(mosquitto.url, 200, **target)  # type: ignore[arg-type]
    found = await asyncio.to_thread(listener.wait)
    assert sorted(found) == sorted(expected(200))
    assert [value for tag, value in found if tag == "speed"] == [float(n) for n in range(1, 201)]


def test_a_broker_address_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="expected mqtt://host:port"):
        Subscription("http://127.0.0.1", "t", "c")


def test_a_broker_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match="refused"), Subscription("mqtt://127.0.0.1:9", "t", "c"):
        pass


async def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", tree.text(Path("docs/mqtt.md")), re.MULTILINE | re.DOTALL)
    with embedded_broker() as url:
        script = tmp_path / "example.py"
        script.write_text(code.replace("mqtt://127.0.0.1:1883", url) + "        break\n", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-u", str(script)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree.ROOT,
            env={"PYTHONPATH": str(tree.ROOT)},
        )
        try:
            while process.poll() is None:
                await deliver(url, 1)  # until it has subscribed and got one
            said = process.stdout.read() if process.stdout else ""
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0
    assert said.startswith("press speed 1.0 Good ")
