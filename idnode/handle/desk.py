"""Where requests of the Handle wire protocol are answered, whichever way they came; a thin face of the resolver.

A request is answered where its bytes are: from a body that is kept, or by stepping the resolution in place. Only where the store
has to wait it takes a task.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from struct import Struct

from idnode.access import ANYBODY
from idnode.enterprise import Visibility
from idnode.handle.codes import MOST_MESSAGE_BYTES, OpCode, OpFlag, ResponseCode, code_for
from idnode.handle.fields import BadMessage, octets
from idnode.handle.message import (
    COMPRESSED,
    ENCRYPTED,
    ENVELOPE_BYTES,
    HEADER_BYTES,
    SHA1,
    SHA256,
    Asked,
    Envelope,
    Message,
    read_asked,
    read_envelope,
    read_handle_body,
    read_message,
    values_body,
)
from idnode.handle.site import Site, pack_site
from idnode.handle.values import on_wire
from idnode.handle.verdicts import refusal_of, status_of
from idnode.identifier import InvalidIdentifier, parse_identifier
from idnode.operations.meter import REFUSED, WIRE
from idnode.record import HandleValue, Permission
from idnode.resolver import Resolution, Verdict, matching
from idnode.store.base import StoreError
from idnode.web.hot import Owners
from idnode.web.hot_cache import AnswerCache
from idnode.web.node import Node

LIFE_S = 43_200
"""For how long a client may take an answer for fresh: its expiration is so far ahead."""
MOST_RECURSION = 10
NONCE_BYTES = 16
_FRONT = Struct(">BBBBIIIIIIIHBBII")
FRONT_BYTES = ENVELOPE_BYTES + HEADER_BYTES
_NO_CREDENTIAL = b"\0\0\0\0"
_MOST_BODY = MOST_MESSAGE_BYTES - HEADER_BYTES - len(_NO_CREDENTIAL) - 33
"""With room for a digest."""
_DIGEST, _PUBLIC, _KEPT = int(OpFlag.REQUEST_DIGEST), int(OpFlag.PUBLIC_ONLY), int(OpFlag.KEEP_ALIVE)
_RESOLUTION, _CHALLENGE = int(OpCode.RESOLUTION), int(ResponseCode.AUTHENTICATION_NEEDED)
_SHA256_SINCE = (2, 7)
_STRANGE = COMPRESSED | ENCRYPTED


class Packed:
    """How a request ended: what an answer to it has beside what differs from request to request."""

    __slots__ = ("code", "count", "key", "owner", "whole")
    also = ()

    def __init__(self, code: ResponseCode, body: bytes, key: str | None = None, owner: str = "") -> None:
        self.code = int(code)
        self.whole = body + _NO_CREDENTIAL
        """Body, without a digest, and credential."""
        self.key = key
        """The identifier that it hangs on; None where it can't be kept."""
        self.owner = owner
        """The enterprise's prefix for which it counts."""
        self.count: list[int] | None = None


def refused(code: ResponseCode, why: str | None = None, key: str | None = None, owner: str = "") -> Packed:
    """An answer that is a code and a text."""
    return Packed(code, octets((why or "").encode("utf-8", "replace")), key, owner)


class Desk:
    """What all connections and datagrams of one process share."""

    def __init__(self, node: Node, site: Site, most_bytes: int, *, in_place: bool) -> None:
        """
        Args:
            site: this node, as clients reach it.
            most_bytes: of the answers that are kept.
            in_place: the node's store reads without suspending.
        """
        self.cache: AnswerCache[Packed] = AnswerCache(most_bytes)
        self.in_place = in_place
        self._node = node
        self._meter, self._limits = node.meter, node.panel.limits
        self._limited = self._limits.addresses is not None or self._limits.prefixes is not None
        self._resolver = node.resolver.beside(Owners(node.store))
        self._site = pack_site(site)
        self._serial = site.serial
        self._keeps = most_bytes > 0
        self._expires_s = 0
        self._spoken: dict[tuple[int, int, int, int], tuple[int, int]] = {}
        node.store.watch(self.cache.forget)

    def renew(self) -> None:
        """To be called before requests that came together are taken: what has changed is forgotten, by whomever it was."""
        self._expires_s = self._node.now_ms() // 1000 + LIFE_S
        try:
            self._node.store.refresh()
        except StoreError:
            self.cache.forget(None)

    def take(self, data: bytes, start: int, end: int, caller: str, now_s: float) -> bytes | None:
        """Answer the request from `start` to `end`, envelope and message, if that can be done here.

        Args:
            data: holds a whole message behind its envelope.
            caller: whom it counts for.
            now_s: on any clock.

        Returns:
            Envelope and message; empty where no answer is due; None where answer() has to be awaited.
        """
        kept, front = None, None
        if end - start >= FRONT_BYTES:
            front = _FRONT.unpack_from(data, start)
            if front[9]:
                return b""  # an answer; to answer it may go on for ever
        if self._limited:
            kept = self._too_often(caller, now_s)
        if kept is None and front is not None and front[8] == _RESOLUTION:
            plain = not front[2] & _STRANGE and front[12] <= MOST_RECURSION
            if plain and front[15] == end - start - FRONT_BYTES - 4:
                kept = self.cache.find(1 if front[10] & _PUBLIC else 0, data[start + FRONT_BYTES : end])
        if kept is None:
            if not self.in_place:
                return None
            kept = self._step(data[start:end])
        return self._finish(data, start, end, kept, now_s)

    async def answer(self, request: bytes, now_s: float) -> bytes:
        """The same for a request, envelope and message, for which the store may have to wait."""
        began = time.perf_counter()
        mark = self.cache.forgotten
        kept = await self._make(request)
        if kept.key is not None and self.cache.forgotten == mark:
            self._keep(request, kept)
        self._meter.durations[WIRE].observe(time.perf_counter() - began)
        return self._finish(request, 0, len(request), kept, now_s)

    def refuse(self, request: bytes, code: ResponseCode, why: str) -> bytes:
        """An answer to whatever begins with an envelope."""
        return self._finish(request[:ENVELOPE_BYTES], 0, ENVELOPE_BYTES, refused(code, why), None)

    def took(self, seconds: float, requests: int) -> None:
        """So many requests were answered in place in that time together."""
        self._meter.took(seconds, requests)

    def _too_often(self, caller: str, now_s: float) -> Packed | None:
        wait_s = self._limits.wait_s(caller, now_s)
        return self._busy(wait_s, "") if wait_s else None

    def _busy(self, wait_s: int, owner: str) -> Packed:
        busy = refused(ResponseCode.SERVER_TOO_BUSY, f"ask again in {wait_s} s", owner=owner)
        busy.count = self._meter.counter(REFUSED, owner, 429)
        return busy

    def _step(self, request: bytes) -> Packed:
        making = self._make(request)
        try:
            making.send(None)
        except StopIteration as done:
            kept: Packed = done.value
            if kept.key is not None:
                self._keep(request, kept)
            return kept
        making.close()
        raise RuntimeError("a store that reads in place has suspended")

    def _keep(self, request: bytes, kept: Packed) -> None:
        front = _FRONT.unpack_from(request)
        if self._keeps and front[15] == len(request) - FRONT_BYTES - 4:
            kept.count = self._meter.counter(WIRE, kept.owner, status_of(ResponseCode(kept.code)))
            self.cache.keep(1 if front[10] & _PUBLIC else 0, request[FRONT_BYTES:], kept)

    async def _make(self, data: bytes) -> Packed:
        try:
            envelope, request = read_envelope(data), read_message(data[ENVELOPE_BYTES:])
            return await self._answered(envelope, request)
        except BadMessage as error:
            return refused(error.code, str(error))
        except StoreError:
            return refused(ResponseCode.SERVER_TOO_BUSY, "the node can't reach its storage")

    async def _answered(self, envelope: Envelope, request: Message) -> Packed:
        if envelope.flags & _STRANGE:
            return refused(ResponseCode.OPERATION_NOT_SUPPORTED, "compressed and encrypted messages are not taken")
        if request.recursion > MOST_RECURSION:
            return refused(ResponseCode.RECURSION_COUNT_TOO_HIGH, f"at most {MOST_RECURSION}")
        if request.operation == OpCode.RESOLUTION:
            return await self._resolved(read_asked(request.body), public=bool(request.flags & _PUBLIC))
        if request.operation == OpCode.GET_SITE_INFO:
            read_handle_body(request.body)
            return Packed(ResponseCode.SUCCESS, self._site)
        if request.operation == 0:
            return refused(ResponseCode.PROTOCOL_ERROR, "no operation")
        return refused(ResponseCode.OPERATION_NOT_SUPPORTED, f"operation {request.operation} is not supported")

    async def _resolved(self, asked: Asked, *, public: bool) -> Packed:
        try:
            identifier = parse_identifier(asked.handle)
        except InvalidIdentifier as error:
            return refused(ResponseCode.INVALID_HANDLE, str(error))
        resolution = await self._resolver.resolve(identifier, ANYBODY)
        enterprise, owner = resolution.enterprise, resolution.prefix
        key = identifier.key if enterprise is not None and enterprise.visibility is Visibility.PUBLIC else None
        if resolution.verdict is not Verdict.FOUND:
            code, why = refusal_of(resolution)
        else:
            code, values = chosen(asked, resolution, public=public)
            if code is ResponseCode.SUCCESS:
                body = values_body(asked.handle.encode(), [on_wire(value).pack() for value in values])
                if len(body) <= _MOST_BODY:
                    return Packed(code, body, key, owner)
                code = ResponseCode.ERROR
            why = "the values are more than a message holds; ask for some of them" if code is ResponseCode.ERROR else None
        if code is ResponseCode.AUTHENTICATION_NEEDED:
            return Packed(code, b"", key, owner)
        return refused(code, why, key, owner)

    def _finish(self, data: bytes, start: int, end: int, kept: Packed, now_s: float | None) -> bytes:
        if self._limited and now_s is not None and kept.owner and kept.code != ResponseCode.SERVER_TOO_BUSY:
            wait_s = self._limits.prefix_wait_s(kept.owner, now_s)
            kept = self._busy(wait_s, kept.owner) if wait_s else kept
        if kept.count is None:
            kept.count = self._meter.counter(WIRE, kept.owner, status_of(ResponseCode(kept.code)))
        kept.count[0] += 1
        if end - start < FRONT_BYTES:
            data, start, end = data[start:end].ljust(FRONT_BYTES, b"\0"), 0, FRONT_BYTES
        front = _FRONT.unpack_from(data, start)
        major, minor = self._version(front[:4])
        whole, code, flags, session = kept.whole, kept.code, front[10] & (_DIGEST | _KEPT), front[4]
        if flags & _DIGEST or code == _CHALLENGE:
            kind = SHA256 if (major, minor) >= _SHA256_SINCE else SHA1
            digested = data[start + ENVELOPE_BYTES : min(start + FRONT_BYTES + front[15], end)]
            made = hashlib.sha256(digested) if kind == SHA256 else hashlib.sha1(digested, usedforsecurity=False)
            if code == _CHALLENGE:
                whole = octets(secrets.token_bytes(NONCE_BYTES)) + whole
                session = session or secrets.randbits(31) + 1
            whole = bytes([kind]) + made.digest() + whole
        length = len(whole) + HEADER_BYTES
        if code > ResponseCode.RECURSION_COUNT_TOO_HIGH:
            code = code_for(ResponseCode(code), (major, minor))
        return (
            _FRONT.pack(
                *(major, minor, 2, 11, session, front[5], 0, length),
                *(front[8], code, flags, self._serial, front[12], 0, self._expires_s, length - HEADER_BYTES - 4),
            )
            + whole
        )

    def _version(self, said: tuple[int, int, int, int]) -> tuple[int, int]:
        spoken = self._spoken.get(said)
        if spoken is None:
            if len(self._spoken) > 256:
                self._spoken.clear()
            major, minor, flags, suggested = said
            spoken = Envelope((major, minor), 0, (flags & 3, suggested), 0, 0, 0, 0).spoken
            self._spoken[said] = spoken
        return spoken


def chosen(asked: Asked, resolution: Resolution, *, public: bool) -> tuple[ResponseCode, tuple[HandleValue, ...]]:
    """The values that are asked for, of a resolution that is FOUND for anybody.

    `public`: nothing is said of those that not everyone may read. Else they are a reason to ask who is there, or to refuse.
    """
    indexes = frozenset(asked.indexes)
    values = matching(resolution.values, indexes, asked.types)
    if not public and resolution.record is not None:
        all_of_them = matching(resolution.record.values, indexes, asked.types)
        hidden = [value for value in all_of_them if not value.permissions & Permission.PUBLIC_READ]
        if any(value.permissions & Permission.ADMIN_READ for value in hidden):
            return ResponseCode.AUTHENTICATION_NEEDED, ()
        if hidden and not values:
            return ResponseCode.INSUFFICIENT_PERMISSIONS, ()
    return (ResponseCode.SUCCESS if values else ResponseCode.VALUES_NOT_FOUND), values
