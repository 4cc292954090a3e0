"""The datum, from the wire to the broker: columns, not objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float64] | npt.NDArray[np.int64] | npt.NDArray[np.uint64] | list[object]
"""Engineering values, (n,). Numbers in an array (64-bit integers stay exact), strings and structures in a list."""


class Kind(IntEnum):
    """What a tag's value is once decoded; it decides the column's type and how an edge prints it."""

    FLOAT = 0
    INT = 1
    """int64 column."""
    UINT64 = 2
    BOOL = 3
    """int64 column holding 0 and 1."""
    TEXT = 4
    """list column of str."""


@dataclass(frozen=True, slots=True)
class TagTable:
    """A device's tags, compiled once when the configuration is applied. A tag's index is its place here."""

    device: str
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    units: tuple[str | None, ...]
    """UCUM or the operator's own unit; None where none was given."""


@dataclass(
    slots=True, eq=False
)  # Not frozen: freezing doubles the cost of making one, and one is made per poll. Nobody changes one.
class Frame:
    """Readings of one device, taken together; each tag at most once.

    Where `status` is Bad the value is a filler (NaN, 0 or None) that must not be shown: a fault is a status, never a made-up
    value.
    """

    device: str
    acquired_ns: int
    """Gateway clock when the response arrived, ns since the epoch, UTC."""
    tags: npt.NDArray[np.int32]
    """(n,) indexes into the device's TagTable."""
    values: Column
    """(n,)"""
    status: npt.NDArray[np.uint32]
    """(n,) OPC UA StatusCodes."""
    source_ns: npt.NDArray[np.int64] | None = None
    """(n,) the device's own timestamps, ns since the epoch, where it has them; 0 where one value lacks it."""


def bad_frame(device: str, acquired_ns: int, tags: npt.NDArray[np.int32], status: int) -> Frame:
    """A frame that says why nothing could be read: every tag NaN with `status`."""
    n = len(tags)
    return Frame(device, acquired_ns, tags, np.full(n, np.nan), np.full(n, status, np.uint32))


def value_at(column: Column, index: int, kind: Kind) -> object:
    """One reading as a Python object (float, int, bool, str), for the edges only."""
    if isinstance(column, list):
        return column[index]
    value = column[index].item()
    return bool(value) if kind is Kind.BOOL else value


def select(frame: Frame, keep: npt.NDArray[np.bool_]) -> Frame:
    """The readings of `frame` where `keep` (n,) is true, order kept."""
    values: Column
    if isinstance(frame.values, list):
        values = [value for value, kept in zip(frame.values, keep, strict=True) if kept]
    else:
        values = frame.values[keep]
    source = None if frame.source_ns is None else frame.source_ns[keep]
    return Frame(frame.device, frame.acquired_ns, frame.tags[keep], values, frame.status[keep], source)


def reading_count(frames: Sequence[Frame]) -> int:
    """How many readings the frames hold."""
    return len(frames[0].tags) if len(frames) == 1 else sum(len(frame.tags) for frame in frames)
