"""What the hot route keeps, what it forgets, and what a client can't do to others."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest

from idnode.enterprise import Enterprise
from idnode.store.base import StoreFailed
from idnode.store.remembering import Remembering
from idnode.web.answers import Answer
from idnode.web.app import make_app
from idnode.web.hot import Hot
from idnode.web.hot_cache import AnswerCache, Kept
from idnode.web.hot_protocol import MOST_HEAD_BYTES, MOST_IN_A_TURN
from idnode.web.manner import LONGEST_BLOCK, MOST_BLOCKS, Manners, manner_of

from .conftest import House
from .wire import Client

GET = b"GET /api/handles/88.100.1/P1 HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def client(house: House) -> Client:
    for handle, by in (("88.100.1/P1", "registrar"), ("88.100.2/S", "forge_registrar")):
        values = [{"index": 3, "type": "DESC", "data": "first"}]
        assert (await house.post("/v1/identifiers", by, {"handle": handle, "values": values})).status_code == 201
    return Client(house, 1 << 20)


async def ask(client: Client, request: bytes = GET) -> bytes:
    return bytes((await client.send([request])).output)


class TestCache:
    @staticmethod
    def kept(key: str, size: int = 1000) -> Kept:
        return Kept(Answer(HTTPStatus.OK, b"x" * size, b"text/plain", key=key))

    def test_it_keeps_within_its_bytes_what_is_asked_for(self) -> None:
        cache: AnswerCache[Kept] = AnswerCache(200_000)
        cache.keep(0, b"/often", self.kept("often"))
        for number in range(2000):
            cache.keep(0, b"/%d" % number, self.kept(str(number)))
            assert cache.bytes <= 200_000 + 3000
            assert cache.find(0, b"/often") is not None
        assert cache.find(0, b"/0") is None
        assert cache.find(0, b"/1999") is not None

    def test_what_changed_is_forgotten_for_every_kind_of_client_and_target(self) -> None:
        cache: AnswerCache[Kept] = AnswerCache(100_000)
        for variant in range(4):
            cache.keep(variant, b"/P1", self.kept("P1"))
            cache.keep(variant, b"/P1?pretty", self.kept("P1"))
            cache.keep(variant, b"/P2", self.kept("P2"))
        cache.forget(["P1", "P3"])
        assert [cache.find(v, t) is None for v in range(4) for t in (b"/P1", b"/P1?pretty")] == [True] * 8
        assert all(cache.find(v, b"/P2") for v in range(4))
        cache.forget(None)
        assert len(cache) == cache.bytes == 0

    def test_what_moved_to_the_young_generation_is_forgotten_too(self) -> None:
        cache: AnswerCache[Kept] = AnswerCache(10_000)
        cache.keep(0, b"/P1", self.kept("P1"))
        for number in range(3):
            cache.keep(0, b"/%d" % number, self.kept(str(number)))
        assert cache.find(0, b"/P1") is not None
        cache.forget(["P1"])
        assert cache.find(0, b"/P1") is None

    def test_what_hangs_on_several_is_forgotten_with_each(self) -> None:
        for changed in ("item", "lot", "product"):
            cache: AnswerCache[Kept] = AnswerCache(100_000)
            answer = Answer(HTTPStatus.TEMPORARY_REDIRECT, b"", b"", key="item", also=("lot", "product"))
            cache.keep(0, b"/item", Kept(answer))
            cache.keep(0, b"/lot", self.kept("lot"))
            cache.forget([changed])
            assert cache.find(0, b"/item") is None
            assert (cache.find(0, b"/lot") is None) is (changed == "lot")

    def test_an_answer_larger_than_the_room_is_not_kept(self) -> None:
        cache: AnswerCache[Kept] = AnswerCache(10_000)
        cache.keep(0, b"/large", self.kept("large", 50_000))
        assert len(cache) == 0


class TestManners:
    def test_they_are_bounded_and_tokens_are_not_among_them(self) -> None:
        manners = Manners()
        learned = manners.learn(b"Authorization: Bearer secret\r\n\r\n")
        assert learned is not None
        assert learned.manner.authorization == "Bearer secret"
        for number in range(MOST_BLOCKS * 2):
            manners.learn(b"X: %d\r\n\r\n" % number)
        assert len(manners) <= MOST_BLOCKS
        known = len(manners)
        assert manners.learn(b"X: %s\r\n\r\n" % (b"y" * LONGEST_BLOCK)) is None
        assert len(manners) == known  # bounded in bytes, too
        assert "secret" not in repr(manners.__dict__)


async def test_a_change_is_seen_by_the_next_who_asks(client: Client, house: House) -> None:
    assert b'"first"' in await ask(client)
    for text in ("second", "third"):
        order = {"values": [{"index": 3, "type": "DESC", "data": text}]}
        answer = await house.client.put("/v1/identifiers/88.100.1/P1", json=order, headers=house.bearer("registrar"))
        assert answer.status_code == 200
        assert f'"{text}"'.encode() in await ask(client)
    assert b" 404 " in await ask(client, GET.replace(b"P1", b"P2"))
    made = await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/P2", "values": []})
    assert made.status_code == 201
    assert b" 200 " in await ask(client, GET.replace(b"P1", b"P2"))


async def test_a_redirect_is_kept_for_each_wish_until_any_level_changes(client: Client, house: House) -> None:
    def pip(where: str) -> list[dict[str, object]]:
        return [
            {"relation": "gs1:pip", "href": f"https://example.cn/{where}/{each}", "title": "t", "languages": [each]}
            for each in ("zh", "en", "fr")
        ]

    async def led(language: str) -> bytes:
        request = f"GET /01/09506000134352/10/L/21/S?linkType=gs1:pip HTTP/1.1\r\nAccept-Language: {language}\r\n\r\n"
        answer = await ask(client, request.encode())
        assert answer.startswith(b"HTTP/1.1 307 ")
        return answer.split(b"location: ")[1].partition(b"?")[0]

    assert (await house.post("/v1/enterprises/pumpworks/prefixes", "admin", {"prefix": "gs1:9506000"})).status_code == 201
    for path, where in (
        ("01/09506000134352", "product"),
        ("01/09506000134352/10/L", "lot"),
        ("01/09506000134352/10/L/21/S", "item"),
    ):
        order = {"handle": f"gs1:{path}", "values": [], "typed_links": pip(where)}
        assert (await house.post("/v1/identifiers", "registrar", order)).status_code == 201
        for _ in range(2):
            for language in ("zh", "en", "fr", "en-GB"):
                assert await led(language) == f"https://example.cn/{where}/{language[:2]}".encode()
    assert client.hot is not None
    assert client.hot.cache.hits == 12


async def test_who_owns_a_prefix_and_that_nobody_does_is_looked_up_once_until_it_changes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    store, look_up = house.node.store, house.node.store.enterprise_of
    owners = Remembering(store)

    async def enterprise_of(prefix: str) -> Enterprise | None:
        asked.append(prefix)
        return await look_up(prefix)

    monkeypatch.setattr(store, "enterprise_of", enterprise_of)

    async def ids() -> list[str | None]:
        found = [await owners.enterprise_of(prefix) for prefix in ("88.100.1", "gs1:9506000")]
        return [None if each is None else each.id for each in found]

    assert await ids() == await ids() == ["pumpworks", None]
    assert asked == ["88.100.1", "gs1:9506000"]
    assert (await house.post("/v1/enterprises/forge/prefixes", "admin", {"prefix": "gs1:9506000"})).status_code == 201
    assert await ids() == await ids() == ["pumpworks", "forge"]
    assert len(asked) == 4


@pytest.mark.usefixtures("client")
async def test_uvicorns_way_too_looks_up_an_owner_once_until_it_changes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a node over PostgreSQL answer what has to be waited for."""
    asked: list[str] = []
    store, look_up = house.node.store, house.node.store.enterprise_of

    async def enterprise_of(prefix: str) -> Enterprise | None:
        asked.append(prefix)
        await asyncio.sleep(0)
        return await look_up(prefix)

    monkeypatch.setattr(store, "enterprise_of", enterprise_of)
    front = make_app(house.node)
    front.keeper = Hot(front, store, house.node.panel, 0, in_place=False)

    async def status() -> int:
        return int((await front._answer(b"/88.100.1/P1", b"", manner_of(()))).status)

    assert [await status() for _ in range(3)] == [200] * 3
    assert asked == ["88.100.1"]
    assert (await house.post("/v1/enterprises/pumpworks/suspend", "admin", {"reason": "unpaid"})).is_success
    assert [await status() for _ in range(2)] == [403] * 2
    assert asked == ["88.100.1"] * 2


async def test_only_what_everybody_gets_is_kept(client: Client, house: House) -> None:
    assert client.hot is not None
    for name in ("reader", "forge_reader", "admin"):
        await ask(client, GET.replace(b"Host: x", f"Authorization: Bearer {house.tokens[name]}".encode()))
    for target in (b"88.100.2/S", b"88.100.2/none", b"88.555/none", b"%00"):
        await ask(client, GET.replace(b"88.100.1/P1", target))
    assert len(client.hot.cache) == 0
    await ask(client)
    assert len(client.hot.cache) == 1


async def test_a_store_that_cannot_tell_what_changed_is_no_source_of_kept_answers(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.hot is not None
    await ask(client)

    def fail() -> None:
        raise StoreFailed("disk")

    monkeypatch.setattr(client.hot, "_refresh", fail)
    hits = client.hot.cache.hits
    assert b" 200 " in await ask(client)
    assert client.hot.cache.hits == hits


async def test_a_mistake_of_the_node_is_answered_500_and_the_next_request_is_answered(
    client: Client, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(type(house.node.store), "_read", fail)
        assert b" 500 " in await ask(client)
    assert b" 200 " in await ask(client)


class TestFlood:
    async def test_a_client_that_does_not_read_costs_no_more_than_its_transport_takes(self, client: Client) -> None:
        one = len(await ask(client))
        wire = client.connect(drained=False, room=20_000)
        wire.protocol.data_received(GET * 3000)
        await client.settle(wire)
        rounds = 0
        while len(wire.output) < 3000 * one:
            assert wire.most_unsent <= 20_000 + one
            assert not wire.reading
            wire.take()
            await client.settle(wire)
            rounds += 1
            assert rounds < 3000
        assert wire.output.count(b"HTTP/1.1 200 OK") == 3000
        assert wire.reading
        client.leave(wire)

    async def test_requests_that_are_sent_ahead_wait_outside_of_the_server(self, client: Client) -> None:
        wire, most = client.connect(), 0
        count = 3000
        wire.protocol.data_received(GET[:10])
        wire.protocol.data_received((GET * count)[10:])
        for _ in range(100_000):
            most = max(most, len(wire.protocol.pipeline))
            if not client.state.tasks and wire.protocol._held is None:
                break
            await asyncio.sleep(0)
        assert wire.output.count(b"HTTP/1.1 200 OK") == count
        assert most < 100
        assert wire.reading
        client.leave(wire)

    async def test_others_have_their_turn_between(self, client: Client) -> None:
        flood, other = client.connect(), client.connect()
        one = len(await ask(client))
        flood.protocol.data_received(GET * 5000)
        assert len(flood.output) == MOST_IN_A_TURN * one
        other.protocol.data_received(GET)
        await asyncio.sleep(0)
        assert len(other.output) == one
        await client.settle(flood)
        assert len(flood.output) == 5000 * one
        for wire in (flood, other):
            client.leave(wire)

    async def test_what_came_before_the_end_is_answered_when_the_node_stops(self, client: Client) -> None:
        wire = client.connect()
        wire.protocol.data_received(GET * 500)
        wire.protocol.shutdown()
        await client.settle(wire)
        assert wire.output.count(b"HTTP/1.1 200 OK") == 500
        assert wire.closed
        client.leave(wire)

    async def test_a_client_that_leaves_in_the_middle_is_forgotten(self, client: Client) -> None:
        wire = client.connect(drained=False, room=1000)
        wire.protocol.data_received(GET * 500)
        client.leave(wire)
        await client.settle(wire)
        assert not client.state.connections
        assert len(wire.output) < 10_000


class TestLimits:
    @pytest.mark.parametrize("size", [MOST_HEAD_BYTES + 5000, 10 * MOST_HEAD_BYTES])
    @pytest.mark.parametrize("piece", [1 << 30, 4096])
    async def test_a_head_is_bounded(self, client: Client, size: int, piece: int) -> None:
        for form in (
            b"GET /healthz HTTP/1.1\r\nX: %s\r\n\r\n",
            b"GET /88.100.1/%s HTTP/1.1\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nX%s",
        ):
            request = form % (b"y" * size)
            wire = await client.send(request[start : start + piece] for start in range(0, len(request), min(piece, len(request))))
            whole_and_endless = piece > size and form.endswith(b"X%s")
            assert wire.output.startswith(b"HTTP/1.1 431 ") or whole_and_endless

    async def test_many_small_fields_are_bounded_too(self, client: Client) -> None:
        wire = await client.send([b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n"])
        assert wire.output.startswith(b"HTTP/1.1 431 ")

    async def test_one_connection_more_than_allowed_is_refused(self, house: House) -> None:
        client = Client(house, 0, most=2)
        wires = [client.connect() for _ in range(3)]
        assert [wire.closed for wire in wires] == [False, False, True]
        assert wires[2].output.startswith(b"HTTP/1.1 503 ")
        for wire in wires:
            client.leave(wire)

    async def test_a_head_that_does_not_come_to_its_end_is_not_waited_for(self, client: Client) -> None:
        client.crowd.look(client.state.connections, 100)
        wire = client.connect()
        for second in range(101, 111):
            wire.protocol.data_received(b"GET /" if second == 101 else b"a")
            client.crowd.look(client.state.connections, second)
            assert not wire.closed
        client.crowd.look(client.state.connections, 112)
        assert wire.closed
        assert wire.output.startswith(b"HTTP/1.1 408 ")
        client.leave(wire)

    async def test_an_idle_connection_is_closed_and_a_busy_one_is_not(self, client: Client) -> None:
        client.crowd.look(client.state.connections, 100)
        idle, busy = client.connect(), client.connect()
        for second in range(101, 141):
            busy.protocol.data_received(GET)
            client.crowd.look(client.state.connections, second)
            assert idle.closed == (second > 130)
            assert not busy.closed
        client.leave(idle)
        client.leave(busy)

    async def test_a_client_that_takes_nothing_is_cut_off(self, client: Client) -> None:
        client.crowd.look(client.state.connections, 100)
        wire = client.connect(drained=False, room=100)
        wire.protocol.data_received(GET * 10)
        await asyncio.sleep(0)
        seen = []
        for second in (129, 131):
            client.crowd.look(client.state.connections, second)
            seen.append(wire.closed)
        assert seen == [False, True]
        client.leave(wire)
