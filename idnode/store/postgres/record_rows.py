"""The rows of identifiers and their versions. Functions on a session."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from idnode.identifier import Identifier, parse_identifier
from idnode.record import Record, Registered, Registration, State
from idnode.store.base import NotThere
from idnode.store.content import decode_content, encode_record, encode_registration
from idnode.store.outcome import event_of, outcome
from idnode.store.postgres.connection import Conflict, Session, Taken
from idnode.store.postgres.tally import Owners, Told, count
from idnode.store.postgres.text import kept, told
from idnode.store.record_rows import CODES, STATES

_COLUMNS = "version, state, since_ms, author, reason, event_id, content"
_CURRENT = f"SELECT {_COLUMNS} FROM identifiers WHERE key = $1"  # noqa: S608 a constant
_SOME = f"SELECT key, {_COLUMNS} FROM identifiers WHERE key = ANY($1::text[])"  # noqa: S608
_EARLIER = "SELECT version, state, since_ms, author, reason, NULL, content FROM versions WHERE key = $1"
_AS_OF = f"{_EARLIER} AND since_ms <= $2 ORDER BY version DESC LIMIT 1"
_BETWEEN = f"{_EARLIER} AND version > $2 AND version < $3 ORDER BY version LIMIT $4"
# One statement, and so one round trip and one commit: those who are told hear of it when it is committed.
_REGISTER = """
    SELECT idnode_register(
        $1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::bytea[], $7::integer[],
        $8::text[], $9::text[], $10::boolean[], $11, $12::text[]
    )"""
_COPIED = ["key", "since_ms", "version", "state", "owner", "author", "event_id", "content"]
MANY = 500
"""Registrations at once from which on they are copied."""
NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
_COMMISSION = """
    INSERT INTO identifiers (key, since_ms, version, state, owner, author, event_id, content)
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::integer[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::bytea[]
    ) ON CONFLICT DO NOTHING RETURNING key"""
_GIVE = f"""
    UPDATE identifiers SET event_id = given.event_id FROM unnest($1::text[], $2::text[]) AS given (key, event_id)
    WHERE identifiers.key = given.key AND identifiers.event_id IS NULL AND state <> {CODES[State.RETIRED]}
    RETURNING identifiers.key"""  # noqa: S608 a number of ours
_CHANGE = """
    WITH before AS (
            SELECT version, since_ms, state, author, reason, content FROM identifiers WHERE key = $1 AND version = $2 FOR UPDATE
        ), earlier AS (
            INSERT INTO versions (key, version, since_ms, state, author, reason, content) SELECT $1, before.* FROM before
        ), announced AS (
            SELECT pg_notify($8, payload) FROM unnest($9::text[]) AS payload WHERE EXISTS (SELECT FROM before)
        )
    UPDATE identifiers SET version = $2 + 1, state = $3, since_ms = $4, author = $5, reason = $6, content = $7
    FROM before WHERE key = $1
    RETURNING event_id, (SELECT count(*) FROM announced), idnode_announce($10::text[], $11, $1, $4, $5)"""


class New:
    """A registration by someone, encoded."""

    __slots__ = ("at_ms", "author", "content", "event_id", "key", "prefix", "registration")

    def __init__(self, registration: Registration, author: str, at_ms: int, event_id: str | None = None) -> None:
        """Owners.place says under which prefix it is."""
        self.registration = registration
        self.key = registration.identifier.key
        self.content = encode_registration(registration)
        self.author = author
        self.at_ms = at_ms
        self.prefix = ""
        self.event_id = event_id

    @property
    def row(self) -> tuple[Any, ...]:
        """As _COPIED has it."""
        owner = None if begins_keys(self.prefix) else self.prefix
        event = None if self.event_id is None else kept(self.event_id)
        return self.key, self.at_ms, 1, CODES[self.registration.state], owner, self.author, event, self.content


def begins_keys(owner: str) -> bool:
    """Whether the keys of what it owns begin with it and a slash: of handles they do, others begin with their scheme."""
    return ":" not in owner


async def register(
    session: Session, new: Sequence[New], again: bool, owners: Owners, channel: str = "", payloads: Sequence[str] = ()
) -> list[Registered]:
    """See Records.register; what is new is committed at once where no transaction is open.

    Args:
        again: it may have been done already, by whoever lost the connection; then what is there as it says isn't a repetition.

    Raises:
        Conflict
    """
    first = _first(new)
    created = await _created(session, list(first.values()), owners, channel, payloads)
    if len(created) == len(new):
        return [Registered.CREATED] * len(new)
    others = [each for each in new if each.key not in created or first[each.key] is not each]
    became = iter(await stood(session, others, first if again else {}))
    return [Registered.CREATED if first[each.key] is each and each.key in created else next(became) for each in new]


async def stood(session: Session, new: Sequence[New], first: Mapping[str, New] | None = None) -> list[Registered]:
    """What became of registrations that were done, by what is there.

    Args:
        first: by key, those that may have created what is there as they say; None: the first of each key.
    """
    first = _first(new) if first is None else first
    there = {row[0]: row for row in await session.rows(_SOME, sorted({each.key for each in new}))}
    return [
        Registered.CREATED
        if first.get(each.key) is each and _is_own(there.get(each.key), each)
        else _standing(there.get(each.key), each)
        for each in new
    ]


def _first(new: Sequence[New]) -> dict[str, New]:
    found: dict[str, New] = {}
    for each in new:
        found.setdefault(each.key, each)
    return found


async def _created(
    session: Session, asked: Sequence[New], owners: Owners, channel: str, payloads: Sequence[str]
) -> Collection[str]:
    """Insert those that aren't there and for which there is room; their keys."""
    if len(asked) >= MANY:
        try:
            async with session.transaction():
                return await _copied(session, asked, owners, channel, payloads)
        except Taken:
            pass  # another has registered one of them in this moment
    # In order, so that two who register the same ones don't wait for each other.
    places = sorted(range(len(asked)), key=lambda place: asked[place].key)
    told = await owners.place(session, asked)
    columns = (
        [asked[place].key for place in places],
        [asked[place].at_ms for place in places],
        [CODES[asked[place].registration.state] for place in places],
        [asked[place].prefix for place in places],
        [asked[place].author for place in places],
        [asked[place].content for place in places],
    )
    (made,) = await session.row(_REGISTER, *columns, places, *told.columns, channel, payloads)
    if made is None:
        raise owners.otherwise(told)
    return frozenset(made)


async def _copied(
    session: Session, asked: Sequence[New], owners: Owners, channel: str, payloads: Sequence[str]
) -> Collection[str]:
    """By COPY, which takes more than twice as many.

    Raises:
        Taken
    """
    told, rooms = await owners.hold(session, asked)
    rows = await session.rows("SELECT key FROM identifiers WHERE key = ANY($1::text[])", [each.key for each in asked])
    there = {key for (key,) in rows}
    new = [each for each in asked if each.key not in there and rooms.take(each)]
    if new:
        await session.copy("identifiers", _COPIED, (each.row for each in sorted(new, key=lambda each: each.key)))
        await count(session, new, told)
    if payloads:
        await session.rows(NOTIFY, channel, payloads)
    return {each.key for each in new}


def _is_own(row: Any, new: New) -> bool:
    if row is None:
        return False
    _, version, state, since_ms, author, _, _, content = row
    is_same = content == new.content and STATES[state] is new.registration.state
    return is_same and (version, since_ms, author) == (1, new.at_ms, new.author)


def _standing(row: Any, new: New) -> Registered:
    if row is None:
        return Registered.OVER_QUOTA
    if row[-1] == new.content and STATES[row[2]] is new.registration.state:
        return Registered.REPEATED
    return outcome(_record(new.registration.identifier, row[1:]), new.registration)


async def commission(session: Session, new: Sequence[New], told: Told) -> None:
    """Register identifiers with their events, or give the event to one that is registered without; there is room, and it is held.

    Raises:
        Conflict: one was retired meanwhile.
    """
    asked = sorted(_first(new).values(), key=lambda each: each.key)
    if not asked:
        return
    rows = await session.rows(_COMMISSION, *map(list, zip(*(each.row for each in asked), strict=True)))
    made = {key for (key,) in rows}
    others = [each for each in asked if each.key not in made]
    given = [[each.key for each in others], [each.row[6] for each in others]]
    if others and len(await session.rows(_GIVE, *given)) < len(others):
        raise Conflict("an identifier was retired meanwhile")
    await count(session, [each for each in _first(new).values() if each.key in made], told)


async def put_version(session: Session, now: Record, made: Record, channel: str, payloads: Sequence[str]) -> None:
    """Put `made` in the place of `now`, which becomes an earlier version; committed at once where no transaction is open.

    Raises:
        Conflict: another one is in its place by now.
    """
    reason = None if made.reason is None else kept(made.reason)
    values = (CODES[made.state], made.since_ms, made.author, reason, encode_record(made))
    told_of = (list(made.identifier.owners()), event_of(now, made))
    if await session.row(_CHANGE, now.identifier.key, now.version, *values, channel, payloads, *told_of) is None:
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


async def current_rows(session: Session, keys: Sequence[str]) -> list[Any]:
    """For each key what current_record() makes a record of."""
    found = {row[0]: row[1:] for row in await session.rows(_SOME, keys)}
    return [found.get(key) for key in keys]


def current_record(identifier: Identifier, row: Any) -> Record | None:
    """What is registered now, of a row of current_rows()."""
    return None if row is None else _record(identifier, row)


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
