"""Values as clients of the Handle HTTP JSON API write them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, TypeGuard

from idnode.administering.refusal import Refusal
from idnode.administering.values import LARGEST_INDEX
from idnode.handle.codes import ResponseCode
from idnode.handle.values import data_bytes, data_of
from idnode.record import DEFAULT_PERMISSIONS, DEFAULT_TTL_S, TEXT_FORMATS, Data, Format, HandleValue, Reference

_TYPES: Mapping[Format, str] = {
    Format.ADMIN: "HS_ADMIN",
    Format.VLIST: "HS_VLIST",
    Format.SITE: "HS_SITE",
    Format.KEY: "HS_PUBKEY",
}
"""Whose data a format says in JSON."""


def read_values(content: object, lone_index: int | None = None) -> list[HandleValue]:
    """The values in a body: a list, an object with `values`, or one value.

    Args:
        lone_index: of a single value that names none.

    Raises:
        Refusal: INVALID_VALUE.
    """
    given = content.get("values", [content]) if isinstance(content, dict) else content
    if not isinstance(given, list):
        raise _invalid("values are a list")
    return [_read(each, lone_index if len(given) == 1 else None) for each in given]


def _read(content: object, lone_index: int | None) -> HandleValue:
    if not isinstance(content, dict):
        raise _invalid("a value is an object")
    index = _number(content.get("index", lone_index))
    if not _is_integer(index):
        raise _invalid("a value has an index, an integer")
    kind, ttl = content.get("type"), content.get("ttl", DEFAULT_TTL_S)
    if not isinstance(kind, str):
        raise _invalid(f"{index}: the type is text")
    if not _is_integer(ttl):
        raise _invalid(f"{index}: the ttl is seconds, as a number")
    data = _read_data(index, kind, content.get("data"))
    return HandleValue(index, kind, data, ttl, _permissions(index, content), references=_references(index, content))


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> object:
    """An index that stands as text, as some clients write it, as the number that it is."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10 else value


def _with_number(value: object) -> object:
    """The same within the data of HS_ADMIN and HS_VLIST."""
    if isinstance(value, list):
        return [_with_number(each) for each in value]
    if isinstance(value, dict) and "index" in value:
        return {**value, "index": _number(value["index"])}
    return value


def _permissions(index: int, content: Mapping[str, Any]) -> int:
    told = content.get("permissions")
    if told is None:
        return DEFAULT_PERMISSIONS
    if not isinstance(told, str) or len(told) != 4 or not set(told) <= {"0", "1"}:
        raise _invalid(f"{index}: permissions are four of 0 and 1")
    return int(told, 2)


def _references(index: int, content: Mapping[str, Any]) -> tuple[Reference, ...]:
    told = content.get("references") or []
    if not isinstance(told, list):
        raise _invalid(f"{index}: references are a list")
    found = []
    for each in told:
        if not isinstance(each, dict) or not isinstance(each.get("handle"), str) or not _is_integer(_number(each.get("index"))):
            raise _invalid(f"{index}: a reference has handle and index")
        named = int(each["index"])
        if not 0 <= named <= LARGEST_INDEX:
            raise _invalid(f"{index}: the index of a reference is from 0 to {LARGEST_INDEX}")
        found.append(Reference(each["handle"], named))
    return tuple(found)


def _read_data(index: int, kind: str, told: object) -> Data:
    if isinstance(told, str):
        return Data(Format.STRING, told)
    if not isinstance(told, dict) or "value" not in told:
        raise _invalid(f"{index}: data has format and value")
    try:
        data = Data(Format(told.get("format", Format.STRING)), told["value"])
    except ValueError:
        raise _invalid(f"{index}: formats are {', '.join(Format)}") from None
    if data.format in TEXT_FORMATS:
        if not isinstance(data.value, str):
            raise _invalid(f"{index}: format {data.format} has text as its value")
        return data if data.format is Format.STRING else _decoded(index, kind, data)
    data = Data(data.format, _with_number(data.value))
    made = data_of(_TYPES[data.format], data_bytes(data))
    if made.format is not data.format:
        raise _invalid(f"{index}: it can't be read as format {data.format}")
    return made


def _decoded(index: int, kind: str, data: Data) -> Data:
    """Bytes, as they are kept: of predefined types in the form of theirs."""
    text = str(data.value)
    try:
        raw = binascii.unhexlify(text) if data.format is Format.HEX else base64.b64decode(text, validate=True)
    except ValueError:
        raise _invalid(f"{index}: it is no {data.format}") from None
    return data_of(kind, raw) if kind in _TYPES.values() else data


def _invalid(why: str) -> Refusal:
    return Refusal(ResponseCode.INVALID_VALUE, why[:300])
