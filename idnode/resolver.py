"""The resolver: what an identifier means, for this caller. Every protocol that answers for the node is a thin face of it."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

import msgspec

from idnode.access import ANYBODY, Caller, Kind
from idnode.administering.keys import prefix_values
from idnode.administering.proof import SECRET_KEY
from idnode.affairs import Mode
from idnode.enterprise import Enterprise, Standing
from idnode.identifier import Identifier, Scheme
from idnode.record import DEFAULT_TTL_S, Data, Format, HandleValue, Permission, Record, State
from idnode.schemes.handle import NAMING_AUTHORITY
from idnode.store.base import Enterprises, Store
from idnode.upstream.delegate import Delegate, Delegations
from idnode.upstream.recursion import FIRST, Recursion, Refer
from idnode.upstream.told import Outcome
from idnode.upstream.upstream import Found, Upstream

URL_INDEX = 1
_UNASKED = Delegate("", 0, Mode.REFERRAL, "", 0)
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
    ELSEWHERE = "elsewhere"
    """It lives on another node, to which who asks is referred."""
    UNREACHABLE = "unreachable"
    """It lives on another node, of which there is no answer that can be used."""


_VERDICTS = {Outcome.FOUND: Verdict.FOUND, Outcome.MISSING: Verdict.UNKNOWN, Outcome.CLOSED: Verdict.FORBIDDEN}


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """What the resolver answers. Values only where the verdict is FOUND, a record there and where it is WITHDRAWN.

    The handle of a prefix has no record and no owner: what it says is the node's affair. What lives elsewhere has no record.
    """

    identifier: Identifier
    verdict: Verdict
    enterprise: Enterprise | None = None
    record: Record | None = None
    values: tuple[HandleValue, ...] = ()
    """Those that the caller may read, by index; never a secret key (HS_SECKEY)."""
    prefix: str = ""
    """The enterprise's under which the identifier is."""
    found: Found | None = None
    """What the node said to which the prefix is delegated, where that is why."""
    delegate: Delegate | None = None
    """That node, where the verdict is ELSEWHERE."""

    @property
    def is_here(self) -> bool:
        """Whether it is for this node to say."""
        return self.found is None and self.delegate is None

    @property
    def lasts(self) -> bool:
        """Whether it stays as it is until something changes here."""
        return self.found is None


class Home(NamedTuple):
    """Where a node's prefixes live."""

    prefix: str
    """The node's own."""
    site: HandleValue
    """HS_SITE: its servers for Handle clients."""


class Resolver:
    """Answers for one node."""

    def __init__(
        self, store: Store, base_url: str, home: Home | None = None, upstream: Upstream | None = None, *, renewed: bool = False
    ) -> None:
        """
        Args:
            base_url: what stands before an identifier in its public address, without a slash at the end.
            home: what the handles of prefixes (0.NA/88.100.1) say of their place; without it they tell of their keys alone.
            upstream: asks the nodes to which prefixes are delegated; None: who asks for what lives there is referred.
            renewed: the store's refresh() is called before each resolution.
        """
        self._store = store
        self.upstream = upstream
        self._renewed = renewed
        self._delegations = Delegations(store)
        self.base_url = base_url
        self._home = home

    def beside(self, store: Store) -> Resolver:
        """The same from a store of this kind, whose refresh() is called before each resolution."""
        return Resolver(store, self.base_url, self._home, self.upstream, renewed=True)

    def address(self, identifier: Identifier) -> str:
        """The identifier's public address."""
        return f"{self.base_url}/{identifier.path}"

    async def resolve_levels(
        self, identifier: Identifier, caller: Caller, as_of_ms: int | None = None, recursion: Recursion = FIRST
    ) -> list[Resolution]:
        """The identifier's resolution, then that of each above it (Identifier.parent): item, lot, product. One owns them all.

        Of what lives on another node it is the identifier's alone: that one knows what is above.
        """
        owner = await owner_of(self._store, identifier)
        levels = [await self.resolve(identifier, caller, as_of_ms, owner, recursion)]
        while levels[0].is_here and (above := levels[-1].identifier.parent) is not None:
            levels.append(await self.resolve(above, caller, as_of_ms, owner))
        return levels

    async def resolve(
        self,
        identifier: Identifier,
        caller: Caller,
        as_of_ms: int | None = None,
        owner: tuple[str, Enterprise | None] | None = None,
        recursion: Recursion | None = FIRST,
    ) -> Resolution:
        """What the identifier means, or meant at that moment, or why this caller isn't told.

        Args:
            owner: owner_of() it, where known.
            recursion: how far the question has come, and whether to refer or to ask where it lives on another node; None: what is
                registered here is wanted, wherever it lives.

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
            return await self._prefix(identifier, recursion)
        if not caller.may_read(enterprise):
            verdict = Verdict.ANONYMOUS if caller.kind is Kind.ANYBODY else Verdict.FORBIDDEN
            return Resolution(identifier, verdict)
        if enterprise.standing is not Standing.ACTIVE and not caller.may_resolve(enterprise):
            return Resolution(identifier, Verdict.BARRED, enterprise, prefix=prefix)
        if recursion is not None:
            if not self._renewed:
                self._delegations.refresh()
            delegate = self._delegations.known.get(prefix, _UNASKED)
            if delegate is _UNASKED:
                delegate = await self._delegations.find(prefix)
            if delegate is not None:
                return await self._elsewhere(identifier, enterprise, delegate, recursion, as_of_ms)
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

    async def _elsewhere(
        self, identifier: Identifier, enterprise: Enterprise, delegate: Delegate, recursion: Recursion, as_of_ms: int | None
    ) -> Resolution:
        """What lives on another node; what it meant at a moment is asked there by who wants to know."""
        upstream = self.upstream
        refers = delegate.mode is Mode.REFERRAL or as_of_ms is not None or upstream is None
        if recursion.refer is Refer.TO_SITE:
            refers = refers or delegate.site_value() is not None
        elif recursion.refer is Refer.TO_WEB:
            refers = refers or delegate.base is not None
        if refers or upstream is None:
            return Resolution(identifier, Verdict.ELSEWHERE, enterprise, prefix=delegate.prefix, delegate=delegate)
        found = await upstream.find(delegate, identifier, recursion)
        verdict = _VERDICTS.get(found.outcome, Verdict.UNREACHABLE)
        return Resolution(identifier, verdict, enterprise, values=found.values, prefix=delegate.prefix, found=found)

    async def _prefix(self, identifier: Identifier, recursion: Recursion | None) -> Resolution:
        """The handle of a prefix that is the node's or an enterprise's, or what is below a delegated one; else nobody owns it."""
        if identifier.scheme is not Scheme.HANDLE:
            return Resolution(identifier, Verdict.UNKNOWN)
        if not self._renewed:
            self._delegations.refresh()
        is_named = identifier.prefix == NAMING_AUTHORITY
        prefix = identifier.suffix if is_named else identifier.prefix
        owner = await self._store.enterprise_of(prefix) if is_named else None
        if owner is None and recursion is not None:
            above = await self._above(prefix)
            if above is not None:
                return await self._elsewhere(identifier, *above, recursion, None)
        if not is_named:
            return Resolution(identifier, Verdict.UNKNOWN)
        keys = () if owner is None else await prefix_values(self._store, owner.id, prefix)
        values = (*await self._site(prefix, owner), *keys)
        return Resolution(identifier, Verdict.FOUND if values else Verdict.UNKNOWN, owner if values else None, values=values)

    async def _site(self, prefix: str, owner: Enterprise | None) -> tuple[HandleValue, ...]:
        """HS_SITE of a prefix: of the node to which it is delegated, else of this one; none where it is nobody's here."""
        delegate = None if owner is None else await self._delegations.find(prefix)
        site = None if delegate is None else delegate.site_value()
        if site is not None:
            return (site,)
        home = self._home
        return () if home is None or (owner is None and prefix != home.prefix.upper()) else (home.site,)

    async def _above(self, prefix: str) -> tuple[Enterprise, Delegate] | None:
        """Of the nearest delegated prefix above one that nobody owns, `88.100.1` of `88.100.1.7`: its owner and its delegate."""
        while (prefix := prefix.rpartition(".")[0]).count("."):
            delegate = await self._delegations.find(prefix)
            owner = None if delegate is None else await self._store.enterprise_of(prefix)
            if delegate is not None and owner is not None:
                return (owner, delegate) if ANYBODY.may_read(owner) and ANYBODY.may_resolve(owner) else None
        return None

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
