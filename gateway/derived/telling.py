"""What is derived, as frames: numbers by kind, states and periods as texts, and periods that have ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from drivers.model import Frame, Kind
from gateway.derived.columns import BAD, FEW, Reals, Signal, Tick
from gateway.derived.member import Member, Output
from gateway.derived.oee import Closed, Oee
from gateway.processing.calculation import LastValues

_NS = 1_000_000_000
_FULL_S = 1.0
"""What doesn't change is given to the filter this often, for its heartbeats."""


class Telling:
    """Makes the frames of one device."""

    def __init__(self, device: str, last: LastValues, since: Reals, members: Sequence[Member], outputs: Sequence[Output]) -> None:
        """`last`, `since`: the registers, which the members fill."""
        self._device = device
        self._last = last
        self._since = since
        self._members = members
        self._outputs = outputs
        self._written_by = [
            {
                place
                for place, member in enumerate(members)
                if any(np.isin(output.tags, registers).any() for registers in member.registers.values())
            }
            for output in outputs
        ]
        self._told_s = -np.inf
        self._outputs_told_s = [-np.inf for _ in outputs]
        self._told: dict[int, tuple[Reals, npt.NDArray[np.uint32]]] = {}

    def forget(self) -> None:
        """What was told may not have been stored."""
        self._told.clear()
        self._told_s = -np.inf
        self._outputs_told_s = [-np.inf for _ in self._outputs]

    def frames(self, tick: Tick, stepped: Collection[int]) -> list[Frame]:
        """`stepped`: the places of the members that may have other results than before."""
        is_full = not 0 <= tick.now_s - self._told_s < _FULL_S
        if is_full:
            self._told_s = tick.now_s
        frames = []
        for place, output in enumerate(self._outputs):
            is_late = not 0 <= tick.now_s - self._outputs_told_s[place] < _FULL_S
            if is_late or (stepped and not self._written_by[place].isdisjoint(stepped)):
                self._outputs_told_s[place] = tick.now_s
                frames.append(self._frame(output, tick))
        for place in range(len(self._members)) if is_full else stepped:
            member = self._members[place]
            if member.names_of_states:
                frames += self._states(place, member, tick, is_full=is_full)
            elif isinstance(member.group, Oee):
                frames += self._periods(member, member.group, tick, is_full=is_full)
        return frames

    def closed(self, member: Member, closed: Closed, tick: Tick) -> list[Frame]:
        """Periods of an OEE that have ended."""
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
        if status.tobytes() == output.good.tobytes():
            status = output.good
        source = None
        if len(output.begun):
            source = np.zeros(len(status), np.int64)
            source[output.begun] = self._begins_ns(self._since[output.begun_tags], tick)
        return Frame(self._device, tick.wall_ns, output.tags, _column(values, output.kind), status, source)

    def _begins_ns(self, since: Reals, tick: Tick) -> npt.NDArray[np.int64]:
        """By the wall clock; 0 where it isn't known."""
        is_known = np.isfinite(since)
        if b"\0" not in is_known.tobytes():
            return tick.wall_ns - np.rint((tick.now_s - since) * _NS).astype(np.int64)
        ages_ns = np.where(is_known, (tick.now_s - since) * _NS, 0.0)
        return np.where(is_known, tick.wall_ns - np.rint(ages_ns).astype(np.int64), 0)

    def _states(self, place: int, member: Member, tick: Tick, *, is_full: bool) -> list[Frame]:
        tags = member.registers[""]
        codes, status = self._last.values[tags], self._last.status[tags]
        before = self._told.get(place)
        self._told[place] = (codes, status)
        chosen = list(range(len(tags)))
        if before is not None and not is_full and len(tags) > FEW:  # of few the filter finds that out
            same = (codes == before[0]) | (np.isnan(codes) & np.isnan(before[0]))
            places = np.flatnonzero(~same | (status != before[1]))
            chosen, tags, codes, status = places.tolist(), tags[places], codes[places], status[places]
        if not len(chosen):
            return []
        texts: list[object] = [
            None if code != code else member.names_of_states[at][int(code)]
            for at, code in zip(chosen, codes.tolist(), strict=True)
        ]
        return [Frame(self._device, tick.wall_ns, tags, texts, status, self._begins_ns(self._since[tags], tick))]

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
        if is_full or group.has_news:
            assert member.texts is not None
            good = np.where(begins_ns > 0, np.uint32(0), BAD).astype(np.uint32)
            frames.append(Frame(self._device, tick.wall_ns, member.texts, list(group.labels), good, begins_ns))
        return frames


_REALS = ("", "availability", "performance", "quality", "planned_s", "running_s", "idle_s", "off_s", "fault_s", "unknown_s")


def _column(values: Reals, kind: Kind) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
    """Whole numbers and Booleans are 0 where they are Bad."""
    return values if kind is Kind.FLOAT else np.where(np.isfinite(values), values, 0.0).astype(np.int64)
