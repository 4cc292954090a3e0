"""The hot route answers byte for byte what uvicorn and the Front answer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from .conftest import House
from .wire import Client, slow_down

VALUES = [
    {"index": 3, "type": "DESC", "data": "泵"},
    {"index": 4, "type": "X.A", "data": "a", "ttl": 60},
    {"index": 5, "type": "HIDDEN", "data": "b", "permissions": "1100"},
]
TARGETS = [
    "/api/handles/88.100.1/P1",
    "/api/handles/88.100.1/P1?type=X.&index=3",
    "/api/handles/88.100.1/P1?index=no",
    "/api/handles/88.100.1/P1?pretty&type=NONE",
    "/api/handles/88.100.1/p1",
    "/api/handles/88.100.1/%50%31",
    "/api/handles/88.100.1/a%20b%2Fc",
    "/api/handles/88.100.1/%FF",
    "/api/handles/88.100.1/%00",
    "/api/handles/88.100.1/",
    "/api/handles/88.100.2/S",
    "/api/handles/88.999/none",
    "/api/handles/88.100.1/P1?publicOnly=true&callback=f",
    "/api/handles/88.100.1/P1?callback=f()",
    "/identityv2/data/detail?handle=88.100.1%2FP1",
    "/identityv2/data/detail?handle=88.100.1/none",
    "/identityv2/data/detail",
    "/identityv2/data/details?handle=88.100.1/P1",
    "/88.100.1/P1",
    "/88.100.1/P1?lang=en",
    "/88.100.1/P1?as-of=2020-01-01T00:00:00Z",
    "/88.100.1/P1?as-of=yesterday",
    "/88.100.1/../88.100.1/P1",
    "/88.100.1/P1?",
    "/88.100.1/P1?a=1&a?b",
    "/88.100.1/P1#part",
    '/88.100.1/P"1',
    "/88.100.2/S",
    "/ARFKk4XB0CDKWcnpq",
    "/ARFKk4XB0CDKWcnp",
    "/01/05412345000013/EEarwSM?linkType=linkset",
    "/healthz",
    "/nowhere",
    "http://id.test/88.100.1/P1",
    "*",
]
FIELDS = [
    "",
    "Host: id.test\r\n",
    "Accept: application/json\r\nAccept-Language: en\r\n",
    "accept: text/html;q=0.1\r\nACCEPT: application/json;q=0.2\r\n",
    "If-None-Match: {etag}\r\n",
    'If-None-Match: "other", W/{etag}\r\nAccept-Language: en\r\n',
    "If-None-Match: *\r\n",
    "Authorization: Bearer {reader}\r\n",
    "Authorization: Bearer wrong\r\n",
    "Authorization: Basic {reader}\r\n",
    "X-Long: " + "y" * 9000 + "\r\n",
]
ODD = [
    b"GET /88.100.1/P1 HTTP/1.0\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nConnection: keep-alive, close\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /88.100.1/P1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"GET /88.100.1/P1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /88.100.1/P1 HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
    b"GET  /88.100.1/P1 HTTP/1.1\r\n\r\n",
    b"GET /88.100.1/P1  HTTP/1.1\r\n\r\n",
    b"GET /88.100.1/P1 x HTTP/1.1\r\n\r\n",
    b"GET /88.100.1/P1\xff HTTP/1.1\r\n\r\n",
    b"GET /88.100.1/\x01 HTTP/1.1\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\n\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nA: b\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nA : b\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\n: b\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nA: b\x00c\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/1.1\r\nA: HTTP/1.1\r\nB: c HTTP/1.1\r\n\r\n",
    b"GET /88.100.1/P1 HTTP/2.0\r\n\r\n",
    b"GET /88.100.1/P1 http/1.1\r\n\r\n",
    b"get /88.100.1/P1 HTTP/1.1\r\n\r\n",
    b"\r\n\r\nGET /88.100.1/P1 HTTP/1.1\r\n\r\n",
    b"OPTIONS /88.100.1/P1 HTTP/1.1\r\n\r\n",
    b"POST /88.100.1/P1 HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/identifiers HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    b"PUT /api/handles/88.100.1/P1 HTTP/1.1\r\n\r\n",
    b"NONSENSE",
    b"",
]
PRODUCT_LINKS = [
    {"relation": "gs1:defaultLink", "href": "https://example.cn/", "title": "t"},
    {"relation": "gs1:pip", "href": "https://example.cn/zh", "title": "t", "languages": ["zh"]},
    {"relation": "gs1:pip", "href": "https://example.cn/en", "title": "t", "languages": ["en"]},
]
LINKED_TARGETS = [
    "/01/09506000134352",
    "/01/09506000134352/?a=%0D%0A",
    "/01/09506000134352/21/none?linkType=gs1:pip",
    "/01/09506000134352?linkType=linkset",
    "/01/09506000134352?linkType=gs1:faqs",
    "/01/09506000134352/foo",
    "/gs1:01/09506000134352",
]
LINKED_FIELDS = [
    "",
    "Accept: text/html, */*;q=0.1\r\nAccept-Language: zh\r\n",
    "Accept: text/html, */*;q=0.1\r\nAccept-Language: zh;q=0.1, en;q=0.2\r\n",
    "Accept: text/html\r\n",
    "Accept: application/json\r\n",
    "Accept: application/linkset+json\r\n",
    "Accept: application/linkset+json\r\nIf-None-Match: *\r\n",
    "Authorization: Bearer {reader}\r\n",
]
PLAIN = b"GET /api/handles/88.100.1/P1 HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Both:
    """The two, over one node."""

    plain: Client
    hot: Client
    house: House
    etag: str

    async def compare(self, *requests: bytes, pieces: Sequence[bytes] = ()) -> bytes:
        """The answer, the same of both, twice: the second time from the cache, where it is kept. uvicorn gets the requests one by
        one; we too, and all at once, and in those pieces."""
        expected = await self.plain.send(requests)
        ways: list[Sequence[bytes]] = [requests, requests]
        if pieces:
            ways += [[b"".join(requests)], pieces]
        for chunks in ways:
            got = await self.hot.send(chunks)
            assert (bytes(got.output), got.closed) == (bytes(expected.output), expected.closed), chunks
        return bytes(expected.output)

    def fields(self, text: str) -> str:
        return text.replace("{etag}", self.etag).replace("{reader}", self.house.tokens["reader"])


@pytest.fixture(params=[True, False], ids=["in place", "waited for"])
async def both(house: House, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Both:
    in_place: bool = request.param
    if not in_place:
        slow_down(house, monkeypatch)
    monkeypatch.setattr("secrets.token_bytes", lambda size: b"r" * size)  # of challenges
    for handle, by in (("88.100.1/P1", "registrar"), ("88.100.1/a b/c", "registrar"), ("88.100.2/S", "forge_registrar")):
        made = await house.post("/v1/identifiers", by, {"handle": handle, "values": VALUES})
        assert made.status_code == 201, made.text
    etag = (await house.client.get("/api/handles/88.100.1/P1")).headers["etag"]
    return Both(Client(house, None), Client(house, 1 << 20, in_place=in_place), house, etag)


async def test_every_kind_of_request_is_answered_alike(both: Both) -> None:
    statuses = set()
    for method, target, fields in itertools.product(("GET", "HEAD"), TARGETS, FIELDS):
        request = f"{method} {target} HTTP/1.1\r\n{both.fields(fields)}\r\n".encode("latin-1")
        statuses.add((await both.compare(request))[9:12])
    assert statuses == {b"200", b"304", b"400", b"401", b"403", b"404", b"405"}
    assert both.hot.hot is not None
    assert both.hot.hot.cache.hits > 100


async def test_what_http_calls_well_counts_as_what_it_is(both: Both) -> None:
    request = b"GET /identityv2/data/detail?handle=88.100.1/none HTTP/1.1\r\n\r\n"
    got = await both.hot.send((request, request))
    assert bytes(got.output).count(b"HTTP/1.1 200 OK") == 2
    counted = {key: count for key, (count,) in both.house.node.meter.answers.items() if key[0] == "snms"}
    assert counted == {("snms", "88.100.1", 404): 2}


async def test_digital_links_are_answered_alike(both: Both) -> None:
    house, prefix = both.house, {"prefix": "gs1:9506000"}
    assert (await house.post("/v1/enterprises/pumpworks/prefixes", "admin", prefix)).status_code == 201
    order = {"handle": "gs1:01/09506000134352", "values": VALUES, "typed_links": PRODUCT_LINKS}
    assert (await house.post("/v1/identifiers", "registrar", order)).status_code == 201
    statuses = set()
    for method, target, fields in itertools.product(("GET", "HEAD"), LINKED_TARGETS, LINKED_FIELDS):
        request = f"{method} {target} HTTP/1.1\r\n{both.fields(fields)}\r\n".encode("latin-1")
        statuses.add((await both.compare(request))[9:12])
    assert statuses == {b"200", b"300", b"304", b"307", b"400", b"404"}


async def test_odd_requests_are_answered_alike_and_so_is_what_comes_before_and_after_them(both: Both) -> None:
    for odd in ODD:
        await both.compare(odd)
        # What stands behind an upgrade that isn't made is lost to uvicorn when it comes with it.
        behind = () if b"Connection: Upgrade" in odd else (PLAIN,)
        await both.compare(PLAIN, odd, *behind, pieces=[PLAIN + odd, *behind])


async def test_requests_cut_at_any_byte_are_answered_alike(both: Both) -> None:
    requests = (PLAIN, b"HEAD /88.100.1/P1 HTTP/1.1\r\nAccept: application/json\r\n\r\n", PLAIN)
    stream = b"".join(requests)
    whole = await both.compare(*requests)
    assert whole.count(b"HTTP/1.1 200 OK") == 3
    for cut in range(1, len(stream)):
        got = await both.hot.send((stream[:cut], stream[cut:]))
        assert bytes(got.output) == whole, cut
    got = await both.hot.send(bytes([each]) for each in stream)
    assert bytes(got.output) == whole


async def test_random_streams_in_random_pieces_are_answered_alike(both: Both) -> None:
    dice = random.Random(6)
    good = [f"GET {target} HTTP/1.1\r\n{both.fields(fields)}\r\n".encode() for target in TARGETS[:25] for fields in FIELDS[:8]]
    for _ in range(30):
        requests = [dice.choice(good) for _ in range(dice.randint(1, 8))] + [dice.choice(ODD)]
        stream = b"".join(requests)
        cuts = sorted({0, len(stream), *(dice.randint(0, len(stream)) for _ in range(dice.randint(0, 4)))})
        await both.compare(*requests, pieces=[stream[start:end] for start, end in itertools.pairwise(cuts)])
