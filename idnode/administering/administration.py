"""What administrators do with identifiers: create, add, modify and remove values, delete, list. Each at once or not at all.

There is no way past registration over HTTP: the same prefixes and standing of enterprises, quotas, templates, states and
versions. A role gives what it gives over HTTP; HS_ADMIN in a handle gives to identities without one, of the enterprise behind
its prefix only, and never more than that enterprise may itself. All of it raises Refusal, and of the store's errors those that
are nobody's fault (idnode.store.errors: StoreFull, StoreAway, StoreFailed).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from enum import Enum

from idnode.access import ANYBODY, Caller, Kind
from idnode.administering.granting import granted
from idnode.administering.identities import Administrator
from idnode.administering.permissions import NOTHING, Admin, needed, of_house
from idnode.administering.refusal import Refusal
from idnode.administering.values import check_count, check_values
from idnode.enterprise import Enterprise
from idnode.handle.codes import ResponseCode
from idnode.identifier import Identifier
from idnode.record import Change, HandleValue, Permission, Record, Registered, Registration, State, is_deleted
from idnode.resolver import owner_of
from idnode.schemes.handle import NAMING_AUTHORITY
from idnode.store.base import NotThere, Outdated, OverQuota, Retired, Store, StoreRefused
from idnode.template_use import Inspector

DELETED = "deleted"
"""The reason of a record that a Handle client deleted."""
MOST_LISTED = 1000
_TRIES = 5
"""Of a change, while others change the same record."""


class Existing(Enum):
    """What becomes of a value whose index is there."""

    REFUSE = "refuse"
    """It stays, and nothing is done: values are added."""
    REQUIRE = "require"
    """It has to be there, and is replaced: values are modified."""
    REPLACE = "replace"
    """It is replaced, where it is there."""


class Administration:
    """One node's."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        """`now_ms`: the clock, UTC."""
        self._store = store
        self._now_ms = now_ms

    async def create(
        self, who: Administrator, identifier: Identifier, values: Sequence[HandleValue], *, overwrite: bool = False
    ) -> None:
        """Register an identifier; `overwrite`: or give the one that is there these values in place of its own.

        Raises:
            Refusal: HANDLE_ALREADY_EXISTS, also for one that is retired or deleted: it never comes back. INVALID_VALUE,
                VALUE_ALREADY_EXISTS (two of one index), NOT_RESPONSIBLE, INSUFFICIENT_PERMISSIONS (beyond the quota, too).
        """
        check_values(values)
        _, owner = await self._owner(identifier)
        if not who.caller.may_register(owner):
            raise _insufficient(owner.bar(self._now_ms()) or "creating handles here is not open to you")
        new = Registration(identifier, tuple(values))
        (became,) = await self._store.register([new], who.caller.author, self._now_ms())
        if became is Registered.OVER_QUOTA:
            raise _insufficient(f"{identifier} is one more than its enterprise may have")
        if became is not Registered.CREATED:
            await self._overwrite(who, identifier, values, allowed=overwrite)

    async def _overwrite(
        self, who: Administrator, identifier: Identifier, values: Sequence[HandleValue], *, allowed: bool
    ) -> None:
        exists = Refusal(ResponseCode.HANDLE_ALREADY_EXISTS, f"{identifier} is registered already")
        if not allowed:
            raise exists
        record = await self._store.record(identifier)
        if record is not None and record.state is State.RETIRED:
            raise Refusal(ResponseCode.HANDLE_ALREADY_EXISTS, f"{identifier} is retired, and never comes back")
        await self._edit(who, identifier, Admin.DELETE_HANDLE, lambda _: tuple(values))

    async def put_values(
        self, who: Administrator, identifier: Identifier, values: Sequence[HandleValue], existing: Existing
    ) -> None:
        """Put values among those of an identifier.

        Raises:
            Refusal: HANDLE_NOT_FOUND, VALUE_ALREADY_EXISTS, VALUES_NOT_FOUND, INVALID_VALUE, NOT_RESPONSIBLE,
                INSUFFICIENT_PERMISSIONS.
        """
        check_values(values)

        def edit(before: Sequence[HandleValue]) -> tuple[HandleValue, ...]:
            there = {value.index: value for value in before}
            met = [value.index for value in values if value.index in there]
            if existing is Existing.REFUSE and met:
                raise Refusal(ResponseCode.VALUE_ALREADY_EXISTS, f"{met[0]}: there is a value")
            if existing is Existing.REQUIRE and len(met) < len(values):
                raise Refusal(ResponseCode.VALUES_NOT_FOUND, "not all of these values are there")
            _check_writable([there[index] for index in met])
            return (*(value for value in before if value.index not in set(met)), *values)

        await self._edit(who, identifier, NOTHING, edit)

    async def remove_values(self, who: Administrator, identifier: Identifier, indexes: Collection[int]) -> None:
        """Remove the values of these indexes, all of which have to be there.

        Raises:
            Refusal: HANDLE_NOT_FOUND, VALUES_NOT_FOUND, NOT_RESPONSIBLE, INSUFFICIENT_PERMISSIONS.
        """
        gone = frozenset(indexes)

        def edit(before: Sequence[HandleValue]) -> tuple[HandleValue, ...]:
            removed = [value for value in before if value.index in gone]
            if len(removed) < len(gone):
                raise Refusal(ResponseCode.VALUES_NOT_FOUND, "not all of these values are there")
            _check_writable(removed)
            return tuple(value for value in before if value.index not in gone)

        await self._edit(who, identifier, NOTHING, edit)

    async def delete(self, who: Administrator, identifier: Identifier) -> None:
        """Retire an identifier without its values and links, so that Handle clients find none; it never comes back.

        Raises:
            Refusal: HANDLE_NOT_FOUND, also for one that is deleted; NOT_RESPONSIBLE, INSUFFICIENT_PERMISSIONS.
        """
        record, _ = await self._changeable(who, identifier, Admin.DELETE_HANDLE)
        gone = Change(values=(), links=(), template=None, state=State.RETIRED, reason=DELETED)
        if record.state is State.RETIRED:
            raise _insufficient(f"{identifier} is retired, which stays to be seen")
        await self._changed(who, identifier, gone, None)

    async def list_handles(self, who: Administrator, prefix: str, after: str, limit: int) -> tuple[list[str], str | None]:
        """The handles under a prefix, ascending, behind `after`, at most MOST_LISTED of them; deleted ones aren't.

        Returns:
            They, and what to go on behind; None where there are no more.

        Raises:
            Refusal: NOT_RESPONSIBLE, INSUFFICIENT_PERMISSIONS.
        """
        owner = await self._store.enterprise_of(prefix)
        if owner is None:
            raise _not_here(prefix)
        if not of_house(who.caller, owner) & Admin.LIST_HANDLES:
            raise _insufficient("listing handles here is not open to you")
        asked = min(limit, MOST_LISTED)
        found = await self._store.records(prefix, after, asked)
        handles = [record.identifier.key for record in found if not is_deleted(record)]
        return handles, found[-1].identifier.key if len(found) == asked else None

    async def reader_of(self, who: Administrator, identifier: Identifier) -> Caller:
        """As whom to resolve an identifier: the house where READ_VALUE is given, else anybody."""
        _, owner = await owner_of(self._store, identifier)
        if owner is None or not who.caller.belongs_to(owner):
            return ANYBODY
        if of_house(who.caller, owner) & Admin.READ_VALUE:
            return who.caller
        record = await self._store.record(identifier)
        given = NOTHING if record is None else await granted(self._store, who.identity, record.values)
        return who.caller if given & Admin.READ_VALUE else ANYBODY

    async def _owner(self, identifier: Identifier) -> tuple[str, Enterprise]:
        if identifier.prefix == NAMING_AUTHORITY:
            raise Refusal(ResponseCode.OPERATION_NOT_SUPPORTED, "prefixes are the node's administrator's to give and change")
        prefix, owner = await owner_of(self._store, identifier)
        if owner is None:
            raise _not_here(identifier.prefix)
        return prefix, owner

    async def _changeable(self, who: Administrator, identifier: Identifier, bits: Admin) -> tuple[Record, Admin]:
        """The record that is there, and what may be done with it, which includes `bits`.

        Raises:
            Refusal
        """
        _, owner = await self._owner(identifier)
        if who.caller.kind is not Kind.ADMIN and not who.caller.belongs_to(owner):
            raise _insufficient("this is another house's")
        if who.caller.barred:
            raise _insufficient(who.caller.barred)
        record = await self._store.record(identifier)
        if record is None or is_deleted(record):
            raise Refusal(ResponseCode.HANDLE_NOT_FOUND, f"{identifier} is not registered")
        given = of_house(who.caller, owner) | await granted(self._store, who.identity, record.values)
        if bits & ~given:
            raise _missing(bits & ~given)
        return record, given

    async def _edit(
        self,
        who: Administrator,
        identifier: Identifier,
        bits: Admin,
        edit: Callable[[Sequence[HandleValue]], tuple[HandleValue, ...]],
    ) -> None:
        """Make values of those that are there. It takes `bits`, or where none are named what the difference needs."""
        for _ in range(_TRIES):
            record, given = await self._changeable(who, identifier, bits)
            values = edit(record.values)
            check_count(values)
            lacking = (bits or needed(record.values, values)) & ~given
            if lacking:
                raise _missing(lacking)
            prefix, _ = await self._owner(identifier)
            wrong = await Inspector(self._store).mistakes(prefix, record.template, values, record.template)
            if wrong:
                told = "; ".join(each.reason if each.index is None else f"{each.index}: {each.reason}" for each in wrong[:3])
                raise Refusal(ResponseCode.INVALID_VALUE, told)
            try:
                await self._changed(who, identifier, Change(values=values), record.version)
            except Outdated:
                continue
            return
        raise Refusal(ResponseCode.SERVER_TOO_BUSY, "others keep changing this; try again")

    async def _changed(self, who: Administrator, identifier: Identifier, change: Change, version: int | None) -> None:
        try:
            await self._store.change(identifier, change, who.caller.author, self._now_ms(), version)
        except Outdated:
            raise
        except NotThere as error:
            raise Refusal(ResponseCode.HANDLE_NOT_FOUND, str(error)) from error
        except (Retired, OverQuota) as error:
            raise _insufficient(str(error)) from error
        except StoreRefused as error:
            raise Refusal(ResponseCode.ERROR, str(error)) from error


def minted(stem: str) -> str:
    """A handle that begins so and that nobody has."""
    return f"{stem}{secrets.token_hex(16)}"


def _check_writable(values: Collection[HandleValue]) -> None:
    fixed = next((value for value in values if not value.permissions & Permission.ADMIN_WRITE), None)
    if fixed is not None:
        raise _insufficient(f"{fixed.index}: its permissions let nobody change it")


def _missing(bits: Admin) -> Refusal:
    return _insufficient(f"{bits.name or int(bits)} is not given to you here")


def _insufficient(why: str) -> Refusal:
    return Refusal(ResponseCode.INSUFFICIENT_PERMISSIONS, why)


def _not_here(prefix: str) -> Refusal:
    return Refusal(ResponseCode.NOT_RESPONSIBLE, f"the prefix {prefix} doesn't live here")
