"""Identifiers leased ahead from the node and kept in the outbox, so that the line never waits for the network.

No suffix is used twice, whatever is cut when: what is on disk is always a state that the memory went through, in the same order,
and a suffix leaves the pool in the very transaction that records the product. A request for a lease is on disk, with its
idempotency key, before it is sent: after a crash the same key brings the same lease.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.log import Log
from gateway.sinks.base import SinkRefused, SinkUnreachable
from gateway.storage import Storage


class LeaseSource(Protocol):
    """Where leases come from (products/leases.py)."""

    async def lease(self, prefix: str, count: int, key: str) -> Sequence[str]:
        """Ask for `count` suffixes. The same key brings the same lease.

        Raises:
            SinkUnreachable, SinkRefused
        """

    async def close(self) -> None:
        """Give the connection up. Safe twice."""


class Stock(msgspec.Struct, frozen=True):
    """The pool as it is kept."""

    suffixes: tuple[str, ...] = ()
    request: str | None = None
    """Idempotency key of a lease that was asked for and hasn't been stored yet."""


class PoolState(Enum):
    """How the supply goes."""

    GOOD = "good"
    AWAY = "away"
    REFUSED = "refused"


class Pool:
    """The leased suffixes of one prefix."""

    def __init__(
        self,
        prefix: str,
        source: LeaseSource,
        storage: Storage,
        *,
        count: int,
        low_water: int,
        clock: Clock,
        backoff: Backoff,
        log: Log,
        new_key: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """Restored from the outbox of `storage`; `count` are asked for when fewer than `low_water` are left."""
        self.prefix = prefix
        self.state = PoolState.GOOD
        self.refilled: list[asyncio.Event] = []
        """Set whenever suffixes arrive: those who found the pool empty listen."""
        self._key = f"pool/{prefix}"
        self._source = source
        self._storage = storage
        self._count = count
        self._low_water = low_water
        self._clock = clock
        self._backoff = backoff
        self._log = log
        self._new_key = new_key
        kept = storage.note(self._key)
        stock = msgspec.json.decode(kept, type=Stock) if kept else Stock()
        self._suffixes = deque(stock.suffixes)
        self._request = stock.request
        self._low = asyncio.Event()
        self._look()

    @property
    def left(self) -> int:
        """How many suffixes are left."""
        return len(self._suffixes)

    def take(self) -> str | None:
        """The next suffix, or None. It must go into one append together with note(), or be given back."""
        if not self._suffixes:
            return None
        suffix = self._suffixes.popleft()
        self._look()
        return suffix

    def give_back(self, suffix: str) -> None:
        """The append with that suffix failed for good; nobody has it."""
        self._suffixes.appendleft(suffix)

    def note(self) -> tuple[str, bytes]:
        """The pool as it stands, to be stored. Call it at the moment of the append."""
        return self._key, msgspec.json.encode(Stock(tuple(self._suffixes), self._request))

    async def run(self) -> None:
        """Keep the pool filled, until cancelled."""
        try:
            while True:
                await self._low.wait()
                await self._refill()
        finally:
            await self._source.close()

    async def _refill(self) -> None:
        if self._request is None:
            self._request = self._new_key()
            await self._store()
        suffixes = await self._lease(self._request)
        self._suffixes.extend(suffixes)
        self._request = None
        self._look()
        await self._store()
        for event in self.refilled:
            event.set()

    async def _lease(self, key: str) -> Sequence[str]:
        while True:
            wait_s = self._backoff.next_s()
            await self._clock.sleep_until(self._clock.monotonic() + wait_s)
            try:
                suffixes = await self._source.lease(self.prefix, self._count, key)
            except SinkUnreachable as error:
                self._say(PoolState.AWAY, f"no new identifiers of {self.prefix}, {self.left} left: {error}")
            except SinkRefused as error:
                self._say(PoolState.REFUSED, f"the node refuses identifiers of {self.prefix}, {self.left} left: {error}")
                await self._clock.sleep_until(self._clock.monotonic() + self._backoff.refused_s())
            else:
                self._backoff.reset()
                self._say(PoolState.GOOD, f"identifiers of {self.prefix} again: {len(suffixes)} leased")
                return suffixes

    async def _store(self) -> None:
        await self._storage.append((), lambda: dict((self.note(),)))

    def _look(self) -> None:
        if len(self._suffixes) < self._low_water:
            self._low.set()
        else:
            self._low.clear()

    def _say(self, state: PoolState, text: str) -> None:
        if state is self.state:
            return
        self.state = state
        if state is PoolState.GOOD:
            self._log.info(text)
        else:
            self._log.warning(text)
