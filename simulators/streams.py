"""One tag of a device with subscriptions: every value that it measured, what it could still give, and what became of each.

The device's ledger says of each value whether a copy of it was held (samples.py). What was held must be delivered. What was not
is lost by the device: where it keeps a history it must be delivered from there, and where it keeps none, each stretch between two
delivered readings must be told as one gap, no more and no less. Nothing else may be told as one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from drivers.status import Status, is_bad, is_good, status_name
from simulators.gaps import Gap, Stretch
from simulators.histories import Match, TagVerdict, same, within
from simulators.ledger import Value
from simulators.samples import Hold, Sample

GAP = status_name(Status.BAD_DATA_LOST)
"""The status by which a client says that readings are missing."""
_UNSET_CLOCK_MS = 978_307_200_000
"""2001-01-01: a client may call a Good value Uncertain whose time is before it (docs/opcua.md)."""
_MISMATCH = status_name(Status.BAD_TYPE_MISMATCH)
_MS = 1_000_000


@dataclass(slots=True)
class _Reading:
    """A value that was measured, and its copies."""

    first: Sample
    copies: list[Sample] = field(default_factory=list)
    is_delivered: bool = False

    @property
    def is_bad(self) -> bool:
        return is_bad(self.first.status)


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """What is known of a device's subscriptions as wholes, by their numbers."""

    began_ns: dict[int, int] = field(default_factory=dict)
    """When the first sample of each came."""
    ended_ns: dict[int, int] = field(default_factory=dict)
    """When each ended."""
    forgotten: dict[int, list[int]] = field(default_factory=dict)
    """Samples of each that were in messages which are lost for good, ascending."""
    proved: dict[int, int] = field(default_factory=dict)
    """The last sample of each of which the client has proved that it is safe."""

    def take(self, sample: Sample) -> None:
        """The next sample of the ledger."""
        if sample.connection:
            self.began_ns.setdefault(sample.connection, sample.at_ns)
            if sample.hold is Hold.ACKNOWLEDGED:
                self.proved[sample.connection] = sample.id
            elif sample.hold is Hold.FORGOTTEN:
                self.forgotten.setdefault(sample.connection, []).append(sample.id)

    def has_forgotten(self, number: int, after: int, before: int) -> bool:
        """Whether a message with a sample between these two is lost: nobody but the device knows what else was in it."""
        found = self.forgotten.get(number, [])
        return bisect_right(found, after) < bisect_left(found, before)

    def was_abandoned(self, number: int) -> bool:
        """Whether the client began another subscription while this one still held what it had."""
        end_ns = self.ended_ns.get(number)
        if end_ns is None:
            return False
        begin_ns = self.began_ns[number]
        return any(begin_ns < other < end_ns for other in self.began_ns.values())


@dataclass(frozen=True, slots=True, order=True)
class _Arrival:
    """One report of the tag, in the order in which the client made them."""

    seq: tuple[int, int]
    place: int
    """Of the reading; -1 for a gap, -2 for another Bad without a reading."""


_TELLS_GAP, _TELLS_BAD = -1, -2
_HAD = (Hold.HELD, Hold.ACKNOWLEDGED)


class Stream:
    """See the module's docstring. measure() everything, then deliver(), then judge()."""

    def __init__(self, device: str, tag: str, *, keeps_history: bool) -> None:
        self.device = device
        self.tag = tag
        self._keeps_history = keeps_history
        self._readings: list[_Reading] = []
        self._usual: type | None = None
        """The type of its first value."""
        self._places: dict[int, int] = {}
        self._arrivals: list[_Arrival] = []
        self._fronts = [-1, -1]
        self._altered = self._reordered = self._heartbeats = self._bad = 0

    def measure(self, sample: Sample) -> None:
        """One more copy, in the order of the ledger.

        Raises:
            ValueError: the device gave two values for one time.
        """
        place = self._places.setdefault(sample.source_ms, len(self._readings))
        if place == len(self._readings):
            self._readings.append(_Reading(sample))
        if self._usual is None and sample.value is not None:
            self._usual = _class_of(sample.value)
        reading = self._readings[place]
        if not _agree(reading.first.value, sample.value):
            raise ValueError(f"{self} was {reading.first.value!r} and {sample.value!r} for one time {sample.source_ms}")
        reading.copies.append(sample)

    def deliver(
        self,
        value: Value | None,
        status: str,
        source_ms: int | None,
        seq: tuple[int, int],
        received_ns: int,
        *,
        is_historical: bool,
    ) -> Match:
        """One delivered report, in the order received.

        Args:
            seq: orders the reports as the client made them.
        """
        if value is None and source_ms is None:
            self._bad += 1
            self._arrivals.append(_Arrival(seq, _TELLS_GAP if status == GAP else _TELLS_BAD))
            return Match()
        place = self._places.get(source_ms or 0)
        if place is None:
            return self._alter(f"{self}: {value!r} at {source_ms} was never measured")
        reading = self._readings[place]
        again, reading.is_delivered = reading.is_delivered, True
        wrong = self._judge_value(reading, value, status)
        if wrong is not None:
            return self._alter(f"{self}: {wrong}")
        self._arrivals.append(_Arrival(seq, place))
        self._bad += value is None
        self._heartbeats += again
        if place < self._fronts[is_historical]:
            self._reordered += 1
            return Match(finding=f"{self}: {value!r} at {source_ms} came after a later reading")
        self._fronts[is_historical] = place
        is_plain = not (again or is_historical) and reading.first.hold is not Hold.UNMONITORED
        return Match(age_ns=received_ns - reading.first.at_ns if is_plain else None)

    def _judge_value(self, reading: _Reading, value: Value | None, status: str) -> str | None:
        """What is wrong with a delivered value, in words."""
        truth = reading.first
        if value is None:
            is_right = status == status_name(truth.status) if reading.is_bad else status == _MISMATCH and self.is_odd(truth)
            return None if is_right else f"{truth.value!r} ({status_name(truth.status)}) at {truth.source_ms} came as {status}"
        if truth.value is None or not same(truth.value, value):
            return f"{value!r} at {truth.source_ms} was measured as {truth.value!r}"
        if status == status_name(truth.status) or (status == "Good" and is_good(truth.status)):
            return None
        if is_good(truth.status) and truth.source_ms < _UNSET_CLOCK_MS and status.startswith("Uncertain"):
            return None
        return f"{value!r} at {truth.source_ms} is {status_name(truth.status)} and came as {status}"

    def is_odd(self, sample: Sample) -> bool:
        """Whether it is of another type than the tag's first value."""
        return sample.value is not None and _class_of(sample.value) is not self._usual

    def judge(self, deadband: float, subscriptions: Subscriptions) -> tuple[TagVerdict, list[str], list[Stretch]]:
        """The verdict, each finding in words, and each stretch that the device lost."""
        tally = _Tally(self, deadband, subscriptions)
        told, bad = 0, False
        front: int | None = None
        for arrival in sorted(self._arrivals):
            if arrival.place == _TELLS_GAP:
                told += 1
            elif arrival.place == _TELLS_BAD:
                bad = True
            elif front is None or arrival.place > front:
                tally.pass_over(front, arrival.place, told, has_bad=bad)
                front, told, bad = arrival.place, 0, False
        tally.pass_over(front, len(self._readings), told, has_bad=bad)
        return tally.verdict(self._altered, self._reordered, self._heartbeats, self._bad), tally.findings, tally.stretches

    @property
    def readings(self) -> list[_Reading]:
        """In the order measured."""
        return self._readings

    @property
    def keeps_history(self) -> bool:
        """Whether the device keeps what the tag was."""
        return self._keeps_history

    def __str__(self) -> str:
        return f"{self.device}.{self.tag}"

    def _alter(self, finding: str) -> Match:
        self._altered += 1
        return Match(finding=finding)


class _Tally:
    """What becomes of a stream's readings, from one delivered reading to the next."""

    def __init__(self, stream: Stream, deadband: float, subscriptions: Subscriptions) -> None:
        self.findings: list[str] = []
        self.stretches: list[Stretch] = []
        self._stream = stream
        self._deadband = deadband
        self._subscriptions = subscriptions
        self._filtered = self._lost = self._cut = self._forfeited = self._untold = self._invented = 0

    def pass_over(self, front: int | None, place: int, told: int, *, has_bad: bool) -> None:
        """Judge what lies between two delivered readings: `front` (None: nothing was delivered) and `place` (the end: none)."""
        readings = self._stream.readings
        left = [one for one in readings[0 if front is None else front + 1 : place] if not one.is_delivered]
        before = None if front is None else readings[front]
        gone: list[_Reading] = []
        is_last = place == len(readings)
        for reading in left:
            if self._is_owed(reading):
                self._miss(reading, before, is_last=is_last, has_bad=has_bad)
            elif any(copy.hold is Hold.UNCHANGED for copy in reading.copies) or self._is_dumb(reading) or before is None:
                continue
            elif is_last:
                continue  # The client has gone, or is away still.
            elif self._stream.keeps_history and _is_between(reading, before, readings[place]):
                self._lose(reading, "is lost, though the device's history has it")
            elif self._stream.keeps_history and _are_of_one_row(before, readings[place]):
                self._forfeited += 1  # Measured by a clock that was wrong: no client would look for it there.
            else:
                gone.append(reading)
        self._forfeited += len(gone)
        self._tell(before, None if is_last else readings[place], gone, told, may_tell=self._may_tell(front, place, left))

    def _may_tell(self, front: int | None, place: int, left: list[_Reading]) -> bool:
        """Whether a client may say that something is missing: it is, or only the device could know that it isn't."""
        if not all(self._is_owed(one) for one in left):
            return True
        readings = self._stream.readings
        if front is None or place == len(readings):
            return False
        before, after = ({copy.connection: copy.id for copy in readings[at].copies if copy.hold in _HAD} for at in (front, place))
        shared = before.keys() & after.keys()
        return all(self._subscriptions.has_forgotten(number, before[number], after[number]) for number in shared)

    def _tell(self, before: _Reading | None, after: _Reading | None, gone: list[_Reading], told: int, *, may_tell: bool) -> None:
        """Whether the client's gap records are those that it owes."""
        excess = told - (1 if may_tell else 0)
        if excess > 0:
            self._invented += excess
            where = "before any reading" if before is None else f"after {before.first.source_ms}"
            self.findings.append(f"{self._stream}: {told} gaps told {where}, where {len(gone)} readings were lost by the device")
        if not gone or before is None:
            return
        if not told:
            self._untold += 1
            what = f"{len(gone)} readings from {gone[0].first.source_ms} on were lost by the device"
            self.findings.append(f"{self._stream}: {what}, and no gap is told")
        to_ms = None if after is None else after.first.at_ns // _MS
        gap = Gap(self._stream.device, (self._stream.tag,), before.first.at_ns // _MS, to_ms, len(gone), told=told > 0)
        self.stretches.append(Stretch(gap, frozenset({gone[0].first.id})))

    def _is_owed(self, reading: _Reading) -> bool:
        """Whether the device had it for the client, as long as the client could ask."""
        return any(copy.hold in _HAD or (copy.hold is Hold.ENDED and self._was_left(copy)) for copy in reading.copies)

    def _was_left(self, copy: Sample) -> bool:
        """Whether the client could have asked for it and went on: to what came later, or to another subscription."""
        number = copy.connection
        return copy.id < self._subscriptions.proved.get(number, 0) or self._subscriptions.was_abandoned(number)

    def _miss(self, reading: _Reading, before: _Reading | None, *, is_last: bool, has_bad: bool) -> None:
        """An owed reading that wasn't delivered."""
        if self._is_dumb(reading):
            if not has_bad and (before is None or not self._is_dumb(before)) and not (is_last and not self._is_proved(reading)):
                self._lose(reading, "is lost")
            return
        last = None if before is None else before.first.value
        if last is not None and reading.first.value is not None and within(reading.first.value, last, self._deadband):
            self._filtered += 1
        elif is_last and not self._is_proved(reading):
            self._cut += 1
        else:
            self._lose(reading, f"is lost (last delivered: {last!r})")

    def _is_dumb(self, reading: _Reading) -> bool:
        """Whether a client has no value of it, only a status, which is told once."""
        return reading.is_bad or self._stream.is_odd(reading.first)

    def _is_proved(self, reading: _Reading) -> bool:
        """Whether the client has taken what came later in the same subscription."""
        return any(copy.id <= self._subscriptions.proved.get(copy.connection, 0) for copy in reading.copies)

    def _lose(self, reading: _Reading, how: str) -> None:
        self._lost += 1
        self.findings.append(f"{self._stream}: {reading.first.value!r} at {reading.first.source_ms} {how}")

    def verdict(self, altered: int, reordered: int, heartbeats: int, bad: int) -> TagVerdict:
        """What it comes to."""
        readings = [one for one in self._stream.readings if one.is_delivered and not self._is_dumb(one)]
        return TagVerdict(
            self._stream.device,
            self._stream.tag,
            delivered=len(readings),
            filtered=self._filtered,
            lost=self._lost,
            altered=altered,
            reordered=reordered,
            heartbeats=heartbeats,
            bad=bad,
            cut=self._cut,
            gaps=len(self.stretches),
            gaps_told=sum(stretch.gap.told for stretch in self.stretches),
            filled=sum(not self._is_owed(one) for one in readings),
            forfeited=self._forfeited,
            untold=self._untold,
            invented=self._invented,
        )


def _are_of_one_row(before: _Reading, after: _Reading) -> bool:
    """Whether a device's clock was set for both, or for none."""
    return (before.first.source_ms < _UNSET_CLOCK_MS) == (after.first.source_ms < _UNSET_CLOCK_MS)


def _is_between(reading: _Reading, before: _Reading, after: _Reading) -> bool:
    """Whether a client that looks from one time to the other finds it in a history."""
    return _are_of_one_row(before, after) and before.first.source_ms < reading.first.source_ms < after.first.source_ms


def _agree(one: Value | None, other: Value | None) -> bool:
    return one is other if one is None or other is None else same(one, other)


def _class_of(value: Value | None) -> type:
    return type(value) if isinstance(value, bool | str) or value is None else float
