"""The store contract: what the node knows, durably, and what it does all at once or not at all.

Reads answer from what is committed. A store that holds it on this machine answers within microseconds and without suspending,
so that a hot route may step such a coroutine in place; another one suspends. What changes something returns when the change
survives a power cut; concurrent changes share a commit. Nothing is
overwritten: a changed record leaves its old version behind, with who and when. Everything is keyed by identifier or
by the enterprise that owns its prefix, so that a store may be spread over machines by prefix without a transaction
that spans two.

StoreError
├── StoreBusy           another process owns the file: exit, code 3
├── StoreFull           no space: nothing was changed; the same call may succeed later
├── StoreFailed         the disk reported an error, or what is on it can't be read: nothing more is accepted; exit, code 4
└── StoreRefused        what was asked doesn't fit what is stored; nothing was changed
    ├── AlreadyThere
    ├── NotThere
    └── CommissionedTwice
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from idnode.enterprise import Enterprise, Lease, LeaseOrder, Name, Token, Visibility
from idnode.event import Capture, CaptureReport, EventQuery, StoredEvent
from idnode.identifier import Identifier
from idnode.record import HandleValue, Record, Registration


class StoreError(Exception):
    """The root; raised only through its subclasses."""


class StoreBusy(StoreError):
    """Another process owns the file."""


class StoreFull(StoreError):
    """No space left."""


class StoreFailed(StoreError):
    """The disk failed, or its content can't be used. What was acknowledged before is as safe as the disk."""


class StoreRefused(StoreError):
    """The request contradicts what is stored."""


class AlreadyThere(StoreRefused):
    """An enterprise, a token's label or an event's id that is taken."""


class NotThere(StoreRefused):
    """An enterprise, a token or an identifier that doesn't exist."""


class CommissionedTwice(StoreRefused):
    """An identifier that came into the world by one event is claimed by another."""

    def __init__(self, identifier: Identifier, place: int) -> None:
        super().__init__(f"{identifier} was commissioned by another event")
        self.identifier = identifier
        self.place = place
        """Of the refused event in its document."""


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
        """All, in the order in which they came."""


class Tokens(Protocol):
    """Who is who."""

    async def add_token(self, token: Token, author: str, at_ms: int) -> None:
        """Make a token known.

        Raises:
            NotThere: no such enterprise.
            AlreadyThere: a token of that enterprise with that label, not revoked.
        """

    async def revoke_token(self, enterprise: str, label: str, at_ms: int) -> None:
        """End a token; its label is free again.

        Raises:
            NotThere: no such token.
        """

    async def token(self, digest: bytes) -> Token | None:
        """The token with that digest, unless it is revoked."""


class Records(Protocol):
    """What is kept under identifiers."""

    async def register(self, registrations: Sequence[Registration], author: str, at_ms: int) -> list[bool]:
        """Register identifiers, each by itself: True where it is new, False where it was there and stays as it is."""

    async def replace(self, identifier: Identifier, values: Sequence[HandleValue], author: str, at_ms: int) -> Record:
        """Put a new version in place; a value that doesn't change keeps its timestamp.

        Raises:
            NotThere
        """

    async def record(self, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
        """The record as it is, or as it was at that moment."""

    async def versions(self, identifier: Identifier) -> list[Record]:
        """Every version, the first first."""


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
        event keeps its values and gets this event as its own. Under `proceed` an event that can't be stored is left out and the
        report says so; under `rollback` it is raised and nothing at all is kept.

        Raises:
            CommissionedTwice: an identifier has another commissioning event.
            AlreadyThere: another event bears that id.
        """

    async def event(self, key: str) -> StoredEvent | None:
        """The event with that eventID."""

    async def events(self, query: EventQuery) -> list[StoredEvent]:
        """The events that match, ascending by sequence."""

    async def capture_report(self, key: str) -> CaptureReport | None:
        """The report of a capture."""


class Store(Enterprises, Tokens, Records, Leases, Events, Protocol):
    """All of it. One process owns a store; it is used from one event loop."""

    async def wait_failure(self) -> StoreFailed:
        """Return the failure after which nothing more is accepted; waits for ever while there is none."""

    async def close(self) -> None:
        """Commit what waits and give the file up. Safe twice."""
