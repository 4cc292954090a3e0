"""The demo's witness against a real broker."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from simulators.demo.brokers import embedded_broker
from simulators.demo.subscriber import Subscriber


@pytest.fixture
def broker() -> Iterator[str]:
    with embedded_broker() as url:
        yield url


def publish(url: str, payloads: list[bytes]) -> None:
    """Publish at QoS 1 and wait for each acknowledgement."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", int(url.rsplit(":", 1)[1]))
    client.loop_start()
    for payload in payloads:
        client.publish("mumian/hall-1/press", payload, qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def message(seq: int) -> bytes:
    return json.dumps({"gateway": "hall-1", "epoch": "e", "seq": seq, "device": "press", "t": 1, "values": {}}).encode()


def test_it_writes_down_each_message_and_counts_repeats_and_strangers(broker: str, tmp_path: Path) -> None:
    subscriber = Subscriber(tmp_path / "delivered.db", broker, "mumian/hall-1/#", "witness")
    subscriber.start(10)
    publish(broker, [message(1), message(2), message(1), b"not ours", b'{"gateway": 1}'])
    wait_until(lambda: subscriber.received + subscriber.foreign == 5)
    connected = [subscriber.connected]
    subscriber.stop()
    connected.append(subscriber.connected)
    assert connected == [True, False]
    subscriber.stop()
    assert (subscriber.received, subscriber.repeated, subscriber.foreign) == (3, 1, 2)
    with closing(sqlite3.connect(tmp_path / "delivered.db")) as database:
        assert database.execute("SELECT gateway, epoch, seq, device FROM messages ORDER BY id").fetchall() == [
            ("hall-1", "e", 1, "press"),
            ("hall-1", "e", 2, "press"),
            ("hall-1", "e", 1, "press"),
        ]


@pytest.mark.parametrize(
    ("old", "new"),
    [(b": 7", b": 1e999"), (b": 7", b": 9223372036854775808"), (b'"hall-1"', b'"\\ud800"'), (b"{}", b"[" * 100_000)],
    ids=["infinite", "beyond 64 bits", "half a surrogate pair", "nested"],
)
def test_a_message_that_no_file_can_hold_is_a_strangers(old: bytes, new: bytes, tmp_path: Path) -> None:
    subscriber = Subscriber(tmp_path / "delivered.db", "mqtt://127.0.0.1:9", "mumian/#", "witness")
    assert message(7).count(old) == 1
    subscriber._store(1, message(7).replace(old, new))
    assert (subscriber.received, subscriber.foreign) == (0, 1)


def test_a_broker_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    subscriber = Subscriber(tmp_path / "delivered.db", "mqtt://127.0.0.1:9", "mumian/#", "witness")
    with pytest.raises(ConnectionRefusedError, match=r"the broker at 127\.0\.0\.1:9: Connection refused"):
        subscriber.start(5)
    subscriber.stop()


@pytest.mark.parametrize("address", ["http://127.0.0.1:1883", "127.0.0.1:1883", "mqtt://"])
def test_a_broker_address_of_another_form_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected mqtt://host:port"):
        Subscriber(tmp_path / "delivered.db", address, "mumian/#", "witness")


def wait_until(condition: object) -> None:
    """Poll a condition that another thread brings about, for ten seconds at most."""
    assert callable(condition)
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about in time")
