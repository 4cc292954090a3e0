"""What production rules count of a device's derived tags: what lasts at each look, what happens once, when it happens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drivers.model import Frame, Kind
from gateway.derived.columns import BAD
from gateway.derived.energy import Energy
from gateway.derived.member import Member
from gateway.derived.oee import Oee
from gateway.derived.states import Cycle
from gateway.processing.calculation import LastValues

_HAPPENS = (Cycle, Energy)
"""Kinds whose own tag is a figure of one cycle or part: it counts once, though it stands until the next one."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tag comes from."""

    tag: int
    member: int
    row: int


class Collecting:
    """Of one device."""

    def __init__(
        self, device: str, last: LastValues, members: Sequence[Member], tags: Collection[int], kinds: Sequence[Kind]
    ) -> None:
        """`tags`: those that rules collect, derived ones and others; `kinds`: of the device's table."""
        self._device = device
        self._last = last
        self._members = members
        self._texts: list[_Place] = []
        self._events: list[_Place] = []
        lasting: dict[bool, list[int]] = {True: [], False: []}
        for place, suffix in _places(members, tags):
            if kinds[place.tag] is Kind.TEXT:
                self._texts.append(place)
            elif not suffix and isinstance(members[place.member].group, _HAPPENS):
                self._events.append(place)
            else:
                lasting[kinds[place.tag] is Kind.FLOAT].append(place.tag)
        self._lasting = [(np.array(found, np.int32), is_real) for is_real, found in lasting.items() if found]

    @property
    def has_any(self) -> bool:
        """Whether anything derived is collected."""
        return bool(self._lasting or self._events or self._texts)

    def frames(self, acquired_ns: int, stepped: Collection[int]) -> list[Frame]:
        """What counts at a look; `stepped`: the members that were stepped in it."""
        frames = [self._numbers(tags, acquired_ns, is_real=is_real) for tags, is_real in self._lasting]
        ended = [one.tag for one in self._events if one.member in stepped and self._has_ended(one)]
        if ended:
            frames.append(self._numbers(np.array(ended, np.int32), acquired_ns, is_real=True))
        if self._texts:
            told = [self._text(one) for one in self._texts]
            status = np.array([BAD if text is None else 0 for text in told], np.uint32)
            frames.append(Frame(self._device, acquired_ns, np.array([one.tag for one in self._texts], np.int32), told, status))
        return frames

    def _numbers(self, tags: npt.NDArray[np.int32], acquired_ns: int, *, is_real: bool) -> Frame:
        values, status = self._last.values[tags], self._last.status[tags]
        shown = values if is_real else np.where(np.isfinite(values), values, 0.0).astype(np.int64)
        return Frame(self._device, acquired_ns, tags, shown, status)

    def _has_ended(self, one: _Place) -> bool:
        group = self._members[one.member].group
        assert isinstance(group, _HAPPENS)
        return bool(group.ended[one.row])

    def _text(self, one: _Place) -> object | None:
        member = self._members[one.member]
        if isinstance(member.group, Oee):
            return member.group.labels[one.row] or None
        code = float(self._last.values[one.tag])
        return None if code != code else member.names_of_states[one.row][int(code)]


def _places(members: Sequence[Member], tags: Collection[int]) -> list[tuple[_Place, str]]:
    """Each tag with the suffix of its result."""
    found: dict[int, tuple[_Place, str]] = {}
    for place, member in enumerate(members):
        results = dict(member.registers) if member.texts is None else member.registers | {"period": member.texts}
        for suffix, registers in results.items():
            found |= {tag: (_Place(tag, place, row), suffix) for row, tag in enumerate(registers.tolist()) if tag in tags}
    return [found[tag] for tag in sorted(found)]
