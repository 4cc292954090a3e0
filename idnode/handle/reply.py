"""How a request of the Handle wire protocol ended, and answers put together with all that may belong to one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from idnode.handle.ciphers import encrypt
from idnode.handle.codes import MOST_MESSAGE_BYTES, OpFlag, ResponseCode, code_for
from idnode.handle.credential import mac_of
from idnode.handle.fields import octets
from idnode.handle.message import ENCRYPTED, HEADER_BYTES, SHA1, SHA256, Envelope, Message
from idnode.handle.node_key import NodeKey

SHA256_SINCE = (2, 7)
MOST_SIGNING = 32
"""Certified answers that are being signed; one more is told to come again."""
_ECHOED = OpFlag.REQUEST_DIGEST | OpFlag.KEEP_ALIVE
_NO_CREDENTIAL = b"\0\0\0\0"
MOST_BODY = MOST_MESSAGE_BYTES - HEADER_BYTES - 1024
"""Of an answer, with room for digest and credential, and for what a cipher adds."""
_NEWEST = (2, 11)


class Packed:
    """How a request ended: what an answer to it has beside what differs from request to request."""

    __slots__ = ("code", "count", "key", "more", "owner", "whole")
    also = ()

    def __init__(self, code: ResponseCode, body: bytes, key: str | None = None, owner: str = "", *, more: bool = False) -> None:
        self.code = int(code)
        self.whole = body + _NO_CREDENTIAL
        """Body, without a digest, and credential."""
        self.key = key
        """The identifier that it hangs on; None where it can't be kept."""
        self.owner = owner
        """The enterprise's prefix for which it counts."""
        self.count: list[int] | None = None
        self.more = more
        """Further ones follow for the same request."""

    @property
    def body(self) -> bytes:
        """Without a digest."""
        return self.whole[: -len(_NO_CREDENTIAL)]


def refused(code: ResponseCode, why: str | None = None, key: str | None = None, owner: str = "") -> Packed:
    """An answer that is a code and a text."""
    return Packed(code, octets((why or "").encode("utf-8", "replace")), key, owner)


def digest_kind(version: tuple[int, int]) -> int:
    """The digest that a peer of that version knows."""
    return SHA256 if version >= SHA256_SINCE else SHA1


class Opened(msgspec.Struct, frozen=True):
    """A request with what came around it."""

    envelope: Envelope
    message: Message
    """Nothing encrypted."""
    key: bytes = b""
    """Of its session, where it was encrypted or bears a code."""
    encrypted: bool = False
    counter: int | None = None
    """Of a message of a session that bears the right code."""
    hash_name: bytes = b""
    """As the client names it in its code."""


class Composer:
    """Puts answers together."""

    def __init__(self, key: NodeKey | None, serial: int, expires_s: Callable[[], int]) -> None:
        """
        Args:
            key: signs what is to be certified; None certifies nothing.
            serial: of the site.
            expires_s: until when an answer may be taken for fresh.
        """
        self._key = key
        self._serial = serial
        self._expires_s = expires_s
        self._signing = 0

    async def compose(self, opened: Opened, request: Message, reply: Packed, session: int) -> bytes:
        """An answer, envelope and message.

        Args:
            opened: the message that is answered.
            request: what was asked for, there or before the challenge.
            session: whose number the answer bears.
        """
        version = opened.envelope.spoken
        signs = bool(request.flags & OpFlag.CERTIFY) and self._key is not None and opened.counter is None
        if signs and self._signing >= MOST_SIGNING:
            reply, signs = refused(ResponseCode.SERVER_TOO_BUSY, "many want certified answers now; ask again"), False
        code = ResponseCode(reply.code)
        flags = request.flags & _ECHOED | (OpFlag.CONTINUES if reply.more else 0) | (OpFlag.CERTIFY if signs else 0)
        body = reply.body
        if flags & OpFlag.REQUEST_DIGEST and code is not ResponseCode.AUTHENTICATION_NEEDED:
            body = request.digest(digest_kind(version)) + body
        answer = Message(
            request.operation, code_for(code, version), flags, body, self._expires_s(), self._serial, request.recursion
        )
        envelope = Envelope(version, ENCRYPTED if opened.encrypted else 0, _NEWEST, session, opened.envelope.request, 0, 0)
        if opened.counter is not None:
            made = mac_of(opened.key, envelope, opened.counter, answer.head_and_body(), opened.hash_name)
            answer = msgspec.structs.replace(answer, credential=made.pack())
        elif signs:
            answer = await self._signed(envelope, answer)
        packed = answer.pack()
        if opened.encrypted:
            packed = encrypt(opened.key, packed)
        return msgspec.structs.replace(envelope, length=len(packed)).pack() + packed

    async def _signed(self, envelope: Envelope, answer: Message) -> Message:
        assert self._key is not None
        self._signing += 1
        try:
            made = await asyncio.to_thread(self._key.sign, envelope, 0, answer.head_and_body())
        finally:
            self._signing -= 1
        return msgspec.structs.replace(answer, credential=made.pack())


Answering = Callable[[Message], Awaitable[Packed]]
"""Answers what anybody may ask."""
