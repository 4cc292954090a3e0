"""What an administrator may do: the bits of HS_ADMIN (Handle wire protocol), and which of them a change needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntFlag

import msgspec

from idnode.access import Caller
from idnode.enterprise import Enterprise
from idnode.handle.codes import MOST_HANDLE_BYTES
from idnode.handle.fields import BadMessage, Reader
from idnode.handle.values import data_bytes
from idnode.identifier import InvalidIdentifier, parse_identifier
from idnode.record import HandleValue, Reference

HS_ADMIN, HS_VLIST = "HS_ADMIN", "HS_VLIST"
MOST_MEMBERS = 1000
"""Of a group."""


class Admin(IntFlag):
    """The permissions of HS_ADMIN."""

    ADD_HANDLE = 0x001
    DELETE_HANDLE = 0x002
    ADD_PREFIX = 0x004
    DELETE_PREFIX = 0x008
    MODIFY_VALUE = 0x010
    REMOVE_VALUE = 0x020
    ADD_VALUE = 0x040
    MODIFY_ADMIN = 0x080
    REMOVE_ADMIN = 0x100
    ADD_ADMIN = 0x200
    READ_VALUE = 0x400
    LIST_HANDLES = 0x800


NOTHING = Admin(0)
READS = Admin.READ_VALUE | Admin.LIST_HANDLES
WRITES = Admin(0xFFF) & ~(Admin.ADD_PREFIX | Admin.DELETE_PREFIX)
"""Prefixes are given by the node's administrator only."""


class Grant(msgspec.Struct, frozen=True):
    """What a value of type HS_ADMIN says."""

    permissions: Admin
    to: Reference
    """An identity, or a group of them."""


def of_house(caller: Caller, enterprise: Enterprise) -> Admin:
    """What a caller's role gives under the enterprise's prefixes, whatever their handles say: no more than over HTTP."""
    if caller.role is None or not caller.belongs_to(enterprise):
        return NOTHING
    return WRITES if caller.may_change(enterprise) else READS


def grant_of(value: HandleValue) -> Grant | None:
    """What a value grants; None where it isn't HS_ADMIN, or says nothing that can be read.

    Permissions have two bytes, or four as old clients write them.
    """
    if value.type != HS_ADMIN:
        return None
    data = data_bytes(value.data)
    for read in (Reader.int2, Reader.int4):
        reader = Reader(data)
        try:
            permissions = read(reader)
            to = Reference(reader.text(MOST_HANDLE_BYTES), reader.int4())
            reader.finish()
            return Grant(Admin(permissions & int(Admin(0xFFF))), _normal(to))
        except (BadMessage, InvalidIdentifier):
            continue
    return None


def members_of(value: HandleValue) -> tuple[Reference, ...]:
    """Those whom a group names; nobody where the value is none. What can't be read is nobody."""
    if value.type != HS_VLIST:
        return ()
    reader = Reader(data_bytes(value.data))
    found: list[Reference] = []
    try:
        for _ in range(reader.count(8, MOST_MEMBERS)):
            named = Reference(reader.text(MOST_HANDLE_BYTES), reader.int4())
            try:
                found.append(_normal(named))
            except InvalidIdentifier:
                continue  # of another system: nobody here
        reader.finish()
    except BadMessage:
        return ()
    return tuple(found)


def _normal(named: Reference) -> Reference:
    return Reference(parse_identifier(named.handle).key, named.index)


def needed(before: Sequence[HandleValue], after: Sequence[HandleValue]) -> Admin:
    """What it takes to make values of others; their timestamps aren't looked at."""
    old, new = ({value.index: value for value in values} for values in (before, after))
    bits = NOTHING
    for index in old.keys() | new.keys():
        was, becomes = old.get(index), new.get(index)
        if was is None or becomes is None:
            only = was or becomes
            assert only is not None
            bits |= _ADDING[_is_admin([only])] if was is None else _REMOVING[_is_admin([only])]
        elif msgspec.structs.replace(becomes, timestamp_ms=was.timestamp_ms) != was:
            bits |= _MODIFYING[_is_admin([was, becomes])]
            if was.type != becomes.type and HS_ADMIN in (was.type, becomes.type):
                bits |= Admin.MODIFY_VALUE
    return bits


def _is_admin(values: Iterable[HandleValue]) -> bool:
    return any(value.type == HS_ADMIN for value in values)


_ADDING = {False: Admin.ADD_VALUE, True: Admin.ADD_ADMIN}
_REMOVING = {False: Admin.REMOVE_VALUE, True: Admin.REMOVE_ADMIN}
_MODIFYING = {False: Admin.MODIFY_VALUE, True: Admin.MODIFY_ADMIN}
