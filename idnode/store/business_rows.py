"""The rows of entries, counts and announcements. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from sqlite3 import Connection

import msgspec

from idnode.store.base import AlreadyThere, Stale
from idnode.store.business import ANSWERS_DEPEND_ON, Add, Announcement, Count, Entry, Put, Step, Sums, Trim, Usage

_COLUMNS = "kind, key, grp, version, since_ms, author, content"
_ENTRY = f"SELECT {_COLUMNS} FROM entries WHERE kind = ? AND key = ?"  # noqa: S608 a constant
_ENTRIES = f"SELECT {_COLUMNS} FROM entries WHERE kind = ? AND key > ? AND content <> x'' ORDER BY key LIMIT ?"  # noqa: S608
_GROUP = f"""
    SELECT {_COLUMNS} FROM entries WHERE kind = ? AND grp = ? AND key > ? AND content <> x'' ORDER BY key LIMIT ?"""  # noqa: S608
_VERSIONS = f"SELECT {_COLUMNS} FROM entry_versions WHERE kind = ? AND key = ? AND version > ? ORDER BY version LIMIT ?"  # noqa: S608
_COUNT = """
    INSERT INTO usage VALUES (?, ?, ?, ?) ON CONFLICT (day, enterprise) DO UPDATE SET
        registrations = registrations + excluded.registrations, resolutions = resolutions + excluded.resolutions"""
_USAGE = """
    SELECT enterprise, day, registrations, resolutions FROM usage WHERE day >= ? AND day <= ? AND (day, enterprise) > (?, ?)"""
_ADD = "INSERT INTO sums VALUES (?, ?, ?) ON CONFLICT (prefix, what) DO UPDATE SET number = number + excluded.number"
_SUMMED = """
    SELECT max(prefix) FROM (
        SELECT prefix FROM (SELECT prefix FROM counts WHERE prefix > :after ORDER BY prefix LIMIT :limit)
        UNION SELECT prefix FROM (SELECT DISTINCT prefix FROM sums WHERE prefix > :after ORDER BY prefix LIMIT :limit)
        ORDER BY prefix LIMIT :limit)"""
_SUMS = """
    SELECT prefix, 'registered', registered FROM counts WHERE prefix > :after AND prefix <= :last
    UNION ALL SELECT prefix, what, number FROM sums WHERE prefix > :after AND prefix <= :last ORDER BY 1"""
_keys_decoder = msgspec.json.Decoder(tuple[str, ...])


def changes_answers(steps: Collection[Step]) -> bool:
    """Whether answers that are kept may depend on what the steps write."""
    return any(isinstance(step, Put) and step.kind in ANSWERS_DEPEND_ON for step in steps)


def write(connection: Connection, steps: Sequence[Step], author: str, at_ms: int) -> None:
    """See Business.write."""
    for step in steps:
        match step:
            case Put():
                _put(connection, step, author, at_ms)
            case Count():
                count(connection, step.enterprise, step.day, 0, step.resolutions)
            case Add():
                add(connection, [(step.prefix, step.what, step.number)])
            case Trim():
                connection.execute(
                    "DELETE FROM announcements WHERE enterprise = ? AND sequence <= ?"
                    " AND sequence < (SELECT max(sequence) FROM announcements)",
                    (step.enterprise, step.sequence),
                )


def _put(connection: Connection, put: Put, author: str, at_ms: int) -> None:
    there = _row(connection, put.kind, put.key)
    check_version(put, there)
    if changes_nothing(put, there):
        return
    if there is not None and put.kept:
        connection.execute(
            "INSERT INTO entry_versions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (there.kind, there.key, there.version, there.group, there.since_ms, there.author, there.content),
        )
    if not put.content and not put.kept:
        connection.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (put.kind, put.key))
        return
    made = next_entry(put, there, author, at_ms)
    connection.execute(
        "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
        (made.kind, made.key, made.group, made.version, made.since_ms, made.author, made.content),
    )


def check_version(put: Put, there: Entry | None) -> None:
    """Whether an entry may be written.

    Raises:
        AlreadyThere, Stale: see Business.write.
    """
    if put.if_version is None:
        return
    version = there.version if there is not None and there.content else 0
    if version != put.if_version:
        if put.if_version == 0:
            raise AlreadyThere(f"there is a {put.kind} {put.key}")
        raise Stale(f"the {put.kind} {put.key} has version {version}")


def changes_nothing(put: Put, there: Entry | None) -> bool:
    """Whether a Put makes no version, since the one that is there says the same."""
    return put.kept and there is not None and (there.content, there.group) == (put.content, put.group)


def next_entry(put: Put, there: Entry | None, author: str, at_ms: int) -> Entry:
    """The entry that a Put makes."""
    version, since_ms = (1, at_ms) if there is None else (there.version + 1, max(at_ms, there.since_ms))
    return Entry(put.kind, put.key, put.group, version, since_ms, author, put.content)


def count(connection: Connection, enterprise: str, day: int, registrations: int, resolutions: int) -> None:
    """Add to a day of an enterprise."""
    connection.execute(_COUNT, (day, enterprise, registrations, resolutions))


def add(connection: Connection, rows: Iterable[tuple[str, str, int]]) -> None:
    """Add to what is summed up: prefix, what, how often."""
    connection.executemany(_ADD, rows)


def sums(connection: Connection, after: str, limit: int) -> list[Sums]:
    """See Business.sums."""
    (last,) = connection.execute(_SUMMED, {"after": after, "limit": limit}).fetchone()
    rows = () if last is None else connection.execute(_SUMS, {"after": after, "last": last})
    return sums_of(rows)


def sums_of(rows: Iterable[tuple[str, str, int]]) -> list[Sums]:
    """Rows of prefix, what and how often, by prefix, in their order."""
    found: dict[str, dict[str, int]] = {}
    for prefix, what, number in rows:
        found.setdefault(prefix, {})[what] = number
    return [Sums(*each) for each in found.items()]


def _row(connection: Connection, kind: str, key: str) -> Entry | None:
    row = connection.execute(_ENTRY, (kind, key)).fetchone()
    return None if row is None else Entry(*row)


def entry(connection: Connection, kind: str, key: str) -> Entry | None:
    """See Business.entry."""
    found = _row(connection, kind, key)
    return found if found is not None and found.content else None


def entries(connection: Connection, kind: str, group: str | None, after: str, limit: int) -> list[Entry]:
    """See Business.entries."""
    if group is None:
        return [Entry(*row) for row in connection.execute(_ENTRIES, (kind, after, limit))]
    return [Entry(*row) for row in connection.execute(_GROUP, (kind, group, after, limit))]


def entry_versions(connection: Connection, kind: str, key: str, after: int, limit: int) -> list[Entry]:
    """See Business.entry_versions."""
    found = [Entry(*row) for row in connection.execute(_VERSIONS, (kind, key, after, limit))]
    now = _row(connection, kind, key)
    if now is not None and now.version > after:
        found.append(now)
    return found[:limit]


def registered(connection: Connection, prefixes: Sequence[str]) -> list[int]:
    """See Business.registered."""
    rows = (connection.execute("SELECT registered FROM counts WHERE prefix = ?", (each,)).fetchone() for each in prefixes)
    return [0 if row is None else row[0] for row in rows]


def usage(
    connection: Connection, enterprise: str | None, first_day: int, last_day: int, after: tuple[int, str], limit: int
) -> list[Usage]:
    """See Business.usage."""
    condition, parameters = ("", ()) if enterprise is None else ("AND enterprise = ?", (enterprise,))
    query = f"{_USAGE} {condition} ORDER BY day, enterprise LIMIT ?"
    rows = connection.execute(query, (first_day, last_day, *after, *parameters, limit))
    return [Usage(*row) for row in rows]


def announcements(connection: Connection, enterprise: str, after: int, limit: int) -> list[Announcement]:
    """See Business.announcements."""
    rows = connection.execute(
        "SELECT sequence, enterprise, event, keys, at_ms, author FROM announcements"
        " WHERE enterprise = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        (enterprise, after, limit),
    )
    return [Announcement(row[0], row[1], row[2], _keys_decoder.decode(row[3]), row[4], row[5]) for row in rows]


def announce(connection: Connection, enterprise: str, event: str, keys: Sequence[str], at_ms: int, author: str) -> None:
    """Keep what is to be announced to those who subscribe to it."""
    connection.execute(
        "INSERT INTO announcements VALUES (NULL, ?, ?, ?, ?, ?)",
        (enterprise, event, msgspec.json.encode(keys), at_ms, author),
    )


def is_subscribed(connection: Connection, enterprise: str) -> bool:
    """Whether somebody wants to know what becomes of an enterprise's identifiers."""
    row = connection.execute(
        "SELECT 1 FROM entries WHERE kind = 'subscription' AND grp = ? AND content <> x'' LIMIT 1", (enterprise,)
    ).fetchone()
    return row is not None
