"""Readings from a broker, each once, as a loop: gateway/consumer.py fed by paho-mqtt, a client of its own kind.

A message is acknowledged to the broker when all its readings have been taken, and the session outlives a broken connection: what
was being worked on when the program died comes again.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.consumer import Consumer, Gap, Reading

SESSION_S = 3600
UNACKNOWLEDGED = 100
"""Most messages that the broker sends ahead."""
_LOOK_S = 1.0


class Subscription:
    """Iterate over it; leave the `with` block, or call close() from another thread, to end."""

    def __init__(
        self,
        url: str,
        topic: str,
        client_id: str,
        *,
        username: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        settle_s: float | None = None,
    ) -> None:
        """`url`: mqtt://host:port or mqtts://. `settle_s`: also yield a Gap for seqs that stay away for so long.

        Raises:
            ValueError: the url has another form.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or parts.hostname is None:
            raise ValueError(f"broker address {url!r}: expected mqtt://host:port or mqtts://host:port")
        self.consumer = Consumer()
        self._where = (parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883))
        self._topic = topic
        self._settle_s = settle_s
        self._arrived: queue.SimpleQueue[mqtt.MQTTMessage | None] = queue.SimpleQueue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        if parts.scheme == "mqtts":
            self._client.tls_set(ca_certs=None if ca_file is None else str(ca_file))
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            OSError: nobody listens there.
        """
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_S
        properties.ReceiveMaximum = UNACKNOWLEDGED
        self._client.connect(*self._where, keepalive=30, clean_start=False, properties=properties)
        self._client.loop_start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Reading | Gap]:
        """Readings and gaps as they come, until close()."""
        while True:
            try:
                message = self._arrived.get(timeout=_LOOK_S)
            except queue.Empty:
                message = None
            else:
                if message is None:
                    return
                yield from self.consumer.feed(bytes(message.payload), time.monotonic())
                self._client.ack(message.mid, message.qos)
            if self._settle_s is not None:
                yield from self.consumer.missing(time.monotonic(), self._settle_s)

    def close(self) -> None:
        """Disconnect and end the iteration. Safe twice."""
        self._client.disconnect()
        self._client.loop_stop()
        self._arrived.put(None)

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        self._arrived.put(message)
