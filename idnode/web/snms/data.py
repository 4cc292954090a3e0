"""Tokens, and identifiers that are registered, changed and deleted, by the SNMS API.

All of it goes the way of registration over our own API (idnode.web.identifiers) and of deletion by Handle clients
(idnode.administering): what is repeated is no mistake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from idnode.access import Caller
from idnode.administering.administration import Administration
from idnode.administering.identities import Administrator
from idnode.administering.refusal import Refusal
from idnode.handle.codes import ResponseCode
from idnode.identifier import InvalidIdentifier, parse_identifier
from idnode.record import TEXT_FORMATS, HandleValue, TemplateUse, is_deleted
from idnode.resolver import owner_of
from idnode.store.base import StoreRefused
from idnode.web.bodies import mistakes, parsed, read_json
from idnode.web.identifiers import change_values, register_each
from idnode.web.models import MOST_REGISTRATIONS, Outcome, ValuesOrder
from idnode.web.node import Node, store_problem
from idnode.web.openapi import takes
from idnode.web.problems import Problem, bad_request, forbidden, unprocessable
from idnode.web.requests import KnownCaller, NodeOf
from idnode.web.snms.envelope import EXISTS, NO_TEMPLATE, NOT_THERE, Status, described, ended, success
from idnode.web.snms.models import TEMPLATE_INDEX, SnmsCredentials, SnmsHandle, SnmsIdentifier
from idnode.web.snms.names import in_force

router = APIRouter(tags=["SNMS"])
_HANDLES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "string"}, "maxItems": MOST_REGISTRATIONS}}
        },
    }
}
_AT_ONCE = 100
_WRONG_PASSWORD = "用户名/密码错误！"  # noqa: S105 a message
_TOO_MANY = f"批量操作最大支持{MOST_REGISTRATIONS}条"
_OUTCOMES: Mapping[str, tuple[Status, str]] = {
    "created": (Status.SUCCESS, "success"),
    "repeated": (Status.SUCCESS, "success"),
    "exists": (Status.REFUSED, EXISTS),
    "over-quota": (Status.REFUSED, "超出标识配额"),
}


class Row(NamedTuple):
    """What became of one identifier."""

    handle: str
    status: Status = Status.SUCCESS
    message: str = "success"


@router.post("/identity/token", openapi_extra=takes(SnmsCredentials), response_model=None)
async def token(request: Request, node: NodeOf) -> Response:
    """A token for an API key: the key itself, where the name is its label, `<enterprise>:<label>`, or `admin`."""
    given = parsed(SnmsCredentials, await read_json(request, node.settings.capture))
    try:
        caller = await node.caller(f"Bearer {given.password}")
    except Problem:
        raise unprocessable(_WRONG_PASSWORD) from None
    names = {caller.author, caller.author.partition(":")[2], caller.author.removeprefix("@")} - {""}
    if given.username not in names:
        raise unprocessable(_WRONG_PASSWORD)
    return success({"token": given.password})


@router.post("/identity/token/v1", openapi_extra=takes(SnmsCredentials), response_model=None)
async def hashed_token(request: Request, node: NodeOf) -> Response:
    """Not here: it would make what the node keeps of a key, its SHA-256, as good as the key."""
    parsed(SnmsCredentials, await read_json(request, node.settings.capture))
    raise unprocessable("本节点只保存密钥的 SHA-256，不接受由它算出的密码；请用 HTTPS 调用 /identity/token")


@router.post("/identityv2/data", openapi_extra=takes(SnmsIdentifier), response_model=None)
async def create(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Register an identifier. Again with the same content is no mistake."""
    return _single((await _create_each(node, caller, [await _object(request, node)]))[0])


@router.put("/identityv2/data", openapi_extra=takes(SnmsIdentifier), response_model=None)
async def update(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Give an identifier these values in place of those that it has. What was is kept as an earlier version."""
    return _single((await _each(_updating(node, caller), [await _object(request, node)]))[0])


@router.delete("/identityv2/data", openapi_extra=takes(SnmsHandle), response_model=None)
async def delete(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Retire an identifier without its values, for ever. One that is deleted already is no mistake."""
    return _single((await _each(_deleting(node, caller), [await _object(request, node)]))[0])


@router.post("/identityv2/data/batchCreate", openapi_extra=takes(SnmsIdentifier, most=MOST_REGISTRATIONS), response_model=None)
async def batch_create(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Register up to 2000 identifiers, each by itself."""
    return _list(await _create_each(node, caller, await _rows(request, node)))


@router.put("/identityv2/data/batchUpdate", openapi_extra=takes(SnmsIdentifier, most=MOST_REGISTRATIONS), response_model=None)
async def batch_update(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Change up to 2000 identifiers, each by itself."""
    return _list(await _each(_updating(node, caller), await _rows(request, node)))


@router.delete("/identityv2/data/batchDelete", openapi_extra=_HANDLES, response_model=None)
async def batch_delete(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Delete up to 2000 identifiers, each by itself: a list of them, or `{"handles": [...]}`."""
    return _list(await _each(_deleting(node, caller), await _rows(request, node)))


async def _object(request: Request, node: Node) -> object:
    content = await read_json(request, node.settings.capture)
    if not isinstance(content, dict):
        raise bad_request("an object is expected")
    return content


async def _rows(request: Request, node: Node) -> list[Any]:
    content: Any = await read_json(request, node.settings.capture)
    rows = content.get("handles") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise bad_request("a list is expected")
    if len(rows) > MOST_REGISTRATIONS:
        raise unprocessable(_TOO_MANY)
    return rows


def _single(row: Row) -> Response:
    """A row as the answer to a request of its own."""
    return success() if row.status is Status.SUCCESS else ended(row.status, row.message)


def _list(rows: Iterable[Row]) -> Response:
    return success([{"handle": row.handle, "code": row.status, "msg": row.message} for row in rows])


async def _create_each(node: Node, caller: Caller, contents: Sequence[object]) -> list[Row]:
    """Register those that can be read, all at once."""
    reader = _Reader(node)
    read = [await reader.order(content) for content in contents]
    outcomes = iter(await register_each(node, caller, [each for each in read if not isinstance(each, Row)]))
    return [each if isinstance(each, Row) else _row(each["handle"], next(outcomes)) for each in read]


def _row(handle: str, outcome: Outcome) -> Row:
    known = _OUTCOMES.get(outcome.status)
    if known is not None:
        return Row(handle, *known)
    if outcome.status == "forbidden":
        return Row(handle, Status.FORBIDDEN, described(HTTPStatus.FORBIDDEN, outcome.detail or ""))
    return Row(handle, Status.REFUSED, described(HTTPStatus.UNPROCESSABLE_ENTITY, outcome.detail or ""))


async def _each(act: Callable[[object], Awaitable[Row]], contents: Sequence[object]) -> list[Row]:
    """What becomes of each; some at a time, so that they share commits."""
    rows: list[Row] = []
    for start in range(0, len(contents), _AT_ONCE):
        rows += await asyncio.gather(*map(act, contents[start : start + _AT_ONCE]))
    return rows


def _updating(node: Node, caller: Caller) -> Callable[[object], Awaitable[Row]]:
    reader = _Reader(node)

    async def act(content: object) -> Row:
        order = await reader.order(content)
        if isinstance(order, Row):
            return order
        handle = str(order.pop("handle"))
        try:
            await change_values(node, caller, parse_identifier(handle), parsed(ValuesOrder, order), keeps=_is_beyond)
        except InvalidIdentifier as error:
            return _refused(handle, unprocessable(str(error)))
        except Problem as problem:
            return _refused(handle, problem)
        except StoreRefused as error:
            return _refused(handle, store_problem(error))
        return Row(handle)

    return act


def _is_beyond(value: HandleValue) -> bool:
    """Whether SNMS can't say such a value: who administers a handle, keys, sites."""
    return value.data.format not in TEXT_FORMATS


def _deleting(node: Node, caller: Caller) -> Callable[[object], Awaitable[Row]]:
    core, who = Administration(node.store, node.now_ms), Administrator(caller)

    async def act(content: object) -> Row:
        handle = content.get("handle") if isinstance(content, dict) else content
        if not isinstance(handle, str):
            return _refused("", unprocessable("handle"))
        try:
            identifier = parse_identifier(handle)
            await core.delete(who, identifier)
        except InvalidIdentifier as error:
            return _refused(handle, unprocessable(str(error)))
        except Refusal as refusal:
            if refusal.code is not ResponseCode.HANDLE_NOT_FOUND:
                return _refused(handle, _problem_of(refusal))
            record = await node.store.record(identifier)
            gone = record is not None and is_deleted(record)
            return Row(handle) if gone else Row(handle, Status.REFUSED, NOT_THERE)
        return Row(handle)

    return act


def _problem_of(refusal: Refusal) -> Problem:
    return forbidden(str(refusal)) if refusal.code is ResponseCode.INSUFFICIENT_PERMISSIONS else unprocessable(str(refusal))


def _refused(handle: str, problem: Problem) -> Row:
    if problem.status is HTTPStatus.NOT_FOUND:
        return Row(handle, Status.REFUSED, NOT_THERE)
    status = Status.FORBIDDEN if problem.status is HTTPStatus.FORBIDDEN else Status.REFUSED
    return Row(handle, status, described(problem.status, problem.detail))


class _Reader:
    """Reads SNMS's bodies as ours; looks each template up once."""

    def __init__(self, node: Node) -> None:
        self._store = node.store
        self._templates: dict[tuple[str, str], TemplateUse | None] = {}

    async def order(self, content: object) -> dict[str, Any] | Row:
        """A registration as our own API takes it, or what is wrong."""
        named = content.get("handle") if isinstance(content, dict) else None
        handle = named if isinstance(named, str) else ""
        try:
            body = SnmsIdentifier.model_validate(content)
        except ValidationError as error:
            return _refused(handle, unprocessable("; ".join(f"{at}: {why}" for at, why in mistakes(error)[:3])))
        reserved = next((value.index for value in body.value if value.index == TEMPLATE_INDEX), None)
        if reserved is not None:
            return _refused(handle, unprocessable(f"索引{reserved}为预留索引"))
        order: dict[str, Any] = {"handle": body.handle, "values": [value.as_order() for value in body.value]}
        if body.template_version:
            use = await self._use(body.handle, body.template_version)
            if use is None:
                return Row(handle, Status.REFUSED, f"{NO_TEMPLATE}：{body.template_version}")
            order["template"] = {"name": use.name, "version": use.version}
        return order

    async def _use(self, handle: str, version: str) -> TemplateUse | None:
        try:
            prefix, _ = await owner_of(self._store, parse_identifier(handle))
        except InvalidIdentifier:
            return None
        if (prefix, version) not in self._templates:
            found = in_force(await self._store.templates(prefix), version)
            self._templates[prefix, version] = None if found is None else TemplateUse(found.name, found.version)
        return self._templates[prefix, version]
