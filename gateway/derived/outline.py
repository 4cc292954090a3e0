"""The derived tags of a gateway's settings: what each results in, what it reads, what is wrong; ordered by what they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from config.settings import Mistake
from drivers.model import Kind
from gateway.derived.oee import FIGURES
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
_INTEGERS = ("count", "reject")


@dataclass(frozen=True, slots=True)
class Result:
    """One tag that comes of an entry."""

    suffix: str
    kind: Kind
    unit: str | None = None
    is_reported: bool = True
    """Otherwise expressions can read it, and that is all."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a name in an expression means."""

    device: str
    tag: int | None
    """Index in the device's table of driver's and calculated tags; None for a derived one."""
    place: int = -1
    suffix: str = ""


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


class Outline:
    """`entries`: those that can be used, by place; `mistakes`: what is wrong with the others, at ("derived", place, field)."""

    def __init__(self, derived: Sequence[DerivedSettings], known: Mapping[str, Known]) -> None:
        """`known`: by device; devices with mistakes of their own are left out."""
        self.entries: dict[int, Entry] = {}
        self.mistakes: list[Mistake] = []
        self._derived = derived
        self._known = known
        self._places = {(one.device, one.name): place for place, one in reversed(list(enumerate(derived)))}
        drafts = {place: entry for place, one in enumerate(derived) if (entry := self._draft(place, one)) is not None}
        needs = {place: self._needs(entry) for place, entry in drafts.items()}
        for place in self._order(needs):
            if place in drafts:
                depths = [self.entries[other].depth for other in needs[place] if other in self.entries]
                if len(depths) == len(needs[place]):  # else what it reads has a mistake of its own
                    drafts[place].depth = 1 + max(depths, default=-1)
                    self._judge(drafts[place])

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
        read = {step.name for steps in entry.steps.values() for step in steps if step.op == "tag"}
        if isinstance(one, OeeSettings):
            read |= {one.state} if one.order is None else {one.state, one.order}
        entry.sources = {name: source for name in read if (source := self._find(one.device, name)) is not None}
        return entry

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
            return Source(device, list(names).index(name))
        stems = [(name, ""), *((name[:at], name[at + 1 :]) for at, letter in enumerate(name) if letter == ".")]
        for stem, suffix in stems:
            place = self._places.get((device, stem))
            if place is not None and any(suffix == result.suffix for result in results_of(self._derived[place], {})):
                return Source(device, None, place, suffix)
        return None

    def _needs(self, entry: Entry) -> set[int]:
        device = entry.settings.device
        return {source.place for source in entry.sources.values() if source.tag is None and source.device == device}

    def _order(self, needs: Mapping[int, set[int]]) -> list[int]:
        graph = {place: set(needed) for place, needed in needs.items()}
        while True:
            try:
                return list(TopologicalSorter(graph).static_order())
            except CycleError as error:
                circle: list[int] = error.args[1]
                names = " -> ".join(self._derived[place].name for place in circle)
                for place in sorted(set(circle)):
                    self._blame(place, "name", f"it is derived of itself: {names}")
                    del graph[place]

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


def results_of(one: DerivedSettings, operands: Mapping[str, Operand]) -> tuple[Result, ...]:
    """What comes of an entry. `operands`: what is known of its inputs, by field."""
    unit = operands["input"].unit if "input" in operands else None
    match one:
        case DebounceSettings() | HysteresisSettings():
            return (Result("", Kind.BOOL),)
        case LampSettings():
            return Result("", Kind.BOOL), Result("blinking", Kind.BOOL)
        case CountSettings():
            return Result("", Kind.INT), Result("resets", Kind.INT)
        case RateSettings():
            return (Result("", Kind.FLOAT, f"{unit or '1'}/{one.per}"),)
        case StateSettings():
            return Result("", Kind.TEXT), *(Result(str(state), Kind.BOOL, is_reported=False) for state in STATES)
        case CycleSettings():
            return Result("", Kind.FLOAT, "SEC"), Result("count", Kind.INT)
        case StopsSettings():
            return *(Result(suffix, Kind.INT) for suffix in ("", "long", "unclear")), Result("stopped_s", Kind.FLOAT, "SEC")
        case OeeSettings():
            return *_figures(one), Result("period", Kind.TEXT)
        case EnergySettings():
            if one.power is None:
                return (Result("", Kind.FLOAT, operands["energy"].unit if "energy" in operands else None),)
            power = operands["power"].unit if "power" in operands else None
            energy = hourly(power) if power is not None else None
            return Result("", Kind.FLOAT, energy), Result("total", Kind.FLOAT, energy)


def _figures(one: OeeSettings) -> Iterator[Result]:
    for suffix in FIGURES:
        if suffix in ("quality", "reject") and one.reject is None:
            continue
        if suffix == "closed":
            yield Result(suffix, Kind.BOOL)
        elif suffix in _INTEGERS:
            yield Result(suffix, Kind.INT)
        else:
            yield Result(suffix, Kind.FLOAT, "SEC" if suffix.endswith("_s") else None)


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


def names_of(one: DerivedSettings, *, only_reported: bool = False) -> list[str]:
    """The tags that an entry makes; those that only expressions can read too, unless `only_reported`."""
    results = [result for result in results_of(one, {}) if result.is_reported or not only_reported]
    return [f"{one.name}.{result.suffix}" if result.suffix else one.name for result in results]
