"""Whose turn it is to announce, or to report upward, where several nodes share one store: one at a time, whoever is up."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import msgspec

from idnode.store.base import AlreadyThere, Stale
from idnode.store.business import Business, Put

TURN = "turn"
"""The kind of the entries, one for ANNOUNCING and one for REPORTING; the content is a _Turn."""
ANNOUNCING = "announcing"
REPORTING = "reporting"
LASTS_MS = 150_000
"""A node that dies is missed for so long. Half of it is longer than any attempt takes (webhooks.timeout_s)."""
_AUTHOR = "node"


class _Turn(msgspec.Struct):
    node: str
    until_ms: int


class Turn:
    """A node's. Nothing is written while there is nothing to announce."""

    def __init__(self, store: Business, now_ms: Callable[[], int], what: str = ANNOUNCING) -> None:
        self._store = store
        self._what = what
        self._now_ms = now_ms
        self._node = uuid.uuid4().hex
        self._asking = asyncio.Lock()

    async def is_mine(self) -> bool:
        """Whether it is this node's for the next LASTS_MS / 2 at least; it is taken when it is nobody's.

        Raises:
            StoreFull, StoreAway, StoreFailed: it can't be taken, or nothing can be written.
        """
        async with self._asking:
            return await self._take()

    async def _take(self) -> bool:
        now_ms = self._now_ms()
        found = await self._store.entry(TURN, self._what)
        turn = None if found is None else msgspec.json.decode(found.content, type=_Turn)
        if turn is not None and turn.node != self._node and now_ms < turn.until_ms:
            return False
        if turn is not None and turn.node == self._node and now_ms < turn.until_ms - LASTS_MS // 2:
            return True
        return await self._put(0 if found is None else found.version, now_ms + LASTS_MS)

    async def give_up(self) -> None:
        """Let another one have it now.

        Raises:
            StoreFull, StoreAway, StoreFailed
        """
        found = await self._store.entry(TURN, self._what)
        if found is not None and msgspec.json.decode(found.content, type=_Turn).node == self._node:
            await self._put(found.version, 0)

    async def _put(self, version: int, until_ms: int) -> bool:
        content = msgspec.json.encode(_Turn(self._node, until_ms))
        try:
            await self._store.write((Put(TURN, self._what, content, if_version=version, kept=False),), _AUTHOR, self._now_ms())
        except (Stale, AlreadyThere):
            return False  # another one was quicker
        return True
