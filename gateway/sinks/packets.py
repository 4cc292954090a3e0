"""The MQTT packets of a publisher: PUBLISH out, acknowledgements in. Sans-IO; prepared by topic, since topics recur.

Sources: MQTT 5.0 (OASIS, 2019) 2.1 (packet format), 3.3 (PUBLISH, its properties and topic aliases), 3.4 to 3.7 (PUBACK, PUBREC,
PUBREL, PUBCOMP); MQTT 3.1.1 (2014), the same sections without properties.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

PUBACK, PUBREC, PUBCOMP = 0x40, 0x50, 0x70
_ACKNOWLEDGEMENTS = frozenset({PUBACK, PUBREC, PUBCOMP})
_PUBLISH, _PUBREL = 0x30, 0x62
_MAX_BYTES = 1 << 20
"""Nobody sends a publisher more in one packet."""
_SHORT = struct.Struct("!H")
_HEADER_BYTES = 1 + 4 + 2 + 2 + 4 + 3
"""Fixed header, topic length, packet identifier, property length and topic alias, at their longest."""
_SEQ_BYTES = 19


class Fill(Protocol):
    """Fills the fields of a property's text in."""

    def __call__(self, text: str, topic: str) -> str:
        """As they are for a message's topic."""


class PacketMalformed(ValueError):
    """What came is no MQTT."""


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What every PUBLISH of a sink bears; all but the first two need MQTT 5."""

    qos: int = 1
    """1 or 2: at 0 nothing is acknowledged."""
    is_retained: bool = False
    expiry_s: int | None = None
    """3.3.2.3.3."""
    content_type: str | None = None
    """3.3.2.3.9."""
    response_topic: str | None = None
    """3.3.2.3.5."""
    user_properties: Sequence[tuple[str, str]] = ()
    """3.3.2.3.7."""
    correlation: bytes | None = None
    """What Correlation Data (3.3.2.3.6) begin with; the packet's seq follows. None: there are none."""
    is_marked_text: bool = False
    """Payload Format Indicator 1: UTF-8 (3.3.2.3.2)."""
    topic_aliases: int = 0
    """Most aliases (3.3.2.3.4); the broker's Topic Alias Maximum bounds them too."""


class Publisher:
    """Writes the PUBLISH packets of one connection; packets must be sent in the order in which they are written."""

    def __init__(
        self,
        options: PublishOptions,
        *,
        has_properties: bool,
        topic_aliases: int,
        fill: Fill | None = None,
    ) -> None:
        """`has_properties`: MQTT 5. `topic_aliases`: how many the broker allows.

        Args:
            fill: where the texts of properties have fields.
        """
        self._options = options
        self._fill = fill if has_properties else None
        self._correlation = options.correlation if has_properties else None
        self._filled: dict[str, bytes] = {}
        self._first = bytes((_PUBLISH | options.qos << 1 | int(options.is_retained),))
        self._first_historical = bytes((_PUBLISH | options.qos << 1,))
        self._has_properties = has_properties
        self._properties = _encode_properties(options) if has_properties else b""
        self._aliases_left = min(options.topic_aliases, topic_aliases) if has_properties else 0
        self._next_alias = 1
        self._heads: dict[str, tuple[bytes, bytes]] = {}
        """Topic and properties of a topic's next packet, encoded."""

    def most_bytes(self, topic: str, payload_bytes: int) -> int:
        """An upper bound of a packet's size."""
        properties = len(self._properties_of(topic))
        if self._correlation is not None:
            properties += _SHORT.size + 1 + len(self._correlation) + _SEQ_BYTES
        return _HEADER_BYTES + len(topic.encode()) + properties + payload_bytes

    def packet(self, topic: str, mid: int, payload: bytes, seq: int = 0, *, historical: bool = False) -> bytes:
        """A PUBLISH with that packet identifier; `seq`: of its first record, for its correlation data.

        What is historical is never retained: the topic's last value is a live one.
        """
        head = self._heads.get(topic)
        if head is None:
            head = self._prepare(topic)
        name, properties = head
        if self._correlation is not None:
            correlation = b"%b%d" % (self._correlation, seq)
            properties += b"\x09" + _SHORT.pack(len(correlation)) + correlation
            properties = _encode_length(len(properties)) + properties
        rest = len(name) + 2 + len(properties) + len(payload)
        first = self._first_historical if historical else self._first
        return b"".join((first, _encode_length(rest), name, _SHORT.pack(mid), properties, payload))

    def _prepare(self, topic: str) -> tuple[bytes, bytes]:
        encoded = topic.encode()
        name = _SHORT.pack(len(encoded)) + encoded
        properties = self._properties_of(topic)
        plain = self._with_length(properties)
        if not self._aliases_left:
            self._heads[topic] = (name, plain)
            return name, plain
        aliased = self._with_length(b"\x23" + _SHORT.pack(self._next_alias) + properties)
        self._aliases_left -= 1
        self._next_alias += 1
        self._heads[topic] = (b"\0\0", aliased)
        return name, aliased

    def _properties_of(self, topic: str) -> bytes:
        if self._fill is None:
            return self._properties
        found = self._filled.get(topic)
        if found is None:
            found = self._filled[topic] = _encode_properties(self._options, partial(self._fill, topic=topic))
        return found

    def _with_length(self, properties: bytes) -> bytes:
        """Where correlation data is to come behind them, they are left without."""
        if not self._has_properties or self._correlation is not None:
            return properties
        return _encode_length(len(properties)) + properties


def pubrel(mid: int) -> bytes:
    """The PUBREL that answers a PUBREC."""
    return bytes((_PUBREL, 2)) + _SHORT.pack(mid)


class Inbox:
    """Cuts what comes into acknowledgements and other packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> tuple[list[tuple[int, int, int]], bytes]:
        """(kind, packet identifier, reason code) of each acknowledgement, and the other packets, whole, as they came.

        Raises:
            PacketMalformed
        """
        if self._rest:
            data = self._rest + data
        taken: list[tuple[int, int, int]] = []
        others: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 2:
            length, body = data[at + 1], at + 2
            if length & 0x80:
                found = _decode_length(data, at + 1)
                if found is None:
                    break
                length, body = found
            if body + length > end:
                break
            if data[at] in _ACKNOWLEDGEMENTS:
                if length < 2:
                    raise PacketMalformed("an acknowledgement without a packet identifier")
                taken.append((data[at], data[body] << 8 | data[body + 1], data[body + 2] if length > 2 else 0))
            else:
                others.append(data[at : body + length])
            at = body + length
        self._rest = data[at:]
        return taken, b"".join(others)


def _encode_properties(options: PublishOptions, fill: Callable[[str], str] = str) -> bytes:
    parts = []
    if options.is_marked_text:
        parts.append(b"\x01\x01")
    if options.expiry_s is not None:
        parts.append(struct.pack("!BI", 0x02, options.expiry_s))
    if options.content_type is not None:
        parts.append(b"\x03" + _encode_text(options.content_type))
    if options.response_topic is not None:
        parts.append(b"\x08" + _encode_text(fill(options.response_topic)))
    parts += [b"\x26" + _encode_text(key) + _encode_text(fill(value)) for key, value in options.user_properties]
    return b"".join(parts)


def _encode_text(text: str) -> bytes:
    encoded = text.encode()
    return _SHORT.pack(len(encoded)) + encoded


def _encode_length(length: int) -> bytes:
    """A Variable Byte Integer (1.5.5)."""
    if length < 0x80:
        return bytes((length,))
    if length < 0x4000:
        return bytes((length & 0x7F | 0x80, length >> 7))
    if length < 0x20_0000:
        return bytes((length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14))
    return bytes((length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F | 0x80, length >> 21))


def _decode_length(data: bytes, at: int) -> tuple[int, int] | None:
    """The integer and the place behind it; None when more must come."""
    length = 0
    for place in range(4):
        if at + place >= len(data):
            return None
        byte = data[at + place]
        length |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            if length > _MAX_BYTES:
                raise PacketMalformed(f"a packet of {length} bytes for a publisher")
            return length, at + place + 1
    raise PacketMalformed("a length of more than four bytes")
