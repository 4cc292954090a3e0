"""Errors as application/problem+json (RFC 9457), with GS1's names for those that EPCIS knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec

MEDIA_TYPE = "application/problem+json"
BLANK = "about:blank"


class Problem(Exception):
    """Ends a request with an error answer."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        kind: str = BLANK,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            detail: what is wrong with this request and what would mend it; never what is inside the node.
            kind: a URI for this sort of problem.
            errors: (JSON pointer into the body, message) of each mistake.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.errors = errors
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The answer's body."""
        content: dict[str, object] = {
            "type": self.kind,
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        return msgspec.json.encode(content)


def unauthenticated() -> Problem:
    """401, the same for every way in which a token can be wrong."""
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "this needs a valid token: Authorization: Bearer <token>",
        "epcisException:SecurityException",
        headers={"WWW-Authenticate": "Bearer"},
    )


def forbidden(detail: str) -> Problem:
    """403: known, but not entitled."""
    return Problem(HTTPStatus.FORBIDDEN, detail, "epcisException:SecurityException")


def barred(detail: str) -> Problem:
    """403: the enterprise is suspended, closed or expired."""
    return Problem(HTTPStatus.FORBIDDEN, detail, "urn:mumian:problem:enterprise-barred")


def over_quota(detail: str) -> Problem:
    """403: the enterprise has as many identifiers as it may have."""
    return Problem(HTTPStatus.FORBIDDEN, detail, "urn:mumian:problem:quota-exceeded")


def outdated(detail: str) -> Problem:
    """412: somebody changed it meanwhile (RFC 9110, 13.1.1)."""
    return Problem(HTTPStatus.PRECONDITION_FAILED, detail, "urn:mumian:problem:outdated")


def not_found(detail: str) -> Problem:
    """404."""
    return Problem(HTTPStatus.NOT_FOUND, detail, "epcisException:NoSuchResourceException")


def bad_request(detail: str, errors: Sequence[tuple[str, str]] = ()) -> Problem:
    """400: the request can't be understood."""
    return Problem(HTTPStatus.BAD_REQUEST, detail, "epcisException:ValidationException", errors)


def too_large(detail: str) -> Problem:
    """413."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, "epcisException:CaptureLimitExceededException")


def too_many(wait_s: int) -> Problem:
    """429: the same may be asked later."""
    detail = f"that is more than this node answers one caller, or for one prefix; ask again in {wait_s} s"
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(wait_s)})


def exists(detail: str) -> Problem:
    """409: it contradicts what is stored."""
    return Problem(HTTPStatus.CONFLICT, detail, "epcisException:ResourceAlreadyExistsException")


def unprocessable(detail: str, errors: Sequence[tuple[str, str]] = ()) -> Problem:
    """422: understood, but a field's value can't be."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)
