"""An MQTT client for comparing brokers: paho-mqtt, with everything to be waited for rather than called back."""

# ruff: noqa: ARG002  (callbacks have their signatures from paho)
from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_PATIENCE_S = 5.0


class Probe:
    """A client connected to a port of 127.0.0.1 for as long as the context lasts; by default with a persistent session."""

    def __init__(
        self,
        client_id: str,
        protocol: int,
        port: int,
        *,
        clean: bool = False,
        acknowledge: bool = True,
        window: int = 20,
        receive_maximum: int = 100,
        expiry_s: int = 600,
    ) -> None:
        version = MQTTProtocolVersion(protocol)
        five = version is MQTTProtocolVersion.MQTTv5
        session = None if five else clean
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, session, protocol=version, manual_ack=not acknowledge)
        self._client.max_inflight_messages_set(window)
        self._port, self._clean, self._five = port, clean, five
        self._limits = (receive_maximum, expiry_s)
        self._changed = threading.Condition()
        self._connected: mqtt.ConnectFlags | None = None
        self._refused = ""
        self._granted = 0
        self._taken = 0
        self._messages: list[mqtt.MQTTMessage] = []
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish

    @property
    def session_present(self) -> bool:
        """Whether the broker said that it knew the session."""
        return bool(self._connected and self._connected.session_present)

    def __enter__(self) -> Self:
        if self._five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.ReceiveMaximum, properties.SessionExpiryInterval = self._limits
            self._client.connect("127.0.0.1", self._port, clean_start=self._clean, properties=properties)
        else:
            self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._refused, _PATIENCE_S)
        if self._connected is None:
            self._client.loop_stop()
            raise ConnectionError(self._refused or "no CONNACK")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, topic: str) -> None:
        """Subscribe with QoS 1 and wait for the grant."""
        self._client.subscribe(topic, 1)
        with self._changed:
            if not self._changed.wait_for(lambda: self._granted, _PATIENCE_S):
                raise ConnectionError("no SUBACK")

    def publish(self, topic: str, payloads: Sequence[bytes], patience_s: float, *, retain: bool = False) -> int:
        """Publish with QoS 1; returns how many the broker acknowledged."""
        for payload in payloads:
            self._client.publish(topic, payload, qos=1, retain=retain)
        with self._changed:
            self._changed.wait_for(lambda: self._taken >= len(payloads), patience_s)
            return self._taken

    def wait_messages(self, count: int, patience_s: float) -> list[mqtt.MQTTMessage]:
        """What has come once there are `count`, or after that long."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._messages) >= count, patience_s)
            return list(self._messages)

    def _on_connect(self, client: object, data: object, flags: mqtt.ConnectFlags, reason: object, properties: object) -> None:
        with self._changed:
            if getattr(reason, "is_failure", False):
                self._refused = str(reason)
            else:
                self._connected = flags
            self._changed.notify_all()

    def _on_message(self, client: object, data: object, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def _on_subscribe(self, client: object, data: object, mid: int, reasons: object, properties: object) -> None:
        with self._changed:
            self._granted += 1
            self._changed.notify_all()

    def _on_publish(self, client: object, data: object, mid: int, reason: object, properties: object) -> None:
        with self._changed:
            self._taken += 1
            self._changed.notify_all()
