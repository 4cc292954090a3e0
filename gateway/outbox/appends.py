"""Callers of append() that wait for a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from drivers.prompt import Prompt
from gateway.outbox.base import Entry, OutboxFull
from gateway.outbox.bounds import Bounds


class Append(Prompt[range]):
    """A caller of append() that waits. Cancelled, it goes on once the outcome is known: a commit can't be called back."""

    __slots__ = ("entries", "notes")

    def __init__(self, loop: asyncio.AbstractEventLoop, entries: Sequence[Entry], notes: Mapping[str, bytes]) -> None:
        super().__init__(loop)
        self.entries = entries
        self.notes = notes

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 the signature of asyncio.Future
        """Not this one."""
        return False


def take_appends(waiting: list[Append], most: int) -> tuple[list[Append], list[Append]]:
    """The first of them, with up to `most` entries but at least one caller; and the others."""
    count = size = 0
    for append in waiting:
        size += len(append.entries)
        if count and size > most:
            break
        count += 1
    return waiting[:count], waiting[count:]


def refuse_excess(appends: list[Append], bounds: Bounds, stored_bytes: int) -> list[Append]:
    """Those that fit; the others, from the first that doesn't, are told that it is full."""
    for place, append in enumerate(appends):
        if bounds.refuses(append.entries, stored_bytes):
            for refused in appends[place:]:
                refused.fail(OutboxFull(f"{stored_bytes} bytes wait; max_bytes is {bounds.limits.max_bytes}"))
            return appends[:place]
        stored_bytes += sum(len(entry.payload) for entry in append.entries)
    return appends
