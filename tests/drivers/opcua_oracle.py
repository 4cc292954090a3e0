"""DataValues as asyncua decodes them to frames, one object at a time: what the columns are held against.

It is what the driver did before it read columns from the wire.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from asyncua import ua

from drivers.model import Column, Frame, Kind
from drivers.opcua.texts import iso_time
from drivers.status import Status, is_bad

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64 = range(-(2**63), 2**63)

_T = ua.VariantType
_INTEGERS = (_T.SByte, _T.Byte, _T.Int16, _T.UInt16, _T.Int32, _T.UInt32, _T.Int64, _T.UInt64)

Reading = tuple[int, Any]
"""(tag, ua.DataValue)"""


def _localized(value: Any) -> str | None:
    return _valid(value.Text) if value is not None else None


def _valid(value: str | None) -> str | None:
    """asyncua keeps bytes that are no UTF-8 as lone surrogates."""
    try:
        return None if value is None else value.encode().decode()
    except UnicodeEncodeError:
        return None


_CONVERTERS: dict[tuple[Kind, Any], Callable[[Any], object]] = {
    **{(Kind.FLOAT, kind): float for kind in (*_INTEGERS, _T.Float, _T.Double)},
    **{(Kind.INT, kind): lambda value: value if value in _INT64 else None for kind in _INTEGERS},
    **{(Kind.UINT64, kind): lambda value: value if value >= 0 else None for kind in _INTEGERS},
    (Kind.BOOL, _T.Boolean): int,
    (Kind.TEXT, _T.String): _valid,
    (Kind.TEXT, _T.LocalizedText): _localized,
    (Kind.TEXT, _T.DateTime): lambda value: None if value is None else iso_time(value),
    (Kind.TEXT, _T.Guid): str,
}
_FILLER: dict[Kind, object] = {Kind.FLOAT: math.nan, Kind.INT: 0, Kind.UINT64: 0, Kind.BOOL: 0, Kind.TEXT: None}
_COLUMN = {Kind.FLOAT: np.float64, Kind.INT: np.int64, Kind.BOOL: np.int64, Kind.UINT64: np.uint64}


def source_time_ns(value: Any) -> int:
    """The device's own timestamp, ns since the epoch; 0 where it has none."""
    stamp: datetime | None = value.SourceTimestamp
    if stamp is None:
        return 0
    since_ns = (stamp - _EPOCH) // _MICROSECOND * 1000
    return since_ns if 0 <= since_ns < 2**63 - 10_000 else 0


def understand(value: Any, kind: Kind) -> tuple[object, int]:
    """A DataValue as (value, status). What is Bad, or not of the tag's kind, has a filler for a value."""
    status = Status.GOOD if value.StatusCode is None else value.StatusCode.value
    if is_bad(status):
        return _FILLER[kind], status
    variant = value.Value
    convert = None if variant is None or variant.is_array else _CONVERTERS.get((kind, variant.VariantType))
    converted = None if convert is None else convert(variant.Value)
    if converted is None:
        return _FILLER[kind], Status.BAD_TYPE_MISMATCH
    if isinstance(converted, float) and not math.isfinite(converted):
        return math.nan, Status.BAD_SENSOR_FAILURE
    return converted, status


def frames_of(device: str, acquired_ns: int, kinds: Sequence[Kind], readings: Iterable[Reading]) -> list[Frame]:
    """Lay readings into frames, oldest first; a tag that is there twice comes in successive ones.

    Readings are taken in the order of their source times, each tag's own order being kept whatever the times say, and a new
    layer of frames (one per column type) begins whenever a tag comes again. So no layer holds a reading older than one of the
    layer before, and what a device did in turn can be seen in turn.
    """
    frames: list[Frame] = []
    layer: dict[int, Any] = {}
    for tag, value in _by_time(readings):
        if tag in layer:
            frames += _layer_frames(device, acquired_ns, kinds, layer)
            layer = {}
        layer[tag] = value
    return frames + _layer_frames(device, acquired_ns, kinds, layer)


def _by_time(readings: Iterable[Reading]) -> list[Reading]:
    latest: dict[int, int] = {}
    keyed = []
    for tag, value in readings:
        latest[tag] = max(source_time_ns(value), latest.get(tag, 0))
        keyed.append((latest[tag], (tag, value)))
    keyed.sort(key=lambda pair: pair[0])
    return [reading for _, reading in keyed]


def _layer_frames(device: str, acquired_ns: int, kinds: Sequence[Kind], layer: dict[int, Any]) -> list[Frame]:
    columns: dict[Any, list[int]] = {}
    for tag in layer:
        columns.setdefault(_COLUMN.get(kinds[tag]), []).append(tag)
    frames = []
    for dtype, tags in columns.items():
        understood = [understand(layer[tag], kinds[tag]) for tag in tags]
        values = [value for value, _ in understood]
        column: Column = values if dtype is None else np.array(values, dtype)
        status = np.array([status for _, status in understood], np.uint32)
        source_ns = np.array([source_time_ns(layer[tag]) for tag in tags], np.int64)
        frames.append(Frame(device, acquired_ns, np.array(tags, np.int32), column, status, source_ns))
    return frames
