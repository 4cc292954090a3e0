"""Values that are written and arguments that are given: Python's to OPC UA's, and whether what is read back is the same."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from asyncua import ua

from drivers.errors import DeviceRefused
from drivers.opcua.settings import ValueType
from drivers.opcua.texts import plain

WRITTEN_AS = {
    ValueType.FLOAT: ua.VariantType.Double,
    ValueType.INT: ua.VariantType.Int64,
    ValueType.UINT64: ua.VariantType.UInt64,
    ValueType.BOOL: ua.VariantType.Boolean,
    ValueType.TEXT: ua.VariantType.String,
}
"""Variant type of a write to a variable that has no value yet."""
_BITS = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}


def variant_of(doing: str, value: object, kind: Any) -> Any:
    """`value` as a Variant of the variable's type.

    Raises:
        DeviceRefused: it can't be one.
    """
    if kind is ua.VariantType.String:
        fits = isinstance(value, str)
    elif kind is ua.VariantType.Boolean or isinstance(value, bool):
        fits = kind is ua.VariantType.Boolean and isinstance(value, bool)
    elif kind in (ua.VariantType.Float, ua.VariantType.Double):
        fits = isinstance(value, int | float)
    else:
        fits = isinstance(value, int)
    if not fits:
        raise DeviceRefused(f"{doing}: {value!r} is no {kind.name}")
    if kind in _BITS and isinstance(value, int) and not _BITS[kind][0] <= value <= _BITS[kind][1]:
        raise DeviceRefused(f"{doing}: {value} is beyond {kind.name}")
    return ua.Variant(value, kind)


def is_confirmed(written: Any, present: Any) -> bool:
    """Whether a variable that was written so reads so; a Float is compared as the 32 bits that it is."""
    if present.StatusCode is not None and present.StatusCode.is_bad():
        return False
    found = present.Value.Value if present.Value is not None else None
    expected = written.Value
    if written.VariantType is ua.VariantType.Float and isinstance(found, float):
        return _float32(float(expected)) == _float32(found)
    if isinstance(found, float) and isinstance(expected, float) and math.isnan(expected):
        return math.isnan(found)
    return bool(found == expected) and (isinstance(found, float) or type(found) is type(expected))


def call_request(node: Any, method: Any, doing: str, arguments: Sequence[tuple[str, object]]) -> Any:
    """A call with (built-in type, value) for each argument.

    Raises:
        DeviceRefused: there is no such type, or the value is none of it.
    """
    variants = []
    for name, value in arguments:
        kind = getattr(ua.VariantType, name, None)
        if kind is None:
            raise DeviceRefused(f"{doing}: there is no type {name}")
        variants.append(variant_of(doing, value, kind))
    return ua.CallMethodRequest(node, method, variants)


def output_of(result: Any) -> list[object]:
    """What a method gave back, as JSON knows it (docs/opcua.md)."""
    return [plain(argument.Value) for argument in result.OutputArguments or ()]


def _float32(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return b""
