"""EPCIS 2.0 capture and query over HTTP (EPCIS 2.0, clause 12)."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from epcis.documents import query_document
from epcis.timestamps import from_epoch_ms
from idnode.access import Caller
from idnode.capture import Malformed, Opened, TooManyEvents, open_document
from idnode.commissioning import canonical_epc
from idnode.enterprise import Enterprise
from idnode.event import Capture, ErrorBehaviour, EventQuery, Role, StoredEvent
from idnode.identifier import InvalidIdentifier
from idnode.web.bodies import JSON_OR_LD, read_json
from idnode.web.json_response import JsonResponse
from idnode.web.node import Node
from idnode.web.problems import Problem, bad_request, forbidden, not_found, too_large
from idnode.web.requests import AnyCaller, KnownCaller, NodeOf

router = APIRouter(tags=["EPCIS"])
LD_JSON = "application/ld+json"
MOST_PER_PAGE = 500
_DEFAULT_PER_PAGE = 30
_ANY_ROLE = frozenset(Role)
_EPC_ROLES = {"MATCH_epc": frozenset({Role.EPC, Role.CHILD}), "MATCH_anyEPC": _ANY_ROLE}
_document_body = {
    "requestBody": {"required": True, "content": {LD_JSON: {"schema": {"type": "object", "title": "EPCISDocument"}}}}
}


_query_answers: dict[int | str, dict[str, Any]] = {
    200: {"content": {LD_JSON: {"schema": {"type": "object", "title": "EPCISQueryDocument"}}}}
}


def _versions(node: Node) -> dict[str, str]:
    return {
        "GS1-EPCIS-Version": "2.0.0",
        "GS1-CBV-Version": "2.0.0",
        "GS1-EPCIS-Capture-Limit": str(node.settings.capture.most_events),
        "GS1-EPCIS-Capture-File-Size-Limit": str(node.settings.capture.most_bytes),
    }


@router.options("/capture", status_code=HTTPStatus.NO_CONTENT, response_model=None)
async def capture_abilities(node: NodeOf) -> Response:
    """What this takes: versions and limits, in the headers (EPCIS 2.0, 12.6)."""
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": "OPTIONS, POST", **_versions(node)})


@router.options("/events", status_code=HTTPStatus.NO_CONTENT, response_model=None)
async def event_abilities(node: NodeOf) -> Response:
    """What this answers: versions and limits, in the headers (EPCIS 2.0, 12.6)."""
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": "OPTIONS, GET", **_versions(node)})


@router.post("/capture", status_code=HTTPStatus.ACCEPTED, openapi_extra=_document_body, response_model=None)
async def capture(request: Request, node: NodeOf, caller: KnownCaller) -> Response:
    """Capture an EPCISDocument. All its events are durable before this answers, and repeating it is safe."""
    owner = await _gateway_owner(node, caller)
    behaviour = _behaviour(request)
    document = await read_json(request, node.settings.capture, JSON_OR_LD)
    opened = _open(document, behaviour, node)
    mine = {owner.prefix: True}
    for identifier, pointer in opened.identifiers:
        if identifier.prefix not in mine:
            other = await node.store.enterprise_of(identifier.prefix)
            mine[identifier.prefix] = other is not None and other.id == owner.id
        if not mine[identifier.prefix]:
            raise forbidden(f"{pointer}: {identifier.prefix} is not open to this token")
    made = Capture(uuid.uuid4().hex, owner.id, caller.author, behaviour, opened.events, opened.errors, node.now_ms())
    report = await node.store.capture(made)
    return Response(status_code=HTTPStatus.ACCEPTED, headers={"Location": f"/capture/{report.id}", **_versions(node)})


async def _gateway_owner(node: Node, caller: Caller) -> Enterprise:
    owner = await node.store.enterprise(caller.enterprise)
    if owner is None or not caller.is_gateway_of(owner):
        raise forbidden("this needs a token with the role gateway")
    return owner


def _behaviour(request: Request) -> ErrorBehaviour:
    written = request.headers.get("gs1-capture-error-behaviour", ErrorBehaviour.ROLLBACK)
    try:
        return ErrorBehaviour(written.lower())
    except ValueError as error:
        raise bad_request("GS1-Capture-Error-Behaviour is rollback or proceed") from error


def _open(document: object, behaviour: ErrorBehaviour, node: Node) -> Opened:
    try:
        return open_document(document, behaviour, node.settings.capture.most_events)
    except Malformed as error:
        flaws = [(flaw.pointer, flaw.message) for flaw in error.flaws]
        detail = "; ".join(f"{pointer or 'the document'}: {message}" for pointer, message in flaws[:3])
        raise bad_request(detail, flaws) from error
    except TooManyEvents as error:
        raise too_large(f"a document has at most {node.settings.capture.most_events} events") from error


@router.get("/capture/{key}", response_model=None)
async def capture_job(key: str, node: NodeOf, caller: KnownCaller) -> Response:
    """What became of a captured document."""
    report = await node.store.capture_report(key)
    owner = None if report is None else await node.store.enterprise(report.enterprise)
    if report is None or owner is None or not caller.belongs_to(owner):
        raise not_found(f"there is no capture {key}")
    body = {
        "captureID": report.id,
        "createdAt": from_epoch_ms(report.created_ms),
        "finishedAt": from_epoch_ms(report.finished_ms),
        "running": False,
        "success": not report.errors,
        "captureErrorBehaviour": report.behaviour,
        "errors": [
            {"type": error.type, "title": error.detail, "status": 400, "detail": error.detail, "pointer": error.pointer}
            for error in report.errors
        ],
    }
    return JsonResponse(body, headers=_versions(node))


@router.get("/events", response_model=None, responses=_query_answers, response_class=Response)
async def list_events(request: Request, node: NodeOf, caller: AnyCaller) -> Response:
    """Events in the order of capture: all, or with MATCH_epc (MATCH_anyEPC) those that name an object (in any role)."""
    asked = dict(request.query_params)
    if len(asked) < len(request.query_params.multi_items()) or not {*asked} <= {*_EPC_ROLES, "perPage", "nextPageToken"}:
        raise _bad_query(f"each of {', '.join(_EPC_ROLES)}, perPage and nextPageToken may stand once, and nothing else")
    per_page = _number(asked.get("perPage", str(_DEFAULT_PER_PAGE)), "perPage", MOST_PER_PAGE)
    after = _number(asked["nextPageToken"], "nextPageToken", 2**62) if "nextPageToken" in asked else 0
    matches = [name for name in _EPC_ROLES if name in asked]
    if len(matches) > 1:
        raise _bad_query("one of MATCH_epc and MATCH_anyEPC at a time")
    epc, roles = (_epc(asked[matches[0]]), _EPC_ROLES[matches[0]]) if matches else (None, _ANY_ROLE)
    found = await _visible(node, caller, EventQuery(epc, roles, after=after, limit=per_page + 1))
    headers = _versions(node)
    if len(found) > per_page:
        following = {**asked, "perPage": str(per_page), "nextPageToken": str(found[per_page - 1].sequence)}
        headers["Link"] = f'</events?{urlencode(following)}>; rel="next"'
    return _documents(found[:per_page], node, headers)


async def _visible(node: Node, caller: Caller, query: EventQuery) -> list[StoredEvent]:
    """The events that match and that the caller may know of. Enterprises are looked up as they are met, each once."""
    told: list[StoredEvent] = []
    known: set[str] = set()
    hidden: set[str] = set()
    while True:
        limit = query.limit - len(told)
        found = await node.store.events(dataclasses.replace(query, hidden=frozenset(hidden), limit=limit))
        for key in {each.enterprise for each in found} - known:
            known.add(key)
            owner = await node.store.enterprise(key)
            if owner is not None and not caller.may_resolve(owner):
                hidden.add(key)
        told += [each for each in found if each.enterprise not in hidden]
        if len(found) < limit or len(told) == query.limit:
            return told
        query = dataclasses.replace(query, after=found[-1].sequence)


@router.get("/events/{key:path}", response_model=None, responses=_query_answers, response_class=Response)
async def get_event(key: str, node: NodeOf, caller: AnyCaller) -> Response:
    """One event, by its eventID."""
    found = await node.store.event(key)
    owner = None if found is None else await node.store.enterprise(found.enterprise)
    if found is None or owner is None or not caller.may_resolve(owner):
        raise not_found(f"there is no event {key[:200]}")
    return _documents([found], node, _versions(node))


def _documents(found: Iterable[StoredEvent], node: Node, headers: dict[str, str]) -> Response:
    """An EPCISQueryDocument. The events go in as they are stored, each with its recordTime (EPCIS 2.0, 7.4.1)."""
    events: list[Any] = [_with_record_time(event) for event in found]
    return JsonResponse(query_document(events, from_epoch_ms(node.now_ms())), headers=headers, media_type=LD_JSON)


def _with_record_time(event: StoredEvent) -> msgspec.Raw:
    return msgspec.Raw(event.content[:-1] + f',"recordTime":"{from_epoch_ms(event.recorded_ms)}"}}'.encode())


def _epc(uri: str) -> str:
    try:
        return canonical_epc(uri)
    except InvalidIdentifier as error:
        raise _bad_query(f"{uri[:300]}: {error}") from error


def _number(text: str, name: str, most: int) -> int:
    if re.fullmatch(r"\d{1,19}", text, re.ASCII) is None or not 0 < int(text) <= most:
        raise _bad_query(f"{name} is a number from 1 to {most}" if name == "perPage" else f"{name} is not one that was given out")
    return int(text)


def _bad_query(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail, "epcisException:QueryParameterException")
