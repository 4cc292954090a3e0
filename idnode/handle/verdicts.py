"""How a resolution's end is told to Handle clients: the same codes on the wire and in JSON."""

from __future__ import annotations

from idnode.handle.codes import ResponseCode
from idnode.identifier import Scheme
from idnode.record import HandleValue, is_deleted
from idnode.resolver import Resolution, Verdict
from idnode.schemes.handle import NAMING_AUTHORITY
from idnode.upstream.told import Outcome

_REFUSALS = {
    Verdict.UNKNOWN: ResponseCode.HANDLE_NOT_FOUND,
    Verdict.ANONYMOUS: ResponseCode.AUTHENTICATION_NEEDED,
    Verdict.FORBIDDEN: ResponseCode.INSUFFICIENT_PERMISSIONS,
    Verdict.BARRED: ResponseCode.NOT_RESPONSIBLE,
    Verdict.WITHDRAWN: ResponseCode.VALUES_NOT_FOUND,
}
_AWAY = {
    Outcome.LOOP: (508, "it is delegated in a circle, or too far"),
    Outcome.BUSY: (503, "the node where it lives is busy"),
    Outcome.SILENT: (504, "the node where it lives gives no answer"),
    Outcome.WRONG: (502, "the node where it lives gives no answer that can be used"),
    Outcome.BARRED: (502, "the node where it lives is at no address that may be asked"),
}
_STATUS = {
    ResponseCode.SUCCESS: 200,
    ResponseCode.ERROR: 400,
    ResponseCode.SERVER_TOO_BUSY: 429,
    ResponseCode.OPERATION_NOT_SUPPORTED: 501,
    ResponseCode.RECURSION_COUNT_TOO_HIGH: 508,
    ResponseCode.HANDLE_NOT_FOUND: 404,
    ResponseCode.VALUES_NOT_FOUND: 200,
    ResponseCode.SERVICE_REFERRAL: 307,
    ResponseCode.PREFIX_REFERRAL: 307,
    ResponseCode.AUTHENTICATION_NEEDED: 401,
    ResponseCode.INSUFFICIENT_PERMISSIONS: 403,
}


def refusal_of(resolution: Resolution) -> tuple[ResponseCode, str | None]:
    """The code for a verdict that isn't FOUND, and what there is to say beyond it."""
    enterprise = resolution.enterprise
    if resolution.found is not None and resolution.verdict is Verdict.UNREACHABLE:
        code = ResponseCode.RECURSION_COUNT_TOO_HIGH if resolution.found.outcome is Outcome.LOOP else ResponseCode.SERVER_TOO_BUSY
        return code, away(resolution)[1]
    if resolution.delegate is not None:
        return referral_of(resolution)[0], f"it lives at {resolution.delegate.address}"
    message = enterprise.bar(0) if resolution.verdict is Verdict.BARRED and enterprise is not None else None
    if resolution.verdict is Verdict.WITHDRAWN and resolution.record is not None and is_deleted(resolution.record):
        return ResponseCode.HANDLE_NOT_FOUND, None
    return _REFUSALS[resolution.verdict], message


def referral_of(resolution: Resolution) -> tuple[ResponseCode, tuple[HandleValue, ...]]:
    """The code for ELSEWHERE and the site that it refers to; where that isn't known as one, that the prefix isn't here.

    What is below the delegated prefix is found by the site that the prefixes below it have (HS_SITE.PREFIX).
    """
    identifier, delegate = resolution.identifier, resolution.delegate
    assert delegate is not None  # the verdict is ELSEWHERE
    prefix = identifier.suffix if identifier.prefix == NAMING_AUTHORITY else identifier.prefix
    below = identifier.scheme is Scheme.HANDLE and prefix != delegate.prefix
    site = delegate.site_value("HS_SITE.PREFIX" if below else "HS_SITE")
    if site is None:
        return ResponseCode.NOT_RESPONSIBLE, ()
    return (ResponseCode.PREFIX_REFERRAL if below else ResponseCode.SERVICE_REFERRAL), (site,)


def away(resolution: Resolution) -> tuple[int, str]:
    """The status that HTTP has for UNREACHABLE, and why. Nothing of what the other node said."""
    assert resolution.found is not None
    return _AWAY[resolution.found.outcome]


def status_of(code: ResponseCode) -> int:
    """The code as HTTP says it, and as answers are counted: the request is at fault where nothing else is known."""
    return _STATUS.get(code, 400)
