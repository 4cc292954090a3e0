"""Keys of Handle clients over HTTP: values of the handles of an enterprise's prefixes."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from epcis.timestamps import from_epoch_ms, to_epoch_ms
from idnode.access import new_secret
from idnode.administering.keys import (
    FIRST_INDEX,
    MOST_KEYS,
    ROLES,
    HandleKey,
    key_of,
    put_handle_key,
    read_handle_key,
    revoke_handle_key,
)
from idnode.administering.proof import PUBLIC_KEY, SECRET_KEY, BadProof, public_key_data
from idnode.affairs import USE
from idnode.schemes.handle import is_prefix
from idnode.store.business import HANDLE_KEY, PREFIX, Entry
from idnode.web.bodies import parsed, read_json
from idnode.web.business_models import HandleKeyAnswer, HandleKeyOrder
from idnode.web.enterprises import enterprise_entry, refuse_closed
from idnode.web.json_response import JsonResponse
from idnode.web.node import Node
from idnode.web.once import Done, IdempotencyKey, change_once
from idnode.web.openapi import takes
from idnode.web.paging import Paged
from idnode.web.problems import Problem, exists, not_found, unprocessable
from idnode.web.requests import AnyCaller, NodeOf, owner_key

router = APIRouter(prefix="/v1/enterprises/{enterprise}/handle-keys", tags=["handle keys"])


@router.post("", status_code=HTTPStatus.CREATED, openapi_extra=takes(HandleKeyOrder), response_model=HandleKeyAnswer)
async def add_handle_key(
    enterprise: str, request: Request, node: NodeOf, caller: AnyCaller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Make a key by which Handle clients administer: of a public one given here, else a secret one, shown this once."""
    body = await read_json(request, node.settings.capture)
    order = parsed(HandleKeyOrder, body)
    public = _public(order)

    async def act() -> Done:
        _, owner = await enterprise_entry(node, enterprise, caller)
        refuse_closed(owner)
        prefix = owner_key(order.prefix or owner.prefix)
        owned = await node.store.entry(PREFIX, prefix)
        if owned is None or owned.group != enterprise or not is_prefix(prefix):
            raise _wrong("prefix", f"{prefix or 'none'} is no prefix of handles of {enterprise}")
        index, version = await _free_index(node, enterprise, prefix, order.index)
        expires_ms = None if order.expires is None else to_epoch_ms(order.expires)
        key = HandleKey(enterprise, prefix, index, order.label, order.role, public, expires_ms)
        secret = None if public else new_secret()
        content = _told(key, node.now_ms(), caller.author, None)
        steps = put_handle_key(key, None if secret is None else secret.encode(), version)
        return Done(content, steps, shown_once={} if secret is None else {"secret": secret})

    return await change_once(request, node, caller, idempotency_key, body, act)


def _public(order: HandleKeyOrder) -> bytes:
    if order.role not in ROLES:
        raise _wrong("role", f"{order.role} is no role of an enterprise's keys")
    try:
        return b"" if order.public_key is None else public_key_data(order.public_key)
    except BadProof as error:
        raise _wrong("public_key", str(error)) from error


async def _free_index(node: Node, enterprise: str, prefix: str, wanted: int | None) -> tuple[int, int]:
    """The index that a new key gets, and the version of the entry that is there: of a revoked key, or another owner's."""
    there = await node.store.entries(HANDLE_KEY, enterprise, limit=MOST_KEYS)
    if len(there) >= MOST_KEYS:
        raise exists(f"{enterprise} has {MOST_KEYS} keys of Handle clients, as many as there may be")
    index = wanted
    if index is None:
        taken = [key.index for key in map(_read, there) if key.prefix == prefix]
        index = max([FIRST_INDEX - 1, *taken]) + 1
    entry = await node.store.entry(HANDLE_KEY, key_of(prefix, index))
    if entry is None:
        return index, 0
    if entry.group == enterprise and _read(entry).revoked_ms is None:
        raise exists(f"{prefix} has a key {index}")
    return index, entry.version


def _wrong(field: str, detail: str) -> Problem:
    return unprocessable(f"/{field}: {detail}", [(f"/{field}", detail)])


def _read(entry: Entry) -> HandleKey:
    return read_handle_key(entry.content)


@router.get("", response_model=list[HandleKeyAnswer])
async def list_handle_keys(enterprise: str, node: NodeOf, caller: AnyCaller, page: Paged) -> Response:
    """The keys of an enterprise's Handle clients, the revoked ones too, by prefix and index."""
    await enterprise_entry(node, enterprise, caller)
    found = await node.store.entries(HANDLE_KEY, enterprise, page.after, page.limit + 1)
    answer = [await _answer(node, each) for each in found[: page.limit]]
    return JsonResponse(answer, headers=page.links(found, lambda each: each.key))


async def _answer(node: Node, entry: Entry) -> dict[str, object]:
    use = await node.store.entry(USE, f"{HANDLE_KEY}/{entry.key}")
    return _told(_read(entry), entry.since_ms, entry.author, None if use is None else int(use.content))


def _told(key: HandleKey, since_ms: int, author: str, used_ms: int | None) -> dict[str, object]:
    return HandleKeyAnswer(
        identity=key.identity,
        prefix=key.prefix,
        index=key.index,
        label=key.label,
        role=key.role,
        kind=PUBLIC_KEY if key.public else SECRET_KEY,
        expires=None if key.expires_ms is None else from_epoch_ms(key.expires_ms),
        revoked=None if key.revoked_ms is None else from_epoch_ms(key.revoked_ms),
        since=from_epoch_ms(since_ms),
        author=author,
        last_used=None if used_ms is None else from_epoch_ms(used_ms),
    ).model_dump(mode="json", exclude={"secret"})


@router.delete("/{prefix}/{index}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_key_of_handle(enterprise: str, prefix: str, index: int, node: NodeOf, caller: AnyCaller) -> None:
    """End a key, at once; of a secret one the secret is gone."""
    await enterprise_entry(node, enterprise, caller)
    entry = await node.store.entry(HANDLE_KEY, key_of(owner_key(prefix), index)) if 0 < index < 2**31 else None
    if entry is None or entry.group != enterprise or _read(entry).revoked_ms is not None:
        raise not_found(f"there is no key {index} of {prefix[:100]}")
    await node.store.write(revoke_handle_key(entry, node.now_ms()), caller.author, node.now_ms())
