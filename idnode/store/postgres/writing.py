"""Changes, made at whichever server is the primary, and made again where that is safe.

A server that goes away in the middle leaves it open whether a transaction was committed. An operation is told so when it is asked
again, and looks whether it was done; within PATIENCE_S a standby can have been promoted meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import islice
from typing import TypeVar

from idnode.record import Registered, Registration
from idnode.store.base import StoreAway, StoreFailed
from idnode.store.postgres import record_rows
from idnode.store.postgres.connection import Conflict, Lost, Pool, Session
from idnode.store.postgres.feed import CHANNEL, Feed
from idnode.store.postgres.record_rows import New
from idnode.store.postgres.tally import Owners
from idnode.store.postgres.together import Together

T = TypeVar("T")
Operation = Callable[[Session, bool], Awaitable[T]]
"""Reads and writes within a transaction that it neither begins nor ends. True: it may have been committed before."""
Attempt = Callable[[Session, bool, list[str]], Awaitable[T]]
"""The same with a transaction of its own, in which it makes the announcements."""
PATIENCE_S = 30.0
LANES = 2
"""Statements that register at once: one is executed while the other waits for the disk."""
MOST_TOGETHER = 2000
"""Registrations in one statement, unless one request has more."""
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.5


class Writing:
    """The connections that write."""

    def __init__(self, pool: Pool, feed: Feed, failed: Callable[[StoreFailed], None], patience_s: float) -> None:
        self._pool = pool
        self._feed = feed
        self._failed = failed
        self._patience_s = patience_s

    async def run(self, operation: Operation[T], keys: Collection[str] | None = ()) -> T:
        """Do `operation` in a transaction and return its result when it is durable. `keys`: as Watched.watch tells them.

        Raises:
            StoreRefused: what the operation raised; nothing is changed.
            StoreAway: no primary was found in time; it may be done or not.
            StoreFull, StoreFailed
        """

        async def attempt(session: Session, again: bool, payloads: list[str]) -> T:
            async with session.transaction():
                outcome = await operation(session, again)
                if payloads:
                    await session.rows(record_rows.NOTIFY, CHANNEL, payloads)
            return outcome

        return await self.attempt(attempt, keys)

    async def attempt(self, act: Attempt[T], keys: Collection[str] | None) -> T:
        """run() for what is a transaction by itself."""
        loop = asyncio.get_running_loop()
        deadline, pause, again = loop.time() + self._patience_s, _FIRST_PAUSE_S, False
        while True:
            try:
                async with self._pool.session() as session:
                    with self._feed.announcing(keys) as payloads:
                        return await act(session, again, payloads)
            except Conflict as error:
                reason: Exception = error
            except Lost as error:
                reason, again = error, True
                self._pool.forget()
            except StoreFailed as error:
                self._failed(error)
                raise
            if loop.time() >= deadline:
                raise StoreAway(f"the database can't be reached: {reason}") from reason
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


class Registering:
    """The group commit of those who register: what waits while statements are under way is the next statement."""

    def __init__(self, writing: Writing, owners: Owners) -> None:
        self._writing = writing
        self._owners = owners
        self._together = Together(self._commit, LANES, MOST_TOGETHER, len, name="idnode-registering")

    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[Registered]:
        """See Records.register."""
        if not registrations:
            return []
        # What can't be encoded is this request's affair.
        return await self._together.ask([New(each, author, at_ms) for each in registrations])

    async def finish(self) -> None:
        """Wait until all that was asked for so far is done."""
        await self._together.finish()

    async def _commit(self, batch: list[list[New]]) -> list[list[Registered]]:
        new = [each for request in batch for each in request]

        async def act(session: Session, again: bool, payloads: list[str]) -> list[Registered]:
            return await record_rows.register(session, new, again, self._owners, CHANNEL, payloads)

        following = iter(await self._writing.attempt(act, [each.key for each in new]))
        return [list(islice(following, len(request))) for request in batch]
