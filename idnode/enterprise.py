"""Enterprises, their tokens, and the blocks of identifiers that they lease."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Visibility(StrEnum):
    """Whether anyone may read what an enterprise has registered."""

    PUBLIC = "public"
    RESTRICTED = "restricted"


@dataclass(frozen=True, slots=True)
class Name:
    """A name in the two languages of the pages."""

    zh: str
    en: str

    def in_language(self, language: str) -> str:
        """The name in `language`, zh or en."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Enterprise:
    """A member of the node, owner of one prefix."""

    id: str
    name: Name
    prefix: str
    visibility: Visibility


class Role(StrEnum):
    """What a token entitles to, always within its own enterprise."""

    GATEWAY = "gateway"
    """Lease, capture and register."""
    REGISTRAR = "registrar"
    """Register."""
    READER = "reader"
    """Read what isn't public."""


@dataclass(frozen=True, slots=True)
class Token:
    """A secret as the node knows it: not the secret."""

    digest: bytes
    """SHA-256 of the secret, 32 bytes."""
    enterprise: str
    label: str
    role: Role


@dataclass(frozen=True, slots=True)
class LeaseOrder:
    """A request for suffixes that nobody else has or will get."""

    prefix: str
    count: int
    holder: str
    token: bytes
    """Digest of the token that asks."""
    key: str
    """Idempotency key: the same key of the same token is the same lease."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A block of suffixes, given away for good."""

    id: str
    prefix: str
    holder: str
    suffixes: tuple[str, ...]
