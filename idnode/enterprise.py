"""Enterprises and their life, their keys, and the blocks of identifiers that they lease."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Visibility(StrEnum):
    """Whether anyone may read what an enterprise has registered."""

    PUBLIC = "public"
    RESTRICTED = "restricted"


class Standing(StrEnum):
    """Where an enterprise stands in its life."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    """For a while: nothing of it resolves but for itself and the node, nothing is registered; its notice says why."""
    CLOSED = "closed"
    """For ever: its keys are void and nothing is registered; what it registered goes on resolving."""


STANDING_MOVES: Mapping[Standing, frozenset[Standing]] = {
    Standing.ACTIVE: frozenset({Standing.SUSPENDED, Standing.CLOSED}),
    Standing.SUSPENDED: frozenset({Standing.ACTIVE, Standing.CLOSED}),
    Standing.CLOSED: frozenset(),
}
"""From each standing to those that may follow it."""


class Name(msgspec.Struct, frozen=True):
    """A name in the two languages of the pages."""

    zh: str
    en: str

    def in_language(self, language: str) -> str:
        """The name in `language`, zh or en."""
        return self.zh if language == "zh" else self.en


class Contact(msgspec.Struct, frozen=True):
    """Whom to ask."""

    name: str
    email: str
    phone: str = ""


class Enterprise(msgspec.Struct, frozen=True):
    """A member of the node."""

    id: str
    name: Name
    prefix: str
    """The first of those that it owns; empty when it owns none."""
    visibility: Visibility
    standing: Standing = Standing.ACTIVE
    notice: str = ""
    """Why it is suspended or closed; shown to whoever asks for its identifiers."""
    contacts: tuple[Contact, ...] = ()
    quota: int | None = None
    """The most identifiers that may be registered under its prefixes, retired ones counted; None: as many as it likes."""
    expires_ms: int | None = None
    """From when on nothing more is registered; what is registered goes on resolving."""

    def bar(self, now_ms: int) -> str:
        """Why nothing may be registered or changed now; empty when it may."""
        if self.standing is not Standing.ACTIVE:
            return f"the enterprise {self.id} is {self.standing}" + (f": {self.notice}" if self.notice else "")
        if self.expires_ms is not None and now_ms >= self.expires_ms:
            return f"the enterprise {self.id} has expired"
        return ""


class Role(StrEnum):
    """What a key entitles to: of the node (the first three), or within its own enterprise."""

    ADMIN = "admin"
    """Everything."""
    REVIEWER = "reviewer"
    """Read what there is of enterprises and applications, and decide on applications."""
    AUDITOR = "auditor"
    """Read everything, change nothing."""
    OWNER = "owner"
    """All that concerns the own enterprise: its keys, subscriptions, delegations, registrations."""
    GATEWAY = "gateway"
    """Lease, capture and register."""
    REGISTRAR = "registrar"
    """Register."""
    READER = "reader"
    """Read what isn't public."""


NODE_ROLES = frozenset({Role.ADMIN, Role.REVIEWER, Role.AUDITOR})
"""Of keys that belong to no enterprise."""
NODE = ""
"""In the place of the enterprise of such a key."""


class Token(msgspec.Struct, frozen=True):
    """An API key as the node knows it: not its secret."""

    digest: bytes
    """SHA-256 of the secret, 32 bytes."""
    enterprise: str
    """NODE for a key of the node itself."""
    label: str
    role: Role
    expires_ms: int | None = None
    revoked_ms: int | None = None

    @property
    def key(self) -> str:
        """Under which it is kept."""
        return f"{self.enterprise}/{self.label}"


class LeaseOrder(msgspec.Struct, frozen=True):
    """A request for suffixes that nobody else has or will get."""

    prefix: str
    count: int
    holder: str
    token: bytes
    """Digest of the token that asks."""
    key: str
    """Idempotency key: the same key of the same token is the same lease."""
    expires_ms: int | None = None


class Lease(msgspec.Struct, frozen=True):
    """A block of suffixes, given away."""

    id: str
    prefix: str
    holder: str
    suffixes: tuple[str, ...]
    expires_ms: int | None = None
    """From when on its holder takes no more of them; they come free by being returned (Pools.give_back)."""


class Pool(msgspec.Struct, frozen=True):
    """What has become of a lease. Each of its suffixes is in exactly one of the three."""

    lease: Lease
    registered: tuple[str, ...]
    returned: tuple[str, ...]
    """Free, or leased to somebody else since."""
    outstanding: tuple[str, ...]
