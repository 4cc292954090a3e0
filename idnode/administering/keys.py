"""Handle keys: what people and machines of an enterprise prove themselves by, as identities `300:0.NA/88.100.1`.

They are entries, as API keys are: with a role, a label, an expiry and every version. A public key is kept as it is; a secret
stands in an entry of its own, in clear since codes are made with it, and is gone when the key is revoked. The handle of a
prefix tells of them: who administers (HS_ADMIN, HS_VLIST) and the public keys, never a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from idnode.administering.permissions import HS_ADMIN, HS_VLIST, READS, WRITES, Admin
from idnode.administering.proof import PUBLIC_KEY
from idnode.enterprise import NODE_ROLES, Role
from idnode.handle.values import data_of
from idnode.record import DEFAULT_PERMISSIONS, Data, Format, HandleValue
from idnode.schemes.handle import NAMING_AUTHORITY
from idnode.store.business import HANDLE_KEY, Entry, Put, Step

HANDLE_SECRET = "handle-secret"  # noqa: S105 a kind of entry
"""By the key of a HANDLE_KEY entry, the secret."""
FIRST_INDEX = 300
LARGEST_INDEX = 2**31 - 1
MOST_KEYS = 200
"""Of one enterprise, revoked ones counted."""
ROLES = frozenset(Role) - NODE_ROLES
WRITERS, READERS = 100, 101
"""Indexes of the values of type HS_ADMIN in the handle of a prefix; their groups stand a hundred above."""
_TO_GROUP = 100


class HandleKey(msgspec.Struct, frozen=True):
    """A key as the node knows it: not its secret."""

    enterprise: str
    prefix: str
    """The owner key whose handle, `0.NA/88.100.1`, has it as a value."""
    index: int
    label: str
    role: Role
    public: bytes = b""
    """The data of HS_PUBKEY; empty where the key is a secret one."""
    expires_ms: int | None = None
    revoked_ms: int | None = None

    @property
    def key(self) -> str:
        """Under which it is kept; keys of a prefix ascend by index."""
        return key_of(self.prefix, self.index)

    @property
    def handle(self) -> str:
        """Of which it is a value."""
        return f"{NAMING_AUTHORITY}/{self.prefix}"

    @property
    def identity(self) -> str:
        """How its bearer is named, and what they change is signed."""
        return f"{self.index}:{self.handle}"


class Entries(Protocol):
    """Where they are kept."""

    async def entry(self, kind: str, key: str) -> Entry | None:
        """See idnode.store.business.Business."""

    async def entries(self, kind: str, group: str | None = None, after: str = "", limit: int = 100) -> list[Entry]:
        """See idnode.store.business.Business."""


def key_of(prefix: str, index: int) -> str:
    """Under which a key is kept."""
    return f"{prefix}/{index:010d}"


_decoder = msgspec.json.Decoder(HandleKey)


def read_handle_key(content: bytes) -> HandleKey:
    """A key as its entry has it."""
    return _decoder.decode(content)


def put_handle_key(key: HandleKey, secret: bytes | None = None, if_version: int = 0) -> tuple[Step, ...]:
    """The steps that make a key known; `secret`: of one that isn't public."""
    put = Put(HANDLE_KEY, key.key, msgspec.json.encode(key), key.enterprise, if_version)
    return (put,) if secret is None else (put, Put(HANDLE_SECRET, key.key, secret, kept=False))


def revoke_handle_key(entry: Entry, at_ms: int) -> tuple[Step, ...]:
    """The steps that end a key; its secret is gone, and the record of it stays."""
    ended = msgspec.structs.replace(read_handle_key(entry.content), revoked_ms=at_ms)
    return (
        Put(HANDLE_KEY, entry.key, msgspec.json.encode(ended), entry.group, entry.version),
        Put(HANDLE_SECRET, entry.key, b"", kept=False),
    )


async def keys_of(store: Entries, enterprise: str, prefix: str) -> list[HandleKey]:
    """The keys of a prefix that are not revoked and are its owner's, by index; expired ones too."""
    found = [read_handle_key(each.content) for each in await store.entries(HANDLE_KEY, enterprise, f"{prefix}/", MOST_KEYS)]
    return [each for each in found if each.prefix == prefix and each.revoked_ms is None]


async def prefix_values(store: Entries, enterprise: str, prefix: str) -> tuple[HandleValue, ...]:
    """What the handle of a prefix says of its administrators: who they are, what they may, and their public keys."""
    keys = await keys_of(store, enterprise, prefix)
    values: list[HandleValue] = []
    for index, permissions, group in (
        (WRITERS, WRITES, [each for each in keys if each.role is not Role.READER]),
        (READERS, READS, [each for each in keys if each.role is Role.READER]),
    ):
        if group:
            values.append(_admin_value(index, prefix, permissions))
            values.append(_group_value(index + _TO_GROUP, group))
    values += [
        HandleValue(each.index, PUBLIC_KEY, data_of(PUBLIC_KEY, each.public), permissions=DEFAULT_PERMISSIONS)
        for each in keys
        if each.public
    ]
    return tuple(sorted(values, key=lambda value: value.index))


def _admin_value(index: int, prefix: str, permissions: Admin) -> HandleValue:
    told = {"handle": f"{NAMING_AUTHORITY}/{prefix}", "index": index + _TO_GROUP, "permissions": f"{int(permissions):012b}"}
    return HandleValue(index, HS_ADMIN, Data(Format.ADMIN, told))


def _group_value(index: int, keys: Sequence[HandleKey]) -> HandleValue:
    return HandleValue(index, HS_VLIST, Data(Format.VLIST, [{"handle": each.handle, "index": each.index} for each in keys]))
