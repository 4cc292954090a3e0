"""What is answered to OPTIONS at the routes before the framework."""

from __future__ import annotations

from http import HTTPStatus

from idnode.web.answers import OPEN_TO_ALL_SITES, Answer


def _preflight(methods: str, fields: bytes) -> Answer:
    """Which methods and request fields a page of any site may use there."""
    allowed = methods.encode()
    headers = (
        OPEN_TO_ALL_SITES,
        (b"allow", allowed),
        (b"access-control-allow-methods", allowed),
        (b"access-control-allow-headers", fields),
        (b"access-control-max-age", b"86400"),
    )
    return Answer(HTTPStatus.NO_CONTENT, b"", b"", headers)


READS = ("GET", "HEAD", "OPTIONS")
ALLOWED = ", ".join(READS)
PREFLIGHT = _preflight(ALLOWED, b"Authorization, Accept, If-None-Match")
ADMINISTERS = _preflight("GET, HEAD, POST, PUT, DELETE, OPTIONS", b"Authorization, Accept, Content-Type, If-None-Match")
