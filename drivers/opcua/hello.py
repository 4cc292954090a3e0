"""The message with which a server that dials in says who it is: ReverseHello (OPC UA Part 6, 7.1.2.6). Sans-IO."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEAD = struct.Struct("<4sI")
_LENGTH = struct.Struct("<i")
_TYPE = b"RHEF"
_MOST_TEXT_BYTES = 4095
"""Part 6: the encoded value shall be less than 4,096 bytes."""
MOST_BYTES = _HEAD.size + 2 * (_LENGTH.size + _MOST_TEXT_BYTES)


class NoReverseHello(ValueError):
    """The bytes begin no ReverseHello."""


@dataclass(frozen=True, slots=True)
class ReverseHello:
    """Who dials in."""

    server_uri: str
    endpoint_url: str
    """Where a client would find it, if it could."""


def decode_reverse_hello(data: bytes) -> ReverseHello | None:
    """The message that `data` is; None while it isn't all there.

    Raises:
        NoReverseHello: another message, too long, cut short by its own word, or more comes behind it (a server waits then).
    """
    if not _TYPE.startswith(data[: len(_TYPE)]):
        raise NoReverseHello("another message came")
    if len(data) < _HEAD.size:
        return None
    _, size = _HEAD.unpack_from(data)
    if not _HEAD.size + 2 * _LENGTH.size <= size <= MOST_BYTES:
        raise NoReverseHello(f"it says to be of {size} bytes")
    if len(data) > size:
        raise NoReverseHello("something came behind it")
    if len(data) < size:
        return None
    server_uri, at = _take_text(data, _HEAD.size)
    endpoint_url, at = _take_text(data, at)
    if at != size:
        raise NoReverseHello("its texts don't fill it")
    return ReverseHello(server_uri, endpoint_url)


def encode_reverse_hello(hello: ReverseHello) -> bytes:
    """The inverse of decode_reverse_hello()."""
    texts = b"".join(_LENGTH.pack(len(raw)) + raw for raw in (hello.server_uri.encode(), hello.endpoint_url.encode()))
    return _HEAD.pack(_TYPE, _HEAD.size + len(texts)) + texts


def encode_error(code: int, reason: str) -> bytes:
    """An Error message (Part 6, 7.1.2.5), after which the connection is closed."""
    raw = reason.encode()
    return _HEAD.pack(b"ERRF", _HEAD.size + 4 + _LENGTH.size + len(raw)) + struct.pack("<Ii", code, len(raw)) + raw


def _take_text(data: bytes, at: int) -> tuple[str, int]:
    if at + _LENGTH.size > len(data):
        raise NoReverseHello("it ends within a text")
    (length,) = _LENGTH.unpack_from(data, at)
    at += _LENGTH.size
    if not -1 <= length <= _MOST_TEXT_BYTES or at + max(0, length) > len(data):
        raise NoReverseHello("it ends within a text")
    raw = data[at : at + max(0, length)]
    try:
        return raw.decode(), at + len(raw)
    except UnicodeDecodeError as error:
        raise NoReverseHello("a text of it is no UTF-8") from error
