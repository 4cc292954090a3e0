"""The plant's ledger against what a subscriber received: nothing lost, altered or out of order is a computed answer."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import msgspec

from simulators.faults.script import FaultKind
from simulators.gaps import Stretch, merge_stretches
from simulators.histories import History, Match
from simulators.ledger import FaultRecord, Value, open_read_only, read_faults, read_served, unusable
from simulators.samples import read_ends, read_histories_kept, read_samples
from simulators.streams import Stream, Subscriptions
from simulators.verdict import Verdict

EXAMPLES_PER_KIND = 5
_NS_PER_MS = 1_000_000
_MARKED = re.compile(r'^(\{.*?"t":[0-9]+,)"historical":true,')
"""A message of the history lane, up to its mark: what had gone live before may come again as history."""
_OUTAGES = frozenset({FaultKind.RESTART, FaultKind.REFUSE, FaultKind.HALF_OPEN})
Tag = tuple[str, str]
"""(device, tag)"""


class Telemetry(msgspec.Struct):
    """The part of a message's payload that is judged."""

    t: int
    values: dict[str, Value | None]
    source_t: dict[str, int] = msgspec.field(default_factory=dict)
    status: dict[str, str] = msgspec.field(default_factory=dict)
    historical: bool = False


@dataclass(frozen=True, slots=True)
class _Message:
    """A row of the subscriber's file."""

    id: int
    received_ns: int
    identity: tuple[str, str, int]
    device: str
    payload: str


class _Findings:
    """The first few of each kind."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, text: str | None) -> None:
        if text is not None:
            found = self._by_kind.setdefault(kind, [])
            if len(found) < EXAMPLES_PER_KIND:
                found.append(text)

    def all(self) -> tuple[str, ...]:
        return tuple(text for found in self._by_kind.values() for text in found)


def verify(
    ledger: Path,
    delivered: Path,
    deadbands: Mapping[Tag, float],
    collected: Collection[Tag] | None = None,
) -> Verdict:
    """Judge a run.

    Args:
        ledger: what the plant served (simulators/ledger.py).
        delivered: what a subscriber received: a table messages(id, received_ns, gateway, epoch, seq, device, payload).
        deadbands: absolute, in engineering units; 0 for a tag that isn't in it.
        collected: the tags that the gateway was told to collect; None: every tag that it read. A block read may cover more.

    Raises:
        ConfigError: a file is missing, is not what it should be, or the ledger contradicts itself.
    """
    streams, subscriptions = _read_streams(ledger)
    judgement = _Judgement(_read_histories(ledger), streams, subscriptions)
    for message in _read_messages(delivered):
        judgement.take(message)
    return judgement.verdict(deadbands, collected)


class _Judgement:
    """A verdict in the making."""

    def __init__(
        self, histories: dict[Tag, History], streams: dict[Tag, Stream], subscriptions: Mapping[str, Subscriptions]
    ) -> None:
        self._histories = {tag: history for tag, history in histories.items() if tag not in streams}
        self._streams = streams
        self._subscriptions = subscriptions
        self._epochs: dict[tuple[str, str], int] = {}
        self._payloads: dict[tuple[str, str, int], int] = {}
        self._findings = _Findings()
        self._ages_ns: list[int] = []
        self._messages = self._repeated = self._malformed = 0

    def take(self, message: _Message) -> None:
        """The next message, in the order received."""
        self._messages += 1
        payload = hash(_MARKED.sub(r"\1", message.payload))
        earlier = self._payloads.get(message.identity)
        if earlier is None:
            self._payloads[message.identity] = payload
            self._deliver(message)
        elif earlier == payload:
            self._repeated += 1
        else:
            self._refuse(f"message {message.id} repeats {message.identity} with other bytes")

    def verdict(self, deadbands: Mapping[Tag, float], collected: Collection[Tag] | None) -> Verdict:
        """What it comes to, once all messages are taken."""
        tags = []
        stretches: list[Stretch] = []
        for tag, history in sorted(self._histories.items()):
            if collected is None or tag in collected:
                verdict, losses = history.judge(deadbands.get(tag, 0.0))
                tags.append(verdict)
                stretches += history.find_stretches()
                for loss in losses[:EXAMPLES_PER_KIND]:
                    self._findings.add("loss", loss)
        for tag, stream in sorted(self._streams.items()):
            if collected is None or tag in collected:
                verdict, losses, lost = stream.judge(deadbands.get(tag, 0.0), self._subscriptions[tag[0]])
                tags.append(verdict)
                stretches += lost
                for loss in losses[:EXAMPLES_PER_KIND]:
                    self._findings.add("loss", loss)
        self._ages_ns.sort()
        p50, p99 = (_percentile_ms(self._ages_ns, share) for share in (0.5, 0.99))
        return Verdict(
            tuple(tags),
            self._messages,
            self._repeated,
            self._malformed,
            p50,
            p99,
            self._findings.all(),
            merge_stretches(stretches),
        )

    def _deliver(self, message: _Message) -> None:
        try:
            telemetry = msgspec.json.decode(message.payload, type=Telemetry)
        except msgspec.MsgspecError as error:
            self._refuse(f"message {message.id} is not telemetry: {error}")
            return
        gateway, epoch, seq = message.identity
        place = self._epochs.setdefault((gateway, epoch), len(self._epochs)), seq
        for tag, value in telemetry.values.items():
            stream = self._streams.get((message.device, tag))
            if stream is not None:
                self._note(_match_stream(stream, tag, value, telemetry, place, message.received_ns))
                continue
            history = self._histories.get((message.device, tag))
            if history is None:
                history = self._histories[message.device, tag] = History(message.device, tag)
            self._note(_match(history, tag, value, telemetry, message))

    def _note(self, match: Match) -> None:
        self._findings.add("reading", match.finding)
        if match.age_ns is not None:
            self._ages_ns.append(match.age_ns)

    def _refuse(self, finding: str) -> None:
        self._malformed += 1
        self._findings.add("message", finding)


def _match(history: History, tag: str, value: Value | None, telemetry: Telemetry, message: _Message) -> Match:
    status = telemetry.status.get(tag, "Good")
    if value is not None and not status.startswith("Bad"):
        source_ms = telemetry.source_t.get(tag)
        return history.deliver(value, telemetry.t, source_ms, message.received_ns, is_historical=telemetry.historical)
    if value is not None:
        return history.report_wrong(f"{value!r} in message {message.id} though its status is {status}")
    if status == "Good":
        return history.report_wrong(f"no value in message {message.id}, and no status that says why")
    return history.report_bad(telemetry.t)


def _match_stream(
    stream: Stream, tag: str, value: Value | None, telemetry: Telemetry, seq: tuple[int, int], received_ns: int
) -> Match:
    status = telemetry.status.get(tag, "Good")
    source_ms = telemetry.source_t.get(tag)
    return stream.deliver(value, status, source_ms, seq, received_ns, is_historical=telemetry.historical)


def _read_streams(ledger: Path) -> tuple[dict[Tag, Stream], dict[str, Subscriptions]]:
    kept = read_histories_kept(ledger)
    streams: dict[Tag, Stream] = {}
    found: dict[str, Subscriptions] = {}
    for sample in read_samples(ledger):
        tag = (sample.device, sample.tag)
        stream = streams.get(tag)
        if stream is None:
            stream = streams[tag] = Stream(*tag, keeps_history=tag in kept)
        known = found.setdefault(sample.device, Subscriptions())
        known.take(sample)
        try:
            stream.measure(sample)
        except ValueError as error:
            raise unusable(ledger, f"contradicts itself: {error}") from error
    for device, number, at_ns in read_ends(ledger):
        if device in found:
            found[device].ended_ns[number] = at_ns
    return streams, found


def _read_histories(ledger: Path) -> dict[Tag, History]:
    histories: dict[Tag, History] = {}
    asked: set[tuple[int, str, str]] = set()
    for row in read_served(ledger):
        for tag, value, source_ms in row.readings:
            history = histories.get((row.device, tag))
            if history is None:
                history = histories[row.device, tag] = History(row.device, tag)
            first = (row.connection, row.device, tag) not in asked
            asked.add((row.connection, row.device, tag))
            try:
                history.serve(row, value, source_ms, first)
            except ValueError as error:
                raise unusable(ledger, f"contradicts itself: {error}") from error
    outages = [(-place, fault) for place, fault in enumerate(read_faults(ledger), 1) if fault.kind in _OUTAGES]
    for (device, _), history in histories.items():
        for event, fault in outages:
            if fault.device == device:
                _go_out(history, event, fault)
        history.seal()
    return histories


def _go_out(history: History, event: int, fault: FaultRecord) -> None:
    if fault.kind == FaultKind.RESTART:
        history.go_off(event, fault.at_ns)
    else:
        history.turn_away(event, fault.at_ns, fault.at_ns + fault.for_ns)


def _read_messages(delivered: Path) -> Iterator[_Message]:
    query = "SELECT id, received_ns, gateway, epoch, seq, device, payload FROM messages ORDER BY id"
    with closing(open_read_only(delivered)) as database:
        try:
            for row_id, received_ns, gateway, epoch, seq, device, payload in database.execute(query):
                yield _Message(row_id, received_ns, (gateway, epoch, seq), device, payload)
        except sqlite3.Error as error:
            raise unusable(delivered, f"not a subscriber's file: {error}") from error


def _percentile_ms(ages_ns: list[int], share: float) -> float | None:
    """Nearest rank, of sorted ages."""
    return ages_ns[ceil(share * len(ages_ns)) - 1] / _NS_PER_MS if ages_ns else None
