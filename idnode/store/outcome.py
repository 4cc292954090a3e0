"""What every store decides alike: versions, lease ids and suffixes, and why an event was left out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import msgspec

from idnode.enterprise import LeaseOrder
from idnode.event import CaptureError
from idnode.identifier import Identifier
from idnode.job import Job, Row
from idnode.record import MOVES, Change, Record, Registered, Registration, State, stamped
from idnode.store.base import (
    CommissionedTwice,
    Outdated,
    OutOfStep,
    Retired,
    StoreRefused,
    TemplateRefused,
    WrongMove,
)
from idnode.template import WrongTemplate

_KINDS: dict[type[StoreRefused], str] = {
    CommissionedTwice: "urn:mumian:problem:commissioned-twice",
    Retired: "urn:mumian:problem:retired",
}


def first_version(new: Registration, author: str, at_ms: int, event_id: str | None = None) -> Record:
    """What a registration makes where nothing is."""
    values = stamped(new.values, (), at_ms)
    return Record(new.identifier, 1, values, at_ms, author, event_id, new.state, new.links, new.template)


def outcome(there: Record, new: Registration) -> Registered:
    """What becomes of a registration where something is."""
    values = stamped(new.values, there.values, there.since_ms)
    same = (new.state, new.links, new.template) == (there.state, there.links, there.template)
    # A value of an earlier version kept its time above; one that is as it was therefore compares equal.
    return Registered.REPEATED if same and values == there.values else Registered.DIFFERENT


def next_version(now: Record, change: Change, author: str, at_ms: int, if_version: int | None = None) -> Record:
    """The record after a change: `now` itself when nothing differs.

    Raises:
        Outdated, Retired, WrongMove: see Records.change.
    """
    if if_version is not None and if_version != now.version:
        raise Outdated(now.identifier, now.version)
    since_ms = max(at_ms, now.since_ms)  # a clock that was set back must not bring the versions out of order
    state = now.state if change.state is msgspec.UNSET else change.state
    reason = change.reason if change.reason is not msgspec.UNSET else (now.reason if state is now.state else None)
    made = Record(
        now.identifier,
        now.version + 1,
        now.values if change.values is msgspec.UNSET else stamped(change.values, now.values, since_ms),
        since_ms,
        author,
        now.event_id,
        state,
        now.links if change.links is msgspec.UNSET else change.links,
        now.template if change.template is msgspec.UNSET else change.template,
        reason,
    )
    if _told(made) == _told(now):
        return now
    if now.state is State.RETIRED:
        raise Retired(f"{now.identifier} is retired")
    if state is not now.state and state not in MOVES[now.state]:
        raise WrongMove(f"{now.identifier} is {now.state} and can't become {state}")
    return made


def _told(record: Record) -> tuple[object, ...]:
    return record.values, record.links, record.template, record.state, record.reason


def refuse_commissioning(identifier: Identifier, state: State | None, event_id: str | None, place: int) -> None:
    """Whether an event may bring an identifier into the world that is registered as told, or isn't (None).

    Raises:
        CommissionedTwice, Retired
    """
    if event_id is not None:
        raise CommissionedTwice(identifier, place)
    if state is State.RETIRED:
        raise Retired(f"{identifier} is retired")


def rows_to_do(job: Job, first_row: int, rows: list[Row]) -> list[Row]:
    """Those of a piece that are not done.

    Raises:
        OutOfStep
    """
    if first_row > job.rows:
        raise OutOfStep(f"row {first_row} was sent, {job.rows} is next", job.rows)
    left = rows[job.rows - first_row :]
    if left and job.finished_ms is not None:
        raise OutOfStep(f"the job is finished with {job.rows} rows", job.rows)
    return left


@contextmanager
def refusing() -> Iterator[None]:
    """What idnode.template_rules finds wrong, as a store's refusal.

    Raises:
        TemplateRefused
    """
    try:
        yield
    except WrongTemplate as error:
        raise TemplateRefused(error.mistakes, str(error)) from error


def suffix(serial: int) -> str:
    """The leased suffix of that number: P00000001."""
    return f"P{serial:08d}"


def lease_id(order: LeaseOrder) -> str:
    """A lease's id, which follows from who ordered it with which key."""
    return sha256(order.token + order.key.encode()).hexdigest()[:32]


def capture_error(place: int, refusal: StoreRefused) -> CaptureError:
    """How a report says that the event at `place` was left out."""
    pointer = f"/epcisBody/eventList/{place}"
    return CaptureError(pointer, _KINDS.get(type(refusal), "urn:mumian:problem:event-id-taken"), str(refusal))
