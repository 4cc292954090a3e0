"""Values that are written and arguments that are given: Python's to OPC UA's, and whether what is read back is the same."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from asyncua import ua

from drivers.errors import DeviceRefused
from drivers.opcua.failures import status_error, translated
from drivers.opcua.session import Session
from drivers.opcua.settings import OpcuaSettings, ValueType
from drivers.opcua.texts import plain
from drivers.settings import Access
from drivers.status import Status

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


class Writing:
    """Writes and calls of one device; what types its variables have is remembered."""

    def __init__(self, settings: OpcuaSettings) -> None:
        self._settings = settings
        self._types: dict[int, Any] = {}

    def forget(self) -> None:
        """The server is another one, or another run of it."""
        self._types.clear()

    async def write(self, session: Session, tag: int, value: object) -> None:
        """See Writer.write."""
        settings = self._settings.tags[tag]
        doing = f"{self._settings.name}: writing {settings.name}"
        if settings.access is not Access.READ_WRITE:
            raise DeviceRefused(f"{doing}: not writable (give it access: read_write)")
        node = session.resolve(settings.node)
        if node is None:
            raise status_error(doing, Status.BAD_NODE_ID_UNKNOWN)
        with translated(doing):
            variant = variant_of(doing, value, await self._type(session, tag, node))
            # Neither status nor timestamps: many servers take only the value (Part 4, 5.11.4).
            (status,) = await session.services.write_attributes([node], [ua.DataValue(variant, StatusCode=None)])
        if status.is_bad():
            raise status_error(doing, status.value)
        if settings.verify:
            with translated(f"{doing}: reading it back"):
                (present,) = await session.services.read_attributes([node], ua.AttributeIds.Value)
            if not is_confirmed(variant, present):
                raise DeviceRefused(f"{doing}: confirmed, but it reads otherwise afterwards")

    async def call(self, session: Session, node: str, method: str, arguments: Sequence[tuple[str, object]]) -> list[object]:
        """See OpcuaDriver.call."""
        doing = f"{self._settings.name}: calling {method}"
        found, called = session.resolve(node), session.resolve(method)
        if found is None or called is None:
            raise status_error(doing, Status.BAD_NODE_ID_UNKNOWN)
        request = call_request(found, called, doing, arguments)
        with translated(doing):
            (result,) = await session.services.call([request])
        if result.StatusCode.is_bad():
            raise status_error(doing, result.StatusCode.value)
        return output_of(result)

    async def _type(self, session: Session, tag: int, node: Any) -> Any:
        """The type that the variable's present value has; servers refuse a write of another."""
        if tag not in self._types:
            (present,) = await session.services.read_attributes([node], ua.AttributeIds.Value)
            if present.Value is None or present.Value.VariantType is ua.VariantType.Null:
                return WRITTEN_AS[self._settings.tags[tag].type]
            self._types[tag] = present.Value.VariantType
        return self._types[tag]


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
