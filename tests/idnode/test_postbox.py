"""Answers of several connections, written together and in order."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from idnode.web.postbox import MOST_ANSWERS, MOST_BYTES, Postbox

from .conftest import House
from .wire import Client, Wire

GET = b"GET /api/handles/88.100.1/P1 HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def client(house: House) -> Client:
    order = {"handle": "88.100.1/P1", "values": [{"index": 3, "type": "DESC", "data": "first"}]}
    assert (await house.post("/v1/identifiers", "registrar", order)).status_code == 201
    return Client(house, 1 << 20)


class Shelf:
    """Transports that note what is written to which."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes]] = []

    def transport(self, name: str) -> asyncio.Transport:
        shelf = self

        class Noting(Wire):
            def write(self, data: bytes | bytearray | memoryview) -> None:
                shelf.written.append((name, bytes(data)))

        return cast(asyncio.Transport, Noting())


async def test_what_is_posted_in_one_turn_is_written_at_its_end_in_order() -> None:
    postbox, shelf = Postbox(), Shelf()
    a, b = shelf.transport("a"), shelf.transport("b")
    for number, each in enumerate([a, b, a]):
        postbox.post(each, b"%d" % number)
    assert shelf.written == []
    await asyncio.sleep(0)
    assert shelf.written == [("a", b"0"), ("b", b"1"), ("a", b"2")]
    postbox.post(b, b"3")
    await asyncio.sleep(0)
    assert shelf.written[3:] == [("b", b"3")]


@pytest.mark.parametrize(("answer", "many"), [(b"x", MOST_ANSWERS), (b"x" * MOST_BYTES, 2)])
async def test_only_so_many_wait(answer: bytes, many: int) -> None:
    postbox, shelf = Postbox(), Shelf()
    transport = shelf.transport("a")
    for _ in range(many - 1):
        postbox.post(transport, answer)
    assert shelf.written == []
    postbox.post(transport, answer)
    assert len(shelf.written) == many
    await asyncio.sleep(0)
    assert len(shelf.written) == many


async def test_whoever_has_gone_gets_nothing_and_the_others_do() -> None:
    postbox, shelf = Postbox(), Shelf()
    gone, there = shelf.transport("gone"), shelf.transport("there")
    postbox.post(gone, b"1")
    postbox.post(there, b"2")
    gone.close()
    await asyncio.sleep(0)
    assert shelf.written == [("there", b"2")]


async def test_one_that_fails_is_told_and_holds_up_no_other() -> None:
    postbox, shelf = Postbox(), Shelf()

    class Failing(Wire):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            raise RuntimeError("the handler is closed")

    failing, told = Failing(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    postbox.post(failing, b"1")
    postbox.post(shelf.transport("there"), b"2")
    await asyncio.sleep(0)
    assert shelf.written == [("there", b"2")]
    assert failing.closed
    assert [type(each["exception"]) for each in told] == [RuntimeError]


async def test_an_answer_that_waits_goes_before_what_the_server_answers_otherwise(client: Client) -> None:
    for behind in (SLOW, b"nonsense\r\n\r\n", GET + SLOW):
        wire = client.connect()
        wire.protocol.data_received(GET)
        assert not wire.output
        wire.protocol.data_received(behind)
        await client.settle(wire)
        first, *others = bytes(wire.output).split(b"HTTP/1.1 ")[1:]
        assert b'"first"' in first
        assert len(others) == behind.count(b"\r\n\r\n")
        assert b'"first"' not in others[-1]
        client.leave(wire)


async def test_an_answer_that_waits_goes_before_the_connection_is_closed(client: Client) -> None:
    wire = client.connect()
    wire.protocol.data_received(GET)
    wire.protocol.shutdown()
    assert wire.closed
    assert b'"first"' in wire.output
    client.leave(wire)


async def test_a_client_that_sends_no_more_gets_the_answer_that_waits(client: Client) -> None:
    """TLS may tell of the end in the same breath as of the request, and the transport closes then."""
    wire = client.connect()
    wire.protocol.data_received(GET)
    if not wire.protocol.eof_received():
        wire.close()
    await client.settle(wire)
    assert b'"first"' in wire.output
    client.leave(wire)
