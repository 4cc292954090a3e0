"""The derived tags of one device at work: columns of one kind and depth are stepped together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from drivers.model import Frame, Kind
from gateway.derived.collecting import Collecting
from gateway.derived.columns import BAD, OUT_OF_RANGE, Signal, Tick, is_same
from gateway.derived.late import Afterwards, LateTags
from gateway.derived.member import REST_S, Expressions, Member, Output, read_by
from gateway.derived.oee import Oee
from gateway.derived.telling import Telling
from gateway.derived.watch import Watch, text_of
from gateway.processing.calculation import LastValues
from gateway.processing.journal import Tag

_NS = 1_000_000_000


class Look(NamedTuple):
    """One look at a device's inputs."""

    wall_ns: int
    now_s: float
    """Monotonic."""
    looked_s: float
    """When the look before was."""
    is_whole: bool
    """Everything is stepped: it is the first look, or there was a gap."""


class Derivation:
    """Used by the device's task only. After each frames() either accept() or take_back()."""

    def __init__(
        self,
        device: str,
        last: LastValues,
        depths: Sequence[tuple[Expressions, Sequence[Member]]],
        outputs: Sequence[Output],
        late: Mapping[int, Afterwards],
    ) -> None:
        """`last`: of the device, with a register for every result; `depths`: from those that need nothing derived on.

        Args:
            late: by the depth before which they are calculated.
        """
        self.turns = 0
        """How often a period of an OEE ended."""
        self.members = [member for _, members in depths for member in members]
        places = {id(member): place for place, member in enumerate(self.members)}
        self._device = device
        self._last = last
        self._depths = [(one, [(places[id(member)], member) for member in members]) for one, members in depths]
        self._since = np.full(len(last.values), np.nan)
        self._telling = Telling(device, last, self._since, self.members, outputs)
        self._seen = [np.full(one.width, np.nan) for one, _ in depths]
        self._begun = [np.full(len(seen), -np.inf) for seen in self._seen]
        reads = [list(read_by(member, expressions)) for expressions, members in depths for member in members]
        self._late = LateTags(last, late)
        makers = {tag: place for place, member in enumerate(self.members) for tag in member.made}
        self._consumers: list[set[int]] = [set() for _ in self.members]
        """By member: those that read a result of it."""
        for reader, tags in enumerate(reads):
            for tag in {tag for own, tag in tags if own is last}:
                if tag in makers:
                    self._consumers[makers[tag]].add(reader)
                elif tag in self._late.made:
                    self._late.is_read(tag, reader)
        reads.append(self._late.reads)  # by no member, but there is something to calculate
        texts = [tag for member in self.members for tag in member.orders.values()]
        self._watch = Watch(last, reads, makers.keys() | self._late.made, texts)
        self._looked_s = self._due_s = -np.inf
        self._least_gap_s = min((float(member.gap_s.min()) for member in self.members), default=np.inf)
        self._now_s: float | None = None
        self._wall_ns = 0
        self._is_unseen = True
        self._stepped: list[int] = []
        """The members that the last look stepped."""
        self._collecting: Collecting | None = None
        self._rests_s = [-np.inf for _ in depths]
        """By depth, until when surely none of its members is due."""
        self._is_anew = False
        """What was taken back must be reckoned anew."""
        self._origin_s = 0.0
        """From when moments count that are kept, by the monotonic clock: always the same instant."""
        self._packed: dict[int, list[bytes]] = {}
        """The memories of those members that weren't stepped since they were last asked for."""
        self._kept: tuple[float | None, float, int, bool] | None = None
        self._kept_members: dict[int, tuple[float | None, int, list[list[str]]]] = {}

    def frames(self, acquired_ns: int, now_s: float) -> list[Frame]:
        """Look at the newest values; everything that is derived, reported or not worth it.

        Where nothing has changed and nothing is due, there is nothing for REST_S: the time is reckoned at the next look. Only
        members are looked at that are due, or read what has changed.
        """
        self._stepped, self._late.frames = [], []
        changed = self._watch.changed()
        is_gap = now_s - self._looked_s > self._least_gap_s
        if changed is None and not is_gap and self._rests(now_s):
            self._looked_s = now_s
            self._late.calculate(self._late.beyond(0), acquired_ns)
            return []
        if self._kept is None:
            self._kept = (self._now_s, self._looked_s, self._wall_ns, self._is_unseen)
        looked_s, self._looked_s = self._looked_s, now_s
        with np.errstate(all="ignore"):
            made, told = self._look(Look(acquired_ns, now_s, looked_s, is_gap or self._is_unseen), changed)
        self._now_s, self._wall_ns, self._is_unseen, self._is_anew = now_s, acquired_ns, False, False
        self._due_s = min((member.due_s for member in self.members), default=np.inf)
        return made + self._telling.frames(Tick(now_s, acquired_ns, 0.0, 0.0), told)

    @property
    def calculated(self) -> list[Frame]:
        """See Deriving."""
        return self._late.frames

    def collect(self, tags: Collection[int], kinds: Sequence[Kind]) -> None:
        """See Deriving."""
        found = Collecting(self._device, self._last, self.members, tags, kinds)
        self._collecting = found if found.has_any else None

    def collected(self, acquired_ns: int) -> list[Frame]:
        """See Deriving."""
        return [] if self._collecting is None else self._collecting.frames(acquired_ns, self._stepped)

    def accept(self) -> None:
        """See Report."""
        self._kept = None
        for place in self._kept_members:
            self.members[place].group.rows.release()
        self._kept_members.clear()

    def take_back(self) -> None:
        """See Report."""
        if self._kept is None:
            return
        self._now_s, self._looked_s, self._wall_ns, self._is_unseen = self._kept
        self._kept = None
        self._is_anew = True
        self._telling.forget()
        for place, (stepped_s, wall_ns, labels) in self._kept_members.items():
            member = self.members[place]
            member.group.rows.restore()
            member.stepped_s = stepped_s
            if isinstance(member.group, Oee):
                member.group.wall_ns = wall_ns
                for at, texts in enumerate(labels):
                    member.group.recall(at, texts, wall_ns)
        self._kept_members.clear()
        self._packed.clear()
        self._rests_s = [-np.inf for _ in self._depths]
        for member in self.members:
            member.before = {}

    def next_ns(self) -> int | None:
        """When something becomes true though nothing comes, by the wall clock."""
        if self._now_s is None:
            return None
        return None if np.isinf(self._due_s) else self._wall_ns + max(0, round((self._due_s - self._now_s) * _NS))

    @property
    def tags(self) -> list[tuple[str, bytes]]:
        """(n,) names, and digests of the settings that the memories belong to."""
        return [tag for member in self.members for tag in zip(member.names, member.signatures, strict=True)]

    def memories(self) -> tuple[int, float, list[bytes]]:
        """What must outlive us: the wall clock at the last look, how long after the origin that was, and each tag's memory."""
        found: list[bytes] = []
        for place, member in enumerate(self.members):
            packed = self._packed.get(place)
            if packed is None:
                group = member.group
                packed = group.rows.pack(self._origin_s)
                if isinstance(group, Oee):
                    packed = [row + msgspec.msgpack.encode(group.memory(at)) for at, row in enumerate(packed)]
                self._packed[place] = packed
            found += packed
        return self._wall_ns, (self._now_s or 0.0) - self._origin_s, found

    def resume(self, looked_ns: int, since_s: float, memories: Sequence[Tag], now_ns: int, now_s: float) -> list[str]:
        """Go on from what memories() gave in a process that has ended; the time between is a gap. Before the first look.

        A tag that isn't the one it was, by its settings, begins anew.

        Returns:
            The names of those whose memory can't be read, and which begin anew though they are what they were.
        """
        if not looked_ns:
            return []
        unread: list[str] = []
        base_s = now_s - max(0, now_ns - looked_ns) / _NS
        self._origin_s = base_s - since_s
        held = {(tag.name, tag.settings): tag.memory for tag in memories}
        for member in self.members:
            for place, key in enumerate(zip(member.names, member.signatures, strict=True)):
                memory = held.get(key)
                if memory is None:
                    continue
                try:
                    self._recall(member, place, memory, looked_ns)
                except (ValueError, msgspec.MsgspecError):
                    unread.append(key[0])
                else:
                    member.stepped_s = base_s
        self._now_s, self._looked_s, self._wall_ns = base_s, base_s, looked_ns
        self._packed.clear()
        return unread

    def _recall(self, member: Member, place: int, memory: bytes, looked_ns: int) -> None:
        group, size = member.group, member.group.rows.size
        if isinstance(group, Oee):
            texts = msgspec.msgpack.decode(memory[size:], type=tuple[str, str])
            group.rows.unpack(place, memory[:size], self._origin_s)
            group.recall(place, texts, looked_ns)
        else:
            group.rows.unpack(place, memory, self._origin_s)

    def _look(self, look: Look, changed: list[bool] | None) -> tuple[list[Frame], list[int]]:
        """Step what must be stepped; periods that ended, as frames, and the places of the members with other results."""
        asked = [False] * len(self.members) if changed is None else changed
        made: list[Frame] = []
        told: list[int] = []
        for depth, (expressions, members) in enumerate(self._depths):
            if self._late.has_any:
                for reader in self._late.calculate([depth], look.wall_ns):
                    asked[reader] = True
            may_be_due = look.is_whole or look.now_s >= self._rests_s[depth]
            if not may_be_due and True not in asked[members[0][0] : members[-1][0] + 1]:
                continue
            wanted = [
                (place, member, is_due)
                for place, member in members
                if (is_due := may_be_due and (look.is_whole or self._is_due(member, look.now_s)))
                or (asked[place] and not member.is_noise)
            ]
            if not wanted:
                continue
            signal = self._evaluate(expressions, depth, look)
            for place, member, is_due in wanted:
                inputs = member.cut(signal)
                if not is_due and not member.differs(inputs):
                    continue
                self._keep(place, member)
                self._stepped.append(place)
                if self._store(member, self._step(member, inputs, look)):
                    told.append(place)
                    for consumer in self._consumers[place]:
                        asked[consumer] = True
                if isinstance(member.group, Oee) and member.group.closed:
                    self.turns += 1
                    tick = Tick(look.now_s, look.wall_ns, 0.0, 0.0)
                    made += [frame for closed in member.group.closed for frame in self._telling.closed(member, closed, tick)]
            self._rests_s[depth] = min(member.rests_s for _, member in members)
        self._late.calculate(self._late.beyond(len(self._depths)), look.wall_ns)
        return made, told

    def _rests(self, now_s: float) -> bool:
        """Whether nothing is due, and the last look that wasn't at rest was just now."""
        is_early = self._now_s is not None and now_s < self._due_s and 0 <= now_s - self._now_s < REST_S
        return is_early and not self._is_unseen and not self._is_anew

    def _is_due(self, member: Member, now_s: float) -> bool:
        """Whether a member must be stepped though its inputs are what they were."""
        stepped_s, due_s = member.stepped_s, member.due_s
        if stepped_s is None or not member.before or now_s >= due_s or member.orders:
            return True
        return not 0 <= now_s - stepped_s < REST_S and not member.is_settled

    def _step(self, member: Member, inputs: dict[str, Signal], look: Look) -> dict[str, Signal]:
        now_s = look.now_s
        dt_s = 0.0 if member.stepped_s is None else max(0.0, now_s - member.stepped_s)
        tick = Tick(now_s, look.wall_ns, dt_s, min(dt_s, now_s - look.looked_s))
        if isinstance(member.group, Oee):
            member.group.orders = {at: text_of(self._last, tag) for at, tag in member.orders.items()}
        told = member.step(tick, inputs, is_unseen=self._is_unseen)
        member.stepped_s, member.due_s, member.before = now_s, member.group.next_s(), inputs
        return told

    def _keep(self, place: int, member: Member) -> None:
        """What it is now can be taken back to."""
        self._packed.pop(place, None)
        if place in self._kept_members:
            return
        member.group.rows.keep()
        group, wall_ns, labels = member.group, 0, []
        if isinstance(group, Oee):
            wall_ns, labels = group.wall_ns, [group.memory(at) for at in range(group.rows.m)]
        self._kept_members[place] = (member.stepped_s, wall_ns, labels)

    def _evaluate(self, expressions: Expressions, depth: int, look: Look) -> Signal:
        """(n + 1,) what the expressions come to; the last one stands for inputs that aren't there."""
        n, seen, begun = expressions.n, self._seen[depth], self._begun[depth]
        now, code = np.empty(len(seen)), np.zeros(len(seen), np.uint32)
        now[-1] = np.nan
        for last, tags, places in expressions.sources:
            now[places], code[places] = last.values[tags], last.status[tags]
        if now.tobytes() != seen.tobytes():
            begun[(now != seen) & ((now == now) | (seen == seen))] = look.now_s
            self._seen[depth] = now
        if expressions.own is not None:
            tags, places = expressions.own
            begin = self._since[tags]
            begun[places] = np.where(np.isnan(begin), begun[places], begin)
        is_number = np.isfinite(now)
        if is_number.tobytes() != expressions.numbers or code.tobytes() != expressions.good:
            code[~is_number & (code & BAD == 0)] = OUT_OF_RANGE
            code[-1] = 0
            now = np.where(code & BAD, np.nan, now)
        if expressions.calculation is None:
            since = begun[expressions.gathered]
            since[n] = np.nan
            return Signal(now[expressions.gathered], code[expressions.gathered], since)
        values, status, since = np.empty(n + 1), np.zeros(n + 1, np.uint32), np.empty(n + 1)
        values[n] = since[n] = np.nan
        values[expressions.plain], status[expressions.plain] = now[expressions.plain_read], code[expressions.plain_read]
        for frame in expressions.calculation.frames(look.wall_ns):
            assert not isinstance(frame.values, list)
            values[frame.tags] = np.where(frame.status & BAD, np.nan, frame.values)
            status[frame.tags] = frame.status
        since[:n] = np.maximum.reduceat(begun[expressions.read], expressions.starts)
        return Signal(values, status, since)

    def _store(self, member: Member, results: dict[str, Signal]) -> bool:
        """Keep the results where expressions and frames find them; whether any is another than it was."""
        values, status, since = self._last.values, self._last.status, self._since
        before, member.told = member.told, results
        has_changed = False
        for name, (at, wanted) in member.targets.items():
            signal = results[name]
            if wanted is None:
                since[at] = signal.since
            else:
                since[at] = signal.since[wanted]
            if before and is_same(signal, before[name]):
                continue
            has_changed = True
            values[at] = signal.values if wanted is None else signal.values[wanted]
            status[at] = signal.status if wanted is None else signal.status[wanted]
        return has_changed
