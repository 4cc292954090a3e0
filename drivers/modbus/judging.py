"""Numbers that could be read and yet mean nothing, or too much: fill values, limits, digits that are none. Sans-IO, vectorised.

Only layouts with such a tag have a judge; the others don't pay for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from drivers.modbus.field import Field
from drivers.status import Status

_NIBBLES = np.arange(8, dtype=np.int64)
_POWERS = 10**_NIBBLES


class Lanes(NamedTuple):
    """The fields of a layout in the order of their raw values."""

    integers: Sequence[Field]
    unsigned: Sequence[Field]
    reals: Sequence[Field]


class _Fill(NamedTuple):
    """Comparisons within one array of raw values, each a row."""

    lanes: npt.NDArray[np.intp]
    values: npt.NDArray[Any]
    tags: npt.NDArray[np.int32]
    status: npt.NDArray[np.uint32]


class _Limits(NamedTuple):
    """Of one column, a row per tag that has any."""

    places: npt.NDArray[np.intp]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    status: npt.NDArray[np.uint32]
    clamps: npt.NDArray[np.bool_]


class Raw(NamedTuple):
    """What the raw values said: tags, and the status of each."""

    tags: npt.NDArray[np.int32]
    status: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Compiled checks of one layout."""

    fills: tuple[_Fill | None, _Fill | None, _Fill | None]
    """Of the whole numbers, of those of uint64, of the reals."""
    bcd_lanes: npt.NDArray[np.intp]
    bcd_tags: npt.NDArray[np.int32]
    limits: tuple[_Limits | None, ...]
    """Of each column."""

    def take_raw(
        self,
        integers: npt.NDArray[np.int64],
        unsigned: npt.NDArray[np.uint64],
        doubles: npt.NDArray[np.float64],
        singles: npt.NDArray[np.float32],
        halves: npt.NDArray[np.float16],
    ) -> Raw:
        """Compare raw values with fill values, and turn BCD digits in `integers` into numbers, in place."""
        reals = np.concatenate((doubles, singles, halves), dtype=np.float64)
        found = [_filled(fill, raw) for fill, raw in zip(self.fills, (integers, unsigned, reals), strict=True) if fill]
        if len(self.bcd_lanes):
            digits = integers[self.bcd_lanes][:, None] >> 4 * _NIBBLES & 0xF
            wrong = (digits > 9).any(axis=1)
            integers[self.bcd_lanes] = digits @ _POWERS
            found.insert(0, Raw(self.bcd_tags[wrong], np.full(int(wrong.sum()), Status.BAD_TYPE_MISMATCH, np.uint32)))
        if not found:
            return Raw(np.zeros(0, np.int32), np.zeros(0, np.uint32))
        return Raw(np.concatenate([one.tags for one in found]), np.concatenate([one.status for one in found]))

    def status_of(
        self, column: int, tags: npt.NDArray[np.int32], values: npt.NDArray[Any], status: npt.NDArray[np.uint32], raw: Raw
    ) -> npt.NDArray[np.uint32]:
        """The status of a column's readings; values that are to be clamped are, in place."""
        status = status.copy()
        for place in np.flatnonzero(np.isin(tags, raw.tags)).tolist():
            status[place] = raw.status[raw.tags == tags[place]][-1]
        limits = self.limits[column]
        if limits is not None:
            _limit(limits, values, status)
        return status


def compile_judge(lanes: Lanes, columns: Sequence[Sequence[Field]]) -> Judge | None:
    """The judge of these fields, which stand in these columns; None when there is nothing to judge."""
    fields = [*lanes.integers, *lanes.unsigned, *lanes.reals]
    bcd = [(lane, field.tag) for lane, field in enumerate(lanes.integers) if field.type.is_bcd]
    whole, wide, real = columns
    limits = (_limits(whole, whole_numbers=True), _limits(wide, whole_numbers=True), _limits(real, whole_numbers=False))
    if not bcd and not any(limits) and not any(field.fill for field in fields):
        return None
    return Judge(
        fills=(_fill(lanes.integers, np.int64), _fill(lanes.unsigned, np.uint64), _fill(lanes.reals, np.float64)),
        bcd_lanes=np.array([lane for lane, _ in bcd], np.intp),
        bcd_tags=np.array([tag for _, tag in bcd], np.int32),
        limits=limits,
    )


def _limits(column: Sequence[Field], *, whole_numbers: bool) -> _Limits | None:
    """Limits of a column. Whole numbers get the nearest whole ones within, so that a clamped value is within them, too."""
    rows = [(place, field) for place, field in enumerate(column) if field.low is not None or field.high is not None]
    if not rows:
        return None
    return _Limits(
        np.array([place for place, _ in rows], np.intp),
        np.array([-np.inf if field.low is None else ceil(field.low) if whole_numbers else field.low for _, field in rows]),
        np.array([np.inf if field.high is None else floor(field.high) if whole_numbers else field.high for _, field in rows]),
        np.array([field.beyond for _, field in rows], np.uint32),
        np.array([field.clamps for _, field in rows]),
    )


def _limit(limits: _Limits, values: npt.NDArray[Any], status: npt.NDArray[np.uint32]) -> None:
    read = values[limits.places]
    below, above = read < limits.low, read > limits.high
    beyond = (below | above) & (status[limits.places] == Status.GOOD)
    if not beyond.any():
        return
    status[limits.places[beyond]] = limits.status[beyond]
    for wrong, limit in ((below, limits.low), (above, limits.high)):
        clamped = wrong & beyond & limits.clamps
        values[limits.places[clamped]] = limit[clamped]


def _fill(fields: Sequence[Field], dtype: type[Any]) -> _Fill | None:
    rows = [(lane, _raw(value, field), field) for lane, field in enumerate(fields) for value in field.fill]
    if not rows:
        return None
    return _Fill(
        np.array([lane for lane, _, _ in rows], np.intp),
        np.array([value for _, value, _ in rows], dtype),
        np.array([field.tag for _, _, field in rows], np.int32),
        np.array([field.filled for _, _, field in rows], np.uint32),
    )


def _raw(value: float, field: Field) -> float:
    """A fill value as it comes out of the codec: 0x8000 of an int16 is -32768, -1 of uint16 65535, 0.1 of float32 its nearest."""
    if field.type.is_integer:
        bits = int(value) & (1 << field.type.bits) - 1
        return bits - (1 << field.type.bits) if field.is_signed and bits >> field.type.bits - 1 else bits
    with np.errstate(all="ignore"):
        return float(np.dtype(f"f{field.type.bits // 8}").type(value))


def _filled(fill: _Fill, raw: npt.NDArray[Any]) -> Raw:
    hits = raw[fill.lanes] == fill.values
    return Raw(fill.tags[hits], fill.status[hits])
