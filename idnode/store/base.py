"""The store contract: what the node knows, durably, and what it does all at once or not at all.

Reads answer from what is committed. A store that holds it on this machine answers within microseconds and without suspending,
so that a hot route may step such a coroutine in place; another one suspends. What changes something returns when the change
survives a power cut; concurrent changes share a commit. Nothing is overwritten: a changed record leaves its old version behind,
with who and when. Everything is keyed by identifier or by the enterprise that owns its prefix, so that a store may be spread
over machines by prefix without a transaction that spans two.

Whoever keeps answers watches: it is told what changes before who made the change, or before refresh() returns.

StoreError
├── StoreBusy           another process owns the file: exit, code 3
├── StoreFull           no space: nothing was changed; the same call may succeed later
├── StoreAway           a database can't be reached: what was asked for may be done or not; the same call may succeed later
├── StoreFailed         the disk reported an error, or what is on it can't be read: nothing more is accepted; exit, code 4
└── StoreRefused        what was asked doesn't fit what is stored; nothing was changed
    ├── AlreadyThere
    ├── NotThere
    ├── Outdated        somebody else changed it meanwhile: read it again
    ├── WrongMove       from its state it can't go there
    ├── Retired         it is for ever what it is
    ├── TemplateFixed   a version that is no draft any more
    ├── TemplateRefused `mistakes` says why it can't become what was asked
    ├── Stale           an entry was changed meanwhile: read it again
    ├── OverQuota       an enterprise has as many identifiers as it may have
    ├── OutOfStep       a piece of a job that leaves rows out: send from `rows` on
    └── CommissionedTwice
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from idnode.enterprise import Enterprise, Lease, LeaseOrder, Name, Token, Visibility
from idnode.event import Capture, CaptureReport, EventQuery, StoredEvent
from idnode.identifier import Identifier
from idnode.job import Advance, Finding, Job, Row
from idnode.record import Change, Record, Registered, Registration, State
from idnode.store.business import Business, Pools
from idnode.template import Mistake, Template

Forget = Callable[[Collection[str] | None], None]
"""Told the keys of identifiers that have changed, or None: anything may have. Quick, and raises nothing."""
PAGE = 100
"""Records or versions on a page, unless another limit is asked for."""


class StoreError(Exception):
    """The root; only its subclasses are raised."""


class StoreBusy(StoreError):
    """Another process owns the file."""


class StoreFull(StoreError):
    """No space left."""


class StoreAway(StoreError):
    """The database can't be reached now. A change may have been made or not; asked again, what is idempotent tells."""


class StoreFailed(StoreError):
    """The disk failed, or its content can't be used. What was acknowledged before is as safe as the disk."""


class StoreRefused(StoreError):
    """The request contradicts what is stored."""


class AlreadyThere(StoreRefused):
    """An enterprise, a token's label or an event's id that is taken."""


class NotThere(StoreRefused):
    """An enterprise, a token, an identifier or a job that doesn't exist."""


class Outdated(StoreRefused):
    """The record has another version than the one that was to be changed."""

    def __init__(self, identifier: Identifier, version: int) -> None:
        super().__init__(f"{identifier} has version {version}")
        self.version = version
        """The one that it has."""


class Stale(StoreRefused):
    """An entry that has another version than the one that was to be changed."""


class OverQuota(StoreRefused):
    """More identifiers than the enterprise may have."""


class WrongMove(StoreRefused):
    """A state that can't follow the one in which an identifier is."""


class Retired(StoreRefused):
    """A retired identifier: it doesn't change and comes into no world again."""


class TemplateFixed(StoreRefused):
    """A version of a template that is published or withdrawn: it never changes."""


class TemplateRefused(StoreRefused):
    """A template that can't become what was asked."""

    def __init__(self, mistakes: Sequence[Mistake], detail: str) -> None:
        super().__init__(detail)
        self.mistakes = tuple(mistakes)


class OutOfStep(StoreRefused):
    """Rows of a job that don't follow those that are done, or rows for one that is finished."""

    def __init__(self, detail: str, rows: int) -> None:
        super().__init__(detail)
        self.rows = rows
        """How many are done."""


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


class Jobs(Protocol):
    """Registrations by the million, in pieces, each of which is done or not as a whole."""

    async def begin_job(self, key: str, owner: str, author: str, at_ms: int) -> Job:
        """A new job, or the one of that key as far as it has come.

        Raises:
            AlreadyThere: that key is another owner's.
        """

    async def advance_job(self, key: str, first_row: int, rows: Sequence[Row], at_ms: int) -> Advance:
        """Register the rows that are not done yet, and remember that they are, all at once.

        Raises:
            NotThere
            OutOfStep: `first_row` is beyond Job.rows, or the job is finished and rows are left to do.
        """

    async def finish_job(self, key: str, at_ms: int) -> Job:
        """No more rows come. Safe twice.

        Raises:
            NotThere
        """

    async def job(self, key: str) -> Job | None:
        """How far a job has come."""

    async def findings(self, key: str, after: int = -1, limit: int = PAGE) -> list[Finding]:
        """The rows of a job that were not taken, ascending, those after row `after`; the first MOST_FINDINGS of them."""


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
