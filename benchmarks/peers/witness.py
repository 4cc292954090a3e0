"""The subscriber: an independent client with a session that outlives a killed broker; keeps what comes and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Witness:
    """Subscribes for as long as the context lasts."""

    def __init__(self, port: int, topics: Sequence[str]) -> None:
        self.messages: list[tuple[int, str, bytes]] = []
        """(received_ns, topic, payload)"""
        self._port = port
        self._topics = topics
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"witness-{time.time_ns():x}", protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)

    def __enter__(self) -> Self:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        properties.ReceiveMaximum = 65_535
        self._client.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
        self._client.loop_start()
        if not self._ready.wait(10):
            raise TimeoutError("the broker did not confirm the subscription")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_quiet(self, quiet_s: float, most_s: float) -> None:
        """Return once nothing has come for `quiet_s`, or after `most_s`."""
        deadline = time.monotonic() + most_s
        before, since = -1, time.monotonic()
        while time.monotonic() < min(deadline, since + quiet_s):
            if len(self.messages) != before:
                before, since = len(self.messages), time.monotonic()
            time.sleep(0.05)

    def _take(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self.messages.append((time.time_ns(), message.topic, bytes(message.payload)))
