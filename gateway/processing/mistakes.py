"""What is wrong with how tags are to be reported and calculated, though each field by itself is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from config.settings import Mistake
from drivers.model import Kind, TagTable
from drivers.settings import StaleBy, TagSettings, TimeBase
from gateway.processing.windows import MAX_OPEN

if TYPE_CHECKING:
    from gateway.processing.formulas import Formulas
    from gateway.settings import GatewaySettings

_LONGEST_NAME = 64
"""See config.settings.Name."""


def processing_mistakes(settings: GatewaySettings, tables: Mapping[str, TagTable]) -> Iterator[Mistake]:
    """See config.settings.CrossChecked.

    Args:
        tables: the drivers' tags by device; devices with mistakes of their own are left out.
    """
    for index, device in enumerate(settings.devices):
        table = tables.get(device.name)
        for place, tag in enumerate(device.tags):
            kind = table.kinds[place] if table is not None and place < len(table.kinds) else None
            here = ("devices", index, "tags", place)
            for where, what, hint in tag_mistakes(tag, kind):
                yield (*here, *where), what, hint
            if device.driver == "modbus":
                for where, what, hint in _timeless_mistakes(tag):
                    yield (*here, *where), what, hint
    formulas = None
    if settings.calculated:
        from gateway.processing.formulas import Formulas  # its parser costs memory: only for gateways that calculate
        from gateway.processing.known import derived_names

        formulas = Formulas(settings.calculated, tables, derived_names(settings.derived))
        yield from _calculated_mistakes(settings, formulas)
        kinds = {formula.place: Kind.BOOL if formula.operand.is_bool else Kind.FLOAT for formula in formulas.ordered}
        for place in range(len(settings.calculated)):
            if place not in formulas.late:
                yield from _reported_mistakes(settings, place, kinds.get(place))
    if settings.derived:
        yield from _derived_mistakes(settings, tables, formulas)
    yield from _repeated_derived(settings)


def tag_mistakes(tag: TagSettings, kind: Kind | None) -> Iterator[Mistake]:
    """What a tag's report settings say against each other; `kind` None where it isn't known."""
    low, high = tag.span_low, tag.span_high
    if (low is None) != (high is None):
        missing = "span_high" if high is None else "span_low"
        yield ("span_low" if high is None else "span_high",), f"a span has two ends: {missing} is missing", f"add {missing}"
    elif low is not None and high is not None and low >= high:
        yield ("span_high",), f"span_high {high:g} isn't above span_low {low:g}", None
    if low is not None and tag.deadband_percent is None:
        yield ("span_low",), "a span has no use without deadband_percent", "add deadband_percent"
    if tag.swinging_door is not None and (tag.deadband or tag.deadband_percent):
        yield ("swinging_door",), "a tag has a deadband or a swinging_door, not both", "leave one of them out"
    aggregates = tag.aggregates
    for name, asked in (
        ("deadband_percent", tag.deadband_percent), ("swinging_door", tag.swinging_door), ("aggregates", aggregates),
    ):  # fmt: skip
        if asked is not None and kind is Kind.TEXT:
            yield (name,), f"tag {tag.name!r} is a text: {name} is for numbers", None
    if kind is Kind.BOOL and tag.swinging_door is not None:
        yield ("swinging_door",), f"tag {tag.name!r} is a Boolean: swinging_door is for numbers", None
    if aggregates is None:
        return
    if aggregates.lateness_s > (MAX_OPEN - 1) * aggregates.window_s:
        yield ("aggregates", "lateness_s"), f"it is more than {MAX_OPEN - 1} windows long", "make the windows longer"
    if len(set(aggregates.functions)) < len(aggregates.functions):
        yield ("aggregates", "functions"), "a function is there twice", None
    longest = max((len(function) for function in aggregates.functions), default=0)
    if len(tag.name) + 1 + longest > _LONGEST_NAME:
        yield ("aggregates",), f"the names of its tags, {tag.name}.function, are longer than {_LONGEST_NAME} characters", None
    if aggregates.replace and tag.swinging_door is not None:
        yield ("aggregates", "replace"), "replace has no use beside swinging_door", "leave one of them out"


def _timeless_mistakes(tag: TagSettings) -> Iterator[Mistake]:
    """What can't be had of a device that sends no timestamps."""
    if tag.stale_after_s is not None and tag.stale_by is StaleBy.SOURCE:
        yield ("stale_after_s",), "a Modbus device sends no timestamps that could stand still", "add stale_by: value"
    if tag.aggregates is not None and tag.aggregates.time is TimeBase.SOURCE:
        yield ("aggregates", "time"), "a Modbus device sends no timestamps", "write time: acquired"


def _calculated_mistakes(settings: GatewaySettings, formulas: Formulas) -> Iterator[Mistake]:
    names = [device.name for device in settings.devices]
    for place, one in enumerate(settings.calculated):
        if one.device not in names:
            yield ("calculated", place, "device"), f"there is no device {one.device!r}", f"one of {', '.join(names)}"
        if one.aggregates is not None and one.aggregates.time is TimeBase.SOURCE:
            yield (
                ("calculated", place, "aggregates", "time"),
                "what is calculated has no source timestamp",
                "write time: acquired",
            )
        if one.stale_after_s is not None:
            yield ("calculated", place, "stale_after_s"), "what is calculated is as old as what it is made of", None
    yield from formulas.mistakes


def _derived_mistakes(settings: GatewaySettings, tables: Mapping[str, TagTable], formulas: Formulas | None) -> Iterator[Mistake]:
    """Of derived tags, and of calculated ones that read them."""
    from gateway.derived.outline import Outline, outline_mistakes
    from gateway.processing.known import known_tags

    known = known_tags(tables, settings.calculated, formulas)
    outline = Outline(settings.derived, known, settings.calculated, formulas.late if formulas is not None else {})
    yield from outline_mistakes(settings.derived, [device.name for device in settings.devices], outline)
    for place, one in enumerate(settings.derived):
        if one.kind == "oee" and not settings.calendar.shifts:
            yield ("derived", place, "kind"), "OEE is reckoned over planned time, and there is none", "add calendar: shifts:"
    for place, late in outline.late.items():
        assert late.operand is not None
        yield from _reported_mistakes(settings, place, Kind.BOOL if late.operand.is_bool else Kind.FLOAT)


def _reported_mistakes(settings: GatewaySettings, place: int, kind: Kind | None) -> Iterator[Mistake]:
    for where, what, hint in tag_mistakes(settings.calculated[place], kind):
        yield ("calculated", place, *where), what, hint


def _repeated_derived(settings: GatewaySettings) -> Iterator[Mistake]:
    """Names that a calculated tag, a derived one or an aggregate shares with another tag of its device."""
    if settings.derived:
        from gateway.derived.results import names_of
    for index, device in enumerate(settings.devices):
        taken = {tag.name for tag in device.tags}
        for place, one in enumerate(settings.calculated):
            if one.device == device.name:
                if one.name in taken:
                    yield ("calculated", place, "name"), f"device {device.name!r} has a tag {one.name!r} already", None
                taken.add(one.name)
        for place, derived in enumerate(settings.derived):
            if derived.device == device.name:
                for name in names_of(derived):
                    if name in taken:
                        yield ("derived", place, "name"), f"device {device.name!r} has a tag {name!r} already", None
                    taken.add(name)
        yield from _aggregates_in(device.tags, ("devices", index, "tags"), taken)
        own = [one if one.device == device.name else None for one in settings.calculated]
        yield from _aggregates_in(own, ("calculated",), taken)


def _aggregates_in(tags: Sequence[TagSettings | None], here: tuple[str | int, ...], taken: set[str]) -> Iterator[Mistake]:
    for place, tag in enumerate(tags):
        if tag is not None and tag.aggregates is not None:
            for function in dict.fromkeys(tag.aggregates.functions):
                name = f"{tag.name}.{function}"
                if name in taken:
                    yield (*here, place, "aggregates"), f"there is a tag {name!r} already", None
                taken.add(name)
