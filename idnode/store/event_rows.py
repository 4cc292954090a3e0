"""The rows of events, their links and the reports of captures. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

import json
from dataclasses import asdict
from sqlite3 import Connection
from typing import Any

from idnode.event import Capture, CaptureError, CaptureReport, ErrorBehaviour, EventQuery, NewEvent, StoredEvent
from idnode.store import record_rows
from idnode.store.base import AlreadyThere, StoreRefused
from idnode.store.outcome import capture_error, refuse_commissioning
from idnode.store.tally import Tally

_COLUMNS = "events.sequence, events.id, events.enterprise, events.content, events.recorded_ms"
_BY_SEQUENCE = f"""
    SELECT {_COLUMNS} FROM events
    WHERE sequence > ? AND enterprise NOT IN (SELECT value FROM json_each(?))
    ORDER BY sequence LIMIT ?"""  # noqa: S608 constants
_BY_EPC = f"""
    SELECT {_COLUMNS} FROM links JOIN events ON events.sequence = links.sequence
    WHERE links.epc = ? AND links.role IN (SELECT value FROM json_each(?))
        AND links.sequence > ? AND events.enterprise NOT IN (SELECT value FROM json_each(?))
    GROUP BY links.sequence ORDER BY links.sequence LIMIT ?"""  # noqa: S608 constants


def capture(connection: Connection, tally: Tally, new: Capture) -> CaptureReport:
    """See Events.capture."""
    errors, stored, repeated = list(new.errors), 0, 0
    for event in new.events:
        if connection.execute("SELECT 1 FROM events WHERE digest = ?", (event.digest,)).fetchone() is not None:
            repeated += 1
            continue
        connection.execute("SAVEPOINT event")
        mark = tally.mark()
        try:
            _refuse(connection, event)
            _keep(connection, tally, event, new)
        except StoreRefused as refusal:
            connection.execute("ROLLBACK TO event")
            tally.undo(mark)
            connection.execute("RELEASE event")
            if new.behaviour is ErrorBehaviour.ROLLBACK:
                raise
            errors.append(capture_error(event.place, refusal))
            continue
        connection.execute("RELEASE event")
        stored += 1
    report = CaptureReport(new.id, new.enterprise, new.at_ms, new.at_ms, new.behaviour, tuple(errors), stored, repeated)
    connection.execute(
        "INSERT INTO captures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.id,
            new.enterprise,
            new.author,
            report.created_ms,
            report.finished_ms,
            new.behaviour,
            json.dumps([asdict(error) for error in errors]),
            stored,
            repeated,
        ),
    )
    return report


def _refuse(connection: Connection, event: NewEvent) -> None:
    """Raise what speaks against storing an event; nothing is written yet."""
    if connection.execute("SELECT 1 FROM events WHERE id = ?", (event.id,)).fetchone() is not None:
        raise AlreadyThere(f"there is another event {event.id}")
    for registration in event.registrations:
        refuse_commissioning(registration.identifier, *record_rows.standing(connection, registration.identifier), event.place)


def _keep(connection: Connection, tally: Tally, event: NewEvent, new: Capture) -> None:
    sequence = connection.execute(
        "INSERT INTO events (digest, id, enterprise, capture, event_time_ms, recorded_ms, content) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (event.digest, event.id, new.enterprise, new.id, event.event_time_ms, new.at_ms, event.content),
    ).lastrowid
    connection.executemany(
        "INSERT OR IGNORE INTO links VALUES (?, ?, ?)", [(link.epc, sequence, link.role) for link in event.links]
    )
    record_rows.commission(connection, tally, event.registrations, new.author, new.at_ms, event.id)


def event(connection: Connection, key: str) -> StoredEvent | None:
    """See Events.event."""
    row = connection.execute("SELECT sequence, id, enterprise, content, recorded_ms FROM events WHERE id = ?", (key,)).fetchone()
    return None if row is None else StoredEvent(*row)


def events(connection: Connection, query: EventQuery) -> list[StoredEvent]:
    """See Events.events."""
    hidden = json.dumps(sorted(query.hidden))
    parameters: tuple[Any, ...] = (query.after, hidden, query.limit)
    if query.epc is not None:
        parameters = (query.epc, json.dumps(sorted(query.roles)), *parameters)
    rows = connection.execute(_BY_SEQUENCE if query.epc is None else _BY_EPC, parameters).fetchall()
    return [StoredEvent(*row) for row in rows]


def capture_report(connection: Connection, key: str) -> CaptureReport | None:
    """See Events.capture_report."""
    row = connection.execute(
        "SELECT enterprise, created_ms, finished_ms, behaviour, errors, stored, repeated FROM captures WHERE id = ?", (key,)
    ).fetchone()
    if row is None:
        return None
    enterprise, created_ms, finished_ms, behaviour, errors, stored, repeated = row
    listed = tuple(CaptureError(**error) for error in json.loads(errors))
    return CaptureReport(key, enterprise, created_ms, finished_ms, ErrorBehaviour(behaviour), listed, stored, repeated)
