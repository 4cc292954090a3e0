"""The ledger's verdict by order alone, for readings whose times can't be trusted because the gateway's clock was set.

Per tag the delivered values must be the served ones, in their order, with nothing left out but what was not acknowledged or lies
within the deadband of the last one delivered. A value may come again (a heartbeat, the first one after a restart).
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from simulators.faults.fate import Fate
from simulators.histories import same, within
from simulators.ledger import Value, read_served

Tag = tuple[str, str]
_MOST_AT_ONCE = 2
"""Lost readings in a row beyond which one way to lay them is only followed where there is no other."""


class Served(NamedTuple):
    """A reading, and whether the plant saw proof that it was safe."""

    value: Value
    is_acknowledged: bool


@dataclass(slots=True)
class Verdict:
    """Of all tags."""

    acknowledged: int = 0
    lost: int = 0
    altered: int = 0
    """Delivered, and not served, or not in that order."""
    examples: list[str] = field(default_factory=list)


def judge_order(ledger: Path, delivered: Path, deadbands: Mapping[Tag, float], devices: Iterable[str]) -> Verdict:
    """Judge the tags of these devices."""
    served: dict[Tag, list[Served]] = defaultdict(list)
    wanted = frozenset(devices)
    for row in read_served(ledger):
        if row.device in wanted and row.fate is not Fate.SPOILED:
            for tag, value, _ in row.readings:
                served[row.device, tag].append(Served(value, bool(row.acknowledged)))
    verdict = Verdict()
    arrived = _arrived(delivered)
    for place, readings in served.items():
        if place in arrived:  # a block read may cover more than is collected
            judge_tag(place, readings, arrived[place], deadbands.get(place, 0.0), verdict)
    return verdict


def _arrived(delivered: Path) -> dict[Tag, list[Value]]:
    """Values that have one, by tag, each message once."""
    arrived: dict[Tag, list[Value]] = defaultdict(list)
    seen: set[tuple[str, int]] = set()
    with closing(sqlite3.connect(delivered)) as database:
        for epoch, seq, device, payload in database.execute("SELECT epoch, seq, device, payload FROM messages ORDER BY id"):
            if (epoch, seq) in seen:
                continue
            seen.add((epoch, seq))
            for name, value in json.loads(payload).get("values", {}).items():
                if value is not None:
                    arrived[device, name].append(value)
    return arrived


def judge_tag(tag: Tag, served: list[Served], arrived: list[Value], deadband: float, verdict: Verdict) -> None:
    """Find the way to lay one along the other that loses least, and add what it still loses.

    A value may have been served more than once, so which of them was meant is not known until later ones have come.
    """
    losses = {0: 0}
    """By how many served readings are passed: how many of them are lost."""
    last: Value | None = None
    for value in arrived:
        after = _step(served, losses, value, last, deadband, _MOST_AT_ONCE) or _step(served, losses, value, last, deadband, None)
        if after:
            losses, last = after, value
        else:
            verdict.altered += 1
            verdict.examples.append(f"{tag}: {value!r} was not served after {last!r}")
    lost = min(count + sum(_is_missing(reading, last, deadband) for reading in served[front:]) for front, count in losses.items())
    verdict.acknowledged += sum(reading.is_acknowledged for reading in served)
    verdict.lost += lost
    if lost:
        verdict.examples.append(f"{tag}: {lost} of {len(served)} readings are lost")


def _step(
    served: list[Served], losses: dict[int, int], value: Value, last: Value | None, deadband: float, most: int | None
) -> dict[int, int]:
    """Where one may stand after one more delivered value, having lost `most` at most on the way to it; empty: nowhere."""
    after: dict[int, int] = {}
    for front, lost in losses.items():
        if last is not None and same(value, last):
            after[front] = min(lost, after.get(front, lost))  # once more
        missing = 0
        for place in range(front, len(served)):
            if same(served[place].value, value):
                after[place + 1] = min(lost + missing, after.get(place + 1, lost + missing))
            missing += _is_missing(served[place], last, deadband)
            if most is not None and missing > most:
                break
    return after


def _is_missing(reading: Served, last: Value | None, deadband: float) -> bool:
    """Whether nothing excuses that this reading was not delivered, after that value."""
    return reading.is_acknowledged and (last is None or not within(reading.value, last, deadband))
