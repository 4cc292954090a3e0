"""Takes what is to be announced from the store to its subscribers, in order, each at its own pace.

A subscription is a cursor through its enterprise's announcements, kept in the store; it moves when one was delivered, wasn't
wanted, or was given up after so many attempts, which is kept as undelivered in the same step. So an announcement is delivered
at least once, and one that a killed process had just delivered comes again with the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from epcis.timestamps import from_epoch_ms
from idnode.affairs import CURSOR, UNDELIVERED, Cursor, Subscription, Undelivered, put_affair, read_affair
from idnode.announcing.post import NotDelivered
from idnode.announcing.signature import HEADER, sign
from idnode.announcing.turn import Turn
from idnode.settings import WebhookSettings
from idnode.store.base import Stale, StoreAway, StoreFailed, StoreFull
from idnode.store.business import SUBSCRIPTION, Announcement, Business, Entry, Put, Step, Trim

AUTHOR = "node"
LONGEST_PAUSE_S = 12 * 3600.0
AT_ONCE = 8
"""Subscriptions that are served at a time."""
IN_A_ROW = 100
"""Announcements of one subscription in one round, so that others have their turn."""
PAUSE_S = 1.0
FULL_PAUSE_S = 60.0
"""When nothing can be written."""
_PAGE = 500


class Post(Protocol):
    """Makes one attempt."""

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        """See Poster.post."""


class Announcer:
    """Serves all subscriptions of a store. One at a time for each store."""

    def __init__(
        self, store: Business, post: Post, settings: WebhookSettings, now_ms: Callable[[], int], turn: Turn | None = None
    ) -> None:
        """`turn`: this node's, where others may use the store."""
        self._store = store
        self._post = post
        self._settings = settings
        self._now_ms = now_ms
        self._turn = turn

    async def serve_all(self) -> bool:
        """Deliver what is due, then forget what nobody waits for. Whether anything was delivered or given up."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def serve(entry: Entry) -> bool:
            async with gate:
                return await self._serve(entry)

        subscriptions: list[Entry] = []
        while more := await self._store.entries(SUBSCRIPTION, after=subscriptions[-1].key if subscriptions else "", limit=_PAGE):
            subscriptions += more
        moved = await asyncio.gather(*map(serve, subscriptions))
        await self._trim({entry.group for entry in subscriptions})
        return any(moved)

    async def run(self) -> None:
        """Serve until cancelled, or until the store has failed."""
        while True:
            try:
                moved = await self.serve_all()
            except (StoreFull, StoreAway):
                await asyncio.sleep(FULL_PAUSE_S)
            except StoreFailed:
                return  # the server ends by it
            else:
                if not moved:
                    await asyncio.sleep(PAUSE_S)

    async def _serve(self, entry: Entry) -> bool:
        subscription = read_affair(entry.content, Subscription)
        for turn in range(IN_A_ROW):
            found = await self._store.entry(CURSOR, entry.key)
            cursor = Cursor(subscription.begins) if found is None else read_affair(found.content, Cursor)
            waiting = await self._store.announcements(subscription.enterprise, cursor.sequence, _PAGE)
            if not waiting or self._now_ms() < cursor.next_ms:
                return turn > 0
            wanted = next((each for each in waiting if each.event in subscription.topics), None)
            if wanted is not None and self._turn is not None and not await self._turn.is_mine():
                return turn > 0
            steps = await self._attempt(entry.key, subscription, cursor, waiting, wanted)
            version = 0 if found is None else found.version
            try:
                await self._store.write((*steps[1:], _put_cursor(entry.key, steps[0], version)), AUTHOR, self._now_ms())
            except Stale:
                return turn > 0  # it was ended, or told to try at once
            if steps[0].failure:
                return turn > 0
        return True

    async def _attempt(
        self,
        key: str,
        subscription: Subscription,
        cursor: Cursor,
        waiting: Sequence[Announcement],
        wanted: Announcement | None,
    ) -> tuple[Cursor, *tuple[Step, ...]]:
        """The cursor after it, and what else is to be written."""
        if wanted is None:
            return (Cursor(waiting[-1].sequence),)
        body = announcement_body(wanted)
        await self._store.write((), AUTHOR, self._now_ms())  # who can't note a delivery makes none
        if cursor.is_down and self._now_ms() - wanted.at_ms >= self._patience_ms():
            failure = "waited as long as one that was given up"
            return Cursor(wanted.sequence, is_down=True), self._given_up(key, wanted, body, 0, failure)
        try:
            await self._post.post(subscription.url, body, self._headers(key, subscription, wanted, body))
        except NotDelivered as failure:
            attempts = cursor.attempts + 1
            if attempts >= self._settings.attempts:
                return Cursor(wanted.sequence, is_down=True), self._given_up(key, wanted, body, attempts, str(failure))
            next_ms = self._now_ms() + self._pause_ms(cursor.attempts)
            return (Cursor(cursor.sequence, attempts, next_ms, str(failure), cursor.is_down),)
        return (Cursor(wanted.sequence),)

    def _pause_ms(self, failed: int) -> int:
        """The pause after an attempt before which so many had failed."""
        return int(min(self._settings.first_pause_s * 2**failed, LONGEST_PAUSE_S) * 1000)

    def _patience_ms(self) -> int:
        """How long an announcement is tried before it is given up."""
        return sum(self._pause_ms(failed) for failed in range(self._settings.attempts - 1))

    def _headers(self, key: str, subscription: Subscription, wanted: Announcement, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": "mumian-idnode",
            "Mumian-Delivery": f"{key}-{wanted.sequence}",
            HEADER: sign(subscription.secret, body, self._now_ms() // 1000),
        }

    def _given_up(self, key: str, wanted: Announcement, body: bytes, attempts: int, failure: str) -> Step:
        given_up = Undelivered(wanted.sequence, body.decode(), attempts, failure, self._now_ms())
        return put_affair(UNDELIVERED, f"{key}/{wanted.sequence:019d}", given_up, key)

    async def _trim(self, enterprises: set[str]) -> None:
        for enterprise in sorted(enterprises):
            done: list[int] = []
            for entry in await self._store.entries(SUBSCRIPTION, enterprise, limit=_PAGE):
                found = await self._store.entry(CURSOR, entry.key)
                begins = read_affair(entry.content, Subscription).begins
                done.append(begins if found is None else read_affair(found.content, Cursor).sequence)
            oldest = await self._store.announcements(enterprise, 0, 1)
            if done and oldest and oldest[0].sequence <= min(done):
                await self._store.write((Trim(enterprise, min(done)),), AUTHOR, self._now_ms())


def announcement_body(announcement: Announcement) -> bytes:
    """What is posted: the same bytes at each attempt."""
    content = {
        "sequence": announcement.sequence,
        "enterprise": announcement.enterprise,
        "event": announcement.event,
        "identifiers": announcement.keys,
        "at": from_epoch_ms(announcement.at_ms),
        "author": announcement.author,
    }
    return msgspec.json.encode(content)


def _put_cursor(key: str, cursor: Cursor, version: int) -> Put:
    return Put(CURSOR, key, msgspec.json.encode(cursor), if_version=version, kept=False)
