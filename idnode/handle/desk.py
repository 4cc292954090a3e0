"""Where requests of the Handle wire protocol are answered, whichever way they came; a thin face of the resolver.

A request is answered where its bytes are: from a body that is kept, or by stepping the resolution in place. Only where the store
or another node has to be waited for it takes a task.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import AsyncGenerator
from struct import Struct
from typing import NamedTuple

from idnode.access import ANYBODY
from idnode.administering.identities import Identities
from idnode.enterprise import Visibility
from idnode.handle.codes import OpCode, OpFlag, ResponseCode, code_for
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
from idnode.handle.node_key import NodeKey
from idnode.handle.office import NONCE_BYTES, Office
from idnode.handle.peers import Ask, Everywhere, nobody
from idnode.handle.reception import Reception
from idnode.handle.reply import MOST_BODY, SHA256_SINCE, Composer, Packed, refused
from idnode.handle.sessions import Challenge, Sessions
from idnode.handle.site import Site, pack_site
from idnode.handle.values import pack_value
from idnode.handle.verdicts import away, referral_of, refusal_of, status_of
from idnode.identifier import InvalidIdentifier, parse_identifier
from idnode.operations.meter import REFUSED, WIRE
from idnode.record import HandleValue, Permission
from idnode.resolver import Resolution, Verdict, matching
from idnode.store.base import StoreError
from idnode.store.remembering import Remembering
from idnode.upstream.recursion import MOST_HOPS, Recursion, Refer
from idnode.web.hot_cache import AnswerCache
from idnode.web.node import Node

LIFE_S = 43_200
"""For how long a client may take an answer for fresh: its expiration is so far ahead."""
_FRONT = Struct(">BBBBIIIIIIIHBBII")
FRONT_BYTES = ENVELOPE_BYTES + HEADER_BYTES
_DIGEST, _PUBLIC, _KEPT = int(OpFlag.REQUEST_DIGEST), int(OpFlag.PUBLIC_ONLY), int(OpFlag.KEEP_ALIVE)
_RECURSIVE = int(OpFlag.RECURSIVE | OpFlag.DO_NOT_REFER)
_AUTHORITATIVE = int(OpFlag.AUTHORITATIVE)
_RESOLUTION, _CHALLENGE = int(OpCode.RESOLUTION), int(ResponseCode.AUTHENTICATION_NEEDED)
_ASKS_ON = tuple(Recursion(hops) for hops in range(MOST_HOPS + 1))
_REFERS = tuple(Recursion(hops, refer=Refer.TO_SITE) for hops in range(MOST_HOPS + 1))
_STRANGE = COMPRESSED | ENCRYPTED
_READ_BY_ANYBODY = frozenset({0, _RESOLUTION, int(OpCode.GET_SITE_INFO)})
Front = tuple[int, ...]


class WireRole(NamedTuple):
    """What a process is on the wire beside others of its node."""

    key: NodeKey | None = None
    """The node's own; None: it certifies nothing."""
    slot: int = 0
    """Of the process."""
    ask: Ask = nobody
    """Asks the process of another slot."""


ALONE = WireRole()
"""Of a node of one process without a key."""


class Desk:
    """What all connections and datagrams of one process share."""

    def __init__(self, node: Node, site: Site, most_bytes: int, *, in_place: bool, role: WireRole = ALONE) -> None:
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
        self._resolver = node.resolver.beside(Remembering(node.store))
        self._site = pack_site(site)
        self._serial = site.serial
        self._keeps = most_bytes > 0
        self._expires_s = 0
        self._spoken: dict[tuple[int, int, int, int], tuple[int, int]] = {}
        node.store.watch(self.cache.forget)
        self.sessions = Sessions(role.slot)
        everywhere = Everywhere(self.sessions, role.ask)
        reception = Reception(Identities(node.store, node.now_ms), everywhere, role.key)
        composer = Composer(role.key, site.serial, lambda: self._expires_s)
        self._office = Office(node, composer, everywhere, reception, self._plain)
        self._elsewhere = int(OpFlag.CERTIFY) if role.key is not None else 0
        """Flags by which a request isn't answered here."""

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
            Envelope and message; empty where no answer is due; None where answers() has to be awaited.
        """
        kept, front = None, None
        if end - start >= FRONT_BYTES:
            front = _FRONT.unpack_from(data, start)
            if front[9] and not front[2] & ENCRYPTED:
                return b""  # an answer; to answer it may go on for ever
        if self._limited:
            kept = self._too_often(caller, now_s)
        if kept is None and front is not None and front[8] == _RESOLUTION:
            plain = not (front[2] & _STRANGE or front[10] & self._elsewhere) and front[12] <= MOST_HOPS
            if plain and front[15] == end - start - FRONT_BYTES - 4:
                kept = self.cache.find(1 if front[10] & _PUBLIC else 0, data[start + FRONT_BYTES : end])
        if kept is None:
            if not self.in_place or not (front is None or self._is_plain(front, end - start)):
                return None
            kept = self._step(data[start:end])
            if kept is None:
                return None
        return self._finish(data, start, end, kept, caller, now_s)

    async def answers(self, request: bytes, caller: str, now_s: float) -> AsyncGenerator[bytes]:
        """The same for a request, envelope and message, that may have to wait; several answers where it is a list."""
        began = time.perf_counter()
        if self._is_plain(_FRONT.unpack_from(request.ljust(FRONT_BYTES, b"\0")), len(request)):
            mark = self.cache.forgotten
            kept = await self._make(request)
            if kept.key is not None and self.cache.forgotten == mark:
                self._keep(request, kept)
            yield self._finish(request, 0, len(request), kept, caller, now_s)
        else:
            async for answer, ended in self._office.answers(request, caller, now_s):
                self._meter.counter(WIRE, ended.owner, status_of(ResponseCode(ended.code)))[0] += 1
                yield answer
        self._meter.durations[WIRE].observe(time.perf_counter() - began)

    def _is_plain(self, front: Front, size: int) -> bool:
        """Whether a request is answered by what anybody may read, without a session, a signature or a change."""
        if front[2] & _STRANGE or front[10] & self._elsewhere:
            return False
        return front[8] in _READ_BY_ANYBODY and front[15] >= size - FRONT_BYTES - 4

    def refuse(self, request: bytes, code: ResponseCode, why: str) -> bytes:
        """An answer to whatever begins with an envelope."""
        return self._finish(request[:ENVELOPE_BYTES], 0, ENVELOPE_BYTES, refused(code, why), "", None)

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

    def _step(self, request: bytes) -> Packed | None:
        """The answer; None where another node has to be waited for."""
        making = self._make(request)
        try:
            making.send(None)
        except StopIteration as done:
            kept: Packed = done.value
            if kept.key is not None:
                self._keep(request, kept)
            return kept
        making.close()
        return None

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
        return await self._plain(request)

    async def _plain(self, request: Message) -> Packed:
        """What anybody may ask."""
        if request.recursion > MOST_HOPS:
            return refused(ResponseCode.RECURSION_COUNT_TOO_HIGH, f"at most {MOST_HOPS}")
        if request.operation == OpCode.RESOLUTION:
            asks_on = request.flags & _RECURSIVE and not request.flags & _AUTHORITATIVE
            recursion = (_ASKS_ON if asks_on else _REFERS)[request.recursion]
            return await self._resolved(read_asked(request.body), recursion, public=bool(request.flags & _PUBLIC))
        if request.operation == OpCode.GET_SITE_INFO:
            read_handle_body(request.body)
            return Packed(ResponseCode.SUCCESS, self._site)
        if request.operation == 0:
            return refused(ResponseCode.PROTOCOL_ERROR, "no operation")
        return refused(ResponseCode.OPERATION_NOT_SUPPORTED, f"operation {request.operation} is not supported")

    async def _resolved(self, asked: Asked, recursion: Recursion, *, public: bool) -> Packed:
        try:
            identifier = parse_identifier(asked.handle)
        except InvalidIdentifier as error:
            return refused(ResponseCode.INVALID_HANDLE, str(error))
        resolution = await self._resolver.resolve(identifier, ANYBODY, recursion=recursion)
        enterprise, owner = resolution.enterprise, resolution.prefix
        lasts = enterprise is not None and enterprise.visibility is Visibility.PUBLIC and resolution.found is None
        key = identifier.key if lasts else None
        if resolution.verdict is not Verdict.FOUND:
            if not resolution.is_here:
                return self._away(asked, resolution)
            code, why = refusal_of(resolution)
        else:
            code, values = chosen(asked, resolution, public=public)
            if code is ResponseCode.SUCCESS:
                body = values_body(asked.handle.encode(), [pack_value(value) for value in values])
                if len(body) <= MOST_BODY:
                    return Packed(code, body, key, owner)
                code = ResponseCode.ERROR
            why = "the values are more than a message holds; ask for some of them" if code is ResponseCode.ERROR else None
        if code is ResponseCode.AUTHENTICATION_NEEDED:
            return Packed(code, b"", key, owner)
        return refused(code, why, key, owner)

    def _away(self, asked: Asked, resolution: Resolution) -> Packed:
        """Of what lives on another node and wasn't found there. Not kept: who asks for recursion gets another answer."""
        code, why = refusal_of(resolution)
        sites = referral_of(resolution)[1] if resolution.verdict is Verdict.ELSEWHERE else ()
        if sites:
            body = values_body(asked.handle.encode(), [pack_value(each) for each in sites])
            return Packed(code, body, owner=resolution.prefix)
        made = refused(code, why, owner=resolution.prefix)
        if resolution.verdict is Verdict.UNREACHABLE:
            made.count = self._meter.counter(WIRE, resolution.prefix, away(resolution)[0])
        return made

    def _finish(self, data: bytes, start: int, end: int, kept: Packed, caller: str, now_s: float | None) -> bytes:
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
            kind = SHA256 if (major, minor) >= SHA256_SINCE else SHA1
            digested = data[start + ENVELOPE_BYTES : min(start + FRONT_BYTES + front[15], end)]
            made = hashlib.sha256(digested) if kind == SHA256 else hashlib.sha1(digested, usedforsecurity=False)
            if code == _CHALLENGE:
                challenge = Challenge(secrets.token_bytes(NONCE_BYTES), made.digest(), data[start:end])
                session = self.sessions.challenge(caller, challenge, 0, now_s or 0.0)
                whole = octets(challenge.nonce) + whole
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
