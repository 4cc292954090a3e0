"""From an outline to the derived tags of each device at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from drivers.model import Kind
from drivers.settings import TagSettings
from gateway.derived.columns import Group, column
from gateway.derived.counting import Count, Rate
from gateway.derived.derivation import Derivation
from gateway.derived.energy import Energy
from gateway.derived.hindsight import LampPlace
from gateway.derived.late import Afterwards
from gateway.derived.member import Expressions, Member, Output, Places
from gateway.derived.oee import Oee
from gateway.derived.outline import Entry, Known, Late, Outline, Source
from gateway.derived.results import Result
from gateway.derived.settings import (
    CountSettings,
    CycleSettings,
    DebounceSettings,
    EnergySettings,
    HysteresisSettings,
    LampSettings,
    OeeSettings,
    RateSettings,
    StateSettings,
    StopsSettings,
)
from gateway.derived.shifts import Calendar
from gateway.derived.states import NAMES, STATES, Cycle, State, Stops
from gateway.derived.switching import Debounce, Hysteresis, Lamp
from gateway.processing.calculation import Calculated, Calculation, Input, LastValues, cut
from gateway.processing.expression import Step

if TYPE_CHECKING:
    from drivers.registry import DeviceSettings
    from gateway.settings import GatewaySettings

_MADE: Mapping[type, Any] = {
    DebounceSettings: Debounce,
    HysteresisSettings: Hysteresis,
    LampSettings: Lamp,
    CountSettings: Count,
    RateSettings: Rate,
    StopsSettings: Stops,
    EnergySettings: Energy,
}
_BEGUN = (DebounceSettings, HysteresisSettings, LampSettings, CycleSettings)
"""Kinds whose results bear the time at which they began."""
_GAP_PERIODS = 3
_GAP_S = 1.0
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Placed:
    """One result of an entry of a device, with its register."""

    entry: Entry
    result: Result
    register: int

    @property
    def name(self) -> str:
        """The tag's."""
        name = self.entry.settings.name
        return f"{name}.{self.result.suffix}" if self.result.suffix else name

    @property
    def settings(self) -> TagSettings:
        """How it is reported."""
        one = self.entry.settings
        return TagSettings(
            name=self.name, unit=self.result.unit, deadband=one.deadband if self.result.kind is Kind.FLOAT else 0.0,
            heartbeat_s=one.heartbeat_s, priority=one.priority,
        )  # fmt: skip


class Registers:
    """Where each device's derived results stand among its last values: the reported ones are the next tags of its table."""

    def __init__(self, outline: Outline, known: Mapping[str, Known]) -> None:
        self.reported: dict[str, list[Placed]] = {}
        self.sizes: dict[str, int] = {}
        """How many registers each device needs in all."""
        self._late = {place: index for tags in known.values() for index, place in tags.late.items()}
        self._first = {device: len(tags.names) for device, tags in known.items()}
        self._found: dict[tuple[int, str], int] = {}
        for device, tags in known.items():
            own = [entry for _, entry in sorted(outline.entries.items()) if entry.settings.device == device]
            results = [(entry, result) for entry in own for result in entry.results]
            results.sort(key=lambda pair: not pair[1].is_reported)
            placed = [Placed(entry, result, len(tags.names) + at) for at, (entry, result) in enumerate(results)]
            self.reported[device] = [one for one in placed if one.result.is_reported]
            self.sizes[device] = len(tags.names) + len(placed)
            self._found.update({(one.entry.place, one.result.suffix): one.register for one in placed})

    def of(self, source: Source) -> int:
        """The register of what a name means."""
        return source.tag if source.tag is not None else self._found[(source.place, source.suffix)]

    def of_late(self, late: Late) -> int:
        """The register of a calculated tag that reads derived ones."""
        return self._late[late.place]

    def derived(self, device: str) -> range:
        """The registers of a device's derived results."""
        return range(self._first[device], self.sizes[device])

    def at(self, entry: Entry, suffix: str) -> int:
        """The register of a result, -1 where there is none."""
        return self._found.get((entry.place, suffix), -1)


def read_devices(outline: Outline) -> set[str]:
    """Those whose last values are needed."""
    drafts: list[Entry | Late] = [*outline.entries.values(), *outline.late.values()]
    found = {one.settings.device for one in drafts}
    return found | {source.device for one in drafts for source in one.sources.values()}


def derivation_of(
    settings: GatewaySettings, device: DeviceSettings, outline: Outline, registers: Registers, last: Mapping[str, LastValues]
) -> Derivation | None:
    """None for a device of which nothing is derived, nor calculated from what is."""
    entries = [entry for _, entry in sorted(outline.entries.items()) if entry.settings.device == device.name]
    late = [one for one in outline.late.values() if one.settings.device == device.name]
    if not entries and not late:
        return None
    entries.sort(key=lambda entry: (entry.depth, entry.settings.kind, entry.place))
    gap_s = _gap_s(device)
    depths = []
    lamps: dict[int, LampPlace] = {}
    for _, level in groupby(entries, key=lambda entry: entry.depth):
        held = list(level)
        expressions, places = _expressions(device.name, held, registers, last)
        kinds = [list(kind) for _, kind in groupby(held, key=lambda entry: entry.settings.kind)]
        groups = [_group(settings, device.name, kind, lamps) for kind in kinds]
        members = [
            _member(settings, group, kind, places, registers, last[device.name], gap_s)
            for group, kind in zip(groups, kinds, strict=True)
        ]
        for member, kind in zip(members, kinds, strict=True):
            if isinstance(member.group, Lamp):
                lamps |= {entry.place: (member.group, row) for row, entry in enumerate(kind)}
            if isinstance(member.group, Hysteresis):
                member.noisy = _tags(kind, registers, last)
        depths.append((expressions, members))
    outputs = _outputs(registers.reported[device.name])
    return Derivation(device.name, last[device.name], depths, outputs, _steps(device.name, late, registers, last))


def _steps(device: str, late: Sequence[Late], registers: Registers, last: Mapping[str, LastValues]) -> dict[int, Afterwards]:
    """The calculated tags that read derived ones, by the depth before which they are calculated."""
    found: dict[int, Afterwards] = {}
    for depth, group in groupby(sorted(late, key=lambda one: one.depth), key=lambda one: one.depth):
        calculated: list[Calculated] = []
        reads: list[tuple[LastValues, int]] = []
        made: set[int] = set()
        for one in group:  # in an order in which they can be calculated: sorting is stable
            inputs: dict[str, Input | int] = {}
            for name, source in one.sources.items():
                tag = registers.of(source)
                reads.append((last[source.device], tag))
                inputs[name] = tag if source.device == device and tag in made else Input(last[source.device], tag)
            assert one.operand is not None
            calculated.append(Calculated(registers.of_late(one), one.operand.is_bool, one.steps, inputs))
            made.add(registers.of_late(one))
        found[depth] = Afterwards(Calculation(device, calculated), reads, made)
    return found


def _collected(
    device: str, entries: Sequence[Entry], registers: Registers, last: Mapping[str, LastValues]
) -> tuple[list[Calculated], list[list[tuple[str, int]]], dict[tuple[int, str], int]]:
    """Every expression of the entries, the (device, register)s that it reads, and its place by (entry, field)."""
    calculated: list[Calculated] = []
    places: dict[tuple[int, str], int] = {}
    read: list[list[tuple[str, int]]] = []
    for entry in entries:
        wanted = {name: (steps, entry.operands[name].is_bool) for name, steps in entry.steps.items()}
        for name, (steps, is_bool) in wanted.items():
            used = {step.name: entry.sources[step.name] for step in steps if step.op == "tag"}
            inputs: dict[str, Input | int] = {
                text: Input(last[source.device], registers.of(source)) for text, source in used.items()
            }
            places[(entry.place, name)] = len(calculated)
            calculated.append(Calculated(len(calculated), is_bool, steps, inputs))
            read.append([(source.device, registers.of(source)) for source in used.values()])
        if isinstance(entry.settings, OeeSettings):
            source = entry.sources[entry.settings.state]
            register = registers.of(source)
            places[(entry.place, "state")] = len(calculated)
            steps = (Step("tag", (), 1, name=entry.settings.state),)
            own_input = {entry.settings.state: Input(last[device], register)}
            calculated.append(Calculated(len(calculated), is_bool=False, steps=steps, inputs=own_input))
            read.append([(device, register)])
    return calculated, read, places


def _expressions(
    device: str, entries: Sequence[Entry], registers: Registers, last: Mapping[str, LastValues]
) -> tuple[Expressions, dict[tuple[int, str], int]]:
    """The expressions of one depth, and the place of each by (entry, field)."""
    calculated, read, places = _collected(device, entries, registers, last)
    distinct = sorted({one for own in read for one in own})
    at = {one: place for place, one in enumerate(distinct)}
    sources = [
        (last[name], _places([tag for _, tag in own]), cut(_places([at[one] for one in own])))
        for name, group in groupby(distinct, key=lambda one: one[0])
        if (own := list(group))
    ]
    flat = [[at[one] for one in own] or [len(distinct)] for own in read]  # a constant has begun before all time
    starts = np.cumsum([0, *(len(own) for own in flat)])[:-1].astype(np.intp)
    made = registers.derived(device)
    made_here = [(tag, at[(name, tag)]) for name, tag in distinct if name == device and tag in made]
    plain = [place for place, one in enumerate(calculated) if [step.op for step in one.steps] == ["tag"]]
    others = [one for one in calculated if one.tag not in set(plain)]
    expressions = Expressions(
        len(calculated),
        len(distinct) + 1,
        _places(plain),
        _places([flat[place][0] for place in plain]),
        Calculation(device, others) if others else None,
        sources,
        (_places([tag for tag, _ in made_here]), cut(_places([place for _, place in made_here]))) if made_here else None,
        _places([one for own in flat for one in own]),
        starts,
    )
    return expressions, places


def _member(
    settings: GatewaySettings,
    group: Group,
    entries: Sequence[Entry],
    places: Mapping[tuple[int, str], int],
    registers: Registers,
    last: LastValues,
    gap_s: float,
) -> Member:
    own = [entry.settings for entry in entries]
    fields = sorted({name for entry in entries for name in (*entry.steps, *(("state",) if "state" in _fields(entry) else ()))})
    absent = len(places)
    inputs = {name: _places([places.get((entry.place, name), absent) for entry in entries]) for name in fields}
    suffixes = {result.suffix for entry in entries for result in entry.results if result.kind is not Kind.TEXT}
    if isinstance(own[0], StateSettings):
        suffixes.add("")
    member = Member(
        group,
        [one.name for one in own],
        [_signature(settings, one) for one in own],
        inputs,
        {suffix: _fixed([registers.at(entry, suffix) for entry in entries]) for suffix in suffixes},
        column(own, "gap_s", gap_s),
    )
    if isinstance(own[0], OeeSettings):
        member.texts = _fixed([registers.at(entry, "period") for entry in entries])
        for place, entry in enumerate(entries):
            if isinstance(entry.settings, OeeSettings) and entry.settings.order is not None:
                member.orders[place] = registers.of(entry.sources[entry.settings.order])
                last.watched.add(member.orders[place])
    member.names_of_states = [NAMES[one.names] for one in own if isinstance(one, StateSettings)]
    return member


def _tags(entries: Sequence[Entry], registers: Registers, last: Mapping[str, LastValues]) -> tuple[LastValues, Places] | None:
    """The inputs, where they are all tags of one device and nothing else."""
    steps = [entry.steps["input"] for entry in entries]
    if any([step.op for step in one] != ["tag"] for one in steps):
        return None
    sources = [entry.sources[one[0].name] for entry, one in zip(entries, steps, strict=True)]
    devices = {source.device for source in sources}
    return (last[devices.pop()], _places([registers.of(source) for source in sources])) if len(devices) == 1 else None


def _fields(entry: Entry) -> tuple[str, ...]:
    return ("state",) if isinstance(entry.settings, OeeSettings) else ()


def _group(settings: GatewaySettings, device: str, entries: Sequence[Entry], lamps: Mapping[int, LampPlace]) -> Group:
    """`lamps`: those of the depths before, by the entry's place."""
    own = [entry.settings for entry in entries]
    group: Group
    if isinstance(own[0], OeeSettings):
        group = Oee([one for one in own if isinstance(one, OeeSettings)], Calendar(settings.calendar))
    elif isinstance(own[0], CycleSettings):
        group = Cycle(
            [one for one in own if isinstance(one, CycleSettings)], [not entry.operands["input"].is_bool for entry in entries]
        )
    elif isinstance(own[0], StateSettings):
        states = [one for one in own if isinstance(one, StateSettings)]
        group = State(states, {str(state): [_lamps(device, entry, str(state), lamps) for entry in entries] for state in STATES})
    else:
        group = _MADE[type(own[0])](own)
    return group


def _lamps(device: str, entry: Entry, name: str, lamps: Mapping[int, LampPlace]) -> list[LampPlace]:
    """Those of the device that an expression of the entry reads."""
    sources = [entry.sources[step.name] for step in entry.steps.get(name, ()) if step.op == "tag"]
    return [lamps[one.place] for one in sources if one.device == device and one.tag is None and one.place in lamps]


def _signature(settings: GatewaySettings, one: Any) -> bytes:
    """What must not have changed for the memory to be good, as a digest: not how it is reported."""
    text: str = one.model_dump_json(exclude={"deadband", "heartbeat_s", "priority", "gap_s"})
    if isinstance(one, OeeSettings):
        text += settings.calendar.model_dump_json()
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _outputs(reported: Sequence[Placed]) -> list[Output]:
    by_kind: dict[Kind, list[tuple[int, bool]]] = {}
    for one in reported:
        if one.result.kind is not Kind.TEXT and not isinstance(one.entry.settings, OeeSettings):
            by_kind.setdefault(one.result.kind, []).append((one.register, isinstance(one.entry.settings, _BEGUN)))
    return [
        Output(_fixed([tag for tag, _ in tags]), kind, _places([place for place, (_, begun) in enumerate(tags) if begun]))
        for kind, tags in sorted(by_kind.items())
    ]


def _gap_s(device: DeviceSettings) -> float:
    """Three periods and a second; infinite for a device that pushes."""
    if device.driver != "modbus":
        return float("inf")
    periods_ms = [device.period_ms, *(tag.period_ms or 0 for tag in device.tags)]
    return _GAP_PERIODS * max(periods_ms) / 1000 + _GAP_S


def _places(numbers: Sequence[int]) -> npt.NDArray[np.intp]:
    return np.array(numbers, np.intp)


def _fixed(numbers: Sequence[int]) -> npt.NDArray[np.int32]:
    array = np.array(numbers, np.int32)
    array.flags.writeable = False
    return array
