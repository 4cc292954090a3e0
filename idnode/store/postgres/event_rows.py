"""The rows of events, their links and the reports of captures. Functions on a session; who calls them owns the transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from idnode.event import Capture, CaptureError, CaptureReport, ErrorBehaviour, EventQuery, NewEvent, StoredEvent
from idnode.record import State
from idnode.store.base import AlreadyThere, OverQuota, StoreRefused
from idnode.store.outcome import capture_error, refuse_commissioning
from idnode.store.postgres import record_rows
from idnode.store.postgres.connection import Session
from idnode.store.postgres.record_rows import New
from idnode.store.postgres.tally import Owners, Rooms
from idnode.store.postgres.text import digest, kept, told

_TURN = 0x45564E54
"""Of the advisory lock by which captures take turns: EVNT."""
_COLUMNS = "events.sequence, events.id, events.enterprise, events.content, events.recorded_ms"
_BY_SEQUENCE = f"""
    SELECT {_COLUMNS} FROM events
    WHERE sequence > $1 AND enterprise <> ALL($2::text[]) ORDER BY sequence LIMIT $3"""  # noqa: S608 constants
_BY_EPC = f"""
    SELECT {_COLUMNS} FROM events
    JOIN (SELECT DISTINCT sequence FROM links WHERE epc_digest = $4 AND role = ANY($5::text[]) AND sequence > $1) AS named
        ON named.sequence = events.sequence
    WHERE events.enterprise <> ALL($2::text[]) ORDER BY events.sequence LIMIT $3"""  # noqa: S608 constants
_EVENTS = """
    INSERT INTO events (sequence, digest, id_digest, id, enterprise, capture, event_time_ms, recorded_ms, content)
    SELECT sequence, digest, id_digest, id, $6, $7, event_time_ms, $8, content
    FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::text[], $5::bigint[], $9::bytea[])
        AS new (sequence, digest, id_digest, id, event_time_ms, content)"""
_LINKS = """
    INSERT INTO links (epc_digest, sequence, role, epc)
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING"""


class _Standing:
    """What speaks against an event of a document, by what is stored and by the events before it."""

    def __init__(
        self, digests: set[bytes], ids: set[bytes], registered: dict[str, tuple[State, str | None]], rooms: Rooms
    ) -> None:
        self.digests = digests
        self.ids = ids
        self.registered = registered
        self._rooms = rooms

    def admit(self, event: NewEvent, made: Sequence[New]) -> None:
        """Raise what does, or take it that the event is stored; `made`: its registrations."""
        if digest(event.id) in self.ids:
            raise AlreadyThere(f"there is another event {event.id}")
        for registration in event.registrations:
            state, event_id = self.registered.get(registration.identifier.key, (None, None))
            refuse_commissioning(registration.identifier, state, event_id, event.place)
        taken: dict[str, New] = {}
        for each in made:
            if each.key in self.registered or each.key in taken:
                continue
            if not self._rooms.take(each):
                for other in taken.values():
                    self._rooms.put_back(other)
                raise OverQuota(f"{each.registration.identifier} is one more than its enterprise may have")
            taken[each.key] = each
        self._add(event)

    def _add(self, event: NewEvent) -> None:
        self.digests.add(event.digest)
        self.ids.add(digest(event.id))
        for registration in event.registrations:
            key = registration.identifier.key
            self.registered[key] = (self.registered.get(key, (registration.state, None))[0], event.id)


async def take_turn(session: Session) -> None:
    """Wait until no other transaction captures."""
    await session.value("SELECT pg_advisory_xact_lock($1)", _TURN)


async def capture(session: Session, new: Capture, again: bool, owners: Owners) -> CaptureReport:
    """See Events.capture; take_turn() went before. Nothing is written before it is clear that nothing is refused."""
    if again and (there := await capture_report(session, new.id)) is not None:
        return there
    made = [[New(each, new.author, new.at_ms, event.id) for each in event.registrations] for event in new.events]
    assumed, rooms = await owners.hold(session, list(chain.from_iterable(made)))
    standing = await _standing(session, new, rooms)
    errors, repeated = list(new.errors), 0
    taken: list[tuple[NewEvent, list[New]]] = []
    for event, registrations in zip(new.events, made, strict=True):
        if event.digest in standing.digests:
            repeated += 1
            continue
        try:
            standing.admit(event, registrations)
        except StoreRefused as refusal:
            if new.behaviour is ErrorBehaviour.ROLLBACK:
                raise
            errors.append(capture_error(event.place, refusal))
            continue
        taken.append((event, registrations))
    if taken:
        await _keep(session, [event for event, _ in taken], new)
        await record_rows.commission(session, [each for _, registrations in taken for each in registrations], assumed)
    report = CaptureReport(new.id, new.enterprise, new.at_ms, new.at_ms, new.behaviour, tuple(errors), len(taken), repeated)
    await session.value(
        "INSERT INTO captures VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        new.id, new.enterprise, new.author, report.created_ms, report.finished_ms, new.behaviour.value,
        json.dumps([asdict(error) for error in errors]), report.stored, repeated,
    )  # fmt: skip
    return report


async def _standing(session: Session, new: Capture, rooms: Rooms) -> _Standing:
    digests = await session.rows(
        "SELECT digest FROM events WHERE digest = ANY($1::bytea[])", [each.digest for each in new.events]
    )
    ids = await session.rows(
        "SELECT id_digest FROM events WHERE id_digest = ANY($1::bytea[])", [digest(each.id) for each in new.events]
    )
    identifiers = [each.identifier for event in new.events for each in event.registrations]
    registered = await record_rows.standing(session, identifiers)
    return _Standing({each for (each,) in digests}, {each for (each,) in ids}, registered, rooms)


async def _keep(session: Session, events: Sequence[NewEvent], new: Capture) -> None:
    rows = await session.rows("SELECT nextval('event_sequence') FROM generate_series(1, $1)", len(events))
    sequences = sorted(number for (number,) in rows)
    await session.value(
        _EVENTS,
        sequences, [each.digest for each in events], [digest(each.id) for each in events], [kept(each.id) for each in events],
        [each.event_time_ms for each in events], new.enterprise, new.id, new.at_ms, [each.content for each in events],
    )  # fmt: skip
    links = [(link, number) for number, event in zip(sequences, events, strict=True) for link in event.links]
    await session.value(
        _LINKS,
        [digest(link.epc) for link, _ in links], [number for _, number in links],
        [link.role.value for link, _ in links], [kept(link.epc) for link, _ in links],
    )  # fmt: skip


async def event(session: Session, key: str) -> StoredEvent | None:
    """See Events.event."""
    row = await session.row(f"SELECT {_COLUMNS} FROM events WHERE id_digest = $1", digest(key))  # noqa: S608
    return None if row is None else _stored(row)


async def events(session: Session, query: EventQuery) -> list[StoredEvent]:
    """See Events.events."""
    arguments: tuple[Any, ...] = (query.after, sorted(query.hidden), query.limit)
    if query.epc is None:
        rows = await session.rows(_BY_SEQUENCE, *arguments)
    else:
        rows = await session.rows(_BY_EPC, *arguments, digest(query.epc), sorted(query.roles))
    return [_stored(row) for row in rows]


def _stored(row: Any) -> StoredEvent:
    sequence, key, enterprise, content, recorded_ms = row
    return StoredEvent(sequence, told(key), enterprise, content, recorded_ms)


async def capture_report(session: Session, key: str) -> CaptureReport | None:
    """See Events.capture_report."""
    row = await session.row(
        "SELECT enterprise, created_ms, finished_ms, behaviour, errors, stored, repeated FROM captures WHERE id = $1", key
    )
    if row is None:
        return None
    enterprise, created_ms, finished_ms, behaviour, errors, stored, repeated = row
    listed = tuple(CaptureError(**error) for error in json.loads(errors))
    return CaptureReport(key, enterprise, created_ms, finished_ms, ErrorBehaviour(behaviour), listed, stored, repeated)
