"""The calculated tags of a gateway's settings: parsed, their names resolved, ordered so that none is read before it is made.

Those that read derived tags, or calculated ones that do, are only parsed here: what they come to stands with the derived ones, in
gateway/derived/outline.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from config.settings import Mistake
from drivers.model import Kind, TagTable
from gateway.processing.expression import ExpressionMistake, Operand, Step, judge, parse

if TYPE_CHECKING:
    from gateway.processing.settings import CalculatedSettings


@dataclass(frozen=True, slots=True)
class Reference:
    """A tag that an expression reads."""

    device: str
    tag: int
    """Its index in its device's extended table: the driver's tags, then the calculated ones in the order of the settings."""
    formula: int | None
    """The place of the calculated tag in the settings, if it is one."""
    is_derived: bool = False
    """It is a derived tag, whose index isn't known here."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A calculated tag that is free of mistakes."""

    place: int
    tag: int
    """Its own index in the extended table of its device."""
    settings: CalculatedSettings
    steps: tuple[Step, ...]
    references: Mapping[str, Reference]
    operand: Operand


class Formulas:
    """What the settings' calculated tags come to.

    `ordered` holds those that can be used, each after those it reads; `late` the steps of those that read derived tags, by place;
    `mistakes` what is wrong with the others, by their places ("calculated", i, field).
    """

    def __init__(
        self,
        calculated: Sequence[CalculatedSettings],
        tables: Mapping[str, TagTable],
        derived: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """`tables`: the drivers' tags by device; a device whose own settings have mistakes is left out.

        Args:
            derived: the names of derived tags by device.
        """
        self._derived = derived or {}
        self.ordered: list[Formula] = []
        self.mistakes: list[Mistake] = []
        self._calculated = calculated
        self._tables = tables
        self._operands: dict[int, Operand] = {}
        self._own: dict[tuple[str, str], Reference] = {}
        count: dict[str, int] = {}
        for place, one in enumerate(calculated):
            if one.device in tables:
                index = len(tables[one.device].names) + count.get(one.device, 0)
                count[one.device] = count.get(one.device, 0) + 1
                self._own.setdefault((one.device, one.name), Reference(one.device, index, place))
        parsed = dict(self._parsed())
        read = {place: self._references(place, steps) for place, steps in parsed.items()}
        late = _late(read)
        self.late = {place: parsed[place] for place in sorted(late)}
        for place in self._order({place: references for place, references in read.items() if place not in late}):
            if place in parsed:
                self._judge(place, parsed[place], read[place])

    def _parsed(self) -> Iterator[tuple[int, tuple[Step, ...]]]:
        for place, one in enumerate(self._calculated):
            if one.device not in self._tables:
                continue
            try:
                yield place, parse(one.expression)
            except ExpressionMistake as mistake:
                self._blame(place, mistake)

    def _references(self, place: int, steps: Sequence[Step]) -> dict[str, Reference]:
        """By the names that are known; the others are told when the formula is judged."""
        names = {step.name for step in steps if step.op == "tag"}
        found = {name: self._find(self._calculated[place].device, name) for name in names}
        return {name: reference for name, reference in found.items() if reference is not None}

    def _find(self, device: str, name: str) -> Reference | None:
        """A tag of that device first, else device.tag."""
        if (reference := self._tag(device, name)) is not None:
            return reference
        for other in self._tables:
            if name.startswith(f"{other}.") and (reference := self._tag(other, name[len(other) + 1 :])) is not None:
                return reference
        return None

    def _tag(self, device: str, name: str) -> Reference | None:
        names = self._tables[device].names
        if name in names:
            return Reference(device, names.index(name), None)
        if (device, name) in self._own:
            return self._own[(device, name)]
        return Reference(device, -1, None, is_derived=True) if name in self._derived.get(device, ()) else None

    def _order(self, read: Mapping[int, Mapping[str, Reference]]) -> list[int]:
        graph = {
            place: {reference.formula for reference in references.values() if reference.formula is not None}
            for place, references in read.items()
        }
        while True:
            try:
                return list(TopologicalSorter(graph).static_order())
            except CycleError as error:
                circle: list[int] = error.args[1]
                names = " -> ".join(f"{self._calculated[place].device}.{self._calculated[place].name}" for place in circle)
                for place in sorted(set(circle)):
                    self.mistakes.append((("calculated", place, "expression"), f"it is calculated of itself: {names}", None))
                    del graph[place]
                for needed in graph.values():
                    needed.difference_update(circle)

    def _judge(self, place: int, steps: tuple[Step, ...], references: Mapping[str, Reference]) -> None:
        if any(reference.formula is not None and reference.formula not in self._operands for reference in references.values()):
            return  # What it reads has a mistake of its own.
        one = self._calculated[place]

        def tag(name: str) -> Operand | None:
            return None if name not in references else self._operand(references[name], name)

        try:
            operand = judge(steps, tag)
        except ExpressionMistake as mistake:
            self._blame(place, mistake)
            return
        if one.unit is not None and operand.unit is not None and one.unit != operand.unit:
            self.mistakes.append((("calculated", place, "unit"), f"the expression is in {operand.unit}, not in {one.unit}", None))
            return
        self._operands[place] = Operand(operand.is_bool, one.unit or operand.unit)
        index = self._own[(one.device, one.name)].tag
        self.ordered.append(Formula(place, index, one, steps, references, self._operands[place]))

    def _operand(self, reference: Reference, name: str) -> Operand:
        if reference.formula is not None:
            return self._operands[reference.formula]
        table = self._tables[reference.device]
        kind = table.kinds[reference.tag]
        if kind is Kind.TEXT:
            raise ValueError(f"tag {name!r} is a text")
        return Operand(kind is Kind.BOOL, table.units[reference.tag])

    def _blame(self, place: int, mistake: ExpressionMistake) -> None:
        self.mistakes.append((("calculated", place, "expression"), f"column {mistake.column}: {mistake}", None))


def _late(read: Mapping[int, Mapping[str, Reference]]) -> set[int]:
    """The places of those that read derived tags, or others that do."""
    late = {place for place, references in read.items() if any(one.is_derived for one in references.values())}
    while True:
        more = {place for place, references in read.items() if any(one.formula in late for one in references.values())} - late
        if not more:
            return late
        late |= more
