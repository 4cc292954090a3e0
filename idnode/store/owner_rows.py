"""The rows of enterprises, tokens and leases. Functions on a connection; who calls them owns the transaction."""

from __future__ import annotations

import json
from sqlite3 import Connection

from idnode.enterprise import Enterprise, Lease, LeaseOrder, Name, Role, Token, Visibility
from idnode.identifier import Identifier
from idnode.store.base import AlreadyThere, NotThere
from idnode.store.outcome import lease_id, suffix

_ENTERPRISE = "SELECT id, name_zh, name_en, prefix, visibility FROM enterprises"


def add_enterprise(
    connection: Connection, key: str, name: Name, visibility: Visibility, node_prefix: str, author: str, at_ms: int
) -> Enterprise:
    """See Enterprises.add_enterprise."""
    if enterprise(connection, key) is not None:
        raise AlreadyThere(f"there is an enterprise {key}")
    (number,) = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM enterprises").fetchone()
    made = Enterprise(key, name, f"{node_prefix.upper()}.{number}", visibility)
    connection.execute(
        "INSERT INTO enterprises VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (key, number, made.prefix, name.zh, name.en, visibility, author, at_ms),
    )
    return made


def _enterprise(row: tuple[str, str, str, str, str] | None) -> Enterprise | None:
    if row is None:
        return None
    key, zh, en, prefix, visibility = row
    return Enterprise(key, Name(zh, en), prefix, Visibility(visibility))


def enterprise(connection: Connection, key: str) -> Enterprise | None:
    """See Enterprises.enterprise."""
    return _enterprise(connection.execute(f"{_ENTERPRISE} WHERE id = ?", (key,)).fetchone())


def enterprise_of(connection: Connection, prefix: str) -> Enterprise | None:
    """See Enterprises.enterprise_of."""
    return _enterprise(connection.execute(f"{_ENTERPRISE} WHERE prefix = ?", (prefix,)).fetchone())


def enterprises(connection: Connection) -> list[Enterprise]:
    """See Enterprises.enterprises."""
    rows = connection.execute(f"{_ENTERPRISE} ORDER BY number").fetchall()
    return [found for row in rows if (found := _enterprise(row)) is not None]


def add_token(connection: Connection, new: Token, author: str, at_ms: int) -> None:
    """See Tokens.add_token."""
    if enterprise(connection, new.enterprise) is None:
        raise NotThere(f"there is no enterprise {new.enterprise}")
    taken = connection.execute(
        "SELECT 1 FROM tokens WHERE enterprise = ? AND label = ? AND revoked_ms IS NULL", (new.enterprise, new.label)
    ).fetchone()
    if taken:
        raise AlreadyThere(f"there is a token {new.label}")
    connection.execute(
        "INSERT INTO tokens (digest, enterprise, label, role, author, since_ms) VALUES (?, ?, ?, ?, ?, ?)",
        (new.digest, new.enterprise, new.label, new.role, author, at_ms),
    )


def revoke_token(connection: Connection, owner: str, label: str, at_ms: int) -> None:
    """See Tokens.revoke_token."""
    ended = connection.execute(
        "UPDATE tokens SET revoked_ms = ? WHERE enterprise = ? AND label = ? AND revoked_ms IS NULL", (at_ms, owner, label)
    )
    if ended.rowcount == 0:
        raise NotThere(f"there is no token {label}")


def token(connection: Connection, digest: bytes) -> Token | None:
    """See Tokens.token."""
    row = connection.execute(
        "SELECT enterprise, label, role FROM tokens WHERE digest = ? AND revoked_ms IS NULL", (digest,)
    ).fetchone()
    return None if row is None else Token(digest, row[0], row[1], Role(row[2]))


def lease(connection: Connection, order: LeaseOrder, at_ms: int) -> tuple[Lease, bool]:
    """See Leases.lease."""
    row = connection.execute(
        "SELECT id, prefix, holder, suffixes FROM leases WHERE token = ? AND key = ?", (order.token, order.key)
    ).fetchone()
    if row is not None:
        if row[1] != order.prefix:
            raise AlreadyThere("that idempotency key ordered under another prefix")
        return Lease(row[0], row[1], row[2], tuple(json.loads(row[3]))), False
    made = Lease(lease_id(order), order.prefix, order.holder, tuple(_free_suffixes(connection, order)))
    connection.execute(
        "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)",
        (made.id, made.prefix, made.holder, order.token, order.key, json.dumps(made.suffixes), at_ms),
    )
    return made, True


def _free_suffixes(connection: Connection, order: LeaseOrder) -> list[str]:
    row = connection.execute("SELECT next FROM serials WHERE prefix = ?", (order.prefix,)).fetchone()
    serial = 1 if row is None else row[0]
    free: list[str] = []
    while len(free) < order.count:
        candidate = suffix(serial)
        serial += 1
        key = Identifier(order.prefix, candidate).key
        taken = connection.execute("SELECT 1 FROM identifiers WHERE key = ?", (key,))
        if taken.fetchone() is None:
            free.append(candidate)
    connection.execute(
        "INSERT INTO serials VALUES (?, ?) ON CONFLICT (prefix) DO UPDATE SET next = excluded.next", (order.prefix, serial)
    )
    return free
