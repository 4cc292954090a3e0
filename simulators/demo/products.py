"""Parts that the plant made against products that the node knows: each part one identifier, each identifier one part."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MS = 1_000_000
Reading = tuple[int, float]
"""(source time in ms, value)"""


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the plant's own books, times in ns."""

    number: int
    order: str
    started_ns: int
    completed_ns: int
    acknowledged_ns: int | None


@dataclass(slots=True)
class ProductVerdict:
    """What became of the parts."""

    products: int = 0
    """Parts whose handshake was finished: the gateway said that they are safe."""
    identifiers: list[str] = field(default_factory=list)
    """One for each product, in the order of the parts; those not found are left out."""
    findings: list[str] = field(default_factory=list)
    """In words: parts without, parts with two identifiers, identifiers with two parts, values that differ."""
    missing: int = 0
    altered: int = 0


def read_parts(ledger: Path) -> list[Part]:
    """The parts of a ledger, oldest first."""
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT part, order_number, started_ns, completed_ns, acknowledged_ns FROM parts WHERE completed_ns IS NOT NULL"
            " ORDER BY part"
        ).fetchall()
    database.close()
    return [Part(*row) for row in rows]


def judge_products(
    parts: Sequence[Part], events: Iterable[Mapping[str, Any]], served: Mapping[str, Sequence[Reading]]
) -> ProductVerdict:
    """Match parts and events by part number.

    Args:
        parts: the plant's books.
        events: every commissioning event that the node holds.
        served: what the bench served, per tag, by source time; an event's figures must be those of its cycle.
    """
    verdict = ProductVerdict()
    by_part: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    part_of: dict[str, str] = {}
    for event in events:
        number = str(event["mumian:part"])
        by_part[number].append(event)
        for epc in event["epcList"]:
            if part_of.setdefault(epc, number) != number:
                verdict.findings.append(f"{epc} stands for part {part_of[epc]} and for part {number}")
                verdict.altered += 1
    for part in parts:
        if part.acknowledged_ns is None:
            continue
        verdict.products += 1
        epcs = sorted({epc for event in by_part[str(part.number)] for epc in event["epcList"]})
        if len(epcs) != 1:
            verdict.findings.append(f"part {part.number} has {len(epcs)} identifiers: {', '.join(epcs) or 'none'}")
            verdict.missing += not epcs
            verdict.altered += len(epcs) > 1
            continue
        verdict.identifiers.append(epcs[0].removeprefix("hdl:"))
        for finding in _compare_figures(part, by_part[str(part.number)][0], served):
            verdict.findings.append(finding)
            verdict.altered += 1
    return verdict


def _compare_figures(part: Part, event: Mapping[str, Any], served: Mapping[str, Sequence[Reading]]) -> list[str]:
    """Differences between an event's figures and those of the readings that the bench served in the part's cycle."""
    findings = []
    for element in event.get("sensorElementList", []):
        for report in element["sensorReport"]:
            tag = report.get("mumian:tag")
            cycle = [value for at_ms, value in served.get(tag, ()) if part.started_ns // _MS <= at_ms <= part.completed_ns // _MS]
            if tag not in served or not cycle:
                continue
            expected = {
                "mumian:count": len(cycle),
                "minValue": min(cycle),
                "maxValue": max(cycle),
                "meanValue": math.fsum(cycle) / len(cycle),
                "value": cycle[-1],
            }
            findings += [
                f"part {part.number}: {tag} {name} is {report.get(name)!r}, the bench served {figure!r}"
                for name, figure in expected.items()
                if not math.isclose(report.get(name, math.nan), figure, rel_tol=1e-9, abs_tol=1e-12)
            ]
    return findings


def is_commissioning(event: Mapping[str, Any]) -> bool:
    """Whether the event gave a product its identifier."""
    return event.get("action") == "ADD" and "mumian:part" in event


def served_by_bench(ledger: Path, device: str) -> dict[str, list[Reading]]:
    """Numeric readings that a device served, per tag, each source time once, oldest first."""
    readings: dict[str, dict[int, float]] = defaultdict(dict)
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as database:
        for (text,) in database.execute("SELECT readings FROM served WHERE device = ? ORDER BY id", (device,)):
            for tag, value, source_ms in json.loads(text):
                if source_ms is not None and isinstance(value, int | float) and not isinstance(value, bool):
                    readings[tag][source_ms] = value
    database.close()
    return {tag: sorted(by_time.items()) for tag, by_time in readings.items()}
