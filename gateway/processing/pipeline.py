"""The way of one device's readings from the driver to what is stored, where the settings ask for more than the filter.

driver -> stale values are marked -> calculated tags are added -> derived ones, with calculated ones that read them
-> windows count -> swinging doors, or the filter
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from drivers.model import Frame, Kind, TagTable, select
from gateway.filter import Filter
from gateway.processing.calculation import Calculation, LastValues
from gateway.processing.journal import Tag
from gateway.processing.stale import StaleWatch
from gateway.processing.swinging import SwingingDoors
from gateway.processing.windows import Windows

_MOST_ROUTES = 64


class Deriving(Protocol):
    """What looks at last values and makes tags of them: gateway.derived, which isn't loaded where nothing is derived."""

    turns: int
    """How often something happened that must be kept at once."""

    @property
    def calculated(self) -> Sequence[Frame]:
        """At the last look: calculated tags that read derived ones."""

    def frames(self, acquired_ns: int, now_s: float) -> list[Frame]:
        """Everything that is derived now; `now_s`: monotonic."""

    def collect(self, tags: Collection[int], kinds: Sequence[Kind]) -> None:
        """These are what production rules count, as far as they are derived; `kinds`: of the device's table."""

    def collected(self, acquired_ns: int) -> list[Frame]:
        """What they count of the look that frames() has just taken."""

    def accept(self) -> None:
        """See Report."""

    def take_back(self) -> None:
        """See Report."""

    def next_ns(self) -> int | None:
        """When something becomes true though nothing comes, by the wall clock."""

    @property
    def tags(self) -> Sequence[tuple[str, bytes]]:
        """(n,) their names, and the digests of their settings."""

    def memories(self) -> tuple[int, float, list[bytes]]:
        """When it was last looked, how long after the origin of all moments that was, and what must outlive the process, (n,)."""

    def resume(self, looked_ns: int, since_s: float, memories: Sequence[Tag], now_ns: int, now_s: float) -> list[str]:
        """Go on from what memories() gave in a process that has ended; the names of tags whose memory can't be read."""


@dataclass(frozen=True, slots=True)
class Stages:
    """What there is to do beside the filter; None or empty where nothing asks for it."""

    doors: SwingingDoors | None = None
    door_tags: npt.NDArray[np.int32] | None = None
    """(m,) the tags of `doors`, in their order."""
    windows: tuple[Windows, ...] = ()
    stale: StaleWatch | None = None
    last: LastValues | None = None
    """Where calculations, of other devices too, find this one's values."""
    calculation: Calculation | None = None
    derivation: Deriving | None = None


class _Route:
    """Where the tags of a frame go."""

    def __init__(self, tags: npt.NDArray[np.int32], door_places: npt.NDArray[np.int32], windows: Sequence[_Counted]) -> None:
        self.tags = tags
        """Kept, so that no other array takes its place in memory."""
        places = door_places[tags]
        self.at_door = places >= 0
        self.door_places = places[self.at_door]
        self.others = ~self.at_door
        self.has_doors = len(self.door_places) > 0
        self.all_doors = len(self.door_places) == len(tags)
        self.windows = []
        for counted in windows:
            at = counted.places[tags]
            chosen = np.flatnonzero(at >= 0)
            if len(chosen):
                self.windows.append((counted.windows, chosen, at[chosen]))


@dataclass(frozen=True, slots=True)
class _Counted:
    windows: Windows
    places: npt.NDArray[np.int32]
    """(n,) by tag index, -1 for tags that aren't counted."""


class Pipeline:
    """A Report (gateway/processing/report.py) that does `stages` around a filter."""

    def __init__(self, table: TagTable, report: Filter, stages: Stages, monotonic: Callable[[], float]) -> None:
        """`table`: with all derived tags."""
        self.stages = stages
        self._filter = report
        self._monotonic = monotonic
        n = len(table.names)
        self._door_places = _places(n, stages.door_tags)
        self._counted = [_Counted(windows, _places(n, windows.tags)) for windows in stages.windows]
        self._routes: dict[int, _Route] = {}
        self._apart: dict[tuple[int, ...], list[npt.NDArray[np.int32]]] = {}
        """Arrays of tags, kept so that no other takes their places in memory, of which none has a tag of another."""
        self._repeats: list[Frame] | None = None
        self._repeated: list[Frame] = []
        self._made: list[Frame] = []
        self._closed: list[Frame] = []
        self._looked: list[Frame] = []
        self._collected: list[Frame] = []
        self.derived: list[Frame] = []
        """See Report."""

    @property
    def late(self) -> int:
        """Readings that came after their window had closed."""
        return sum(windows.late for windows in self.stages.windows)

    @property
    def turns(self) -> int:
        """How often a window opened or closed, a door reported something, or the period of an OEE ended."""
        others = [one.turns for one in (self.stages.doors, self.stages.derivation) if one is not None]
        return sum(windows.turns for windows in self.stages.windows) + sum(others)

    @property
    def stale_tags(self) -> int:
        """How many tags are stale now."""
        return 0 if self.stages.stale is None else int(np.count_nonzero(self.stages.stale.is_stale))

    def pick(self, frames: Sequence[Frame]) -> list[Frame]:
        """See Report."""
        if frames is self._repeats:
            picked = [*self._made, *self._closed, *self._filter.pick(self._looked), *self._filter.pick(self._repeated)]
            self.derived = [*self._closed, *self._collected]
            self._repeats, self._repeated, self._made, self._closed, self._looked = None, [], [], [], []
            self._collected = []
            return picked
        picked = []
        self.derived = []
        if not self.stages.windows and self.stages.doors is None:
            return self._filter.pick([frame for frame, _ in self._derive(frames)])
        for frame, is_derived in self._derive(frames):
            picked += self._filter.pick([frame]) if is_derived else self._compress(frame)
        return picked

    def accept(self) -> None:
        """See Report."""
        self._filter.accept()
        for windows in self.stages.windows:
            windows.accept()
        for stage in (self.stages.doors, self.stages.derivation):
            if stage is not None:
                stage.accept()

    def take_back(self) -> None:
        """See Report."""
        self._filter.take_back()
        for windows in self.stages.windows:
            windows.take_back()
        for stage in (self.stages.doors, self.stages.derivation):
            if stage is not None:
                stage.take_back()

    def repeats(self, now_ns: int) -> list[Frame]:
        """See Report. They are no readings: no window counts them and no calculation follows from them."""
        self._repeated = self._filter.repeats(now_ns)
        self._closed = []
        self._made = [] if self.stages.doors is None else self.stages.doors.repeats(now_ns)
        for windows in self.stages.windows:
            self._closed += windows.pass_time(now_ns)
        derivation = self.stages.derivation
        self._looked = [] if derivation is None else derivation.frames(now_ns, self._monotonic())
        self._collected = [] if derivation is None else derivation.collected(now_ns)
        if derivation is not None and self._looked:
            self._looked += [select(frame, self._door_places[frame.tags] < 0) for frame in derivation.calculated]
        if self._looked:  # what was looked at just now must not be followed by what it was before
            newer = np.concatenate([frame.tags for frame in self._looked])
            self._repeated = [select(frame, ~np.isin(frame.tags, newer)) for frame in self._repeated]
        self._repeats = [*self._repeated, *self._made, *self._closed, *self._looked]
        return self._repeats

    def next_heartbeat_ns(self) -> int | None:
        """See Report."""
        times = [self._filter.next_heartbeat_ns(), *(windows.next_end_ns() for windows in self.stages.windows)]
        if self.stages.doors is not None:
            times.append(self.stages.doors.next_heartbeat_ns())
        if self.stages.derivation is not None:
            times.append(self.stages.derivation.next_ns())
        return min((time for time in times if time is not None), default=None)

    def _derive(self, frames: Sequence[Frame]) -> Iterator[tuple[Frame, bool]]:
        """The readings, what is calculated of them, and what is derived (true)."""
        stages = self.stages
        if stages.stale is not None:
            now_s = self._monotonic()
            frames = [stages.stale.mark(frame, now_s) for frame in frames]
        for batch in [frames] if stages.derivation is None or self._is_one_look(frames) else _looks(frames):
            for frame in (*batch, *self._calculate(batch)):
                yield frame, False
            if stages.derivation is not None:
                looked = stages.derivation.frames(batch[-1].acquired_ns, self._monotonic())
                self.derived += stages.derivation.collected(batch[-1].acquired_ns)
                self.derived += stages.derivation.calculated
                for frame in looked:
                    yield frame, True
                for frame in stages.derivation.calculated:
                    yield frame, False

    def _is_one_look(self, frames: Sequence[Frame]) -> bool:
        """Whether it is known that no tag comes twice."""
        key = tuple([id(frame.tags) for frame in frames])
        if key in self._apart:
            return True
        if any(frame.tags.flags.writeable for frame in frames) or sum(1 for _ in _looks(frames)) != 1:
            return False
        if len(self._apart) == _MOST_ROUTES:
            self._apart.clear()
        self._apart[key] = [frame.tags for frame in frames]
        return True

    def _calculate(self, frames: Sequence[Frame]) -> list[Frame]:
        """Note the readings as the newest; what is calculated of them."""
        stages = self.stages
        if stages.last is not None:
            for frame in frames:
                stages.last.take(frame)
        if stages.calculation is None or not frames:
            return []
        calculated = stages.calculation.frames(frames[-1].acquired_ns)
        if stages.last is not None:
            for frame in calculated:
                stages.last.take(frame)
        self.derived += calculated
        return calculated

    def _compress(self, frame: Frame) -> list[Frame]:
        if isinstance(frame.values, list) or not len(frame.tags):
            return self._filter.pick([frame])
        route = self._route(frame.tags)
        closed: list[Frame] = []
        for windows, chosen, places in route.windows:
            closed += windows.take(frame, chosen, places)
        self.derived += closed
        if not route.has_doors:
            return [*self._filter.pick([frame]), *closed]
        assert self.stages.doors is not None
        mine = frame if route.all_doors else select(frame, route.at_door)
        earlier, kept = self.stages.doors.pick(mine, route.door_places)
        others = [] if route.all_doors else self._filter.pick([select(frame, route.others)])
        return [*earlier, *others, *kept, *closed]

    def _route(self, tags: npt.NDArray[np.int32]) -> _Route:
        route = self._routes.get(id(tags))
        if route is None:
            route = _Route(tags, self._door_places, self._counted)
            if not tags.flags.writeable:
                if len(self._routes) == _MOST_ROUTES:
                    self._routes.clear()
                self._routes[id(tags)] = route
        return route


def _looks(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Frames in which no tag comes twice: what is derived must not overlook a pulse that came and went."""
    batch: list[Frame] = []
    tags: set[int] = set()
    for frame in frames:
        own = set(frame.tags.tolist()) if len(frames) > 1 else set()
        if batch and not tags.isdisjoint(own):
            yield batch
            batch, tags = [], set()
        batch.append(frame)
        tags |= own
    if batch:
        yield batch


def _places(n: int, tags: npt.NDArray[np.int32] | None) -> npt.NDArray[np.int32]:
    """(n,) where each tag stands in `tags`, -1 for those that don't."""
    places = np.full(n, -1, np.int32)
    if tags is not None:
        places[tags] = np.arange(len(tags), dtype=np.int32)
    return places
