"""Streams of rows to a node in this process: their pieces, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.types import Message

from .conftest import House

NDJSON, CSV = "application/x-ndjson", "text/csv"


def line(number: int, prefix: str = "88.100.1", text: str = "a pump") -> bytes:
    """A good row."""
    value = {"index": 3, "type": "DESC", "data": text}
    return json.dumps({"handle": f"{prefix}/P{number}", "values": [value]}, ensure_ascii=False).encode() + b"\n"


def lines(first: int, end: int) -> bytes:
    """Good rows."""
    return b"".join(line(number) for number in range(first, end))


@dataclass
class Stream:
    """One request to `PUT /v1/jobs/{job}/rows`."""

    application: Any
    token: str
    job: str = "spring"
    media_type: str = NDJSON
    query: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    before: Callable[[int], Any] | None = None
    """Called before the node gets piece number so-and-so."""

    async def send(self, pieces: Iterable[bytes], *, cut: bool = False) -> tuple[int, dict[str, Any]]:
        """(status, answer). `cut`: the connection breaks behind the pieces."""
        coming = list(enumerate(pieces))
        sent: list[Message] = []

        async def receive() -> Message:
            if not coming:
                return {"type": "http.disconnect"} if cut else {"type": "http.request", "body": b"", "more_body": False}
            number, piece = coming.pop(0)
            if self.before is not None:
                made = self.before(number)
                if asyncio.iscoroutine(made):
                    await made
            return {"type": "http.request", "body": piece, "more_body": True}

        async def send(message: Message) -> None:
            sent.append(message)

        fields = {"authorization": f"Bearer {self.token}", "content-type": self.media_type, **self.fields}
        path = f"/v1/jobs/{self.job}/rows"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "PUT",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
            "client": ("127.0.0.1", 1),
            "server": ("id.test", 80),
        }
        await self.application(scope, receive, send)
        body = b"".join(each.get("body", b"") for each in sent[1:])
        return sent[0]["status"], json.loads(body)


def stream(house: House, name: str = "registrar", **told: Any) -> Stream:
    """A request by the bearer of that token."""
    transport = house.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    return Stream(transport.app, house.tokens[name], **told)


async def job(house: House, name: str = "registrar", key: str = "spring") -> dict[str, Any]:
    """What is told of a job."""
    answer = await house.client.get(f"/v1/jobs/{key}", headers=house.bearer(name))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def outcomes(house: House, query: str = "", accept: str = "application/json", key: str = "spring") -> Any:
    """What became of rows: JSON, or the bytes of another form."""
    answer = await house.client.get(f"/v1/jobs/{key}/outcomes{query}", headers={**house.bearer("registrar"), "Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.json() if accept == "application/json" else answer.content


async def bad_rows(house: House) -> list[tuple[int, str, str, str]]:
    """(row, outcome, field, reason) of those that were not taken."""
    return [(each["row"], each["outcome"], each["field"], each["reason"]) for each in await outcomes(house, "?outcome=refused")]
