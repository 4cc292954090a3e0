"""The front of the node: the routes that are asked ten thousand times a second, before the framework.

Resolution is the node's trade: /api/handles/..., /{prefix}/{suffix} and /identityv2/data/detail. A framework's routing,
dependencies and responses cost several times what the look-up costs, so these go straight from ASGI to the resolver and back. All
else, every write too, goes to the application. The front also sees to it that each answer bears the security headers.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from idnode.access import ANYBODY, Caller
from idnode.enterprise import Visibility
from idnode.handle.codes import ResponseCode
from idnode.identifier import PATH_STARTS, Identifier, InvalidIdentifier, parse_encoded, parse_identifier
from idnode.operations.limits import caller_key
from idnode.operations.meter import REFUSED
from idnode.resolver import Resolution, Verdict
from idnode.store.base import StoreError
from idnode.upstream.recursion import FIRST, Refer, read_recursion
from idnode.web.answers import OPEN_TO_ALL_SITES, Answer, guarded, problem_answer
from idnode.web.compressed_link import MOST_SLASHES, Uncompressed, may_be_compressed, partly_compressed, shown, uncompress
from idnode.web.digital_link import DIGITAL_LINKS, asked_of, link_answer
from idnode.web.elsewhere import sent_on, with_query
from idnode.web.freshness import REVALIDATE, VARY, etag, fetched, is_unchanged, lifetime, tagged, unchanged
from idnode.web.handle_api.desk import Desk, is_handle_api
from idnode.web.handle_json import as_script, delegated_address, handle_answer, is_on
from idnode.web.handle_json import refusal as handle_refusal
from idnode.web.manner import Manner, manner_of
from idnode.web.moment import moment_asked
from idnode.web.negotiation import Face
from idnode.web.node import COUNTED, Node, store_problem
from idnode.web.page import bad_identifier_page, resolution_page, unavailable_page
from idnode.web.pages.language import Language, choose_language
from idnode.web.preflight import ADMINISTERS, ALLOWED, PREFLIGHT, READS
from idnode.web.problems import Problem, bad_request, too_many, unprocessable
from idnode.web.query import query_fields
from idnode.web.resolution_json import refusal, resolution_json
from idnode.web.snms.detail import detail_answer
from idnode.web.snms.detail import problem_answer as snms_refusal

HANDLES = b"/api/handles/"
SNMS_DETAIL = b"/identityv2/data/detail"
PREFIXES = tuple(f"/{start}".encode() for start in PATH_STARTS)
_HOT = (HANDLES, *PREFIXES, SNMS_DETAIL)
ADMITTED = "mumian.admitted"
"""Of a scope: whether its caller was let through by the limits already."""


class Keeper(Protocol):
    """Whoever keeps answers for the next who asks (idnode.web.hot)."""

    def begin(self) -> tuple[Front, int]:
        """To be asked before a resolution begins: whose answer it is to be, and what keep() wants to know."""

    def keep(self, mark: int, target: bytes, manner: Manner, answer: Answer) -> None:
        """An answer was made; `target`: path and query."""


class Front:
    """An ASGI application before the application; and the hot routes' answers for whoever has a request in another form."""

    def __init__(self, node: Node, application: ASGIApp, names: frozenset[str] = frozenset()) -> None:
        """`names`: first segments of the application's paths, which are no compressed Digital Links."""
        self._node = node
        self._application = application
        self._names = names
        self.desk = Desk(node)
        """Answers the Handle HTTP API but for plain resolutions."""
        self.keeper: Keeper | None = None
        """Is offered the answers that are made here, where there is one."""

    def beside(self, store: Any) -> Front:
        """The same node's, with its resolutions from a store of this kind."""
        resolver = self._node.resolver.beside(store)
        return Front(dataclasses.replace(self._node, store=store, resolver=resolver), self._application, self._names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI; only http gets past."""
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")  # the server is run without websockets and lifespan
        began = time.perf_counter()
        path: bytes = scope["raw_path"]
        caller = caller_key(scope["client"][0] if scope["client"] else None)
        wait_s = 0 if scope.get(ADMITTED) else self._node.panel.limits.wait_s(caller, began)
        if wait_s:
            await problem_answer(too_many(wait_s)).send(send, head=scope["method"] == "HEAD")
            self._observe(scope, REFUSED, "", HTTPStatus.TOO_MANY_REQUESTS, began)
        elif is_handle_api(path) and not _is_plain(scope, path):
            await self._administered(scope, receive, send, began)
        elif not is_hot(path) and not (scope["method"] in READS and may_be_compressed(path, self._names)):
            status, owner = [0], [""]
            try:
                await self._application({**scope, COUNTED: owner}, receive, guarded(send, status))
            finally:
                self._observe(scope, "api", owner[0], status[0] or 500, began)
        else:
            await self._resolved(scope, send, began)

    async def _administered(self, scope: Scope, receive: Receive, send: Send, began: float) -> None:
        """What the Handle HTTP API does beside plain resolutions."""
        answer = ADMINISTERS if scope["method"] == "OPTIONS" else await self.desk.answer(scope, receive)
        answer, face = self._spared(answer, "handle", began)
        await answer.send(send, head=scope["method"] == "HEAD")
        self._observe(scope, face, answer.owner, int(answer.status), began)

    async def _resolved(self, scope: Scope, send: Send, began: float) -> None:
        path: bytes = scope["raw_path"]
        method, manner = scope["method"], manner_of(scope["headers"])
        if method == "OPTIONS":
            answer = PREFLIGHT
        elif method in ("GET", "HEAD"):
            answer = await self._answer(path, scope["query_string"], manner)
        else:
            refused = Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not for this address", headers={"Allow": ALLOWED})
            answer = _refusal_of(path)(refused)
        answer, face = self._spared(answer, face_of(path, manner), began)
        await answer.send(send, head=method == "HEAD")
        self._observe(scope, face, answer.owner, answer.counted or int(answer.status), began)

    def _spared(self, answer: Answer, face: str, now_s: float) -> tuple[Answer, str]:
        """The answer and its face, or those of one that its prefix is asked for too often."""
        wait_s = self._node.panel.limits.prefix_wait_s(answer.owner, now_s)
        if not wait_s:
            return answer, face
        return msgspec.structs.replace(problem_answer(too_many(wait_s)), owner=answer.owner), REFUSED

    def _observe(self, scope: Scope, face: str, owner: str, status: int, began: float) -> None:
        took_s = time.perf_counter() - began
        self._node.meter.observe(face, owner, status, took_s)
        slow = self._node.panel.slow
        if took_s > slow.slow_s:
            slow.note(face, scope["method"], scope["raw_path"], status, took_s, self._node.now_ms())

    async def _answer(self, path: bytes, query: bytes, manner: Manner) -> Answer:
        keeper = self.keeper
        if keeper is None:
            answer = await self.whole(path, query, manner)
        else:
            front, mark = keeper.begin()
            answer = await front.whole(path, query, manner)
            keeper.keep(mark, path + b"?" + query if query else path, manner, answer)
        return unchanged(answer) if is_unchanged(answer, manner.if_none_match) else answer

    async def whole(self, path: bytes, query: bytes, manner: Manner) -> Answer:
        """What GET gives a client that has no answer yet, and HEAD the head of. `path` is raw, and is_hot() or compressed."""
        try:
            if path.startswith(HANDLES):
                return await self._handle(path[len(HANDLES) :], query, manner)
            if path.startswith(DIGITAL_LINKS):
                return await self._digital_link(path[1:], query, manner)
            if path.startswith(SNMS_DETAIL):
                return await self._snms(path, query, manner)
            if path.startswith(PREFIXES):
                return await self._own(path[1:], query, manner)
            return await self._compressed(path[1:], query, manner)
        except Problem as problem:
            return _refusal_of(path)(problem)
        except StoreError as error:
            away = store_problem(error)
            if manner.face is Face.PAGE and path.startswith(PREFIXES) and not _is_linkset(query, manner):
                return unavailable_page(self._node, path, away, _language(query_fields(query), manner))
            return _refusal_of(path)(away)

    async def _snms(self, path: bytes, query: bytes, manner: Manner) -> Answer:
        if path != SNMS_DETAIL:
            raise bad_request(f"there is no {path.decode('ascii', 'replace')[:200]}")
        fields = query_fields(query)
        asked = fields.get("handle", [""])[-1].strip()
        if not asked:
            raise unprocessable("缺少必要的请求参数: handle")
        try:
            identifier = parse_identifier(asked)
        except InvalidIdentifier as error:
            raise unprocessable(str(error)) from error
        caller, resolution = await self._resolve(identifier, fields, manner)
        return _kept(detail_answer(resolution, asked, anonymous=caller is ANYBODY), resolution, caller)

    async def _handle(self, encoded: bytes, query: bytes, manner: Manner) -> Answer:
        asked = (unquote_to_bytes(encoded) if b"%" in encoded else encoded).decode("utf-8", "replace")
        try:
            identifier = parse_encoded(encoded)
        except InvalidIdentifier as error:
            return handle_refusal(ResponseCode.INVALID_HANDLE, asked, str(error))
        fields = query_fields(query)
        callback = fields.get("callback") if fields else None
        if fields and (callback is not None or is_on(fields.get("publicOnly"))):
            manner = msgspec.structs.replace(manner, authorization=None)
        caller, resolution = await self._resolve(identifier, fields, manner)
        answer = handle_answer(resolution, asked, fields, anonymous=caller is ANYBODY)
        if resolution.delegate is not None and query:
            answer = with_query(answer, query)
        if callback is not None and answer.status != HTTPStatus.TEMPORARY_REDIRECT:
            answer = as_script(answer, callback[-1], asked)
        return _kept(answer, resolution, caller)

    async def _own(self, encoded: bytes, query: bytes, manner: Manner) -> Answer:
        """The node's own page or JSON."""
        fields = query_fields(query)
        identifier = self._identifier(encoded, fields, manner, as_page=manner.face is Face.PAGE)
        if isinstance(identifier, Answer):
            return identifier
        caller, resolution = await self._resolve(identifier, fields, manner)
        return _kept(await self._own_answer(resolution, caller, fields, manner, query), resolution, caller)

    async def _digital_link(self, encoded: bytes, query: bytes, manner: Manner) -> Answer:
        fields = query_fields(query)
        asked = asked_of(query, manner)
        as_page = manner.face is Face.PAGE and not asked.linkset
        encoded = encoded.removesuffix(b"/")
        if encoded.count(b"/") == MOST_SLASHES and (opened := partly_compressed(encoded)) is not None:
            return await self._uncompressed(opened, query, manner)
        identifier = self._identifier(encoded, fields, manner, as_page=as_page)
        if isinstance(identifier, Answer):
            return identifier
        caller = await self._node.caller(manner.authorization)
        recursion = msgspec.structs.replace(read_recursion(manner.loop), refer=Refer.TO_WEB)
        levels = await self._node.resolver.resolve_levels(identifier, caller, moment_asked(fields), recursion)
        try:
            answer = link_answer(levels, asked, self._node, anonymous=caller is ANYBODY)
        except Problem as problem:
            answer = _asked_again(problem)
        if answer is None:
            answer = await self._own_answer(levels[0], caller, fields, manner, query)
        return _kept(answer, levels[0], caller, tuple([each.identifier.key for each in levels[1:]]))

    async def _compressed(self, encoded: bytes, query: bytes, manner: Manner) -> Answer:
        try:
            opened = uncompress(encoded)
        except InvalidIdentifier as error:
            if manner.face is not Face.PAGE:
                text = encoded.decode("ascii", "replace")[:200]
                raise bad_request(f"there is no /{text}, and it is no compressed Digital Link: {error}") from error
            return bad_identifier_page(self._node, shown(encoded), _language(query_fields(query), manner))
        return await self._uncompressed(opened, query, manner)

    async def _uncompressed(self, link: Uncompressed, query: bytes, manner: Manner) -> Answer:
        """What the uncompressed link is answered, and which one that is."""
        try:
            answer = await self._digital_link(link.path, link.query_with(query), manner)
        except Problem as problem:
            answer = problem_answer(problem)
        same = link.same_as(self._node.resolver.base_url)
        return msgspec.structs.replace(answer, headers=(*answer.headers, same), key=None)

    def _identifier(
        self, encoded: bytes, fields: Mapping[str, Sequence[str]], manner: Manner, *, as_page: bool
    ) -> Identifier | Answer:
        """The identifier, or the page for what is none.

        Raises:
            Problem: 400, where no page is wanted.
        """
        try:
            return parse_encoded(encoded)
        except InvalidIdentifier as error:
            if not as_page:
                raise bad_request(str(error)) from error
            text = unquote_to_bytes(encoded).decode("utf-8", "replace")
            return bad_identifier_page(self._node, text, _language(fields, manner))

    async def _own_answer(
        self, resolution: Resolution, caller: Caller, fields: Mapping[str, Sequence[str]], manner: Manner, query: bytes
    ) -> Answer:
        where = None if resolution.delegate is None else delegated_address(resolution, "")
        if where is not None:
            return sent_on(where, resolution, query)
        if manner.face is Face.PAGE:
            page = await resolution_page(self._node, resolution, _language(fields, manner))
            return tagged(page) if page.status == HTTPStatus.OK else page
        if resolution.verdict is not Verdict.FOUND:
            return _asked_again(refusal(resolution))
        body = msgspec.json.encode(resolution_json(resolution, self._node.resolver))
        anonymous, found = caller is ANYBODY, resolution.found
        kept = lifetime(resolution.values, anonymous=anonymous)
        if found is not None:
            kept = fetched(found.age_s, found.is_stale, resolution.values, anonymous=anonymous)
        return Answer(HTTPStatus.OK, body, b"application/json", (OPEN_TO_ALL_SITES, VARY, *kept, (b"etag", etag(body))))

    async def _resolve(
        self, identifier: Identifier, fields: Mapping[str, Sequence[str]], manner: Manner
    ) -> tuple[Caller, Resolution]:
        caller = await self._node.caller(manner.authorization)
        recursion = FIRST if manner.loop is None else read_recursion(manner.loop)
        return caller, await self._node.resolver.resolve(identifier, caller, moment_asked(fields), recursion=recursion)


def _is_plain(scope: Scope, path: bytes) -> bool:
    """Whether a request of the Handle HTTP API is a resolution by anybody, or by the bearer of an API key."""
    if not path.startswith(HANDLES) or scope["method"] not in ("GET", "HEAD"):
        return False
    given = next((value for name, value in scope["headers"] if name == b"authorization"), None)
    return given is None or not is_foreign(given.decode("latin-1"))


def is_foreign(authorization: str) -> bool:
    """Whether an Authorization header says who asks otherwise than by an API key."""
    return authorization[:7].lower() != "bearer "


def is_hot(path: bytes) -> bool:
    """Whether a raw path is one of the hot routes'."""
    return path.startswith(_HOT)


def face_of(path: bytes, manner: Manner) -> str:
    """How requests of this kind are called in metrics."""
    if path.startswith(HANDLES):
        return "handle"
    if path.startswith(SNMS_DETAIL):
        return "snms"
    return "link" if path.startswith(DIGITAL_LINKS) or not is_hot(path) else manner.face.value


def _is_linkset(query: bytes, manner: Manner) -> bool:
    return b"linkset" in query or "linkset" in (manner.accept or "")


def _refusal_of(path: bytes) -> Callable[[Problem], Answer]:
    """How a problem is told there."""
    return snms_refusal if path.startswith(SNMS_DETAIL) else problem_answer


def _asked_again(problem: Problem) -> Answer:
    """A refusal that caches have to ask for again."""
    refused = problem_answer(problem)
    return msgspec.structs.replace(refused, headers=(*refused.headers, *REVALIDATE, VARY))


def _language(fields: Mapping[str, Sequence[str]], manner: Manner) -> Language:
    return choose_language(manner.accept_language, fields.get("lang", [None])[-1])


def _kept(answer: Answer, resolution: Resolution, caller: Caller, also: tuple[str, ...] = ()) -> Answer:
    """The answer, marked with what it hangs on, the identifier and `also`, where the house is public and nobody said who asks."""
    enterprise = resolution.enterprise
    if enterprise is None:
        return answer
    common = resolution.lasts and caller is ANYBODY and enterprise.visibility is Visibility.PUBLIC
    key = resolution.identifier.key if common else None
    return Answer(answer.status, answer.body, answer.media_type, answer.headers, key, resolution.prefix, also, answer.counted)
