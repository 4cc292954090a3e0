"""The MQTT sink: QoS 1, and a record is acknowledged by its PUBACK and by nothing else. The one file that knows the MQTT client.

The client's own reconnection and persistence are off: the forwarder owns the first, the outbox is the second. Each open() makes a
new client with a clean start; what was unacknowledged is sent again from the cursor.

Sources: MQTT 5.0 (OASIS, 2019) 3.2.2 (CONNACK), 3.4.2.1 (PUBACK reason codes), 4.9 (flow control, Receive Maximum); MQTT 3.1.1.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gmqtt
from gmqtt.mqtt.handler import MQTTConnectError

from gateway.clock import Clock
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import RecordDamaged, RecordUnknown
from gateway.sinks.base import SinkError, SinkRefused, SinkUnreachable

CONNECT_S = 10.0
CLOSE_S = 1.0
_NO_RECONNECT = -2
"""gmqtt compares its count of failures with it; -1 would mean for ever."""
_HEADER_BYTES = 16
"""Fixed header, topic length, packet identifier and property length of a PUBLISH, rounded up."""
_FAILURE = 0x80

_CONNACK_RETRY = frozenset({3, 0x80, 0x83, 0x88, 0x89, 0x97, 0x9F})
"""CONNACK codes that time may mend: unavailable, unspecified, implementation, busy, quota, rate."""
_RECORD_REFUSED: Mapping[int, str] = {0x90: "topic name invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
"""Reason codes that mean this very record."""
_WE_ARE_REFUSED: Mapping[int, str] = {0x87: "not authorized", 0x8E: "another client took over our client_id", 0x9B: "no QoS 1"}
"""Reason codes that a person must act upon."""


@dataclass(frozen=True, slots=True)
class MqttTarget:
    """Where to publish, and as whom."""

    host: str
    port: int
    client_id: str
    version: int = 5
    """Protocol version: 5, or 4 for MQTT 3.1.1."""
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 30
    acknowledge_s: float = 10.0
    """A broker that acknowledges nothing for so long, while records wait for it, is given up."""


class _InFlight:
    """Which packet identifier is which record. gmqtt takes it for its persistence: push at PUBLISH, remove at PUBACK."""

    def __init__(self, acknowledged: Callable[[int], None]) -> None:
        self.seq = 0
        """Of the record that is being published."""
        self.seqs: dict[int, int] = {}
        self._acknowledged = acknowledged

    def push_message(self, mid: int, _packet: bytes) -> None:
        self.seqs[mid] = self.seq

    def remove_message_by_mid(self, mid: int) -> None:
        seq = self.seqs.pop(mid, None)
        if seq is not None:
            self._acknowledged(seq)

    @property
    def is_empty(self) -> bool:
        return True

    async def wait_empty(self) -> None:
        return

    def get_all(self) -> list[tuple[int, bytes]]:
        return []

    def clear(self) -> None:
        return


class MqttSink:
    """The Sink contract over MQTT 5 or 3.1.1."""

    kinds = frozenset({RecordKind.TELEMETRY})

    def __init__(
        self,
        name: str,
        target: MqttTarget,
        encode: Callable[[Record], list[tuple[str, bytes]]],
        *,
        window: int,
        clock: Clock,
    ) -> None:
        """`encode`: topics and payloads of a record; raises RecordDamaged or RecordUnknown for one that it can't read."""
        self.name = name
        self.window = window
        self._wanted_window = window
        self._target = target
        self._encode = encode
        self._clock = clock
        self._client: Any = None
        self._in_flight = _InFlight(self._take_acknowledgement)
        self._acknowledged: list[int] = []
        self._rejected: list[tuple[int, str]] = []
        self._failure: SinkError | None = SinkUnreachable("not connected")
        self._changed = asyncio.Event()
        self._progress_at = 0.0
        self._largest_bytes: int | None = None

    async def open(self) -> None:
        await self.close()
        self._failure = None
        self._in_flight = _InFlight(self._take_acknowledgement)
        target = self._target
        client = gmqtt.Client(target.client_id, clean_session=True, persistent_storage=self._in_flight)
        client.set_config({"reconnect_retries": _NO_RECONNECT})
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        if target.username is not None:
            client.set_auth_credentials(target.username, target.password)
        _watch_refusals(client, self._take_refusal)
        self._client = client
        try:
            async with self._clock.timeout_at(self._clock.monotonic() + CONNECT_S):
                await self._connect(client)
        except TimeoutError:
            await self._fail(SinkUnreachable(f"{self._where} did not answer within {CONNECT_S:g} s"))
        except ssl.SSLCertVerificationError as error:
            await self._fail(SinkRefused(f"the certificate of {self._where} is not trusted: {error.verify_message}"))
        except OSError as error:
            await self._fail(SinkUnreachable(f"{self._where}: {error}"))
        except MQTTConnectError as error:
            code = error._code
            kind = SinkUnreachable if code in _CONNACK_RETRY else SinkRefused
            await self._fail(kind(f"{self._where}: {error.message} (code {code})"))
        if (failure := self._lost) is not None:
            await self._fail(failure)
        self._progress_at = self._clock.monotonic()

    @property
    def _lost(self) -> SinkError | None:
        return self._failure

    @property
    def _where(self) -> str:
        return f"broker {self._target.host}:{self._target.port}"

    async def _connect(self, client: Any) -> None:
        target = self._target
        connecting = asyncio.ensure_future(
            client.connect(
                target.host, target.port, ssl=target.tls or False, keepalive=target.keepalive_s, version=target.version
            )
        )
        losing = asyncio.ensure_future(self._changed.wait())
        self._changed.clear()
        try:
            while not connecting.done() and self._failure is None:
                await asyncio.wait({connecting, losing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (connecting, losing):
                task.cancel()
            outcomes = await asyncio.gather(connecting, losing, return_exceptions=True)
        if isinstance(outcomes[0], BaseException) and not isinstance(outcomes[0], asyncio.CancelledError):
            raise outcomes[0]
        if self._failure is not None and client._connection_state.protocol_version != target.version:
            self._failure = SinkRefused(f"{self._where} does not speak MQTT 5; set version: 3.1.1")

    async def _fail(self, error: SinkError) -> None:
        await self.close()
        raise error

    def send(self, records: Sequence[Record]) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._in_flight.seqs:
            self._progress_at = self._clock.monotonic()
        for record in records:
            try:
                ((topic, payload),) = self._encode(record)
            except (RecordDamaged, RecordUnknown) as error:
                self._rejected.append((record.seq, f"unreadable: {error}"))
                continue
            size = len(payload) + len(topic.encode()) + _HEADER_BYTES
            if self._largest_bytes is not None and size > self._largest_bytes:
                self._rejected.append((record.seq, f"too large: {size} bytes, the broker takes {self._largest_bytes}"))
                continue
            self._in_flight.seq = record.seq
            self._client.publish(topic, payload, qos=1)
        self._changed.set()

    async def acknowledged(self) -> Sequence[int]:
        while not self._acknowledged and not self._rejected:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._wait_for_change()
        acknowledged, self._acknowledged = self._acknowledged, []
        return acknowledged

    async def _wait_for_change(self) -> None:
        if not self._in_flight.seqs:
            await self._changed.wait()
            return
        deadline = self._progress_at + self._target.acknowledge_s
        try:
            async with self._clock.timeout_at(deadline):
                await self._changed.wait()
        except TimeoutError:
            if self._in_flight.seqs and self._clock.monotonic() >= self._progress_at + self._target.acknowledge_s:
                self._lose(SinkUnreachable(f"{self._where} acknowledged nothing for {self._target.acknowledge_s:g} s"))

    def rejected(self) -> Sequence[tuple[int, str]]:
        rejected, self._rejected = self._rejected, []
        return rejected

    async def close(self) -> None:
        client, self._client = self._client, None
        self._acknowledged = []
        if self._failure is None:
            self._failure = SinkUnreachable("not connected")
        if client is None or client._connection is None:
            return
        with suppress(TimeoutError, OSError):
            async with self._clock.timeout_at(self._clock.monotonic() + CLOSE_S):
                await client.disconnect()
        client._connection._transport.abort()

    def _on_connect(self, _client: Any, _flags: int, _code: int, properties: Mapping[str, list[int]]) -> None:
        receive_maximum = properties.get("receive_maximum", [65_535])[0]
        # gmqtt keeps one identifier back and takes a Receive Maximum of 1 for none at all.
        self.window = max(1, min(self._wanted_window, receive_maximum - 1))
        self._largest_bytes = properties.get("maximum_packet_size", [None])[0]
        if properties.get("maximum_qos", [1])[0] == 0:
            self._lose(SinkRefused(f"{self._where} takes no QoS 1"))

    def _on_disconnect(self, _client: Any, packet: Any, _error: Any = None) -> None:
        code = packet[0] if isinstance(packet, bytes) and packet else 0
        if code in _WE_ARE_REFUSED:
            self._lose(SinkRefused(f"{self._where}: {_WE_ARE_REFUSED[code]}"))
        else:
            reason = f" (reason 0x{code:02X})" if code else ""
            self._lose(SinkUnreachable(f"{self._where} closed the connection{reason}"))

    def _lose(self, error: SinkError) -> None:
        if self._failure is None:
            self._failure = error
        self._changed.set()

    def _take_acknowledgement(self, seq: int) -> None:
        self._acknowledged.append(seq)
        self._progress_at = self._clock.monotonic()
        self._changed.set()

    def _take_refusal(self, mid: int, code: int) -> None:
        seq = self._in_flight.seqs.pop(mid, None)
        if code in _RECORD_REFUSED and seq is not None:
            self._rejected.append((seq, f"refused by the broker: {_RECORD_REFUSED[code]} (0x{code:02X})"))
            self._progress_at = self._clock.monotonic()
            self._changed.set()
        elif code in _WE_ARE_REFUSED:
            self._lose(SinkRefused(f"{self._where}: {_WE_ARE_REFUSED[code]}"))
        else:
            self._lose(SinkUnreachable(f"{self._where} refused a message for now (0x{code:02X})"))


def _watch_refusals(client: Any, refused: Callable[[int, int], None]) -> None:
    """Look at the reason code of each PUBACK, which gmqtt takes for success whatever it says."""
    handler = client._package_handler
    take_puback = handler._handle_puback_packet

    def handle(command: int, packet: bytes) -> None:
        if len(packet) > 2 and packet[2] >= _FAILURE:
            refused(struct.unpack_from("!H", packet)[0], packet[2])
        take_puback(command, packet)

    handler._handle_puback_packet = handle
