"""Appending with patience: a full disk is waited out, said once when it fills and once when there is space again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.clock import Clock
from gateway.histogram import Histogram
from gateway.log import Log
from gateway.outbox.base import Entry, Outbox, OutboxFull

RETRY_S = 1.0


class Storage:
    """The outbox as those who store see it."""

    def __init__(self, outbox: Outbox, clock: Clock, log: Log) -> None:
        self.append_time = Histogram()
        """From handing records over to their being durable."""
        self._outbox = outbox
        self._clock = clock
        self._log = log
        self._is_full = False
        self._is_closing = False

    @property
    def is_full(self) -> bool:
        """Whether the last append found no space."""
        return self._is_full

    def note(self, key: str) -> bytes | None:
        """See Outbox.note."""
        return self._outbox.note(key)

    def give_up(self) -> None:
        """The gateway stops: from now on a full disk raises."""
        self._is_closing = True

    async def append(self, entries: Sequence[Entry], notes: Callable[[], Mapping[str, bytes]] | None = None) -> range:
        """Store, waiting for space as long as it takes.

        Args:
            notes: asked at each attempt, so that what is stored is as new as its place in the order of appends.

        Raises:
            OutboxFull: only after give_up().
            OutboxFailed: the disk failed.
        """
        while True:
            began_s = self._clock.monotonic()
            try:
                span = await self._outbox.append(entries, notes() if notes else None)
            except OutboxFull as error:
                if not self._is_full:
                    self._is_full = True
                    self._log.alarm(f"storage is full, readings wait: {error}", event="state", state="full")
                if self._is_closing:
                    raise
                await self._clock.sleep_until(self._clock.monotonic() + RETRY_S)
            else:
                self.append_time.observe(self._clock.monotonic() - began_s)
                if self._is_full:
                    self._is_full = False
                    self._log.info("storage has space again", event="state", state="open")
                return span
