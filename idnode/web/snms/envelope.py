"""What every answer of the SNMS API is: {status, message, data}."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from idnode.web.problems import Problem

MEDIA_TYPE = "application/json"
ROOTS = ("/identity/", "/identityv2/", "/snms/")
"""What its paths begin with."""
_LONGEST_DETAIL = 500


class Status(IntEnum):
    """How a request ended."""

    SUCCESS = 1
    NOT_LOGGED_IN = -1
    REFUSED = -2
    """`message` says why."""
    FORBIDDEN = -3
    FAULT = -4


NOT_THERE = "标识不存在"
EXISTS = "标识已存在"
NO_TEMPLATE = "模板不存在"
_TOLD = frozenset(
    {
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.GONE,
        HTTPStatus.PRECONDITION_FAILED,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.NOT_IMPLEMENTED,
    }
)
"""These the envelope tells: clients of this API read it only where HTTP says 200."""
_PHRASES: Mapping[int, str] = {
    401: "没有登录，需要验证",
    403: "没有权限",
    404: "不存在",
    409: "与已有数据冲突",
    410: "标识已注销",
    413: "请求过大",
    422: "参数错误",
    429: "请求过于频繁",
    501: "不支持",
    503: "系统繁忙",
    507: "系统存储空间不足",
}


class _Envelope(msgspec.Struct):
    status: Status
    message: str
    data: object = None


def body_of(status: Status, message: str, data: object = None) -> bytes:
    """An envelope as JSON."""
    return msgspec.json.encode(_Envelope(status, message, data))


def success(data: object = True) -> Response:
    """What was asked is done; `data`: what there is to tell."""
    return Response(body_of(Status.SUCCESS, "success", data), media_type=MEDIA_TYPE)


def ended(status: Status, message: str) -> Response:
    """A request that ended so, without data."""
    http = {Status.FORBIDDEN: 403, Status.NOT_LOGGED_IN: 401, Status.FAULT: 500}.get(status, 200)
    return Response(body_of(status, message), http, media_type=MEDIA_TYPE)


def http_status(problem: Problem) -> int:
    """How HTTP answers a problem whose envelope says what it is."""
    return int(HTTPStatus.OK if problem.status in _TOLD else problem.status)


def problem_body(problem: Problem) -> bytes:
    """A problem in the envelope: in Chinese what kind it is, then its detail."""
    return body_of(_status_of(problem.status), described(problem.status, problem.detail))


def described(status: int, detail: str) -> str:
    """What kind of problem it is in Chinese, and its detail."""
    phrase = _PHRASES.get(status, "系统内部错误" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "请求错误")
    return f"{phrase}：{detail[:_LONGEST_DETAIL]}" if detail else phrase


def _status_of(status: HTTPStatus) -> Status:
    if status is HTTPStatus.UNAUTHORIZED:
        return Status.NOT_LOGGED_IN
    if status is HTTPStatus.FORBIDDEN:
        return Status.FORBIDDEN
    return Status.REFUSED if status < HTTPStatus.INTERNAL_SERVER_ERROR or status in _TOLD else Status.FAULT


def problem_response(problem: Problem, status: int | None = None) -> Response:
    """A problem as an answer; `status`: HTTP's, where it isn't http_status()."""
    return Response(problem_body(problem), http_status(problem) if status is None else status, problem.headers, MEDIA_TYPE)
