"""Prefixes over HTTP: granted, transferred, delegated; and the pools leased under them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Request, Response

from epcis.timestamps import from_epoch_ms
from idnode.access import Caller
from idnode.affairs import Delegation, Ownership, put_affair, read_affair
from idnode.announcing.address import BadAddress
from idnode.enterprise import Enterprise, LeaseOrder, Pool
from idnode.store.business import DELEGATION, ENTERPRISE, PREFIX, Entry, Put
from idnode.store.registry import next_prefix, read_enterprise, replace_enterprise
from idnode.upstream.delegate import check_delegation
from idnode.web.bodies import parsed, read_json
from idnode.web.business_models import DelegationBody, PoolAnswer, PrefixAnswer, PrefixOrder, ReturnOrder, TransferOrder
from idnode.web.enterprises import MOST_PREFIXES, enterprise_entry, refuse_closed
from idnode.web.json_response import JsonResponse
from idnode.web.models import LeaseAnswer, LeaseRequest
from idnode.web.node import Node
from idnode.web.once import LONGEST_KEY, Done, IdempotencyKey, IfMatch, change_once, check_match, etag
from idnode.web.openapi import takes
from idnode.web.paging import Paged
from idnode.web.problems import exists, forbidden, not_found, unprocessable
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf, owner_key, owner_of

router = APIRouter(prefix="/v1", tags=["prefixes"])
_TOLD_OWNERS = 50
_DAY_MS = 86_400_000


@router.get("/enterprises/{enterprise}/prefixes", response_model=list[PrefixAnswer])
async def list_prefixes(enterprise: str, node: NodeOf, caller: AnyCaller, page: Paged) -> Response:
    """The prefixes of an enterprise."""
    await enterprise_entry(node, enterprise, caller)
    found = await node.store.entries(PREFIX, enterprise, page.after, page.limit + 1)
    answer = [await _answer(node, each) for each in found[: page.limit]]
    return JsonResponse(answer, headers=page.links(found, lambda each: each.key))


@router.post(
    "/enterprises/{enterprise}/prefixes",
    status_code=HTTPStatus.CREATED,
    openapi_extra=takes(PrefixOrder),
    response_model=PrefixAnswer,
)
async def grant(
    enterprise: str, request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Give an enterprise a further prefix: the next one below the node's own, or one of another scheme that it brings along."""
    body = await read_json(request, node.settings.capture)
    order = parsed(PrefixOrder, body)

    async def act() -> Done:
        entry, owner = await enterprise_entry(node, enterprise, caller)
        refuse_closed(owner)
        if len(await node.store.entries(PREFIX, enterprise, limit=MOST_PREFIXES)) >= MOST_PREFIXES:
            raise exists(f"{enterprise} has {MOST_PREFIXES} prefixes, as many as there may be")
        if order.prefix is None:
            prefix, taking = await next_prefix(node.store, node.settings.node_prefix)
        else:
            prefix, taking = _checked(node, order.prefix), None
            if await node.store.entry(PREFIX, prefix) is not None:
                raise exists(f"{prefix} has an owner; see its transfer")
        steps = [
            *([] if taking is None else [taking]),
            put_affair(PREFIX, prefix, Ownership(order.reason), enterprise, 0),
            replace_enterprise(entry, owner if owner.prefix else msgspec.structs.replace(owner, prefix=prefix)),
        ]
        made = Entry(PREFIX, prefix, enterprise, 1, node.now_ms(), caller.author, steps[-2].content)
        return Done(_prefix_answer(made, [made], 0), steps)

    return await change_once(request, node, caller, idempotency_key, body, act)


def _checked(node: Node, prefix: str) -> str:
    made = owner_key(prefix)
    if made.startswith(f"{node.settings.node_prefix.upper()}."):
        detail = "prefixes below the node's own come in their order; leave it out"
        raise unprocessable(f"/prefix: {detail}", [("/prefix", detail)])
    return made


@router.get("/prefixes/{prefix}", response_model=PrefixAnswer)
async def get_prefix(prefix: str, node: NodeOf) -> Response:
    """Whose a prefix is and was, and how much is registered under it."""
    entry = await _owned(node, prefix)
    return JsonResponse(await _answer(node, entry), headers=etag(entry.version))


@router.post("/prefixes/{prefix}/transfer", openapi_extra=takes(TransferOrder), response_model=PrefixAnswer)
async def transfer(
    prefix: str,
    request: Request,
    node: NodeOf,
    caller: AnyCaller,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Give a prefix with all that is registered under it to another enterprise, whatever its quota. Its delegation ends."""
    body = await read_json(request, node.settings.capture)
    order = parsed(TransferOrder, body)

    async def act() -> Done:
        entry = await _owned(node, prefix)
        check_match(if_match, entry.version)
        if entry.group == order.to:
            raise exists(f"{entry.key} is {order.to}'s already")
        taker_entry, taker = await _active(node, order.to)
        giver_entry = await node.store.entry(ENTERPRISE, entry.group)
        assert giver_entry is not None  # a prefix is owned by one that is there
        rest = [each.key for each in await node.store.entries(PREFIX, entry.group, limit=2) if each.key != entry.key]
        giver = read_enterprise(giver_entry.content)
        if giver.prefix == entry.key:
            giver = msgspec.structs.replace(giver, prefix=rest[0] if rest else "")
        if not taker.prefix:
            taker = msgspec.structs.replace(taker, prefix=entry.key)
        moved = put_affair(PREFIX, entry.key, Ownership(order.reason), order.to, entry.version)
        steps = [moved, replace_enterprise(giver_entry, giver), replace_enterprise(taker_entry, taker)]
        if await node.store.entry(DELEGATION, entry.key) is not None:
            steps.append(Put(DELEGATION, entry.key, b"", entry.group))
        now = Entry(PREFIX, entry.key, order.to, entry.version + 1, node.now_ms(), caller.author, moved.content)
        owners = [*await _owners(node, entry.key), now]
        (count,) = await node.store.registered([entry.key])
        return Done(_prefix_answer(now, owners, count), steps, HTTPStatus.OK, etag(now.version))

    return await change_once(request, node, caller, idempotency_key, body, act)


async def _active(node: Node, key: str) -> tuple[Entry, Enterprise]:
    entry = await node.store.entry(ENTERPRISE, key)
    if entry is None:
        raise unprocessable(f"/to: there is no enterprise {key}", [("/to", f"there is no enterprise {key}")])
    found = read_enterprise(entry.content)
    if bar := found.bar(node.now_ms()):
        raise exists(bar)
    return entry, found


async def _owned(node: Node, prefix: str) -> Entry:
    entry = await node.store.entry(PREFIX, owner_key(prefix))
    if entry is None:
        raise not_found(f"{prefix[:200]} is nobody's prefix")
    return entry


async def _owners(node: Node, prefix: str) -> list[Entry]:
    found: list[Entry] = []
    while more := await node.store.entry_versions(PREFIX, prefix, found[-1].version if found else 0):
        found = [*found, *more]
    return found


async def _answer(node: Node, entry: Entry) -> dict[str, object]:
    (count,) = await node.store.registered([entry.key])
    return _prefix_answer(entry, await _owners(node, entry.key), count)


def _prefix_answer(entry: Entry, owners: list[Entry], registered: int) -> dict[str, object]:
    told = [
        {
            "enterprise": each.group,
            "since": from_epoch_ms(each.since_ms),
            "author": each.author,
            "reason": read_affair(each.content, Ownership).reason,
        }
        for each in owners[-_TOLD_OWNERS:]
    ]
    return {"prefix": entry.key, "enterprise": entry.group, "registered": registered, "owners": told}


@router.get("/prefixes/{prefix}/delegation", response_model=DelegationBody)
async def get_delegation(prefix: str, node: NodeOf) -> Response:
    """Where the identifiers of a prefix live, when that isn't here."""
    entry = await node.store.entry(DELEGATION, owner_key(prefix))
    if entry is None:
        raise not_found(f"{prefix[:200]} is not delegated")
    return JsonResponse(_delegation(read_affair(entry.content, Delegation)), headers=etag(entry.version))


@router.put("/prefixes/{prefix}/delegation", openapi_extra=takes(DelegationBody), response_model=DelegationBody)
async def delegate(prefix: str, request: Request, node: NodeOf, caller: AnyCaller, if_match: IfMatch = None) -> Response:
    """Say where the identifiers of a prefix live: from now on they resolve there, and what was registered here is not told."""
    body = await read_json(request, node.settings.capture)
    order = parsed(DelegationBody, body)
    made = Delegation(order.mode, order.address, order.ttl, order.site or "")
    try:
        check_delegation(made, node.settings.delegations.allowed_hosts)
    except BadAddress as error:
        raise unprocessable(f"/address: {error}", [("/address", str(error))]) from error

    async def act() -> Done:
        owned = await _owned(node, prefix)
        entry = await node.store.entry(DELEGATION, owned.key)
        version = 0 if entry is None else entry.version
        check_match(if_match, version)
        put = put_affair(DELEGATION, owned.key, made, owned.group, version)
        return Done(_delegation(made), (put,), HTTPStatus.OK)

    return await change_once(request, node, caller, None, body, act)


@router.delete("/prefixes/{prefix}/delegation", status_code=HTTPStatus.NO_CONTENT)
async def end_delegation(prefix: str, node: NodeOf, caller: AnyCaller, if_match: IfMatch = None) -> None:
    """The identifiers of the prefix live here again."""
    entry = await node.store.entry(DELEGATION, owner_key(prefix))
    if entry is None:
        raise not_found(f"{prefix[:200]} is not delegated")
    check_match(if_match, entry.version)
    await node.store.write((Put(DELEGATION, entry.key, b"", entry.group, entry.version),), caller.author, node.now_ms())


def _delegation(delegation: Delegation) -> dict[str, object]:
    told = {"site": delegation.site} if delegation.site else {}
    return {"mode": delegation.mode.value, "address": delegation.address, "ttl": delegation.ttl_s, **told}


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
    if idempotency_key is None or not 0 < len(idempotency_key) <= LONGEST_KEY:
        raise unprocessable(f"the header Idempotency-Key is missing or longer than {LONGEST_KEY} characters")
    order = parsed(LeaseRequest, await read_json(request, node.settings.capture))
    if ":" in prefix:
        raise unprocessable("suffixes are leased under prefixes of handles only")
    expires_ms = None if order.days is None else node.now_ms() + order.days * _DAY_MS
    wanted = LeaseOrder(owner_key(prefix), order.count, order.holder, caller.digest, idempotency_key, expires_ms)
    made, new = await node.store.lease(wanted, node.now_ms())
    if not new:
        response.status_code = HTTPStatus.OK
    expires = None if made.expires_ms is None else from_epoch_ms(made.expires_ms)
    return LeaseAnswer(lease=made.id, prefix=made.prefix, suffixes=list(made.suffixes), expires=expires)


@router.get("/prefixes/{prefix}/leases/{lease}", response_model=PoolAnswer)
async def get_pool(prefix: str, lease: str, node: NodeOf, caller: KnownCaller) -> Response:
    """What has become of each suffix of a lease."""
    return JsonResponse(_pool(await _leased(node, prefix, lease, caller)))


@router.post("/prefixes/{prefix}/leases/{lease}/return", openapi_extra=takes(ReturnOrder), response_model=PoolAnswer)
async def give_back(prefix: str, lease: str, request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Return suffixes that aren't needed: later leases may have them. Registered ones stay what they are. Safe to repeat."""
    order = parsed(ReturnOrder, await read_json(request, node.settings.capture))
    await _leased(node, prefix, lease, caller)
    return JsonResponse(_pool(await node.store.give_back(lease, order.suffixes, node.now_ms())))


@router.post("/prefixes/{prefix}/leases/{lease}/reconcile", response_model=PoolAnswer)
async def reconcile(prefix: str, lease: str, node: NodeOf, caller: KnownCaller) -> Response:
    """What has become of a lease; of one that has expired, what isn't registered comes free. Safe to repeat."""
    pool = await _leased(node, prefix, lease, caller)
    expires_ms = pool.lease.expires_ms
    if expires_ms is not None and node.now_ms() >= expires_ms:
        pool = await node.store.give_back(lease, None, node.now_ms())
    return JsonResponse(_pool(pool))


async def _leased(node: Node, prefix: str, lease: str, caller: Caller) -> Pool:
    await owner_of(node, prefix, caller)
    pool = await node.store.pool(lease)
    if pool is None or pool.lease.prefix != owner_key(prefix):
        raise not_found(f"there is no lease {lease[:100]} under {prefix[:200]}")
    return pool


def _pool(pool: Pool) -> dict[str, object]:
    lease = pool.lease
    return {
        "lease": lease.id,
        "prefix": lease.prefix,
        "holder": lease.holder,
        "expires": None if lease.expires_ms is None else from_epoch_ms(lease.expires_ms),
        "registered": pool.registered,
        "returned": pool.returned,
        "outstanding": pool.outstanding,
    }
