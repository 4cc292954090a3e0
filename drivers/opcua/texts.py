"""Values of any type as texts: what a `text` tag takes, and everything as JSON. Pure; asyncua decodes the single value.

The JSON is documented in docs/opcua.md. Source: OPC UA Part 6, 5.4 (JSON: times as strings, bytes as Base64); whole numbers stay
numbers, of any size.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import uuid
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary

from drivers.opcua.structures import Structures, Undecodable
from drivers.status import Status

_TEXTS = frozenset({12, 13, 14, 21})
"""String, DateTime, Guid, LocalizedText."""


def iso_time(value: datetime) -> str:
    """A DateTime as text: ISO 8601, UTC, microseconds."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def text_of(encoding: int, value: Any) -> tuple[str | None, int]:
    """A value for a `text` tag as (text, 0), or (None, status) where it is no text."""
    if encoding not in _TEXTS:
        return None, Status.BAD_TYPE_MISMATCH
    decoded = decode_variant(value)
    if decoded is None or decoded.Value is None:
        return None, Status.BAD_TYPE_MISMATCH
    found = decoded.Value
    if encoding == 21:
        found = found.Text
    elif encoding == 13:
        found = iso_time(found)
    elif encoding == 14:
        found = str(found)
    return (found, 0) if is_text(found) else (None, Status.BAD_TYPE_MISMATCH)


def json_text(encoding: int, value: Any, structures: Structures | None = None) -> tuple[str | None, int]:
    """Any value as (JSON, 0), or (None, status) where there is none, or it can't be decoded.

    `structures`: those of the server; others stay bytes.
    """
    if isinstance(value, np.generic):
        return _dump(bool(value) if encoding == 1 else plain(value.item()))
    decoded = decode_variant(value)
    if decoded is None:
        return None, Status.BAD_DECODING_ERROR
    if decoded.Value is None:
        return None, Status.BAD_TYPE_MISMATCH
    return _dump(plain(decoded.Value, structures))


def decode_variant(variant: bytes) -> Any | None:
    """What asyncua makes of one Variant; None where it can't: its neighbours are not affected."""
    try:
        return variant_from_binary(Buffer(variant))
    except (ua.UaError, struct.error, ValueError, TypeError, RecursionError, OverflowError, KeyError):
        return None


def _dump(plain: object) -> tuple[str | None, int]:
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return (text, 0) if is_text(text) else (None, Status.BAD_TYPE_MISMATCH)


def is_text(value: object) -> bool:
    """Whether it is a text that UTF-8 can hold: asyncua keeps bytes that are no UTF-8 as lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value)


def plain(value: Any, structures: Structures | None = None) -> object:
    """A value of asyncua's as what JSON knows."""
    match value:
        case list() | tuple():
            return [plain(part, structures) for part in value]
        case ua.Variant() | ua.DataValue():
            return plain(value.Value, structures)
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return iso_time(value)
        case uuid.UUID():
            return str(value)
        case ua.LocalizedText():
            return value.Text
        case ua.QualifiedName():
            return value.Name if not value.NamespaceIndex else f"{value.NamespaceIndex}:{value.Name}"
        case ua.NodeId():
            return value.to_string()
        case ua.StatusCode():
            return value.value
        case ua.ExtensionObject():
            return _structure(value, structures)
        case Enum():
            return plain(value.value)
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case bool() | str() | float() | int() | None:
            return value
    if is_dataclass(value):
        return {part.name: plain(getattr(value, part.name), structures) for part in fields(value) if part.name != "Encoding"}
    return str(value)


def _structure(value: Any, structures: Structures | None) -> object:
    """A structure that asyncua doesn't know: by the server's own definition, else its bytes."""

    def field(variant: bytes) -> object:
        decoded = decode_variant(variant)
        if decoded is None:
            raise Undecodable("a field can't be decoded")
        return plain(decoded.Value, structures)

    encoding, body = value.TypeId.to_string(), value.Body
    found = None
    if structures is not None and isinstance(body, bytes):
        try:
            found = structures.object_of(encoding, body, field)
        except Undecodable:
            found = None
    return {"type": encoding, "body": plain(body)} if found is None else found
