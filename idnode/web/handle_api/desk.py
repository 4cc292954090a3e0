"""What is asked of /api/... beside plain resolutions: changes, lists, sessions, and resolutions by known identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope

from idnode.access import ANYBODY
from idnode.administering.administration import Administration
from idnode.administering.refusal import Refusal
from idnode.handle.codes import ResponseCode
from idnode.handle.node_key import NodeKey
from idnode.settings import Exposure
from idnode.store.base import StoreError, StoreFull
from idnode.web.answers import Answer
from idnode.web.handle_api.authentication import CERTIFICATE, Authentication, Failed, Known
from idnode.web.handle_api.changes import Changes, encoded_handle
from idnode.web.handle_api.lists import Lists
from idnode.web.handle_api.replies import NotAuthenticated, refused, reply
from idnode.web.handle_api.sessions_route import SessionRoute
from idnode.web.handle_api.verification import verified
from idnode.web.handle_json import handle_answer, is_on
from idnode.web.moment import moment_asked
from idnode.web.node import Node
from idnode.web.problems import Problem

HANDLES, PREFIXES, SITE = "/api/handles", "/api/prefixes", "/api/site"
SESSIONS, THIS_SESSION, VERIFICATIONS = "/api/sessions", "/api/sessions/this", "/api/verifications/"
SEARCH = "/hrls/handles"
_ROOTS = (b"/api/", b"/hrls/")
_MOST_FIELDS = 4200
"""Of a query: as many indexes as a handle has values, twice."""


def is_handle_api(path: bytes) -> bool:
    """Whether a raw path is one of this API's."""
    return path.startswith(_ROOTS)


class Desk:
    """One node's."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._core = Administration(node.store, node.now_ms)
        self._authentication = Authentication(node)
        self._changes = Changes(node, self._core)
        self._lists = Lists(node, self._core)
        self._sessions = SessionRoute(self._authentication)

    def sign_with(self, key: NodeKey | None) -> None:
        """Answer challenges of clients with the node's key."""
        self._sessions.key = key

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """What is answered."""
        request = Request(scope, receive)
        moved = self._to_tls(scope, request)
        if moved is not None:
            return moved
        asked = unquote_to_bytes(encoded_handle(scope)).decode("utf-8", "replace")
        try:
            query = _query(scope["query_string"])
            known = await self._authentication.known(request.headers.get("authorization"), scope.get(CERTIFICATE))
            if known.who is not None:
                self._node.note_use(known.who.caller)
            return await self._routed(request, asked, query, known)
        except Refusal as refusal:
            return refused(refusal.code, asked, str(refusal))
        except Failed as failed:
            return reply(ResponseCode.AUTHENTICATION_NEEDED, 401, asked, errors=[str(failed)], fields=self._challenge())
        except NotAuthenticated:
            return reply(ResponseCode.AUTHENTICATION_NEEDED, 401, asked, "authentication needed", fields=self._challenge())
        except Problem as problem:
            return reply(ResponseCode.ERROR, int(problem.status), asked, problem.detail)
        except StoreError as error:
            full = isinstance(error, StoreFull)
            why = "the node's disk is full; nothing of this was stored" if full else "the node can't reach its storage"
            return reply(ResponseCode.ERROR, 507 if full else 503, asked, why, fields=[(b"retry-after", b"30")])

    def _challenge(self) -> list[tuple[bytes, bytes]]:
        return self._authentication.challenge()

    async def _routed(self, request: Request, asked: str, query: Mapping[str, Sequence[str]], known: Known) -> Answer:
        path, method = request.scope["path"].rstrip("/"), request.method
        head = method == "HEAD"
        if request.scope["path"].startswith(f"{HANDLES}/") and asked:
            if method in ("GET", "HEAD"):
                return await self._resolved(request.scope, asked, query, known)
            if method in ("PUT", "DELETE"):
                return await self._changes.answer(request, asked, query, known)
            return not_allowed("GET, HEAD, PUT, DELETE, OPTIONS")
        if path == SESSIONS:
            return self._sessions.begun() if method == "POST" else not_allowed("POST, OPTIONS")
        if path == THIS_SESSION:
            return await self._sessions.answer(request, known)
        if method != "GET" and not head:
            return not_allowed("GET, HEAD, OPTIONS")
        if path == HANDLES:
            return await self._lists.handles(query, known)
        if path == PREFIXES:
            return await self._lists.prefixes(known)
        if path == SITE:
            return await self._lists.site(request.scope)
        if path == SEARCH:
            return await self._lists.search(query, known)
        if request.scope["path"].startswith(VERIFICATIONS):
            return await verified(self._authentication.identities, _named(request.scope), query)
        return reply(ResponseCode.ERROR, 404, "", f"there is no {path[:200]}")

    async def _resolved(self, scope: Scope, asked: str, query: Mapping[str, Sequence[str]], known: Known) -> Answer:
        identifier = self._changes.identifier(encoded_handle(scope))
        caller = ANYBODY
        if known.who is not None and not is_on(query.get("publicOnly")):
            caller = await self._core.reader_of(known.who, identifier)
        resolution = await self._node.resolver.resolve(identifier, caller, moment_asked(query))
        answer = handle_answer(resolution, asked, query, anonymous=False)
        return msgspec.structs.replace(answer, owner=resolution.prefix)

    def _to_tls(self, scope: Scope, request: Request) -> Answer | None:
        """On to HTTPS, where a proxy before the node says that this came by plain HTTP, and it is more than a look."""
        settings = self._node.settings
        plain = request.headers.get("x-forwarded-proto", "").lower() == "http"
        base = settings.public_url or ""
        if not plain or settings.exposure is not Exposure.NETWORK_WITHOUT_TLS or not base.startswith("https://"):
            return None
        if request.method in ("GET", "HEAD") and "authorization" not in request.headers:
            return None
        target = base.rstrip("/").encode() + scope["raw_path"]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        return Answer(302, b"", b"text/plain", ((b"location", target),))


def not_allowed(methods: str) -> Answer:
    """405, with those that are."""
    return reply(ResponseCode.OPERATION_NOT_SUPPORTED, 405, "", f"here are {methods}", fields=[(b"allow", methods.encode())])


def _named(scope: Scope) -> str:
    return unquote_to_bytes(scope["raw_path"][len(VERIFICATIONS) :]).decode("utf-8", "replace")


def _query(query: bytes) -> Mapping[str, Sequence[str]]:
    try:
        return parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise Refusal(ResponseCode.ERROR, f"the query has more than {_MOST_FIELDS} fields") from error
