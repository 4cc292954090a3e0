"""The derived tags of one device at work: columns of one kind and depth are stepped together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from drivers.model import Frame
from gateway.derived.columns import BAD, Signal, Tick
from gateway.derived.member import Expressions, Member, Output
from gateway.derived.oee import Oee
from gateway.derived.telling import Telling
from gateway.derived.watch import Watch, text_of
from gateway.processing.calculation import LastValues

_NS = 1_000_000_000
REST_S = 1.0
"""Inputs that stay as they are need no more than one look in so long."""


class Derivation:
    """Used by the device's task only. After each frames() either accept() or take_back()."""

    def __init__(
        self, device: str, last: LastValues, depths: Sequence[tuple[Expressions, Sequence[Member]]], outputs: Sequence[Output]
    ) -> None:
        """`last`: of the device, with a register for every result; `depths`: from those that need nothing derived on."""
        self.turns = 0
        """How often a period of an OEE ended."""
        self.members = [member for _, members in depths for member in members]
        self._places = {id(member): place for place, member in enumerate(self.members)}
        self._device = device
        self._last = last
        self._depths = depths
        self._since = np.full(len(last.values), np.nan)
        self._telling = Telling(device, last, self._since, self.members, outputs)
        self._seen = [np.full(sum(len(places) for _, _, places in one.sources) + 1, np.nan) for one, _ in depths]
        self._begun = [np.full(len(seen), -np.inf) for seen in self._seen]
        reads = [(own, tags) for expressions, _ in depths for own, tags, _ in expressions.sources]
        results = {tag for member in self.members for tags in member.registers.values() for tag in tags.tolist()}
        self._watch = Watch(last, reads, results, [tag for member in self.members for tag in member.orders.values()])
        self._looked_s = self._due_s = -np.inf
        self._least_gap_s = min((float(member.gap_s.min()) for member in self.members), default=np.inf)
        self._now_s: float | None = None
        self._wall_ns = 0
        self._is_unseen = True
        self._kept: tuple[Any, ...] | None = None

    def frames(self, acquired_ns: int, now_s: float) -> list[Frame]:
        """Look at the newest values; everything that is derived, reported or not worth it.

        Where nothing has changed and nothing is due, there is nothing for REST_S: the time is reckoned at the next look.
        """
        is_rest = self._is_at_rest(now_s)
        is_gap = now_s - self._looked_s > self._least_gap_s
        if is_rest and not is_gap:
            self._looked_s = now_s
            return []
        self._keep()
        looked_s, self._looked_s = self._looked_s, now_s
        made: list[Frame] = []
        stepped: list[int] = []
        for depth, (expressions, members) in enumerate(self._depths):
            signal = self._evaluate(expressions, depth, acquired_ns, now_s)
            for member in members:
                inputs = {
                    name: Signal(signal.values[at], signal.status[at], signal.since[at]) for name, at in member.inputs.items()
                }
                if is_gap or self._is_unseen or self._is_due(member, now_s) or member.differs(inputs):
                    stepped.append(self._places[id(member)])
                    made += self._step(member, inputs, acquired_ns, now_s, looked_s)
        self._now_s, self._wall_ns, self._is_unseen = now_s, acquired_ns, False
        self._due_s = min((member.due_s for member in self.members), default=np.inf)
        return made + self._telling.frames(Tick(now_s, acquired_ns, 0.0, 0.0), stepped)

    def accept(self) -> None:
        """See Report."""
        self._kept = None
        for member in self.members:
            member.group.rows.release()

    def take_back(self) -> None:
        """See Report."""
        if self._kept is None:
            return
        self._now_s, self._looked_s, self._wall_ns, self._is_unseen, walls, labels, steps = self._kept
        self._kept = None
        self._telling.forget()
        for member, stepped_s in zip(self.members, steps, strict=True):
            member.group.rows.restore()
            member.stepped_s, member.before = stepped_s, {}
        for group, wall_ns, (told, running) in zip(self._oees(), walls, labels, strict=True):
            group.wall_ns = wall_ns
            for place in range(len(told)):
                group.recall(place, (told[place], running[place]), wall_ns)

    def next_ns(self) -> int | None:
        """When something becomes true though nothing comes, by the wall clock."""
        if self._now_s is None:
            return None
        return None if np.isinf(self._due_s) else self._wall_ns + max(0, round((self._due_s - self._now_s) * _NS))

    def memories(self) -> tuple[int, list[tuple[str, str, bytes, list[str]]]]:
        """What must outlive us: the wall clock at the last look, and (name, signature, memory, its texts) of each tag."""
        found: list[tuple[str, str, bytes, list[str]]] = []
        for member in self.members:
            packed = member.group.rows.pack(self._now_s or 0.0)
            group = member.group
            for place, (name, signature) in enumerate(zip(member.names, member.signatures, strict=True)):
                found.append((name, signature, packed[place], group.memory(place) if isinstance(group, Oee) else []))
        return self._wall_ns, found

    def resume(
        self, looked_ns: int, memories: Sequence[tuple[str, str, bytes, Sequence[str]]], now_ns: int, now_s: float
    ) -> list[str]:
        """Go on from what memories() gave in a process that has ended; the time between is a gap. Before the first look.

        A tag that isn't the one it was, by its settings, begins anew.

        Returns:
            The names of those whose memory can't be read, and which begin anew though they are what they were.
        """
        if not looked_ns:
            return []
        unread: list[str] = []
        base_s = now_s - max(0, now_ns - looked_ns) / _NS
        held = {(name, signature): (data, texts) for name, signature, data, texts in memories}
        for member in self.members:
            for place, key in enumerate(zip(member.names, member.signatures, strict=True)):
                found = held.get(key)
                if found is None:
                    continue
                try:
                    member.group.rows.unpack(place, found[0], base_s)
                except ValueError:
                    unread.append(key[0])
                    continue
                member.stepped_s = base_s
                if isinstance(member.group, Oee):
                    member.group.recall(place, found[1], looked_ns)
        self._now_s, self._looked_s, self._wall_ns = base_s, base_s, looked_ns
        return unread

    def _is_at_rest(self, now_s: float) -> bool:
        """Whether the inputs are what they were at the last look, and that was just now."""
        if self._now_s is None or self._is_unseen or now_s >= self._due_s or not 0 <= now_s - self._now_s < REST_S:
            self._watch.has_changed()
            return False
        return not self._watch.has_changed()

    def _is_due(self, member: Member, now_s: float) -> bool:
        """Whether a member must be stepped though its inputs are what they were."""
        stepped_s = member.stepped_s
        return stepped_s is None or now_s >= member.due_s or not 0 <= now_s - stepped_s < REST_S or bool(member.orders)

    def _step(self, member: Member, inputs: dict[str, Signal], wall_ns: int, now_s: float, looked_s: float) -> list[Frame]:
        dt_s = 0.0 if member.stepped_s is None else max(0.0, now_s - member.stepped_s)
        tick = Tick(now_s, wall_ns, dt_s, min(dt_s, now_s - looked_s))
        unseen = np.ones(len(member.names), np.bool_) if self._is_unseen else tick.silent_s > member.gap_s
        if isinstance(member.group, Oee):
            member.group.orders = {at: text_of(self._last, tag) for at, tag in member.orders.items()}
        told = member.group.step(tick, inputs, unseen)
        member.stepped_s, member.due_s, member.before = now_s, member.group.next_s(), inputs
        return self._store(member, told, tick)

    def _oees(self) -> list[Oee]:
        return [member.group for member in self.members if isinstance(member.group, Oee)]

    def _keep(self) -> None:
        if self._kept is None:
            oees = self._oees()
            walls = [group.wall_ns for group in oees]
            labels = [tuple(zip(*(group.memory(place) for place in range(group.rows.m)), strict=True)) for group in oees]
            steps = [member.stepped_s for member in self.members]
            self._kept = (self._now_s, self._looked_s, self._wall_ns, self._is_unseen, walls, labels, steps)
        for member in self.members:
            member.group.rows.keep()

    def _evaluate(self, expressions: Expressions, depth: int, wall_ns: int, now_s: float) -> Signal:
        """(n + 1,) what the expressions come to; the last one stands for inputs that aren't there."""
        n = expressions.n
        values, status, since = np.full(n + 1, np.nan), np.zeros(n + 1, np.uint32), np.full(n + 1, np.nan)
        if not n:
            return Signal(values, status, since)
        for frame in expressions.calculation.frames(wall_ns):
            assert not isinstance(frame.values, list)
            values[frame.tags] = frame.values
            status[frame.tags] = frame.status
        seen, begun = self._seen[depth], self._begun[depth]
        for last, tags, places in expressions.sources:
            now = last.values[tags]
            changed = places[(now != seen[places]) & ~(np.isnan(now) & np.isnan(seen[places]))]
            begun[changed] = now_s
            seen[places] = now
            if last is self._last:
                own = self._since[tags]
                begun[places] = np.where(np.isnan(own), begun[places], own)
        since[:n] = np.maximum.reduceat(begun[expressions.read], expressions.starts)
        values[status & BAD != 0] = np.nan
        return Signal(values, status, since)

    def _store(self, member: Member, told: Mapping[str, Signal], tick: Tick) -> list[Frame]:
        """Keep the results where expressions and frames find them; the periods that ended, as frames."""
        values, status, since = self._last.values, self._last.status, self._since
        for name, (at, wanted) in member.targets.items():
            signal = told[name]
            if wanted is None:
                values[at], status[at], since[at] = signal.values, signal.status, signal.since
            else:
                values[at], status[at], since[at] = signal.values[wanted], signal.status[wanted], signal.since[wanted]
        group = member.group
        if not isinstance(group, Oee) or not group.closed:
            return []
        self.turns += 1
        return [frame for closed in group.closed for frame in self._telling.closed(member, closed, tick)]
