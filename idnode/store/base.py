"""The store contract: what the node knows, durably, and what it does all at once or not at all.

Reads answer from what is committed. A store that holds it on this machine answers within microseconds and without suspending,
so that a hot route may step such a coroutine in place; another one suspends. What changes something returns when the change
survives a power cut; concurrent changes share a commit. Nothing is overwritten: a changed record leaves its old version behind,
with who and when. Everything is keyed by identifier or by the enterprise that owns its prefix, so that a store may be spread
over machines by prefix without a transaction that spans two.

Whoever keeps answers watches: it is told what changes before who made the change, or before refresh() returns.

What it raises: idnode.store.errors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from idnode.enterprise import Enterprise, Lease, LeaseOrder, Name, Token, Visibility
from idnode.event import Capture, CaptureReport, EventQuery, StoredEvent
from idnode.identifier import Identifier
from idnode.record import Change, Record, Registered, Registration, State
from idnode.store.business import Business, Pools
from idnode.store.errors import (
    AlreadyThere,
    CommissionedTwice,
    NotThere,
    Outdated,
    OutOfStep,
    OverQuota,
    Retired,
    Stale,
    StoreAway,
    StoreBusy,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreRefused,
    TemplateFixed,
    TemplateRefused,
    WrongMove,
)
from idnode.store.jobs import PAGE, Jobs
from idnode.template import Template

__all__ = [
    "PAGE",
    "AlreadyThere",
    "CommissionedTwice",
    "Enterprises",
    "Events",
    "Forget",
    "Jobs",
    "Leases",
    "NotThere",
    "OutOfStep",
    "Outdated",
    "OverQuota",
    "Records",
    "Retired",
    "Stale",
    "Store",
    "StoreAway",
    "StoreBusy",
    "StoreError",
    "StoreFailed",
    "StoreFull",
    "StoreRefused",
    "TemplateFixed",
    "TemplateRefused",
    "Templates",
    "Tokens",
    "Watched",
    "WrongMove",
]
Forget = Callable[[Collection[str] | None], None]
"""Told the keys of identifiers that have changed, or None: anything may have. Quick, and raises nothing."""


class Enterprises(Protocol):
    """Who may register what."""

    async def add_enterprise(
        self, key: str, name: Name, visibility: Visibility, node_prefix: str, author: str, at_ms: int
    ) -> Enterprise:
        """Give a new enterprise the next free prefix below the node's: `88.100.1`, `88.100.2`, ...; none is given twice.

        Raises:
            AlreadyThere: an enterprise with that id.
        """

    async def enterprise(self, key: str) -> Enterprise | None:
        """The enterprise of that id."""

    async def enterprise_of(self, prefix: str) -> Enterprise | None:
        """The enterprise that owns a prefix, given in upper case."""

    async def enterprises(self) -> list[Enterprise]:
        """All, ascending by id."""


class Tokens(Protocol):
    """Who is who."""

    async def add_token(self, token: Token, author: str, at_ms: int) -> None:
        """Make a token known, of an enterprise or of the node itself.

        Raises:
            NotThere: no such enterprise.
            AlreadyThere: a token of that enterprise with that label, not revoked.
        """

    async def revoke_token(self, enterprise: str, label: str, at_ms: int, author: str = "admin") -> None:
        """End a token; its label is free again.

        Raises:
            NotThere: no such token.
        """

    async def token(self, digest: bytes) -> Token | None:
        """The token with that digest, unless it is revoked; also one that has expired."""


class Records(Protocol):
    """What is kept under identifiers."""

    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[Registered]:
        """Register identifiers, each by itself; one that is there stays, one beyond its quota is left out. By the thousand."""

    async def change(
        self, identifier: Identifier, change: Change, author: str, at_ms: int, if_version: int | None = None
    ) -> Record:
        """Put a new version in place; none when nothing differs. A value that doesn't change keeps its timestamp.

        Raises:
            NotThere
            Retired: it is, and the change would make it otherwise.
            Outdated: it hasn't `if_version`.
            WrongMove: the state doesn't follow the one that it has (idnode.record.MOVES).
        """

    async def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        """The record as it is, or as it was at that moment; in whatever state."""

    async def versions(self, identifier: Identifier, after: int = 0, limit: int = PAGE) -> list[Record]:
        """The versions above `after`, ascending."""

    async def records(
        self, owner: str, after_key: str = "", limit: int = PAGE, states: Collection[State] | None = None
    ) -> list[Record]:
        """The records under a prefix, ascending by key, those with a higher key than `after_key`; of those states only.

        The prefix is the longest one of Identifier.owners() that an enterprise owned when the identifier was registered, the
        shortest where nobody did.
        """


class Templates(Protocol):
    """What records are made by. `owner`: the prefix, one of Identifier.owners(), whose identifiers they are for."""

    async def put_template(self, draft: Template, author: str, at_ms: int) -> Template:
        """Keep a version as a draft, in the place of an earlier one. Drafts alone are overwritten, and may be wrong.

        Raises:
            TemplateFixed: it is no draft any more.
        """

    async def publish_template(self, owner: str, name: str, version: int, author: str, at_ms: int) -> Template:
        """Make a draft what it is for ever (idnode.template_rules.published).

        Raises:
            NotThere
            TemplateRefused: it is no draft, is wrong, or contradicts the version before.
        """

    async def withdraw_template(self, owner: str, name: str, version: int, author: str, at_ms: int) -> Template:
        """End the use of a published version; records that are made by it stay.

        Raises:
            NotThere
            TemplateRefused: it isn't published.
        """

    async def disable_item(self, owner: str, name: str, index: int, author: str, at_ms: int) -> Template:
        """Disable an item of the newest version: in it where it is a draft, else in a draft of the next.

        Raises:
            NotThere: no template of that name.
            TemplateRefused: no item begins there, or it is disabled already.
        """

    async def template(self, owner: str, name: str, version: int) -> Template | None:
        """One version."""

    async def templates(self, owner: str) -> list[Template]:
        """All versions of all of an owner's templates, by name and version."""


class Watched(Protocol):
    """For those who keep answers."""

    def watch(self, forget: Forget) -> None:
        """Tell `forget` of every change from now on; also of new identifiers, since somebody may have kept that there is none."""

    def refresh(self) -> None:
        """Tell of what other processes have changed. Takes microseconds; called before each answer that was kept.

        Raises:
            StoreFailed
        """


class Leases(Protocol):
    """Suffixes for those who must name things while nobody answers."""

    async def lease(self, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
        """Give away `order.count` suffixes that are in no lease and under no registered identifier.

        Returns:
            The lease, and whether it is new; an order with the key and token of an earlier one gets the earlier lease.

        Raises:
            AlreadyThere: that key and token ordered under another prefix.
        """


class Events(Protocol):
    """The trace of every product."""

    async def capture(self, capture: Capture) -> CaptureReport:
        """Store the events of a document with their links, register what they commission, keep the report: all at once.

        An event whose digest is there already is counted as repeated. An identifier that is registered without a commissioning
        event keeps its values and its state and gets this event as its own. Under `proceed` an event that can't be stored is
        left out and the report says so; under `rollback` it is raised and nothing at all is kept.

        Raises:
            CommissionedTwice: an identifier has another commissioning event.
            Retired: an identifier is.
            OverQuota: an identifier is one too many for the enterprise that owns its prefix.
            AlreadyThere: another event bears that id.
        """

    async def event(self, key: str) -> StoredEvent | None:
        """The event with that eventID."""

    async def events(self, query: EventQuery) -> list[StoredEvent]:
        """The events that match, ascending by sequence."""

    async def capture_report(self, key: str) -> CaptureReport | None:
        """The report of a capture."""


class Store(Enterprises, Tokens, Records, Templates, Jobs, Watched, Leases, Pools, Events, Business, Protocol):
    """All of it. One process owns a store; it is used from one event loop."""

    async def wait_failure(self) -> StoreFailed:
        """Return the failure after which nothing more is accepted; waits for ever while there is none."""

    async def close(self) -> None:
        """Commit what waits and give the file up. Safe twice."""
