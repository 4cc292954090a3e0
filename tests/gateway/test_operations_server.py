"""The strict little HTTP server, at its limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.operations.server import MOST_CONNECTIONS, MOST_HEAD_BYTES, Answer, HttpServer, Refusal, decode_head
from tests.gateway.running import ask, until


async def hello() -> Answer:
    return Answer(b'{"hello":1}')


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = HttpServer({"/hello": hello}, names=("gateway.example",), patience_s=20)
    yield await server.start("127.0.0.1", 0)
    await server.stop()
    await server.stop()


def request(line: str = "GET /hello HTTP/1.1", *fields: str, host: str = "127.0.0.1:9464") -> bytes:
    return "\r\n".join([line, f"Host: {host}", *fields, "", ""]).encode("latin-1")


async def test_a_page_is_served_whole_and_the_connection_closed(port: int) -> None:
    reply = await ask(port, request("GET /hello?x=1 HTTP/1.1", "Accept: */*"))
    assert (reply.status, reply.body) == (200, b'{"hello":1}')
    assert reply.fields["content-length"] == "11"
    assert reply.fields["connection"] == "close"
    assert reply.fields["cache-control"] == "no-store"


async def test_head_gets_the_length_and_no_body(port: int) -> None:
    reply = await ask(port, request("HEAD /hello HTTP/1.1"))
    assert (reply.status, reply.body, reply.fields["content-length"]) == (200, b"", "11")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.7:80", "localhost:1", "LOCALHOST", "[::1]:9464", "[::1]", "Gateway.Example:1"]
)
async def test_an_address_and_a_known_name_may_be_called(port: int, host: str) -> None:
    assert (await ask(port, request(host=host))).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:9464", "", ":9464", "localhost.evil"])
async def test_a_page_of_another_origin_cannot_call_it_by_a_name_of_its_own(port: int, host: str) -> None:
    assert (await ask(port, request(host=host))).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
async def test_nothing_but_reading_is_possible(port: int, method: str) -> None:
    reply = await ask(port, request(f"{method} /hello HTTP/1.1"))
    assert (reply.status, reply.fields["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("GET /none HTTP/1.1"), 404),
        (request("GET /hello HTTP/2.0"), 400),
        (request("GET http://127.0.0.1/hello HTTP/1.1"), 400),
        (request("GET  /hello HTTP/1.1"), 400),
        (request("nonsense"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (request("GET /hello HTTP/1.1", "Host: localhost"), 400),
        (request("GET /hello HTTP/1.1", "no colon"), 400),
        (request("GET /hello HTTP/1.1", " folded: line"), 400),
        (request("GET /hello HTTP/1.1", "Content-Length: 5"), 400),
        (request("GET /hello HTTP/1.1", "Transfer-Encoding: chunked"), 400),
        (request("GET /hello HTTP/1.1", "X: " + "x" * 2 * MOST_HEAD_BYTES), 431),
    ],
)
async def test_what_is_no_plain_request_is_refused_with_a_status_that_says_so(port: int, sent: bytes, status: int) -> None:
    assert (await ask(port, sent)).status == status


async def test_it_goes_on_after_clients_that_go_away(port: int) -> None:
    for sent in (b"", b"GET", b"GET /hello HTTP/1.1\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.transport.abort()
    assert (await ask(port, request())).status == 200


async def test_one_connection_too_many_is_closed_and_there_is_room_again_later(port: int) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)]
    assert (await ask(port, request())).status == 0
    for _, writer in silent:
        writer.close()
        await writer.wait_closed()
    await until(lambda: ask(port, request()), lambda reply: reply.status == 200)


async def test_a_client_that_says_nothing_is_given_up() -> None:
    server = HttpServer({"/hello": hello}, patience_s=0.05)
    port = await server.start("127.0.0.1", 0)
    assert (await ask(port, b"GET /hello HTTP/1.1\r\nHost:")).status == 0
    await server.stop()


async def test_a_stop_ends_a_request_that_is_under_way() -> None:
    began = asyncio.Event()

    async def never() -> Answer:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = HttpServer({"/never": never})
    port = await server.start("127.0.0.1", 0)
    asking = asyncio.ensure_future(ask(port, request("GET /never HTTP/1.1")))
    await began.wait()
    await server.stop()
    assert (await asking).status == 0


@given(st.binary() | st.lists(st.binary(max_size=20)).map(b"\r\n".join))
def test_any_bytes_are_a_request_for_a_path_or_are_refused(sent: bytes) -> None:
    status = 200
    try:
        _, path, _ = decode_head(sent + b"\r\n\r\n")
    except Refusal as refusal:
        path, status = "/", refusal.status
    assert path.startswith("/")
    assert status in (200, 400)
