"""What every request handler works with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from idnode.access import ANYBODY, BadToken, Caller, identify
from idnode.affairs import USE
from idnode.operations.meter import Meter
from idnode.operations.report import Panel
from idnode.resolver import Resolver
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
    TemplateRefused,
)
from idnode.store.business import Put
from idnode.web.problems import Problem, exists, not_found, outdated, over_quota, unauthenticated

COUNTED = "idnode.counted"
"""In the scope of a request to the application: a list of one, the prefix for which its answer counts as a resolution."""
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
    panel: Panel = field(default_factory=Panel)
    uses: dict[str, int] = field(default_factory=dict)
    """By Token.key, the hour of its last use that this process has noted."""
    noting: set[asyncio.Task[None]] = field(default_factory=set)
    """Uses that are being written."""

    @property
    def meter(self) -> Meter:
        """Counts what this process answers."""
        return self.panel.meter

    def note_use(self, caller: Caller) -> None:
        """Remember that a key was used, to the hour. Nobody waits for that: reads go on while writing is held."""
        hour = self.now_ms() // _HOUR_MS
        if caller.key and self.uses.get(caller.key) != hour:
            self.uses[caller.key] = hour
            task = asyncio.create_task(self._write_use(caller, hour))
            self.noting.add(task)
            task.add_done_callback(self.noting.discard)

    async def _write_use(self, caller: Caller, hour: int) -> None:
        put = Put(USE, caller.key, str(hour * _HOUR_MS).encode(), kept=False)
        try:
            await self.store.write((put,), caller.author, self.now_ms())
        except StoreError:
            self.uses.pop(caller.key, None)  # to be noted with a later use

    async def caller(self, authorization: str | None) -> Caller:
        """Who is asking.

        Raises:
            Problem: 401, a token that is none.
        """
        if authorization is None:
            return ANYBODY
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
        case TemplateRefused():
            errors = [("", each.reason if each.index is None else f"{each.index}: {each.reason}") for each in error.mistakes[:20]]
            return Problem(HTTPStatus.CONFLICT, str(error), "urn:mumian:problem:template-refused", errors)
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
