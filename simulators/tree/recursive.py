"""A recursive node: asks for a client. It learns of the top-level node who has a prefix, asks there as Handle JSON, and keeps the
answer for as long as its values say.

| request | answer |
|---|---|
| `GET /api/handles/{prefix}/{suffix}` | what the second-level node answers; `Age` where that was kept; or 404, 504, as below |
| `GET /state` | how much is kept, and how often it was of use |

Nobody has the prefix: 404. Who has it can't be asked: 504 with response code 301. Only handles, and only nodes on this machine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from simulators.tree.serving import Asked, LoopbackServer, Told, is_loopback

MOST_KEPT = 10_000
"""Answers, and routes; what was used longest ago goes first."""
MOST_BYTES = 1_048_576
LONGEST_TTL_S = 86_400.0
ROUTE_TTL_S = 60.0
NEGATIVE_TTL_S = 10.0
TIMEOUT_S = 5.0
_PLAIN = {"Accept-Encoding": "identity"}
_FACE = "/api/handles/"
_NOT_FOUND, _NOT_RESPONDING = 100, 301
"""Handle response codes."""


class NotAsked(Exception):
    """Whoever knows can't be asked."""


@dataclass(frozen=True, slots=True)
class _Kept:
    told: Told
    since_s: float
    until_s: float


class RecursiveNode:
    """The node."""

    def __init__(
        self, top: str, client: httpx.AsyncClient | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            top: the top-level node's address.
            client: asks; closed by whoever made it. One of its own when None.
        """
        self._top = top.rstrip("/")
        self._own = client is None
        self._client = client or httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=TIMEOUT_S)
        self._monotonic = monotonic
        self._answers: OrderedDict[str, _Kept] = OrderedDict()
        self._routes: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Told]] = {}
        self.counts: Counter[str] = Counter()
        """asked, kept (answered from what is kept), upstream."""
        self._server = LoopbackServer(self.answer)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns its address.

        Raises:
            CannotListen
        """
        return await self._server.start(host, port)

    async def stop(self) -> None:
        """Give up all that is open. Safe twice."""
        await self._server.stop()
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if self._own:
            await self._client.aclose()

    async def answer(self, asked: Asked) -> Told:
        """What a request is answered."""
        if asked.method == "GET" and asked.path == "/state":
            return Told(HTTPStatus.OK, {"answers": len(self._answers), "routes": len(self._routes), **self.counts})
        prefix, slash, suffix = asked.path.removeprefix(_FACE).partition("/")
        if asked.method != "GET" or not asked.path.startswith(_FACE) or not slash or not suffix:
            return Told(HTTPStatus.NOT_FOUND, {"reason": f"GET {_FACE}<prefix>/<suffix>"})
        self.counts["asked"] += 1
        return await self.resolve(prefix, suffix)

    async def resolve(self, prefix: str, suffix: str) -> Told:
        """The answer for a handle; those who ask for one at the same time share a question."""
        handle = f"{prefix.upper()}/{suffix}"
        now_s = self._monotonic()
        kept = self._answers.get(handle)
        if kept is not None and now_s < kept.until_s:
            self._answers.move_to_end(handle)
            self.counts["kept"] += 1
            return Told(kept.told.status, kept.told.content, {"Age": str(int(now_s - kept.since_s))})
        asking = self._asking.get(handle)
        if asking is None:
            asking = self._asking[handle] = asyncio.create_task(self._ask(prefix, suffix, handle))
            asking.add_done_callback(lambda _: self._asking.pop(handle, None))
        return await asyncio.shield(asking)

    async def _ask(self, prefix: str, suffix: str, handle: str) -> Told:
        try:
            url = await self._route(prefix.upper())
            if url is None:
                return Told(HTTPStatus.NOT_FOUND, {"responseCode": _NOT_FOUND, "handle": f"{prefix}/{suffix}"})
            self.counts["upstream"] += 1
            status, content = await self._get(f"{url.rstrip('/')}{_FACE}{quote(prefix)}/{quote(suffix)}")
        except NotAsked as error:
            reason = {"responseCode": _NOT_RESPONDING, "handle": f"{prefix}/{suffix}", "message": str(error)}
            return Told(HTTPStatus.GATEWAY_TIMEOUT, reason)
        told, ttl_s = Told(status, content), _ttl_s(status, content)
        if ttl_s > 0:
            now_s = self._monotonic()
            self._answers[handle] = _Kept(told, now_s, now_s + ttl_s)
            self._answers.move_to_end(handle)
            if len(self._answers) > MOST_KEPT:
                self._answers.popitem(last=False)
        return told

    async def _route(self, prefix: str) -> str | None:
        """The address of who has a prefix; None: nobody.

        Raises:
            NotAsked
        """
        found = self._routes.get(prefix)
        if found is not None and self._monotonic() < found[1]:
            return found[0]
        status, content = await self._get(f"{self._top}/v1/register?prefix={quote(prefix)}")
        url: str | None = None
        if status == HTTPStatus.OK:
            url = _read(content).get("url")
            if not url or not is_loopback(urlsplit(url).hostname or ""):
                raise NotAsked(f"{prefix} is said to be at {url}, which is not on this machine")
        elif status != HTTPStatus.NOT_FOUND:
            raise NotAsked(f"the top-level node answered with {status}")
        self._routes[prefix] = (url, self._monotonic() + (NEGATIVE_TTL_S if url is None else ROUTE_TTL_S))
        if len(self._routes) > MOST_KEPT:
            self._routes.popitem(last=False)
        return url

    async def _get(self, url: str) -> tuple[int, bytes]:
        body = bytearray()
        try:
            async with asyncio.timeout(TIMEOUT_S), self._client.stream("GET", url, headers=_PLAIN) as answer:
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > MOST_BYTES:
                        raise NotAsked(f"it answers with more than {MOST_BYTES} bytes")
                return answer.status_code, bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            raise NotAsked(f"{urlsplit(url).netloc} doesn't answer: {type(error).__name__}") from error


def _read(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotAsked("it doesn't answer as a node does") from error
    return found if isinstance(found, dict) else {}


def _ttl_s(status: int, content: bytes) -> float:
    """For how long an answer may be kept: the shortest TTL of its values."""
    if status == HTTPStatus.NOT_FOUND:
        return NEGATIVE_TTL_S
    if status != HTTPStatus.OK:
        return 0.0
    try:
        ttls = [value["ttl"] for value in _read(content)["values"]]
        return min(LONGEST_TTL_S, *map(float, ttls)) if ttls else 0.0
    except (NotAsked, KeyError, TypeError, ValueError):
        return 0.0
