"""What the node keeps of its business besides enterprises and keys, as entries' contents."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import msgspec

from idnode.enterprise import Contact, Name
from idnode.store.business import Put

APPLICATION = "application"
"""By a key that only the applicant knows; listed by decision."""
USE = "use"
"""By Token.key, when it was last used, to the hour."""
IDEMPOTENCY = "idempotency"
"""By a digest of who, what and the client's key; listed by day."""
CURSOR = "cursor"
"""By subscription, how far its deliveries have come."""
UNDELIVERED = "undelivered"
"""By subscription and sequence, an announcement that was given up; listed by subscription."""
CATEGORY = "template-category"
"""By owner and name of a template, in which industry it is, as SNMS asks."""

S = TypeVar("S", bound=msgspec.Struct)


class Decision(StrEnum):
    """What was decided on an application."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"


class Application(msgspec.Struct, frozen=True):
    """A request to become an enterprise of the node."""

    enterprise: str
    """The id that is wanted; it is taken with the approval only."""
    name: Name
    contacts: tuple[Contact, ...]
    public: bool
    decision: Decision = Decision.PENDING
    reason: str = ""


class Ownership(msgspec.Struct, frozen=True):
    """The content of a prefix's entry, whose group is its owner."""

    reason: str = ""
    """Why it was granted or transferred, where somebody said so."""


class Mode(StrEnum):
    """What becomes of questions for a delegated prefix."""

    REFERRAL = "referral"
    """Whoever asks is sent there."""
    PROXY = "proxy"
    """The node asks there, and keeps the answer."""


class Delegation(msgspec.Struct, frozen=True):
    """A prefix whose identifiers live on the enterprise's own node (idnode.upstream)."""

    mode: Mode
    address: str
    """What stands before /api/handles/ there, or handle://192.0.2.7:2641 for the Handle wire protocol."""
    ttl_s: int = 3600
    """For how long an answer that was fetched may be kept."""
    site: str = ""
    """IP address and port at which it speaks the wire protocol, where `address` doesn't say: who asks by it is referred there."""


class Category(msgspec.Struct, frozen=True):
    """What SNMS knows of a template beside its items."""

    industry: tuple[str, str, str, str] = ("", "", "", "")
    """By GB/T 4754: 门类, 大类, 中类, 小类."""
    type: int = 2
    """1: an active carrier (主动标识载体); 2: others."""


class Topic(StrEnum):
    """What can be announced."""

    REGISTERED = "registered"
    CHANGED = "changed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"


class Subscription(msgspec.Struct, frozen=True):
    """Where announcements go."""

    enterprise: str
    url: str
    topics: tuple[Topic, ...]
    secret: str
    """Key of the signatures; kept in clear, since it signs."""
    begins: int = 0
    """The sequence after which it begins."""


class Cursor(msgspec.Struct, frozen=True):
    """How far a subscription's deliveries have come."""

    sequence: int
    """Everything up to here was delivered, given up, or not wanted."""
    attempts: int = 0
    """That failed, of the next one."""
    next_ms: int = 0
    """Not before."""
    failure: str = ""
    """Why the last attempt failed; empty when it didn't."""
    is_down: bool = False
    """The one before was given up: what has waited as long as that one did gets no attempts of its own."""


class Undelivered(msgspec.Struct, frozen=True):
    """An announcement that was given up, with what it would have said."""

    sequence: int
    body: str
    attempts: int
    failure: str
    at_ms: int


def put_affair(kind: str, key: str, content: msgspec.Struct, group: str = "", if_version: int | None = None) -> Put:
    """The step that writes one, its versions kept."""
    return Put(kind, key, msgspec.json.encode(content), group, if_version)


def read_affair(content: bytes, kind: type[S]) -> S:
    """One as its entry has it."""
    return msgspec.json.decode(content, type=kind)
