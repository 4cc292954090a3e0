"""The rows of enterprises, tokens and leases. Functions on a session; who calls them owns the transaction."""

from __future__ import annotations

import json
from typing import Any

from idnode.enterprise import Enterprise, Lease, LeaseOrder, Name, Role, Token, Visibility
from idnode.identifier import Identifier
from idnode.store.base import AlreadyThere, NotThere
from idnode.store.outcome import lease_id, suffix
from idnode.store.postgres.connection import Session
from idnode.store.postgres.text import kept, told

_ENTERPRISE = "SELECT id, name_zh, name_en, prefix, visibility, author, since_ms FROM enterprises"
_SPARE = 64
"""Suffixes that are looked at beyond those that are asked for: some may be registered."""


async def add_enterprise(
    session: Session, key: str, name: Name, visibility: Visibility, node_prefix: str, author: str, at_ms: int, again: bool
) -> Enterprise:
    """See Enterprises.add_enterprise."""
    await session.run("LOCK TABLE enterprises IN SHARE ROW EXCLUSIVE MODE")  # whoever reads it goes on
    row = await session.row(f"{_ENTERPRISE} WHERE id = $1", key)
    if row is not None:
        there = _enterprise(row)
        if again and (there.name, there.visibility, *row[5:]) == (name, visibility, author, at_ms):
            return there
        raise AlreadyThere(f"there is an enterprise {key}")
    number = await session.value("SELECT coalesce(max(number), 0) + 1 FROM enterprises")
    made = Enterprise(key, name, f"{node_prefix.upper()}.{number}", visibility)
    await session.value(
        "INSERT INTO enterprises VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        key, number, made.prefix, kept(name.zh), kept(name.en), visibility.value, author, at_ms,
    )  # fmt: skip
    return made


def _enterprise(row: Any) -> Enterprise:
    return Enterprise(row[0], Name(told(row[1]), told(row[2])), row[3], Visibility(row[4]))


async def enterprise(session: Session, key: str) -> Enterprise | None:
    """See Enterprises.enterprise."""
    row = await session.row(f"{_ENTERPRISE} WHERE id = $1", key)
    return None if row is None else _enterprise(row)


async def enterprise_of(session: Session, prefix: str) -> Enterprise | None:
    """See Enterprises.enterprise_of."""
    row = await session.row(f"{_ENTERPRISE} WHERE prefix = $1", prefix)
    return None if row is None else _enterprise(row)


async def enterprises(session: Session) -> list[Enterprise]:
    """See Enterprises.enterprises."""
    return [_enterprise(row) for row in await session.rows(f"{_ENTERPRISE} ORDER BY number")]


async def add_token(session: Session, new: Token, author: str, at_ms: int, again: bool) -> None:
    """See Tokens.add_token."""
    if await enterprise(session, new.enterprise) is None:
        raise NotThere(f"there is no enterprise {new.enterprise}")
    made = await session.value(
        "INSERT INTO tokens (digest, enterprise, label, role, author, since_ms) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT DO NOTHING RETURNING 1",
        new.digest, new.enterprise, new.label, new.role.value, author, at_ms,
    )  # fmt: skip
    if made is None and not (again and await token(session, new.digest) == new):
        raise AlreadyThere(f"there is a token {new.label}")


async def revoke_token(session: Session, owner: str, label: str, at_ms: int, again: bool) -> None:
    """See Tokens.revoke_token."""
    where = "WHERE enterprise = $1 AND label = $2 AND"
    ended = await session.value(
        f"UPDATE tokens SET revoked_ms = $3 {where} revoked_ms IS NULL RETURNING 1",  # noqa: S608 a constant
        owner, label, at_ms,
    )  # fmt: skip
    if ended is None and again:
        ended = await session.value(f"SELECT 1 FROM tokens {where} revoked_ms = $3", owner, label, at_ms)  # noqa: S608
    if ended is None:
        raise NotThere(f"there is no token {label}")


async def token(session: Session, digest: bytes) -> Token | None:
    """See Tokens.token."""
    row = await session.row("SELECT enterprise, label, role FROM tokens WHERE digest = $1 AND revoked_ms IS NULL", digest)
    return None if row is None else Token(digest, row[0], row[1], Role(row[2]))


async def lease(session: Session, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
    """See Leases.lease."""
    # Whoever leases under this prefix waits here; so the same order twice is one lease.
    await session.value("INSERT INTO serials VALUES ($1, 1) ON CONFLICT DO NOTHING", order.prefix)
    serial = await session.value("SELECT next FROM serials WHERE prefix = $1 FOR UPDATE", order.prefix)
    row = await session.row("SELECT prefix, holder, suffixes FROM leases WHERE id = $1", lease_id(order))
    if row is not None:
        if row[0] != order.prefix:
            raise AlreadyThere("that idempotency key ordered under another prefix")
        return Lease(lease_id(order), row[0], told(row[1]), tuple(json.loads(row[2]))), False
    free, serial = await _free_suffixes(session, order, serial)
    made = Lease(lease_id(order), order.prefix, order.holder, free)
    await session.value("UPDATE serials SET next = $2 WHERE prefix = $1", order.prefix, serial)
    await session.value(
        "INSERT INTO leases VALUES ($1, $2, $3, $4, $5, $6, $7)",
        made.id, made.prefix, kept(made.holder), order.token, kept(order.key), json.dumps(free), at_ms,
    )  # fmt: skip
    return made, True


async def _free_suffixes(session: Session, order: LeaseOrder, serial: int) -> tuple[tuple[str, ...], int]:
    """As many as are ordered, and the serial that follows the last."""
    free: list[str] = []
    while len(free) < order.count:
        numbers = range(serial, serial + order.count - len(free) + _SPARE)
        keys = {Identifier(order.prefix, suffix(number)).key: number for number in numbers}
        rows = await session.rows("SELECT key FROM identifiers WHERE key = ANY($1::text[])", list(keys))
        taken = {keys[key] for (key,) in rows}
        for number in numbers:
            if len(free) == order.count:
                break
            serial = number + 1
            if number not in taken:
                free.append(suffix(number))
    return tuple(free), serial
