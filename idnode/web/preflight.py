"""What is answered to OPTIONS at the routes before the framework."""

from __future__ import annotations

from http import HTTPStatus

from idnode.web.answers import OPEN_TO_ALL_SITES, Answer

READS = ("GET", "HEAD", "OPTIONS")
ALLOWED = ", ".join(READS)
PREFLIGHT = Answer(
    HTTPStatus.NO_CONTENT,
    b"",
    b"",
    (
        OPEN_TO_ALL_SITES,
        (b"allow", ALLOWED.encode()),
        (b"access-control-allow-methods", ALLOWED.encode()),
        (b"access-control-allow-headers", b"Authorization, Accept, If-None-Match"),
        (b"access-control-max-age", b"86400"),
    ),
)

_WRITES = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
ADMINISTERS = Answer(
    HTTPStatus.NO_CONTENT,
    b"",
    b"",
    (
        OPEN_TO_ALL_SITES,
        (b"allow", _WRITES.encode()),
        (b"access-control-allow-methods", _WRITES.encode()),
        (b"access-control-allow-headers", b"Authorization, Accept, Content-Type, If-None-Match"),
        (b"access-control-max-age", b"86400"),
    ),
)
