"""Where a device's data was lost before any client could have it: not the client's loss, but it should say so."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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
    """Readings of each tag that were measured and never rightly sent. 0: the device was off."""
    told: bool
    """The client reported the tags Bad within it, or still. One that asked again at once has nothing to report."""


def find_gaps(
    device: str, tag: str, usable_ms: Sequence[int], lost_ms: Iterable[tuple[int, int]], reports: Iterable[tuple[int, bool]]
) -> list[Gap]:
    """The gaps of one tag, ascending.

    Args:
        usable_ms: when a reading was served that a client could have, ascending.
        lost_ms: (when, how many) readings were spoiled, or the device went off (0).
        reports: (when, whether it was Bad) the client reported the tag.
    """
    stretches: dict[int, int] = {}
    for at_ms, count in lost_ms:
        place = bisect_right(usable_ms, at_ms)
        stretches[place] = stretches.get(place, 0) + count
    ordered = sorted(reports)
    gaps = []
    for place, spoiled in sorted(stretches.items()):
        from_ms = usable_ms[place - 1] if place else None
        to_ms = usable_ms[place] if place < len(usable_ms) else None
        gaps.append(Gap(device, (tag,), from_ms, to_ms, spoiled, told=_was_told(ordered, from_ms, to_ms)))
    return gaps


def _was_told(reports: Sequence[tuple[int, bool]], from_ms: int | None, to_ms: int | None) -> bool:
    """Whether a tag was reported Bad within a gap, or was Bad before and has not been reported Good since."""
    begin = 0 if from_ms is None else bisect_left(reports, from_ms, key=lambda report: report[0])
    end = len(reports) if to_ms is None else bisect_right(reports, to_ms, key=lambda report: report[0])
    if any(bad for _, bad in reports[begin:end]):
        return True
    return begin > 0 and reports[begin - 1][1] and all(at_ms == to_ms for at_ms, _ in reports[begin:end])


def merge_gaps(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Gaps of several tags as one where they are the same, in the order of time."""
    merged: dict[tuple[str, int | None, int | None, int, bool], list[str]] = {}
    for gap in gaps:
        merged.setdefault((gap.device, gap.from_ms, gap.to_ms, gap.spoiled, gap.told), []).extend(gap.tags)
    found = (
        Gap(device, tuple(sorted(tags)), from_ms, to_ms, spoiled, told)
        for (device, from_ms, to_ms, spoiled, told), tags in merged.items()
    )
    return tuple(sorted(found, key=lambda gap: (gap.from_ms or 0, gap.device, gap.tags)))
