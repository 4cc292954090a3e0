"""Who keeps answers, told of changes: of our own when they are committed, of others' by LISTEN and NOTIFY.

What a transaction announces has its identifiers in it, so no table of changes is needed: who was not listening doesn't know what
it missed, and takes everything for changed. As long as nobody listens here, refresh() says so each time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from idnode.store.base import Forget, StoreFailed
from idnode.store.postgres.connection import Conflict, Lost, Session

CHANNEL = "mumian_idnode"
MOST_BYTES = 7900
"""Of an announcement; PostgreSQL takes 7999."""
HEARTBEAT_S = 1.0
SILENCE_S = 3.0
"""After which a listening connection that doesn't answer is given up."""
_ANYTHING = "*"
_IS_PRIMARY = "SELECT NOT pg_is_in_recovery()"


def payloads(origin: str, number: int, keys: Collection[str] | None) -> list[str]:
    """The announcements of a transaction that changes those keys, None: anything. Keys have no line breaks."""
    head = f"{origin} {number}\n"
    if keys is None:
        return [head + _ANYTHING]
    told: list[str] = []
    lines: list[str] = []
    room = MOST_BYTES - len(head)
    for key in keys:
        size = len(key.encode()) + 1
        if size > room and lines:
            told.append(head + "\n".join(lines))
            lines, room = [], MOST_BYTES - len(head)
        lines.append(key)
        room -= size
    return [*told, head + "\n".join(lines)] if lines else told


class Feed:
    """The watchers of one store, and what they have been told."""

    def __init__(self) -> None:
        self.origin = secrets.token_hex(4)
        self.is_listening = False
        self._watchers: list[Forget] = []
        self._keepers: list[Forget] = []
        """Those of the watchers who keep what they have read."""
        self._number = 0
        self._unclear: set[int] = set()
        """Our own transactions of which nobody knows whether they were, or will be, committed."""
        self._reading: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        """How often keys have changed while somebody reads them."""

    def watch(self, forget: Forget, *, keeps: bool = True) -> None:
        """See Watched.watch. `keeps`: what was read; those who don't aren't told of doubt()."""
        self._watchers.append(forget)
        if keeps:
            self._keepers.append(forget)

    def refresh(self) -> None:
        """See Watched.refresh. What was announced and has come is told already."""
        if not self.is_listening:
            self.tell(None)

    def tell(self, keys: Collection[str] | None) -> None:
        """Tell the watchers, and those who are reading."""
        self._changes.update(list(self._reading) if keys is None else [key for key in keys if key in self._reading])
        for forget in self._watchers:
            forget(keys)

    def doubt(self) -> None:
        """What is being read may be older than what was told: let nobody keep it, who would never hear of it again."""
        for forget in self._keepers:
            forget(None)

    @contextmanager
    def reading(self, key: str) -> Iterator[Callable[[], bool]]:
        """While somebody reads what is kept under a key. Gives what tells whether it changed since it was last asked.

        What was read before a change and comes back after it was told of would else be kept for good.
        """
        self._reading[key] += 1
        seen = self._changes[key]

        def changed() -> bool:
            nonlocal seen
            before, seen = seen, self._changes[key]
            return seen != before

        try:
            yield changed
        finally:
            self._reading[key] -= 1
            if not self._reading[key]:
                del self._reading[key]
                del self._changes[key]

    @contextmanager
    def announcing(self, keys: Collection[str] | None) -> Iterator[list[str]]:
        """The announcements of a transaction of ours. Told at the end, whatever became of it."""
        self._number += 1
        number = self._number
        try:
            yield payloads(self.origin, number, keys)
        except BaseException:
            # It may yet be committed: then what comes back from the server is told once more.
            self._unclear.add(number)
            raise
        finally:
            if keys is None or keys:
                self.tell(keys)

    def hear(self, payload: str) -> None:
        """An announcement has come."""
        head, _, body = payload.partition("\n")
        origin, _, number = head.partition(" ")
        if origin == self.origin and int(number) not in self._unclear:
            return
        self.tell(None if body == _ANYTHING else body.split("\n"))


class Listener:
    """Listens for a feed as long as it can, and begins again when it can't."""

    def __init__(self, feed: Feed, opened: Callable[[], Awaitable[Session]]) -> None:
        self._feed = feed
        self._opened = opened
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when it listens.

        Raises:
            Lost, StoreFailed
        """
        session = await self._begin()
        self._task = asyncio.create_task(self._listen(session), name="idnode-listener")

    async def close(self) -> None:
        """Listen no more. Safe twice."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _begin(self) -> Session:
        session = await self._opened()
        try:
            await session.listen(CHANNEL, self._feed.hear)
        except BaseException:
            session.drop()
            raise
        self._feed.is_listening = True
        return session

    async def _listen(self, session: Session | None) -> None:
        while True:
            try:
                if session is None:
                    session = await self._begin()
                    self._feed.tell(None)  # what changed meanwhile is not known
                await self._hold(session)
            except (Lost, Conflict, StoreFailed):
                await asyncio.sleep(HEARTBEAT_S / 4)
            finally:
                self._feed.is_listening = False
                self._feed.tell(None)
                if session is not None:
                    session.drop()
                session = None

    async def _hold(self, session: Session) -> None:
        """Until the connection is gone, doesn't answer, or the server is no primary any more."""
        ended = asyncio.Event()
        session.on_end(ended.set)
        while session.is_sound:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await ended.wait()
            if ended.is_set():
                return
            try:
                async with asyncio.timeout(SILENCE_S):
                    if not await session.value(_IS_PRIMARY):
                        return
            except TimeoutError as error:
                raise Lost("the server doesn't answer") from error
