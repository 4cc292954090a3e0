"""The outbox contract: where a reading lives from the poll to the acknowledgement.

One process owns an outbox. The engine appends and waits; each sink reads what it hasn't acknowledged and acknowledges it, in
one lane or in several (invariant I6). A record has one `seq` for life: (gateway, epoch, seq) lets a consumer drop repeats
(invariant I5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

from gateway.outbox.ranges import Ranges


class RecordKind(IntEnum):
    """What a record holds; sinks choose by it."""

    TELEMETRY = 1
    """Frames of one device, or a gap: see gateway/outbox/codec.py."""
    PRODUCT = 2
    """An EPCIS event, JSON."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record before it has a seq."""

    kind: RecordKind
    payload: bytes
    readings: int
    """How many readings it stands for, for the counters of I4; 0 for a product."""


class Record(NamedTuple):
    """A record as a sink reads it."""

    seq: int
    kind: RecordKind
    payload: bytes
    at_ns: int = 0
    """When it was stored, ns since 1970, UTC, by the gateway's clock; 0 where that isn't known."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The books of I4: produced = removed by acknowledgement + stored + dropped. In records, since this outbox was made.

    Gaps are in none of them: they stand for records that are in `dropped`.
    """

    produced: int
    removed: int
    stored: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason, e.g. {"damaged": 1}."""
    readings: int = 0
    """How many readings the produced records stood for."""
    stored_bytes: int = 0
    """Of payload."""
    gaps: int = 0
    """Gaps that not every sink has passed yet."""


class OutboxError(Exception):
    """The root; the class says what the caller does next.

    OutboxError
    ├── OutboxBusy      another process owns the file: exit, code 3
    ├── OutboxFull      no space, or the limits say to wait: nothing was stored; keep the readings, say so, try again
    └── OutboxFailed    the disk reported an I/O or fsync error: stop accepting, exit, code 4; never retry on this descriptor
    """


class OutboxBusy(OutboxError):
    """Another process owns the file."""


class OutboxFull(OutboxError):
    """No space left, on the disk or within the limits. Nothing of the batch was stored; the same append may succeed later."""


class OutboxFailed(OutboxError):
    """The disk failed. What was acknowledged before is safe; nothing more is accepted by this object."""


class Outbox(Protocol):
    """See the module's docstring."""

    @property
    def epoch(self) -> str:
        """Made with the outbox, kept for its life: seqs of different epochs are not comparable."""

    @property
    def last_seq(self) -> int:
        """The newest durable seq that was given; 0 before the first."""

    async def append(self, entries: Sequence[Entry], notes: Mapping[str, bytes] | None = None) -> range:
        """Store entries and notes (small named states that must change together with them) in one durable transaction.

        On return all of it survives a power cut; concurrent appends share a commit (group commit). A caller that is cancelled
        meanwhile hears the outcome first, and ends at its next await.

        Returns:
            The seqs given, ascending, in the order of `entries`.

        Raises:
            OutboxFull: nothing stored; may be tried again.
            OutboxFailed: nothing stored; this outbox accepts no more.
        """

    def read(
        self, after: int, limit: int, kinds: frozenset[RecordKind], until: int | None = None, *, newest: bool = False
    ) -> list[Record]:
        """Up to `limit` durable records of those kinds with `after` < seq <= `until`, ascending: the first, or the newest.

        Takes nothing away; microseconds, no await. Without `until` there is no end.

        Where records were dropped before every sink had them, a gap stands in the place of the newest of them, a telemetry
        record by kind. A record whose checksum fails is quarantined and counted as dropped "damaged"; a gap takes its place.
        """

    async def wait(self, after: int, kinds: frozenset[RecordKind]) -> None:
        """Return once a durable record of those kinds with seq > `after` exists."""

    def cursor(self, sink: str) -> int:
        """The seq through which `sink` has acknowledged all; 0 for a new one, which so gets all that is stored."""

    def acknowledged(self, sink: str) -> Ranges:
        """All that `sink` has acknowledged, what lies beyond its cursor too: at most ranges.MOST ranges.

        Beyond that the shortest is forgotten, and its records are sent again where they are still stored.
        """

    async def acknowledge(self, sink: str, seq: int, after: int = 0) -> None:
        """`sink` has everything in (after, seq] for good; from the beginning without `after`. Nothing takes that back.

        A record that all sinks that carry its kind have acknowledged goes. Which sinks carry which kinds is said when the outbox
        is made. May be committed a little later than it returns: a crash then costs a repeat, never a loss.
        """

    def fence(self, sink: str, seqs: Iterable[int]) -> None:
        """Behind each of these seqs begins what `sink` reads, sends or acknowledges apart; until said anew, in memory only.

        A gap never tells of records on both sides of one: its place could else be acknowledged before what it tells of.
        """

    async def quarantine(self, sink: str, seq: int, reason: str) -> None:
        """Set a copy of a record aside that `sink` can never deliver. The first reason given for a record stays.

        The record itself goes as any other, once the cursors have passed it, but is then counted as dropped, by the part of
        `reason` before its first colon, and not as removed. Committed as late as acknowledge() may be.
        """

    def note(self, key: str) -> bytes | None:
        """The note of that name as last appended."""

    def counts(self) -> Counts:
        """The books, as of the last commit."""

    async def close(self) -> None:
        """Commit what waits and release the file. Safe twice."""
