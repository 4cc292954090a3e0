"""Where sessions begin, get their key, and end.

A session is its identity's where its key was encrypted for that identity's public key, so that nobody else has it: by the
client's key where that is registered, or by a handle's. With a key that the client made for the node's own (SERVER_KEY) it
hides what is said and proves that one client says it, but not which: there each change is challenged.
"""

from __future__ import annotations

import asyncio

from cryptography.hazmat.primitives.asymmetric import rsa

from idnode.administering.identities import Identities, Identity
from idnode.administering.proof import PUBLIC_KEY, BadProof, PublicKey, read_public_key
from idnode.administering.refusal import Refusal
from idnode.handle.bodies import (
    CLIENT_KEY,
    HANDLE_KEY,
    SERVER_KEY,
    SessionOrder,
    read_exchanged,
    read_session_order,
    session_body,
)
from idnode.handle.ciphers import new_key, read_key, sealed_key
from idnode.handle.codes import OpCode, ResponseCode
from idnode.handle.node_key import NodeKey
from idnode.handle.peers import Everywhere
from idnode.handle.reply import Opened, Packed
from idnode.handle.sessions import LONGEST_SESSION_S, Session
from idnode.record import Reference

MOST_OPENING = 32
"""Keys that are being decrypted; one more is told to come again."""


class Reception:
    """One process's."""

    def __init__(self, identities: Identities, everywhere: Everywhere, key: NodeKey | None) -> None:
        """`key`: the node's; None where it has none."""
        self._identities = identities
        self._sessions = everywhere
        self._key = key
        self._opening = 0

    async def answer(self, opened: Opened, caller: str, now_s: float) -> tuple[Packed, int]:
        """How a request about a session ended, and the session's number.

        Raises:
            BadMessage, Refusal
        """
        number, operation = opened.envelope.session, opened.message.operation
        if operation == OpCode.SESSION_SETUP:
            return await self._begin(read_session_order(opened.message.body), caller, now_s)
        session = await self._sessions.session(number, now_s) if number else None
        if session is None:
            raise Refusal(ResponseCode.SESSION_TIMEOUT, "there is no such session, or it is over")
        if operation == OpCode.SESSION_EXCHANGEKEY:
            key = await self._opened(read_exchanged(opened.message.body))
            if key is None or not await self._sessions.give_key(number, key, now_s):
                raise Refusal(ResponseCode.INVALID_SESSION_KEY, "that is no key of AES, or the session has one")
        elif opened.counter is None:
            raise Refusal(ResponseCode.SESSION_MESSAGE_REJECTED, "a session is ended by a message that bears its code")
        else:
            await self._sessions.end(number)
        return Packed(ResponseCode.SUCCESS, b""), number

    async def _begin(self, order: SessionOrder, caller: str, now_s: float) -> tuple[Packed, int]:
        life_s = min(order.timeout_s or LONGEST_SESSION_S, LONGEST_SESSION_S)
        named = order.identity
        if order.mode == SERVER_KEY:
            if self._key is None:
                raise Refusal(ResponseCode.SESSION_FAILED, "the node has no key of its own; use the client's")
            session, data = Session(b"", named.handle, named.index, is_identity=False), self._key.public
        elif order.mode in (CLIENT_KEY, HANDLE_KEY):
            found = await self._identities.find(named.handle, named.index)
            public, is_identity = await self._public(order, found)
            key = new_key()
            session, data = Session(key, named.handle, named.index, is_identity=is_identity), sealed_key(key, public)
        else:
            raise Refusal(ResponseCode.INVALID_SESSION_SETUP, "a key is exchanged by the client's, the server's or a handle's")
        number = self._sessions.own.begin(caller, session, life_s, now_s)
        return Packed(ResponseCode.SUCCESS, session_body(order.mode, data)), number

    async def _public(self, order: SessionOrder, identity: Identity | None) -> tuple[rsa.RSAPublicKey, bool]:
        """The key for which a session's is encrypted, and whether it is the identity's."""
        if order.key_at is None:
            given = _rsa(order.key)
        else:
            found = await self._identities.find(*_pair(order.key_at))
            if found is None or found.kind != PUBLIC_KEY:
                raise Refusal(ResponseCode.NEED_RSA_KEY, "there is no public key")
            given = _rsa(found.key)
        own = None if identity is None or identity.kind != PUBLIC_KEY else _read(identity.key)
        return given, isinstance(own, rsa.RSAPublicKey) and own.public_numbers() == given.public_numbers()

    async def _opened(self, sealed: bytes) -> bytes | None:
        if self._key is None:
            return None
        if self._opening >= MOST_OPENING:
            raise Refusal(ResponseCode.SERVER_TOO_BUSY, "many begin sessions now; ask again")
        self._opening += 1
        try:
            opened = await asyncio.to_thread(self._key.decrypt, sealed)
        finally:
            self._opening -= 1
        return None if opened is None else read_key(opened)


def _pair(named: Reference) -> tuple[str, int]:
    return named.handle, named.index


def _read(data: bytes) -> PublicKey | None:
    try:
        return read_public_key(data)
    except BadProof:
        return None


def _rsa(data: bytes) -> rsa.RSAPublicKey:
    key = _read(data)
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refusal(ResponseCode.NEED_RSA_KEY, "a public key of RSA is needed")
    return key
