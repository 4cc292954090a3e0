"""Captured events as the store keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from idnode.record import Registration


class Role(StrEnum):
    """What an object is to an event: the edges of every genealogy."""

    EPC = "epc"
    PARENT = "parent"
    CHILD = "child"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Link:
    """An object that an event names."""

    epc: str
    """Its canonical URI (idnode.capture.canonical_epc), of an instance or a class."""
    role: Role


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that was found good and is to be stored."""

    id: str
    """Its eventID: the event hash unless it came with a name of another form."""
    digest: bytes
    """SHA-256 of its canonical string, 32 bytes: what makes it the same event."""
    content: bytes
    """The event, JSON, with eventID and with its own @context where it needs one."""
    event_time_ms: int
    links: tuple[Link, ...]
    registrations: tuple[Registration, ...]
    """The identifiers that it brings into the world (action ADD, business step commissioning)."""
    place: int
    """Its place in the captured document's eventList."""


class ErrorBehaviour(StrEnum):
    """What one bad event does to the others of its document (GS1-Capture-Error-Behaviour)."""

    ROLLBACK = "rollback"
    PROCEED = "proceed"


@dataclass(frozen=True, slots=True)
class CaptureError:
    """Why an event of a captured document wasn't stored."""

    pointer: str
    type: str
    detail: str


@dataclass(frozen=True, slots=True)
class Capture:
    """A document to be captured."""

    id: str
    enterprise: str
    author: str
    behaviour: ErrorBehaviour
    events: tuple[NewEvent, ...]
    errors: tuple[CaptureError, ...]
    """Of events that aren't among `events` because something is wrong with them."""
    at_ms: int


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """What became of a captured document."""

    id: str
    enterprise: str
    created_ms: int
    finished_ms: int
    behaviour: ErrorBehaviour
    errors: tuple[CaptureError, ...]
    stored: int
    """Events that were new."""
    repeated: int
    """Events that were there already."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it is read."""

    sequence: int
    """Ascends in the order of capture."""
    id: str
    enterprise: str
    content: bytes
    recorded_ms: int


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events are wanted, in the order of capture."""

    epc: str | None = None
    """Those that name this canonical URI."""
    roles: frozenset[Role] = frozenset(Role)
    """As what they must name it."""
    hidden: frozenset[str] = frozenset()
    """Not those of these enterprises."""
    after: int = 0
    """Only those with a higher sequence."""
    limit: int = 30
