"""One tag's readings as the plant served them, and what became of each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from simulators.faults.fate import Fate
from simulators.gaps import Loss, Stretch, find_stretches
from simulators.ledger import Served, Value

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class TagVerdict:
    """What became of one tag's readings. Counts of readings."""

    device: str
    tag: str
    delivered: int
    """Served readings that arrived as they were."""
    filtered: int
    """Acknowledged, not delivered, within the deadband of the last delivered one: rightly kept back."""
    lost: int
    """Acknowledged, not delivered, outside the deadband."""
    altered: int
    """Delivered with another value than was served, or never served at all."""
    reordered: int
    """Delivered after a later one."""
    heartbeats: int
    """Delivered again in a message of its own."""
    bad: int
    """Reported Bad, without a value: no readings."""
    cut: int
    """Served, neither acknowledged nor delivered: the client ended, or gave up waiting, before it had them safe."""
    spoiled: int = 0
    """Measured, but never rightly sent: not demanded, and altered if delivered. Counted in none of the above."""
    gaps: int = 0
    """Stretches in which readings were spoiled or the device was off."""
    gaps_told: int = 0
    """Of these, in which the client reported the tag Bad, or still."""
    forfeited: int = 0
    """Lost by a device with subscriptions, and not delivered: in none of the above but in `gaps`."""
    filled: int = 0
    """Lost by such a device's subscriptions, and delivered all the same, from its history. Among the delivered."""
    untold: int = 0
    """Stretches that such a device lost and the client didn't tell as a gap."""
    invented: int = 0
    """Gaps that the client told where there was none, or told more than once."""

    @property
    def read(self) -> int:
        """Acknowledged or delivered: what the client had."""
        return self.delivered + self.filtered + self.lost


@dataclass(frozen=True, slots=True)
class Match:
    """What a delivered value was found to be."""

    age_ns: int | None = None
    """How old the reading was on arrival; None where that says nothing."""
    finding: str | None = None
    """What is wrong with it, in words."""


class History:
    """The readings of one tag, oldest first, each with its fate.

    A tag with device timestamps is matched by them. One without is matched by the newest reading served no later than the client
    says it had it. As that time is rounded down to ms, a reading served in that very ms may be meant, or the one before it
    that arrived late; where both have the delivered value, the older is taken. So the loss of a reading is not seen when the next
    one has the same value and was delivered all the same.

    Spoiled readings are kept apart: no delivered value is matched to one. One that equals it, and no usable reading of its time,
    was taken from a wrong frame.
    """

    def __init__(self, device: str, tag: str) -> None:
        self.device = device
        self.tag = tag
        self._keys_ms: list[int] = []
        self._values: list[Value] = []
        self._origins_ns: list[int | None] = []
        self._acknowledged = bytearray()
        self._delivered = bytearray()
        self._by_source: dict[int, int] | None = None
        self._connections: list[int] = []
        self._served_ns: list[int] = []
        self._spoiled: list[tuple[int, Value]] = []
        self._losses: list[Loss] = []
        self._reports: list[tuple[int, bool]] = []
        self._fronts = {False: -1, True: -1}
        self._altered = self._reordered = self._heartbeats = self._bad = 0

    def serve(self, row: Served, value: Value, source_ms: int | None, first: bool) -> None:
        """Add a reading of a row of the ledger, in the order served.

        Args:
            first: it began a subscription, so it may have been sampled long before anybody asked and its age says nothing.

        Raises:
            ValueError: the device gave two values for one time.
        """
        served_ms = row.served_ns // _MS
        if row.fate is Fate.SPOILED:
            self._spoiled.append((served_ms if source_ms is None else source_ms, value))
            self._losses.append(Loss(row.served_ns, row.id, 1))
            return
        if source_ms is not None:
            if self._by_source is None:
                self._by_source = {}
            place = self._by_source.setdefault(source_ms, len(self._keys_ms))
            if place < len(self._keys_ms):
                if not same(self._values[place], value):
                    raise ValueError(f"{self} was served as {self._values[place]!r} and {value!r} for one time {source_ms}")
                self._acknowledged[place] |= row.acknowledged
                return
        origin_ns = row.served_ns if source_ms is None else None if first else source_ms * _MS
        self._keys_ms.append(served_ms if source_ms is None else source_ms)
        self._values.append(value)
        self._origins_ns.append(origin_ns)
        self._acknowledged.append(row.acknowledged)
        self._delivered.append(0)
        self._connections.append(row.connection)
        self._served_ns.append(row.served_ns)

    def go_off(self, event: int, at_ns: int) -> None:
        """The device was switched off: what it would have measured then is lost."""
        self._losses.append(Loss(at_ns, event, 0))

    def turn_away(self, event: int, at_ns: int, end_ns: int) -> None:
        """The device took no new clients, or answered none, until `end_ns`. To be called before seal().

        What it would have measured is lost if the client was without a connection when that was over: what it had before came by
        another connection than what it had afterwards.
        """
        after = bisect_left(self._served_ns, end_ns)
        is_between = 0 < after < len(self._served_ns)
        if is_between and self._connections[after - 1] != self._connections[after]:
            self._losses.append(Loss(max(at_ns, self._served_ns[after - 1]), event, 0))

    def seal(self) -> None:
        """All is served: bring it into the order of time. To be called before deliver()."""
        order = sorted(range(len(self._keys_ms)), key=self._keys_ms.__getitem__)
        self._keys_ms = [self._keys_ms[place] for place in order]
        self._values = [self._values[place] for place in order]
        self._origins_ns = [self._origins_ns[place] for place in order]
        self._acknowledged = bytearray(self._acknowledged[place] for place in order)
        if self._by_source is not None:
            self._by_source = {key: place for place, key in enumerate(self._keys_ms)}

    def deliver(self, value: Value, t_ms: int, source_ms: int | None, received_ns: int, *, is_historical: bool = False) -> Match:
        """Match one delivered value, in the order received, repeats of a message left out.

        Live and historical values have an order each. The age of a historical one says nothing: it was sent late.
        """
        self._reports.append((t_ms, False))
        place = self._find(value, t_ms, source_ms)
        matches = place is not None and same(self._values[place], value)
        if not matches and self._was_spoiled(value, t_ms, source_ms, None if place is None else self._keys_ms[place]):
            return self._alter(f"{self}: {value!r} at {source_ms or t_ms} was taken from an answer that was spoiled")
        if place is None:
            return self._alter(f"{self}: {value!r} at {source_ms or t_ms} was never served")
        if not same(self._values[place], value):
            self._delivered[place] = True
            return self._alter(f"{self}: {value!r} at {source_ms or t_ms} was served as {self._values[place]!r}")
        again = bool(self._delivered[place])
        self._heartbeats += again
        self._delivered[place] = True
        if place < self._fronts[is_historical]:
            self._reordered += 1
            return Match(finding=f"{self}: {value!r} at {source_ms or t_ms} came after a later reading")
        self._fronts[is_historical] = place
        origin_ns = None if is_historical else self._origins_ns[place]
        return Match(age_ns=None if again or origin_ns is None else received_ns - origin_ns)

    def report_bad(self, t_ms: int) -> Match:
        """The client reported the tag Bad, without a value."""
        self._bad += 1
        self._reports.append((t_ms, True))
        return Match()

    def report_wrong(self, finding: str) -> Match:
        """The client reported what no reading can be."""
        return self._alter(f"{self}: {finding}")

    def find_stretches(self) -> list[Stretch]:
        """Where the device's data was lost before the client could have it, once everything is delivered."""
        return find_stretches(self.device, self.tag, self._served_ns, self._losses, self._reports)

    def judge(self, deadband: float) -> tuple[TagVerdict, list[str]]:
        """The verdict once everything is delivered, and each loss in words."""
        gaps = [stretch.gap for stretch in self.find_stretches()]
        delivered = filtered = cut = 0
        losses: list[str] = []
        last: Value | None = None
        for place, value in enumerate(self._values):
            if self._delivered[place]:
                delivered += 1
                last = value
            elif not self._acknowledged[place]:
                cut += 1
            elif last is not None and within(value, last, deadband):
                filtered += 1
            else:
                losses.append(f"{self}: {value!r} at {self._keys_ms[place]} is lost (last delivered: {last!r})")
        verdict = TagVerdict(
            self.device,
            self.tag,
            delivered=delivered,
            filtered=filtered,
            lost=len(losses),
            altered=self._altered,
            reordered=self._reordered,
            heartbeats=self._heartbeats,
            bad=self._bad,
            cut=cut,
            spoiled=len(self._spoiled),
            gaps=len(gaps),
            gaps_told=sum(gap.told for gap in gaps),
        )
        return verdict, losses

    def __str__(self) -> str:
        return f"{self.device}.{self.tag}"

    def _alter(self, finding: str) -> Match:
        self._altered += 1
        return Match(finding=finding)

    def _was_spoiled(self, value: Value, t_ms: int, source_ms: int | None, after_ms: int | None) -> bool:
        """Whether a spoiled reading of the delivered one's time has its value."""
        if source_ms is not None:
            return any(at == source_ms and same(other, value) for at, other in self._spoiled)
        newest = bisect_right(self._spoiled, t_ms, key=lambda entry: entry[0])
        for at, other in reversed(self._spoiled[:newest]):
            if after_ms is not None and at < after_ms:
                return False
            if same(other, value):
                return True
        return False

    def _find(self, value: Value, t_ms: int, source_ms: int | None) -> int | None:
        """The place of the reading that is meant; None when there is none for that time."""
        if self._by_source is not None:
            return self._by_source.get(source_ms) if source_ms is not None else None
        newest = bisect_right(self._keys_ms, t_ms) - 1
        if newest < 0:
            return None
        oldest = newest
        while oldest > 0 and self._keys_ms[oldest] == t_ms:
            oldest -= 1
        fresh = [place for place in range(oldest, newest + 1) if not self._delivered[place]]
        candidates = [*fresh, newest]
        return next((place for place in candidates if same(self._values[place], value)), candidates[0])


def same(one: Value, other: Value) -> bool:
    """Whether two values are the same to the last bit, but for a number's JSON form: 3 is 3.0, true is not 1."""
    if isinstance(one, bool | str) or isinstance(other, bool | str):
        return type(one) is type(other) and one == other
    return one == other


def within(value: Value, last: Value, deadband: float) -> bool:
    """Whether report by exception keeps `value` back after `last`."""
    if isinstance(value, bool | str) or isinstance(last, bool | str):
        return same(value, last)
    return abs(value - last) <= deadband
