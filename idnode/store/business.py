"""What the node keeps of its business, durably: versioned entries, counts, and what is to be announced.

An entry is a small document of some kind under a key, listed by a group; each version has who and when, and an earlier one is
kept. What it means is decided by who writes it, but for five kinds that the store itself heeds:

| kind | key | group | for |
|---|---|---|---|
| ENTERPRISE | its id | its standing | content is an idnode.enterprise.Enterprise as JSON: its quota |
| PREFIX | an owner key (Identifier.owners()) | the enterprise that owns it | whose registrations are whose |
| SUBSCRIPTION | any | an enterprise | what changes under an enterprise with one is announced |
| DELEGATION | an owner key | an enterprise | answers that are kept depend on it |
| HANDLE_KEY | an owner key and an index | an enterprise | likewise: the handles of prefixes tell of them |

Whatever registers identifiers counts them, in the same transaction: under the owning prefix, which the quota looks at, and for
the enterprise and day. It leaves out what would be beyond the quota (Registered.OVER_QUOTA, OverQuota): exactly, also when
many register at once. Retired identifiers stay counted, those of a prefix that nobody owns aren't. What changes them is counted
likewise, by what it was; these sums only grow, so that who remembers one knows what has come since (idnode.upward).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from idnode.enterprise import Pool

ENTERPRISE = "enterprise"
PREFIX = "prefix"
SUBSCRIPTION = "subscription"
DELEGATION = "delegation"
HANDLE_KEY = "handle-key"
ANSWERS_DEPEND_ON = frozenset({ENTERPRISE, PREFIX, DELEGATION, HANDLE_KEY})
"""Kinds of which a change makes watchers forget all."""
DAY_MS = 86_400_000


class Entry(msgspec.Struct, frozen=True):
    """One version of a document."""

    kind: str
    key: str
    group: str
    version: int
    """From 1."""
    since_ms: int
    author: str
    content: bytes
    """Empty: it was taken away."""


class Put(msgspec.Struct, frozen=True, tag=True):
    """Write an entry. One that stays as it is gets no version, where versions are kept; `if_version` holds all the same."""

    kind: str
    key: str
    content: bytes
    """Empty: it is there no more, but its versions are; a later one goes on counting."""
    group: str = ""
    if_version: int | None = None
    """The version that it has to have, 0 for none: not there or taken away."""
    kept: bool = True
    """Whether the version before is kept, and one that is taken away is remembered: of marks and cursors nobody asks."""


class Count(msgspec.Struct, frozen=True, tag=True):
    """Add resolutions to a day of an enterprise."""

    enterprise: str
    day: int
    resolutions: int


class Trim(msgspec.Struct, frozen=True, tag=True):
    """Drop the announcements of an enterprise up to a sequence."""

    enterprise: str
    sequence: int


class Add(msgspec.Struct, frozen=True, tag=True):
    """Add to what is summed up under a prefix."""

    prefix: str
    what: str
    number: int


Step = Put | Count | Trim | Add


class Usage(msgspec.Struct, frozen=True):
    """What an enterprise did on a day."""

    enterprise: str
    day: int
    """Since 1970-01-01, UTC."""
    registrations: int
    resolutions: int


class Sums(msgspec.Struct, frozen=True):
    """What has happened under a prefix since the store began."""

    prefix: str
    numbers: dict[str, int]
    """registered, and what changed identifiers, as in Announcement.event, while somebody owned it; and what Add was told."""


class Announcement(msgspec.Struct, frozen=True):
    """What happened to some identifiers of an enterprise, in one commit."""

    sequence: int
    """Ascending over all enterprises; never given twice."""
    enterprise: str
    event: str
    """registered; else the state that a change brought, or changed when it brought none."""
    keys: tuple[str, ...]
    at_ms: int
    author: str


class Business(Protocol):
    """Entries, counts and announcements."""

    async def write(self, steps: Sequence[Step], author: str, at_ms: int) -> None:
        """All steps, in their order, or none of them.

        Raises:
            AlreadyThere: an entry that was to be new is there.
            Stale: an entry has another version than `if_version`.
        """

    async def entry(self, kind: str, key: str) -> Entry | None:
        """The entry as it is; None when it isn't there or was taken away."""

    async def entries(self, kind: str, group: str | None = None, after: str = "", limit: int = 100) -> list[Entry]:
        """The entries of a kind, of one group or of all, ascending by key, those beyond `after`."""

    async def entry_versions(self, kind: str, key: str, after: int = 0, limit: int = 100) -> list[Entry]:
        """The versions above `after` that were kept, ascending, also those by which it was taken away."""

    async def registered(self, prefixes: Sequence[str]) -> list[int]:
        """How many identifiers were registered under each prefix while somebody owned it."""

    async def sums(self, after: str = "", limit: int = 100) -> list[Sums]:
        """What was summed up, ascending by prefix, those beyond `after`."""

    async def usage(
        self, enterprise: str | None, first_day: int, last_day: int, after: tuple[int, str], limit: int
    ) -> list[Usage]:
        """The days of an enterprise or of all, ascending by (day, enterprise), those beyond `after`."""

    async def announcements(self, enterprise: str, after: int, limit: int) -> list[Announcement]:
        """What is to be announced, ascending by sequence, those beyond `after`."""


class Pools(Protocol):
    """Leases that end."""

    async def pool(self, lease: str) -> Pool | None:
        """What has become of a lease."""

    async def give_back(self, lease: str, suffixes: Sequence[str] | None, at_ms: int) -> Pool:
        """Make suffixes free again for later leases: these, or all; not those that are registered or were returned before.

        Raises:
            NotThere: no such lease, or a suffix isn't of it.
        """
