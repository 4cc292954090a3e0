"""Delegates that lie, are slow or speak something else: by Handle JSON and by the wire protocol, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.affairs import Mode
from idnode.identifier import parse_identifier
from idnode.record import Format
from idnode.upstream.by_web import MOST_READ, WebAsker, read_answer
from idnode.upstream.by_wire import WireAsker, read_reply, request_of
from idnode.upstream.delegate import Delegate
from idnode.upstream.recursion import FIRST, Recursion
from idnode.upstream.told import Outcome

from .nodes import TRUST
from .wire_client import counted, number

P1 = parse_identifier("88.100.1/P1")
JSON = {"content-type": "application/json;charset=UTF-8"}
VALUE: dict[str, Any] = {"index": 1, "type": "URL", "data": {"format": "string", "value": "http://h/1"}, "ttl": 60}
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def body(*values: Any, code: int = 1, handle: str = "88.100.1/P1", **more: Any) -> bytes:
    return json.dumps({"responseCode": code, "handle": handle, "values": list(values), **more}).encode()


def outcome(content: bytes, status: int = 200, **headers: str) -> Outcome:
    return read_answer(P1, status, {**JSON, **{name.replace("_", "-"): each for name, each in headers.items()}}, content).outcome


# Handle JSON


def test_an_answer_of_any_handle_server_is_read() -> None:
    admin = {"format": "admin", "value": {"handle": "0.NA/88.100.1", "index": 200, "permissions": "011111110011"}}
    told = read_answer(
        P1,
        200,
        {"content-type": "application/json", "cache-control": "public, max-age=100", "age": "40"},
        body({"index": 100, "type": "HS_ADMIN", "data": admin, "ttl": 86400, "timestamp": "2026-01-01T00:00:00Z"}, VALUE,
             handle="88.100.1/P1", unknown=1),
    )  # fmt: skip
    assert (told.outcome, told.keep_s, told.age_s) == (Outcome.FOUND, 60, 40)
    assert [(each.index, each.type, each.data.format, each.ttl_s) for each in told.values] == [
        (1, "URL", Format.STRING, 60),
        (100, "HS_ADMIN", Format.ADMIN, 86_400),
    ]
    assert told.values[1].timestamp_ms == 1_767_225_600_000


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (100, 404, Outcome.MISSING),
        (200, 200, Outcome.FOUND),
        (402, 401, Outcome.CLOSED),
        (401, 403, Outcome.CLOSED),
        (301, 400, Outcome.WRONG),
        (302, 200, Outcome.WRONG),
        (303, 200, Outcome.WRONG),
        (3, 500, Outcome.BUSY),
        (6, 500, Outcome.LOOP),
        (2, 500, Outcome.WRONG),
        (99_999, 200, Outcome.WRONG),
    ],
)
def test_a_code_is_an_outcome(code: int, status: int, expected: Outcome) -> None:
    assert outcome(body(code=code), status) is expected


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (body(VALUE, handle="88.100.1/P2"), "another identifier"),
        (body(VALUE, handle="88.100.2/P1"), "beyond its prefix"),
        (body(VALUE, handle=""), "none"),
        (body(VALUE, VALUE), "an index twice"),
        (body({**VALUE, "index": 0}), "index 0"),
        (body({**VALUE, "index": 2**31}), "too large an index"),
        (body({**VALUE, "type": ""}), "no type"),
        (body({**VALUE, "type": "a\r\nb"}), "a type with lines"),
        (body({**VALUE, "data": {"format": "string", "value": 7}}), "no text"),
        (body({**VALUE, "data": {"format": "magic", "value": "x"}}), "no format"),
        (body({**VALUE, "ttl": None}), "no TTL"),
        (body({**VALUE, "timestamp": "yesterday"}), "no moment"),
        (body(*({**VALUE, "index": each} for each in range(1, 2050))), "too many"),
        (body({**VALUE, "data": {"format": "string", "value": "x" * 262_144}}), "too large"),
        (b"[" * 100_000, "nested"),
        (b'{"responseCode": NaN}', "no JSON"),
        (b"\xff\xfe", "no text"),
        (b"", "nothing"),
        (b'{"values": []}', "no code"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_isnt_an_answer_to_the_question_is_wrong(content: bytes, why: str) -> None:
    assert outcome(content) is Outcome.WRONG, why


def test_status_and_type_are_looked_at() -> None:
    good = body(VALUE)
    assert outcome(good, 508) is Outcome.LOOP
    assert outcome(good, 429) is outcome(good, 503) is Outcome.BUSY
    assert outcome(good, content_type="text/html") is Outcome.WRONG
    assert outcome(good, content_encoding="gzip") is Outcome.WRONG
    for told, seconds in (
        ("no-store", 0),
        ("private, max-age=9", 0),
        ("no-cache", 0),
        ("max-age=9", 9),
        ("", None),
        ("s=1", None),
    ):
        assert read_answer(P1, 200, {**JSON, "cache-control": told}, good).keep_s == seconds
    assert read_answer(P1, 200, {**JSON, "cache-control": "max-age=9", "age": "10"}, good).keep_s == 0


def test_a_secret_key_isnt_told_on() -> None:
    secret = {**VALUE, "index": 2, "type": "HS_SECKEY"}
    assert [each.type for each in read_answer(P1, 200, JSON, body(VALUE, secret)).values] == ["URL"]


# The wire protocol


def packed(index: int, kind: str, data: bytes, permissions: int = 0x0E, ttl: int = 60, ttl_kind: int = 0) -> bytes:
    head = number(index) + number(0) + number(ttl_kind, 1) + number(ttl) + number(permissions, 1)
    return head + counted(kind.encode()) + counted(data) + number(0)


def answer(
    *values: bytes, code: int = 1, handle: str = "88.100.1/P1", count: int | None = None, operation: int = 1, flags: int = 0
) -> bytes:
    """A message: header, body, credential."""
    content = counted(handle.encode()) + number(len(values) if count is None else count) + b"".join(values)
    head = number(operation) + number(code) + number(flags) + number(1, 2) + number(0, 2) + number(0)
    return head + number(len(content)) + content + number(0)


def test_an_answer_on_the_wire_is_read_and_what_isnt_public_left_out() -> None:
    told = read_reply(
        P1,
        answer(
            packed(2, "PRICE", b"7", permissions=0x0C),
            packed(1, "URL", b"http://h/1"),
            packed(3, "SEAL", b"\xff\x00"),
            packed(4, "HS_SECKEY", b"k"),
            packed(5, "OLD", b"x", ttl=4_000_000_000, ttl_kind=1),
        ),
    )
    assert told.outcome is Outcome.FOUND
    assert [(each.index, each.data.format, each.data.value, each.ttl_s) for each in told.values] == [
        (1, Format.STRING, "http://h/1", 60),
        (3, Format.BASE64, "/wA=", 60),
        (5, Format.STRING, "x", 0),
    ]


@pytest.mark.parametrize(
    "message",
    [
        answer(packed(1, "URL", b"x"), handle="88.100.1/P2"),
        answer(packed(1, "URL", b"x"), handle="88.100.2/P1"),
        answer(packed(1, "URL", b"x"), packed(1, "URL", b"y")),
        answer(packed(0, "URL", b"x")),
        answer(packed(1, "URL", b"x"), count=2),
        answer(packed(1, "URL", b"x"), count=0),
        answer(count=2_000_000),
        answer(operation=2),
        answer(code=0),
        answer(code=301),
        answer(code=302),
        answer(packed(1, "URL", b"x"), flags=0x00800000),
        answer(packed(1, "URL", b"x"))[:-9],
        b"",
    ],
)
def test_what_isnt_an_answer_on_the_wire_is_wrong(message: bytes) -> None:
    assert read_reply(P1, message).outcome is Outcome.WRONG


@given(st.binary(max_size=300), st.integers(0, 200))
def test_nothing_that_a_node_sends_is_more_than_wrong(noise: bytes, at: int) -> None:
    whole = answer(packed(1, "URL", b"http://h/1"), packed(2, "HS_ADMIN", b"\x0f\xf2" + counted(b"0.NA/88.100.1") + number(300)))
    assert read_reply(P1, whole[:at] + noise + whole[at + len(noise) :]).outcome in Outcome
    text = body(VALUE)
    assert outcome(text[:at] + noise + text[at + len(noise) :]) in Outcome


# On sockets


@contextlib.asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[str]:
    """A server of the test's; yields its address and port."""
    writers: list[asyncio.StreamWriter] = []
    talks: list[asyncio.Task[None]] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers.append(writer)
        talks.append(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        if talks:
            await asyncio.wait(talks)


def delegate(place: str, scheme: str = "http") -> Delegate:
    return Delegate("88.100.1", 1, Mode.PROXY, f"{scheme}://{place}", 60)


async def web(place: str, allowed: tuple[str, ...] = ("127.0.0.1",), recursion: Recursion = FIRST) -> Outcome:
    asker = WebAsker(allowed, "mumian-test", trust=TRUST)
    try:
        return (await asker.ask(delegate(place), P1, recursion)).outcome
    finally:
        await asker.close()


def saying(head: bytes, content: bytes = b"", heard: list[bytes] | None = None) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if heard is not None:
                heard.append(request)
            writer.write(head + content)
            await writer.drain()

    return talk


def http(status: bytes, content: bytes, *fields: bytes) -> bytes:
    lines = (b"HTTP/1.1 " + status, b"content-type: application/json", b"content-length: %d" % len(content), *fields)
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


async def test_the_question_says_how_far_it_has_come_and_bears_no_token() -> None:
    heard: list[bytes] = []
    async with serving(saying(http(b"200 OK", body(VALUE)), heard=heard)) as place:
        asker = WebAsker(("127.0.0.1",), "mumian-test", trust=TRUST)
        odd = parse_identifier("88.100.1/a/../b c?")
        told = await asker.ask(delegate(place), odd, Recursion(3, "mumian-x; hops=3"))
        assert told.outcome is Outcome.WRONG, "it is about P1"
        assert (await asker.ask(delegate(place), P1, FIRST)).outcome is Outcome.FOUND
        await asker.close()
    first = heard[0].decode().lower()
    assert first.startswith("get /api/handles/88.100.1/a%2f..%2fb%20c%3f?publiconly=true http/1.1")
    assert "\r\ncdn-loop: mumian-x; hops=3, mumian-test; hops=4\r\n" in first
    assert f"\r\nhost: {place}\r\n" in first
    assert "authorization" not in first
    assert "accept-encoding: identity" in first


async def test_a_redirect_isnt_followed() -> None:
    heard: list[bytes] = []
    async with serving(saying(http(b"200 OK", body(VALUE)), heard=heard)) as other:
        location = f"location: http://{other}/api/handles/88.100.1/P1".encode()
        async with serving(saying(http(b"302 Found", b"", location))) as place:
            assert await web(place) is Outcome.WRONG
    assert not heard


async def test_an_answer_without_an_end_is_cut_off() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            sent.append(65_536)
            await writer.drain()

    sent: list[int] = []
    async with serving(talk) as place:
        assert await web(place) is Outcome.WRONG
    assert sum(sent) < MOST_READ + (16 << 20), "what the sockets hold beside"


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nx"])
async def test_a_server_that_speaks_something_else_is_silent(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async with serving(talk) as place:
        assert await web(place) is Outcome.SILENT


async def test_a_name_that_leads_to_our_own_house_is_barred() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["192.0.2.1", "127.0.0.1"]

    asker = WebAsker((), "mumian-test", lookup, TRUST)
    assert (await asker.ask(Delegate("88.100.1", 1, Mode.PROXY, "https://n.example", 60), P1, FIRST)).outcome is Outcome.BARRED
    assert await web("127.0.0.1:1", ()) is Outcome.BARRED
    assert (await WireAsker(()).ask(delegate("127.0.0.1:1", "handle"), P1, FIRST)).outcome is Outcome.BARRED


async def test_nobody_there_is_silence() -> None:
    async with serving(saying(b"")) as place:
        pass
    assert await web(place) is Outcome.SILENT
    assert (await WireAsker(("127.0.0.1",)).ask(delegate(place, "handle"), P1, FIRST)).outcome is Outcome.SILENT


def on_wire(message: bytes, request: bytes, length: int | None = None, request_id: bytes | None = None) -> bytes:
    """An envelope for a message, of the request that came."""
    head = bytes([2, 11, 2, 11]) + bytes(4) + (request[8:12] if request_id is None else request_id) + bytes(4)
    return head + number(len(message) if length is None else length) + message


def wired(reply: Callable[[bytes], bytes], met: list[int], *, closes: bool = False) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(0)
        while True:
            head = await reader.readexactly(20)
            request = head + await reader.readexactly(int.from_bytes(head[16:], "big"))
            met[-1] += 1
            writer.write(reply(request))
            await writer.drain()
            if closes:
                writer.close()
                return

    return talk


GOOD = answer(packed(1, "URL", b"http://h/1"))


async def test_a_connection_is_kept_where_the_node_leaves_it_open() -> None:
    met: list[int] = []
    async with serving(wired(lambda request: on_wire(GOOD, request), met)) as place:
        asker = WireAsker(("127.0.0.1",))
        for _ in range(3):
            assert (await asker.ask(delegate(place, "handle"), P1, FIRST)).outcome is Outcome.FOUND
        await asker.close()
    assert met == [3]


async def test_a_node_that_closes_after_each_answer_is_met_anew() -> None:
    met: list[int] = []
    async with serving(wired(lambda request: on_wire(GOOD, request), met, closes=True)) as place:
        asker = WireAsker(("127.0.0.1",))
        for _ in range(3):
            assert (await asker.ask(delegate(place, "handle"), P1, FIRST)).outcome is Outcome.FOUND
        await asker.close()
    assert met == [1, 1, 1]


@pytest.mark.parametrize(
    "reply",
    [
        lambda request: on_wire(GOOD, request, request_id=b"abcd"),
        lambda request: on_wire(GOOD, request, length=262_145),
        lambda request: on_wire(GOOD, request, length=len(GOOD) - 1),
        lambda request: request,
    ],
    ids=["another-request", "too-long", "too-short", "the-request"],
)
async def test_an_answer_that_isnt_the_requests_is_wrong(reply: Callable[[bytes], bytes]) -> None:
    async with serving(wired(reply, [])) as place:
        asker = WireAsker(("127.0.0.1",))
        assert (await asker.ask(delegate(place, "handle"), P1, FIRST)).outcome is Outcome.WRONG
        await asker.close()


async def test_a_connection_on_which_something_else_came_is_given_up() -> None:
    met: list[int] = []
    async with serving(wired(lambda request: on_wire(GOOD, request, request_id=b"abcd"), met)) as place:
        asker = WireAsker(("127.0.0.1",))
        for _ in range(2):
            assert (await asker.ask(delegate(place, "handle"), P1, FIRST)).outcome is Outcome.WRONG
    assert met == [1, 1]


def test_the_question_on_the_wire_is_the_golden_one() -> None:
    asked = request_of(parse_identifier("88.100.1/ABC"), Recursion(2), 0x11223344)
    assert (
        asked.hex()
        == (
            "020b020b00000000112233440000000000000034"  # envelope
            "00000001000000001300000000000300000000000000001800"[:-2]  # header: KPAL, PUBL, RECU; three hops
            + "0000000c"
            + b"88.100.1/ABC".hex()
            + "0000000000000000"
            + "00000000"
        )
    )
