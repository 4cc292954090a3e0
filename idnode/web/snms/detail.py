"""The SNMS face of a resolution: GET /identityv2/data/detail?handle=."""

from __future__ import annotations

from http import HTTPStatus

from idnode.record import HandleValue, Permission, Record, is_deleted
from idnode.resolver import Resolution, Verdict
from idnode.web.answers import OPEN_TO_ALL_SITES, Answer, Headers
from idnode.web.freshness import REVALIDATE, etag, fetched, lifetime
from idnode.web.problems import Problem
from idnode.web.resolution_json import refusal
from idnode.web.snms.envelope import MEDIA_TYPE, NOT_THERE, Status, body_of, http_status, problem_body
from idnode.web.snms.models import TEMPLATE_INDEX
from idnode.web.snms.names import version_text

_PUBLIC = int(Permission.PUBLIC_READ)
_VARY = (b"vary", b"Authorization")
_COMMON: Headers = (OPEN_TO_ALL_SITES, _VARY)


def detail_answer(resolution: Resolution, asked: str, *, anonymous: bool) -> Answer:
    """Answer a resolution; it is counted under the status that other faces of HTTP give it.

    Args:
        asked: the identifier as the client wrote it.
        anonymous: nobody said who asks, so that anyone may keep the answer.
    """
    if resolution.record is not None and is_deleted(resolution.record):
        return _refused(NOT_THERE, HTTPStatus.NOT_FOUND)
    if resolution.verdict is not Verdict.FOUND:
        return problem_answer(refusal(resolution))
    body = body_of(Status.SUCCESS, "success", _detail(resolution, asked))
    kept, found = lifetime(resolution.values, anonymous=anonymous), resolution.found
    if found is not None:
        kept = fetched(found.age_s, found.is_stale, resolution.values, anonymous=anonymous)
    headers = (*_COMMON, *kept, (b"etag", etag(body)))
    return Answer(HTTPStatus.OK, body, MEDIA_TYPE.encode(), headers)


def problem_answer(problem: Problem) -> Answer:
    """A refusal in the envelope."""
    if problem.status is HTTPStatus.NOT_FOUND:
        return _refused(NOT_THERE, HTTPStatus.NOT_FOUND)
    more = tuple((name.lower().encode(), value.encode()) for name, value in problem.headers.items())
    headers = (*more, *_COMMON, *REVALIDATE)
    status = int(problem.status)
    return Answer(http_status(problem), problem_body(problem), MEDIA_TYPE.encode(), headers, counted=status)


def _refused(message: str, counted: int) -> Answer:
    body = body_of(Status.REFUSED, message)
    return Answer(HTTPStatus.OK, body, MEDIA_TYPE.encode(), (*_COMMON, *REVALIDATE), counted=int(counted))


def _detail(resolution: Resolution, asked: str) -> dict[str, object]:
    version = _version(resolution.record)
    values = [_value(value) for value in resolution.values]
    if version and all(value.index != TEMPLATE_INDEX for value in resolution.values):
        told = {"index": TEMPLATE_INDEX, "type": "TEMPLATE", "data": {"format": "string", "value": version}, "auth": "1"}
        values.insert(sum(value.index < TEMPLATE_INDEX for value in resolution.values), told)
    return {
        "code": "200",
        "prefix": resolution.prefix or resolution.identifier.prefix,
        "handle": asked,
        "templateVersion": version,
        "value": values,
    }


def _version(record: Record | None) -> str:
    return "" if record is None or record.template is None else version_text(record.template.name)


def _value(value: HandleValue) -> dict[str, object]:
    return {
        "index": value.index,
        "type": value.type,
        "data": {"format": value.data.format, "value": value.data.value},
        "auth": "1" if value.permissions & _PUBLIC else "2",
    }
