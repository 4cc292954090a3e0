"""What a store refuses or can't do.

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

from collections.abc import Sequence

from idnode.identifier import Identifier
from idnode.template import Mistake


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
