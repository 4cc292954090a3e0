"""From settings to what reports each device's readings: a plain filter, or a pipeline where more is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from drivers.model import Kind, TagTable
from drivers.settings import Aggregate, AggregateSettings, StaleBy, TagSettings, TimeBase
from gateway.filter import Filter
from gateway.processing.calculation import Calculated, Calculation, Input, LastValues
from gateway.processing.pipeline import Deriving, Pipeline, Stages
from gateway.processing.report import Report
from gateway.processing.stale import StaleWatch
from gateway.processing.swinging import SwingingDoors
from gateway.processing.windows import Window, Windows

if TYPE_CHECKING:
    from gateway.derived.plan import Registers
    from gateway.processing.formulas import Formula, Formulas
    from gateway.settings import GatewaySettings

_NS = 1_000_000_000
_DTYPES: Mapping[Kind, np.dtype[np.float64] | np.dtype[np.int64] | np.dtype[np.uint64]] = {
    Kind.FLOAT: np.dtype(np.float64),
    Kind.INT: np.dtype(np.int64),
    Kind.BOOL: np.dtype(np.int64),
    Kind.UINT64: np.dtype(np.uint64),
}
_KINDS = {Aggregate.COUNT: Kind.INT, Aggregate.MEAN: Kind.FLOAT, Aggregate.SUM: Kind.FLOAT, Aggregate.STDDEV: Kind.FLOAT}
"""Of the others the kind is the tag's own."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """How one device is reported."""

    table: TagTable
    """With the tags that are made of others."""
    report: Report
    priorities: tuple[int | None, ...] | None = None
    """(n,) the tags' own, where any has one."""


@dataclass(slots=True)
class _Draft:
    """A device's tags while the table grows: the driver's, the calculated ones, the derived ones, the aggregates."""

    device: str
    heartbeat_s: float
    tags: list[TagSettings]
    """Of all but the aggregates."""
    names: list[str]
    kinds: list[Kind]
    units: list[str | None]
    priorities: list[int | None]

    def table(self) -> TagTable:
        return TagTable(self.device, tuple(self.names), tuple(self.kinds), tuple(self.units))


def plan_reports(
    settings: GatewaySettings, tables: Mapping[str, TagTable], monotonic: Callable[[], float]
) -> dict[str, Reporting]:
    """By device. The settings have no mistakes.

    Args:
        tables: the drivers' tags by device.
    """
    made = _formulas(settings, tables)
    formulas = [] if made is None else made.ordered
    calculated = {formula.place: formula.operand for formula in formulas}
    drafts: dict[str, _Draft] = {}
    for device in settings.devices:
        table = tables[device.name]
        draft = _Draft(
            device.name,
            settings.heartbeat_s,
            list(device.tags),
            list(table.names),
            list(table.kinds),
            list(table.units),
            [tag.priority for tag in device.tags],
        )
        for place, one in enumerate(settings.calculated):
            if one.device == device.name:
                operand = calculated.get(place)  # of one that reads derived tags it is found out with these
                draft.tags.append(one)
                draft.names.append(one.name)
                draft.kinds.append(Kind.BOOL if operand is not None and operand.is_bool else Kind.FLOAT)
                draft.units.append(None if operand is None else operand.unit)
                draft.priorities.append(one.priority)
        drafts[device.name] = draft
    read = {reference.device for formula in formulas for reference in formula.references.values()}
    derive = _Deriving(settings, tables, drafts, made) if settings.derived else None
    read |= set() if derive is None else derive.read
    sizes = {name: len(draft.names) for name, draft in drafts.items()} | ({} if derive is None else derive.registers.sizes)
    last = {name: LastValues(sizes[name]) for name in drafts if name in read}
    return {
        name: _reported(
            draft,
            tables[name],
            [one for one in formulas if one.settings.device == name],
            last,
            None if derive is None else derive.of(name, last),
            monotonic,
        )
        for name, draft in drafts.items()
    }


class _Deriving:
    """The derived tags; the drafts grow by those that are reported."""

    def __init__(
        self,
        settings: GatewaySettings,
        tables: Mapping[str, TagTable],
        drafts: Mapping[str, _Draft],
        formulas: Formulas | None,
    ) -> None:
        from gateway.derived.outline import Outline
        from gateway.derived.plan import Registers, read_devices
        from gateway.processing.known import known_tags

        known = known_tags(tables, settings.calculated, formulas)
        self._settings = settings
        self._outline = Outline(settings.derived, known, settings.calculated, formulas.late if formulas is not None else {})
        self.registers: Registers = Registers(self._outline, known)
        self.read = read_devices(self._outline)
        for name, draft in drafts.items():
            for index, place in known[name].late.items():
                operand = self._outline.late[place].operand
                assert operand is not None
                draft.kinds[index], draft.units[index] = Kind.BOOL if operand.is_bool else Kind.FLOAT, operand.unit
            for one in self.registers.reported[name]:
                draft.tags.append(one.settings)
                draft.names.append(one.name)
                draft.kinds.append(one.result.kind)
                draft.units.append(one.result.unit)
                draft.priorities.append(one.settings.priority)

    def of(self, name: str, last: Mapping[str, LastValues]) -> Deriving | None:
        from gateway.derived.plan import derivation_of

        device = next(device for device in self._settings.devices if device.name == name)
        return derivation_of(self._settings, device, self._outline, self.registers, last)


def make_filter(table: TagTable, tags: Sequence[TagSettings], heartbeat_s: float) -> Filter:
    """The filter of a device: each tag's deadband, and its heartbeat or the gateway's. Aggregates need none."""
    n = len(table.names)
    deadbands, relative = np.zeros(n), np.zeros(n)
    heartbeats_ns = np.full(n, round(heartbeat_s * _NS), np.int64)
    for index, tag in enumerate(tags):
        deadbands[index] = tag.deadband
        if tag.deadband_percent is not None:
            if tag.span_low is not None and tag.span_high is not None:
                deadbands[index] = max(tag.deadband, (tag.span_high - tag.span_low) * tag.deadband_percent / 100)
            else:
                relative[index] = tag.deadband_percent / 100
        if tag.aggregates is not None and tag.aggregates.replace:
            deadbands[index] = np.inf
    heartbeats_ns[: len(tags)] = _heartbeats_ns(tags, heartbeat_s)
    return Filter(table, deadbands, heartbeats_ns, relative if relative.any() else None)


def _formulas(settings: GatewaySettings, tables: Mapping[str, TagTable]) -> Formulas | None:
    if not settings.calculated:
        return None
    from gateway.processing.formulas import Formulas
    from gateway.processing.known import derived_names

    return Formulas(settings.calculated, tables, derived_names(settings.derived))


def _reported(
    draft: _Draft,
    own: TagTable,
    formulas: Sequence[Formula],
    last: Mapping[str, LastValues],
    derivation: Deriving | None,
    monotonic: Callable[[], float],
) -> Reporting:
    windows = _windows(draft)
    doors = [index for index, tag in enumerate(draft.tags) if tag.swinging_door is not None]
    is_watched = any(tag.stale_after_s is not None for tag in draft.tags)
    own_last = last.get(draft.device)
    table = draft.table()
    priorities = tuple(draft.priorities) if any(priority is not None for priority in draft.priorities) else None
    report = make_filter(table, draft.tags, draft.heartbeat_s)
    if not (windows or doors or is_watched or own_last is not None or formulas or derivation):
        return Reporting(own, report, priorities)
    door_tags = np.array(doors, np.int32)
    stages = Stages(
        doors=_doors(draft, door_tags) if doors else None,
        door_tags=door_tags if doors else None,
        windows=windows,
        stale=_stale(draft) if is_watched else None,
        last=own_last,
        calculation=_calculation(draft.device, formulas, last) if formulas else None,
        derivation=derivation,
    )
    return Reporting(table, Pipeline(table, report, stages, monotonic), priorities)


def _windows(draft: _Draft) -> tuple[Windows, ...]:
    """One for each kind of number; the draft's table grows by their results."""
    by_dtype: dict[np.dtype[np.float64] | np.dtype[np.int64] | np.dtype[np.uint64], list[Window]] = {}
    for index, tag in enumerate(draft.tags):
        if tag.aggregates is None:
            continue
        results = []
        for aggregate in tag.aggregates.functions:
            results.append((aggregate, len(draft.names)))
            draft.names.append(f"{tag.name}.{aggregate}")
            draft.kinds.append(_KINDS.get(aggregate, draft.kinds[index]))
            draft.units.append(None if aggregate is Aggregate.COUNT else draft.units[index])
            draft.priorities.append(tag.priority)
        by_dtype.setdefault(_DTYPES[draft.kinds[index]], []).append(_window(index, tag.aggregates, tuple(results)))
    return tuple(Windows(draft.device, windows, dtype) for dtype, windows in by_dtype.items())


def _window(index: int, asked: AggregateSettings, results: tuple[tuple[Aggregate, int], ...]) -> Window:
    return Window(index, round(asked.window_s * _NS), round(asked.lateness_s * _NS), asked.time is TimeBase.SOURCE, results)


def _doors(draft: _Draft, tags: npt.NDArray[np.int32]) -> SwingingDoors:
    asked = [draft.tags[index] for index in tags.tolist()]
    deviations = np.array([tag.swinging_door for tag in asked], np.float64)
    return SwingingDoors(draft.device, tags, deviations, _heartbeats_ns(asked, draft.heartbeat_s))


def _stale(draft: _Draft) -> StaleWatch:
    after_s = np.full(len(draft.names), np.inf)
    by_value = np.zeros(len(draft.names), np.bool_)
    for index, tag in enumerate(draft.tags):
        if tag.stale_after_s is not None:
            after_s[index] = tag.stale_after_s
            by_value[index] = tag.stale_by is StaleBy.VALUE
    return StaleWatch(after_s, by_value)


def _calculation(device: str, formulas: Sequence[Formula], last: Mapping[str, LastValues]) -> Calculation:
    """`formulas`: in the order in which they can be calculated."""
    calculated = []
    for formula in formulas:
        inputs: dict[str, Input | int] = {
            name: reference.tag
            if reference.device == device and reference.formula is not None
            else Input(last[reference.device], reference.tag)
            for name, reference in formula.references.items()
        }
        calculated.append(Calculated(formula.tag, formula.operand.is_bool, formula.steps, inputs))
    return Calculation(device, calculated)


def _heartbeats_ns(tags: Sequence[TagSettings], heartbeat_s: float) -> npt.NDArray[np.int64]:
    heartbeats_s = [heartbeat_s if tag.heartbeat_s is None else tag.heartbeat_s for tag in tags]
    return (np.array(heartbeats_s, np.float64) * _NS).astype(np.int64)
