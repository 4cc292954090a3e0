"""API keys over HTTP: of an enterprise, and of the node itself."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from epcis.timestamps import from_epoch_ms, to_epoch_ms
from idnode.access import Caller, digest_of, new_secret
from idnode.affairs import USE
from idnode.enterprise import NODE, NODE_ROLES, Token
from idnode.store.business import Entry
from idnode.store.registry import KEY, new_token_steps, read_token
from idnode.web.bodies import parsed, read_json
from idnode.web.business_models import KeyAnswer, KeyOrder, NewKeyAnswer
from idnode.web.enterprises import enterprise_entry, refuse_closed
from idnode.web.json_response import JsonResponse
from idnode.web.node import Node
from idnode.web.once import Done, IdempotencyKey, change_once
from idnode.web.openapi import takes
from idnode.web.paging import Page, Paged
from idnode.web.problems import unprocessable
from idnode.web.requests import AnyCaller, NodeOf

router = APIRouter(prefix="/v1", tags=["keys"])


@router.post(
    "/enterprises/{enterprise}/tokens", status_code=HTTPStatus.CREATED, openapi_extra=takes(KeyOrder), response_model=NewKeyAnswer
)
async def add_key(
    enterprise: str, request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Make a key of an enterprise. It is shown in this answer and never again."""
    _, owner = await enterprise_entry(node, enterprise, caller)
    refuse_closed(owner)
    return await _add(request, node, caller, enterprise, idempotency_key)


@router.post("/tokens", status_code=HTTPStatus.CREATED, openapi_extra=takes(KeyOrder), response_model=NewKeyAnswer)
async def add_node_key(request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None) -> Response:
    """Make a key of the node: of a further administrator, a reviewer or an auditor."""
    return await _add(request, node, caller, NODE, idempotency_key)


async def _add(request: Request, node: Node, caller: Caller, enterprise: str, idempotency_key: str | None) -> Response:
    body = await read_json(request, node.settings.capture)
    order = parsed(KeyOrder, body)
    if (order.role in NODE_ROLES) != (enterprise == NODE):
        whose = "the node's own" if enterprise == NODE else "an enterprise's"
        detail = f"{order.role} is no role of {whose} keys"
        raise unprocessable(f"/role: {detail}", [("/role", detail)])

    async def act() -> Done:
        secret = new_secret()
        expires_ms = None if order.expires is None else to_epoch_ms(order.expires)
        token = Token(digest_of(secret), enterprise, order.label, order.role, expires_ms)
        content = {"label": order.label, "role": order.role.value, "expires": order.expires}
        return Done(content, await new_token_steps(node.store, token), shown_once={"token": secret})

    return await change_once(request, node, caller, idempotency_key, body, act)


@router.get("/enterprises/{enterprise}/tokens", response_model=list[KeyAnswer])
async def list_keys(enterprise: str, node: NodeOf, caller: AnyCaller, page: Paged) -> Response:
    """The keys of an enterprise, the revoked ones too, by label."""
    await enterprise_entry(node, enterprise, caller)
    return await _list(node, enterprise, page)


@router.get("/tokens", response_model=list[KeyAnswer])
async def list_node_keys(node: NodeOf, page: Paged) -> Response:
    """The keys of the node, by label. The one of the administrator's file isn't among them."""
    return await _list(node, NODE, page)


async def _list(node: Node, enterprise: str, page: Page) -> Response:
    found = await node.store.entries(KEY, enterprise, f"{enterprise}/{page.after}" if page.after else "", page.limit + 1)
    answer = [await _answer(node, each) for each in found[: page.limit]]
    return JsonResponse(answer, headers=page.links(found, lambda each: each.key.partition("/")[2]))


async def _answer(node: Node, entry: Entry) -> dict[str, object]:
    token = read_token(entry.content)
    use = await node.store.entry(USE, entry.key)
    return KeyAnswer(
        label=token.label,
        role=token.role,
        expires=None if token.expires_ms is None else from_epoch_ms(token.expires_ms),
        revoked=None if token.revoked_ms is None else from_epoch_ms(token.revoked_ms),
        since=from_epoch_ms(entry.since_ms),
        author=entry.author,
        last_used=None if use is None else from_epoch_ms(int(use.content)),
    ).model_dump(mode="json")


@router.delete("/enterprises/{enterprise}/tokens/{label}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_key(enterprise: str, label: str, node: NodeOf, caller: AnyCaller) -> None:
    """End a key, at once."""
    await node.store.revoke_token(enterprise, label, node.now_ms(), caller.author)


@router.delete("/tokens/{label}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_node_key(label: str, node: NodeOf, caller: AnyCaller) -> None:
    """End a key of the node, at once."""
    await node.store.revoke_token(NODE, label, node.now_ms(), caller.author)
