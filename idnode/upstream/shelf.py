"""What delegates said, kept until room is needed: the least used goes first. Bounded in bytes; time is given."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from idnode.upstream.delegate import Delegate
from idnode.upstream.told import Outcome, Told

LONGEST_S = 172_800
"""Two days: what Handle clients cap a TTL at."""
_ENTRY = 500
"""Bytes that an entry takes beside its answer: measured with tracemalloc, rounded up."""
_NEGATIVE_PART = 8
"""A part of the room is for what isn't there: who makes names up drives out nothing that is."""


class Kept(msgspec.Struct, gc=False):
    """An answer and its time, in milliseconds of a steady clock."""

    told: Told
    version: int
    """Of the delegation."""
    made_ms: int
    fresh_ms: int
    """Till then it is used without a question."""
    stale_ms: int
    """Till then it is used where there is no better one."""


class Shelf:
    """One process's."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: 0 keeps nothing."""
        negative = most_bytes // _NEGATIVE_PART
        self._rooms = (_Room(most_bytes - negative), _Room(negative))

    def find(self, delegate: Delegate, key: str) -> Kept | None:
        """What this delegate said of an identifier; nothing of an earlier delegation."""
        for room in self._rooms:
            kept = room.find((delegate.prefix, key))
            if kept is not None and kept.version == delegate.version:
                return kept
        return None

    def keep(self, delegate: Delegate, key: str, kept: Kept) -> None:
        """Put it in the place of what was there."""
        place = (delegate.prefix, key)
        is_negative = kept.told.outcome is not Outcome.FOUND or not kept.told.values
        for room in self._rooms:
            room.drop(place)
        self._rooms[is_negative].keep(place, kept)

    def __len__(self) -> int:
        return sum(len(room.entries) for room in self._rooms)

    @property
    def bytes(self) -> int:
        """What the entries take."""
        return sum(room.bytes for room in self._rooms)


class _Room:
    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self.entries: OrderedDict[tuple[str, str], tuple[Kept, int]] = OrderedDict()
        self.bytes = 0

    def find(self, place: tuple[str, str]) -> Kept | None:
        found = self.entries.get(place)
        if found is None:
            return None
        self.entries.move_to_end(place)
        return found[0]

    def drop(self, place: tuple[str, str]) -> None:
        found = self.entries.pop(place, None)
        if found is not None:
            self.bytes -= found[1]

    def keep(self, place: tuple[str, str], kept: Kept) -> None:
        size = _ENTRY + kept.told.bytes + len(place[1])
        if size > self._most:
            return
        self.entries[place] = (kept, size)
        self.bytes += size
        while self.bytes > self._most:
            _, (_, freed) = self.entries.popitem(last=False)
            self.bytes -= freed


def lifetimes(told: Told, delegate: Delegate, negative_s: int, stale_s: int) -> tuple[int, int]:
    """For how many seconds an answer is fresh, and for how many more it may stand in for a better one.

    What may be kept for no time may not stand in either; nor may what says that there is nothing.
    """
    if told.outcome is Outcome.FOUND and told.values:
        bounds = [LONGEST_S, delegate.ttl_s, *(value.ttl_s for value in told.values)]
        fresh_s = max(0, min(bounds if told.keep_s is None else [*bounds, told.keep_s]))
        return fresh_s, stale_s if fresh_s else 0
    return min(negative_s, delegate.ttl_s), 0
