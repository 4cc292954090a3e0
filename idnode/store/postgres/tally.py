"""Whose the prefixes are under which something is registered, and how much more may be: held still while it is registered.

What a process has seen of it is taken for true, and checked in the transaction (idnode_hold), so that as a rule nothing is asked
beforehand; if it is otherwise, it is looked up and tried again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from idnode.identifier import Scheme
from idnode.record import Registration
from idnode.store.business import DAY_MS
from idnode.store.postgres.connection import Conflict, Session

MOST_KNOWN = 50_000
"""Prefixes that are remembered."""
_OWNED = """
    SELECT owned.key, owned.grp, (SELECT quota FROM entries WHERE kind = 'enterprise' AND key = owned.grp) IS NOT NULL
    FROM entries AS owned WHERE kind = 'prefix' AND key = ANY($1::text[]) AND content <> ''"""
_ADD = "SELECT idnode_add($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])"
_ANNOUNCE = """
    INSERT INTO announcements
    SELECT nextval('announcement_sequence'), enterprise, 'registered', keys, at_ms, author FROM (
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[])
            WITH ORDINALITY AS new (enterprise, at_ms, author, keys, place) ORDER BY place
    ) AS new"""
_HOLD = "SELECT idnode_hold($1::text[], $2::text[], $3::boolean[])"


class Placed(Protocol):
    """What is to be registered."""

    registration: Registration
    key: str
    at_ms: int
    author: str
    prefix: str
    """Under which it is: the longest that is owned, else the shortest that could be."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is assumed of some prefixes, in columns."""

    prefixes: list[str]
    enterprises: list[str | None]
    """Whose each is; None: nobody's."""
    alone: list[bool]
    """Whether nobody else may register there meanwhile: where there is a quota."""

    @property
    def columns(self) -> tuple[list[str], list[str | None], list[bool]]:
        """For idnode_hold."""
        return self.prefixes, self.enterprises, self.alone


class Owners:
    """What is known of prefixes."""

    def __init__(self) -> None:
        self._enterprises: dict[str, str | None] = {}
        """By prefix, those of handles; None: nobody's."""
        self._limited: set[str] = set()
        """Enterprises with a quota."""

    def watch(self, keys: Collection[str] | None) -> None:
        """Told by the feed: what anything may depend on is looked up anew."""
        if keys is None:
            self._enterprises.clear()
            self._limited.clear()

    async def place(self, session: Session, new: Sequence[Placed]) -> Told:
        """Say of each under which prefix it is. Of handles that are known nothing is asked."""
        known: dict[str, str | None] = {}  # others forget meanwhile
        candidates: list[tuple[Placed, list[str]]] = []
        unknown: set[str] = set()
        for each in new:
            identifier = each.registration.identifier
            if identifier.scheme is Scheme.HANDLE:  # it can have but one owner
                prefix = each.prefix = identifier.prefix
                if prefix in self._enterprises:
                    known[prefix] = self._enterprises[prefix]
                else:
                    unknown.add(prefix)
            else:
                candidates.append((each, list(identifier.owners())))
        if unknown or candidates:
            owned = await self._look_up(session, unknown.union(*(found for _, found in candidates)))
            for each, found in candidates:
                each.prefix = next((owner for owner in found if owner in owned), found[-1])
            looked_up = {*unknown, *(each.prefix for each, _ in candidates)}
            known.update((each, owned.get(each)) for each in looked_up)
            self._enterprises.update((each, owned.get(each)) for each in unknown)
        enterprises = list(known.values())
        return Told(list(known), enterprises, [each in self._limited for each in enterprises])

    async def _look_up(self, session: Session, prefixes: Collection[str]) -> dict[str, str]:
        """Whose those are that are somebody's."""
        rows = await session.rows(_OWNED, sorted(prefixes))
        if len(self._enterprises) > MOST_KNOWN:
            self._enterprises.clear()
        for _, enterprise, is_limited in rows:
            (self._limited.add if is_limited else self._limited.discard)(enterprise)
        return {prefix: enterprise for prefix, enterprise, _ in rows}

    def otherwise(self, told: Told) -> Conflict:
        """It isn't as told: it is looked up when the transaction is tried again, which must not go on with its locks."""
        for each in told.prefixes:
            self._enterprises.pop(each, None)
        return Conflict("others have changed whose the prefixes are, or a quota")

    async def hold(self, session: Session, new: Sequence[Placed]) -> tuple[Told, Rooms]:
        """place() them, and keep that as it is until the transaction ends.

        Raises:
            Conflict
        """
        if not new:
            return Told([], [], []), Rooms(Told([], [], []), [])
        told = await self.place(session, new)
        rooms = await session.value(_HOLD, *told.columns)
        if rooms is None:
            raise self.otherwise(told)
        return told, Rooms(told, rooms)


class Rooms:
    """How many more may be registered, while that is held."""

    def __init__(self, told: Told, rooms: Sequence[int | None]) -> None:
        self._enterprise = dict(zip(told.prefixes, told.enterprises, strict=True))
        self._rooms = dict(zip(told.enterprises, rooms, strict=True))

    def take(self, new: Placed) -> bool:
        """Whether there is room for one more; there is one less then."""
        enterprise = self._enterprise[new.prefix]
        room = self._rooms[enterprise]
        if enterprise is None or room is None:
            return True
        self._rooms[enterprise] = max(0, room - 1)
        return room > 0

    def put_back(self, new: Placed) -> None:
        """take() undone."""
        enterprise = self._enterprise[new.prefix]
        room = self._rooms[enterprise]
        if enterprise is not None and room is not None:
            self._rooms[enterprise] = room + 1


async def hold_alone(session: Session, prefix: str) -> None:
    """Until the transaction ends nobody registers or leases under that prefix.

    Raises:
        Conflict
    """
    enterprise = await session.value("SELECT grp FROM entries WHERE kind = 'prefix' AND key = $1 AND content <> ''", prefix)
    if await session.value(_HOLD, [prefix], [enterprise], [True]) is None:
        raise Conflict("another gives it away")


async def count(session: Session, made: Sequence[Placed], told: Told) -> None:
    """Count what was registered while that is held, and keep it for those who subscribe to it."""
    owner = dict(zip(told.prefixes, told.enterprises, strict=True))
    owned = [(each, enterprise) for each in made if (enterprise := owner[each.prefix]) is not None]
    if not owned:
        return
    prefixes = Counter(each.prefix for each, _ in owned)
    days = Counter((each.at_ms // DAY_MS, enterprise) for each, enterprise in owned)
    of_days = [day for day, _ in days], [enterprise for _, enterprise in days], list(days.values())
    subscribed = frozenset(await session.value(_ADD, list(prefixes), list(prefixes.values()), *of_days))
    keys: defaultdict[tuple[str, int, str], list[str]] = defaultdict(list)
    if subscribed:
        for each, enterprise in owned:
            if enterprise in subscribed:
                keys[enterprise, each.at_ms, each.author].append(each.key)
    if keys:
        rows = [(*place, msgspec.json.encode(listed)) for place, listed in keys.items()]
        await session.value(_ANNOUNCE, *map(list, zip(*rows, strict=True)))
