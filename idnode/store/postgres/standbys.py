"""Which hot standby may answer a read: one that has replayed all that is known to have changed of what is read.

What changed, by us or by others, counts as recent until every standby that is up has it. Who reads something recent asks the
primary; so does who reads what can't be told apart by its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from idnode.store.base import StoreFailed
from idnode.store.postgres.connection import Conflict, Lost, Pool, Session, Target, connect

MOST_RECENT = 100_000
"""Keys; beyond, everything is recent."""
LOOK_S = 0.01
"""Between two looks at how far a standby has come."""
AWAY_S = 1.0
"""Before a standby that couldn't be reached is asked again."""
_WRITTEN = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"
_REPLAYED = """
    SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint"""


class _Standby:
    def __init__(self, target: Target, size: int) -> None:
        self.pool = Pool(partial(connect, target), size)
        self.seen = 0
        """The last tick that it has replayed."""


class Standbys:
    """The hot standbys of one store; there may be none."""

    def __init__(self, targets: Sequence[Target], size: int, primary: Pool) -> None:
        self._standbys = [_Standby(target, size) for target in targets]
        self._primary = primary
        self._tick = 0
        self._recent: dict[str, int] = {}
        """The tick of each key's last change, the oldest first."""
        self._all_recent = 0
        """The tick of the last change of anything."""
        self._turn = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether anything is recent."""
        return any(standby.seen < self._tick for standby in self._standbys)

    def forget(self, keys: Collection[str] | None) -> None:
        """These have changed; see Watched.watch."""
        if not self._standbys:
            return
        self._tick += 1
        for key in keys or ():
            self._recent.pop(key, None)
            self._recent[key] = self._tick
        if keys is None or len(self._recent) > MOST_RECENT:
            self._recent.clear()
            self._all_recent = self._tick
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(), name="idnode-standbys")

    @asynccontextmanager
    async def session(self, keys: Iterable[str]) -> AsyncIterator[Session | None]:
        """A session with a standby that has what is known of those keys; None where there is none."""
        recent = self._recent
        standby = self._choice(max(self._all_recent, *(recent.get(key, 0) for key in keys)) if recent else self._all_recent)
        if standby is None:
            yield None
            return
        try:
            async with standby.pool.session() as session:
                yield session
        except Lost:
            standby.pool.leave(AWAY_S)
            raise

    @asynccontextmanager
    async def any_session(self) -> AsyncIterator[Session]:
        """A session with whichever standby is up: where there is no primary, its last word is the best there is.

        Raises:
            Lost
        """
        standby = self._choice(0)
        if standby is None:
            raise Lost("no standby is up")
        try:
            async with standby.pool.session() as session:
                yield session
        except Lost:
            standby.pool.leave(AWAY_S)
            raise

    def _choice(self, tick: int) -> _Standby | None:
        up = [each for each in self._standbys if each.seen >= tick and not each.pool.is_left]
        self._turn += 1
        return up[self._turn % len(up)] if up else None

    async def _follow(self) -> None:
        """Until all that are up have seen the last change."""
        while self.is_behind:
            tick = self._tick
            try:
                async with self._primary.session() as session:
                    written = await session.value(_WRITTEN)
            except (Lost, Conflict, StoreFailed):
                await asyncio.sleep(AWAY_S)
                continue
            behind = [standby for standby in self._standbys if standby.seen < tick]
            await asyncio.gather(*(self._wait(standby, tick, written) for standby in behind))
            seen = min(standby.seen for standby in self._standbys)
            while self._recent and next(iter(self._recent.values())) <= seen:
                del self._recent[next(iter(self._recent))]

    async def _wait(self, standby: _Standby, tick: int, written: int) -> None:
        """Until a standby has replayed that far, or for AWAY_S: another one may be faster, and the primary further."""
        loop = asyncio.get_running_loop()
        until = loop.time() + AWAY_S
        try:
            async with standby.pool.session() as session:
                while await session.value(_REPLAYED) < written:
                    if loop.time() >= until:
                        return
                    await asyncio.sleep(LOOK_S)
        except (Lost, Conflict, StoreFailed):
            standby.pool.leave(AWAY_S)
            await asyncio.sleep(AWAY_S)
            return
        standby.seen = tick

    async def close(self) -> None:
        """Safe twice."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for standby in self._standbys:
            await standby.pool.close()
