"""What the values of a handle give to an identity: by name, or as a member of a group in this handle or another."""

from __future__ import annotations

from collections.abc import Sequence

from idnode.administering.keys import prefix_values
from idnode.administering.permissions import NOTHING, Admin, grant_of, members_of
from idnode.identifier import Identifier, parse_identifier
from idnode.record import HandleValue, Reference, State
from idnode.schemes.handle import NAMING_AUTHORITY
from idnode.store.base import Store

MOST_DEPTH = 8
"""Groups within groups."""
MOST_LOOKED_AT = 64
"""Groups that are read for one answer."""


async def granted(store: Store, identity: Reference | None, values: Sequence[HandleValue]) -> Admin:
    """The permissions that HS_ADMIN values give to an identity; nothing to who came without one.

    A group within another counts; one that isn't there, or is of an identifier that isn't in force, is nobody. Beyond the bounds
    nothing is given.
    """
    if identity is None:
        return NOTHING
    grants = [each for each in map(grant_of, values) if each is not None]
    given = NOTHING
    groups = _Groups(store, identity)
    for grant in grants:
        if grant.permissions & ~given and (grant.to == identity or await groups.holds(grant.to, 0)):
            given |= grant.permissions
    return given


class _Groups:
    """Looks for one identity in groups, each of which it reads once."""

    def __init__(self, store: Store, identity: Reference) -> None:
        self._store = store
        self._identity = identity
        self._seen: dict[Reference, bool] = {}

    async def holds(self, group: Reference, depth: int) -> bool:
        if group in self._seen:
            return self._seen[group]
        if depth >= MOST_DEPTH or len(self._seen) >= MOST_LOOKED_AT:
            return False
        self._seen[group] = False  # a group that is in itself adds nobody
        value = await self._value(group)
        members = () if value is None else members_of(value)
        found = self._identity in members
        for member in members:
            found = found or await self.holds(member, depth + 1)
        self._seen[group] = found
        return found

    async def _value(self, named: Reference) -> HandleValue | None:
        identifier = parse_identifier(named.handle)
        return next((each for each in await self._values(identifier) if each.index == named.index), None)

    async def _values(self, identifier: Identifier) -> Sequence[HandleValue]:
        if identifier.prefix == NAMING_AUTHORITY:
            owner = await self._store.enterprise_of(identifier.suffix)
            return () if owner is None else await prefix_values(self._store, owner.id, identifier.suffix)
        record = await self._store.record(identifier)
        return record.values if record is not None and record.state is State.ACTIVE else ()
