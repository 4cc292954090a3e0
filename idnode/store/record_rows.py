"""The rows of identifiers and their versions. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from sqlite3 import Connection

from idnode.identifier import Identifier, parse_identifier
from idnode.record import Change, Record, Registered, Registration, State
from idnode.store.base import NotThere, OverQuota
from idnode.store.content import decode_content, encode_record, encode_registration
from idnode.store.outcome import event_of, next_version, outcome
from idnode.store.tally import Note, Owned, Tally

STATES = tuple(State)
"""In the order of their numbers in the file."""
CODES = {state: code for code, state in enumerate(STATES)}
_Row = tuple[int, int, int, str, str | None, str | None, bytes]
_COLUMNS = "version, state, since_ms, author, reason, event_id, content"
_CURRENT = f"SELECT {_COLUMNS} FROM identifiers WHERE key = ?"  # noqa: S608 a constant
_EARLIER = """
    SELECT version, state, since_ms, author, reason, NULL, content FROM versions
    WHERE id = (SELECT id FROM identifiers WHERE key = ?)"""
_AS_OF = f"{_EARLIER} AND since_ms <= ? ORDER BY version DESC LIMIT 1"
_BETWEEN = f"{_EARLIER} AND version > ? AND version < ? ORDER BY version LIMIT ?"
_INSERT = "INSERT INTO identifiers VALUES (NULL, ?, ?, 1, ?, ?, ?, NULL, ?, ?) ON CONFLICT DO NOTHING"


def register(
    connection: Connection, tally: Tally, registrations: Sequence[Registration], author: str, at_ms: int
) -> list[Registered]:
    """See Records.register."""
    note = tally.begin(author, at_ms)
    return [_register(connection, tally, note, new) for new in registrations]


def _register(connection: Connection, tally: Tally, note: Note, new: Registration) -> Registered:
    content = encode_registration(new)
    owned = tally.owned(new.identifier)
    if owned.has_room() and _insert(connection, owned, new, content, note, None):
        note.registered(owned, new.identifier.key)
        return Registered.CREATED
    held = connection.execute("SELECT state, content FROM identifiers WHERE key = ?", (new.identifier.key,)).fetchone()
    if held is None:
        return Registered.OVER_QUOTA
    if held[1] == content and STATES[held[0]] is new.state:
        return Registered.REPEATED
    there = record(connection, new.identifier)
    assert there is not None
    return outcome(there, new)


def _insert(connection: Connection, owned: Owned, new: Registration, content: bytes, note: Note, event_id: str | None) -> bool:
    """Whether there was none."""
    owner = None if _begins_keys(owned.prefix) else owned.prefix
    row = (new.identifier.key, owner, CODES[new.state], note.at_ms, note.author, event_id, content)
    return connection.execute(_INSERT, row).rowcount == 1


def _begins_keys(owner: str) -> bool:
    """Whether the keys of what it owns begin with it and a slash: of handles they do, others begin with their scheme."""
    return ":" not in owner


def change(
    connection: Connection,
    tally: Tally,
    identifier: Identifier,
    new: Change,
    author: str,
    at_ms: int,
    if_version: int | None = None,
) -> Record:
    """See Records.change."""
    now = record(connection, identifier)
    if now is None:
        raise NotThere(f"{identifier} is not registered")
    made = next_version(now, new, author, at_ms, if_version)
    if made is now:
        return now
    connection.execute(
        "INSERT INTO versions SELECT id, version, state, since_ms, author, reason, content FROM identifiers WHERE key = ?",
        (identifier.key,),
    )
    connection.execute(
        "UPDATE identifiers SET version = ?, state = ?, since_ms = ?, author = ?, reason = ?, content = ? WHERE key = ?",
        (made.version, CODES[made.state], made.since_ms, author, made.reason, encode_record(made), identifier.key),
    )
    tally.changed(identifier, event_of(now, made), author, made.since_ms)
    return made


def record(connection: Connection, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
    """See Records.record."""
    key = identifier.key
    row: _Row | None = connection.execute(_CURRENT, (key,)).fetchone()
    if row is None or as_of_ms is None or row[2] <= as_of_ms:
        return None if row is None else _record(identifier, row)
    earlier: _Row | None = connection.execute(_AS_OF, (key, as_of_ms)).fetchone()
    return None if earlier is None else _record(identifier, earlier, row[5])


def versions(connection: Connection, identifier: Identifier, after: int, limit: int) -> list[Record]:
    """See Records.versions."""
    now: _Row | None = connection.execute(_CURRENT, (identifier.key,)).fetchone()
    if now is None:
        return []
    rows = connection.execute(_BETWEEN, (identifier.key, after, now[0], limit)).fetchall()
    if now[0] > after:
        rows.append(now)
    return [_record(identifier, row, now[5]) for row in rows[:limit]]


def records(connection: Connection, owner: str, after_key: str, limit: int, states: Collection[State] | None) -> list[Record]:
    """See Records.records."""
    condition, parameters = "owner = ? AND key > ?", [owner, after_key]
    if _begins_keys(owner):
        condition, parameters = "key > ? AND key < ?", [max(after_key, f"{owner}/"), f"{owner}0"]  # 0 follows the slash
    if states is not None:
        condition += f" AND state IN ({', '.join(str(CODES[state]) for state in states)})"
        if State.ACTIVE not in states:
            condition += f" AND state <> {CODES[State.ACTIVE]}"  # so that the index of those is used
    query = f"SELECT key, {_COLUMNS} FROM identifiers WHERE {condition} ORDER BY key LIMIT ?"  # noqa: S608 numbers of ours
    rows: list[tuple[str, int, int, int, str, str | None, str | None, bytes]] = connection.execute(
        query, (*parameters, limit)
    ).fetchall()
    return [_record(parse_identifier(row[0]), row[1:]) for row in rows]


def _record(identifier: Identifier, row: _Row, event_id: str | None = None) -> Record:
    version, state, since_ms, author, reason, event, content = row
    told = decode_content(content, since_ms)
    return Record(
        identifier,
        version,
        told.values,
        since_ms,
        author,
        event or event_id,
        STATES[state],
        told.links,
        told.template,
        reason,
    )


def put(connection: Connection, versions: Sequence[Record], owner: str | None) -> None:
    """Keep a record with its versions, ascending, as another store had it; `owner` is what its column had."""
    *earlier, now = versions
    number = connection.execute(
        "INSERT INTO identifiers VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            now.identifier.key,
            owner,
            now.version,
            CODES[now.state],
            now.since_ms,
            now.author,
            now.reason,
            now.event_id,
            encode_record(now),
        ),
    ).lastrowid
    connection.executemany(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (number, each.version, CODES[each.state], each.since_ms, each.author, each.reason, encode_record(each))
            for each in earlier
        ],
    )


def standing(connection: Connection, identifier: Identifier) -> tuple[State | None, str | None]:
    """The state of an identifier, None when it isn't registered, and its commissioning event, if it has one."""
    row = connection.execute("SELECT state, event_id FROM identifiers WHERE key = ?", (identifier.key,)).fetchone()
    return (None, None) if row is None else (STATES[row[0]], row[1])


def commission(
    connection: Connection, tally: Tally, registrations: Sequence[Registration], author: str, at_ms: int, event_id: str
) -> None:
    """Register identifiers with their event, or give the event to those that are registered without.

    Raises:
        OverQuota: some of them were registered.
    """
    note = tally.begin(author, at_ms)
    for new in registrations:
        owned = tally.owned(new.identifier)
        given = connection.execute("UPDATE identifiers SET event_id = ? WHERE key = ?", (event_id, new.identifier.key))
        if given.rowcount:
            continue
        if not owned.has_room():
            raise OverQuota(f"{new.identifier} is one more than its enterprise may have")
        _insert(connection, owned, new, encode_registration(new), note, event_id)
        note.registered(owned, new.identifier.key)
