"""An MQTT broker that misbehaves on request: enough of MQTT 5 and 3.1.1 for one publisher (server side, sans-subscriptions)."""

from __future__ import annotations

import asyncio
import ssl
import struct
from dataclasses import dataclass, field

CONNACK, PUBACK, PUBREC, PUBCOMP, PINGRESP, DISCONNECT = 0x20, 0x40, 0x50, 0x70, 0xD0, 0xE0


@dataclass
class Publication:
    """A PUBLISH as it came."""

    topic: str
    payload: bytes
    mid: int
    flags: int = 2
    """The low half of the first byte: DUP, QoS, RETAIN."""
    properties: bytes = b""

    @property
    def qos(self) -> int:
        return self.flags >> 1 & 3


@dataclass
class ScriptedBroker:
    """Listens on a free port of loopback."""

    port: int = 0
    properties: bytes = b""
    """Of the CONNACK, encoded, MQTT 5."""
    connect_code: int = 0
    publish_codes: dict[bytes, int] = field(default_factory=dict)
    """PUBACK reason code by payload; 0 otherwise."""
    answers_connect: bool = True
    goodbye: int | None = None
    """Reason of a DISCONNECT that answers the next PUBLISH."""
    closes_on: bytes | None = None
    """A payload that is answered by closing the connection, without a word."""
    closes_when_it_holds: bool = False
    """Any payload that is a JSON array with `closes_on` in it is, too."""
    garbage: bytes = b""
    """Sent in place of an acknowledgement."""
    tls: ssl.SSLContext | None = None
    releases: list[int] = field(default_factory=list)
    """Packet identifiers of the PUBRELs."""
    publications: list[Publication] = field(default_factory=list)
    held: list[tuple[asyncio.StreamWriter, int, int]] = field(default_factory=list)
    is_holding: bool = False
    level: int = 0
    """Protocol level of the last CONNECT."""
    credentials: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.changed = asyncio.Condition()
        self.connections = 0

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Break all connections and close the port."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None
        async with self.changed:
            await self.changed.wait_for(lambda: not self._writers)

    async def wait_published(self, count: int) -> None:
        """Return once so many publications have come."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.publications) >= count)

    def release(self) -> None:
        """Acknowledge what was held."""
        self.is_holding = False
        held, self.held = self.held, []
        for writer, mid, code in held:
            if not writer.transport.is_closing():
                self._acknowledge(writer, mid, code)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            while True:
                kind, body = await _packet(reader)
                await self._take(kind, body, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            async with self.changed:
                self.changed.notify_all()

    async def _take(self, kind: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        if kind & 0xF0 == 0x10:
            self._connect(body, writer)
        elif kind & 0xF0 == 0x30:
            await self._publish(kind & 0x0F, body, writer)
        elif kind & 0xF0 == 0x60:
            self.releases.append(struct.unpack("!H", body[:2])[0])
            writer.write(bytes((PUBCOMP, 2)) + body[:2])
        elif kind == 0xC0:
            writer.write(bytes((PINGRESP, 0)))
        elif kind & 0xF0 == 0xE0:
            writer.close()

    def _connect(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.level = body[6]
        self.credentials = _credentials(body)
        if not self.answers_connect:
            return
        answer = bytes((0, self.connect_code))
        if self.level == 5:
            answer += bytes((len(self.properties),)) + self.properties
        writer.write(bytes((CONNACK, len(answer))) + answer)
        if self.connect_code:
            writer.close()

    async def _publish(self, flags: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack_from("!H", body)
        topic = body[2 : 2 + length].decode()
        (mid,) = struct.unpack_from("!H", body, 2 + length)
        start = 4 + length
        end = start + (1 + body[start] if self.level == 5 else 0)
        payload = body[end:]
        async with self.changed:
            self.publications.append(Publication(topic, payload, mid, flags, body[start + 1 : end]))
            self.changed.notify_all()
        code = self.publish_codes.get(payload, 0)
        if self.goodbye is not None:
            writer.write(bytes((DISCONNECT, 2, self.goodbye, 0)))
            writer.close()
        elif self._closes_on(payload):
            writer.transport.abort()
        elif self.garbage:
            writer.write(self.garbage)
        elif self.is_holding:
            self.held.append((writer, mid, code))
        else:
            self._acknowledge(writer, mid, code)

    def _closes_on(self, payload: bytes) -> bool:
        parts = payload.strip(b"[]").split(b",") if self.closes_when_it_holds else [payload]
        return self.closes_on in parts

    def _acknowledge(self, writer: asyncio.StreamWriter, mid: int, code: int) -> None:
        body = struct.pack("!H", mid) + (bytes((code, 0)) if code and self.level == 5 else b"")
        is_twice = self.publications[-1].qos == 2
        writer.write(bytes((PUBREC if is_twice else PUBACK, len(body))) + body)


def _credentials(body: bytes) -> tuple[str, ...]:
    """Client identifier, then user name and password where given. No will."""
    at = 10
    if body[6] == 5:
        at += 1 + body[at]
    found = []
    for present in (True, body[7] & 0x80, body[7] & 0x40):
        if present:
            (length,) = struct.unpack_from("!H", body, at)
            found.append(body[at + 2 : at + 2 + length].decode())
            at += 2 + length
    return tuple(found)


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return kind, await reader.readexactly(length)
