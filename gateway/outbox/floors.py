"""What each sink has acknowledged, and so what nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.outbox import ranges
from gateway.outbox.base import RecordKind
from gateway.outbox.ranges import MOST, Ranges


class Floors:
    """Where each sink stands, and so what may go. Kinds that no sink carries stay."""

    def __init__(self, carriers: Mapping[str, frozenset[RecordKind]]) -> None:
        self._carriers = {kind: [sink for sink, kinds in carriers.items() if kind in kinds] for kind in RecordKind}
        self._acknowledged: dict[str, Ranges] = {}
        self._islands: dict[str, Ranges] = {}
        """What of it lies beyond the cursor, as the file has it."""
        self._trimmed: dict[RecordKind, Ranges] = dict.fromkeys(RecordKind, ())
        self._fences: dict[str, frozenset[int]] = {}

    def sinks(self, kind: RecordKind) -> list[str]:
        """Those that carry that kind."""
        return self._carriers[kind]

    def restore(self, standings: Mapping[str, Ranges]) -> None:
        """Set what has been acknowledged as it was kept."""
        self._acknowledged = dict(standings)
        self._islands = {sink: ranges.beyond(standing) for sink, standing in standings.items()}

    def cursor(self, sink: str) -> int:
        """The seq through which `sink` has acknowledged all."""
        return ranges.through(self.acknowledged(sink))

    def acknowledged(self, sink: str) -> Ranges:
        """All that it has."""
        return self._acknowledged.get(sink, ())

    def standings(self) -> dict[str, Ranges]:
        """That of every sink that ever acknowledged."""
        return dict(self._acknowledged)

    def take(self, sink: str, after: int, through: int) -> bool:
        """It acknowledges the seqs in (after, through]; False when that is no news."""
        before = self.acknowledged(sink)
        now = ranges.bounded(ranges.add(before, after + 1, through))
        if now == before:
            return False
        self._acknowledged[sink] = now
        return True

    def new_islands(self) -> dict[str, Ranges]:
        """By sink: what lies beyond its cursor, where that isn't as kept() was told last."""
        found = {}
        for sink, standing in self._acknowledged.items():
            islands = ranges.beyond(standing)
            if islands != self._islands.get(sink, ()):
                found[sink] = islands
        return found

    def kept(self, islands: Mapping[str, Ranges]) -> None:
        """The file has these now."""
        self._islands.update(islands)

    def trims(self) -> dict[RecordKind, Ranges]:
        """By kind: what all who carry it have acknowledged and trimmed() hasn't seen."""
        found = {}
        for kind, sinks in self._carriers.items():
            if not sinks:
                continue
            released = ranges.common_to_all(map(self.acknowledged, sinks))
            if released == self._trimmed[kind]:
                continue
            if new := ranges.without(released, self._trimmed[kind]):
                found[kind] = new
        return found

    def trimmed(self, trims: Mapping[RecordKind, Ranges]) -> None:
        """Those have gone."""
        for kind, gone in trims.items():
            self._trimmed[kind] = ranges.bounded(ranges.union(self._trimmed[kind], gone), 4 * MOST)

    def fence(self, sink: str, seqs: Iterable[int]) -> None:
        """Where the lanes of `sink` meet: see Outbox.fence."""
        self._fences[sink] = frozenset(seqs)

    def edges(self) -> list[int]:
        """Seqs behind which another record of telemetry may wait for other sinks, or in another lane of one; ascending."""
        found: set[int] = set()
        for sink in self._carriers[RecordKind.TELEMETRY]:
            found.update(ranges.edges(self.acknowledged(sink)), self._fences.get(sink, ()))
        return sorted(found)
