"""The derived tags of one device at work: columns of one kind and depth are stepped together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from drivers.model import Frame, Kind
from gateway.derived.columns import BAD, Group, Reals, Signal, Tick
from gateway.derived.oee import Closed, Oee
from gateway.processing.calculation import Calculation, LastValues

_NS = 1_000_000_000
_TEXTS_S = 1.0
"""Texts that don't change are given to the filter this often, for their heartbeats."""
Places = npt.NDArray[np.intp]


@dataclass(slots=True)
class Expressions:
    """The n expressions of one depth."""

    calculation: Calculation
    """Its tags are the places of the expressions."""
    n: int
    sources: list[tuple[LastValues, Places, Places]]
    """Of each device: its tags that are read, and their places in the list of all that are read."""
    read: Places
    """The places in that list, expression by expression."""
    starts: Places
    """(n,) where each expression's begin in `read`."""


@dataclass(slots=True)
class Member:
    """A group, what it reads and where its results go."""

    group: Group
    names: list[str]
    """(m,)"""
    signatures: list[str]
    """(m,) the settings that the memory belongs to."""
    inputs: dict[str, Places]
    """By field: (m,) places of expressions; n, one beyond the last, where there is none."""
    registers: dict[str, npt.NDArray[np.int32]]
    """By result: (m,) indexes into the device's last values; -1 where it isn't wanted."""
    gap_s: Reals
    orders: dict[int, int] = field(default_factory=dict)
    """Of an Oee: the index of the order's tag, by place."""
    texts: npt.NDArray[np.int32] | None = None
    """Of an Oee: (m,) where the period's name goes; of a State its own register is meant."""
    names_of_states: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Output:
    """Numbers of one kind that are reported together."""

    tags: npt.NDArray[np.int32]
    kind: Kind
    has_begin: bool
    """Their source time is when the value began."""


class Derivation:
    """Used by the device's task only. After each frames() either accept() or take_back()."""

    def __init__(
        self, device: str, last: LastValues, depths: Sequence[tuple[Expressions, Sequence[Member]]], outputs: Sequence[Output]
    ) -> None:
        """`last`: of the device, with a register for every result; `depths`: from those that need nothing derived on."""
        self.turns = 0
        """How often a period of an OEE ended."""
        self.members = [member for _, members in depths for member in members]
        self._device = device
        self._last = last
        self._depths = depths
        self._outputs = outputs
        self._since = np.full(len(last.values), np.nan)
        self._seen = [np.full(sum(len(places) for _, _, places in one.sources) + 1, np.nan) for one, _ in depths]
        self._begun = [np.full(len(seen), -np.inf) for seen in self._seen]
        self._now_s: float | None = None
        self._wall_ns = 0
        self._is_unseen = True
        self._told_s = -np.inf
        self._told: dict[int, tuple[Reals, npt.NDArray[np.uint32]]] = {}
        self._kept: tuple[Any, ...] | None = None

    def frames(self, acquired_ns: int, now_s: float) -> list[Frame]:
        """Look at the newest values; everything that is derived, reported or not worth it."""
        self._keep()
        tick = Tick(now_s, acquired_ns, 0.0 if self._now_s is None else max(0.0, now_s - self._now_s))
        made: list[Frame] = []
        for place, (expressions, members) in enumerate(self._depths):
            signal = self._evaluate(expressions, place, tick)
            for member in members:
                inputs = {
                    name: Signal(signal.values[at], signal.status[at], signal.since[at]) for name, at in member.inputs.items()
                }
                unseen = np.ones(len(member.names), np.bool_) if self._is_unseen else tick.dt_s > member.gap_s
                if isinstance(member.group, Oee):
                    member.group.orders = {at: self._order(tag) for at, tag in member.orders.items()}
                made += self._store(member, member.group.step(tick, inputs, unseen), tick)
        self._now_s, self._wall_ns, self._is_unseen = now_s, acquired_ns, False
        made += [self._frame(output, tick) for output in self._outputs]
        return made + self._texts(tick)

    def accept(self) -> None:
        """See Report."""
        self._kept = None
        for member in self.members:
            member.group.rows.release()

    def take_back(self) -> None:
        """See Report."""
        if self._kept is None:
            return
        self._now_s, self._wall_ns, self._is_unseen, walls, labels = self._kept
        self._kept = None
        self._told.clear()
        for member in self.members:
            member.group.rows.restore()
        for group, wall_ns, (told, running) in zip(self._oees(), walls, labels, strict=True):
            group.wall_ns = wall_ns
            for place in range(len(told)):
                group.recall(place, (told[place], running[place]), wall_ns)

    def next_ns(self) -> int | None:
        """When something becomes true though nothing comes, by the wall clock."""
        if self._now_s is None:
            return None
        due = [member.group.next_s() for member in self.members]
        first = min(due, default=np.inf)
        return None if np.isinf(first) else self._wall_ns + max(0, round((first - self._now_s) * _NS))

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
    ) -> None:
        """Go on from what memories() gave in a process that has ended; the time between is a gap. Before the first look.

        A tag that isn't the one it was, by its settings, begins anew.
        """
        if not looked_ns:
            return
        base_s = now_s - max(0, now_ns - looked_ns) / _NS
        held = {(name, signature): (data, texts) for name, signature, data, texts in memories}
        for member in self.members:
            for place, key in enumerate(zip(member.names, member.signatures, strict=True)):
                found = held.get(key)
                if found is not None:
                    member.group.rows.unpack(place, found[0], base_s)
                    if isinstance(member.group, Oee):
                        member.group.recall(place, found[1], looked_ns)
        self._now_s, self._wall_ns = base_s, looked_ns

    def _oees(self) -> list[Oee]:
        return [member.group for member in self.members if isinstance(member.group, Oee)]

    def _keep(self) -> None:
        if self._kept is None:
            oees = self._oees()
            walls = [group.wall_ns for group in oees]
            labels = [tuple(zip(*(group.memory(place) for place in range(group.rows.m)), strict=True)) for group in oees]
            self._kept = (self._now_s, self._wall_ns, self._is_unseen, walls, labels)
        for member in self.members:
            member.group.rows.keep()

    def _evaluate(self, expressions: Expressions, depth: int, tick: Tick) -> Signal:
        """(n + 1,) what the expressions come to; the last one stands for inputs that aren't there."""
        n = expressions.n
        values, status, since = np.full(n + 1, np.nan), np.zeros(n + 1, np.uint32), np.full(n + 1, np.nan)
        if not n:
            return Signal(values, status, since)
        for frame in expressions.calculation.frames(tick.wall_ns):
            assert not isinstance(frame.values, list)
            values[frame.tags] = frame.values
            status[frame.tags] = frame.status
        seen, begun = self._seen[depth], self._begun[depth]
        for last, tags, places in expressions.sources:
            now = last.values[tags]
            changed = places[(now != seen[places]) & ~(np.isnan(now) & np.isnan(seen[places]))]
            begun[changed] = tick.now_s
            seen[places] = now
            if last is self._last:
                own = self._since[tags]
                begun[places] = np.where(np.isnan(own), begun[places], own)
        since[:n] = np.maximum.reduceat(begun[expressions.read], expressions.starts)
        values[status & BAD != 0] = np.nan
        return Signal(values, status, since)

    def _order(self, tag: int) -> object | None:
        if self._last.status[tag] & BAD:
            return None
        return self._last.texts[tag] if tag in self._last.texts else float(self._last.values[tag])

    def _store(self, member: Member, told: Mapping[str, Signal], tick: Tick) -> list[Frame]:
        """Keep the results where expressions and frames find them; the periods that ended, as frames."""
        for name, signal in told.items():
            registers = member.registers.get(name)
            if registers is None:
                continue
            wanted = registers >= 0
            at = registers[wanted]
            self._last.values[at] = signal.values[wanted]
            self._last.status[at] = signal.status[wanted]
            self._since[at] = signal.since[wanted]
        group = member.group
        if not isinstance(group, Oee) or not group.closed:
            return []
        self.turns += 1
        return [frame for closed in group.closed for frame in self._closed(member, closed, tick)]

    def _closed(self, member: Member, closed: Closed, tick: Tick) -> list[Frame]:
        by_kind: dict[Kind, list[tuple[npt.NDArray[np.int32], Signal, npt.NDArray[np.int64]]]] = {}
        for name, signal in closed.figures.items():
            tags = member.registers.get(name)
            if tags is None:
                continue
            tags = tags[closed.places]
            wanted = tags >= 0
            part = Signal(signal.values[wanted], signal.status[wanted], signal.since[wanted])
            kind = {"count": Kind.INT, "reject": Kind.INT, "closed": Kind.BOOL}.get(name, Kind.FLOAT)
            by_kind.setdefault(kind, []).append((tags[wanted], part, closed.begins_ns[wanted]))
        frames = []
        for kind, parts in by_kind.items():
            values = np.concatenate([part.values for _, part, _ in parts])
            status = np.concatenate([part.status for _, part, _ in parts])
            begins_ns = np.concatenate([begins for _, _, begins in parts])
            tags = np.concatenate([own for own, _, _ in parts])
            frames.append(Frame(self._device, tick.wall_ns, tags, _column(values, kind), status, begins_ns))
        assert member.texts is not None
        good = np.zeros(len(closed.places), np.uint32)
        frames.append(Frame(self._device, tick.wall_ns, member.texts[closed.places], list(closed.labels), good, closed.begins_ns))
        return frames

    def _frame(self, output: Output, tick: Tick) -> Frame:
        values, status = self._last.values[output.tags], self._last.status[output.tags]
        source = self._begins_ns(self._since[output.tags], tick) if output.has_begin else None
        return Frame(self._device, tick.wall_ns, output.tags, _column(values, output.kind), status, source)

    def _begins_ns(self, since: Reals, tick: Tick) -> npt.NDArray[np.int64]:
        """By the wall clock; 0 where it isn't known."""
        ages_ns = np.where(np.isfinite(since), (tick.now_s - since) * _NS, tick.wall_ns)
        return tick.wall_ns - np.rint(ages_ns).astype(np.int64)

    def _texts(self, tick: Tick) -> list[Frame]:
        is_full = not 0 <= tick.now_s - self._told_s < _TEXTS_S
        if is_full:
            self._told_s = tick.now_s
        frames = []
        for place, member in enumerate(self.members):
            if member.names_of_states:
                frames += self._states(place, member, tick, is_full=is_full)
            elif isinstance(member.group, Oee):
                frames += self._periods(member, member.group, tick, is_full=is_full)
        return frames

    def _states(self, place: int, member: Member, tick: Tick, *, is_full: bool) -> list[Frame]:
        tags = member.registers[""]
        codes, status = self._last.values[tags], self._last.status[tags]
        before = self._told.get(place)
        self._told[place] = (codes, status)
        chosen = np.arange(len(tags))
        if before is not None and not is_full:
            same = (codes == before[0]) | (np.isnan(codes) & np.isnan(before[0]))
            chosen = np.flatnonzero(~same | (status != before[1]))
        if not len(chosen):
            return []
        texts: list[object] = [
            None if code != code else member.names_of_states[at][int(code)]
            for at, code in zip(chosen.tolist(), codes[chosen].tolist(), strict=True)
        ]
        begins_ns = self._begins_ns(self._since[tags[chosen]], tick)
        return [Frame(self._device, tick.wall_ns, tags[chosen], texts, status[chosen], begins_ns)]

    def _periods(self, member: Member, group: Oee, tick: Tick, *, is_full: bool) -> list[Frame]:
        begins_ns = group.begins_ns
        frames = []
        for kind, names in ((Kind.FLOAT, _REALS), (Kind.INT, ("count", "reject")), (Kind.BOOL, ("closed",))):
            registers = [member.registers[name] for name in names if name in member.registers]
            tags = np.concatenate(registers)
            wanted = tags >= 0
            tags, begins = tags[wanted], np.tile(begins_ns, len(registers))[wanted]
            values = _column(self._last.values[tags], kind)
            frames.append(Frame(self._device, tick.wall_ns, tags, values, self._last.status[tags], begins))
        if is_full:
            assert member.texts is not None
            good = np.where(begins_ns > 0, np.uint32(0), BAD).astype(np.uint32)
            frames.append(Frame(self._device, tick.wall_ns, member.texts, list(group.labels), good, begins_ns))
        return frames


_REALS = ("", "availability", "performance", "quality", "planned_s", "running_s", "idle_s", "off_s", "fault_s", "unknown_s")


def _column(values: Reals, kind: Kind) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
    """Whole numbers and Booleans are 0 where they are Bad."""
    return values if kind is Kind.FLOAT else np.nan_to_num(values).astype(np.int64)
