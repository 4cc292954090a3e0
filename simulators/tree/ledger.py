"""What a top-level node has been told: each report once, whatever comes again, and what is missing. Sans-IO.

A report is known by (node, epoch, sequence). The same bytes again are a repeat; other bytes in its place are a conflict, and not
taken. What an epoch's reports count is summed up by prefix, and has to come to the totals that the latest of them tells.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

from gateway.sequence import Sequence

MOST_NODES = 1000
MOST_EPOCHS = 16
"""Of each node; the one that has been silent for longest is forgotten."""
MOST_DIGESTS = 100_000
"""Of each epoch; of what is older a repeat isn't told from a conflict."""
_MOST_GAPS = 100


class Verdict(StrEnum):
    """What became of a report."""

    TAKEN = "taken"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a prefix resolves."""

    prefix: str
    node: str
    url: str


@dataclass(slots=True)
class Epoch:
    """One life of a node's books."""

    taken: Sequence = field(default_factory=Sequence)
    digests: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    last: int = 0
    """The highest sequence that came, or that a heartbeat spoke of."""
    repeats: int = 0
    conflicts: int = 0
    counted: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    answers: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By prefix, then `face status`."""
    totals: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict)
    """By prefix, as of which sequence."""
    members: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    holdings: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def missing(self) -> list[int]:
        """Sequences that haven't come though later ones have, or a heartbeat has spoken of them; the first hundred."""
        found = []
        for sequence in range(1, self.last + 1):
            if sequence not in self.taken:
                found.append(sequence)
                if len(found) == _MOST_GAPS:
                    break
        return found

    def unequal(self) -> list[str]:
        """Prefixes of which the sums aren't the totals that were told last: something was lost or taken twice, or is missing."""
        return sorted(
            prefix
            for prefix, (_, totals) in self.totals.items()
            if {what: number for what, number in self.counted[prefix].items() if number} != totals
        )

    def take(self, sequence: int, report: dict[str, Any]) -> None:
        """Add what a report counts; of what is a state the latest report holds."""
        for summary in report["summaries"]:
            prefix = summary["prefix"]
            self.counted[prefix].update(summary.get("counted", {}))
            for answered in summary.get("answers", ()):
                self.answers[prefix][f"{answered['face']} {answered['status']}"] += answered["count"]
            if "totals" in summary:
                _latest(self.totals, prefix, sequence, summary["totals"])
        for member in report["members"]:
            _latest(self.members, member["enterprise"], sequence, member)
        for holding in report["holdings"]:
            _latest(self.holdings, holding["prefix"], sequence, holding)


def _latest(kept: dict[str, tuple[int, dict[str, Any]]], key: str, sequence: int, content: dict[str, Any]) -> None:
    if key not in kept or kept[key][0] < sequence:
        kept[key] = (sequence, content)


@dataclass(slots=True)
class Below:
    """One second-level node."""

    epochs: OrderedDict[str, Epoch] = field(default_factory=OrderedDict)
    """The last is the one that holds."""
    heartbeats: int = 0
    heartbeat: dict[str, Any] = field(default_factory=dict)

    def epoch(self, name: str) -> Epoch:
        """The epoch of that name, which may begin with this."""
        if name not in self.epochs:
            self.epochs[name] = Epoch()
            if len(self.epochs) > MOST_EPOCHS:
                self.epochs.popitem(last=False)
        return self.epochs[name]

    @property
    def now(self) -> Epoch:
        """The epoch that holds."""
        return next(reversed(self.epochs.values())) if self.epochs else Epoch()


class TopLedger:
    """All nodes below."""

    def __init__(self) -> None:
        self.nodes: dict[str, Below] = {}
        self.malformed = 0

    def report(self, body: bytes) -> tuple[Verdict, dict[str, Any]]:
        """Take a report; the verdict, and what it was taken as, or why it wasn't."""
        try:
            report = json.loads(body)
            node, epoch_name, sequence = report["node"], report["epoch"], report["sequence"]
            below = self._below(node)
            _check(epoch_name, sequence)
            Epoch().take(sequence, report)  # on trial: it is taken whole or not at all
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.malformed += 1
            return Verdict.MALFORMED, {"reason": f"no report: {error}"}
        place = {"node": node, "epoch": epoch_name, "sequence": sequence}
        epoch, digest = below.epoch(epoch_name), sha256(body).digest()
        if sequence in epoch.taken:
            if epoch.digests.get(sequence, digest) != digest:
                epoch.conflicts += 1
                return Verdict.CONFLICT, {"code": "other-content", "reason": "another report was taken in this place", **place}
            epoch.repeats += 1
            return Verdict.REPEATED, place
        epoch.taken.add(sequence)
        epoch.digests[sequence] = digest
        if len(epoch.digests) > MOST_DIGESTS:
            epoch.digests.popitem(last=False)
        epoch.last = max(epoch.last, sequence)
        epoch.take(sequence, report)
        return Verdict.TAKEN, place

    def beat(self, body: bytes) -> bool:
        """Take a heartbeat; False: it is none."""
        try:
            heartbeat = json.loads(body)
            below = self._below(heartbeat["node"])
            last = heartbeat["last_sequence"]
            if heartbeat["epoch"] and isinstance(last, int):
                epoch = below.epoch(str(heartbeat["epoch"]))
                epoch.last = max(epoch.last, last)
        except (ValueError, KeyError, TypeError, RecursionError):
            self.malformed += 1
            return False
        below.heartbeats += 1
        below.heartbeat = heartbeat
        return True

    def route(self, prefix: str) -> Route | None:
        """Where a handle's prefix resolves: by the longest prefix that was given out, or that a node has itself."""
        labels = prefix.upper().split(".")
        for length in range(len(labels), 0, -1):
            asked = ".".join(labels[:length])
            for name, below in self.nodes.items():
                url = str(below.heartbeat.get("url", ""))
                _, holding = below.now.holdings.get(asked, (0, {}))
                if holding.get("enterprise"):
                    return Route(asked, name, str(holding.get("delegated_to") or url))
                if name == asked and url:
                    return Route(asked, name, url)
        return None

    def told(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {"nodes": {name: _node(below) for name, below in self.nodes.items()}, "malformed": self.malformed}

    def _below(self, node: object) -> Below:
        if not isinstance(node, str) or not node:
            raise ValueError("it is of no node")
        if node not in self.nodes and len(self.nodes) >= MOST_NODES:
            raise ValueError(f"there are {MOST_NODES} nodes already")
        return self.nodes.setdefault(node, Below())


def _check(epoch: object, sequence: object) -> None:
    if not isinstance(epoch, str) or not epoch:
        raise ValueError("it is of no epoch")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 1:
        raise ValueError("it has no sequence")


def _node(below: Below) -> dict[str, Any]:
    epochs = {
        name: {
            "last": epoch.last,
            "missing": epoch.missing(),
            "repeats": epoch.repeats,
            "conflicts": epoch.conflicts,
            "counted": epoch.counted,
            "answers": epoch.answers,
            "unequal": epoch.unequal(),
            "members": {key: content for key, (_, content) in epoch.members.items()},
            "holdings": {key: content for key, (_, content) in epoch.holdings.items()},
        }
        for name, epoch in below.epochs.items()
    }
    return {"epochs": epochs, "heartbeats": below.heartbeats, "heartbeat": below.heartbeat}
