"""What the routes of the application ask of a request.

All are coroutines: the framework would run plain functions on another thread, and the store is read on the event loop's.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from idnode.access import Caller, Kind
from idnode.enterprise import Enterprise
from idnode.identifier import Identifier, InvalidIdentifier, parse_encoded
from idnode.settings import MetricsFor
from idnode.web.node import Node
from idnode.web.problems import barred, forbidden, not_found, unauthenticated, unprocessable
from idnode.web.rights import ANYBODY, METRICS, is_of_house, named_roles, right_of

_bearer = HTTPBearer(auto_error=False, description="A token of an enterprise, or the administrator's.")


async def node_of(request: Request) -> Node:
    """The node that the application serves."""
    node: Node = request.app.state.node
    return node


async def caller_of(request: Request, _described: Annotated[object, Security(_bearer)] = None) -> Caller:
    """Who asks; 401 when they bear a token that is none."""
    node = await node_of(request)
    return await node.caller(request.headers.get("authorization"))


async def permit(request: Request, caller: Annotated[Caller, Depends(caller_of)]) -> None:
    """Let through who has the right to the route (idnode.web.rights); else 401 or 403."""
    route = request.scope.get("route")
    path = getattr(route, "path", "").replace(":path", "")
    right = right_of(request.method, path)
    if path == METRICS and (await node_of(request)).settings.operations.metrics is MetricsFor.ANYONE:
        right = ANYBODY
    if not right.admits(caller):
        if caller.kind is Kind.ANYBODY:
            raise unauthenticated()
        raise forbidden(f"this needs a token with the role {named_roles(right)}")
    if request.query_params:
        _check_query(request, path)
    if right.own and is_of_house(caller):
        named = request.path_params[right.own]
        if right.own == "prefix":
            owner = await (await node_of(request)).store.enterprise_of(owner_key(named))
            mine = owner is not None and owner.id == caller.enterprise
        else:
            mine = named == caller.enterprise
        if not mine:
            raise forbidden(f"{named[:200]} is not open to this token")
    (await node_of(request)).note_use(caller)
    if caller.barred and request.method not in ("GET", "HEAD", "OPTIONS"):
        raise barred(caller.barred)


def _check_query(request: Request, path: str) -> None:
    """Whether the query has only what the description knows, each once: else something else would be asked for unnoticed."""
    operation = request.app.openapi()["paths"].get(path, {}).get(request.method.lower())
    if operation is None or not path.startswith("/v1/"):
        return
    known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
    strange = next((name for name in request.query_params if name not in known), None)
    if strange is not None:
        raise unprocessable(f"{strange[:100]!r} is no parameter here; known are {', '.join(sorted(known)) or 'none'}")
    given = Counter(name for name, _ in request.query_params.multi_items())
    if given.total() > len(given):
        raise unprocessable(f"{given.most_common(1)[0][0]!r} is given more than once")


def owner_key(text: str) -> str:
    """A prefix as it is kept: a handle's in upper case, another scheme's as it is."""
    return text if ":" in text else text.upper()


async def known_caller(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """Anyone with a token; else 401."""
    if caller.kind is Kind.ANYBODY:
        raise unauthenticated()
    return caller


NodeOf = Annotated[Node, Depends(node_of)]
AnyCaller = Annotated[Caller, Depends(caller_of)]
KnownCaller = Annotated[Caller, Depends(known_caller)]


def identifier_in(request: Request, behind: str) -> Identifier:
    """The identifier that the address ends in, from its raw form: an encoded character is no other.

    Raises:
        Problem: 422, it is none.
    """
    raw: bytes = request.scope["raw_path"]
    try:
        return parse_encoded(raw[len(behind) :])
    except InvalidIdentifier as error:
        raise unprocessable(str(error)) from error


async def owner_of(node: Node, prefix: str, caller: Caller) -> Enterprise:
    """The enterprise of a prefix.

    Raises:
        Problem: 403 when the caller isn't of it (there or not: that isn't said), 404 when the node's own ask for none.
    """
    enterprise = await node.store.enterprise_of(owner_key(prefix))
    if enterprise is not None and caller.belongs_to(enterprise):
        return enterprise
    if caller.kind is Kind.ADMIN:
        raise not_found(f"{prefix} is nobody's prefix")
    raise forbidden(f"{prefix} is not open to this token")
