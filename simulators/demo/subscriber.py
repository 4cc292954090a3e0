"""The demo's witness: an independent MQTT client that writes down each message before it acknowledges it."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.sequence import Sequence

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, received_ns INTEGER NOT NULL, gateway TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
    device TEXT NOT NULL, payload TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_seq ON messages (gateway, epoch, seq);
"""
_SESSION_EXPIRY_S = 3600


class Subscriber:
    """Receives `topic` at QoS 1 with a session that outlives a broken connection, into an SQLite file.

    The file's `messages` table is what `mumian verify` reads as DELIVERED. Messages that aren't telemetry of ours are counted
    in `foreign` and not stored.
    """

    def __init__(self, path: Path, broker_url: str, topic: str, client_id: str) -> None:
        url = urlsplit(broker_url)
        if url.scheme != "mqtt" or url.hostname is None:
            raise ValueError(f"broker address {broker_url!r}: expected mqtt://host:port")
        self._host, self._port = url.hostname, url.port or 1883
        self._topic = topic
        self._path = path
        self._subscribed = threading.Event()
        self.received = 0
        self.repeated = 0
        self.foreign = 0
        self._seen: dict[tuple[str, str], Sequence] = {}
        self._database: sqlite3.Connection | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        if url.username:
            self._client.username_pw_set(url.username, url.password)
        self._client.reconnect_delay_set(min_delay=1, max_delay=2)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def start(self, timeout_s: float) -> None:
        """Connect, and return once the subscription is confirmed.

        Raises:
            OSError: nobody listens there.
            TimeoutError: no confirmation in time.
        """
        self._database = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_EXPIRY_S
        try:
            self._client.connect(self._host, self._port, keepalive=10, clean_start=False, properties=properties)
        except OSError as error:
            raise type(error)(error.errno, f"the broker at {self._host}:{self._port}: {error.strerror or error}") from error
        self._client.loop_start()
        self.wait_subscribed(timeout_s)

    def expect_subscription(self) -> None:
        """The broker will go, and with it what it knows of us: wait_subscribed() then waits for the next one's confirmation."""
        self._subscribed.clear()

    def wait_subscribed(self, timeout_s: float) -> None:
        """Return once a broker has confirmed the subscription.

        Raises:
            TimeoutError: no confirmation in time.
        """
        if not self._subscribed.wait(timeout_s):
            raise TimeoutError(f"the broker at {self._host}:{self._port} did not confirm the subscription")

    @property
    def connected(self) -> bool:
        """Whether the broker holds our connection. Once it no longer does, all that came over it has been written down."""
        return self._client.is_connected()

    def wait_quiet(self, quiet_s: float, timeout_s: float) -> None:
        """Return once nothing has come for `quiet_s`, or after `timeout_s`: the broker has passed on what it holds."""
        deadline = time.monotonic() + timeout_s
        before, since = self.received, time.monotonic()
        while time.monotonic() < min(deadline, since + quiet_s):
            time.sleep(0.05)
            if self.received != before:
                before, since = self.received, time.monotonic()

    def stop(self) -> None:
        """Disconnect and close the file. Safe twice."""
        self._client.disconnect()
        self._client.loop_stop()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed.set()

    def _on_message(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        received_ns = time.time_ns()
        self._store(received_ns, bytes(message.payload))
        client.ack(message.mid, message.qos)

    def _store(self, received_ns: int, payload: bytes) -> None:
        text = payload.decode("utf-8", "replace")
        try:
            body = json.loads(text)
            identity = (str(body["gateway"]), str(body["epoch"]), int(body["seq"]))
            device = str(body["device"])
            # What the file can't hold is not ours: half a surrogate pair, a number beyond 64 bits.
            "".join((*identity[:2], device)).encode()
            identity[2].to_bytes(8, "big", signed=True)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.foreign += 1
            return
        assert self._database is not None
        self._database.execute(
            "INSERT INTO messages (received_ns, gateway, epoch, seq, device, payload) VALUES (?, ?, ?, ?, ?, ?)",
            (received_ns, *identity, device, text),
        )
        self.received += 1
        self.repeated += not self._seen.setdefault(identity[:2], Sequence()).add(identity[2])
