"""The rows of leases. Functions on a session; who calls them owns the transaction.

Whoever leases under a prefix, or gives back, waits until nobody registers there: what is free is free until the transaction ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from idnode.enterprise import Lease, LeaseOrder, Pool
from idnode.identifier import Identifier
from idnode.store.base import AlreadyThere, NotThere
from idnode.store.outcome import given_back, lease_id, pool_of, suffix
from idnode.store.postgres.connection import Session
from idnode.store.postgres.tally import hold_alone
from idnode.store.postgres.text import kept, told

_LEASE = "SELECT id, prefix, holder, suffixes, expires_ms FROM leases WHERE id = $1"
_SPARE = 64
"""Suffixes that are looked at beyond those that are asked for: some may be registered."""
_TAKE = """
    UPDATE returns SET taken = $3 FROM (
        SELECT lease, suffix FROM returns AS free WHERE prefix = $1 AND taken IS NULL
            AND (SELECT true FROM identifiers WHERE key = free.prefix || '/' || free.suffix) IS NULL
        ORDER BY suffix LIMIT $2
    ) AS free
    WHERE returns.lease = free.lease AND returns.suffix = free.suffix RETURNING returns.suffix"""
_RETURN = """
    INSERT INTO returns (lease, suffix, prefix, at_ms)
    SELECT $1, suffix, $2, $3 FROM unnest($4::text[]) AS suffix ON CONFLICT DO NOTHING"""


async def lease(session: Session, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
    """See Leases.lease."""
    await hold_alone(session, order.prefix)
    # Whoever leases under this prefix waits here, whosever it is; so the same order twice is one lease.
    await session.value("INSERT INTO serials VALUES ($1, 1) ON CONFLICT DO NOTHING", order.prefix)
    serial = await session.value("SELECT next FROM serials WHERE prefix = $1 FOR UPDATE", order.prefix)
    key = lease_id(order)
    there = _lease(await session.row(_LEASE, key))
    if there is not None:
        if there.prefix != order.prefix:
            raise AlreadyThere("that idempotency key ordered under another prefix")
        return there, False
    returned = sorted(suffix for (suffix,) in await session.rows(_TAKE, order.prefix, order.count, key))
    free, serial = await _free_suffixes(session, order.prefix, order.count - len(returned), serial)
    made = Lease(key, order.prefix, order.holder, (*returned, *free), order.expires_ms)
    await session.value("UPDATE serials SET next = $2 WHERE prefix = $1", order.prefix, serial)
    await session.value(
        "INSERT INTO leases VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        made.id, made.prefix, kept(made.holder), order.token, kept(order.key), json.dumps(made.suffixes), at_ms, made.expires_ms,
    )  # fmt: skip
    return made, True


def _lease(row: Any) -> Lease | None:
    return None if row is None else Lease(row[0], row[1], told(row[2]), tuple(json.loads(row[3])), row[4])


async def _free_suffixes(session: Session, prefix: str, count: int, serial: int) -> tuple[list[str], int]:
    """So many that nobody had, and the serial that follows the last."""
    free: list[str] = []
    while len(free) < count:
        numbers = range(serial, serial + count - len(free) + _SPARE)
        taken = await _registered(session, prefix, [suffix(number) for number in numbers])
        for number in numbers:
            if len(free) == count:
                break
            serial = number + 1
            if suffix(number) not in taken:
                free.append(suffix(number))
    return free, serial


async def _registered(session: Session, prefix: str, suffixes: Sequence[str]) -> set[str]:
    keys = {Identifier(prefix, each).key: each for each in suffixes}
    rows = await session.rows("SELECT key FROM identifiers WHERE key = ANY($1::text[])", list(keys))
    return {keys[key] for (key,) in rows}


async def pool(session: Session, key: str) -> Pool | None:
    """See Pools.pool."""
    lease = _lease(await session.row(_LEASE, key))
    if lease is None:
        return None
    returned = {suffix for (suffix,) in await session.rows("SELECT suffix FROM returns WHERE lease = $1", key)}
    kept_back = [each for each in lease.suffixes if each not in returned]
    return pool_of(lease, await _registered(session, lease.prefix, kept_back), returned)


async def give_back(session: Session, key: str, suffixes: Sequence[str] | None, at_ms: int) -> Pool:
    """See Pools.give_back. Done again it changes nothing and tells the same."""
    prefix = await session.value("SELECT prefix FROM leases WHERE id = $1", key)
    if prefix is not None:
        await hold_alone(session, prefix)
    now = await pool(session, key)
    if now is None:
        raise NotThere(f"there is no lease {key}")
    free = given_back(now, suffixes)
    await session.value(_RETURN, key, now.lease.prefix, at_ms, free)
    return pool_of(now.lease, {*now.registered}, {*now.returned, *free})
