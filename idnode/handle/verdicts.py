"""How a resolution's end is told to Handle clients: the same codes on the wire and in JSON."""

from __future__ import annotations

from idnode.handle.codes import ResponseCode
from idnode.record import is_deleted
from idnode.resolver import Resolution, Verdict

_REFUSALS = {
    Verdict.UNKNOWN: ResponseCode.HANDLE_NOT_FOUND,
    Verdict.ANONYMOUS: ResponseCode.AUTHENTICATION_NEEDED,
    Verdict.FORBIDDEN: ResponseCode.INSUFFICIENT_PERMISSIONS,
    Verdict.BARRED: ResponseCode.NOT_RESPONSIBLE,
    Verdict.WITHDRAWN: ResponseCode.VALUES_NOT_FOUND,
}
_STATUS = {
    ResponseCode.SUCCESS: 200,
    ResponseCode.ERROR: 400,
    ResponseCode.SERVER_TOO_BUSY: 429,
    ResponseCode.OPERATION_NOT_SUPPORTED: 501,
    ResponseCode.HANDLE_NOT_FOUND: 404,
    ResponseCode.VALUES_NOT_FOUND: 200,
    ResponseCode.AUTHENTICATION_NEEDED: 401,
    ResponseCode.INSUFFICIENT_PERMISSIONS: 403,
}


def refusal_of(resolution: Resolution) -> tuple[ResponseCode, str | None]:
    """The code for a verdict that isn't FOUND, and what there is to say beyond it."""
    enterprise = resolution.enterprise
    message = enterprise.bar(0) if resolution.verdict is Verdict.BARRED and enterprise is not None else None
    if resolution.verdict is Verdict.WITHDRAWN and resolution.record is not None and is_deleted(resolution.record):
        return ResponseCode.HANDLE_NOT_FOUND, None
    return _REFUSALS[resolution.verdict], message


def status_of(code: ResponseCode) -> int:
    """The code as HTTP says it, and as answers are counted: the request is at fault where nothing else is known."""
    return _STATUS.get(code, 400)
