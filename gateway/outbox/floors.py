"""Cursors of the sinks, and below which seq nobody needs a record any more."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.outbox.base import RecordKind


class Floors:
    """Where each sink stands, and so what may go. Kinds that no sink carries stay."""

    def __init__(self, carriers: Mapping[str, frozenset[RecordKind]]) -> None:
        self._carriers = {kind: [sink for sink, kinds in carriers.items() if kind in kinds] for kind in RecordKind}
        self._cursors: dict[str, int] = {}
        self._trimmed = dict.fromkeys(RecordKind, 0)

    def sinks(self, kind: RecordKind) -> list[str]:
        """Those that carry that kind."""
        return self._carriers[kind]

    def restore(self, cursors: Mapping[str, int]) -> None:
        """Set the cursors as they were kept."""
        self._cursors = dict(cursors)

    def cursor(self, sink: str) -> int:
        """The seq through which `sink` has acknowledged."""
        return self._cursors.get(sink, 0)

    def cursors(self) -> dict[str, int]:
        """All of them."""
        return dict(self._cursors)

    def advance(self, sink: str, seq: int) -> bool:
        """Move a cursor forward; False when it stands there or beyond."""
        if seq <= self.cursor(sink):
            return False
        self._cursors[sink] = seq
        return True

    def trims(self) -> dict[RecordKind, tuple[int, int]]:
        """By kind: the seqs in (first, second] that all who carry it have acknowledged and that trimmed() hasn't seen."""
        found = {}
        for kind, sinks in self._carriers.items():
            floor = min((self.cursor(sink) for sink in sinks), default=0)
            if floor > self._trimmed[kind]:
                found[kind] = (self._trimmed[kind], floor)
        return found

    def trimmed(self, trims: Mapping[RecordKind, tuple[int, int]]) -> None:
        """Those have gone."""
        for kind, (_, floor) in trims.items():
            self._trimmed[kind] = floor
