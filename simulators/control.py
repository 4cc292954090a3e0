"""The control port: HTTP and JSON on the loopback, by which a test in any language sees and spoils what is simulated.

Off unless configured, and always on 127.0.0.1. There is no token: who is on the machine may use it. A page in a browser may not:
a request must name a loopback host (so no name of an attacker's can be bound to it), and one with a body must be
application/json, which no page of another origin can send.

Source: RFC 9112 (one request per connection, Content-Length only).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from simulators.listening import CannotListen, close_listener, endpoint

HOST = "127.0.0.1"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_MOST_HEAD_BYTES = 16_384
_MOST_BODY_BYTES = 65_536
_MOST_REST_BYTES = 1_048_576
_LONGEST_LENGTH = 10
"""Digits of a Content-Length."""
PATIENCE_S = 5.0
"""A request that isn't there by then is given up, and an answer that nobody takes."""

Handler = Callable[[Any], Awaitable[object]]
"""From the request's JSON (None without a body) to the answer's."""
Routes = Mapping[str, Mapping[str, Handler]]
"""Handlers by path and method."""


class Refusal(Exception):
    """The answer is an error."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ControlPort:
    """The server. Construct, start(), stop()."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, port: int) -> str:
        """Listen; returns host:port, which has a free port when `port` is 0.

        Raises:
            CannotListen
        """
        try:
            self._server = await asyncio.start_server(self._take, HOST, port, limit=_MOST_HEAD_BYTES)
        except OSError as error:
            raise CannotListen.because(HOST, port, error) from error
        return endpoint(HOST, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the listener and every connection: none is open then. Safe twice, and before start()."""
        server, self._server = self._server, None
        if server is not None:
            await close_listener(server)
        ending = dict(self._tasks)
        for task, writer in ending.items():
            # Here, since a task that is cancelled before its first step never comes to its own end.
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await asyncio.sleep(0)  # For the transports to close their sockets.

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks[task] = writer
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    handler, values = await self._request(reader)
                status, answer = HTTPStatus.OK, await handler(values)
            except Refusal as refusal:
                status, answer = refusal.status, {"error": refusal.reason}
            async with asyncio.timeout(PATIENCE_S):
                await _send(reader, writer, _encode(status, answer))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # The client went away or fell silent: there is nobody to tell.
        finally:
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader) -> tuple[Handler, Any]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {_MOST_HEAD_BYTES} bytes of header") from error
        method, path, fields = _decode_head(head)
        if _host_of(fields) not in _LOOPBACK:
            raise Refusal(HTTPStatus.FORBIDDEN, "only for this machine: call it by 127.0.0.1")
        methods = self._routes.get(path)
        if methods is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"no {path}; there are {', '.join(sorted(self._routes))}")
        if method not in methods:
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {', '.join(sorted(methods))}")
        return methods[method], await _read_body(reader, fields)


def _decode_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Refusal(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1.1")
    fields = {name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
    return words[0], words[1].partition("?")[0], fields


def _host_of(fields: Mapping[str, str]) -> str:
    host = fields.get("host", "")
    return host if host.endswith("]") else host.rpartition(":")[0] or host


async def _read_body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> Any:
    if "transfer-encoding" in fields:
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "give a Content-Length")
    length = fields.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) <= _LONGEST_LENGTH) or int(length) > _MOST_BODY_BYTES:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has 0 to {_MOST_BODY_BYTES} bytes")
    body = await reader.readexactly(int(length))
    if not body:
        return None
    if fields.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"not JSON: {error}") from error


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Send, and close as RFC 9112, 9.6 has it: what else the client says is read, lest a reset takes the answer from it."""
    writer.write(answer)
    await writer.drain()
    with suppress(RuntimeError):  # uvloop, when the client is gone.
        writer.write_eof()
    rest = 0
    while rest < _MOST_REST_BYTES and (data := await reader.read(_MOST_HEAD_BYTES)):
        rest += len(data)


def _encode(status: HTTPStatus, answer: object) -> bytes:
    # Half a surrogate pair, which JSON can spell and UTF-8 can't, becomes a question mark.
    body = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode() + body
