"""Registers and bits to columns. Sans-IO, vectorised.

All answers of a scan class are laid end to end into one `image`. A layout, compiled once, holds for every byte of every numeric
value its place in the image, so that one gather brings values of any type and byte order into lanes that numpy reads as they
stand. A whole number has a lane of eight bytes: an unsigned one stands at its low end, a signed one at its high end and is then
shifted down, which extends its sign. No Python object is made per numeric reading.

Sources: MODBUS Application Protocol V1.1b3, 4.2 (a register is sent high byte first), 6.1 (bits are packed from the lowest bit of
the first byte). Vectors: tests/vectors/registers.toml, e.g. 123456.0 is 47F1 2000 (ABCD), 2000 47F1 (CDAB), F147 0020 (BADC),
0020 F147 (DCBA).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.modbus.datatypes import REGISTERS, DataType, byte_places
from drivers.modbus.field import Field as Field
from drivers.modbus.judging import Judge, Lanes, compile_judge
from drivers.modbus.texts import read_text
from drivers.model import Frame, Kind
from drivers.status import Status

Fault = tuple[Iterable[int], Status]
"""Tags that could not be read, and why."""
_LANE_BYTES = 8
_SHARED_LAYOUTS = 256
_FLOATS = ("<f8", "<f4", "<f2")


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """What all frames of one column type share; neither array is writable."""

    tags: npt.NDArray[np.int32]
    good: npt.NDArray[np.uint32]
    """(n,) zeros: the status when every reading is Good."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A compiled scan class. Decoding writes its scratch: one layout serves one thread."""

    size: int
    """Bytes of the image."""
    gather: npt.NDArray[np.intp]
    """(m,) for every byte of scratch, its place in the image; `size` stands for a zero byte."""
    scratch: npt.NDArray[np.uint8]
    """(m,) the five views below, end to end."""
    integers: npt.NDArray[np.int64]
    """(i,) lanes of whole numbers and bools: those that stay whole, then the scaled ones."""
    unsigned: npt.NDArray[np.uint64]
    """(u,) the same for uint64."""
    doubles: npt.NDArray[np.float64]
    singles: npt.NDArray[np.float32]
    halves: npt.NDArray[np.float16]
    reals: tuple[npt.NDArray[Any], ...]
    """Those of the last three that are there."""
    shifts: npt.NDArray[np.int64]
    """(i,) how far each lane of `integers` is shifted down."""
    masks: npt.NDArray[np.int64] | None
    """(i,) 1 for a bool, all bits for a number; None without bools."""
    whole: Column
    """The first of `integers`."""
    wide: Column
    """The first of `unsigned`."""
    real: Column
    """`doubles`, `singles`, `halves`, the rest of `integers`, the rest of `unsigned`."""
    scale: npt.NDArray[np.float64] | None
    """Of `real`; None when all are 1."""
    offset: npt.NDArray[np.float64] | None
    """Of `real`; None when all are 0."""
    zeros: npt.NDArray[np.float64]
    """As many as `real` has."""
    texts: tuple[Field, ...]
    text: Column
    judge: Judge | None
    """What makes a number that could be read doubtful or wrong; None when nothing does."""
    plain: np.dtype[Any] | None
    """The type of all numbers, when they fill the image one after the other in an order that numpy reads: no gathering then."""
    quiet: Context
    """A context in which numpy takes overflows and signalling NaNs without a warning: here they make a reading Bad."""


def compile_layout(fields: Sequence[Field], size: int) -> Layout:
    """Prepare the decoding of an image of `size` bytes.

    Devices of one make share a layout: a thousand of them then take the memory, and the cache, of one.
    """
    return _layout(tuple(fields), size, threading.get_ident())


@lru_cache(_SHARED_LAYOUTS)
def _layout(fields: tuple[Field, ...], size: int, _thread: int) -> Layout:

    def chosen(*types: DataType) -> list[Field]:
        """Those of these types, the scaled ones last."""
        inside = (field for field in fields if field.type in types and field.kind is not Kind.TEXT)
        return sorted(inside, key=lambda field: field.kind is Kind.FLOAT)

    integers = chosen(*(kind for kind in DataType if kind.is_integer and kind is not DataType.UINT64), DataType.BOOL)
    unsigned, doubles = chosen(DataType.UINT64), chosen(DataType.FLOAT64)
    singles, halves = chosen(DataType.FLOAT32), chosen(DataType.FLOAT16)
    texts = [field for field in fields if field.kind is Kind.TEXT]
    places = [place for field in integers for place in _lane(field, size)]
    places += [place for field in (*unsigned, *doubles, *singles, *halves) for place in _byte_places(field)]
    scratch = np.zeros(len(places), np.uint8)
    lanes = [_LANE_BYTES * len(group) for group in (integers, unsigned, doubles)] + [4 * len(singles)]
    ends = np.cumsum(lanes).tolist()
    floats = tuple(scratch[start:end].view(kind) for start, end, kind in zip(ends[1:], [*ends[2:], None], _FLOATS, strict=True))
    real = [*doubles, *singles, *halves, *(field for field in (*integers, *unsigned) if field.kind is Kind.FLOAT)]
    whole, wide = ([field for field in group if field.kind is not Kind.FLOAT] for group in (integers, unsigned))
    scale, offset = np.array([field.scale for field in real]), np.array([field.offset for field in real])
    masks = np.array([1 if field.type is DataType.BOOL else -1 for field in integers], np.int64)
    return Layout(
        size=size,
        gather=np.array(places, np.intp),
        scratch=scratch,
        integers=scratch[: ends[0]].view("<i8"),
        unsigned=scratch[ends[0] : ends[1]].view("<u8"),
        doubles=floats[0],
        singles=floats[1],
        halves=floats[2],
        reals=tuple(view for view in floats if len(view)),
        shifts=np.array([_shift(field) for field in integers], np.int64),
        masks=masks if (masks == 1).any() else None,
        whole=_column(whole),
        wide=_column(wide),
        real=_column(real),
        scale=scale if (scale != 1.0).any() else None,
        offset=offset if (offset != 0.0).any() else None,
        zeros=np.zeros(len(real)),
        texts=tuple(texts),
        text=_column(texts),
        judge=compile_judge(Lanes(integers, unsigned, [*doubles, *singles, *halves]), (whole, wide, real)),
        plain=_plain(fields, size),
        quiet=_quiet_context(),
    )


def decode(
    layout: Layout,
    image: bytes,
    device: str,
    acquired_ns: int,
    faults: Sequence[Fault] = (),
) -> list[Frame]:
    """Turn an image into frames, one per column type.

    Args:
        image: (layout.size,) the data of all answers, end to end; zeros where an answer is missing.
        faults: tags that could not be read, and why; what the image holds for them is ignored.

    Returns:
        Frames in which each tag of the layout is once. A NaN, an infinity or a text that its encoding doesn't allow is Bad.
    """
    if len(image) != layout.size:
        raise ValueError(f"image of {len(image)} bytes for a layout of {layout.size}")
    if layout.plain is not None and layout.judge is None:
        numbers = np.frombuffer(image, layout.plain)
        if not faults and (column := layout.whole).good.size:
            return [Frame(device, acquired_ns, column.tags, numbers.astype(np.int64), column.good)]
        return [_plain_frame(layout, numbers, device, acquired_ns, faults)]
    np.frombuffer(image + b"\0", np.uint8).take(layout.gather, None, layout.scratch, "clip")
    integers = layout.integers >> layout.shifts
    if layout.masks is not None:
        integers &= layout.masks
    n_whole, n_wide = len(layout.whole.tags), len(layout.wide.tags)
    columns: list[tuple[int, Column, npt.NDArray[Any], npt.NDArray[np.uint32]]] = []
    if n_whole:
        columns.append((0, layout.whole, integers[:n_whole], layout.whole.good))
    if n_wide:
        columns.append((1, layout.wide, layout.unsigned[:n_wide].copy(), layout.wide.good))
    judge, raw = layout.judge, None
    if judge is not None:
        raw = layout.quiet.run(judge.take_raw, integers, layout.unsigned, layout.doubles, layout.singles, layout.halves)
    if len(layout.zeros):
        values, status = layout.quiet.run(_reals, layout, integers[n_whole:], layout.unsigned[n_wide:])
        columns.append((2, layout.real, values, status))
    frames = []
    for number, column, values, status in columns:
        if judge is not None and raw is not None:
            status = judge.status_of(number, column.tags, values, status, raw)
        frames.append(_frame(device, acquired_ns, column, values, status, faults, judged=judge is not None))
    if layout.texts:
        texts, status = _texts(layout, image)
        frames.append(_frame(device, acquired_ns, layout.text, texts, status, faults))
    return frames


def _plain_frame(layout: Layout, raw: npt.NDArray[Any], device: str, acquired_ns: int, faults: Sequence[Fault]) -> Frame:
    if len(layout.zeros):
        values, status = layout.quiet.run(_engineering, layout, raw.astype(np.float64))
        return _frame(device, acquired_ns, layout.real, values, status, faults)
    if len(layout.whole.tags):
        return _frame(device, acquired_ns, layout.whole, raw.astype(np.int64), layout.whole.good, faults)
    return _frame(device, acquired_ns, layout.wide, raw.astype(np.uint64), layout.wide.good, faults)


def _byte_places(field: Field) -> list[int]:
    """Places in the image of a number's bytes, least significant first."""
    if field.type.is_byte:
        return [field.position]
    places = byte_places(field.order, REGISTERS[field.type])
    return [field.position + place for place in reversed(places)]


def _lane(field: Field, zero: int) -> list[int]:
    """Places of the eight bytes of a whole number's lane, least significant first; `zero` is the place of a zero byte."""
    places = [field.position] if field.type is DataType.BOOL else _byte_places(field)
    padding = [zero] * (_LANE_BYTES - len(places))
    return padding + places if field.is_signed else places + padding


def _plain(fields: Sequence[Field], size: int) -> np.dtype[Any] | None:
    """See Layout.plain."""
    first = fields[0]
    if not first.type.is_number or first.kind is Kind.TEXT or len({(f.type, f.order, f.kind) for f in fields}) > 1:
        return None
    width = first.type.bits // 8
    if [field.position for field in fields] != list(range(0, size, width)):
        return None
    places = list(byte_places(first.order, REGISTERS[first.type]))
    if places not in (sorted(places), sorted(places, reverse=True)):
        return None
    order = ">" if places == sorted(places) else "<"
    letter = "i" if first.is_signed else "u" if first.type.is_integer else "f"
    return np.dtype(f"{order}{letter}{width}")


def _shift(field: Field) -> int:
    if field.type is DataType.BOOL:
        return field.bit
    return 64 - field.type.bits if field.is_signed else 0


def _column(fields: Sequence[Field]) -> Column:
    column = Column(np.array([field.tag for field in fields], np.int32), np.zeros(len(fields), np.uint32))
    column.tags.setflags(write=False)
    column.good.setflags(write=False)
    return column


def _quiet_context() -> Context:
    """numpy keeps its error handling in a context variable; entering a ready context costs a tenth of numpy.errstate()."""
    context = copy_context()
    context.run(lambda: np.seterr(all="ignore"))
    return context


def _reals(
    layout: Layout, integers: npt.NDArray[np.int64], unsigned: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
    return _engineering(layout, np.concatenate((*layout.reals, integers, unsigned), dtype=np.float64, casting="unsafe"))


def _engineering(layout: Layout, values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
    if layout.scale is not None:
        values *= layout.scale
    if layout.offset is not None:
        values += layout.offset
    # Zero times a finite number is zero, times a NaN or an infinity a NaN: one product tells whether all are finite.
    if values.dot(layout.zeros) == 0.0:
        return values, layout.real.good
    finite = np.isfinite(values)
    values[~finite] = np.nan
    return values, np.where(finite, np.uint32(Status.GOOD), np.uint32(Status.BAD_SENSOR_FAILURE))


def _texts(layout: Layout, image: bytes) -> tuple[list[object], npt.NDArray[np.uint32]]:
    readings = [read_text(field, image[field.position : field.position + 2 * field.registers]) for field in layout.texts]
    return [value for value, _ in readings], np.array([status for _, status in readings], np.uint32)


def _frame(
    device: str,
    acquired_ns: int,
    column: Column,
    values: npt.NDArray[Any] | list[object],
    status: npt.NDArray[np.uint32],
    faults: Sequence[Fault],
    *,
    judged: bool = False,
) -> Frame:
    """A frame of the readings, those of faulty tags blanked and given their status."""
    if faults or judged:
        status = status.copy()
        for faulty, code in faults:
            status[np.isin(column.tags, np.fromiter(faulty, np.int32))] = code
        if isinstance(values, list):
            values = [None if code >= Status.BAD else value for value, code in zip(values, status.tolist(), strict=True)]
        else:
            values[status >= Status.BAD] = np.nan if values.dtype.kind == "f" else 0
    return Frame(device, acquired_ns, column.tags, values, status)
