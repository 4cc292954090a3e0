"""Registration over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from msgspec import UNSET
from pydantic import ValidationError
from starlette.responses import Response

from idnode.access import Caller
from idnode.enterprise import Enterprise
from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier
from idnode.links import WrongLink
from idnode.record import Change, Link, Registered, Registration
from idnode.store.base import Outdated
from idnode.template import Mistake
from idnode.template_use import Inspector
from idnode.web.bodies import mistakes, parsed, read_json
from idnode.web.json_response import JsonResponse
from idnode.web.models import BatchAnswer, BatchOrder, Outcome, RegistrationOrder, StateOrder, ValuesOrder
from idnode.web.node import Node
from idnode.web.openapi import takes
from idnode.web.problems import Problem, exists, forbidden, unprocessable
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf, identifier_in
from idnode.web.resolution_json import resolution_json

router = APIRouter(prefix="/v1/identifiers", tags=["identifiers"])
Error = tuple[str, str]
"""JSON pointer into the body, what is wrong."""
_HERE = "/v1/identifiers/"
_TRIES = 5
"""Of a change, while others change the same record."""
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
    identifier, owner = await _writable(node, caller, order.handle)
    registration, errors = await _registration(Inspector(node.store), owner, identifier, order)
    if errors:
        raise _refused(errors)
    (became,) = await node.store.register([registration], caller.author, node.now_ms())
    if became is not Registered.CREATED:
        raise exists(f"{identifier} is registered already")
    body = resolution_json(await node.resolver.resolve(identifier, caller), node.resolver)
    return JsonResponse(body, HTTPStatus.CREATED, {"Location": f"{_HERE}{identifier.path}"})


async def _register_batch(node: Node, caller: Caller, order: BatchOrder) -> dict[str, object]:
    outcomes: list[Outcome | None] = []
    good: list[Registration] = []
    inspector = Inspector(node.store)
    for content in order.registrations:
        registration = await _read(node, inspector, caller, content)
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


async def _read(node: Node, inspector: Inspector, caller: Caller, content: object) -> Registration | Outcome:
    handle = content.get("handle") if isinstance(content, dict) else None
    named = handle if isinstance(handle, str) else None
    try:
        order = RegistrationOrder.model_validate(content)
        identifier = parse_identifier(order.handle)
    except ValidationError as error:
        return Outcome(handle=named, status="invalid", detail=_told(mistakes(error)))
    except InvalidIdentifier as error:
        return Outcome(handle=named, status="invalid", detail=str(error))
    owner = await _owner(node, caller, identifier)
    if owner is None:
        return Outcome(handle=named, status="forbidden", detail=f"{identifier.prefix} is not open to this token")
    registration, errors = await _registration(inspector, owner, identifier, order)
    return Outcome(handle=named, status="invalid", detail=_told(errors)) if errors else registration


async def _registration(
    inspector: Inspector, owner: Enterprise, identifier: Identifier, order: RegistrationOrder
) -> tuple[Registration, list[Error]]:
    """The registration, and what is wrong with its links and, by the template that it names, its values."""
    links, errors = _links(order)
    use, values = order.as_use(), order.as_values()
    errors += _pointed(order, await inspector.mistakes(owner.prefix, use, values))
    return Registration(identifier, values, links or (), use), errors


def _links(order: ValuesOrder) -> tuple[tuple[Link, ...] | None, list[Error]]:
    try:
        return order.as_links(), []
    except WrongLink as error:
        return None, [("/typed_links", str(error))]


def _pointed(order: ValuesOrder, found: Iterable[Mistake]) -> list[Error]:
    """(JSON pointer, what is wrong): at the value of that index, where there is one."""
    places = {value.index: f"/values/{place}" for place, value in enumerate(order.values)}
    return [
        ("/template", each.reason) if each.index is None else (places.get(each.index, "/values"), f"{each.index}: {each.reason}")
        for each in found
    ]


def _told(errors: Sequence[Error]) -> str:
    return "; ".join(f"{pointer}: {why}" for pointer, why in errors[:3])


def _refused(errors: Sequence[Error]) -> Problem:
    return unprocessable(_told(errors), errors[:20])


async def _writable(node: Node, caller: Caller, handle: str) -> tuple[Identifier, Enterprise]:
    try:
        identifier = parse_identifier(handle)
    except InvalidIdentifier as error:
        raise unprocessable(f"/handle: {error}", [("/handle", str(error))]) from error
    return identifier, await _owner_or_refusal(node, caller, identifier)


async def _owner(node: Node, caller: Caller, identifier: Identifier) -> Enterprise | None:
    """Whose identifier it is, when this caller may register for them."""
    enterprise = await node.store.enterprise_of(identifier.prefix)
    return enterprise if enterprise is not None and caller.may_register(enterprise) else None


async def _owner_or_refusal(node: Node, caller: Caller, identifier: Identifier) -> Enterprise:
    owner = await _owner(node, caller, identifier)
    if owner is None:
        raise forbidden(f"{identifier.prefix} is not open to this token")
    return owner


@router.put("/{prefix}/{suffix:path}", openapi_extra=takes(ValuesOrder), response_model=None)
async def replace(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Give a registered identifier new values, links or another template. What was is kept as an earlier version."""
    identifier = identifier_in(request, _HERE)
    owner = await _owner_or_refusal(node, caller, identifier)
    order = parsed(ValuesOrder, await read_json(request, node.settings.capture))
    for _ in range(_TRIES - 1):
        with contextlib.suppress(Outdated):
            await _change(node, caller, owner, identifier, order)
            break
    else:
        await _change(node, caller, owner, identifier, order)
    return JsonResponse(resolution_json(await node.resolver.resolve(identifier, caller), node.resolver))


@router.patch("/{prefix}/{suffix:path}", openapi_extra=takes(StateOrder), response_model=None)
async def move(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Suspend an identifier, give it free again, or retire it for ever. Its values stay, for the house to see."""
    identifier = identifier_in(request, _HERE)
    await _owner_or_refusal(node, caller, identifier)
    order = parsed(StateOrder, await read_json(request, node.settings.capture))
    await node.store.change(identifier, Change(state=order.state, reason=order.reason), caller.author, node.now_ms())
    return JsonResponse(resolution_json(await node.resolver.resolve(identifier, caller), node.resolver))


async def _change(node: Node, caller: Caller, owner: Enterprise, identifier: Identifier, order: ValuesOrder) -> None:
    """Change the version that was read: values are held against the template that it names.

    Raises:
        Outdated: somebody changed it meanwhile.
    """
    record = await node.store.record(identifier)
    kept = None if record is None else record.template
    use = order.as_use() if order.names_template else kept
    links, errors = _links(order)
    errors += _pointed(order, await Inspector(node.store).mistakes(owner.prefix, use, order.as_values(), kept))
    if errors:
        raise _refused(errors)
    change = Change(values=order.as_values(), links=UNSET if links is None else links, template=use)
    version = None if record is None else record.version
    await node.store.change(identifier, change, caller.author, node.now_ms(), version)


@router.get("/{prefix}/{suffix:path}", response_model=None)
async def get(request: Request, node: NodeOf, caller: AnyCaller) -> Response:
    """What an identifier means, as JSON."""
    identifier = identifier_in(request, _HERE)
    return JsonResponse(resolution_json(await node.resolver.resolve(identifier, caller), node.resolver))
