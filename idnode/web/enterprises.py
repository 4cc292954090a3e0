"""Enterprises and their life over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from epcis.timestamps import from_epoch_ms, to_epoch_ms
from idnode.access import Caller, Kind
from idnode.enterprise import STANDING_MOVES, Contact, Enterprise, Name, Standing, Visibility
from idnode.store.business import ENTERPRISE, PREFIX, Entry
from idnode.store.registry import admission, next_prefix, put_enterprise, read_enterprise
from idnode.web.bodies import parsed, read_json
from idnode.web.business_models import (
    ContactBody,
    EnterpriseAnswer,
    EnterpriseOrder,
    EnterprisePatch,
    HistoryAnswer,
    ReasonBody,
)
from idnode.web.json_response import JsonResponse
from idnode.web.models import NameBody
from idnode.web.node import Node
from idnode.web.once import Done, IdempotencyKey, IfMatch, change_once, check_match, etag
from idnode.web.openapi import takes
from idnode.web.paging import Paged
from idnode.web.problems import exists, forbidden, not_found
from idnode.web.requests import AnyCaller, NodeOf

router = APIRouter(prefix="/v1/enterprises", tags=["enterprises"])
MOST_PREFIXES = 1000
"""Of one enterprise."""


@router.post("", status_code=HTTPStatus.CREATED, openapi_extra=takes(EnterpriseOrder), response_model=EnterpriseAnswer)
async def add_enterprise(request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None) -> Response:
    """Make an enterprise known without an application; it gets the next free prefix below the node's own."""
    body = await read_json(request, node.settings.capture)
    order = parsed(EnterpriseOrder, body)

    async def act() -> Done:
        prefix, taking = await next_prefix(node.store, node.settings.node_prefix)
        visibility = Visibility.PUBLIC if order.public else Visibility.RESTRICTED
        made = Enterprise(order.id, Name(order.name.zh, order.name.en), prefix, visibility)
        if await node.store.entry(ENTERPRISE, order.id) is not None:
            raise exists(f"there is an enterprise {order.id}")
        return Done(enterprise_answer(made, 0), admission(made, taking), headers=etag(1))

    return await change_once(request, node, caller, idempotency_key, body, act)


@router.get("", response_model=list[EnterpriseAnswer])
async def list_enterprises(node: NodeOf, caller: AnyCaller, page: Paged) -> Response:
    """The enterprises whose records this caller may read."""
    found: list[Enterprise] = []
    after = page.after
    while len(found) <= page.limit:
        more = await node.store.entries(ENTERPRISE, after=after, limit=page.limit + 1)
        found += [each for each in map(_read, more) if caller.may_read(each)]
        if len(more) <= page.limit:
            break
        after = more[-1].key
    shown = found[: page.limit]
    return JsonResponse([await described(node, each, caller) for each in shown], headers=page.links(found, lambda each: each.id))


def _read(entry: Entry) -> Enterprise:
    return read_enterprise(entry.content)


@router.get("/{enterprise}", response_model=EnterpriseAnswer)
async def get_enterprise(enterprise: str, node: NodeOf, caller: AnyCaller) -> Response:
    """One enterprise."""
    entry, found = await enterprise_entry(node, enterprise, caller)
    return JsonResponse(await described(node, found, caller), headers=etag(entry.version))


@router.patch("/{enterprise}", openapi_extra=takes(EnterprisePatch), response_model=EnterpriseAnswer)
async def change_enterprise(
    enterprise: str, request: Request, node: NodeOf, caller: AnyCaller, if_match: IfMatch = None
) -> Response:
    """Change what is known of an enterprise."""
    patch = parsed(EnterprisePatch, await read_json(request, node.settings.capture))
    told = patch.model_fields_set
    if caller.kind is not Kind.ADMIN and told & {"quota", "expires"}:
        raise forbidden("quota and expires are the administrator's")

    def edit(now: Enterprise) -> Enterprise:
        changes: dict[str, object] = {}
        if patch.name is not None:
            changes["name"] = Name(patch.name.zh, patch.name.en)
        if patch.public is not None:
            changes["visibility"] = Visibility.PUBLIC if patch.public else Visibility.RESTRICTED
        if patch.contacts is not None:
            changes["contacts"] = tuple(each.as_contact() for each in patch.contacts)
        if "quota" in told:
            changes["quota"] = patch.quota
        if "expires" in told:
            changes["expires_ms"] = None if patch.expires is None else to_epoch_ms(patch.expires)
        return msgspec.structs.replace(now, **changes)

    return await _edit(request, node, caller, enterprise, edit, if_match)


@router.post("/{enterprise}/suspend", openapi_extra=takes(ReasonBody), response_model=EnterpriseAnswer)
async def suspend(
    enterprise: str,
    request: Request,
    node: NodeOf,
    caller: AnyCaller,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Suspend an enterprise, for a while: it registers nothing, and what it registered resolves for nobody else."""
    return await _move(request, node, caller, enterprise, Standing.SUSPENDED, if_match, idempotency_key)


@router.post("/{enterprise}/resume", openapi_extra=takes(ReasonBody), response_model=EnterpriseAnswer)
async def resume(
    enterprise: str,
    request: Request,
    node: NodeOf,
    caller: AnyCaller,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """End a suspension."""
    return await _move(request, node, caller, enterprise, Standing.ACTIVE, if_match, idempotency_key)


@router.post("/{enterprise}/close", openapi_extra=takes(ReasonBody), response_model=EnterpriseAnswer)
async def close(
    enterprise: str,
    request: Request,
    node: NodeOf,
    caller: AnyCaller,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Close an enterprise, for ever: its keys are void, nothing is registered, and what it registered goes on resolving."""
    return await _move(request, node, caller, enterprise, Standing.CLOSED, if_match, idempotency_key)


async def _move(
    request: Request,
    node: Node,
    caller: Caller,
    key: str,
    standing: Standing,
    if_match: str | None,
    idempotency_key: str | None,
) -> Response:
    body = await read_json(request, node.settings.capture)
    reason = parsed(ReasonBody, body).reason

    def edit(now: Enterprise) -> Enterprise:
        if standing not in STANDING_MOVES[now.standing]:
            raise exists(f"the enterprise {key} is {now.standing} and can't become {standing}")
        return msgspec.structs.replace(now, standing=standing, notice=reason)

    return await _edit(request, node, caller, key, edit, if_match, idempotency_key, body)


async def _edit(
    request: Request,
    node: Node,
    caller: Caller,
    key: str,
    edit: Callable[[Enterprise], Enterprise],
    if_match: str | None,
    idempotency_key: str | None = None,
    body: object = None,
) -> Response:
    async def act() -> Done:
        entry, now = await enterprise_entry(node, key, caller)
        check_match(if_match, entry.version)
        made = edit(now)
        changed = made != now
        content = await described(node, made, caller)
        steps = (put_enterprise(made, entry.version),) if changed else ()
        return Done(content, steps, HTTPStatus.OK, etag(entry.version + changed))

    return await change_once(request, node, caller, idempotency_key, body, act)


@router.get("/{enterprise}/history", response_model=list[HistoryAnswer])
async def history(enterprise: str, node: NodeOf, caller: AnyCaller, page: Paged) -> Response:
    """What was known of an enterprise from when on, and who said so; the first first."""
    await enterprise_entry(node, enterprise, caller)
    after = int(page.after) if page.after.isascii() and page.after.isdecimal() and len(page.after) < 18 else 0
    found = await node.store.entry_versions(ENTERPRISE, enterprise, after, page.limit + 1)
    answer = [
        {
            "version": each.version,
            "since": from_epoch_ms(each.since_ms),
            "author": each.author,
            "enterprise": enterprise_answer(_read(each), None),
        }
        for each in found[: page.limit]
    ]
    return JsonResponse(answer, headers=page.links(found, lambda each: str(each.version)))


async def enterprise_entry(node: Node, key: str, caller: Caller) -> tuple[Entry, Enterprise]:
    """An enterprise that this caller may know of, and its entry.

    Raises:
        Problem: 404.
    """
    entry = await node.store.entry(ENTERPRISE, key)
    if entry is not None:
        found = read_enterprise(entry.content)
        if caller.may_read(found) or _sees_all(caller):
            return entry, found
    raise not_found(f"there is no enterprise {key[:100]}")


def refuse_closed(enterprise: Enterprise) -> None:
    """Whether an enterprise may be given something.

    Raises:
        Problem: 409, it is closed.
    """
    if enterprise.standing is Standing.CLOSED:
        raise exists(enterprise.bar(0))


def _sees_all(caller: Caller) -> bool:
    return caller.kind is not Kind.ANYBODY and caller.enterprise == ""


async def described(node: Node, enterprise: Enterprise, caller: Caller) -> dict[str, object]:
    """An enterprise as this caller may see it."""
    if not (caller.belongs_to(enterprise) or _sees_all(caller)):
        open_part = enterprise_answer(enterprise, None)
        return {name: value for name, value in open_part.items() if name not in ("contacts", "quota", "expires")}
    owned = await node.store.entries(PREFIX, enterprise.id, limit=MOST_PREFIXES)
    return enterprise_answer(enterprise, sum(await node.store.registered([each.key for each in owned])))


def enterprise_answer(enterprise: Enterprise, registered: int | None) -> dict[str, object]:
    """All that is known of an enterprise, as EnterpriseAnswer."""
    answer = EnterpriseAnswer(
        id=enterprise.id,
        name=NameBody(zh=enterprise.name.zh, en=enterprise.name.en),
        prefix=enterprise.prefix,
        public=enterprise.visibility is Visibility.PUBLIC,
        standing=enterprise.standing.value,
        notice=enterprise.notice,
        contacts=[contact_body(each) for each in enterprise.contacts],
        quota=enterprise.quota,
        expires=None if enterprise.expires_ms is None else from_epoch_ms(enterprise.expires_ms),
        registered=registered,
    )
    return answer.model_dump(mode="json", exclude={"registered"} if registered is None else None)


def contact_body(contact: Contact) -> ContactBody:
    """A contact as the API writes it."""
    return ContactBody(name=contact.name, email=contact.email, phone=contact.phone)
