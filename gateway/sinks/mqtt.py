"""The MQTT sink: a record is acknowledged by its PUBACK (QoS 2: PUBCOMP) and by nothing else. The one file that knows the client.

The client's own reconnection and persistence are off: the forwarder owns the first, the outbox is the second. Each open() makes a
new client with a clean start; what was unacknowledged is sent again. Publishing and acknowledgements go past the
client (gateway/sinks/packets.py, tap.py), for speed.

Sources: MQTT 5.0 (OASIS, 2019) 3.2.2 (CONNACK), 3.4.2.1 (PUBACK reason codes), 4.9 (flow control, Receive Maximum); MQTT 3.1.1.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gmqtt
from gmqtt.mqtt.handler import MQTTConnectError

from gateway.clock import Clock
from gateway.outbox.base import Record, RecordKind
from gateway.outbox.codec import RecordDamaged, RecordUnknown
from gateway.secret import SecretUnusable
from gateway.sinks.base import SinkError, SinkRefused, SinkUnreachable
from gateway.sinks.batching import MOST_BYTES, Batcher, Message
from gateway.sinks.flow import Flow
from gateway.sinks.packets import PUBCOMP, PUBREC, Fill, PacketMalformed, Publisher, PublishOptions, pubrel
from gateway.sinks.tap import Tap

CONNECT_S = 10.0
CLOSE_S = 1.0
_NO_RECONNECT = -2
"""gmqtt compares its count of failures with it; -1 would mean for ever."""
_FAILURE = 0x80

_CONNACK_RETRY = frozenset({3, 0x80, 0x83, 0x88, 0x89, 0x97, 0x9F})
"""CONNACK codes that time may mend: unavailable, unspecified, implementation, busy, quota, rate."""
_RECORD_REFUSED: Mapping[int, str] = {0x90: "topic name invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
"""Reason codes that mean this very record."""
_WE_ARE_REFUSED: Mapping[int, str] = {0x87: "not authorized", 0x8E: "another client took over our client_id", 0x9B: "no QoS 1"}
"""Reason codes that a person must act upon."""
_MAY_BLAME = frozenset({0, 0x80, 0x81, 0x82, 0x83, 0x90, 0x95, 0x99})
"""Reasons of a DISCONNECT that one record may have brought about; 0: none was given."""
_MOST_MIDS = 65_535


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
    secret: Callable[[], str] | None = None
    """Reads the password or token, at each connect: tokens are renewed. May raise SecretUnusable."""
    keepalive_s: int = 30
    acknowledge_s: float = 10.0
    """A broker that acknowledges nothing for so long, while records wait for it, is given up."""
    options: PublishOptions = field(default_factory=PublishOptions)
    batch_records: int = 1
    """Most records of a message."""
    batch_s: float = 0.0
    """How long a record may wait for others."""


class MqttSink:
    """The Sink contract over MQTT 5 or 3.1.1."""

    kinds = frozenset({RecordKind.TELEMETRY})

    def __init__(
        self,
        name: str,
        target: MqttTarget,
        encode: Callable[[Record, bool], list[tuple[str, bytes]]],
        *,
        window: int,
        clock: Clock,
        fill: Fill | None = None,
    ) -> None:
        """`encode`: topics and payloads of a record, and of one that is historical.

        It raises RecordDamaged or RecordUnknown for one that it can't read.

        Args:
            fill: where the texts of the target's options have fields.
        """
        self.name = name
        self.window = window * target.batch_records
        self._wanted_window = window
        self._most_in_flight = window
        """In messages."""
        self._target = target
        self._encode = encode
        self._clock = clock
        self._fill = fill
        self._client: Any = None
        self._tap: Tap | None = None
        self._publisher = Publisher(target.options, has_properties=False, topic_aliases=0)
        self._flow = Flow(Batcher(target.batch_records, target.batch_s))
        self._failure: SinkError | None = SinkUnreachable("not connected")
        self._changed = asyncio.Event()
        self._progress_at = 0.0
        self._largest_bytes: int | None = None

    async def open(self) -> None:
        await self.close()
        self._failure = None
        target = self._target
        client = gmqtt.Client(target.client_id, clean_session=True)
        client.set_config({"reconnect_retries": _NO_RECONNECT})
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        await self._authenticate(client)
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

    async def _authenticate(self, client: Any) -> None:
        target = self._target
        try:
            secret = None if target.secret is None else target.secret()
        except SecretUnusable as error:
            await self._fail(SinkRefused(str(error)))
        if target.username is not None or secret is not None:
            # A password without a name is not for 3.1.1 (3.1.2.9 there); an empty name is for both.
            client.set_auth_credentials(target.username or "", secret)

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

    def send(self, records: Sequence[Record], *, historical: bool = False) -> None:
        if self._failure is not None:
            raise self._failure
        now = self._clock.monotonic()
        if self._flow.is_empty:
            self._progress_at = now
        for record in records:
            self._take(record, now, historical=historical)
        self._pump()
        self._changed.set()

    def _take(self, record: Record, now: float, *, historical: bool) -> None:
        flow = self._flow
        if (reason := flow.blame.take_blamed(record.seq)) is not None:
            flow.rejected.append((record.seq, reason))
            self._fit_window()
            return
        try:
            messages = self._encode(record, historical)
        except (RecordDamaged, RecordUnknown) as error:
            flow.rejected.append((record.seq, f"unreadable: {error}"))
            return
        flow.take(record.seq, messages, now, historical=historical)

    def _pump(self) -> None:
        """Publish what waits, as far as the window and the transport have room."""
        tap = self._tap
        if tap is None or tap.is_full or tap.is_closing or not self._flow.has_waiting:
            return
        if packets := self._flow.publish(self._publisher, self._most_in_flight, self._largest_bytes):
            tap.write(packets)

    async def acknowledged(self) -> Sequence[int]:
        flow = self._flow
        while not flow.acknowledged and not flow.rejected:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._wait_for_change()
        acknowledged, flow.acknowledged = flow.acknowledged, []
        return acknowledged

    async def _wait_for_change(self) -> None:
        flow = self._flow
        give_up_at = self._progress_at + self._target.acknowledge_s if flow.has_in_flight else None
        due = [when for when in (give_up_at, flow.batcher.due_at) if when is not None]
        if not due:
            await self._changed.wait()
            return
        try:
            async with self._clock.timeout_at(min(due)):
                await self._changed.wait()
        except TimeoutError:
            now = self._clock.monotonic()
            if flow.has_in_flight and now >= self._progress_at + self._target.acknowledge_s:
                self._lose(SinkUnreachable(f"{self._where} acknowledged nothing for {self._target.acknowledge_s:g} s"))
            elif flow.take_due(now):
                if not flow.has_in_flight:
                    self._progress_at = now
                self._pump()

    def rejected(self) -> Sequence[tuple[int, str]]:
        rejected, self._flow.rejected = self._flow.rejected, []
        return rejected

    async def close(self) -> None:
        client, self._client = self._client, None
        self._tap = None
        self._flow.clear()
        if self._failure is None:
            self._failure = SinkUnreachable("not connected")
        if client is None or client._connection is None:
            return
        with suppress(TimeoutError, OSError):
            async with self._clock.timeout_at(self._clock.monotonic() + CLOSE_S):
                await client.disconnect()
        client._connection._transport.abort()

    def _on_connect(self, client: Any, _flags: int, _code: int, properties: Mapping[str, list[int]]) -> None:
        receive_maximum = properties.get("receive_maximum", [_MOST_MIDS])[0]
        self._most_in_flight = max(1, min(self._wanted_window, receive_maximum))
        self._largest_bytes = properties.get("maximum_packet_size", [None])[0]
        self._flow.batcher.most_bytes = min(MOST_BYTES, self._largest_bytes or MOST_BYTES)
        self._fit_window()
        target = self._target
        if properties.get("max_qos", [2])[0] < target.options.qos:
            self._lose(SinkRefused(f"{self._where} takes no QoS {target.options.qos}"))
        if target.options.is_retained and properties.get("retain_available", [1])[0] == 0:
            self._lose(SinkRefused(f"{self._where} takes no retained messages"))
        aliases = properties.get("topic_alias_maximum", [0])[0]
        self._publisher = Publisher(target.options, has_properties=target.version == 5, topic_aliases=aliases, fill=self._fill)
        connection = client._connection
        self._tap = Tap(connection._protocol, connection._transport, self._take_answers, self._pump, self._take_garbage)

    def _fit_window(self) -> None:
        """Records go one at a time while one of them is under suspicion."""
        is_probing = self._flow.blame.is_probing
        self._flow.batcher.is_paused = is_probing
        self.window = 1 if is_probing else self._most_in_flight * self._target.batch_records

    def _on_disconnect(self, _client: Any, packet: Any, _error: Any = None) -> None:
        code = packet[0] if isinstance(packet, bytes) and packet else 0
        is_theirs = bool(packet) or (self._tap is not None and self._tap.is_closed_by_peer)
        if self._failure is None and is_theirs and code in _MAY_BLAME:
            self._flow.blame.note_close(self._flow.seqs_in_flight())
        if code in _WE_ARE_REFUSED:
            self._lose(SinkRefused(f"{self._where}: {_WE_ARE_REFUSED[code]}"))
        else:
            reason = f" (reason 0x{code:02X})" if code else ""
            self._lose(SinkUnreachable(f"{self._where} closed the connection{reason}"))

    def _lose(self, error: SinkError) -> None:
        if self._failure is None:
            self._failure = error
        self._changed.set()

    def _take_garbage(self, error: PacketMalformed) -> None:
        self._lose(SinkUnreachable(f"{self._where} speaks no MQTT: {error}"))

    def _take_answers(self, answers: Sequence[tuple[int, int, int]]) -> None:
        """(kind, packet identifier, reason code) of each PUBACK, PUBREC and PUBCOMP."""
        for kind, mid, code in answers:
            if kind == PUBREC and code < _FAILURE:
                assert self._tap is not None
                self._tap.write(pubrel(mid))
                continue
            message = self._flow.pop(mid)
            if message is None:
                continue
            if code >= _FAILURE and kind != PUBCOMP:
                self._take_refusal(message, code)
            else:
                self._flow.settle(message.seqs)
        self._progress_at = self._clock.monotonic()
        if self._flow.batcher.is_paused:
            self._fit_window()
        self._pump()
        self._changed.set()

    def _take_refusal(self, message: Message, code: int) -> None:
        if code in _RECORD_REFUSED:
            self._flow.refuse(message, f"refused by the broker: {_RECORD_REFUSED[code]} (0x{code:02X})")
        elif code in _WE_ARE_REFUSED:
            self._lose(SinkRefused(f"{self._where}: {_WE_ARE_REFUSED[code]}"))
        else:
            self._lose(SinkUnreachable(f"{self._where} refused a message for now (0x{code:02X})"))
