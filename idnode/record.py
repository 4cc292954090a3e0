"""What is kept under an identifier: typed values, as in Handle, and every version of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntFlag, StrEnum

import msgspec

from idnode.identifier import Identifier

DEFAULT_TTL_S = 86_400
MOST_VALUES = 2048
"""Values under one identifier, as Handle limits them."""


class Permission(IntFlag):
    """Who may do what with a value (Handle wire protocol, value permissions)."""

    PUBLIC_WRITE = 1
    PUBLIC_READ = 2
    ADMIN_WRITE = 4
    ADMIN_READ = 8


DEFAULT_PERMISSIONS = int(Permission.ADMIN_READ | Permission.ADMIN_WRITE | Permission.PUBLIC_READ)


class Format(StrEnum):
    """How a value's data stands in JSON (Handle.Net manual, chapter 14)."""

    STRING = "string"
    BASE64 = "base64"
    HEX = "hex"
    ADMIN = "admin"
    VLIST = "vlist"
    SITE = "site"
    KEY = "key"


TEXT_FORMATS = frozenset({Format.STRING, Format.BASE64, Format.HEX})


class Data(msgspec.Struct, frozen=True):
    """A value's data."""

    format: Format
    value: object
    """Text for the text formats, else a JSON object or list."""


class HandleValue(msgspec.Struct, frozen=True):
    """One typed value."""

    index: int
    """1 to 2147483647, once in a record; 2000 and above are a template's items."""
    type: str
    data: Data
    ttl_s: int = DEFAULT_TTL_S
    permissions: int = DEFAULT_PERMISSIONS
    timestamp_ms: int = 0
    """When this value last changed; set by the store."""


class Record(msgspec.Struct, frozen=True):
    """One version of what is kept under an identifier."""

    identifier: Identifier
    version: int
    """From 1."""
    values: tuple[HandleValue, ...]
    """By index, ascending."""
    since_ms: int
    author: str
    """Who wrote this version: `admin`, or `<enterprise>:<label of the token>`."""
    event_id: str | None = None
    """The commissioning event that the identifier came into the world with, where there was one."""


class Registration(msgspec.Struct, frozen=True):
    """An identifier to be registered."""

    identifier: Identifier
    values: tuple[HandleValue, ...]


def text_value(index: int, kind: str, text: str) -> HandleValue:
    """A value that is plain text, readable by anyone who may read the record."""
    return HandleValue(index, kind, Data(Format.STRING, text))


def stamped(values: Iterable[HandleValue], before: Sequence[HandleValue], at_ms: int) -> tuple[HandleValue, ...]:
    """The values in order of index, each with the time of its last change: `at_ms`, or the earlier one when it is as it was."""
    earlier = {value.index: value for value in before}
    result = []
    for value in sorted(values, key=lambda each: each.index):
        same = earlier.get(value.index)
        kept = same is not None and msgspec.structs.replace(same, timestamp_ms=value.timestamp_ms) == value
        result.append(msgspec.structs.replace(value, timestamp_ms=same.timestamp_ms if same and kept else at_ms))
    return tuple(result)


_values = msgspec.json.Decoder(tuple[HandleValue, ...])
_encoder = msgspec.json.Encoder()


def encode_values(values: Sequence[HandleValue]) -> bytes:
    """The values as the store keeps them: JSON."""
    return _encoder.encode(values)


def decode_values(stored: bytes) -> tuple[HandleValue, ...]:
    """encode_values() undone."""
    return _values.decode(stored)
