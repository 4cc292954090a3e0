"""What the Handle wire protocol is answered, over TCP and UDP without a network; the judge is wire_client."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from idnode.access import ANYBODY
from idnode.handle.datagrams import MOST_PARTIAL, MOST_PARTIAL_BYTES, MOST_PARTIAL_OF_ONE, PATIENCE_S
from idnode.handle.site import pack_site, site_json
from idnode.handle.streams import MOST_IN_A_TURN
from idnode.handle.values import data_bytes
from idnode.identifier import parse_identifier
from idnode.operations.limits import Limits
from idnode.record import Change, Data, Format, HandleValue, State, text_value
from idnode.resolver import Home, Resolver
from idnode.store.base import StoreAway
from idnode.web.app import make_app

from .line import SITE, VALUES, Line
from .town import START_MS, Town, founded
from .wire_client import CERT, GET_SITE_INFO, KPAL, PUBL, RRDG, Request, asking, counted, join, read_replies

SECRET = HandleValue(5, "PRICE", Data(Format.STRING, "7"), permissions=0b1100)
SEALED = HandleValue(6, "SEAL", Data(Format.STRING, "x"), permissions=0)
ASK = Request(asking("88.100.1/P1"))


HOST = ("192.0.2.1", 999)


@contextlib.asynccontextmanager
async def at_home() -> AsyncIterator[Line]:
    """A node that tells where its prefixes live."""
    async with founded() as town:
        home = Home("88.100", HandleValue(1, "HS_SITE", Data(Format.SITE, site_json(SITE))))
        node = dataclasses.replace(town.node, resolver=Resolver(town.node.store, "http://h", home))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(node)), base_url="http://h") as client:
            yield Line(Town(client, node, town.clock))


@pytest.fixture
async def town() -> Any:
    async with founded() as made:
        yield made


@pytest.fixture(params=[True, False], ids=["in-place", "waiting"])
async def line(town: Town, request: pytest.FixtureRequest) -> Line:
    made = Line(town, in_place=request.param)
    await made.register("P1")
    return made


async def test_an_identifier_resolves(line: Line) -> None:
    reply = await line.one(ASK)
    assert [(value.index, value.type, value.data) for value in reply.values()] == [
        (1, "URL", b"http://h/1"),
        (2, "HS_TEST.A", "泵".encode()),
        (3, "HS_TEST", b"b"),
    ]
    assert {(value.ttl, value.permissions, value.timestamp) for value in reply.values()} == {(86_400, 0x0E, START_MS // 1000)}
    assert (reply.operation, reply.code, reply.request_id, reply.session) == (1, 1, 0x11223344, 0)
    assert (reply.version, reply.suggested, reply.serial) == ((2, 11), (2, 11), 7)
    assert reply.expiration == START_MS // 1000 + 43_200
    assert reply.handle() == b"88.100.1/P1"


async def test_udp_says_the_same(line: Line) -> None:
    reply = await line.one(ASK)
    for _ in range(2):
        assert join(await line.throw([ASK.packed()])) == reply


@pytest.mark.parametrize(
    ("indexes", "types", "found"),
    [
        ((), (), [1, 2, 3]),
        ((2,), (), [2]),
        ((2, 77), ("HS_TEST",), [2, 3]),
        ((), ("HS_TEST.",), [2]),
        ((), ("HS_",), []),
        ((2**32 - 1,), (), []),
        ((), ("URL", "HS_TEST."), [1, 2]),
    ],
)
async def test_indexes_and_types_choose(line: Line, indexes: Sequence[int], types: Sequence[str], found: list[int]) -> None:
    for _ in range(2):
        reply = await line.one(Request(asking("88.100.1/P1", indexes, types)))
        assert reply.code == (1 if found else 200)
        assert not found or [value.index for value in reply.values()] == found


async def test_thousands_of_indexes_and_types_choose_as_few_do(line: Line) -> None:
    """By look-ups: 60,000 indexes and 2,048 stems against 2,048 values would be seconds of comparisons."""
    values = [text_value(number, f"T{number}.X", "") for number in range(1, 2049)]
    await line.register("W", *values)
    stems = [f"T{number}." for number in range(1, 2049, 2)]
    few = await line.one(Request(asking("88.100.1/W", range(2048, 60_000), stems)))
    assert [value.index for value in few.values()] == [1, *range(3, 2048, 2), 2048]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (asking("88.100.1/none"), 100),
        (asking("88.100.1/p1"), 100),
        (asking("88.999/P1"), 100),
        (asking("no handle"), 102),
        (asking(b"88.100.1/\xff"), 102),
        (asking("88.100.1/" + "x" * 2048), 102),
        (asking("88.100.1/P1") + b"x", 4),
        (b"", 4),
    ],
)
async def test_what_cannot_be_told_has_a_code_and_a_reason(line: Line, body: bytes, code: int) -> None:
    reply = await line.one(Request(body))
    assert reply.code == code
    assert reply.text() or code == 100


async def test_states_are_told_as_handle_json_tells_them(line: Line) -> None:
    store, identifier = line.town.node.store, parse_identifier("88.100.1/P1")
    await line.register("R", state=State.RESERVED)
    assert (await line.one(Request(asking("88.100.1/R")))).code == 100
    for state in (State.SUSPENDED, State.RETIRED):
        assert (await line.one(ASK)).code == (1 if state is State.SUSPENDED else 200)
        await store.change(identifier, Change(state=state, reason="why"), "admin", START_MS)
        assert (await line.one(ASK)).code == 200
    response = await line.town.ask("GET", "/api/handles/88.100.1/P1", who="")
    assert response.json()["responseCode"] == 200


async def test_a_suspended_enterprise_answers_301_with_its_notice_and_a_restricted_one_402(line: Line) -> None:
    await line.register("F", prefix="88.100.2")
    asked = Request(asking("88.100.2/F"))
    assert (await line.one(asked)).code == 1
    done = await line.town.ask("POST", "/v1/enterprises/forge/suspend", content={"reason": "unpaid"})
    assert done.status_code == 200
    barred = await line.one(asked)
    assert barred.code == 301
    assert "unpaid" in barred.text()
    assert (await line.town.ask("POST", "/v1/enterprises/forge/resume", content={"reason": "paid"})).status_code == 200
    assert (await line.town.ask("PATCH", "/v1/enterprises/forge", content={"public": False})).status_code == 200
    assert (await line.one(asked)).code == 402


async def test_values_that_not_everyone_may_read(line: Line) -> None:
    await line.register("S", *VALUES, SECRET, SEALED)
    name = "88.100.1/S"
    public = await line.one(Request(asking(name)))
    assert [value.index for value in public.values()] == [1, 2, 3]
    assert (await line.one(Request(asking(name, [5])))).code == 200
    needed = await line.one(Request(asking(name), flags=0))
    assert needed.code == 402
    assert needed.session
    assert needed.proves(Request(asking(name), flags=0))
    assert len(needed.body) == 20
    assert (await line.one(Request(asking(name, [5]), flags=0))).body != needed.body
    assert [value.index for value in (await line.one(Request(asking(name, [1, 6]), flags=0))).values()] == [1]
    assert (await line.one(Request(asking(name, [6]), flags=0))).code == 401
    assert [value.index for value in (await line.one(Request(asking("88.100.1/P1"), flags=0))).values()] == [1, 2, 3]


@pytest.mark.parametrize(("version", "kind"), [((2, 11), 3), ((2, 7), 3), ((2, 6), 2), ((2, 1), 2)])
async def test_a_digest_of_the_request_stands_before_the_body(line: Line, version: tuple[int, int], kind: int) -> None:
    for body in (asking("88.100.1/P1"), asking("88.100.1/none")):
        request = Request(body, flags=RRDG | PUBL | CERT, version=version, suggested=version)
        for _ in range(2):
            reply = await line.one(request)
            assert reply.digest is not None
            assert reply.digest[0] == kind
            assert reply.proves(request)
            assert reply.flags == RRDG
            assert reply.version == version
            assert reply.code == 100 or len(reply.values()) == 3


async def test_other_operations_are_refused_by_name(line: Line) -> None:
    for operation, code in ((0, 4), (300, 5), (301, 5), (1003, 5), (2001, 5), (2**32 - 1, 5)):
        reply = await line.one(Request(counted(b"88.100.1/P1"), operation))
        assert (reply.code, reply.operation) == (code, operation)
    assert (await line.one(Request(ASK.body, envelope_flags=0x80))).code == 5
    assert (await line.one(Request(ASK.body, envelope_flags=0x40))).code == 500


async def test_recursion_has_an_end(line: Line) -> None:
    assert (await line.one(Request(ASK.body, recursion=10))).code == 1
    assert (await line.one(Request(ASK.body, recursion=11))).code == 6


async def test_site_info_is_told(line: Line) -> None:
    reply = await line.one(Request(counted(b"/"), GET_SITE_INFO))
    assert (reply.code, reply.body) == (1, pack_site(SITE))


async def test_requests_of_one_connection_are_told_apart_by_their_id(line: Line) -> None:
    count = 5 * MOST_IN_A_TURN + 3
    suffixes = ["P1", "none"]
    requests = [
        Request(asking(f"88.100.1/{suffixes[number % 2]}"), request_id=number, flags=PUBL | KPAL) for number in range(count)
    ]
    replies = await line.ask(*requests)
    assert {reply.request_id: reply.code for reply in replies} == {number: 100 if number % 2 else 1 for number in range(count)}
    assert len(replies) == count
    assert all(reply.flags == KPAL for reply in replies)


async def test_a_change_is_told_at_once(line: Line) -> None:
    first = await line.one(ASK)
    assert (await line.one(ASK)).values() == first.values()
    change = Change(values=(text_value(1, "URL", "http://h/2"),))
    await line.town.node.store.change(parse_identifier("88.100.1/P1"), change, "admin", START_MS + 5)
    assert [value.data for value in (await line.one(ASK)).values()] == [b"http://h/2"]
    asked = Request(asking("88.100.1/new"))
    assert (await line.one(asked)).code == 100
    await line.register("new")
    assert (await line.one(asked)).code == 1


async def test_answers_are_kept_and_counted(line: Line) -> None:
    for _ in range(3):
        await line.ask(ASK, ASK)
    assert len(line.desk.cache) == 1
    assert line.desk.cache.hits >= 4
    counts = {key: count[0] for key, count in line.town.node.meter.answers.items()}
    assert counts == {("wire", "88.100.1", 200): 6}


async def test_values_too_long_for_a_message_are_an_error(line: Line) -> None:
    await line.register("L", *(text_value(number, "X", "y" * 60_000) for number in range(1, 6)))
    assert (await line.one(Request(asking("88.100.1/L")))).code == 2
    assert len((await line.one(Request(asking("88.100.1/L", [1, 2, 3, 4])))).values()) == 4


async def test_a_storage_that_is_away_is_told(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise StoreAway("no way there")

    monkeypatch.setattr(line.desk._resolver, "resolve", away)
    assert (await line.one(ASK)).code == 3
    assert len(line.desk.cache) == 0


async def test_who_asks_too_often_is_told_so(town: Town) -> None:
    town.node.panel.limits = Limits(0.001, None, 2000.0)
    line = Line(town)
    await line.register("P1")
    assert [reply.code for reply in await line.ask(ASK, ASK, ASK)] == [1, 1, 3]
    town.node.panel.limits = Limits(None, 0.001, 2000.0)
    line = Line(town)
    assert [reply.code for reply in await line.ask(ASK, ASK, ASK, Request(asking("88.9/X")))] == [1, 1, 3, 100]
    busy = await line.throw([ASK.packed()])
    assert [join([each]).code for each in busy] == [3]
    town.node.panel.limits = Limits(0.001, None, 500.0)
    line = Line(town)
    assert [join([each]).code for each in await line.throw([ASK.packed(), *busy, ASK.packed(), *busy])] == [1, 3]


async def test_bytes_may_come_one_by_one(line: Line) -> None:
    wire = line.connect()
    for byte in ASK.packed() * 2:
        wire.protocol.data_received(bytes([byte]))
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(read_replies(bytes(wire.output))) == 2
    assert line.hall.held_bytes == 0
    wire.protocol.connection_lost(None)


async def test_a_message_that_is_too_long_ends_the_connection(line: Line) -> None:
    wire = line.connect()
    wire.protocol.data_received(ASK.packed()[:16] + (262_145).to_bytes(4, "big") + b"x")
    (reply,) = read_replies(bytes(wire.output))
    assert (reply.code, reply.request_id) == (4, 0x11223344)
    assert wire.closed


async def test_one_connection_too_many_is_told_so(line: Line) -> None:
    wires = [line.connect() for _ in range(6)]
    assert [wire.closed for wire in wires] == [False] * 5 + [True]
    assert [reply.code for reply in read_replies(bytes(wires[-1].output))] == [3]


async def test_a_client_that_takes_no_answers_is_read_no_further_and_cut_off(town: Town) -> None:
    line = Line(town)
    await line.register("P1", text_value(1, "X", "y" * 60_000))
    wire = line.connect(drained=False)
    wire.protocol.data_received(ASK.packed() * 1000)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not wire.reading
    assert wire.most_unsent < 400_000
    line.hall.look(29.0)
    assert not wire.closed
    wire.take()
    for _ in range(100):
        await asyncio.sleep(0)
    assert wire.most_unsent < 400_000
    line.hall.look(60.0)
    assert wire.closed


async def test_idle_connections_are_closed_late_and_halting_ones_soon(town: Town) -> None:
    line = Line(town)
    idle, halting = line.connect(), line.connect()
    halting.protocol.data_received(ASK.packed()[:-1])
    line.hall.look(10.5)
    assert (idle.closed, halting.closed) == (False, True)
    line.hall.look(300.5)
    assert idle.closed


async def test_a_client_that_is_done_sending_gets_its_answers(line: Line) -> None:
    wire = line.connect()
    wire.protocol.data_received(ASK.packed())
    kept_open = wire.protocol.eof_received()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(read_replies(bytes(wire.output))) == 1
    assert wire.closed or not kept_open


async def test_a_node_that_leaves_answers_what_it_has(line: Line) -> None:
    busy, idle = line.connect(), line.connect()
    busy.protocol.data_received(ASK.packed())
    line.hall.leave()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(read_replies(bytes(busy.output))) == 1
    assert busy.closed
    assert idle.closed


async def test_a_request_in_parts_is_put_together_in_any_order(line: Line) -> None:
    request = Request(asking("88.100.1/P1", range(1, 400)))
    pieces = request.cut()
    assert len(pieces) > 2
    assert await line.throw(pieces[1:]) == []
    assert [value.index for value in join(await line.throw([pieces[1], pieces[0]])).values()] == [1, 2, 3]
    assert (len(line.datagrams.assembly), line.datagrams.assembly.bytes) == (0, 0)


async def test_parts_that_stay_alone_are_forgotten(line: Line) -> None:
    pieces = Request(asking("88.100.1/P1", range(1, 400))).cut()
    assert await line.throw(pieces[1:]) == []
    assert await line.throw(pieces[:1], at_s=PATIENCE_S) == []
    assert len(line.datagrams.assembly) == 1
    for place in range(2 * MOST_PARTIAL_OF_ONE):
        request = Request(asking("88.100.1/P1", range(1, 400)), request_id=place)
        await line.throw(request.cut()[1:], at_s=PATIENCE_S)
    assert len(line.datagrams.assembly) == MOST_PARTIAL_OF_ONE


async def test_parts_of_many_are_bounded(line: Line) -> None:
    pieces = Request(asking("88.100.1/P1", range(1, 60_000))).cut()
    for host in range(2 * MOST_PARTIAL):
        await line.throw(pieces[1:100], (f"192.0.{host // 256}.{host % 256}", 999))
        assert line.datagrams.assembly.bytes <= MOST_PARTIAL_BYTES
    assert 0 < len(line.datagrams.assembly) <= MOST_PARTIAL


async def test_parts_that_do_not_fit_are_not_taken(line: Line) -> None:
    request = Request(asking("88.100.1/P1", range(1, 400)))
    good = request.cut()[1]
    for bad in (good[:-1], good + b"x", good[:12] + b"\xff" * 4 + good[16:], good[:16] + b"\xff" * 4 + good[20:]):
        assert await line.throw([bad]) == []
    assert len(line.datagrams.assembly) == 0


async def test_an_answer_by_udp_is_never_more_than_its_multiple(line: Line) -> None:
    for count in (1, 10, 18, 19, 20, 25, 100):
        await line.register(
            f"M{count}", *(text_value(number, "X", "y" * 30) for number in range(1, count)), text_value(count, "X", "z")
        )
        request = Request(asking(f"88.100.1/M{count}")).packed()
        datagrams = await line.throw([request])
        assert sum(map(len, datagrams)) <= 20 * len(request)
        reply = join(datagrams)
        assert reply.code == (1 if count < 21 else 3), count
        assert reply.code == 1 or "TCP" in reply.text()


async def test_what_is_no_request_is_answered_once_or_not_at_all(line: Line) -> None:
    assert await line.throw([b"", b"x", ASK.packed()[:19]]) == []
    assert [join([each]).code for each in await line.throw([ASK.packed()[:-1]])] == [4]
    assert [join([each]).code for each in await line.throw([ASK.packed()[:16] + bytes(4)])] == [4]
    answers = await line.throw([ASK.packed()]) + await line.throw([ASK.packed()[:-1]])
    for answer in answers:
        assert await line.throw([answer]) == []
        assert await line.throw([answer[:-1]]) == []


async def test_every_face_says_the_same(line: Line) -> None:
    await line.register("S", *VALUES, SECRET, HandleValue(9, "BIN", Data(Format.HEX, "00ff")))
    resolution = await line.town.node.resolver.resolve(parse_identifier("88.100.1/S"), ANYBODY)
    response = (await line.town.ask("GET", "/api/handles/88.100.1/S", who="")).json()
    told = (await line.one(Request(asking("88.100.1/S")))).values()
    assert [(value.index, value.type, value.ttl) for value in told] == [
        (value["index"], value["type"], value["ttl"]) for value in response["values"]
    ]
    assert [value.data for value in told] == [data_bytes(value.data) for value in resolution.values]


async def test_handles_of_the_nodes_prefixes_say_where_they_live() -> None:
    async with at_home() as line:
        for asked in ("0.NA/88.100", "0.na/88.100", "0.NA/88.100.1", "0.NA/88.100.2"):
            for _ in range(2):
                reply = await line.one(Request(asking(asked, (), ("HS_SITE",))))
                assert reply.handle() == asked.encode()
                assert [(value.type, value.data) for value in reply.values()] == [("HS_SITE", pack_site(SITE))]
        for asked in ("0.NA/88", "0.NA/0.NA", "0.NA/88.100.3", "0.NA/88.101"):
            assert (await line.one(Request(asking(asked)))).code == 100
        assert (await line.one(Request(asking("0.NA/88.100", (), ("HS_ADMIN",))))).code == 200
        made = await line.town.ask("POST", "/v1/enterprises", content={"id": "new", "name": {"zh": "新", "en": "New"}})
        assert made.json()["prefix"] == "88.100.3"
        assert (await line.one(Request(asking("0.NA/88.100.3")))).code == 1


async def test_handles_of_prefixes_are_unknown_where_the_protocol_is_not_spoken(line: Line) -> None:
    assert (await line.one(Request(asking("0.NA/88.100")))).code == 100


async def test_pages_and_json_know_no_handles_of_prefixes() -> None:
    async with at_home() as line:
        for accept in ("text/html", "application/json"):
            for handle in ("0.NA/88.100", "0.NA/88.100.1"):
                response = await line.town.ask("GET", f"/{handle}", who="", Accept=accept)
                assert response.status_code == 404, response.text
        told = (await line.town.ask("GET", "/api/handles/0.NA/88.100", who="")).json()
        assert told["values"][0]["data"]["value"] == site_json(SITE)
