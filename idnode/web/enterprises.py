"""Enterprises, their tokens and their leases over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from idnode.access import digest_of, new_secret
from idnode.enterprise import Enterprise, LeaseOrder, Name, Token, Visibility
from idnode.web.bodies import parsed, read_json
from idnode.web.models import (
    EnterpriseAnswer,
    EnterpriseOrder,
    LeaseAnswer,
    LeaseRequest,
    NameBody,
    TokenAnswer,
    TokenOrder,
)
from idnode.web.openapi import takes
from idnode.web.problems import forbidden, not_found, unprocessable
from idnode.web.requests import Admin, AnyCaller, KnownCaller, NodeOf, owner_of

router = APIRouter(prefix="/v1", tags=["enterprises"])
_LONGEST_KEY = 200


@router.post("/enterprises", status_code=HTTPStatus.CREATED, openapi_extra=takes(EnterpriseOrder))
async def add_enterprise(request: Request, node: NodeOf, admin: Admin) -> EnterpriseAnswer:
    """Make an enterprise known; it gets the next free prefix below the node's own."""
    order = parsed(EnterpriseOrder, await read_json(request, node.settings.capture))
    visibility = Visibility.PUBLIC if order.public else Visibility.RESTRICTED
    name = Name(order.name.zh, order.name.en)
    made = await node.store.add_enterprise(order.id, name, visibility, node.settings.node_prefix, admin.author, node.now_ms())
    return _answer(made)


@router.get("/enterprises")
async def list_enterprises(node: NodeOf, caller: AnyCaller) -> list[EnterpriseAnswer]:
    """The enterprises whose records this caller may read."""
    return [_answer(each) for each in await node.store.enterprises() if caller.may_read(each)]


@router.get("/enterprises/{key}")
async def get_enterprise(key: str, node: NodeOf, caller: AnyCaller) -> EnterpriseAnswer:
    """One enterprise."""
    found = await node.store.enterprise(key)
    if found is None or not caller.may_read(found):
        raise not_found(f"there is no enterprise {key}")
    return _answer(found)


@router.post("/enterprises/{key}/tokens", status_code=HTTPStatus.CREATED, openapi_extra=takes(TokenOrder))
async def add_token(key: str, request: Request, node: NodeOf, admin: Admin) -> TokenAnswer:
    """Make a token. It is shown in this answer and never again."""
    order = parsed(TokenOrder, await read_json(request, node.settings.capture))
    secret = new_secret()
    await node.store.add_token(Token(digest_of(secret), key, order.label, order.role), admin.author, node.now_ms())
    return TokenAnswer(token=secret, label=order.label, role=order.role)


@router.delete("/enterprises/{key}/tokens/{label}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_token(key: str, label: str, node: NodeOf, _: Admin) -> None:
    """End a token, at once."""
    await node.store.revoke_token(key, label, node.now_ms())


@router.post(
    "/prefixes/{prefix}/leases",
    status_code=HTTPStatus.CREATED,
    openapi_extra=takes(LeaseRequest),
    responses={200: {"model": LeaseAnswer, "description": "This key has this lease already"}},
)
async def lease(
    prefix: str,
    request: Request,
    response: Response,
    node: NodeOf,
    caller: KnownCaller,
    idempotency_key: Annotated[str | None, Header(description="Makes repeating safe: the same key gets the same lease.")] = None,
) -> LeaseAnswer:
    """Lease suffixes for naming things while the node can't be reached. For a gateway's token."""
    owner = await owner_of(node, prefix, caller)
    if not caller.is_gateway_of(owner):
        raise forbidden("this needs a token with the role gateway")
    if idempotency_key is None or not 0 < len(idempotency_key) <= _LONGEST_KEY:
        raise unprocessable(f"the header Idempotency-Key is missing or longer than {_LONGEST_KEY} characters")
    order = parsed(LeaseRequest, await read_json(request, node.settings.capture))
    wanted = LeaseOrder(owner.prefix, order.count, order.holder, caller.digest, idempotency_key)
    made, new = await node.store.lease(wanted, node.now_ms())
    if not new:
        response.status_code = HTTPStatus.OK
    return LeaseAnswer(lease=made.id, prefix=made.prefix, suffixes=list(made.suffixes))


def _answer(enterprise: Enterprise) -> EnterpriseAnswer:
    return EnterpriseAnswer(
        id=enterprise.id,
        name=NameBody(zh=enterprise.name.zh, en=enterprise.name.en),
        prefix=enterprise.prefix,
        public=enterprise.visibility is Visibility.PUBLIC,
    )
