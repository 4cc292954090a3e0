"""The Handle face: GET /api/handles/{prefix}/{suffix} (Handle.Net technical manual, chapter 14)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec

from idnode.handle.codes import ResponseCode
from idnode.handle.verdicts import away, referral_of, refusal_of, status_of
from idnode.record import Format, HandleValue, is_deleted
from idnode.resolver import Resolution, Verdict, matching
from idnode.web.answers import OPEN_TO_ALL_SITES, Answer, Headers
from idnode.web.freshness import REVALIDATE, etag, fetched, lifetime

_OK = int(HTTPStatus.OK)
_MEDIA_TYPE = b"application/json;charset=UTF-8"
_encoder = msgspec.json.Encoder()
_VARY = (b"vary", b"Authorization")
_LARGEST_INDEX = 2**31 - 1
_INDEX = re.compile(r"[0-9]{1,10}", re.ASCII)
"""int() refuses thousands of digits."""


def handle_answer(resolution: Resolution, asked: str, query: Mapping[str, Sequence[str]], *, anonymous: bool) -> Answer:
    """Answer a resolution.

    Args:
        asked: the handle as the client wrote it, which clients compare with.
        query: `index` and `type` choose values; `pretty` indents. Others are ignored, as Handle servers do.
        anonymous: nobody said who asks, so that anyone may keep the answer.
    """
    pretty = is_on(query.get("pretty"))
    if resolution.verdict is not Verdict.FOUND:
        return _refusal(resolution, asked, pretty=pretty)
    if resolution.record is not None and is_deleted(resolution.record):
        return refusal(ResponseCode.HANDLE_NOT_FOUND, asked, pretty=pretty)
    if not query and resolution.found is None:
        return _found(resolution.values, asked, lifetime(resolution.values, anonymous=anonymous))
    indexes = query.get("index", ())
    if not all(_INDEX.fullmatch(index) and 0 < int(index) <= _LARGEST_INDEX for index in indexes):
        return refusal(ResponseCode.ERROR, asked, "index is a positive integer", pretty=pretty)
    values = matching(resolution.values, frozenset(map(int, indexes)), query.get("type", ()))
    found = resolution.found
    if found is None:
        return _found(values, asked, lifetime(values, anonymous=anonymous), pretty=pretty)
    return _found(values, asked, fetched(found.age_s, found.is_stale, values, anonymous=anonymous), pretty=pretty)


def _refusal(resolution: Resolution, asked: str, *, pretty: bool) -> Answer:
    code, message = refusal_of(resolution)
    if resolution.verdict is Verdict.UNREACHABLE:
        return _answer(_Body(code, asked, message=message or msgspec.UNSET), pretty=pretty, status=away(resolution)[0])
    if resolution.verdict is not Verdict.ELSEWHERE or resolution.delegate is None:
        return refusal(code, asked, message, pretty=pretty)
    where = delegated_address(resolution)
    status = HTTPStatus.MISDIRECTED_REQUEST if where is None else HTTPStatus.TEMPORARY_REDIRECT
    sites = referral_of(resolution)[1]
    if not sites:
        made = _answer(_Body(code, asked, message=message or msgspec.UNSET), pretty=pretty, status=status)
    else:
        made = _found(sites, asked, REVALIDATE, pretty=pretty, code=code, status=status)
    if where is None:
        return made
    return msgspec.structs.replace(made, headers=(*made.headers, (b"location", where.encode())))


def delegated_address(resolution: Resolution, path: str = "/api/handles") -> str | None:
    """Where the node has it that it lives on, behind that path there; None where that has no address on the web."""
    delegate = resolution.delegate
    if delegate is None or delegate.base is None:
        return None
    return f"{delegate.base}{path}/{resolution.identifier.path}"


def _found(
    values: Sequence[HandleValue],
    asked: str,
    kept: Headers,
    *,
    pretty: bool = False,
    code: ResponseCode | None = None,
    status: int | None = None,
) -> Answer:
    if code is None:
        code = ResponseCode.SUCCESS if values else ResponseCode.VALUES_NOT_FOUND
    told = [  # written out: it is asked for ten thousand times a second
        _Value(
            value.index,
            value.type,
            _Data(value.data.format, value.data.value),
            value.ttl_s,
            _moment(value.timestamp_ms // 1000),
        )
        for value in values
    ]
    return _answer(_Body(code, asked, values=told), pretty=pretty, kept=kept, status=status)


def refusal(code: ResponseCode, asked: str, message: str | None = None, *, pretty: bool = False) -> Answer:
    """An answer without values."""
    return _answer(_Body(code, asked, message=msgspec.UNSET if message is None else message), pretty=pretty)


class _Data(msgspec.Struct, gc=False):
    format: Format
    value: object


class _Value(msgspec.Struct, gc=False):
    """A value as the Handle JSON API writes it."""

    index: int
    type: str
    data: _Data
    ttl: int
    timestamp: str


class _Body(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    response_code: ResponseCode
    handle: str
    values: list[_Value] | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET


@functools.lru_cache(maxsize=1024)
def _moment(epoch_s: int) -> str:
    """The values of one record, and of those that came with it, mostly have the same."""
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


_CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}(?:\.[A-Za-z_$][A-Za-z0-9_$]{0,63}){0,8}", re.ASCII)
_IN_NO_SCRIPT = ((b"<", b"\\u003c"), ("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029"))
_SCRIPT = b"application/javascript;charset=UTF-8"


def as_script(answer: Answer, callback: str, asked: str) -> Answer:
    """The answer as a call of a function of the page that asks, which is a name and nothing else (JSONP).

    Only for what anybody may read: a page of another site has its visitor's browser ask.
    """
    if _CALLBACK.fullmatch(callback) is None:
        return refusal(ResponseCode.ERROR, asked, "callback is the name of a function")
    body = answer.body
    for character, escaped in _IN_NO_SCRIPT:
        body = body.replace(character, escaped)
    body = b"/**/%s(%s);" % (callback.encode(), body)
    headers = tuple((name, etag(body) if name == b"etag" else value) for name, value in answer.headers)
    return msgspec.structs.replace(answer, body=body, media_type=_SCRIPT, headers=headers)


def _answer(whole: _Body, *, pretty: bool, kept: Headers = REVALIDATE, status: int | None = None) -> Answer:
    body = _indented(whole) if pretty else _encoder.encode(whole)
    status = status_of(whole.response_code) if status is None else status
    more: Headers = ()
    if status == _OK:
        more = ((b"etag", etag(body)),)
    elif whole.response_code is ResponseCode.AUTHENTICATION_NEEDED:
        more = ((b"www-authenticate", b"Bearer"),)
    return Answer(status, body, _MEDIA_TYPE, (OPEN_TO_ALL_SITES, _VARY, *kept, *more))


def _indented(whole: _Body) -> bytes:
    return json.dumps(msgspec.to_builtins(whole), ensure_ascii=False, indent=2).encode()


def is_on(values: Sequence[str] | None) -> bool:
    """Whether a field of a query is there and doesn't say no."""
    return values is not None and values[-1].lower() in ("", "true", "1")
