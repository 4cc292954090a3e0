"""What a version says as the bytes that SQLite keeps: JSON, structures as arrays, times only where they differ.

A value that last changed with its version, as nearly all do, has 0 for its time. So a registration's bytes are the same whenever
it is sent, and are compared without being read.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import force_setattr

from idnode.record import Content, HandleValue, Record, Registration

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Content)


def encode_registration(new: Registration) -> bytes:
    """The content of a first version."""
    values = new.values
    if any(value.timestamp_ms for value in values) or not _ascends(values):
        values = tuple(_timed(value, 0) for value in sorted(values, key=lambda each: each.index))
    return _encoder.encode(Content(values, new.links, new.template))


def encode_record(record: Record) -> bytes:
    """The content of a version."""
    values = tuple(_timed(value, 0) if value.timestamp_ms == record.since_ms else value for value in record.values)
    return _encoder.encode(Content(values, record.links, record.template))


def decode_content(stored: bytes, since_ms: int) -> Content:
    """The content of a version that has held since then.

    Raises:
        msgspec.MsgspecError: it isn't one.
    """
    content = _decoder.decode(stored)
    for value in content.values:
        if not value.timestamp_ms:  # nobody else has these yet, and copies of them would cost as much as reading them
            force_setattr(value, "timestamp_ms", since_ms)
    return content


def _timed(value: HandleValue, at_ms: int) -> HandleValue:
    return HandleValue(value.index, value.type, value.data, value.ttl_s, value.permissions, at_ms, value.references)


def _ascends(values: Iterable[HandleValue]) -> bool:
    last = 0
    for value in values:
        if value.index < last:
            return False
        last = value.index
    return True
