"""What is kept under an identifier: typed values, as in Handle, links, a state, and every version of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntFlag, StrEnum

import msgspec

from idnode.identifier import Identifier

DEFAULT_TTL_S = 86_400
MOST_VALUES = 2048
"""Values under one identifier, as Handle limits them."""


class Permission(IntFlag):
    """Who may do what with a value (Handle wire protocol, value permissions)."""

    PUBLIC_WRITE = 1
    PUBLIC_READ = 2
    ADMIN_WRITE = 4
    ADMIN_READ = 8


DEFAULT_PERMISSIONS = int(Permission.ADMIN_READ | Permission.ADMIN_WRITE | Permission.PUBLIC_READ)


class Format(StrEnum):
    """How a value's data stands in JSON (Handle.Net manual, chapter 14)."""

    STRING = "string"
    BASE64 = "base64"
    HEX = "hex"
    ADMIN = "admin"
    VLIST = "vlist"
    SITE = "site"
    KEY = "key"


TEXT_FORMATS = frozenset({Format.STRING, Format.BASE64, Format.HEX})


class State(StrEnum):
    """Where an identifier stands in its life."""

    RESERVED = "reserved"
    """Taken, and not resolvable yet."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Not resolvable for a while; the record's reason says why."""
    RETIRED = "retired"
    """A tombstone with its reason, for ever: it never changes and is never registered again."""


MOVES: Mapping[State, frozenset[State]] = {
    State.RESERVED: frozenset({State.ACTIVE, State.RETIRED}),
    State.ACTIVE: frozenset({State.SUSPENDED, State.RETIRED}),
    State.SUSPENDED: frozenset({State.ACTIVE, State.RETIRED}),
    State.RETIRED: frozenset(),
}
"""From each state to those that may follow it."""


class Data(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value's data."""

    format: Format
    value: object
    """Text for the text formats, else a JSON object or list."""


class Reference(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Another handle's value that this one refers to (Handle wire protocol, handle value)."""

    handle: str
    index: int


class HandleValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One typed value."""

    index: int
    """1 to 2147483647, once in a record; 2000 and above are a template's items."""
    type: str
    data: Data
    ttl_s: int = DEFAULT_TTL_S
    permissions: int = DEFAULT_PERMISSIONS
    timestamp_ms: int = 0
    """When this value last changed; set by the store."""
    references: tuple[Reference, ...] = ()


class Link(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where more about an identifier is found (GS1 Digital Link; RFC 9264, 4.2)."""

    relation: str
    """The link type, e.g. gs1:pip."""
    href: str
    title: str
    languages: tuple[str, ...] = ()
    """BCP 47; none where the target has no language or any."""
    media_type: str | None = None
    context: tuple[str, ...] = ()
    """For whom it is meant, in words of the enterprise's own."""


class TemplateUse(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The template by which a record is made."""

    name: str
    version: int


class Content(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one version says, without who and when."""

    values: tuple[HandleValue, ...] = ()
    """By index, ascending."""
    links: tuple[Link, ...] = ()
    template: TemplateUse | None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    """One version of what is kept under an identifier."""

    identifier: Identifier
    version: int
    """From 1."""
    values: tuple[HandleValue, ...]
    """By index, ascending."""
    since_ms: int
    """Never before the version before."""
    author: str
    """Who wrote this version: `admin`, or `<enterprise>:<label of the token>`."""
    event_id: str | None = None
    """The commissioning event that the identifier came into the world with, where there was one."""
    state: State = State.ACTIVE
    links: tuple[Link, ...] = ()
    """In the order in which they were given."""
    template: TemplateUse | None = None
    reason: str | None = None
    """Why it is in its state, where somebody said so."""


def is_deleted(record: Record) -> bool:
    """Whether a record is a Handle client's deletion: retired, with nothing left that it would mean. Handle clients find none."""
    return record.state is State.RETIRED and not record.values and not record.links


class Registration(msgspec.Struct, frozen=True, tag=True):
    """An identifier to be registered."""

    identifier: Identifier
    values: tuple[HandleValue, ...]
    links: tuple[Link, ...] = ()
    template: TemplateUse | None = None
    state: State = State.ACTIVE


class Registered(StrEnum):
    """What became of a registration."""

    CREATED = "created"
    REPEATED = "repeated"
    """It was there, and its current version says exactly this: the same registration again is no mistake."""
    DIFFERENT = "different"
    """It was there with other content or in another state, and stays as it is."""
    OVER_QUOTA = "over-quota"
    """It is not there: its enterprise has as many as it may have."""


class Change(msgspec.Struct, frozen=True):
    """What the next version of a record says otherwise; what is UNSET stays as it is."""

    values: tuple[HandleValue, ...] | msgspec.UnsetType = msgspec.UNSET
    links: tuple[Link, ...] | msgspec.UnsetType = msgspec.UNSET
    template: TemplateUse | msgspec.UnsetType | None = msgspec.UNSET
    state: State | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType | None = msgspec.UNSET
    """A move to another state without one leaves none."""


def text_value(index: int, kind: str, text: str) -> HandleValue:
    """A value that is plain text, readable by anyone who may read the record."""
    return HandleValue(index, kind, Data(Format.STRING, text))


def stamped(values: Iterable[HandleValue], before: Sequence[HandleValue], at_ms: int) -> tuple[HandleValue, ...]:
    """The values in order of index, each with the time of its last change: `at_ms`, or the earlier one when it is as it was."""
    earlier = {value.index: value for value in before}
    result = []
    for value in sorted(values, key=lambda each: each.index):
        same = earlier.get(value.index)
        kept = same is not None and msgspec.structs.replace(same, timestamp_ms=value.timestamp_ms) == value
        result.append(msgspec.structs.replace(value, timestamp_ms=same.timestamp_ms if same and kept else at_ms))
    return tuple(result)
