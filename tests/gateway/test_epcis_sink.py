"""How the EPCIS sink reads a node's answers."""

from __future__ import annotations

import asyncio
import json

import httpx
import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.outbox.base import Record, RecordKind
from gateway.sinks.base import SinkRefused, SinkUnreachable
from gateway.sinks.epcis import EpcisSink

EVENT = {"type": "ObjectEvent", "eventTime": "2026-01-01T00:00:00.000Z"}
RECORD = Record(5, RecordKind.PRODUCT, msgspec.json.encode(EVENT))
GUARD_S = 20.0


Answer = httpx.Response | httpx.HTTPError


class Node:
    """Answers what the test says."""

    def __init__(
        self, capture: httpx.Response | httpx.HTTPError, options: httpx.Response | httpx.HTTPError | None = None
    ) -> None:
        self.capture = capture
        self.options = options or httpx.Response(405)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.options if request.method == "OPTIONS" else self.capture
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer


def make(node: Node, token: str | None = "secret") -> EpcisSink:
    return EpcisSink("node", "http://node/", token, window=8, clock=SystemClock(), transport=httpx.MockTransport(node))


async def deliver(node: Node, record: Record = RECORD) -> tuple[list[int], list[tuple[int, str]]]:
    sink = make(node)
    await sink.open()
    try:
        sink.send([record])
        async with asyncio.timeout(GUARD_S):
            acknowledged = list(await sink.acknowledged())
        return acknowledged, list(sink.rejected())
    finally:
        await sink.close()


async def test_an_event_goes_in_a_document_of_its_own_with_the_token() -> None:
    node = Node(httpx.Response(202))
    assert await deliver(node) == ([5], [])
    request = node.requests[-1]
    assert str(request.url) == "http://node/capture"
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Content-Type"] == "application/ld+json"
    assert request.headers["GS1-Capture-Error-Behaviour"] == "rollback"
    body = json.loads(request.content)
    assert (body["type"], body["epcisBody"]["eventList"]) == ("EPCISDocument", [EVENT])


async def test_a_repeat_is_the_same_bytes() -> None:
    node = Node(httpx.Response(202))
    await deliver(node)
    await deliver(node)
    bodies = [request.content for request in node.requests if request.method == "POST"]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("code", [400, 409, 413, 415, 422])
async def test_what_the_node_calls_wrong_is_rejected_for_ever_with_its_words(code: int) -> None:
    answer = httpx.Response(code, json={"title": "no", "detail": "eventTime is odd"})
    assert await deliver(Node(answer)) == ([], [(5, f"refused by the node: {code} eventTime is odd")])


@pytest.mark.parametrize("code", [401, 403, 404, 405, 301])
async def test_a_node_that_refuses_us_keeps_the_event_here(code: int) -> None:
    with pytest.raises(SinkRefused, match=str(code)):
        await deliver(Node(httpx.Response(code)))


@pytest.mark.parametrize("code", [500, 502, 503, 408, 429])
async def test_a_node_in_trouble_is_tried_again(code: int) -> None:
    with pytest.raises(SinkUnreachable, match=str(code)):
        await deliver(Node(httpx.Response(code)))


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.ConnectError("gone"), httpx.RemoteProtocolError("cut")])
async def test_a_connection_that_fails_is_tried_again(error: httpx.HTTPError) -> None:
    with pytest.raises(SinkUnreachable):
        await deliver(Node(error))


@pytest.mark.parametrize("answer", [httpx.ConnectError("gone"), httpx.Response(502)])
async def test_a_node_that_is_not_there_is_known_at_open(answer: Answer) -> None:
    with pytest.raises(SinkUnreachable):
        await make(Node(httpx.Response(202), answer)).open()


async def test_a_record_that_is_no_event_is_rejected() -> None:
    node = Node(httpx.Response(202))
    acknowledged, rejected = await deliver(node, Record(6, RecordKind.PRODUCT, b"{broken"))
    assert acknowledged == []
    assert rejected[0][1].startswith("unreadable: ")
    assert [request.method for request in node.requests] == ["OPTIONS"]


@pytest.mark.parametrize(
    "content", ["原因".encode("gb18030"), b'{"detail": "\xd1"}', b"[" * 100_000], ids=["GBK", "no UTF-8", "deep"]
)
async def test_a_refusal_in_words_that_cannot_be_read_is_a_refusal(content: bytes) -> None:
    answer = httpx.Response(400, content=content)
    assert await deliver(Node(answer)) == ([], [(5, "refused by the node: 400 Bad Request")])


@pytest.mark.parametrize("payload", [b'{"type": "\xd1"}', b"[" * 100_000], ids=["no UTF-8", "deep"])
async def test_an_event_that_cannot_be_read_is_rejected(payload: bytes) -> None:
    acknowledged, rejected = await deliver(Node(httpx.Response(202)), Record(6, RecordKind.PRODUCT, payload))
    assert acknowledged == []
    assert rejected[0][1].startswith("unreadable: ")


async def test_without_a_token_none_is_sent() -> None:
    node = Node(httpx.Response(202))
    sink = make(node, token=None)
    await sink.open()
    await sink.close()
    assert "Authorization" not in node.requests[0].headers
