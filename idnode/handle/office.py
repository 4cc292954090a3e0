"""Where requests of the Handle wire protocol are answered that change something, prove something, or came in a session.

A change is challenged unless its message bears the code of a session whose key nobody but its identity can have. A challenge is
answered once, within 30 seconds; then the request that was challenged is done. What identities are and may is
idnode.administering's affair.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import msgspec

from idnode.access import ANYBODY
from idnode.administering.administration import Administration, Existing, minted
from idnode.administering.identities import Administrator, Identities
from idnode.administering.proof import SECRET_KEY
from idnode.administering.refusal import Refusal
from idnode.administering.values import from_wire
from idnode.handle.bodies import (
    handles_body,
    read_answered,
    read_removed,
    read_verified,
    read_written,
)
from idnode.handle.ciphers import decrypt
from idnode.handle.codes import OpCode, OpFlag, ResponseCode
from idnode.handle.credential import MAC, is_mac_of, read_credential
from idnode.handle.fields import BadMessage, octets
from idnode.handle.message import (
    COMPRESSED,
    ENCRYPTED,
    ENVELOPE_BYTES,
    Envelope,
    Message,
    read_asked,
    read_envelope,
    read_handle_body,
    read_message,
)
from idnode.handle.peers import Everywhere
from idnode.handle.reception import Reception
from idnode.handle.reply import Answering, Composer, Opened, Packed, digest_kind, refused
from idnode.handle.restricted import answer_restricted
from idnode.handle.sessions import Challenge
from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier
from idnode.schemes.handle import NAMING_AUTHORITY
from idnode.store.base import StoreError
from idnode.store.business import PREFIX
from idnode.upstream.recursion import Recursion, Refer
from idnode.web.node import Node

NONCE_BYTES = 16
MOST_IN_A_MESSAGE = 200
"""Handles of one message of a list: of the longest ones it still holds so many."""
_VALUES = {OpCode.ADD_VALUE: Existing.REFUSE, OpCode.MODIFY_VALUE: Existing.REQUIRE}
_CHALLENGED = frozenset(
    {
        OpCode.CREATE_HANDLE,
        OpCode.DELETE_HANDLE,
        OpCode.ADD_VALUE,
        OpCode.REMOVE_VALUE,
        OpCode.MODIFY_VALUE,
        OpCode.LIST_HANDLES,
    }
)
_SESSIONS = frozenset({OpCode.SESSION_SETUP, OpCode.SESSION_TERMINATE, OpCode.SESSION_EXCHANGEKEY})
_REFERS = Recursion(refer=Refer.TO_SITE)


class Office:
    """One process's."""

    def __init__(self, node: Node, composer: Composer, everywhere: Everywhere, reception: Reception, plain: Answering) -> None:
        """
        Args:
            reception: sets sessions up.
            plain: answers what anybody may ask.
        """
        self._node = node
        self._composer = composer
        self._sessions = everywhere
        self._reception = reception
        self._plain = plain
        self._core = Administration(node.store, node.now_ms)
        self._identities = Identities(node.store, node.now_ms)

    async def answers(self, data: bytes, caller: str, now_s: float) -> AsyncIterator[tuple[bytes, Packed]]:
        """The answers to a request, envelope and message, each with how it ended; several where a list is long."""
        envelope = read_envelope(data)
        opened = Opened(envelope, Message(0, 0, 0, b""))
        try:
            opened = await self._open(envelope, data, now_s)
        except (BadMessage, Refusal) as error:
            yield await self._composed(opened, opened.message, refused(error.code, str(error)))
            return
        except StoreError:
            yield await self._composed(opened, opened.message, _away())
            return
        request, who, failure = await self._asked(opened, now_s)
        if failure is not None:
            yield await self._composed(opened, request, failure)
            return
        if request.operation in _SESSIONS:
            yield await self._session(opened, caller, now_s)
            return
        async for reply in self._replies(request, who):
            if reply.code == ResponseCode.AUTHENTICATION_NEEDED:
                yield await self._challenged(opened, request, reply, caller, now_s)
            else:
                yield await self._composed(opened, request, reply)

    async def _session(self, opened: Opened, caller: str, now_s: float) -> tuple[bytes, Packed]:
        number = None
        try:
            reply, number = await self._reception.answer(opened, caller, now_s)
        except (BadMessage, Refusal) as error:
            reply = refused(error.code, str(error))
        except StoreError:
            reply = _away()
        return await self._composed(opened, opened.message, reply, number)

    async def _open(self, envelope: Envelope, data: bytes, now_s: float) -> Opened:
        """Decrypt a message and look at its code.

        Raises:
            BadMessage, Refusal
        """
        packed = data[ENVELOPE_BYTES:]
        if envelope.flags & COMPRESSED:
            raise Refusal(ResponseCode.OPERATION_NOT_SUPPORTED, "compressed messages are not taken")
        encrypted = bool(envelope.flags & ENCRYPTED)
        if not encrypted:
            message = read_message(packed)
            if not message.credential or read_credential(message.credential).kind != MAC:
                return Opened(envelope, message)
        session = await self._sessions.session(envelope.session, now_s) if envelope.session else None
        if session is None:
            raise Refusal(ResponseCode.SESSION_TIMEOUT, "there is no such session, or it is over")
        if not session.key:
            raise _rejected()
        if encrypted:
            try:
                message = read_message(decrypt(session.key, packed))
            except BadMessage:
                raise _rejected() from None  # nothing is said of where it fails
        if message.response:
            raise _rejected()  # an answer; to answer it may go on for ever
        opened = Opened(envelope, message, session.key, encrypted)
        if not message.credential:
            return opened
        credential = read_credential(message.credential)
        if not is_mac_of(credential, session.key, envelope, message.head_and_body()):
            raise _rejected()
        if not await self._sessions.mark(envelope.session, credential.counter, now_s):
            raise _rejected()
        return msgspec.structs.replace(opened, counter=credential.counter, hash_name=credential.hash_name)

    async def _asked(self, opened: Opened, now_s: float) -> tuple[Message, Administrator | None, Packed | None]:
        """What is asked for, by whom, and why it isn't done: after a challenge what was asked before."""
        request = opened.message
        try:
            if request.operation == OpCode.RESPONSE_TO_CHALLENGE:
                answered = read_answered(request.body)
                challenge = await self._sessions.take_challenge(opened.envelope.session, now_s)
                if challenge is None:
                    why = "no challenge waits for that, or no longer"
                    return request, None, refused(ResponseCode.AUTHENTICATION_TIMEOUT, why)
                request = read_message(challenge.request[ENVELOPE_BYTES:])
                who = await self._identities.prove(
                    answered.identity, answered.kind, challenge.nonce, challenge.digest, answered.signed
                )
                self._node.note_use(who.caller)
                return request, who, None
            return request, await self._of_session(opened, now_s), None
        except (BadMessage, Refusal) as error:
            return request, None, refused(error.code, str(error))
        except StoreError:
            return request, None, _away()

    async def _of_session(self, opened: Opened, now_s: float) -> Administrator | None:
        """Whose a message is that bears its session's code; looked up anew each time, since keys are revoked."""
        if opened.counter is None:
            return None
        session = await self._sessions.session(opened.envelope.session, now_s)
        if session is None or not session.is_identity:
            return None
        found = await self._identities.find(session.handle, session.index)
        if found is None:
            return None
        self._node.note_use(found.who.caller)
        return found.who

    async def _replies(self, request: Message, who: Administrator | None) -> AsyncIterator[Packed]:
        try:
            if request.operation == OpCode.LIST_HANDLES and who is not None:
                async for reply in self._listed(request, who):
                    yield reply
            else:
                yield await self._reply(request, who)
        except (BadMessage, Refusal) as error:
            yield refused(error.code, str(error))
        except StoreError:
            yield _away()

    async def _reply(self, request: Message, who: Administrator | None) -> Packed:
        operation = request.operation
        if operation in _CHALLENGED and who is None:
            _check_body(request)
            return Packed(ResponseCode.AUTHENTICATION_NEEDED, b"")
        if operation == OpCode.RESOLUTION and who is not None:
            return await self._resolved(request, who)
        if operation == OpCode.VERIFY_CHALLENGE:
            return await self._verified(request)
        if operation in (OpCode.LIST_PREFIXES, OpCode.LIST_PREFIXES_OF_2002):
            return await self._prefixes(request)
        if operation in (OpCode.HOME_PREFIX, OpCode.UNHOME_PREFIX):
            read_handle_body(request.body)
            return refused(ResponseCode.OPERATION_NOT_SUPPORTED, "prefixes are given by the node's administrator")
        if who is not None and operation in _CHALLENGED:
            return await self._changed(request, who)
        return await self._plain(request)

    async def _changed(self, request: Message, who: Administrator) -> Packed:
        operation, overwrite = request.operation, bool(request.flags & OpFlag.OVERWRITE)
        body = b""
        if operation == OpCode.DELETE_HANDLE:
            await self._core.delete(who, _identifier(read_handle_body(request.body)))
        elif operation == OpCode.REMOVE_VALUE:
            removed = read_removed(request.body)
            await self._core.remove_values(who, _identifier(removed.handle), removed.indexes)
        else:
            written = read_written(request.body)
            values = [from_wire(value) for value in written.values]
            if operation == OpCode.CREATE_HANDLE:
                mints = request.flags & OpFlag.MINT_SUFFIX
                handle = minted(written.handle) if mints else written.handle
                await self._core.create(who, _identifier(handle), values, overwrite=overwrite and not mints)
                body = octets(handle.encode()) if mints else b""
            else:
                existing = Existing.REPLACE if overwrite else _VALUES[OpCode(operation)]
                await self._core.put_values(who, _identifier(written.handle), values, existing)
        return Packed(ResponseCode.SUCCESS, body)

    async def _resolved(self, request: Message, who: Administrator) -> Packed:
        asked = read_asked(request.body)
        identifier = _identifier(asked.handle)
        reader = await self._core.reader_of(who, identifier)
        resolution = await self._node.resolver.resolve(identifier, reader, recursion=_REFERS)
        if not resolution.is_here:  # another node knows nobody of ours
            return await self._plain(request)
        return answer_restricted(asked, resolution, as_house=reader is not ANYBODY)

    async def _listed(self, request: Message, who: Administrator) -> AsyncIterator[Packed]:
        named = _identifier(read_handle_body(request.body))
        if named.prefix != NAMING_AUTHORITY:
            raise BadMessage("the handle of a prefix is expected: 0.NA/88.100.1", ResponseCode.INVALID_HANDLE)
        after: str | None = ""
        while after is not None:
            handles, after = await self._core.list_handles(who, named.suffix, after, MOST_IN_A_MESSAGE)
            yield Packed(ResponseCode.SUCCESS, handles_body(handles), more=after is not None)
            await asyncio.sleep(0)  # others have their turn

    async def _prefixes(self, request: Message) -> Packed:
        """The prefixes of enterprises that anybody may read of."""
        read_handle_body(request.body)
        found: list[str] = []
        after = ""
        while len(found) < MOST_IN_A_MESSAGE:
            entries = await self._node.store.entries(PREFIX, after=after, limit=MOST_IN_A_MESSAGE)
            for entry in entries:
                owner = await self._node.store.enterprise(entry.group)
                if ":" not in entry.key and owner is not None and ANYBODY.may_read(owner):
                    found.append(f"{NAMING_AUTHORITY}/{entry.key}")
            if len(entries) < MOST_IN_A_MESSAGE:
                break
            after = entries[-1].key
        return Packed(ResponseCode.SUCCESS, handles_body(found[:MOST_IN_A_MESSAGE]))

    async def _verified(self, request: Message) -> Packed:
        """Whether another server's challenge was answered with a secret key that is kept here; of whom, isn't said."""
        asked = read_verified(request.body)
        try:
            await self._identities.prove(asked.identity, SECRET_KEY, asked.nonce, asked.digest, asked.signed)
        except Refusal as refusal:
            if refusal.code is not ResponseCode.AUTHENTICATION_FAILED:
                raise
            return Packed(ResponseCode.SUCCESS, b"\0")
        return Packed(ResponseCode.SUCCESS, b"\1")

    async def _challenged(
        self, opened: Opened, request: Message, reply: Packed, caller: str, now_s: float
    ) -> tuple[bytes, Packed]:
        made = challenge_of(opened.envelope, request)
        number = await self._sessions.challenge(caller, made, opened.envelope.session if opened.key else 0, now_s)
        digest = bytes([digest_kind(opened.envelope.spoken)]) + made.digest
        whole = Packed(ResponseCode.AUTHENTICATION_NEEDED, digest + octets(made.nonce) + reply.body)
        return await self._composed(opened, request, whole, number)

    async def _composed(
        self, opened: Opened, request: Message, reply: Packed, session: int | None = None
    ) -> tuple[bytes, Packed]:
        number = opened.envelope.session if session is None else session
        return await self._composer.compose(opened, request, reply, number), reply


def challenge_of(envelope: Envelope, request: Message) -> Challenge:
    """A challenge to whoever sent a request."""
    bare = Envelope(envelope.version, 0, envelope.suggested, envelope.session, envelope.request, 0, 0)
    message = msgspec.structs.replace(request, credential=b"")
    digest = message.digest(digest_kind(envelope.spoken))[1:]
    return Challenge(secrets.token_bytes(NONCE_BYTES), digest, bare.pack() + message.pack())


def _check_body(request: Message) -> None:
    """Refuse a body that can't be read before anybody has to prove anything.

    Raises:
        BadMessage
    """
    if request.operation in (OpCode.DELETE_HANDLE, OpCode.LIST_HANDLES):
        read_handle_body(request.body)
    elif request.operation == OpCode.REMOVE_VALUE:
        read_removed(request.body)
    else:
        read_written(request.body)


def _identifier(handle: str) -> Identifier:
    try:
        return parse_identifier(handle)
    except InvalidIdentifier as error:
        raise BadMessage(str(error), ResponseCode.INVALID_HANDLE) from error


def _rejected() -> Refusal:
    return Refusal(ResponseCode.SESSION_MESSAGE_REJECTED, "a message that isn't the session's, or came before")


def _away() -> Packed:
    return refused(ResponseCode.SERVER_TOO_BUSY, "the node can't reach its storage")
