"""What every request handler works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from idnode.access import BadToken, Caller, identify
from idnode.affairs import USE
from idnode.resolutions import Resolutions
from idnode.resolver import Resolution, Resolver, Verdict
from idnode.settings import IdnodeSettings
from idnode.store.base import (
    CommissionedTwice,
    NotThere,
    Outdated,
    OverQuota,
    Stale,
    Store,
    StoreError,
    StoreFull,
    StoreRefused,
)
from idnode.store.business import Put
from idnode.web.problems import Problem, exists, not_found, outdated, over_quota, unauthenticated

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Node:
    """One running node."""

    settings: IdnodeSettings
    store: Store
    resolver: Resolver
    admin: bytes
    """Digest of the administrator's token."""
    now_ms: Callable[[], int]
    """The clock: milliseconds since the epoch, UTC."""

    uses: dict[str, int] = field(default_factory=dict)
    """By Token.key, the hour of its last use that this process has noted."""

    resolutions: Resolutions = field(default_factory=Resolutions)

    def count(self, resolution: Resolution) -> None:
        """Count a resolution that is answered, for the usage of whose it is."""
        if resolution.verdict is Verdict.FOUND and resolution.enterprise is not None:
            self.resolutions.add(resolution.enterprise.id, self.now_ms())

    async def note_use(self, caller: Caller) -> None:
        """Remember that a key was used, to the hour."""
        hour = self.now_ms() // _HOUR_MS
        if caller.key and self.uses.get(caller.key) != hour:
            self.uses[caller.key] = hour
            put = Put(USE, caller.key, str(hour * _HOUR_MS).encode(), kept=False)
            try:
                await self.store.write((put,), caller.author, self.now_ms())
            except StoreFull:
                del self.uses[caller.key]  # to be noted with a later use: reading needs no room

    async def caller(self, authorization: str | None) -> Caller:
        """Who is asking.

        Raises:
            Problem: 401, a token that is none.
        """
        try:
            return await identify(authorization, self.store, self.admin, self.now_ms())
        except BadToken:
            raise unauthenticated() from None


def store_problem(error: StoreError) -> Problem:
    """How a store's refusal or failure is answered."""
    match error:
        case CommissionedTwice():
            pointer = f"/epcisBody/eventList/{error.place}"
            return Problem(HTTPStatus.CONFLICT, str(error), "urn:mumian:problem:commissioned-twice", [(pointer, str(error))])
        case NotThere():
            return not_found(str(error))
        case OverQuota():
            return over_quota(str(error))
        case Outdated() | Stale():
            return outdated(str(error))
        case StoreRefused():
            return exists(str(error))
        case StoreFull():
            detail = "the node's disk is full; nothing of this was stored"
            return Problem(HTTPStatus.INSUFFICIENT_STORAGE, detail, headers={"Retry-After": "30"})
        case _:
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the node can't reach its storage", headers={"Retry-After": "30"})
