"""Registration over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from msgspec import UNSET
from pydantic import ValidationError
from starlette.responses import Response

from epcis.timestamps import from_epoch_ms
from idnode.access import Caller, Kind
from idnode.identifier import Identifier, InvalidIdentifier, parse_identifier
from idnode.links import WrongLink
from idnode.record import Change, HandleValue, Link, Record, Registered, Registration, State
from idnode.resolver import owner_of
from idnode.store.base import Outdated
from idnode.template import Mistake
from idnode.template_use import Inspector
from idnode.upstream.recursion import read_recursion
from idnode.web.bodies import mistakes, parsed, read_json
from idnode.web.json_response import JsonResponse
from idnode.web.models import BatchAnswer, BatchOrder, Outcome, RegistrationOrder, StateOrder, ValuesOrder
from idnode.web.node import COUNTED, Node
from idnode.web.once import IdempotencyKey, IfMatch, check_match, etag
from idnode.web.openapi import takes
from idnode.web.paging import Paged
from idnode.web.problems import Problem, barred, exists, forbidden, not_found, over_quota, unauthenticated, unprocessable
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf, identifier_in, owner_key
from idnode.web.resolution_json import resolution_json

router = APIRouter(prefix="/v1/identifiers", tags=["identifiers"])
Error = tuple[str, str]
"""JSON pointer into the body, what is wrong."""
_HERE = "/v1/identifiers/"
_KEY = "/{key}"
"""Keys without a slash: `oid:1.2.156.3088.1`."""
_TRIES = 5
"""Of a change, while others change the same record."""
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
        outcomes = await register_each(node, caller, parsed(BatchOrder, content).registrations)
        return JsonResponse({"outcomes": [outcome.model_dump(exclude_none=True) for outcome in outcomes]})
    order = parsed(RegistrationOrder, content)
    identifier, prefix = await _writable(node, caller, order.handle)
    registration, errors = await _registration(Inspector(node.store), prefix, identifier, order)
    if errors:
        raise _refused(errors)
    (became,) = await node.store.register([registration], caller.author, node.now_ms())
    if became is Registered.OVER_QUOTA:
        raise over_quota(f"{identifier} is one more than its enterprise may have")
    if became is not Registered.CREATED and (became is not Registered.REPEATED or idempotency_key is None):
        raise exists(f"{identifier} is registered already")
    body = resolution_json(await node.resolver.resolve(identifier, caller, recursion=None), node.resolver)
    return JsonResponse(body, HTTPStatus.CREATED, {"Location": f"{_HERE}{identifier.path}"})


async def register_each(node: Node, caller: Caller, contents: Iterable[object]) -> list[Outcome]:
    """Register identifiers, each by itself; `contents`: JSON of a RegistrationOrder."""
    outcomes: list[Outcome | None] = []
    good: list[Registration] = []
    inspector = Inspector(node.store)
    for content in contents:
        registration = await _read(node, inspector, caller, content)
        if isinstance(registration, Registration):
            good.append(registration)
            outcomes.append(None)
        else:
            outcomes.append(registration)
    registered = iter(zip(good, await node.store.register(good, caller.author, node.now_ms()), strict=True))
    return [outcome or _outcome(*next(registered)) for outcome in outcomes]


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
    prefix, owner = await owner_of(node.store, identifier)
    if owner is None or not caller.may_register(owner):
        return Outcome(handle=named, status="forbidden", detail=f"{prefix or identifier.prefix} is not open to this token")
    registration, errors = await _registration(inspector, prefix, identifier, order)
    return Outcome(handle=named, status="invalid", detail=_told(errors)) if errors else registration


async def _registration(
    inspector: Inspector, prefix: str, identifier: Identifier, order: RegistrationOrder
) -> tuple[Registration, list[Error]]:
    """The registration, and what is wrong with its links and, by the prefix's template that it names, its values."""
    links, errors = links_of(order)
    use, values = order.as_use(), order.as_values()
    errors += _pointed(order, await inspector.mistakes(prefix, use, values))
    return Registration(identifier, values, links or (), use), errors


def links_of(order: ValuesOrder) -> tuple[tuple[Link, ...] | None, list[Error]]:
    """The links of an order, and what is wrong with them."""
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


async def _writable(node: Node, caller: Caller, handle: str) -> tuple[Identifier, str]:
    """What a body names, and the owned prefix under which it is, when this caller may register there."""
    try:
        identifier = parse_identifier(handle)
    except InvalidIdentifier as error:
        raise unprocessable(f"/handle: {error}", [("/handle", str(error))]) from error
    prefix, owner = await owner_of(node.store, identifier)
    if owner is None or not caller.may_register(owner):
        raise forbidden(f"{prefix or identifier.prefix} is not open to this token")
    return identifier, prefix


async def changeable(node: Node, caller: Caller, identifier: Identifier) -> str:
    """The owned prefix under which an identifier is, when this caller may change what is registered there.

    Raises:
        Problem: 403.
    """
    prefix, owner = await owner_of(node.store, identifier)
    if owner is None or not caller.may_change(owner):
        raise forbidden(f"{prefix or identifier.prefix} is not open to this token")
    return prefix


@router.put(_KEY, openapi_extra=takes(ValuesOrder), response_model=None)
@router.put("/{prefix}/{suffix:path}", openapi_extra=takes(ValuesOrder), response_model=None)
async def replace(request: Request, node: NodeOf, caller: KnownCaller, if_match: IfMatch = None) -> Response:
    """Give a registered identifier new values, links or another template. What was is kept as an earlier version."""
    identifier = identifier_in(request, _HERE)
    await changeable(node, caller, identifier)
    order = parsed(ValuesOrder, await read_json(request, node.settings.capture))
    made = await change_values(node, caller, identifier, order, if_match)
    body = resolution_json(await node.resolver.resolve(identifier, caller, recursion=None), node.resolver)
    return JsonResponse(body, headers=etag(made.version))


@router.patch(_KEY, openapi_extra=takes(StateOrder), response_model=None)
@router.patch("/{prefix}/{suffix:path}", openapi_extra=takes(StateOrder), response_model=None)
async def move(request: Request, node: NodeOf, caller: KnownCaller, if_match: IfMatch = None) -> Response:
    """Suspend an identifier, give it free again, or retire it for ever. Its values stay, for the house to see."""
    identifier = identifier_in(request, _HERE)
    await changeable(node, caller, identifier)
    order = parsed(StateOrder, await read_json(request, node.settings.capture))
    change, version = Change(state=order.state, reason=order.reason), None
    if if_match is not None and (record := await node.store.record(identifier)) is not None:
        check_match(if_match, record.version)
        version = record.version
    made = await node.store.change(identifier, change, caller.author, node.now_ms(), version)
    body = resolution_json(await node.resolver.resolve(identifier, caller, recursion=None), node.resolver)
    return JsonResponse(body, headers=etag(made.version))


async def change_values(
    node: Node,
    caller: Caller,
    identifier: Identifier,
    order: ValuesOrder,
    if_match: str | None = None,
    keeps: Callable[[HandleValue], bool] | None = None,
) -> Record:
    """Give a registered identifier other values. `keeps`: of the values that are there, which stay beside those.

    Raises:
        Problem: 403, 412, 422.
        StoreError
    """
    prefix = await changeable(node, caller, identifier)
    for _ in range(_TRIES - 1):
        with contextlib.suppress(Outdated):
            return await _change(node, caller, prefix, identifier, order, if_match, keeps)
    return await _change(node, caller, prefix, identifier, order, if_match, keeps)


async def _change(
    node: Node,
    caller: Caller,
    prefix: str,
    identifier: Identifier,
    order: ValuesOrder,
    if_match: str | None,
    keeps: Callable[[HandleValue], bool] | None,
) -> Record:
    """Change the version that was read: values are held against the template that it names.

    Raises:
        Outdated: somebody changed it meanwhile.
    """
    record = await node.store.record(identifier)
    if record is not None:
        check_match(if_match, record.version)
    kept = None if record is None else record.template
    use = order.as_use() if order.names_template else kept
    links, errors = links_of(order)
    values = order.as_values()
    if keeps is not None and record is not None:
        given = {value.index for value in values}
        values = (*values, *(value for value in record.values if value.index not in given and keeps(value)))
    errors += _pointed(order, await Inspector(node.store).mistakes(prefix, use, values, kept))
    if errors:
        raise _refused(errors)
    change = Change(values=values, links=UNSET if links is None else links, template=use)
    version = None if record is None else record.version
    return await node.store.change(identifier, change, caller.author, node.now_ms(), version)


@router.get(_KEY, response_model=None)
@router.get("/{prefix}/{suffix:path}", response_model=None)
async def get(request: Request, node: NodeOf, caller: AnyCaller) -> Response:
    """What an identifier means, as JSON."""
    identifier = identifier_in(request, _HERE)
    recursion = read_recursion(request.headers.get("cdn-loop"))
    resolution = await node.resolver.resolve(identifier, caller, recursion=recursion)
    body = resolution_json(resolution, node.resolver)
    request.scope[COUNTED][0] = resolution.prefix
    return JsonResponse(body, headers={} if resolution.record is None else etag(resolution.record.version))


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
