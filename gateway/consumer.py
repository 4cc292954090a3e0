"""The consumer's side of our MQTT stream: messages in, readings and gaps out, each once. Sans-IO; any MQTT client may feed it.

Delivery is at least once, and (gateway, epoch, seq) names a record for ever (invariant I5): what has come before is dropped here.
docs/mqtt.md tells the payloads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.sequence import Sequence

MOST_STREAMS = 1000
"""Of gateways and epochs; the one that was silent longest is forgotten."""
MOST_PARTS = 10_000
"""Records of a stream of which only some messages have come, where each reading is a message of its own."""
_KEYS = frozenset({"gateway", "epoch", "seq", "device", "t", "historical", "clock"})


@dataclass(frozen=True, slots=True)
class Reading:
    """A tag's value at a time."""

    gateway: str
    device: str
    tag: str
    value: Any
    """None where the status is Bad, or for a number that JSON can't write."""
    t_ms: int
    """When the gateway had it, ms since 1970, UTC."""
    status: str
    """Name of an OPC UA StatusCode; "Good" or, in the form `values`, "" for what can't be told."""
    source_t_ms: int | None
    """The device's own time, where it has one."""
    is_historical: bool
    """Sent later than live, after an outage."""
    clock: str
    """What is wrong with the gateway's clock, by which `t_ms` is; "" where nothing is known to be."""
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that won't come, or haven't."""

    gateway: str
    epoch: str
    first_seq: int
    last_seq: int
    count: int
    """How many of that range are missing."""
    reasons: Mapping[str, int]
    """By the gateway's word: size, age, damaged ...; {"missing": count} where it gave none."""
    devices: tuple[str, ...] = ()
    """Whose readings they were, where that is known."""


@dataclass(slots=True)
class _Stream:
    seqs: Sequence
    parts: OrderedDict[int, set[str]] = field(default_factory=OrderedDict)

    def is_new(self, body: Mapping[str, Any], seq: int, now_s: float) -> bool:
        """Whether this message has not come before; notes that it has."""
        if "tag" not in body:
            return self.seqs.add(seq, now_s)
        if seq in self.seqs:
            return False
        tags = self.parts.setdefault(seq, set())
        if body["tag"] in tags:
            return False
        tags.add(body["tag"])
        if len(tags) >= body["of"]:
            del self.parts[seq]
            self.seqs.add(seq, now_s)
        elif len(self.parts) > MOST_PARTS:
            oldest, _ = self.parts.popitem(last=False)
            self.seqs.add(oldest, now_s)
        return True


class Consumer:
    """Takes messages in whatever order and however often they come."""

    def __init__(self, *, most_runs: int = 10_000) -> None:
        """`most_runs`: see Sequence; bounds the memory of a stream."""
        self.messages = 0
        self.repeats = 0
        """Messages, or records of a joined one, that had come before."""
        self.foreign = 0
        """Those that aren't ours."""
        self._most_runs = most_runs
        self._streams: OrderedDict[tuple[str, str], _Stream] = OrderedDict()

    def feed(self, payload: bytes, now_s: float = 0.0) -> list[Reading | Gap]:
        """What is new in a message's payload, in its order.

        Args:
            now_s: of a monotonic clock; only missing() uses it.
        """
        self.messages += 1
        try:
            body = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.foreign += 1
            return []
        found: list[Reading | Gap] = []
        for part in body if isinstance(body, list) else [body]:
            if not _is_ours(part):
                self.foreign += 1
            elif self._stream(part["gateway"], part["epoch"]).is_new(part, part["seq"], now_s):
                found += self._read(part)
            else:
                self.repeats += 1
        return found

    def missing(self, now_s: float, settle_s: float) -> list[Gap]:
        """Holes between seqs that nothing has come for or changed for `settle_s`, and that no gap explained; each told once.

        Only a subscriber of all that a gateway stores sees every seq: products have seqs too, and so has what a sink leaves out.
        """
        return [
            Gap(gateway, epoch, first, last, last - first + 1, {"missing": last - first + 1})
            for (gateway, epoch), stream in self._streams.items()
            for first, last in stream.seqs.missing(now_s, settle_s)
        ]

    def _stream(self, gateway: str, epoch: str) -> _Stream:
        key = (gateway, epoch)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(Sequence(self._most_runs))
            if len(self._streams) > MOST_STREAMS:
                self._streams.popitem(last=False)
        else:
            self._streams.move_to_end(key)
        return stream

    def _read(self, body: Mapping[str, Any]) -> Iterator[Reading | Gap]:
        if "gap" in body:
            gap = _gap_of(body)
            self._streams[body["gateway"], body["epoch"]].seqs.explain(gap.first_seq, gap.last_seq)
            yield gap
            return
        is_historical, clock = body.get("historical") is True, body.get("clock", "")
        for tag, value, status, source_t in _values_of(body):
            yield Reading(
                body["gateway"],
                body["device"],
                tag,
                value,
                body["t"],
                status,
                source_t,
                is_historical,
                clock,
                body["epoch"],
                body["seq"],
            )


def _values_of(body: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, int | None]]:
    """(tag, value, status, source_t) of each reading, in whichever form."""
    if "tag" in body:
        yield body["tag"], body["value"], body.get("status", "Good"), body.get("source_t")
    elif "values" in body:
        status, source_t = body.get("status", {}), body.get("source_t", {})
        for tag, value in body["values"].items():
            yield tag, value, status.get(tag, "Good"), source_t.get(tag)
    else:
        for tag, value in body.items():
            if tag not in _KEYS:
                yield tag, value, "" if value is None else "Good", None


def _gap_of(body: Mapping[str, Any]) -> Gap:
    gap = body["gap"]
    reasons = {reason: count for reason, count in gap.get("reasons", {}).items() if _is_count(count)}
    return Gap(
        body["gateway"],
        body["epoch"],
        gap["from_seq"],
        gap["to_seq"],
        gap["count"],
        reasons,
        tuple(gap.get("devices", ())),
    )


def _is_ours(body: Any) -> bool:
    """Whether a message has what every one of ours has, in the types that it has there."""
    if not isinstance(body, dict) or not _is_count(body.get("seq")):
        return False
    if not isinstance(body.get("gateway"), str) or not isinstance(body.get("epoch"), str):
        return False
    if "gap" in body:
        gap = body["gap"]
        if not isinstance(gap, dict) or not all(_is_count(gap.get(key)) for key in ("from_seq", "to_seq", "count")):
            return False
        return isinstance(gap.get("reasons", {}), dict) and isinstance(gap.get("devices", []), list)
    if not isinstance(body.get("device"), str) or not _is_count(body.get("t")) or not isinstance(body.get("clock", ""), str):
        return False
    if "tag" in body:
        return isinstance(body["tag"], str) and _is_count(body.get("of")) and "value" in body
    return all(isinstance(body.get(key, {}), dict) for key in ("values", "status", "source_t")) or "values" not in body


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
