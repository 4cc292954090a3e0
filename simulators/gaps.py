"""Where a device's data was lost before any client could have it: not the client's loss, but it should say so."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch between two readings that a client could have, in which there were some that none could. Times in ms, UTC."""

    device: str
    tags: tuple[str, ...]
    from_ms: int | None
    """Service of the last reading before it; None: there was none."""
    to_ms: int | None
    """Service of the first one after it; None: there was none."""
    spoiled: int
    """Readings, of the tag that misses most, that were measured and never rightly sent. 0: the device could not be asked."""
    told: bool
    """The client reported the tags Bad within it, or still. One that asked again at once has nothing to report."""


class Loss(NamedTuple):
    """That a device lost a reading of a tag, or could not be asked for any."""

    at_ns: int
    event: int
    """What was the matter: tags that miss something for the same event share its gap."""
    readings: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """The gap of one tag, and its events."""

    gap: Gap
    events: frozenset[int]


def find_stretches(
    device: str, tag: str, usable_ns: Sequence[int], losses: Iterable[Loss], reports: Iterable[tuple[int, bool]]
) -> list[Stretch]:
    """The gaps of one tag, ascending. Losses between the same two usable readings are one gap.

    Args:
        usable_ns: when a reading was served that a client could have, ascending.
        reports: (when in ms, whether it was Bad) the client reported the tag.
    """
    by_place: dict[int, list[Loss]] = {}
    for loss in losses:
        by_place.setdefault(bisect_right(usable_ns, loss.at_ns), []).append(loss)
    ordered = sorted(reports)
    stretches = []
    for place, lost in sorted(by_place.items()):
        from_ms = usable_ns[place - 1] // _MS if place else None
        to_ms = usable_ns[place] // _MS if place < len(usable_ns) else None
        spoiled = sum(loss.readings for loss in lost)
        gap = Gap(device, (tag,), from_ms, to_ms, spoiled, told=_was_told(ordered, from_ms, to_ms))
        stretches.append(Stretch(gap, frozenset(loss.event for loss in lost)))
    return stretches


def _was_told(reports: Sequence[tuple[int, bool]], from_ms: int | None, to_ms: int | None) -> bool:
    """Whether a tag was reported Bad within a gap, or was Bad before and has not been reported Good since."""
    begin = 0 if from_ms is None else bisect_left(reports, from_ms, key=lambda report: report[0])
    end = len(reports) if to_ms is None else bisect_right(reports, to_ms, key=lambda report: report[0])
    if any(bad for _, bad in reports[begin:end]):
        return True
    return begin > 0 and reports[begin - 1][1] and all(at_ms == to_ms for at_ms, _ in reports[begin:end])


def merge_stretches(stretches: Iterable[Stretch]) -> tuple[Gap, ...]:
    """One gap for each outage of a device, in the order of time: what tags miss for the same event, they miss in one."""
    found: dict[int, Stretch] = {}
    of_event: dict[tuple[str, int], int] = {}
    for number, stretch in enumerate(stretches):
        device, merged = stretch.gap.device, stretch
        for earlier in {of_event[device, event] for event in stretch.events if (device, event) in of_event}:
            merged = _join(merged, found.pop(earlier))
        found[number] = merged
        of_event |= dict.fromkeys(((device, event) for event in merged.events), number)
    return tuple(sorted((stretch.gap for stretch in found.values()), key=lambda gap: (gap.from_ms or 0, gap.device, gap.tags)))


def _join(one: Stretch, other: Stretch) -> Stretch:
    gaps = (one.gap, other.gap)
    begins, ends = [gap.from_ms for gap in gaps], [gap.to_ms for gap in gaps]
    gap = Gap(
        one.gap.device,
        tuple(sorted({*one.gap.tags, *other.gap.tags})),
        None if None in begins else min(begin for begin in begins if begin is not None),
        None if None in ends else max(end for end in ends if end is not None),
        max(gap.spoiled for gap in gaps),
        told=one.gap.told and other.gap.told,
    )
    return Stretch(gap, one.events | other.events)
