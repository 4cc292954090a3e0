"""The derived tags of a gateway's settings: what each results in, what it reads, what is wrong; ordered by what they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from config.settings import Mistake
from drivers.model import Kind
from gateway.derived.results import Result, results_of
from gateway.derived.settings import (
    CountSettings,
    CycleSettings,
    DebounceSettings,
    DerivedSettings,
    EnergySettings,
    HysteresisSettings,
    LampSettings,
    OeeSettings,
    RateSettings,
    StateSettings,
    StopsSettings,
)
from gateway.derived.states import STATES
from gateway.derived.units import dimension, examples, hourly, same
from gateway.processing.expression import ExpressionMistake, Operand, Step, judge, parse

if TYPE_CHECKING:
    from gateway.processing.settings import CalculatedSettings

LONGEST_NAME = 64
_INPUTS: Mapping[type, Mapping[str, bool | None]] = {
    DebounceSettings: {"input": True},
    HysteresisSettings: {"input": False},
    LampSettings: {"input": True},
    CountSettings: {"input": False},
    RateSettings: {"input": False},
    StateSettings: {str(state): True for state in STATES},
    CycleSettings: {"input": None},
    StopsSettings: {"running": True, "unless": True},
    OeeSettings: {"count": False, "reject": False},
    EnergySettings: {"energy": False, "power": False, "count": False},
}
"""The expressions of each kind: whether a Boolean is wanted, a number, or either (None)."""
Node = tuple[str, int]
"""A section of the settings, derived or calculated, and the place there."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a name in an expression means."""

    device: str
    tag: int | None
    """Index in the device's table of driver's and calculated tags; None for a derived one."""
    place: int = -1
    suffix: str = ""
    formula: int = -1
    """The place of a calculated tag that reads derived ones."""

    @property
    def node(self) -> Node | None:
        """What must be known before it; None for what is known anyway."""
        if self.tag is None:
            return "derived", self.place
        return ("calculated", self.formula) if self.formula >= 0 else None


@dataclass(slots=True)
class Late:
    """A calculated tag that reads derived ones, or others that do."""

    place: int
    settings: CalculatedSettings
    steps: tuple[Step, ...]
    sources: dict[str, Source]
    """By the names in the expression."""
    operand: Operand | None = None
    depth: int = 0
    """It is calculated before the entries of this depth are derived."""


@dataclass(slots=True)
class Entry:
    """One entry of `derived` that is free of mistakes."""

    place: int
    settings: DerivedSettings
    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    """By field."""
    sources: dict[str, Source] = field(default_factory=dict)
    """By the names in the expressions; the tags of `state` and `order` too."""
    operands: dict[str, Operand] = field(default_factory=dict)
    results: tuple[Result, ...] = ()
    depth: int = 0
    """Entries of one depth need nothing of each other."""


@dataclass(frozen=True, slots=True)
class Known:
    """A device's tags that aren't derived: the driver's, then the calculated ones."""

    names: Sequence[str]
    kinds: Sequence[Kind]
    units: Sequence[str | None]
    late: Mapping[int, int] = field(default_factory=dict)
    """The places of those calculated tags that read derived ones, by index; what they are, is found out with the derived ones."""


class Outline:
    """`entries`, `late`: those that can be used, by place; `mistakes`: what is wrong with the others.

    Mistakes are at ("derived", place, field) and ("calculated", place, field). `late` is in the order in which they can be
    calculated.
    """

    def __init__(
        self,
        derived: Sequence[DerivedSettings],
        known: Mapping[str, Known],
        calculated: Sequence[CalculatedSettings] = (),
        late: Mapping[int, tuple[Step, ...]] | None = None,
    ) -> None:
        """`known`: by device; devices with mistakes of their own are left out; `late`: see Formulas."""
        self.entries: dict[int, Entry] = {}
        self.late: dict[int, Late] = {}
        self.mistakes: list[Mistake] = []
        self._derived = derived
        self._known = known
        self._places = {(one.device, one.name): place for place, one in reversed(list(enumerate(derived)))}
        drafts: dict[Node, Entry | Late] = {
            ("derived", place): entry for place, one in enumerate(derived) if (entry := self._draft(place, one)) is not None
        }
        for place, steps in (late or {}).items():
            sources = self._sources(calculated[place].device, _names(steps))
            drafts["calculated", place] = Late(place, calculated[place], steps, sources)
        needs = {node: self._needs(draft) for node, draft in drafts.items()}
        names = {node: (draft.settings.device, draft.settings.name) for node, draft in drafts.items()}
        for node in self._order(needs, names):
            if node in drafts and all(self._is_known(other) for other in needs[node]):  # else it has a mistake of its own
                draft = drafts[node]
                draft.depth = self._depth(draft)
                if isinstance(draft, Late):
                    self._judge_late(draft)
                else:
                    self._judge(draft)

    def _draft(self, place: int, one: DerivedSettings) -> Entry | None:
        if one.device not in self._known:
            return None
        entry = Entry(place, one)
        for name in _INPUTS[type(one)]:
            text = getattr(one, name)
            if text is None:
                continue
            try:
                entry.steps[name] = parse(text)
            except ExpressionMistake as mistake:
                self._blame(place, name, f"column {mistake.column}: {mistake}")
                return None
        read = {name for steps in entry.steps.values() for name in _names(steps)}
        if isinstance(one, OeeSettings):
            read |= {one.state} if one.order is None else {one.state, one.order}
        entry.sources = self._sources(one.device, read)
        return entry

    def _sources(self, device: str, names: Iterable[str]) -> dict[str, Source]:
        return {name: source for name in names if (source := self._find(device, name)) is not None}

    def _find(self, device: str, name: str) -> Source | None:
        """A tag of that device first, else device.tag."""
        if (source := self._tag(device, name)) is not None:
            return source
        for other in self._known:
            if name.startswith(f"{other}.") and (source := self._tag(other, name[len(other) + 1 :])) is not None:
                return source
        return None

    def _tag(self, device: str, name: str) -> Source | None:
        names = self._known[device].names
        if name in names:
            index = list(names).index(name)
            return Source(device, index, formula=self._known[device].late.get(index, -1))
        stems = [(name, ""), *((name[:at], name[at + 1 :]) for at, letter in enumerate(name) if letter == ".")]
        for stem, suffix in stems:
            place = self._places.get((device, stem))
            if place is not None and any(suffix == result.suffix for result in results_of(self._derived[place], {})):
                return Source(device, None, place, suffix)
        return None

    def _needs(self, draft: Entry | Late) -> set[Node]:
        """What a draft reads and must come after. Derived tags of another device are read as they were."""
        device = draft.settings.device
        return {
            node
            for source in draft.sources.values()
            if (node := source.node) is not None
            and (source.device == device or isinstance(draft, Late) or node[0] == "calculated")
        }

    def _is_known(self, node: Node) -> bool:
        return node[1] in (self.entries if node[0] == "derived" else self.late)

    def _depth(self, draft: Entry | Late) -> int:
        """Behind what it reads of its own device."""
        own = [one.node for one in draft.sources.values() if one.device == draft.settings.device]
        depths = [1 + self.entries[node[1]].depth for node in own if node is not None and node[0] == "derived"]
        depths += [self.late[node[1]].depth for node in own if node is not None and node[0] == "calculated"]
        return max(depths, default=0)

    def _order(self, needs: Mapping[Node, set[Node]], names: Mapping[Node, tuple[str, str]]) -> list[Node]:
        graph = {node: set(needed) for node, needed in needs.items()}
        while True:
            try:
                return list(TopologicalSorter(graph).static_order())
            except CycleError as error:
                circle: list[Node] = error.args[1]
                is_one = len({names[node][0] for node in circle}) == 1
                shown = " -> ".join(names[node][1] if is_one else ".".join(names[node]) for node in circle)
                for node in sorted(set(circle)):
                    field_, verb = ("name", "derived") if node[0] == "derived" else ("expression", "calculated")
                    self.mistakes.append(((*node, field_), f"it is {verb} of itself: {shown}", None))
                    del graph[node]

    def _judge_late(self, late: Late) -> None:
        one = late.settings

        def tag(name: str) -> Operand | None:
            source = late.sources.get(name)
            return None if source is None else self._operand(source, name)

        try:
            operand = judge(late.steps, tag)
        except ExpressionMistake as mistake:
            self.mistakes.append((("calculated", late.place, "expression"), f"column {mistake.column}: {mistake}", None))
            return
        if one.unit is not None and operand.unit is not None and one.unit != operand.unit:
            said = f"the expression is in {operand.unit}, not in {one.unit}"
            self.mistakes.append((("calculated", late.place, "unit"), said, None))
            return
        late.operand = Operand(operand.is_bool, one.unit or operand.unit)
        self.late[late.place] = late

    def _judge(self, entry: Entry) -> None:
        one, place = entry.settings, entry.place

        def tag(name: str) -> Operand | None:
            source = entry.sources.get(name)
            return None if source is None else self._operand(source, name)

        before = len(self.mistakes)
        for name, steps in entry.steps.items():
            try:
                operand = judge(steps, tag)
            except ExpressionMistake as mistake:
                self._blame(place, name, f"column {mistake.column}: {mistake}")
                continue
            entry.operands[name] = operand
            wanted = _INPUTS[type(one)][name]
            if wanted is not None and operand.is_bool is not wanted:
                self._blame(place, name, "a Boolean is wanted: write x > 0 for a number" if wanted else "a number is wanted")
        self.mistakes += [(("derived", place, *where), what, hint) for where, what, hint in _unit_mistakes(one, entry.operands)]
        if isinstance(one, OeeSettings):
            self._judge_oee(entry, one)
        if len(self.mistakes) == before:
            entry.results = results_of(one, entry.operands)
            self.entries[place] = entry

    def _judge_oee(self, entry: Entry, one: OeeSettings) -> None:
        state = entry.sources.get(one.state)
        is_state = state is not None and state.tag is None and isinstance(self._derived[state.place], StateSettings)
        if not is_state or (state is not None and state.suffix):
            self._blame(entry.place, "state", f"{one.state!r} is no state of device {one.device!r}")
        if one.order is not None and one.order not in entry.sources:
            self._blame(entry.place, "order", f"there is no tag {one.order!r}")

    def _operand(self, source: Source, name: str) -> Operand | None:
        if source.formula >= 0:
            return self.late[source.formula].operand
        if source.tag is not None:
            known = self._known[source.device]
            kind, unit = known.kinds[source.tag], known.units[source.tag]
        else:
            entry = self.entries.get(source.place)
            results = results_of(self._derived[source.place], entry.operands if entry is not None else {})
            result = next(result for result in results if result.suffix == source.suffix)
            kind, unit = result.kind, result.unit
        if kind is Kind.TEXT:
            is_state = source.tag is None and isinstance(self._derived[source.place], StateSettings)
            raise ValueError(f"tag {name!r} is a text" + (f": write {name}.running, for example" if is_state else ""))
        return Operand(kind is Kind.BOOL, unit)

    def _blame(self, place: int, name: str, what: str) -> None:
        self.mistakes.append((("derived", place, name), what, None))


def _names(steps: Sequence[Step]) -> set[str]:
    return {step.name for step in steps if step.op == "tag"}


def _unit_mistakes(one: DerivedSettings, operands: Mapping[str, Operand]) -> Iterator[Mistake]:
    """Units that don't fit; locations within the entry."""
    if isinstance(one, HysteresisSettings) and one.unit is not None and "input" in operands:
        unit = operands["input"].unit
        if unit is not None and not same(one.unit, unit):
            yield ("unit",), f"the thresholds are in {one.unit}, the input is in {unit}", None
    for name in ("energy", "power"):
        if not isinstance(one, EnergySettings) or name not in operands:
            continue
        unit = operands[name].unit
        if unit is None:
            yield (name,), f"the unit must be known to be one of {name}", f"give the tag its unit: {examples(name)}"
        elif dimension(unit) != name or (name == "power" and hourly(unit) is None):
            yield (name,), f"{unit} is no unit of {name}", f"{name} is in {examples(name)}"
    for name in ("count", "reject", "input"):
        counts = isinstance(one, CountSettings) if name == "input" else isinstance(one, OeeSettings | EnergySettings)
        if counts and name in operands:
            unit = operands[name].unit
            if unit is not None and dimension(unit) not in (None, "number"):
                yield (name,), f"parts are counted, and this is in {unit}", None


def outline_mistakes(derived: Sequence[DerivedSettings], devices: Sequence[str], outline: Outline) -> Iterator[Mistake]:
    """Everything that is wrong, devices that there aren't too."""
    for place, one in enumerate(derived):
        if one.device not in devices:
            yield ("derived", place, "device"), f"there is no device {one.device!r}", f"one of {', '.join(devices)}"
        longest = max(len(result.suffix) for result in results_of(one, {}))
        if len(one.name) + 1 + longest > LONGEST_NAME:
            yield ("derived", place, "name"), f"the names of its results, {one.name}.what, are too long", None
    yield from outline.mistakes
