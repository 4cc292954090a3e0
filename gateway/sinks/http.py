"""The HTTP client of the node's two faces, capture and leases, kept small: a gateway has little memory to spare."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping

import msgspec

# httpx's command line would load rich, pygments and click, 4 MB that nobody here uses; httpx copes without it.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402

__all__ = ["TRY_LATER", "UNREADABLE", "http_client", "httpx", "problem_text"]

TIMEOUT_S = 30.0
TRY_LATER = frozenset({408, 425, 429})
"""Client errors that time may mend."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises over bytes that are no JSON."""


def http_client(
    url: str, token: str | None, headers: Mapping[str, str], transport: httpx.AsyncBaseTransport | None
) -> httpx.AsyncClient:
    """A client for `url`; it obeys no proxy variables. `transport`: in place of the network."""
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    # Loading the system's certificates takes megabytes; without TLS they are not needed.
    context = ssl.create_default_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(
        headers={**authorization, **headers}, timeout=TIMEOUT_S, transport=transport, verify=context, trust_env=False
    )


def problem_text(answer: httpx.Response) -> str:
    """What an error answer says (RFC 9457), shortened."""
    try:
        problem = msgspec.json.decode(answer.content)
    except UNREADABLE:
        return answer.reason_phrase
    if not isinstance(problem, dict):
        return answer.reason_phrase
    return str(problem.get("detail") or problem.get("title") or answer.reason_phrase)[:500]
