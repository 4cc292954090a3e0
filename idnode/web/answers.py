"""Answers of the hot routes, straight to ASGI."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Send

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
OPEN_TO_ALL_SITES = (b"access-control-allow-origin", b"*")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes
    media_type: bytes
    headers: Headers = ()

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Send it, its security headers added; for HEAD without the body."""
        policy = () if any(name == b"content-security-policy" for name, _ in self.headers) else (CLOSED_POLICY,)
        length = str(len(self.body)).encode()
        content = (
            ((b"content-type", self.media_type), (b"content-length", length)) if self.body else ((b"content-length", length),)
        )
        headers = [*content, *SECURITY, *policy, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


def problem_answer(problem: Problem) -> Answer:
    """A problem as an answer that any site may read."""
    headers = tuple((name.lower().encode(), value.encode()) for name, value in problem.headers.items())
    return Answer(problem.status, problem.body(), MEDIA_TYPE.encode(), (*headers, OPEN_TO_ALL_SITES))
