"""What SQLite keeps, as PostgreSQL keeps it: each table's rows by ranges of their key, and what such a range comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import md5
from sqlite3 import Connection
from typing import Any

from idnode.store.business import ENTERPRISE
from idnode.store.postgres.connection import Session
from idnode.store.postgres.text import digest, kept
from idnode.store.registry import read_enterprise

_SEPARATOR, _NOTHING = "\x1f", "\x1e"
Key = Any
"""Of a row: text, bytes or a number."""


@dataclass(frozen=True, slots=True)
class Digest:
    """How many rows, and what they say: sums of halves of their hashes, in any order."""

    rows: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.rows + other.rows, self.first + other.first, self.second + other.second)

    def __str__(self) -> str:
        return f"{self.first % 2**64:016x}{self.second % 2**64:016x}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table. The first column is what its ranges are of."""

    name: str
    columns: tuple[str, ...]
    unique: tuple[str, ...]
    """The primary key."""
    source: str
    """FROM ... in SQLite."""
    selected: tuple[str, ...]
    """In SQLite, for `columns` before `made`."""
    made: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """A row of SQLite as one of PostgreSQL."""
    escaped: frozenset[str] = frozenset()
    """Free texts."""
    shrinks: bool = False
    """Whether rows may go."""

    def bound(self, connection: Connection, after: Key | None, count: int) -> Key | None:
        """The key of the row `count` rows behind; None where fewer follow, or where keys sort otherwise in PostgreSQL."""
        if self.columns[0] in self.escaped:
            return None
        key = self.selected[0]
        where = "" if after is None else f"WHERE {key} > :after"
        row = connection.execute(
            f"SELECT {key} FROM {self.source} {where} ORDER BY {key} LIMIT 1 OFFSET :count",  # noqa: S608 names of ours
            {"after": after, "count": count - 1},
        ).fetchone()
        return None if row is None else row[0]

    def rows(self, connection: Connection, after: Key | None, upto: Key | None) -> list[tuple[Any, ...]]:
        """Those with a key above `after`, up to `upto`, as PostgreSQL keeps them."""
        key = self.selected[0]
        conditions = [f"{key} > :after"] * (after is not None) + [f"{key} <= :upto"] * (upto is not None)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"SELECT {', '.join(self.selected)} FROM {self.source} {where}"  # noqa: S608 names of ours
        return [self.made(row) for row in connection.execute(query, {"after": after, "upto": upto})]

    def _within(self, after: Key | None, upto: Key | None) -> tuple[str, list[Key]]:
        """Such a range in PostgreSQL, as a condition with its arguments."""
        key, bounds = self.columns[0], [each for each in (after, upto) if each is not None]
        conditions = [f"{key} > $1"] * (after is not None) + [f"{key} <= ${len(bounds)}"] * (upto is not None)
        return " AND ".join(conditions) or "true", bounds

    async def digest(self, session: Session, after: Key | None, upto: Key | None) -> Digest:
        """What PostgreSQL has of such a range."""
        condition, bounds = self._within(after, upto)
        values = ", ".join(f"coalesce({column}::text, E'\\x1e')" for column in self.columns)
        halves = ", ".join(
            f"coalesce(sum(('x' || substr(hash, {place}, 16))::bit(64)::bigint::numeric), 0)::text" for place in (1, 17)
        )
        hashed = f"SELECT md5(concat_ws(E'\\x1f', {values})) AS hash FROM {self.name} WHERE {condition}"  # noqa: S608 ours
        rows, first, second = await session.row(f"SELECT count(*), {halves} FROM ({hashed}) AS hashed", *bounds)  # noqa: S608
        return Digest(rows, int(first), int(second))

    async def put(self, session: Session, rows: list[tuple[Any, ...]], after: Key | None, upto: Key | None) -> None:
        """Put the rows of such a range in place, whatever is there."""
        columns, others = ", ".join(self.columns), [each for each in self.columns if each not in self.unique]
        updates = ", ".join(f"{each} = excluded.{each}" for each in others)
        act = f"UPDATE SET {updates}" if updates else "NOTHING"
        unique = ", ".join(self.unique)
        async with session.transaction():
            await session.run(f"CREATE TEMPORARY TABLE moving (LIKE {self.name}) ON COMMIT DROP")
            await session.copy("moving", list(self.columns), rows)
            if self.shrinks:
                condition, bounds = self._within(after, upto)
                gone = f"({unique}) NOT IN (SELECT {unique} FROM moving)"  # noqa: S608
                await session.value(f"DELETE FROM {self.name} WHERE {condition} AND {gone}", *bounds)  # noqa: S608
            await session.run(
                f"INSERT INTO {self.name} ({columns}) SELECT {columns} FROM moving"  # noqa: S608
                f" ON CONFLICT ({unique}) DO {act}"
            )


def digest_of(rows: Iterable[tuple[Any, ...]]) -> Digest:
    """What rows come to, as PostgreSQL reckons it."""
    count = first = second = 0
    for row in rows:
        hashed = md5(_SEPARATOR.join(map(_text, row)).encode(), usedforsecurity=False).digest()
        count += 1
        first += int.from_bytes(hashed[:8], "big", signed=True)
        second += int.from_bytes(hashed[8:], "big", signed=True)
    return Digest(count, first, second)


def _text(value: Any) -> str:
    if value is None:
        return _NOTHING
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _plain(*texts: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Rows as they are, but for the free texts at these places."""
    places = frozenset(texts)

    def made(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(kept(value) if place in places and value is not None else value for place, value in enumerate(row))

    return made if places else tuple


def _table(name: str, columns: str, *texts: str, unique: str = "") -> Table:
    """One that has the same columns in both."""
    names = tuple(columns.split())
    places = (names.index(text) for text in texts)
    return Table(name, names, tuple(unique.split()) or names[:1], name, names, _plain(*places), frozenset(texts))


def _with_quota(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return *row, read_enterprise(row[-1]).quota if row[0] == ENTERPRISE and row[-1] else None


_ENTRIES = ("kind", "key", "grp", "version", "since_ms", "author", "content")
_SUMS = ("prefix", "what")
_USED = ("registrations", "resolutions")
_VERSIONS = ("key", "version", "since_ms", "state", "author", "reason", "content")
_EVENTS = ("sequence", "id", "digest", "enterprise", "capture", "event_time_ms", "recorded_ms", "content")
RECORDS = frozenset({"identifiers", "versions"})
"""Of these the feed of changes tells which rows have changed."""
APPENDED = frozenset({"events", "links"})
"""Their rows never change, and new ones come behind them."""
TABLES: tuple[Table, ...] = (
    Table("entries", (*_ENTRIES, "quota"), ("kind", "key"), "entries", _ENTRIES, _with_quota, shrinks=True),
    _table("entry_versions", "kind key version grp since_ms author content", unique="kind key version"),
    Table("counts", ("prefix", "slot", "registered"), ("prefix", "slot"), "counts", ("prefix", "0", "registered"), tuple),
    Table("sums", (*_SUMS, "slot", "number"), (*_SUMS, "slot"), "sums", (*_SUMS, "0", "number"), tuple),
    Table(
        "usage",
        ("day", "enterprise", "slot", *_USED),
        ("day", "enterprise", "slot"),
        "usage",
        ("day", "enterprise", "0", *_USED),
        tuple,
    ),
    replace(_table("announcements", "sequence enterprise event keys at_ms author"), shrinks=True),
    _table("templates", "owner name version state since_ms author content", unique="owner name version"),
    _table("identifiers", "key since_ms version state owner author reason event_id content", "reason", "event_id"),
    Table(
        "versions",
        _VERSIONS,
        ("key", "version"),
        "versions JOIN identifiers ON identifiers.id = versions.id",
        ("identifiers.key", *(f"versions.{each}" for each in _VERSIONS[1:])),
        _plain(5),
    ),
    _table("leases", "id prefix holder token key suffixes since_ms expires_ms", "holder", "key"),
    _table("returns", "lease suffix prefix at_ms taken", unique="lease suffix"),
    _table("serials", "prefix next"),
    _table("jobs", "key owner author began_ms finished_ms rows created repeated different invalid total cancelled", "key"),
    _table("job_findings", "job row identifier field reason", "job", "field", "reason", unique="job row"),
    _table("job_outcomes", "job row outcomes", "job", unique="job row"),
    _table("captures", "id enterprise author created_ms finished_ms behaviour errors stored repeated"),
    Table(
        "events",
        (*_EVENTS, "id_digest"),
        ("sequence",),
        "events",
        _EVENTS,
        lambda row: (row[0], kept(row[1]), *row[2:], digest(row[1])),
    ),
    Table(
        "links",
        ("sequence", "role", "epc", "epc_digest"),
        ("epc_digest", "sequence", "role"),
        "links",
        ("sequence", "role", "epc"),
        lambda row: (row[0], row[1], kept(row[2]), digest(row[2])),
    ),
)
