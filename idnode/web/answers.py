"""Answers of the hot routes, straight to ASGI."""

from __future__ import annotations

import functools

import msgspec
from starlette.types import Message, Send

from idnode.web.problems import MEDIA_TYPE, Problem

Headers = tuple[tuple[bytes, bytes], ...]

SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""On every answer."""
CLOSED_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""On every answer that isn't a page."""
_SECURITY_OF_OTHERS = (*SECURITY, CLOSED_POLICY)
OPEN_TO_ALL_SITES = (b"access-control-allow-origin", b"*")
_BODILESS = (204, 304)
"""These have no Content-Length (RFC 9110, 8.6)."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole HTTP answer."""

    status: int
    body: bytes
    media_type: bytes
    headers: Headers = ()
    key: str | None = None
    """The identifier that it hangs on, where everybody gets the same until that changes."""
    owner: str = ""
    """The prefix that it is counted under."""
    also: tuple[str, ...] = ()
    """Further identifiers that it hangs on."""
    counted: int = 0
    """The status that it is counted under, where that is another than its own."""

    def fields(self) -> list[tuple[bytes, bytes]]:
        """All header fields in their order, the security headers added."""
        return [*self._content(), *self._security(), *self.headers]

    def head(self) -> bytes:
        """fields() as lines, and the empty one behind them."""
        if self.status in _BODILESS or not self.body:
            return b"".join((_lines(self._content()), _lines_once(self._security()), _lines(self.headers), b"\r\n"))
        return b"content-type: %s\r\ncontent-length: %d\r\n%s%s\r\n" % (
            self.media_type,
            len(self.body),
            _lines_once(self._security()),
            _lines(self.headers),
        )

    def _content(self) -> Headers:
        if self.status in _BODILESS:
            return ()
        length = (b"content-length", b"%d" % len(self.body))
        return ((b"content-type", self.media_type), length) if self.body else (length,)

    def _security(self) -> Headers:
        for name, _ in self.headers:
            if name == b"content-security-policy":
                return SECURITY
        return _SECURITY_OF_OTHERS

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Send it; for HEAD without the body."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.fields()})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


def _lines(fields: Headers) -> bytes:
    return b"".join([b"%s: %s\r\n" % field for field in fields])


_lines_once = functools.lru_cache(maxsize=2)(_lines)


def problem_answer(problem: Problem) -> Answer:
    """A problem as an answer that any site may read."""
    return Answer(problem.status, problem.body(), MEDIA_TYPE.encode(), (*problem_headers(problem), OPEN_TO_ALL_SITES))


def problem_headers(problem: Problem) -> Headers:
    """Those of a problem's own, such as Retry-After."""
    return tuple((name.lower().encode(), value.encode()) for name, value in problem.headers.items())


def guarded(send: Send, status: list[int]) -> Send:
    """Adds the security headers that an answer of the application doesn't bear; notes its status."""

    async def pass_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            status[0] = message["status"]
            present = {name for name, _ in message["headers"]}
            extra = [(name, value) for name, value in (*SECURITY, CLOSED_POLICY) if name not in present]
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return pass_on
