"""Enterprises and tokens as entries: the part of the contract that every store has from idnode.store.business alone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from idnode.enterprise import NODE, Enterprise, Name, Role, Standing, Token, Visibility
from idnode.store.base import AlreadyThere, NotThere, Stale
from idnode.store.business import ENTERPRISE, PREFIX, Business, Entry, Put, Step

SERIES = "series"
"""By node prefix, the number of the last prefix below it that was given."""
KEY = "key"
"""By Token.key."""
SECRET = "secret"  # noqa: S105 a kind of entry
"""By digest in hex, the Token.key."""
ALL = 1_000_000

_encoder = msgspec.json.Encoder()
_enterprise_decoder = msgspec.json.Decoder(Enterprise)


class _Key(msgspec.Struct):
    digest: str
    enterprise: str
    label: str
    role: Role
    expires_ms: int | None = None
    revoked_ms: int | None = None


_key_decoder = msgspec.json.Decoder(_Key)


def read_enterprise(content: bytes) -> Enterprise:
    """An enterprise as its entry has it."""
    return _enterprise_decoder.decode(content)


def put_enterprise(enterprise: Enterprise, if_version: int | None = None) -> Put:
    """The step that writes it."""
    return Put(ENTERPRISE, enterprise.id, _encoder.encode(enterprise), enterprise.standing.value, if_version)


def replace_enterprise(there: Entry, made: Enterprise) -> Put:
    """The step that writes it in place of the version that is there; one that says the same makes none, but has to meet it."""
    content = there.content if read_enterprise(there.content) == made else _encoder.encode(made)
    return Put(ENTERPRISE, made.id, content, made.standing.value, there.version)


def read_token(content: bytes) -> Token:
    """A token as its entry has it."""
    key = _key_decoder.decode(content)
    return Token(bytes.fromhex(key.digest), key.enterprise, key.label, key.role, key.expires_ms, key.revoked_ms)


def put_token(token: Token, if_version: int | None = None) -> Put:
    """The step that writes it; a new one needs put_secret() besides."""
    key = _Key(token.digest.hex(), token.enterprise, token.label, token.role, token.expires_ms, token.revoked_ms)
    return Put(KEY, token.key, _encoder.encode(key), token.enterprise, if_version)


def put_secret(token: Token) -> Put:
    """The step by which a token is found by its digest."""
    return Put(SECRET, token.digest.hex(), token.key.encode(), kept=False)


async def new_token_steps(store: Business, token: Token) -> tuple[Step, ...]:
    """The steps that make a token known.

    Raises:
        AlreadyThere: one of that label, not revoked.
    """
    there = await store.entry(KEY, token.key)
    if there is not None and read_token(there.content).revoked_ms is None:
        raise AlreadyThere(f"there is a token {token.label}")
    return put_token(token, 0 if there is None else there.version), put_secret(token)


async def next_prefix(store: Business, node_prefix: str) -> tuple[str, Put]:
    """The next free prefix below the node's, and the step that takes it; whoever loses the race gets AlreadyThere or Stale."""
    series = await store.entry(SERIES, node_prefix.upper())
    number = 1 if series is None else int(series.content) + 1
    while await store.entry(PREFIX, f"{node_prefix.upper()}.{number}") is not None:
        number += 1
    step = Put(SERIES, node_prefix.upper(), str(number).encode(), if_version=0 if series is None else series.version, kept=False)
    return f"{node_prefix.upper()}.{number}", step


class Registry:
    """Mixed into a store that has Business."""

    async def enterprise(self: Business, key: str) -> Enterprise | None:
        """See the contract."""
        found = await self.entry(ENTERPRISE, key)
        return None if found is None else read_enterprise(found.content)

    async def enterprise_of(self: Business, prefix: str) -> Enterprise | None:
        """See the contract."""
        owned = await self.entry(PREFIX, prefix)
        found = None if owned is None else await self.entry(ENTERPRISE, owned.group)
        return None if found is None else read_enterprise(found.content)

    async def enterprises(self: Business) -> list[Enterprise]:
        """See the contract."""
        return [read_enterprise(each.content) for each in await self.entries(ENTERPRISE, limit=ALL)]

    async def add_enterprise(
        self: Business, key: str, name: Name, visibility: Visibility, node_prefix: str, author: str, at_ms: int
    ) -> Enterprise:
        """See the contract."""
        while True:
            prefix, taking = await next_prefix(self, node_prefix)
            made = Enterprise(key, name, prefix, visibility)
            if await self.entry(ENTERPRISE, key) is not None:
                raise AlreadyThere(f"there is an enterprise {key}")
            try:
                await self.write(admission(made, taking), author, at_ms)
            except (AlreadyThere, Stale):
                continue  # somebody else took the number, or the id: both are looked at anew
            return made

    async def add_token(self: Business, token: Token, author: str, at_ms: int) -> None:
        """See the contract."""
        if token.enterprise != NODE and await self.entry(ENTERPRISE, token.enterprise) is None:
            raise NotThere(f"there is no enterprise {token.enterprise}")
        try:
            await self.write(await new_token_steps(self, token), author, at_ms)
        except Stale:
            raise AlreadyThere(f"there is a token {token.label}") from None

    async def revoke_token(self: Business, enterprise: str, label: str, at_ms: int, author: str = "admin") -> None:
        """See the contract."""
        found = await self.entry(KEY, f"{enterprise}/{label}")
        token = None if found is None else read_token(found.content)
        if found is None or token is None or token.revoked_ms is not None:
            raise NotThere(f"there is no token {label}")
        ended = msgspec.structs.replace(token, revoked_ms=at_ms)
        try:
            await self.write((put_token(ended, found.version),), author, at_ms)
        except Stale:
            raise NotThere(f"there is no token {label}") from None  # somebody else ended it

    async def token(self: Business, digest: bytes) -> Token | None:
        """See the contract."""
        secret = await self.entry(SECRET, digest.hex())
        found = None if secret is None else await self.entry(KEY, secret.content.decode())
        token = None if found is None else read_token(found.content)
        return token if token is not None and token.revoked_ms is None and token.digest == digest else None


def admission(enterprise: Enterprise, taking: Put) -> Sequence[Step]:
    """The steps that make an enterprise known, with its first prefix."""
    return (
        taking,
        put_enterprise(msgspec.structs.replace(enterprise, standing=Standing.ACTIVE), 0),
        Put(PREFIX, enterprise.prefix, b"{}", enterprise.id, if_version=0),
    )
