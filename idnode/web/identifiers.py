"""Registration over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from epcis.timestamps import from_epoch_ms
from idnode.access import Caller, Kind
from idnode.enterprise import Enterprise
from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier
from idnode.record import Change, Registered, Registration, State
from idnode.web.bodies import mistakes, parsed, read_json
from idnode.web.json_response import JsonResponse
from idnode.web.models import BatchAnswer, BatchOrder, Outcome, RegistrationOrder, ValuesOrder
from idnode.web.node import Node
from idnode.web.once import IdempotencyKey, IfMatch, check_match, etag
from idnode.web.openapi import takes
from idnode.web.paging import Paged
from idnode.web.problems import barred, exists, forbidden, not_found, over_quota, unauthenticated, unprocessable
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf, identifier_in, owner_key
from idnode.web.resolution_json import resolution_json

router = APIRouter(prefix="/v1/identifiers", tags=["identifiers"])
_HERE = "/v1/identifiers/"
_STATUSES: Mapping[Registered, Literal["created", "repeated", "exists", "over-quota"]] = {
    Registered.CREATED: "created",
    Registered.REPEATED: "repeated",
    Registered.DIFFERENT: "exists",
    Registered.OVER_QUOTA: "over-quota",
}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=takes(RegistrationOrder, BatchOrder),
    responses={200: {"model": BatchAnswer, "description": "A batch: what became of each"}},
    response_model=None,
)
async def register(request: Request, node: NodeOf, caller: KnownCaller, idempotency_key: IdempotencyKey = None) -> Response:
    """Register one identifier, or a batch of which each stands by itself.

    A batch is safe to repeat as it is. With an Idempotency-Key a single registration is, too: it is answered as the first was.
    """
    content = await read_json(request, node.settings.capture)
    if isinstance(content, dict) and "registrations" in content:
        return JsonResponse(await _register_batch(node, caller, parsed(BatchOrder, content)))
    order = parsed(RegistrationOrder, content)
    identifier = await _writable(node, caller, order.handle)
    (became,) = await node.store.register([Registration(identifier, order.as_values())], caller.author, node.now_ms())
    if became is Registered.OVER_QUOTA:
        raise over_quota(f"{identifier} is one more than its enterprise may have")
    if became is not Registered.CREATED and (became is not Registered.REPEATED or idempotency_key is None):
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
    owner = await _owner(node, identifier)
    return owner is not None and caller.may_register(owner)


async def _owner(node: Node, identifier: Identifier) -> Enterprise | None:
    for key in identifier.owners():
        found = await node.store.enterprise_of(key)
        if found is not None:
            return found
    return None


@router.put("/{prefix}/{suffix:path}", openapi_extra=takes(ValuesOrder), response_model=None)
async def replace(request: Request, node: NodeOf, caller: KnownCaller, if_match: IfMatch = None) -> Response:
    """Give a registered identifier new values. The old ones are kept as an earlier version."""
    identifier = identifier_in(request, _HERE)
    owner = await _owner(node, identifier)
    if owner is None or not caller.may_change(owner):
        raise forbidden(f"{identifier.prefix} is not open to this token")
    order = parsed(ValuesOrder, await read_json(request, node.settings.capture))
    now = await node.store.record(identifier)
    if now is not None:
        check_match(if_match, now.version)
    version = None if now is None or if_match is None else now.version
    made = await node.store.change(identifier, Change(values=order.as_values()), caller.author, node.now_ms(), version)
    body = resolution_json(await node.resolver.resolve(identifier, caller), node.resolver)
    return JsonResponse(body, headers=etag(made.version))


@router.get("/{prefix}/{suffix:path}", response_model=None)
async def get(request: Request, node: NodeOf, caller: AnyCaller) -> Response:
    """What an identifier means, as JSON."""
    identifier = identifier_in(request, _HERE)
    resolution = await node.resolver.resolve(identifier, caller)
    node.count(resolution)
    body = resolution_json(resolution, node.resolver)
    return JsonResponse(body, headers=etag(resolution.record.version) if resolution.record is not None else None)


@router.get("", response_model=None)
async def list_identifiers(
    node: NodeOf,
    caller: AnyCaller,
    page: Paged,
    prefix: Annotated[
        str, Query(min_length=1, max_length=200, description="An owner's prefix, such as 88.100.1 or gs1:9506000.")
    ],
    state: State | None = None,
) -> Response:
    """The identifiers that are registered under a prefix, ascending by key, with state and version."""
    owner = await node.store.enterprise_of(owner_key(prefix))
    if owner is None:
        raise not_found(f"{prefix} is nobody's prefix")
    if not caller.may_read(owner):
        raise forbidden(f"{prefix} is not open to this token") if caller.kind is not Kind.ANYBODY else unauthenticated()
    if not caller.may_resolve(owner):
        raise barred(owner.bar(node.now_ms()))
    states = None if state is None else [state]
    found = await node.store.records(owner_key(prefix), page.after, page.limit + 1, states)
    answer = [
        {"identifier": each.identifier.key, "state": each.state, "version": each.version, "since": from_epoch_ms(each.since_ms)}
        for each in found[: page.limit]
    ]
    return JsonResponse(answer, headers=page.links(found, lambda each: each.identifier.key))
