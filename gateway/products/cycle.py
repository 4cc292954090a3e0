"""The readings of a cycle, gathered as they come: count, least, mean, greatest and last of each collected tag. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from drivers.model import Frame

_BAD = np.uint32(0x8000_0000)

Number = int | float


class Summary(msgspec.Struct, frozen=True):
    """One tag over the cycle so far. Whole numbers stay exact."""

    count: int
    least: Number
    greatest: Number
    last: Number
    total: Number
    carry: float
    """What rounding has taken from `total` (Neumaier's summation)."""
    first_ns: int
    last_ns: int
    """When the first and the last reading were taken: the device's own time where it has one, else the gateway's."""

    @property
    def mean(self) -> float:
        return (self.total + self.carry) / self.count


class Said(msgspec.Struct, frozen=True):
    """A text over the cycle so far, such as a machine's state."""

    count: int
    last: str
    first_ns: int
    last_ns: int


class Cycle(msgspec.Struct, frozen=True):
    """What has been gathered since the last product."""

    tags: dict[str, Summary] = {}
    """By the name under which the rule collects the tag."""
    counted_ns: dict[str, int] = {}
    """Device time of each tag's newest counted reading, kept over products: after a reconnection a device repeats its last
    reading, which must not count twice."""
    texts: dict[str, Said] = {}
    """As `tags`, of those that are texts."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A tag that a rule collects."""

    name: str
    """As the rule spells it: tag, or device.tag."""
    device: str
    tag: str
    index: int
    """Its index in the device's tag table."""


def add_readings(cycle: Cycle, frames: Sequence[Frame], collected: Mapping[int, Collected]) -> Cycle:
    """The cycle with the usable readings of `frames`, all of one device, added.

    Args:
        collected: by tag index, what the rule wants of that device.

    Bad readings, those that aren't finite, and those that were counted before (by the device's own time) are passed over.
    """
    tags = dict(cycle.tags)
    counted_ns = dict(cycle.counted_ns)
    texts = cycle.texts
    for frame in frames:
        if isinstance(frame.values, list):
            texts = _with_texts(texts, frame, collected)
            continue
        usable = (frame.status & _BAD == 0).tolist()
        sources = None if frame.source_ns is None else frame.source_ns.tolist()
        for place, tag in enumerate(frame.tags.tolist()):
            wanted = collected.get(tag)
            if wanted is None or not usable[place]:
                continue
            value: Number = frame.values[place].item()
            if not math.isfinite(value):
                continue
            source_ns = sources[place] if sources else 0
            if source_ns:
                if source_ns <= counted_ns.get(wanted.name, 0):
                    continue
                counted_ns[wanted.name] = source_ns
            tags[wanted.name] = _with_reading(tags.get(wanted.name), value, source_ns or frame.acquired_ns)
    return Cycle(tags, counted_ns, texts)


def next_cycle(cycle: Cycle) -> Cycle:
    """An empty cycle that still knows which readings have been counted."""
    return Cycle({}, cycle.counted_ns)


def _with_texts(texts: dict[str, Said], frame: Frame, collected: Mapping[int, Collected]) -> dict[str, Said]:
    found = dict(texts)
    for place, tag in enumerate(frame.tags.tolist()):
        wanted, text = collected.get(tag), frame.values[place]
        if wanted is None or frame.status[place] & _BAD or not isinstance(text, str):
            continue
        before = found.get(wanted.name)
        first_ns = frame.acquired_ns if before is None else before.first_ns
        found[wanted.name] = Said(1 if before is None else before.count + 1, text, first_ns, frame.acquired_ns)
    return found


def _with_reading(before: Summary | None, value: Number, at_ns: int) -> Summary:
    if before is None:
        return Summary(1, value, value, value, value, 0.0, at_ns, at_ns)
    total = before.total + value
    carry = before.carry
    if isinstance(total, float):
        greater, smaller = (before.total, value) if abs(before.total) >= abs(value) else (value, before.total)
        carry += (greater - total) + smaller
    return Summary(
        before.count + 1,
        min(before.least, value),
        max(before.greatest, value),
        value,
        total,
        carry,
        before.first_ns,
        at_ns,
    )
