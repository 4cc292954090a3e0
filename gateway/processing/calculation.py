"""Calculated tags: every expression of a device at once, an operation of all of them in one numpy call.

The expressions' steps are laid out as rows of one register file, by the depth of what they need; steps of one depth that do the
same are neighbours. So the number of numpy calls grows with the number of different operations, not with that of tags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from drivers.model import Frame
from drivers.status import Status

if TYPE_CHECKING:
    from gateway.processing.expression import Step

_BAD = np.uint32(0x8000_0000)
_MOST_INDEXES = 64
_OUT_OF_RANGE = np.uint32(Status.BAD_OUT_OF_RANGE)

Registers = npt.NDArray[np.float64]
_Index = TypeVar("_Index", np.int32, np.intp)
_Operation = Callable[..., npt.NDArray[Any]]


def _choose(condition: Registers, then: Registers, otherwise: Registers) -> Registers:
    return np.where(condition != 0, then, otherwise)


_OPERATIONS: Mapping[str, _Operation] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power, "negate": np.negative, "mod": np.mod,
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "min": np.minimum, "max": np.maximum,
    "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "round": np.rint, "sqrt": np.sqrt, "exp": np.exp, "ln": np.log,
    "log10": np.log10, "if": _choose,
}  # fmt: skip


def cut(places: npt.NDArray[_Index]) -> npt.NDArray[_Index] | slice:
    """As a slice where they ascend by equal steps."""
    if not len(places):
        return places
    first, last = int(places[0]), int(places[-1])
    by = (last - first) // max(1, len(places) - 1) or 1
    is_run = by > 0 and np.array_equal(places, np.arange(first, first + by * len(places), by))
    return slice(first, last + 1, by) if is_run else places


class LastValues:
    """The newest value and status of every tag of a device, for calculations; Booleans as 0 and 1."""

    def __init__(self, n: int) -> None:
        self.values = np.full(n, np.nan)
        self.status = np.full(n, Status.BAD_WAITING_FOR_INITIAL_DATA, np.uint32)
        self.watched: set[int] = set()
        """Tags whose texts are kept."""
        self.texts: dict[int, object] = {}
        self._indexes: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int32] | slice]] = {}
        """Of tags that come again and again, by their identities: the tags, so that no others take their place, and a slice."""

    def take(self, frame: Frame) -> None:
        """`frame` is the newest of its tags. Of texts that aren't watched only the status is kept."""
        known = self._indexes.get(id(frame.tags))
        index = self._index_of(frame.tags) if known is None else known[1]
        if not isinstance(frame.values, list):
            self.values[index] = frame.values
        elif self.watched:
            pairs = zip(frame.tags.tolist(), frame.values, strict=True)
            self.texts.update((tag, text) for tag, text in pairs if tag in self.watched)
        self.status[index] = frame.status

    def _index_of(self, tags: npt.NDArray[np.int32]) -> npt.NDArray[np.int32] | slice:
        if tags.flags.writeable:
            return tags
        if len(self._indexes) == _MOST_INDEXES:
            self._indexes.clear()
        self._indexes[id(tags)] = tags, cut(tags)
        return self._indexes[id(tags)][1]


@dataclass(frozen=True, slots=True)
class Input:
    """A tag that an expression reads: its device's last values, and its index there."""

    last: LastValues
    tag: int


@dataclass(frozen=True, slots=True)
class Calculated:
    """One calculated tag."""

    tag: int
    """Its own index in its device's table."""
    is_bool: bool
    steps: Sequence[Step]
    inputs: Mapping[str, Input | int]
    """By the names in `steps`; an integer is the index of another calculated tag of this device."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Steps that are done in one call."""

    operation: _Operation
    out: slice
    args: tuple[npt.NDArray[np.intp], ...]


@dataclass(slots=True)
class _Node:
    """A step of all expressions together."""

    op: str
    args: tuple[int, ...]
    depth: int
    number: float = 0.0
    source: Input | None = None


class Calculation:
    """The calculated tags of one device.

    Numbers are IEEE 754 binary64; a 64-bit integer beyond 2^53 is rounded. What has a Bad input is Bad with the input's status,
    the gravest of several; what has an Uncertain one is Uncertain. A division by zero, an overflow, the logarithm or root of a
    negative number, and what is made of such a result, are Bad (BadOutOfRange). No value raises.
    """

    def __init__(self, device: str, calculated: Sequence[Calculated]) -> None:
        """`calculated`: one that another one reads stands before it."""
        self._device = device
        nodes, results = _flatten(calculated)
        order = sorted(range(len(nodes)), key=lambda place: (nodes[place].depth, nodes[place].op, place))
        register = {place: at for at, place in enumerate(order)}
        laid = [nodes[place] for place in order]
        self._values: Registers = np.array([node.number for node in laid])
        self._status = np.zeros(len(laid), np.uint32)
        self._groups = _groups(laid, register)
        self._sources = _sources(laid)
        places = [register[results[one.tag]] for one in calculated]
        self._outputs = [
            (
                _fixed([one.tag for one in calculated if one.is_bool is is_bool], np.int32),
                _fixed([place for one, place in zip(calculated, places, strict=True) if one.is_bool is is_bool], np.intp),
                is_bool,
            )
            for is_bool in (False, True)
            if any(one.is_bool is is_bool for one in calculated)
        ]

    def frames(self, acquired_ns: int) -> list[Frame]:
        """Every calculated tag, from the newest values: numbers in one frame, Booleans in another."""
        values = self._values
        is_good = True
        for last, tags, registers in self._sources:
            values[registers] = last.values[tags]
            status = last.status[tags]
            self._status[registers] = status
            is_good = is_good and not status.any()
        with np.errstate(all="ignore"):
            for group in self._groups:
                values[group.out] = group.operation(*(values[arg] for arg in group.args))
        is_good = is_good and bool(np.isfinite(values).all())
        if not is_good:
            self._judge()
        return [self._frame(acquired_ns, tags, registers, is_bool, is_good) for tags, registers, is_bool in self._outputs]

    def _judge(self) -> None:
        """The status of every register: the gravest of its arguments', or that its own value is none."""
        status = self._status
        unusable = ~np.isfinite(self._values)
        for _, _, registers in self._sources:
            status[registers] = _marked(status[registers], unusable[registers])
        for group in self._groups:
            gravest = np.zeros(group.out.stop - group.out.start, np.uint32)
            for arg in group.args:
                gravest = np.maximum(gravest, status[arg])
            status[group.out] = _marked(gravest, unusable[group.out])

    def _frame(
        self, acquired_ns: int, tags: npt.NDArray[np.int32], registers: npt.NDArray[np.intp], is_bool: bool, is_good: bool
    ) -> Frame:
        values = self._values[registers]
        status = np.zeros(len(tags), np.uint32) if is_good else self._status[registers]
        if not is_good:
            values = np.where(status & _BAD != 0, 0.0 if is_bool else np.nan, values)
        return Frame(self._device, acquired_ns, tags, values.astype(np.int64) if is_bool else values, status)


def _marked(status: npt.NDArray[np.uint32], unusable: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    return np.where(unusable & (status & _BAD == 0), _OUT_OF_RANGE, status)


def _flatten(calculated: Sequence[Calculated]) -> tuple[list[_Node], dict[int, int]]:
    """The steps of all expressions, a tag that is read twice once; and where each calculated tag's result is, by its index."""
    nodes: list[_Node] = []
    results: dict[int, int] = {}
    read: dict[tuple[int, int], int] = {}
    for one in calculated:
        placed: list[int] = []
        for step in one.steps:
            if step.op == "tag":
                source = one.inputs[step.name]
                if isinstance(source, int):
                    placed.append(results[source])
                    continue
                key = (id(source.last), source.tag)
                if key not in read:
                    read[key] = len(nodes)
                    nodes.append(_Node("tag", (), 0, source=source))
                placed.append(read[key])
                continue
            args = tuple(placed[arg] for arg in step.args)
            placed.append(len(nodes))
            if step.op in _OPERATIONS:
                nodes.append(_Node(step.op, args, 1 + max(nodes[arg].depth for arg in args)))
            else:
                nodes.append(_Node("number", (), 0, number=step.number if step.op == "number" else float(step.op == "true")))
        results[one.tag] = placed[-1]
    return nodes, results


def _groups(laid: Sequence[_Node], register: Mapping[int, int]) -> list[_Group]:
    groups: list[_Group] = []
    start = 0
    while start < len(laid):
        node = laid[start]
        stop = start
        while stop < len(laid) and (laid[stop].depth, laid[stop].op) == (node.depth, node.op):
            stop += 1
        if node.args:
            args = zip(*(laid[at].args for at in range(start, stop)), strict=True)
            indexes = tuple(_fixed([register[place] for place in column], np.intp) for column in args)
            groups.append(_Group(_OPERATIONS[node.op], slice(start, stop), indexes))
        start = stop
    return groups


def _sources(laid: Sequence[_Node]) -> list[tuple[LastValues, npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """For each device that is read: its last values, the tags there, and their registers here."""
    by_device: dict[int, tuple[LastValues, list[int], list[int]]] = {}
    for at, node in enumerate(laid):
        if node.source is not None:
            _, tags, registers = by_device.setdefault(id(node.source.last), (node.source.last, [], []))
            tags.append(node.source.tag)
            registers.append(at)
    return [(last, _fixed(tags, np.intp), _fixed(registers, np.intp)) for last, tags, registers in by_device.values()]


def _fixed(numbers: Sequence[int], dtype: type[np.signedinteger[Any]]) -> npt.NDArray[Any]:
    """An array that nobody can write to, so that what knows it may recognise it."""
    array = np.array(numbers, dtype)
    array.flags.writeable = False
    return array
