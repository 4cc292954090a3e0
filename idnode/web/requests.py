"""What the routes of the application ask of a request.

All are coroutines: the framework would run plain functions on another thread, and the store is read on the event loop's.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from idnode.access import Caller, Kind
from idnode.enterprise import Enterprise
from idnode.identifier import Identifier, InvalidIdentifier, parse_encoded
from idnode.web.node import Node
from idnode.web.problems import forbidden, not_found, unauthenticated, unprocessable

_bearer = HTTPBearer(auto_error=False, description="A token of an enterprise, or the administrator's.")


async def node_of(request: Request) -> Node:
    """The node that the application serves."""
    node: Node = request.app.state.node
    return node


async def caller_of(request: Request, _described: Annotated[object, Security(_bearer)] = None) -> Caller:
    """Who asks; 401 when they bear a token that is none."""
    node = await node_of(request)
    return await node.caller(request.headers.get("authorization"))


async def admin_of(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """The administrator; else 401 or 403."""
    if caller.kind is Kind.ANYBODY:
        raise unauthenticated()
    if caller.kind is not Kind.ADMIN:
        raise forbidden("this is the administrator's")
    return caller


async def known_caller(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """Anyone with a token; else 401."""
    if caller.kind is Kind.ANYBODY:
        raise unauthenticated()
    return caller


NodeOf = Annotated[Node, Depends(node_of)]
AnyCaller = Annotated[Caller, Depends(caller_of)]
KnownCaller = Annotated[Caller, Depends(known_caller)]
Admin = Annotated[Caller, Depends(admin_of)]


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
        Problem: 403 when the caller isn't of it (there or not: that isn't said), 404 when the administrator asks for none.
    """
    enterprise = await node.store.enterprise_of(prefix.upper())
    if enterprise is not None and caller.belongs_to(enterprise):
        return enterprise
    if caller.kind is Kind.ADMIN:
        raise not_found(f"{prefix} is nobody's prefix")
    raise forbidden(f"{prefix} is not open to this token")
