"""What every request handler works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from idnode.access import BadToken, Caller, identify
from idnode.operations.meter import Meter
from idnode.operations.report import Panel
from idnode.resolver import Resolver
from idnode.settings import IdnodeSettings
from idnode.store.base import (
    CommissionedTwice,
    NotThere,
    Store,
    StoreError,
    StoreFull,
    StoreRefused,
    TemplateRefused,
)
from idnode.web.problems import Problem, exists, not_found, unauthenticated


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

    @property
    def meter(self) -> Meter:
        """Counts what this process answers."""
        return self.panel.meter

    async def caller(self, authorization: str | None) -> Caller:
        """Who is asking.

        Raises:
            Problem: 401, a token that is none.
        """
        try:
            return await identify(authorization, self.store, self.admin)
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
        case StoreRefused():
            return exists(str(error))
        case StoreFull():
            detail = "the node's disk is full; nothing of this was stored"
            return Problem(HTTPStatus.INSUFFICIENT_STORAGE, detail, headers={"Retry-After": "30"})
        case _:
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the node can't reach its storage", headers={"Retry-After": "30"})
