"""Handle values on the wire, and the data of the predefined types (HS_ADMIN, HS_VLIST, HS_SITE, keys). Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

import msgspec

from idnode.handle.codes import MOST_HANDLE_BYTES, MOST_MESSAGE_BYTES, MOST_VALUES
from idnode.handle.fields import BadMessage, Reader, int4, octets
from idnode.handle.keys import key_bytes, key_json
from idnode.handle.site import pack_site, read_site, site_json, site_of
from idnode.record import Data, Format, HandleValue, Reference

RELATIVE, ABSOLUTE = 0, 1
"""Kinds of TTL: seconds, or a moment."""
_FIXED = Struct(">IIBIBI")
"""index4 timestamp4 ttlType1 ttl4 permissions1, and the length of the type."""
_LARGEST = 0xFFFFFFFF
_STRING = Format.STRING
_NO_REFERENCES = b"\0\0\0\0"
_LEAST_VALUE = 26
"""Bytes of a value with nothing in it."""
_ADMIN_BITS = 12
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
"""What isn't kept as text."""
_REFUSED = (KeyError, TypeError, ValueError, AttributeError, StopIteration, struct.error, binascii.Error)


class WireValue(msgspec.Struct, frozen=True, gc=False):
    """A value as it stands on the wire."""

    index: int
    type: str
    data: bytes
    ttl: int = 86_400
    ttl_kind: int = RELATIVE
    timestamp_s: int = 0
    permissions: int = 0x0E
    references: tuple[Reference, ...] = ()

    def pack(self) -> bytes:
        """index4 timestamp4 ttlType1 ttl4 permissions1 type data references."""
        kind, data = self.type.encode(), self.data
        fixed = _FIXED.pack(self.index, self.timestamp_s, self.ttl_kind, self.ttl, self.permissions, len(kind))
        return b"".join((fixed, kind, int4(len(data)), data, _packed_references(self.references)))


def read_value(reader: Reader) -> WireValue:
    """Read one value.

    Raises:
        BadMessage
    """
    index, timestamp_s, ttl_kind, ttl, permissions = reader.int4(), reader.int4(), reader.int1(), reader.int4(), reader.int1()
    if ttl_kind not in (RELATIVE, ABSOLUTE):
        raise BadMessage(f"a TTL of kind {ttl_kind}")
    kind = reader.text(MOST_HANDLE_BYTES)
    data = reader.octets(MOST_MESSAGE_BYTES)
    references = [Reference(reader.text(MOST_HANDLE_BYTES), reader.int4()) for _ in range(reader.count(8))]
    return WireValue(index, kind, data, ttl, ttl_kind, timestamp_s, permissions, tuple(references))


def read_values(reader: Reader) -> tuple[WireValue, ...]:
    """Read a count and as many values, at most those of one handle.

    Raises:
        BadMessage
    """
    return tuple([read_value(reader) for _ in range(reader.count(_LEAST_VALUE, MOST_VALUES))])


def pack_value(value: HandleValue) -> bytes:
    """A value of a record as it stands on the wire, brought within the bounds of its fields."""
    kind, told, ttl, timestamp_s = value.type.encode(), value.data, value.ttl_s, value.timestamp_ms // 1000
    text: Any = told.value
    try:
        data: bytes = text.encode() if told.format is _STRING else data_bytes(told)
    except _REFUSED:
        data = data_bytes(told)
    ttl, timestamp_s = ttl if ttl < _LARGEST else _LARGEST, timestamp_s if timestamp_s < _LARGEST else _LARGEST
    fixed = _FIXED.pack(value.index & _LARGEST, timestamp_s, RELATIVE, ttl, value.permissions & 0x0F, len(kind))
    references = _packed_references(value.references) if value.references else _NO_REFERENCES
    return b"".join((fixed, kind, int4(len(data)), data, references))


def _packed_references(references: Sequence[Reference]) -> bytes:
    return int4(len(references)) + b"".join([octets(each.handle.encode()) + int4(each.index) for each in references])


def data_bytes(data: Data) -> bytes:
    """A value's data as bytes. What its format can't say, which only a store that nobody checked holds, is its JSON."""
    try:
        return _PACKERS[data.format](data.value)
    except _REFUSED:
        return json.dumps(data.value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def data_of(kind: str, data: bytes) -> Data:
    """A value's data as it is kept, of which data_bytes() makes exactly these bytes again.

    Of the predefined types in the layout of theirs, else as text where it is some, else as base64.
    """
    read = _READERS.get(kind)
    if read is not None:
        try:
            made = read(data)
            if data_bytes(made) == data:
                return made
        except (BadMessage, *_REFUSED):
            pass  # it is kept as the bytes that it is
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if _UNPRINTABLE.search(text) is None:
        return Data(Format.STRING, text)
    return Data(Format.BASE64, base64.b64encode(data).decode())


def _text(value: Any) -> bytes:
    encoded: bytes = value.encode()
    return encoded


def _admin(value: Any) -> bytes:
    """HS_ADMIN: permissions2 handle index4; in JSON permissions are twelve characters, the leftmost the highest bit."""
    permissions = value["permissions"]
    if len(permissions) != _ADMIN_BITS:
        raise ValueError(permissions)
    return int(permissions, 2).to_bytes(2, "big") + octets(value["handle"].encode()) + int4(value["index"])


def _handle_list(value: Any) -> bytes:
    """HS_VLIST: a count, and handle and index of each."""
    return int4(len(value)) + b"".join(octets(each["handle"].encode()) + int4(each["index"]) for each in value)


def _read_admin(data: bytes) -> Data:
    reader = Reader(data)
    permissions = reader.int2()
    handle, index = reader.text(MOST_HANDLE_BYTES), reader.int4()
    reader.finish()
    return Data(Format.ADMIN, {"handle": handle, "index": index, "permissions": f"{permissions:0{_ADMIN_BITS}b}"})


def _read_list(data: bytes) -> Data:
    reader = Reader(data)
    found = [{"handle": reader.text(MOST_HANDLE_BYTES), "index": reader.int4()} for _ in range(reader.count(8))]
    reader.finish()
    return Data(Format.VLIST, found)


_READERS: dict[str, Callable[[bytes], Data]] = {
    "HS_ADMIN": _read_admin,
    "HS_VLIST": _read_list,
    "HS_SITE": lambda data: Data(Format.SITE, site_json(read_site(data))),
    "HS_PUBKEY": lambda data: Data(Format.KEY, key_json(data)),
}
_PACKERS: dict[Format, Callable[[Any], bytes]] = {
    Format.STRING: _text,
    Format.BASE64: lambda value: base64.b64decode(value, validate=True),
    Format.HEX: bytes.fromhex,
    Format.ADMIN: _admin,
    Format.VLIST: _handle_list,
    Format.SITE: lambda value: pack_site(site_of(value)),
    Format.KEY: key_bytes,
}
