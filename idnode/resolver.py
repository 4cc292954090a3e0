"""The resolver: what an identifier means, for this caller. Every protocol that answers for the node is a thin face of it."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

import msgspec

from idnode.access import Caller, Kind
from idnode.administering.keys import prefix_values
from idnode.administering.proof import SECRET_KEY
from idnode.enterprise import Enterprise, Standing
from idnode.identifier import Identifier, Scheme
from idnode.record import DEFAULT_TTL_S, Data, Format, HandleValue, Permission, Record, State
from idnode.schemes.handle import NAMING_AUTHORITY
from idnode.store.base import Enterprises, Store

URL_INDEX = 1
_PUBLIC = int(Permission.PUBLIC_READ)
_HOUSE = int(Permission.ADMIN_READ | Permission.PUBLIC_READ)


class Verdict(Enum):
    """How a resolution ends."""

    FOUND = "found"
    UNKNOWN = "unknown"
    """Not registered."""
    ANONYMOUS = "anonymous"
    """Only the house may know, and nobody said who asks."""
    FORBIDDEN = "forbidden"
    """Only the house may know, and this caller isn't of it."""
    BARRED = "barred"
    """Its enterprise is suspended; its notice says why."""
    WITHDRAWN = "withdrawn"
    """Suspended or retired: that, since when and why is all that others than the house are told. The record is there."""


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """What the resolver answers. Values only where the verdict is FOUND, a record there and where it is WITHDRAWN.

    The handle of a prefix has no record and no owner: what it says is the node's affair.
    """

    identifier: Identifier
    verdict: Verdict
    enterprise: Enterprise | None = None
    record: Record | None = None
    values: tuple[HandleValue, ...] = ()
    """Those that the caller may read, by index; never a secret key (HS_SECKEY)."""
    prefix: str = ""
    """The enterprise's under which the identifier is."""


class Home(NamedTuple):
    """Where a node's prefixes live."""

    prefix: str
    """The node's own."""
    site: HandleValue
    """HS_SITE: its servers for Handle clients."""


class Resolver:
    """Answers for one node."""

    def __init__(self, store: Store, base_url: str, home: Home | None = None) -> None:
        """
        Args:
            base_url: what stands before an identifier in its public address, without a slash at the end.
            home: what the handles of prefixes (0.NA/88.100.1) say of their place; without it they tell of their keys alone.
        """
        self._store = store
        self.base_url = base_url
        self._home = home

    def beside(self, store: Store) -> Resolver:
        """The same from a store of this kind."""
        return Resolver(store, self.base_url, self._home)

    def address(self, identifier: Identifier) -> str:
        """The identifier's public address."""
        return f"{self.base_url}/{identifier.path}"

    async def resolve_levels(self, identifier: Identifier, caller: Caller, as_of_ms: int | None = None) -> list[Resolution]:
        """The identifier's resolution, then that of each above it (Identifier.parent): item, lot, product. One owns them all."""
        owner = await owner_of(self._store, identifier)
        levels = [await self.resolve(identifier, caller, as_of_ms, owner)]
        while (above := levels[-1].identifier.parent) is not None:
            levels.append(await self.resolve(above, caller, as_of_ms, owner))
        return levels

    async def resolve(
        self,
        identifier: Identifier,
        caller: Caller,
        as_of_ms: int | None = None,
        owner: tuple[str, Enterprise | None] | None = None,
    ) -> Resolution:
        """What the identifier means, or meant at that moment, or why this caller isn't told. `owner`: owner_of() it, where known.

        A caller who may not read an enterprise's records gets the same answer whether one exists or not; so does one who asks for
        what a suspended enterprise has registered.
        """
        if owner is not None:
            prefix, enterprise = owner
        elif identifier.scheme is Scheme.HANDLE:  # a handle has one candidate: this is asked ten thousand times a second
            prefix = identifier.prefix
            enterprise = await self._store.enterprise_of(prefix)
        else:
            prefix, enterprise = await owner_of(self._store, identifier)
        if enterprise is None:
            return await self._prefix(identifier)
        if not caller.may_read(enterprise):
            verdict = Verdict.ANONYMOUS if caller.kind is Kind.ANYBODY else Verdict.FORBIDDEN
            return Resolution(identifier, verdict)
        if enterprise.standing is not Standing.ACTIVE and not caller.may_resolve(enterprise):
            return Resolution(identifier, Verdict.BARRED, enterprise, prefix=prefix)
        record = await self._store.record(identifier, as_of_ms)
        if record is None:
            return Resolution(identifier, Verdict.UNKNOWN, enterprise, prefix=prefix)
        is_of_house = caller.belongs_to(enterprise)
        if record.state is not State.ACTIVE and not is_of_house:
            if record.state is State.RESERVED:
                return Resolution(identifier, Verdict.UNKNOWN, enterprise, prefix=prefix)
            return Resolution(identifier, Verdict.WITHDRAWN, enterprise, record, prefix=prefix)
        needed = _HOUSE if is_of_house else _PUBLIC
        values = tuple([value for value in record.values if value.permissions & needed and value.type != SECRET_KEY])
        return Resolution(identifier, Verdict.FOUND, enterprise, record, self._with_address(identifier, record, values), prefix)

    async def _prefix(self, identifier: Identifier) -> Resolution:
        """The handle of a prefix that is the node's or an enterprise's; whatever else nobody owns is unknown."""
        if identifier.prefix != NAMING_AUTHORITY or identifier.scheme is not Scheme.HANDLE:
            return Resolution(identifier, Verdict.UNKNOWN)
        prefix, home = identifier.suffix, self._home
        owner = await self._store.enterprise_of(prefix)
        site = () if home is None or (owner is None and prefix != home.prefix.upper()) else (home.site,)
        keys = () if owner is None else await prefix_values(self._store, owner.id, prefix)
        if not site and not keys:
            return Resolution(identifier, Verdict.UNKNOWN)
        return Resolution(identifier, Verdict.FOUND, owner, values=(*site, *keys))

    def _with_address(self, identifier: Identifier, record: Record, values: tuple[HandleValue, ...]) -> tuple[HandleValue, ...]:
        """The values, headed by the address of the page where the record has no URL: that is the node's affair."""
        for value in record.values:
            if value.index == URL_INDEX or value.type == "URL":
                return values
        data = Data(Format.STRING, self.address(identifier))
        own = HandleValue(URL_INDEX, "URL", data, DEFAULT_TTL_S, timestamp_ms=record.since_ms)
        return (own, *values)


async def owner_of(store: Enterprises, identifier: Identifier) -> tuple[str, Enterprise | None]:
    """The longest prefix of an identifier that is owned, and its enterprise; nothing and None where nobody owns any."""
    for prefix in identifier.owners():
        found = await store.enterprise_of(prefix)
        if found is not None:
            return prefix, found
    return "", None


def matching(values: Collection[HandleValue], indexes: Collection[int], types: Collection[str]) -> tuple[HandleValue, ...]:
    """The values asked for: those with one of the indexes or of the types, all when neither is given.

    A type that ends in a dot stands for all that begin with it (Handle wire protocol, RESOLUTION). Many indexes come as a set.
    """
    if not indexes and not types:
        return tuple(values)
    exact = frozenset(types)
    stems = frozenset(kind for kind in types if kind.endswith("."))
    return tuple(value for value in values if value.index in indexes or value.type in exact or _has_stem(value.type, stems))


def _has_stem(kind: str, stems: Collection[str]) -> bool:
    """Whether a type begins with one of the stems, each of which ends in a dot: thousands of them cost no more than one."""
    return bool(stems) and any(kind[: place + 1] in stems for place, letter in enumerate(kind) if letter == ".")
