"""Subscriptions to announcements over HTTP."""

from __future__ import annotations

import secrets
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from epcis.timestamps import from_epoch_ms
from idnode.access import new_secret
from idnode.affairs import CURSOR, UNDELIVERED, Cursor, Subscription, Undelivered, put_affair, read_affair
from idnode.announcing.address import BadAddress, check_url
from idnode.store.business import SUBSCRIPTION, Entry, Put, Step, Trim
from idnode.web.bodies import parsed, read_json
from idnode.web.business_models import SubscriptionAnswer, SubscriptionOrder, UndeliveredAnswer
from idnode.web.enterprises import enterprise_entry
from idnode.web.json_response import JsonResponse
from idnode.web.node import Node
from idnode.web.once import Done, IdempotencyKey, change_once
from idnode.web.openapi import takes
from idnode.web.paging import Paged
from idnode.web.problems import exists, not_found, unprocessable
from idnode.web.requests import AnyCaller, NodeOf

router = APIRouter(prefix="/v1/enterprises/{enterprise}/subscriptions", tags=["subscriptions"])
MOST = 20
"""Of one enterprise."""


@router.post("", status_code=HTTPStatus.CREATED, openapi_extra=takes(SubscriptionOrder), response_model=SubscriptionAnswer)
async def subscribe(
    enterprise: str, request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Have what becomes of the enterprise's identifiers posted to an address. The key of the signatures is shown this once."""
    body = await read_json(request, node.settings.capture)
    order = parsed(SubscriptionOrder, body)
    try:
        check_url(order.url, node.settings.webhooks.allowed_hosts)
    except BadAddress as error:
        raise unprocessable(f"/url: {error}", [("/url", str(error))]) from error

    async def act() -> Done:
        await enterprise_entry(node, enterprise, caller)
        if len(await node.store.entries(SUBSCRIPTION, enterprise, limit=MOST)) >= MOST:
            raise exists(f"{enterprise} has {MOST} subscriptions, as many as there may be")
        key, secret = secrets.token_hex(8), new_secret()
        begins = await _newest(node, enterprise)
        made = Subscription(enterprise, order.url, tuple(dict.fromkeys(order.topics)), secret, begins)
        content = _describe(key, made, Cursor(begins), undelivered=False)
        return Done(content, (put_affair(SUBSCRIPTION, key, made, enterprise, 0),), shown_once={"secret": secret})

    return await change_once(request, node, caller, idempotency_key, body, act)


async def _newest(node: Node, enterprise: str) -> int:
    """The sequence of the last announcement of an enterprise that is kept; a new subscription begins behind it."""
    last = 0
    while found := await node.store.announcements(enterprise, last, 1000):
        last = found[-1].sequence
    return last


@router.get("", response_model=list[SubscriptionAnswer])
async def list_subscriptions(enterprise: str, node: NodeOf, caller: AnyCaller, page: Paged) -> Response:
    """The subscriptions of an enterprise, and how their deliveries go."""
    await enterprise_entry(node, enterprise, caller)
    found = await node.store.entries(SUBSCRIPTION, enterprise, page.after, page.limit + 1)
    answer = [await _answer(node, each) for each in found[: page.limit]]
    return JsonResponse(answer, headers=page.links(found, lambda each: each.key))


@router.delete("/{subscription}", status_code=HTTPStatus.NO_CONTENT)
async def unsubscribe(enterprise: str, subscription: str, node: NodeOf, caller: AnyCaller) -> None:
    """End a subscription; what it hasn't been told it won't be."""
    entry = await _entry(node, enterprise, subscription)
    steps: list[Step] = [
        Put(SUBSCRIPTION, subscription, b"", enterprise, entry.version),
        Put(CURSOR, subscription, b"", kept=False),
    ]
    if len(await node.store.entries(SUBSCRIPTION, enterprise, limit=2)) == 1:
        steps.append(Trim(enterprise, 2**62))  # nobody else waits for them
    await node.store.write(steps, caller.author, node.now_ms())


@router.get("/{subscription}/undelivered", response_model=list[UndeliveredAnswer])
async def list_undelivered(enterprise: str, subscription: str, node: NodeOf, page: Paged) -> Response:
    """The announcements that were given up after so many attempts, the first first."""
    await _entry(node, enterprise, subscription)
    after = f"{subscription}/{page.after}" if page.after else ""
    found = await node.store.entries(UNDELIVERED, subscription, after, page.limit + 1)
    answer = [_undelivered(read_affair(each.content, Undelivered)) for each in found[: page.limit]]
    return JsonResponse(answer, headers=page.links(found, lambda each: each.key.partition("/")[2]))


@router.post("/{subscription}/retry", response_model=SubscriptionAnswer)
async def retry(enterprise: str, subscription: str, node: NodeOf, caller: AnyCaller) -> Response:
    """Try the next announcement at once, whatever pause it was in."""
    entry = await _entry(node, enterprise, subscription)
    found = await node.store.entry(CURSOR, subscription)
    if found is not None:
        cursor = msgspec.structs.replace(read_affair(found.content, Cursor), next_ms=0)
        await node.store.write([_put_cursor(subscription, cursor, found.version)], caller.author, node.now_ms())
    return JsonResponse(await _answer(node, entry))


def _put_cursor(key: str, cursor: Cursor, if_version: int) -> Put:
    return Put(CURSOR, key, msgspec.json.encode(cursor), if_version=if_version, kept=False)


async def _entry(node: Node, enterprise: str, key: str) -> Entry:
    entry = await node.store.entry(SUBSCRIPTION, key)
    if entry is None or entry.group != enterprise:
        raise not_found(f"there is no subscription {key[:100]} of {enterprise[:100]}")
    return entry


async def _answer(node: Node, entry: Entry) -> dict[str, object]:
    subscription = read_affair(entry.content, Subscription)
    found = await node.store.entry(CURSOR, entry.key)
    cursor = Cursor(subscription.begins) if found is None else read_affair(found.content, Cursor)
    given_up = await node.store.entries(UNDELIVERED, entry.key, limit=1)
    return _describe(entry.key, subscription, cursor, undelivered=bool(given_up))


def _describe(key: str, subscription: Subscription, cursor: Cursor, *, undelivered: bool) -> dict[str, object]:
    return SubscriptionAnswer(
        subscription=key,
        url=subscription.url,
        topics=[each.value for each in subscription.topics],
        delivered_to=cursor.sequence,
        failed_attempts=cursor.attempts,
        next_attempt=from_epoch_ms(cursor.next_ms) if cursor.next_ms else None,
        failure=cursor.failure,
        undelivered=undelivered,
    ).model_dump(mode="json", exclude={"secret"})


def _undelivered(given_up: Undelivered) -> dict[str, object]:
    return {
        "sequence": given_up.sequence,
        "body": given_up.body,
        "attempts": given_up.attempts,
        "failure": given_up.failure,
        "at": from_epoch_ms(given_up.at_ms),
    }
