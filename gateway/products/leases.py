"""Leases of identifiers from the node, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from gateway.sinks.base import SinkRefused, SinkUnreachable
from gateway.sinks.http import TRY_LATER, UNREADABLE, http_client, httpx, problem_text


class _Lease(msgspec.Struct):
    prefix: str
    suffixes: tuple[str, ...]


class HttpLeases:
    """POST {url}/v1/prefixes/{prefix}/leases with an Idempotency-Key."""

    def __init__(self, url: str, token: str | None, holder: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`holder`: the gateway's name, for the node's books. `transport`: in place of the network."""
        self._url = url.rstrip("/")
        self._holder = holder
        self._token = token
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    async def lease(self, prefix: str, count: int, key: str) -> Sequence[str]:
        """See LeaseSource.lease."""
        if self._http is None:
            self._http = http_client(self._url, self._token, {}, self._transport)
        url = f"{self._url}/v1/prefixes/{quote(prefix, safe='')}/leases"
        try:
            answer = await self._http.post(url, json={"count": count, "holder": self._holder}, headers={"Idempotency-Key": key})
        except httpx.HTTPError as error:
            raise SinkUnreachable(f"{url}: {error or type(error).__name__}") from error
        code = answer.status_code
        if code in TRY_LATER or answer.is_server_error:
            raise SinkUnreachable(f"{url} answered {code}: {problem_text(answer)}")
        if not answer.is_success:
            raise SinkRefused(f"{url} answered {code}: {problem_text(answer)}")
        try:
            lease = msgspec.json.decode(answer.content, type=_Lease)
        except UNREADABLE as error:
            raise SinkRefused(f"{url}: its answer is no lease: {error}") from error
        if lease.prefix != prefix or not lease.suffixes:
            raise SinkRefused(f"{url}: a lease of {lease.prefix!r} with {len(lease.suffixes)} suffixes was not asked for")
        return lease.suffixes

    async def close(self) -> None:
        """See LeaseSource.close."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()
