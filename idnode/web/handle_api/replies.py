"""Answers of the Handle HTTP API beside resolutions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from idnode.handle.codes import ResponseCode
from idnode.web.answers import OPEN_TO_ALL_SITES, Answer

MEDIA_TYPE = b"application/json;charset=UTF-8"
_NO_STORE = (b"cache-control", b"no-store")
_STATUS = {
    ResponseCode.SUCCESS: 200,
    ResponseCode.ERROR: 500,
    ResponseCode.SERVER_TOO_BUSY: 503,
    ResponseCode.OPERATION_NOT_SUPPORTED: 501,
    ResponseCode.HANDLE_NOT_FOUND: 404,
    ResponseCode.HANDLE_ALREADY_EXISTS: 409,
    ResponseCode.VALUE_ALREADY_EXISTS: 409,
    ResponseCode.AUTHENTICATION_NEEDED: 401,
}
_FIRST_OF_AUTHENTICATION, _LAST_OF_AUTHENTICATION = 400, 406


class NotAuthenticated(Exception):
    """Nobody said who asks."""


def status_of_change(code: ResponseCode) -> int:
    """A code as HTTP says it where something was to be changed or listed."""
    if code in _STATUS:
        return _STATUS[code]
    return 403 if _FIRST_OF_AUTHENTICATION <= code <= _LAST_OF_AUTHENTICATION else 400


def refused(code: ResponseCode, asked: str, message: str) -> Answer:
    """Nothing was done."""
    return reply(code, status_of_change(code), asked, message)


def reply(
    code: ResponseCode,
    status: int,
    asked: str = "",
    message: str = "",
    *,
    errors: Sequence[str] = (),
    fields: Sequence[tuple[bytes, bytes]] = (),
) -> Answer:
    """A response code with what there is to say."""
    content: dict[str, object] = {"responseCode": int(code)}
    if asked:
        content["handle"] = asked
    if message:
        content["message"] = message
    if errors:
        content["errors"] = list(errors)
    return told(content, status, fields)


def told(content: object, status: int = 200, fields: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Any JSON."""
    return Answer(status, msgspec.json.encode(content), MEDIA_TYPE, (OPEN_TO_ALL_SITES, _NO_STORE, *fields))
