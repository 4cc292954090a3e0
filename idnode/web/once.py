"""Changes over HTTP that are safe to repeat: Idempotency-Key, ETag and If-Match."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated

import msgspec
from fastapi import Header, Request
from starlette.responses import Response

from idnode.access import Caller
from idnode.affairs import IDEMPOTENCY
from idnode.store.base import AlreadyThere, Stale
from idnode.store.business import DAY_MS, Put, Step
from idnode.web.json_response import JsonResponse
from idnode.web.node import Node
from idnode.web.problems import Problem, outdated

LONGEST_KEY = 200
KEPT_DAYS = 7
_SWEPT_DAYS = 14
_ATTEMPTS = 5
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Makes repeating safe: the same key gets the same answer, for a week.", max_length=LONGEST_KEY, min_length=1
    ),
]
IfMatch = Annotated[str | None, Header(description="The ETag that the record has to have.", max_length=100)]


@dataclass(frozen=True, slots=True)
class Done:
    """What a request comes to: steps to be written, and the answer when they are."""

    content: Mapping[str, object]
    steps: Sequence[Step] = ()
    status: HTTPStatus = HTTPStatus.CREATED
    headers: Mapping[str, str] = field(default_factory=dict)
    shown_once: Mapping[str, object] = field(default_factory=dict)
    """Belongs to the content of the first answer, and to none that repeats it."""


class _Mark(msgspec.Struct):
    body: str
    status: int
    content: dict[str, object]
    headers: dict[str, str]


async def change_once(
    request: Request, node: Node, caller: Caller, key: str | None, body: object, act: Callable[[], Awaitable[Done]]
) -> Response:
    """Do what is asked, or with the `key` of an earlier request answer as that one was answered.

    What `act` comes to and that it was done are written at once, so that of two requests with one key only one does anything.
    `act` is called anew when what it looked at was changed meanwhile.

    Raises:
        Problem: 422, the key was used with another body; and what `act` raises.
    """
    place = sha256(f"{caller.author}\n{request.method}\n{request.url.path}\n{key}".encode()).hexdigest()
    digest = sha256(msgspec.json.encode(body)).hexdigest()
    for _ in range(_ATTEMPTS):
        if key is not None:
            repeated = await _repeated(node, place, digest)
            if repeated is not None:
                return repeated
        done = await act()
        steps = [*done.steps, *(() if key is None else await _marks(node, place, digest, done))]
        try:
            await node.store.write(steps, caller.author, node.now_ms())
        except Stale:
            continue
        except AlreadyThere:
            if key is not None and await node.store.entry(IDEMPOTENCY, place) is not None:
                continue
            raise
        return JsonResponse({**done.content, **done.shown_once}, done.status, done.headers)
    raise outdated("others keep changing this; try again")


async def _repeated(node: Node, place: str, digest: str) -> Response | None:
    entry = await node.store.entry(IDEMPOTENCY, place)
    if entry is None:
        return None
    mark = msgspec.json.decode(entry.content, type=_Mark)
    if mark.body != digest:
        detail = "this Idempotency-Key came with another body before"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, "urn:mumian:problem:idempotency-key-reused")
    return JsonResponse(mark.content, mark.status, {**mark.headers, "Idempotency-Replayed": "true"})


async def _marks(node: Node, place: str, digest: str, done: Done) -> list[Step]:
    """The steps by which a request is remembered, and some old ones forgotten."""
    today = node.now_ms() // DAY_MS
    mark = _Mark(digest, int(done.status), dict(done.content), dict(done.headers))
    steps: list[Step] = [Put(IDEMPOTENCY, place, msgspec.json.encode(mark), str(today), if_version=0, kept=False)]
    for day in range(today - KEPT_DAYS - _SWEPT_DAYS, today - KEPT_DAYS):
        old = await node.store.entries(IDEMPOTENCY, str(day), limit=10)
        steps += [Put(IDEMPOTENCY, each.key, b"", str(day), kept=False) for each in old]
    return steps


def etag(version: int) -> dict[str, str]:
    """The header that names a record's version."""
    return {"ETag": f'"{version}"'}


def check_match(if_match: str | None, version: int) -> None:
    """Whether a change is meant for the version that is there.

    Raises:
        Problem: 412.
    """
    if if_match is not None and if_match.strip() != "*" and f'"{version}"' not in [each.strip() for each in if_match.split(",")]:
        raise outdated(f'its version is "{version}"')
