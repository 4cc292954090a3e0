"""Sessions of the Handle HTTP API: a challenge that needs no memory, and who has answered it, for all workers of a node.

A session's id says when it began and bears a code by which any worker knows it for the node's; its nonce follows from it. That
somebody has proven who they are is an entry of the store under the id's digest, since the id is a secret. No cookie is given: a
page of another site can't make a browser use a session.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256

import msgspec

from idnode.record import Reference
from idnode.store.base import Store
from idnode.store.business import DAY_MS, Entry, Put, Step

SESSION = "handle-session"
"""A kind of entry: by the digest of a session's id, who has proven to be whom; listed by day."""
LASTS_MS = 12 * 3_600_000
ANSWERED_WITHIN_MS = 300_000
"""A challenge, from its session's begin."""
_RANDOM, _CODE = 16, 16
_AUTHOR = "node"
_SWEPT_DAYS = 7
_SWEPT_AT_ONCE = 10


class Session(msgspec.Struct, frozen=True):
    """One that this node gave."""

    id: str
    nonce: bytes
    began_ms: int


class Sessions:
    """Of one node."""

    def __init__(self, store: Store, secret: bytes, now_ms: Callable[[], int]) -> None:
        """
        Args:
            secret: known to all processes of the node, and to nobody else.
            now_ms: the clock, UTC.
        """
        self._store = store
        self._key = hmac.digest(secret, b"sessions of the Handle HTTP API", "sha256")
        self._now_ms = now_ms

    def begin(self) -> Session:
        """A new one, of nobody yet."""
        return self._made(self._now_ms(), secrets.token_bytes(_RANDOM))

    def find(self, session_id: str) -> Session | None:
        """The session of that id; None where this node didn't give it, or it has ended by age."""
        try:
            told = base64.urlsafe_b64decode(session_id.encode("ascii"))
        except ValueError:
            return None
        if len(told) != 8 + _RANDOM + _CODE:
            return None
        began_ms = int.from_bytes(told[:8])
        if not 0 <= self._now_ms() - began_ms < LASTS_MS:
            return None
        made = self._made(began_ms, told[8 : 8 + _RANDOM])
        return made if hmac.compare_digest(made.id, session_id) else None

    def may_answer(self, session: Session) -> bool:
        """Whether its challenge is young enough to be answered."""
        return self._now_ms() - session.began_ms < ANSWERED_WITHIN_MS

    async def identity(self, session: Session) -> Reference | None:
        """Who has answered its challenge; None where nobody has, or it was ended."""
        entry = await self._store.entry(SESSION, _key_of(session))
        return None if entry is None else msgspec.json.decode(entry.content, type=Reference)

    async def keep(self, session: Session, identity: Reference) -> None:
        """Remember who has answered its challenge; also forgets some that are over."""
        day = session.began_ms // DAY_MS
        steps: list[Step] = [Put(SESSION, _key_of(session), msgspec.json.encode(identity), str(day), kept=False)]
        for old in range(day - _SWEPT_DAYS, day - 1):
            found: list[Entry] = await self._store.entries(SESSION, str(old), limit=_SWEPT_AT_ONCE)
            steps += [Put(SESSION, each.key, b"", each.group, kept=False) for each in found]
        await self._store.write(steps, _AUTHOR, self._now_ms())

    async def end(self, session: Session) -> None:
        """Forget who has answered it; its challenge may be answered anew while it is young."""
        day = str(session.began_ms // DAY_MS)
        await self._store.write((Put(SESSION, _key_of(session), b"", day, kept=False),), _AUTHOR, self._now_ms())

    def _made(self, began_ms: int, random: bytes) -> Session:
        told = began_ms.to_bytes(8) + random
        code = hmac.digest(self._key, b"id" + told, "sha256")[:_CODE]
        nonce = hmac.digest(self._key, b"nonce" + told, "sha256")[:_RANDOM]
        return Session(base64.urlsafe_b64encode(told + code).decode(), nonce, began_ms)


def _key_of(session: Session) -> str:
    return sha256(session.id.encode()).hexdigest()
