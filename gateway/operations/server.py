"""A strict little HTTP/1.1 server that answers GET and HEAD and nothing else: probes and scrapers need no more.

One request per connection; bounded header, bounded time, bounded number of connections. A page in a browser can't read it: the
Host must be an address, `localhost` or a name of the settings, lest an attacker's name be bound to it.

Source: RFC 9112 (message syntax; 3.2: a request has exactly one Host), RFC 9110 (status codes).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

MOST_HEAD_BYTES = 8192
MOST_CONNECTIONS = 16
"""More are closed without an answer."""
PATIENCE_S = 5.0
"""A request that isn't there by then is given up, and an answer that nobody takes."""
_MOST_REST_BYTES = 65_536
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says."""

    body: bytes
    media_type: str = JSON
    status: HTTPStatus = HTTPStatus.OK


Page = Callable[[], Awaitable[Answer]]


class Refusal(Exception):
    """The answer is an error."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class HttpServer:
    """Construct, start(), stop(); used from one event loop."""

    def __init__(self, pages: Mapping[str, Page], names: Collection[str] = (), patience_s: float = PATIENCE_S) -> None:
        """`pages`: by path. `names`: host names by which it may be called, beside every address and `localhost`."""
        self._pages = pages
        self._names = frozenset(name.lower() for name in (*names, "localhost"))
        self._patience_s = patience_s
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, a free one when `port` is 0.

        Raises:
            OSError
        """
        self._server = await asyncio.start_server(self._take, host, port, limit=MOST_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the listener and every connection. Safe twice, and before start()."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        ending = dict(self._tasks)
        for task, writer in ending.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if server is not None:
            await server.wait_closed()
        await asyncio.sleep(0)  # for the transports to close their sockets

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MOST_CONNECTIONS or self._server is None:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks[task] = writer
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                is_head, answer = await self._answer(reader)
            async with asyncio.timeout(self._patience_s):
                await _send(reader, writer, _encode(answer, is_head))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away or fell silent: there is nobody to tell
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[bool, Answer]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, host = decode_head(head)
            self._check_host(host)
            return method == "HEAD", await self._page(method, path)()
        except asyncio.LimitOverrunError:
            text = f"more than {MOST_HEAD_BYTES} bytes of header"
            return False, Answer(f"{text}\n".encode(), TEXT, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except Refusal as refusal:
            return False, Answer(f"{refusal}\n".encode(), TEXT, refusal.status)

    def _page(self, method: str, path: str) -> Page:
        page = self._pages.get(path)
        if page is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"no such page; there are {', '.join(sorted(self._pages))}")
        if method not in ("GET", "HEAD"):
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed here")
        return page

    def _check_host(self, host: str) -> None:
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            if name.lower() not in self._names:
                raise Refusal(HTTPStatus.FORBIDDEN, "call it by its address, or add the name to operations.names") from None


def decode_head(head: bytes) -> tuple[str, str, str]:
    """(method, path without its query, Host) of a request's head, its empty line included.

    Raises:
        Refusal: it is none, or has what no request here needs.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[1].startswith("/") or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refusal(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1.1")
    hosts = []
    for line in lines[:-2]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refusal(HTTPStatus.BAD_REQUEST, "a header line is none")
        if name.lower() == "host":
            hosts.append(value.strip())
        elif name.lower() in ("content-length", "transfer-encoding") and value.strip() != "0":
            raise Refusal(HTTPStatus.BAD_REQUEST, "a body has no use here")
    if len(hosts) != 1:
        raise Refusal(HTTPStatus.BAD_REQUEST, "a request names one Host")
    return words[0], words[1].partition("?")[0], hosts[0]


def _encode(answer: Answer, is_head: bool) -> bytes:
    status = answer.status
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {answer.media_type}\r\nContent-Length: {len(answer.body)}\r\n"
    )
    allow = "Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head += f"{allow}Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if is_head else answer.body)


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Send, and close as RFC 9112, 9.6 has it: what else the client says is read, lest a reset takes the answer from it."""
    writer.write(answer)
    await writer.drain()
    with suppress(RuntimeError):  # uvloop, when the client is gone
        writer.write_eof()
    rest = 0
    while rest < _MOST_REST_BYTES and (data := await reader.read(MOST_HEAD_BYTES)):
        rest += len(data)
