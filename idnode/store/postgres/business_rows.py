"""The rows of entries, counts and announcements. Functions on a session; who calls them owns the transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from idnode.enterprise import Enterprise, Token
from idnode.store.business import (
    ENTERPRISE,
    PREFIX,
    SUBSCRIPTION,
    Add,
    Announcement,
    Count,
    Entry,
    Put,
    Step,
    Sums,
    Trim,
    Usage,
)
from idnode.store.business_rows import changes_nothing, check_version, next_entry, sums_of
from idnode.store.postgres.connection import Conflict, Session
from idnode.store.registry import read_enterprise, read_token

_COLUMNS = "kind, key, grp, version, since_ms, author, content"
_ENTRY = f"SELECT {_COLUMNS} FROM entries WHERE kind = $1 AND key = $2"  # noqa: S608 a constant
_ENTRIES = f"SELECT {_COLUMNS} FROM entries WHERE kind = $1 AND key > $2 AND content <> '' ORDER BY key LIMIT $3"  # noqa: S608
_GROUP = f"""
    SELECT {_COLUMNS} FROM entries WHERE kind = $1 AND grp = $4 AND key > $2 AND content <> '' ORDER BY key LIMIT $3"""  # noqa: S608
_VERSIONS = f"""
    SELECT {_COLUMNS} FROM (
        SELECT {_COLUMNS} FROM entry_versions WHERE kind = $1 AND key = $2 UNION ALL {_ENTRY}
    ) AS told WHERE version > $3 ORDER BY version LIMIT $4"""  # noqa: S608
_ENTERPRISE_OF = """
    SELECT (SELECT content FROM entries WHERE kind = 'enterprise' AND key = owned.grp AND content <> '')
    FROM entries AS owned WHERE kind = 'prefix' AND key = $1 AND content <> ''"""
_KEY_OF = """
    SELECT (SELECT content FROM entries WHERE kind = 'key' AND key = convert_from(secret.content, 'UTF8') AND content <> '')
    FROM entries AS secret WHERE kind = 'secret' AND key = $1 AND content <> ''"""
_USAGE = """
    SELECT enterprise, day, sum(registrations)::bigint, sum(resolutions)::bigint FROM usage
    WHERE day >= $1 AND day <= $2 AND (day, enterprise) > ($3, $4)"""
_BY_DAY = "GROUP BY day, enterprise ORDER BY day, enterprise LIMIT $5"

_REQUEST = """
    WITH old AS (
        DELETE FROM requests WHERE id IN (
            SELECT id FROM requests WHERE at < now() - interval '1 hour' ORDER BY at LIMIT 10 FOR UPDATE SKIP LOCKED)
    )
    INSERT INTO requests (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true"""
_GROUPS = f"""
    SELECT grp FROM entries WHERE (kind, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        AND kind IN ('{PREFIX}', '{SUBSCRIPTION}')"""  # noqa: S608
_HOLD = """
    SELECT pg_advisory_xact_lock(1296909646, bucket)
    FROM (SELECT DISTINCT idnode_bucket(name) AS bucket FROM unnest($1::text[]) AS name ORDER BY 1) AS buckets"""
_LOCKED = f"""
    SELECT {_COLUMNS} FROM entries WHERE (kind, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
    ORDER BY kind, key FOR UPDATE"""  # noqa: S608
_ROWS = "unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bigint[])"
_INSERT = f"INSERT INTO entries SELECT * FROM {_ROWS} ON CONFLICT DO NOTHING RETURNING true"  # noqa: S608
_UPDATE = f"""
    UPDATE entries SET grp = new.grp, version = new.version, since_ms = new.since_ms, author = new.author, content = new.content,
        quota = new.quota
    FROM {_ROWS} AS new ({_COLUMNS}, quota) WHERE entries.kind = new.kind AND entries.key = new.key"""  # noqa: S608
_DELETE = "DELETE FROM entries WHERE (kind, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))"
_KEEP = """
    INSERT INTO entry_versions (kind, key, grp, version, since_ms, author, content)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[])"""
_COUNT = """
    INSERT INTO usage SELECT day, enterprise, 0, 0, resolutions
    FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS new (day, enterprise, resolutions) ORDER BY day, enterprise
    ON CONFLICT (day, enterprise, slot) DO UPDATE SET resolutions = usage.resolutions + excluded.resolutions"""
_ADD = """
    INSERT INTO sums SELECT prefix, what, pg_backend_pid() % 8, number
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (prefix, what, number) ORDER BY prefix, what
    ON CONFLICT (prefix, what, slot) DO UPDATE SET number = sums.number + excluded.number"""
_SUMS = """
    WITH next AS (
        SELECT prefix FROM (SELECT prefix FROM counts WHERE prefix > $1 GROUP BY prefix ORDER BY prefix LIMIT $2) AS counted
        UNION SELECT prefix FROM (SELECT prefix FROM sums WHERE prefix > $1 GROUP BY prefix ORDER BY prefix LIMIT $2) AS summed
        ORDER BY prefix LIMIT $2
    )
    SELECT prefix, 'registered' AS what, sum(registered)::bigint FROM counts
    WHERE prefix > $1 AND prefix <= (SELECT max(prefix) FROM next) GROUP BY prefix
    UNION ALL SELECT prefix, what, sum(number)::bigint FROM sums
    WHERE prefix > $1 AND prefix <= (SELECT max(prefix) FROM next) GROUP BY prefix, what ORDER BY prefix"""
_Place = tuple[str, str]
_keys_decoder = msgspec.json.Decoder(tuple[str, ...])


async def write(session: Session, request: bytes, steps: Sequence[Step], author: str, at_ms: int) -> None:
    """See Business.write; nothing is done where `request` was done before."""
    if await session.value(_REQUEST, request) is None:
        return
    puts = [step for step in steps if isinstance(step, Put)]
    if puts:
        before = await _locked(session, puts)
        versions, now = _followed(before, puts, author, at_ms)
        await _keep(session, before, versions, now)
    counts, sums = Counter[tuple[int, str]](), Counter[tuple[str, str]]()
    for step in steps:
        if isinstance(step, Count):
            counts[step.day, step.enterprise] += step.resolutions
        elif isinstance(step, Add):
            sums[step.prefix, step.what] += step.number
        elif isinstance(step, Trim):
            await session.value(
                "DELETE FROM announcements WHERE enterprise = $1 AND sequence <= $2", step.enterprise, step.sequence
            )
    if counts:
        rows = [(day, enterprise, number) for (day, enterprise), number in counts.items()]
        await session.value(_COUNT, *_columns(rows))
    if sums:
        await session.value(_ADD, *_columns([(*place, number) for place, number in sums.items()]))


async def _locked(session: Session, puts: Sequence[Put]) -> dict[_Place, Entry]:
    """The entries that are there; nobody else writes them, nor registers where they say whose it is, until the transaction ends.

    Raises:
        Conflict: another wrote one in this moment.
    """
    places = {(put.kind, put.key): put for put in puts}
    columns = _columns(places)
    names = {put.key for put in puts if put.kind in (ENTERPRISE, PREFIX)}
    names |= {put.group for put in puts if put.kind in (PREFIX, SUBSCRIPTION)}
    if names:
        names |= {group for (group,) in await session.rows(_GROUPS, *columns)}
        await session.rows(_HOLD, sorted(names))
    there = {(row[0], row[1]): Entry(*row) for row in await session.rows(_LOCKED, *columns)}
    if any(each.kind in (PREFIX, SUBSCRIPTION) and each.group not in names for each in there.values()):
        raise Conflict("another gives it away too")
    return there


def _followed(
    before: dict[_Place, Entry], puts: Sequence[Put], author: str, at_ms: int
) -> tuple[list[Entry], dict[_Place, Entry | None]]:
    """What becomes of entries by steps one after the other: the versions to be kept, and what is then there."""
    versions: list[Entry] = []
    now: dict[_Place, Entry | None] = {}
    for put in puts:
        place = (put.kind, put.key)
        there = now[place] if place in now else before.get(place)
        check_version(put, there)
        if changes_nothing(put, there):
            continue
        if there is not None and put.kept:
            versions.append(there)
        now[place] = next_entry(put, there, author, at_ms) if put.content or put.kept else None
    return versions, now


async def _keep(
    session: Session, before: dict[_Place, Entry], versions: Sequence[Entry], now: dict[_Place, Entry | None]
) -> None:
    new = sorted((place, each) for place, each in now.items() if each is not None and place not in before)
    if new and len(await session.rows(_INSERT, *_columns(_row(each) for _, each in new))) < len(new):
        raise Conflict("another makes it too")
    changed = [each for place, each in now.items() if each is not None and place in before]
    if changed:
        await session.value(_UPDATE, *_columns(_row(each) for each in changed))
    if gone := [place for place, each in now.items() if each is None and place in before]:
        await session.value(_DELETE, *_columns(gone))
    if versions:
        await session.value(_KEEP, *_columns(_row(each)[:-1] for each in versions))


def _row(entry: Entry) -> tuple[Any, ...]:
    quota = read_enterprise(entry.content).quota if entry.kind == ENTERPRISE and entry.content else None
    return entry.kind, entry.key, entry.group, entry.version, entry.since_ms, entry.author, entry.content, quota


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def entry(session: Session, kind: str, key: str) -> Entry | None:
    """See Business.entry."""
    row = await session.row(_ENTRY, kind, key)
    return Entry(*row) if row is not None and row[-1] else None


async def entries(session: Session, kind: str, group: str | None, after: str, limit: int) -> list[Entry]:
    """See Business.entries."""
    if group is None:
        return [Entry(*row) for row in await session.rows(_ENTRIES, kind, after, limit)]
    return [Entry(*row) for row in await session.rows(_GROUP, kind, after, limit, group)]


async def entry_versions(session: Session, kind: str, key: str, after: int, limit: int) -> list[Entry]:
    """See Business.entry_versions."""
    return [Entry(*row) for row in await session.rows(_VERSIONS, kind, key, after, limit)]


async def enterprise_of(session: Session, prefix: str) -> Enterprise | None:
    """See Enterprises.enterprise_of; one statement in place of the two of idnode.store.registry."""
    content = await session.value(_ENTERPRISE_OF, prefix)
    return None if content is None else read_enterprise(content)


async def token(session: Session, digest: bytes) -> Token | None:
    """See Tokens.token; likewise."""
    content = await session.value(_KEY_OF, digest.hex())
    found = None if content is None else read_token(content)
    return found if found is not None and found.revoked_ms is None and found.digest == digest else None


async def registered(session: Session, prefixes: Sequence[str]) -> list[int]:
    """See Business.registered."""
    rows = await session.rows(
        "SELECT prefix, sum(registered)::bigint FROM counts WHERE prefix = ANY($1::text[]) GROUP BY prefix", list(prefixes)
    )
    found = dict(map(tuple, rows))
    return [found.get(each, 0) for each in prefixes]


async def sums(session: Session, after: str, limit: int) -> list[Sums]:
    """See Business.sums."""
    return sums_of([(row[0], row[1], row[2]) for row in await session.rows(_SUMS, after, limit)])


async def usage(
    session: Session, enterprise: str | None, first_day: int, last_day: int, after: tuple[int, str], limit: int
) -> list[Usage]:
    """See Business.usage."""
    condition, arguments = ("", ()) if enterprise is None else ("AND enterprise = $6", (enterprise,))
    rows = await session.rows(f"{_USAGE} {condition} {_BY_DAY}", first_day, last_day, *after, limit, *arguments)
    return [Usage(*row) for row in rows]


async def announcements(session: Session, enterprise: str, after: int, limit: int) -> list[Announcement]:
    """See Business.announcements."""
    rows = await session.rows(
        "SELECT sequence, enterprise, event, keys, at_ms, author FROM announcements"
        " WHERE enterprise = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        enterprise, after, limit,
    )  # fmt: skip
    return [Announcement(row[0], row[1], row[2], _keys_decoder.decode(row[3]), row[4], row[5]) for row in rows]
