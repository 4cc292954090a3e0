"""The rows of leases. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from sqlite3 import Connection

from idnode.enterprise import Lease, LeaseOrder, Pool
from idnode.identifier import Identifier
from idnode.store.base import AlreadyThere, NotThere
from idnode.store.outcome import given_back, lease_id, pool_of, suffix

_LEASE = "SELECT id, prefix, holder, suffixes, expires_ms FROM leases"


def lease(connection: Connection, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
    """See Leases.lease."""
    there = _lease(connection.execute(f"{_LEASE} WHERE token = ? AND key = ?", (order.token, order.key)).fetchone())
    if there is not None:
        if there.prefix != order.prefix:
            raise AlreadyThere("that idempotency key ordered under another prefix")
        return there, False
    key = lease_id(order)
    suffixes = _returned_suffixes(connection, order, key)
    suffixes += _free_suffixes(connection, order.prefix, order.count - len(suffixes))
    made = Lease(key, order.prefix, order.holder, tuple(suffixes), order.expires_ms)
    connection.execute(
        "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (made.id, made.prefix, made.holder, order.token, order.key, json.dumps(made.suffixes), at_ms, made.expires_ms),
    )
    return made, True


def _lease(row: tuple[str, str, str, str, int | None] | None) -> Lease | None:
    return None if row is None else Lease(row[0], row[1], row[2], tuple(json.loads(row[3])), row[4])


def _returned_suffixes(connection: Connection, order: LeaseOrder, key: str) -> list[str]:
    """Those that came back and are still free, now taken."""
    rows = connection.execute(
        "SELECT lease, suffix FROM returns WHERE prefix = ? AND taken IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM identifiers WHERE key = returns.prefix || '/' || returns.suffix) ORDER BY suffix LIMIT ?",
        (order.prefix, order.count),
    ).fetchall()
    connection.executemany("UPDATE returns SET taken = ? WHERE lease = ? AND suffix = ?", [(key, *row) for row in rows])
    return [suffix for _, suffix in rows]


def _free_suffixes(connection: Connection, prefix: str, count: int) -> list[str]:
    row = connection.execute("SELECT next FROM serials WHERE prefix = ?", (prefix,)).fetchone()
    serial = 1 if row is None else row[0]
    free: list[str] = []
    while len(free) < count:
        candidate = suffix(serial)
        serial += 1
        if not _is_registered(connection, prefix, candidate):
            free.append(candidate)
    connection.execute(
        "INSERT INTO serials VALUES (?, ?) ON CONFLICT (prefix) DO UPDATE SET next = excluded.next", (prefix, serial)
    )
    return free


def _is_registered(connection: Connection, prefix: str, suffix: str) -> bool:
    key = Identifier(prefix, suffix).key
    return connection.execute("SELECT 1 FROM identifiers WHERE key = ?", (key,)).fetchone() is not None


def pool(connection: Connection, key: str) -> Pool | None:
    """See Pools.pool."""
    lease = _lease(connection.execute(f"{_LEASE} WHERE id = ?", (key,)).fetchone())
    if lease is None:
        return None
    returned = {suffix for (suffix,) in connection.execute("SELECT suffix FROM returns WHERE lease = ?", (key,))}
    registered = {
        each for each in lease.suffixes if each not in returned and _is_registered(connection, lease.prefix, each)
    }  # fmt: skip
    return pool_of(lease, registered, returned)


def give_back(connection: Connection, key: str, suffixes: Sequence[str] | None, at_ms: int) -> Pool:
    """See Pools.give_back."""
    now = pool(connection, key)
    if now is None:
        raise NotThere(f"there is no lease {key}")
    free = given_back(now, suffixes)
    rows = [(key, each, now.lease.prefix, at_ms) for each in free]
    connection.executemany("INSERT INTO returns VALUES (?, ?, ?, ?, NULL)", rows)
    return pool_of(now.lease, {*now.registered}, {*now.returned, *free})
