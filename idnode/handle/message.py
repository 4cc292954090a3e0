"""Envelope, header and bodies of the Handle wire protocol (RFC 3652, 2.1 and 2.2; 2.11 as deployed). Pure.

A message is header (24 bytes), body and credential; before it stands an envelope (20 bytes), on UDP before each of its parts.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from struct import Struct

import msgspec

from idnode.handle.codes import MOST_HANDLE_BYTES, MOST_MESSAGE_BYTES, OLD_VERSION, OLDEST_VERSION, VERSION, ResponseCode
from idnode.handle.fields import BadMessage, Reader, int4, octets

ENVELOPE_BYTES = 20
HEADER_BYTES = 24
PART_BYTES = 492
"""Of a message in one datagram."""
COMPRESSED, ENCRYPTED, TRUNCATED = 0x80, 0x40, 0x20
SHA1, SHA256 = 2, 3
"""Codes of digests."""
MOST_TYPES = 2048
"""In one request: a handle has no more values."""
_MOST_REMEMBERED = 256
"""Bytes of what is wanted of a handle."""
_LONGEST_TYPE = 2048
_ENVELOPE = Struct(">BBBBIIII")
_HEADER = Struct(">IIIHBBII")


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What stands before a message, or before a part of it."""

    version: tuple[int, int]
    """(0, 0) where the peer doesn't say."""
    flags: int
    """COMPRESSED, ENCRYPTED, TRUNCATED."""
    suggested: tuple[int, int]
    """The version that the peer would rather speak; (0, n) where it doesn't say."""
    session: int
    request: int
    sequence: int
    """Of the part, from 0."""
    length: int
    """Of the whole message."""

    def pack(self) -> bytes:
        """The 20 bytes."""
        flags = self.flags | (self.suggested[0] & 3)
        return _ENVELOPE.pack(*self.version, flags, self.suggested[1], self.session, self.request, self.sequence, self.length)

    @property
    def spoken(self) -> tuple[int, int]:
        """The highest version that both know: what an answer is written in."""
        own = self.version if self.version[0] else OLD_VERSION
        return max(OLDEST_VERSION, min(self.suggested if self.suggested[0] else own, VERSION))


def read_envelope(data: bytes, start: int = 0) -> Envelope:
    """Read the 20 bytes at `start`.

    Raises:
        BadMessage: there are fewer.
    """
    if len(data) - start < ENVELOPE_BYTES:
        raise BadMessage(f"an envelope has {ENVELOPE_BYTES} bytes")
    major, minor, flags, suggested, session, request, sequence, length = _ENVELOPE.unpack_from(data, start)
    return Envelope((major, minor), flags & 0xE0, (flags & 3, suggested), session, request, sequence, length)


class Message(msgspec.Struct, frozen=True, gc=False):
    """A request or an answer, without its envelope."""

    operation: int
    response: int
    """0 in a request."""
    flags: int
    """OpFlag."""
    body: bytes
    expires_s: int = 0
    """Since 1970."""
    site_serial: int = 0
    recursion: int = 0
    credential: bytes = b""

    def pack(self) -> bytes:
        """Header, body, credential."""
        return self._header() + self.body + octets(self.credential)

    def head_and_body(self) -> bytes:
        """What digests and credentials are made of."""
        return self._header() + self.body

    def digest(self, kind: int) -> bytes:
        """What an answer to this bears where a digest is asked for: code and digest of header and body."""
        made = hashlib.sha1 if kind == SHA1 else hashlib.sha256
        return bytes([kind]) + made(self.head_and_body(), usedforsecurity=kind != SHA1).digest()

    def _header(self) -> bytes:
        fields = (self.operation, self.response, self.flags, self.site_serial, self.recursion, 0, self.expires_s, len(self.body))
        return _HEADER.pack(*fields)


def read_message(data: bytes) -> Message:
    """Read a whole message. The credential may be absent altogether, as old clients leave it; the reserved byte isn't looked at.

    Raises:
        BadMessage
    """
    if len(data) < HEADER_BYTES:
        raise BadMessage(f"a header has {HEADER_BYTES} bytes")
    if len(data) > MOST_MESSAGE_BYTES:
        raise BadMessage(f"a message has at most {MOST_MESSAGE_BYTES} bytes")
    operation, response, flags, serial, recursion, _, expires_s, length = _HEADER.unpack_from(data)
    reader = Reader(data, HEADER_BYTES)
    if length > reader.left:
        raise BadMessage(f"a body of {length} bytes, and {reader.left} are left")
    body = reader.raw(length)
    credential = reader.octets(MOST_MESSAGE_BYTES) if reader.left else b""
    reader.finish()
    return Message(operation, response, flags, body, expires_s, serial, recursion, credential)


def parts(message: bytes, envelope: Envelope) -> Iterator[bytes]:
    """The datagrams of a message: pieces of 492 bytes, each behind `envelope` with its number and the whole length."""
    for sequence, start in enumerate(range(0, len(message), PART_BYTES)):
        numbered = msgspec.structs.replace(envelope, sequence=sequence, length=len(message))
        yield numbered.pack() + message[start : start + PART_BYTES]


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The body of RESOLUTION."""

    handle: str
    indexes: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    """One that ends in a dot stands for all that begin with it."""

    def pack(self) -> bytes:
        """The body."""
        indexes = b"".join(map(int4, self.indexes))
        types = b"".join(octets(each.encode()) for each in self.types)
        return octets(self.handle.encode()) + int4(len(self.indexes)) + indexes + int4(len(self.types)) + types


def read_asked(body: bytes) -> Asked:
    """Read the body of RESOLUTION.

    Raises:
        BadMessage: INVALID_HANDLE where it is about the handle.
    """
    reader = Reader(body)
    handle = reader.text(MOST_HANDLE_BYTES, ResponseCode.INVALID_HANDLE)
    wanted = reader.raw(reader.left)
    return Asked(handle, *(_wanted_before(wanted) if len(wanted) <= _MOST_REMEMBERED else _wanted(wanted)))


def _wanted(body: bytes) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Indexes and types."""
    reader = Reader(body)
    indexes = reader.int4s(reader.count(4))
    types = tuple([reader.text(_LONGEST_TYPE) for _ in range(reader.count(4, MOST_TYPES))])
    reader.finish()
    return indexes, types


_wanted_before = functools.lru_cache(maxsize=256)(_wanted)
"""A client wants the same of every handle."""


def read_handle_body(body: bytes) -> str:
    """Read a body that is a handle and nothing else, such as that of GET_SITE_INFO.

    Raises:
        BadMessage: INVALID_HANDLE where it is about the handle.
    """
    reader = Reader(body)
    handle = reader.text(MOST_HANDLE_BYTES, ResponseCode.INVALID_HANDLE)
    reader.finish()
    return handle


def values_body(handle: bytes, values: Sequence[bytes]) -> bytes:
    """The body of an answer with values, each packed already."""
    return b"".join((octets(handle), int4(len(values)), *values))
