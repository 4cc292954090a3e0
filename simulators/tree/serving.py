"""HTTP for the nodes of the tree: one request for each connection, on the loopback, bounded in what is read and how long.

Source: RFC 9112 (Content-Length only).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote

from simulators.listening import CannotListen, close_listener, endpoint

MOST_HEAD_BYTES = 16_384
MOST_BODY_BYTES = 16_777_216
MOST_CONNECTIONS = 256
PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str
    path: str
    """Decoded, without the query."""
    query: Mapping[str, str]
    fields: Mapping[str, str]
    """By name in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """An answer."""

    status: int
    content: object = None
    """As JSON; bytes and str go as they are, as text."""
    fields: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Asked], Awaitable[Told | None]]
"""None: the connection ends without an answer."""


class BadRequest(Exception):
    """It can't be read; the message is the answer."""


class LoopbackServer:
    """The server. Construct, start(), stop(); then it may be started again."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, host: str, port: int) -> str:
        """Listen; returns its address, http://host:port, with a free port where `port` is 0.

        Raises:
            CannotListen: also where other machines could reach it.
        """
        if not is_loopback(host):
            raise CannotListen(host, port, "other machines could reach it; listen on 127.0.0.1")
        try:
            self._server = await asyncio.start_server(self._take, host, port, limit=MOST_HEAD_BYTES)
        except OSError as error:
            raise CannotListen.because(host, port, error) from error
        return f"http://{endpoint(host, self._server.sockets[0].getsockname()[1])}"

    async def stop(self) -> None:
        """Close the listener and every connection. Safe twice, and before start()."""
        server, self._server = self._server, None
        if server is not None:
            await close_listener(server)
        ending = dict(self._tasks)
        for task, writer in ending.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await asyncio.sleep(0)  # for the transports to close their sockets

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks[task] = writer
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    asked = await _read(reader)
                told = await self._answer(asked)
            except BadRequest as error:
                told = Told(HTTPStatus.BAD_REQUEST, {"reason": str(error)})
            if told is not None:
                async with asyncio.timeout(PATIENCE_S):
                    writer.write(_encode(told))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # The client went away or fell silent: there is nobody to tell.
        finally:
            writer.transport.abort()


def is_loopback(host: str) -> bool:
    """Whether an IP address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _read(reader: asyncio.StreamReader) -> Asked:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise BadRequest(f"more than {MOST_HEAD_BYTES} bytes of header") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("not a request of HTTP/1.1")
    fields = {name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
    length = fields.get("content-length", "0")
    if "transfer-encoding" in fields or not (length.isascii() and length.isdigit() and len(length) < 10):
        raise BadRequest("give a Content-Length")
    if int(length) > MOST_BODY_BYTES:
        raise BadRequest(f"a body has at most {MOST_BODY_BYTES} bytes")
    path, _, query = words[1].partition("?")
    return Asked(words[0], unquote(path), dict(parse_qsl(query)), fields, await reader.readexactly(int(length)))


def _encode(told: Told) -> bytes:
    media, content = "text/html; charset=utf-8", told.content
    if isinstance(content, str):
        body = content.encode()
    elif isinstance(content, bytes):
        media, body = "application/json", content
    else:
        media, body = "application/json", json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    fields = {"Content-Type": media, "Content-Length": str(len(body)), "Connection": "close", **told.fields}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {told.status} {HTTPStatus(told.status).phrase}\r\n{head}\r\n".encode() + body


def read_json(asked: Asked) -> Any:
    """A body as JSON.

    Raises:
        BadRequest
    """
    try:
        return json.loads(asked.body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"not JSON: {error}") from error
