"""The rows of identifiers and their versions. Functions on a session."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Any

from idnode.identifier import Identifier, parse_identifier
from idnode.record import Record, Registered, Registration, State
from idnode.store.base import NotThere
from idnode.store.content import decode_content, encode_record, encode_registration
from idnode.store.outcome import outcome
from idnode.store.postgres.connection import Conflict, Session, Taken
from idnode.store.postgres.text import kept, told
from idnode.store.record_rows import CODES, STATES

_COLUMNS = "version, state, since_ms, author, reason, event_id, content"
_CURRENT = f"SELECT {_COLUMNS} FROM identifiers WHERE key = $1"  # noqa: S608 a constant
_SOME = f"SELECT key, {_COLUMNS} FROM identifiers WHERE key = ANY($1::text[])"  # noqa: S608
_EARLIER = "SELECT version, state, since_ms, author, reason, NULL, content FROM versions WHERE key = $1"
_AS_OF = f"{_EARLIER} AND since_ms <= $2 ORDER BY version DESC LIMIT 1"
_BETWEEN = f"{_EARLIER} AND version > $2 AND version < $3 ORDER BY version LIMIT $4"
_ROWS = """
    SELECT key, since_ms, 1, state, owner, author, event_id, content
    FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::bytea[])
        AS new (key, since_ms, state, owner, author, event_id, content)"""
_INTO = "INSERT INTO identifiers (key, since_ms, version, state, owner, author, event_id, content)"
# One statement, and so one round trip and one commit: those who are told hear of it when it is committed.
_REGISTER = f"""
    WITH made AS ({_INTO} {_ROWS} ON CONFLICT DO NOTHING RETURNING key),
        announced AS (SELECT pg_notify($8, payload) FROM unnest($9::text[]) AS payload)
    SELECT (SELECT array_agg(key) FROM made), (SELECT count(*) FROM announced)"""  # noqa: S608
_COPIED = ["key", "since_ms", "state", "owner", "author", "event_id", "content", "version"]
MANY = 500
"""Registrations at once from which on they are copied."""
NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
_COMMISSION = f"""
    {_INTO} {_ROWS}
    ON CONFLICT (key) DO UPDATE SET event_id = excluded.event_id
        WHERE identifiers.event_id IS NULL AND identifiers.state <> {CODES[State.RETIRED]}
    RETURNING key"""
_CHANGE = """
    WITH before AS (
            SELECT version, since_ms, state, author, reason, content FROM identifiers WHERE key = $1 AND version = $2 FOR UPDATE
        ), earlier AS (
            INSERT INTO versions (key, version, since_ms, state, author, reason, content) SELECT $1, before.* FROM before
        ), announced AS (
            SELECT pg_notify($8, payload) FROM unnest($9::text[]) AS payload WHERE EXISTS (SELECT FROM before)
        )
    UPDATE identifiers SET version = $2 + 1, state = $3, since_ms = $4, author = $5, reason = $6, content = $7
    FROM before WHERE key = $1 RETURNING event_id, (SELECT count(*) FROM announced)"""


class New:
    """A registration by someone, encoded."""

    __slots__ = ("at_ms", "author", "content", "event_id", "key", "owner", "registration")

    def __init__(self, registration: Registration, author: str, at_ms: int, event_id: str | None = None) -> None:
        """place() says to whom it belongs."""
        self.registration = registration
        self.key = registration.identifier.key
        self.content = encode_registration(registration)
        self.author = author
        self.at_ms = at_ms
        self.owner: str | None = None
        self.event_id = event_id


def begins_keys(owner: str) -> bool:
    """Whether the keys of what it owns begin with it and a slash: of handles they do, others begin with their scheme."""
    return ":" not in owner


async def place(session: Session, new: Sequence[New]) -> None:
    """Say to whom they belong: what stands in the column owner. Of handles that is nothing, and nothing is asked."""
    candidates: list[tuple[New, list[str]]] = []
    for each in new:
        found = list(each.registration.identifier.owners())
        if not begins_keys(found[0]):
            candidates.append((each, found))
    if not candidates:
        return
    asked = sorted({owner for _, found in candidates for owner in found})
    rows = await session.rows("SELECT prefix FROM enterprises WHERE prefix = ANY($1::text[])", asked)
    owned = {prefix for (prefix,) in rows}
    for each, found in candidates:
        each.owner = next((owner for owner in found if owner in owned), found[-1])


def _columns(new: Sequence[New]) -> tuple[list[Any], ...]:
    return (
        [each.key for each in new],
        [each.at_ms for each in new],
        [CODES[each.registration.state] for each in new],
        [each.owner for each in new],
        [each.author for each in new],
        [None if each.event_id is None else kept(each.event_id) for each in new],
        [each.content for each in new],
    )


async def register(
    session: Session, new: Sequence[New], again: bool, channel: str = "", payloads: Sequence[str] = ()
) -> list[Registered]:
    """See Records.register; what is new is committed at once where no transaction is open.

    Args:
        again: it may have been done already, by whoever lost the connection; then what is there as it says isn't a repetition.
    """
    first: dict[str, New] = {}
    for each in new:
        first.setdefault(each.key, each)
    # In order, so that two who register the same ones don't wait for each other.
    asked = sorted(first.values(), key=lambda each: each.key)
    created = await _created(session, asked, channel, payloads)
    if len(created) == len(new):
        return [Registered.CREATED] * len(new)
    others = [each for each in new if each.key not in created or first[each.key] is not each]
    there = {row[0]: row for row in await session.rows(_SOME, sorted({each.key for each in others}))}
    return [
        Registered.CREATED
        if first[each.key] is each and (each.key in created or (again and _is_own(there[each.key], each)))
        else _standing(there[each.key], each)
        for each in new
    ]


async def _created(session: Session, asked: Sequence[New], channel: str, payloads: Sequence[str]) -> set[str]:
    """Insert those that aren't there; their keys."""
    if len(asked) >= MANY:
        try:
            async with session.transaction():
                return await _copied(session, asked, channel, payloads)
        except Taken:
            pass  # another has registered one of them in this moment
    made, _ = await session.row(_REGISTER, *_columns(asked), channel, payloads)
    return set(made or ())


async def _copied(session: Session, asked: Sequence[New], channel: str, payloads: Sequence[str]) -> set[str]:
    """By COPY, which takes more than twice as many.

    Raises:
        Taken
    """
    rows = await session.rows("SELECT key FROM identifiers WHERE key = ANY($1::text[])", [each.key for each in asked])
    there = {key for (key,) in rows}
    new = [each for each in asked if each.key not in there]
    if new:
        await session.copy("identifiers", _COPIED, zip(*_columns(new), repeat(1), strict=False))
    if payloads:
        await session.rows(NOTIFY, channel, payloads)
    return {each.key for each in new}


def _is_own(row: Any, new: New) -> bool:
    _, version, state, since_ms, author, _, _, content = row
    is_same = content == new.content and STATES[state] is new.registration.state
    return is_same and (version, since_ms, author) == (1, new.at_ms, new.author)


def _standing(row: Any, new: New) -> Registered:
    if row[-1] == new.content and STATES[row[2]] is new.registration.state:
        return Registered.REPEATED
    return outcome(_record(new.registration.identifier, row[1:]), new.registration)


async def commission(session: Session, new: Sequence[New]) -> None:
    """Register identifiers with their events, or give the event to one that is registered without.

    Raises:
        Conflict: one was retired meanwhile.
    """
    asked = sorted(new, key=lambda each: each.key)
    if asked and len(await session.rows(_COMMISSION, *_columns(asked))) < len(asked):
        raise Conflict("an identifier was retired meanwhile")


async def put_version(session: Session, now: Record, made: Record, channel: str, payloads: Sequence[str]) -> None:
    """Put `made` in the place of `now`, which becomes an earlier version; committed at once where no transaction is open.

    Raises:
        Conflict: another one is in its place by now.
    """
    reason = None if made.reason is None else kept(made.reason)
    values = (CODES[made.state], made.since_ms, made.author, reason, encode_record(made))
    if await session.row(_CHANGE, now.identifier.key, now.version, *values, channel, payloads) is None:
        raise Conflict("another changes it too")


async def standing_record(session: Session, identifier: Identifier) -> Record:
    """The record of an identifier.

    Raises:
        NotThere
    """
    found = await record(session, identifier)
    if found is None:
        raise NotThere(f"{identifier} is not registered")
    return found


async def record(session: Session, identifier: Identifier, as_of_ms: int | None = None) -> Record | None:
    """See Records.record."""
    row = await session.row(_CURRENT, identifier.key)
    if row is None or as_of_ms is None or row[2] <= as_of_ms:
        return None if row is None else _record(identifier, row)
    # A version that is put in place between the two statements only adds to what is read here.
    earlier = await session.row(_AS_OF, identifier.key, as_of_ms)
    return None if earlier is None else _record(identifier, earlier, row[5])


async def versions(session: Session, identifier: Identifier, after: int, limit: int) -> list[Record]:
    """See Records.versions."""
    now = await session.row(_CURRENT, identifier.key)
    if now is None:
        return []
    rows = await session.rows(_BETWEEN, identifier.key, after, now[0], limit)
    if now[0] > after:
        rows.append(now)
    return [_record(identifier, row, now[5]) for row in rows[:limit]]


async def records(session: Session, owner: str, after_key: str, limit: int, states: Collection[State] | None) -> list[Record]:
    """See Records.records."""
    condition, arguments = "owner = $1 AND key > $2", [owner, after_key]
    if begins_keys(owner):
        condition, arguments = "key > $1 AND key < $2", [max(after_key, f"{owner}/"), f"{owner}0"]  # 0 follows the slash
    codes = [CODES[state] for state in (State if states is None else states)]
    if State.ACTIVE not in (State if states is None else states):
        condition += f" AND state <> {CODES[State.ACTIVE]}"  # so that the index of those is used
    query = f"SELECT key, {_COLUMNS} FROM identifiers WHERE {condition} AND state = ANY($3::smallint[]) ORDER BY key LIMIT $4"  # noqa: S608
    rows = await session.rows(query, *arguments, codes, limit)
    return [_record(parse_identifier(row[0]), row[1:]) for row in rows]


def _record(identifier: Identifier, row: Any, event_id: str | None = None) -> Record:
    version, state, since_ms, author, reason, event, content = row
    said = decode_content(content, since_ms)
    event = event or event_id
    return Record(
        identifier,
        version,
        said.values,
        since_ms,
        author,
        None if event is None else told(event),
        STATES[state],
        said.links,
        said.template,
        None if reason is None else told(reason),
    )


async def standing(session: Session, identifiers: Iterable[Identifier]) -> dict[str, tuple[State, str | None]]:
    """State and commissioning event of those that are registered, by key; they stay so until the transaction ends."""
    keys = sorted({each.key for each in identifiers})
    if not keys:
        return {}
    rows = await session.rows(
        "SELECT key, state, event_id FROM identifiers WHERE key = ANY($1::text[]) ORDER BY key FOR UPDATE", keys
    )
    return {key: (STATES[state], event) for key, state, event in rows}
