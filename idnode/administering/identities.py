"""Who somebody is who comes as an identity of the Handle system, and whether they prove it.

An identity is a value: a key of an enterprise in the handle of its prefix (idnode.administering.keys), or a value of type
HS_PUBKEY or HS_SECKEY in a handle that is registered here. It acts for the enterprise behind that prefix, and for no other.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from idnode.access import Caller, Kind
from idnode.administering.keys import HANDLE_SECRET, LARGEST_INDEX, key_of, read_handle_key
from idnode.administering.proof import PUBLIC_KEY, SECRET_KEY, BadProof, has_secret, has_signed, is_slow, read_public_key
from idnode.administering.refusal import Refusal
from idnode.enterprise import Enterprise, Standing
from idnode.handle.codes import ResponseCode
from idnode.handle.values import data_bytes
from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier
from idnode.record import Reference, State
from idnode.resolver import owner_of
from idnode.schemes.handle import NAMING_AUTHORITY
from idnode.store.base import Store
from idnode.store.business import HANDLE_KEY

MOST_SLOW = 8
"""Proofs at a time for which a key is derived; one more is told to come again."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """Whoever administers: what they are to the node, and under which name they stand in HS_ADMIN."""

    caller: Caller
    """Without a role where the identity is a value of a registered handle: it may what handles say, and nothing else."""
    identity: Reference | None = None
    """None for who came with an API key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, and what they prove themselves by."""

    who: Administrator
    kind: str
    """PUBLIC_KEY or SECRET_KEY."""
    key: bytes
    """The data of such a value."""

    def is_proven_by(self, nonce: bytes, digest: bytes, signed: bytes) -> bool:
        """Whether an answer to a challenge is theirs; may take milliseconds (idnode.administering.proof.is_slow).

        Raises:
            BadProof
        """
        if self.kind == SECRET_KEY:
            return has_secret(self.key, nonce, digest, signed)
        return has_signed(read_public_key(self.key), nonce, digest, signed)

    def has_secret(self, secret: bytes) -> bool:
        """Whether this is their secret, as HTTP's Basic authentication sends it."""
        return self.kind == SECRET_KEY and hmac.compare_digest(self.key, secret)


class Identities:
    """Where they are looked up."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        """`now_ms`: the clock, UTC."""
        self._store = store
        self._now_ms = now_ms
        self._slow = 0

    async def find(self, handle: str, index: int) -> Identity | None:
        """The identity of that name.

        Returns:
            None where there is none, or it is revoked, has expired, is of a closed enterprise or in a handle that isn't in force.
        """
        try:
            identifier = parse_identifier(handle)
        except InvalidIdentifier:
            return None
        if not 0 < index <= LARGEST_INDEX:
            return None
        if identifier.prefix == NAMING_AUTHORITY:
            return await self._of_prefix(identifier, index)
        return await self._of_record(identifier, index)

    async def prove(self, named: Reference, kind: str, nonce: bytes, digest: bytes, signed: bytes) -> Administrator:
        """Who has answered a challenge.

        Args:
            kind: what they say they prove themselves by.

        Raises:
            Refusal: AUTHENTICATION_FAILED, whatever is wrong: it isn't said. AUTHENTICATION_ERROR: it can't be looked at.
                SERVER_TOO_BUSY.
        """
        if kind not in (PUBLIC_KEY, SECRET_KEY):
            raise Refusal(ResponseCode.AUTHENTICATION_ERROR, f"{PUBLIC_KEY} and {SECRET_KEY} are known")
        found = await self.find(named.handle, named.index)
        try:
            if found is not None and found.kind == kind and await self._is_proven(found, nonce, digest, signed):
                return found.who
        except BadProof as error:
            raise Refusal(ResponseCode.AUTHENTICATION_ERROR, str(error)) from error
        raise Refusal(ResponseCode.AUTHENTICATION_FAILED, "")

    async def _is_proven(self, found: Identity, nonce: bytes, digest: bytes, signed: bytes) -> bool:
        if found.kind != SECRET_KEY or not is_slow(signed):
            return found.is_proven_by(nonce, digest, signed)
        if self._slow >= MOST_SLOW:
            raise Refusal(ResponseCode.SERVER_TOO_BUSY, "many prove themselves by derived keys now; ask again")
        self._slow += 1
        try:
            return await asyncio.to_thread(found.is_proven_by, nonce, digest, signed)
        finally:
            self._slow -= 1

    async def _of_prefix(self, identifier: Identifier, index: int) -> Identity | None:
        prefix = identifier.suffix
        entry = await self._store.entry(HANDLE_KEY, key_of(prefix, index))
        enterprise = await self._store.enterprise_of(prefix)
        if entry is None or enterprise is None or entry.group != enterprise.id or enterprise.standing is Standing.CLOSED:
            return None
        key = read_handle_key(entry.content)
        if key.revoked_ms is not None or (key.expires_ms is not None and self._now_ms() >= key.expires_ms):
            return None
        caller = self._caller(enterprise, key.identity)
        caller = Caller(
            caller.kind, caller.author, caller.enterprise, key.role, barred=caller.barred, key=f"{HANDLE_KEY}/{entry.key}"
        )
        who = Administrator(caller, Reference(key.handle, index))
        if key.public:
            return Identity(who, PUBLIC_KEY, key.public)
        secret = await self._store.entry(HANDLE_SECRET, entry.key)
        return None if secret is None else Identity(who, SECRET_KEY, secret.content)

    async def _of_record(self, identifier: Identifier, index: int) -> Identity | None:
        _, enterprise = await owner_of(self._store, identifier)
        record = await self._store.record(identifier)
        if enterprise is None or enterprise.standing is Standing.CLOSED or record is None or record.state is not State.ACTIVE:
            return None
        value = next((each for each in record.values if each.index == index), None)
        if value is None or value.type not in (PUBLIC_KEY, SECRET_KEY):
            return None
        named = Reference(identifier.key, index)
        who = Administrator(self._caller(enterprise, f"{index}:{identifier.key}"), named)
        return Identity(who, value.type, data_bytes(value.data))

    def _caller(self, enterprise: Enterprise, author: str) -> Caller:
        return Caller(Kind.MEMBER, author, enterprise.id, barred=enterprise.bar(self._now_ms()))
