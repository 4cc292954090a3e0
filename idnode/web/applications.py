"""Applications: how an enterprise comes to the node."""

from __future__ import annotations

import secrets
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from epcis.timestamps import from_epoch_ms, to_epoch_ms
from idnode.access import digest_of, new_secret
from idnode.affairs import APPLICATION, Application, Decision, put_affair, read_affair
from idnode.enterprise import Enterprise, Name, Role, Token, Visibility
from idnode.store.business import ENTERPRISE, Entry
from idnode.store.registry import admission, new_token_steps, next_prefix
from idnode.web.bodies import parsed, read_json
from idnode.web.business_models import ApplicationAnswer, ApplicationOrder, ApprovalAnswer, ApprovalOrder, RefusalOrder
from idnode.web.enterprises import contact_body, enterprise_answer
from idnode.web.json_response import JsonResponse
from idnode.web.models import NameBody
from idnode.web.node import Node
from idnode.web.once import Done, IdempotencyKey, change_once
from idnode.web.openapi import takes
from idnode.web.paging import Paged
from idnode.web.problems import Problem, exists, not_found
from idnode.web.requests import AnyCaller, NodeOf

router = APIRouter(prefix="/v1/applications", tags=["applications"])
FIRST_LABEL = "owner"


@router.post("", status_code=HTTPStatus.CREATED, openapi_extra=takes(ApplicationOrder), response_model=ApplicationAnswer)
async def apply(request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None) -> Response:
    """Ask to become an enterprise of the node. For anyone; the answer's `application` is the way to what is decided."""
    body = await read_json(request, node.settings.capture)
    order = parsed(ApplicationOrder, body)

    async def act() -> Done:
        most = node.settings.applications.most_pending
        if len(await node.store.entries(APPLICATION, Decision.PENDING, limit=most)) >= most:
            headers = {"Retry-After": "3600"}
            detail = "as many applications wait as the node takes; come again later"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, "urn:mumian:problem:too-many-applications", headers=headers)
        name = Name(order.name.zh, order.name.en)
        made = Application(order.id, name, tuple(each.as_contact() for each in order.contacts), order.public)
        key = secrets.token_hex(24)
        author = caller.author or "applicant"
        entry = Entry(APPLICATION, key, Decision.PENDING, 1, node.now_ms(), author, b"")
        return Done(_answer(entry, made), (put_affair(APPLICATION, key, made, Decision.PENDING, 0),))

    return await change_once(request, node, caller, idempotency_key, body, act)


@router.get("", response_model=list[ApplicationAnswer])
async def list_applications(node: NodeOf, page: Paged, decision: Decision = Decision.PENDING) -> Response:
    """The applications on which that was decided."""
    found = await node.store.entries(APPLICATION, decision, page.after, page.limit + 1)
    answer = [_answer(each, read_affair(each.content, Application)) for each in found[: page.limit]]
    return JsonResponse(answer, headers=page.links(found, lambda each: each.key))


@router.get("/{application}", response_model=ApplicationAnswer)
async def get_application(application: str, node: NodeOf) -> Response:
    """An application and what was decided; for whoever knows its key, which can't be guessed."""
    return JsonResponse(_answer(*await _application(node, application)))


@router.post(
    "/{application}/approve", status_code=HTTPStatus.CREATED, openapi_extra=takes(ApprovalOrder), response_model=ApprovalAnswer
)
async def approve(
    application: str, request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Approve: the enterprise is there with its prefix. The answer has its owner's first token, this once."""
    body = await read_json(request, node.settings.capture)
    order = parsed(ApprovalOrder, body)

    async def act() -> Done:
        entry, asked = await _pending(node, application)
        if await node.store.entry(ENTERPRISE, asked.enterprise) is not None:
            raise exists(f"there is an enterprise {asked.enterprise}; refuse this, so that another id is asked for")
        prefix, taking = await next_prefix(node.store, node.settings.node_prefix)
        made = _enterprise(asked, prefix, order)
        secret = new_secret()
        token = Token(digest_of(secret), made.id, FIRST_LABEL, Role.OWNER)
        decided = msgspec.structs.replace(asked, decision=Decision.APPROVED, reason=order.reason)
        steps = (
            put_affair(APPLICATION, application, decided, Decision.APPROVED, entry.version),
            *admission(made, taking),
            *await new_token_steps(node.store, token),
        )
        return Done({"enterprise": enterprise_answer(made, 0)}, steps, shown_once={"token": secret})

    return await change_once(request, node, caller, idempotency_key, body, act)


def _enterprise(asked: Application, prefix: str, order: ApprovalOrder) -> Enterprise:
    visibility = Visibility.PUBLIC if asked.public else Visibility.RESTRICTED
    expires_ms = None if order.expires is None else to_epoch_ms(order.expires)
    return Enterprise(
        asked.enterprise, asked.name, prefix, visibility, contacts=asked.contacts, quota=order.quota, expires_ms=expires_ms
    )


@router.post("/{application}/refuse", openapi_extra=takes(RefusalOrder), response_model=ApplicationAnswer)
async def refuse(
    application: str, request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Refuse, with a reason that the applicant sees."""
    body = await read_json(request, node.settings.capture)
    reason = parsed(RefusalOrder, body).reason

    async def act() -> Done:
        entry, asked = await _pending(node, application)
        decided = msgspec.structs.replace(asked, decision=Decision.REFUSED, reason=reason)
        step = put_affair(APPLICATION, application, decided, Decision.REFUSED, entry.version)
        return Done(_answer(entry, decided), (step,), HTTPStatus.OK)

    return await change_once(request, node, caller, idempotency_key, body, act)


async def _application(node: Node, key: str) -> tuple[Entry, Application]:
    entry = await node.store.entry(APPLICATION, key)
    if entry is None:
        raise not_found(f"there is no application {key[:100]}")
    return entry, read_affair(entry.content, Application)


async def _pending(node: Node, key: str) -> tuple[Entry, Application]:
    entry, asked = await _application(node, key)
    if asked.decision is not Decision.PENDING:
        raise exists(f"the application is {asked.decision} already")
    return entry, asked


def _answer(entry: Entry, application: Application) -> dict[str, object]:
    return ApplicationAnswer(
        application=entry.key,
        id=application.enterprise,
        name=NameBody(zh=application.name.zh, en=application.name.en),
        contacts=[contact_body(each) for each in application.contacts],
        public=application.public,
        decision=application.decision.value,
        reason=application.reason,
        since=from_epoch_ms(entry.since_ms),
    ).model_dump(mode="json")
