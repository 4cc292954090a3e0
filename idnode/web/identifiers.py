"""Registration over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from idnode.access import Caller
from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier
from idnode.record import Change, Registered, Registration
from idnode.web.bodies import mistakes, parsed, read_json
from idnode.web.json_response import JsonResponse
from idnode.web.models import BatchAnswer, BatchOrder, Outcome, RegistrationOrder, ValuesOrder
from idnode.web.node import Node
from idnode.web.openapi import takes
from idnode.web.problems import exists, forbidden, unprocessable
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf, identifier_in
from idnode.web.resolution_json import resolution_json

router = APIRouter(prefix="/v1/identifiers", tags=["identifiers"])
_HERE = "/v1/identifiers/"
_STATUSES: Mapping[Registered, Literal["created", "repeated", "exists"]] = {
    Registered.CREATED: "created",
    Registered.REPEATED: "repeated",
    Registered.DIFFERENT: "exists",
}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=takes(RegistrationOrder, BatchOrder),
    responses={200: {"model": BatchAnswer, "description": "A batch: what became of each"}},
    response_model=None,
)
async def register(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Register one identifier, or a batch of which each stands by itself."""
    content = await read_json(request, node.settings.capture)
    if isinstance(content, dict) and "registrations" in content:
        return JsonResponse(await _register_batch(node, caller, parsed(BatchOrder, content)))
    order = parsed(RegistrationOrder, content)
    identifier = await _writable(node, caller, order.handle)
    (became,) = await node.store.register([Registration(identifier, order.as_values())], caller.author, node.now_ms())
    if became is not Registered.CREATED:
        raise exists(f"{identifier} is registered already")
    body = resolution_json(await node.resolver.resolve(identifier, caller), node.resolver)
    return JsonResponse(body, HTTPStatus.CREATED, {"Location": f"{_HERE}{identifier.path}"})


async def _register_batch(node: Node, caller: Caller, order: BatchOrder) -> dict[str, object]:
    outcomes: list[Outcome | None] = []
    good: list[Registration] = []
    for content in order.registrations:
        registration = await _read(node, caller, content)
        if isinstance(registration, Registration):
            good.append(registration)
            outcomes.append(None)
        else:
            outcomes.append(registration)
    registered = iter(zip(good, await node.store.register(good, caller.author, node.now_ms()), strict=True))
    complete = [outcome or _outcome(*next(registered)) for outcome in outcomes]
    return {"outcomes": [outcome.model_dump(exclude_none=True) for outcome in complete]}


def _outcome(registration: Registration, became: Registered) -> Outcome:
    return Outcome(handle=str(registration.identifier), status=_STATUSES[became])


async def _read(node: Node, caller: Caller, content: object) -> Registration | Outcome:
    handle = content.get("handle") if isinstance(content, dict) else None
    named = handle if isinstance(handle, str) else None
    try:
        order = RegistrationOrder.model_validate(content)
        identifier = parse_identifier(order.handle)
    except ValidationError as error:
        return Outcome(handle=named, status="invalid", detail="; ".join(f"{at}: {why}" for at, why in mistakes(error)[:3]))
    except InvalidIdentifier as error:
        return Outcome(handle=named, status="invalid", detail=str(error))
    if not await _may_write(node, caller, identifier):
        return Outcome(handle=named, status="forbidden", detail=f"{identifier.prefix} is not open to this token")
    return Registration(identifier, order.as_values())


async def _writable(node: Node, caller: Caller, handle: str) -> Identifier:
    try:
        identifier = parse_identifier(handle)
    except InvalidIdentifier as error:
        raise unprocessable(f"/handle: {error}", [("/handle", str(error))]) from error
    if not await _may_write(node, caller, identifier):
        raise forbidden(f"{identifier.prefix} is not open to this token")
    return identifier


async def _may_write(node: Node, caller: Caller, identifier: Identifier) -> bool:
    enterprise = await node.store.enterprise_of(identifier.prefix)
    return enterprise is not None and caller.may_register(enterprise)


@router.put("/{prefix}/{suffix:path}", openapi_extra=takes(ValuesOrder), response_model=None)
async def replace(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Give a registered identifier new values. The old ones are kept as an earlier version."""
    identifier = identifier_in(request, _HERE)
    if not await _may_write(node, caller, identifier):
        raise forbidden(f"{identifier.prefix} is not open to this token")
    order = parsed(ValuesOrder, await read_json(request, node.settings.capture))
    await node.store.change(identifier, Change(values=order.as_values()), caller.author, node.now_ms())
    return JsonResponse(resolution_json(await node.resolver.resolve(identifier, caller), node.resolver))


@router.get("/{prefix}/{suffix:path}", response_model=None)
async def get(request: Request, node: NodeOf, caller: AnyCaller) -> Response:
    """What an identifier means, as JSON."""
    identifier = identifier_in(request, _HERE)
    return JsonResponse(resolution_json(await node.resolver.resolve(identifier, caller), node.resolver))
