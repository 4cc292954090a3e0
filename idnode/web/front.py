"""The front of the node: the two routes that are asked ten thousand times a second, before the framework.

Resolution is the node's trade: /api/handles/... and /{prefix}/{suffix}. A framework's routing, dependencies and
responses cost several times what the look-up costs, so these two go straight from ASGI to the resolver and back. All
else, every write too, goes to the application. The front also sees to it that each answer bears the security headers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idnode.identifier import PATH_STARTS, InvalidIdentifier, parse_encoded
from idnode.store.base import StoreError
from idnode.web.answers import CLOSED_POLICY, OPEN_TO_ALL_SITES, SECURITY, Answer, problem_answer
from idnode.web.handle_json import ResponseCode, handle_answer
from idnode.web.handle_json import refusal as handle_refusal
from idnode.web.negotiation import Face, choose_face
from idnode.web.node import Node, store_problem
from idnode.web.page import bad_identifier_page, resolution_page
from idnode.web.pages.language import choose_language
from idnode.web.problems import Problem, bad_request
from idnode.web.resolution_json import resolution_json

HANDLES = b"/api/handles/"
PREFIXES = tuple(f"/{start}".encode() for start in PATH_STARTS)
_READS = "GET, HEAD, OPTIONS"
_PREFLIGHT = Answer(
    HTTPStatus.NO_CONTENT,
    b"",
    b"",
    (
        OPEN_TO_ALL_SITES,
        (b"allow", _READS.encode()),
        (b"access-control-allow-methods", _READS.encode()),
        (b"access-control-allow-headers", b"Authorization, Accept"),
        (b"access-control-max-age", b"86400"),
    ),
)


_Route = Callable[[Scope], Awaitable[Answer]]


class Front:
    """An ASGI application before the application."""

    def __init__(self, node: Node, application: ASGIApp) -> None:
        self._node = node
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI; only http gets past."""
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")  # the server is run without websockets and lifespan
        path: bytes = scope["raw_path"]
        if path.startswith(HANDLES):
            await self._respond(scope, send, self._handle)
        elif path.startswith(PREFIXES):
            await self._respond(scope, send, self._resolution)
        else:
            await self._application(scope, receive, _guarded(send))

    async def _respond(self, scope: Scope, send: Send, route: _Route) -> None:
        method = scope["method"]
        if method == "OPTIONS":
            answer = _PREFLIGHT
        elif method in ("GET", "HEAD"):
            answer = await _answered(route, scope)
        else:
            refused = Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not for this address", headers={"Allow": _READS})
            answer = problem_answer(refused)
        await answer.send(send, head=method == "HEAD")

    async def _handle(self, scope: Scope) -> Answer:
        encoded = scope["raw_path"][len(HANDLES) :]
        asked = unquote_to_bytes(encoded).decode("utf-8", "replace")
        try:
            identifier = parse_encoded(encoded)
        except InvalidIdentifier as error:
            return handle_refusal(ResponseCode.INVALID_HANDLE, asked, str(error))
        caller = await self._node.caller(_header(scope, b"authorization"))
        return handle_answer(await self._node.resolver.resolve(identifier, caller), asked, _query(scope))

    async def _resolution(self, scope: Scope) -> Answer:
        if choose_face(_header(scope, b"accept")) is Face.PAGE:
            return await self._page(scope)
        try:
            identifier = parse_encoded(scope["raw_path"][1:])
        except InvalidIdentifier as error:
            raise bad_request(str(error)) from error
        resolution = await self._node.resolver.resolve(identifier, await self._node.caller(_header(scope, b"authorization")))
        body = msgspec.json.encode(resolution_json(resolution, self._node.resolver))
        return Answer(HTTPStatus.OK, body, b"application/json", (OPEN_TO_ALL_SITES, (b"vary", b"Accept, Accept-Language")))

    async def _page(self, scope: Scope) -> Answer:
        language = choose_language(_header(scope, b"accept-language"), _query(scope).get("lang", [None])[-1])
        encoded: bytes = scope["raw_path"][1:]
        try:
            identifier = parse_encoded(encoded)
        except InvalidIdentifier:
            return bad_identifier_page(self._node, unquote_to_bytes(encoded).decode("utf-8", "replace"), language)
        caller = await self._node.caller(_header(scope, b"authorization"))
        return await resolution_page(self._node, await self._node.resolver.resolve(identifier, caller), language)


async def _answered(route: _Route, scope: Scope) -> Answer:
    try:
        return await route(scope)
    except Problem as problem:
        return problem_answer(problem)
    except StoreError as error:
        return problem_answer(store_problem(error))


def _header(scope: Scope, name: bytes) -> str | None:
    """The header's value, those of repeated lines joined; None when it isn't there."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(values) if values else None


def _query(scope: Scope) -> Mapping[str, Sequence[str]]:
    text = scope["query_string"].decode("latin-1")
    if not text:
        return {}
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise bad_request("the query has more than 100 fields") from error


def _guarded(send: Send) -> Send:
    """Adds the security headers that an answer of the application doesn't bear."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            extra = [(name, value) for name, value in (*SECURITY, CLOSED_POLICY) if name not in present]
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return guarded
