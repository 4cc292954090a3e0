"""A prefix that another node has resolves through this one: two and three nodes on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from idnode.upstream.settings import DelegationSettings

from .nodes import ALLOWED, PATH, Neighbour, neighbour
from .town import ADMIN
from .wire_client import PUBL, Fields, Request, asking, read_site, read_value

RECU, AUTH, DNRF = 0x10000000, 0x80000000, 0x00100000
ASK = Request(asking("88.100.1/P1"))
RECURSIVE = Request(asking("88.100.1/P1"), flags=PUBL | RECU)
HANDLE, PAGE, JSON = "/api/handles/88.100.1/P1", "/88.100.1/P1", {"Accept": "application/json"}
OURS = "/v1/identifiers/88.100.1/P1"
HERE = frozenset({"page", "handle"})


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
async def second(stack: AsyncExitStack) -> Neighbour:
    """It has 88.100.1/P1, with a TTL of 60 s."""
    made = await stack.enter_async_context(neighbour("second"))
    await write(made, "from the second")
    return made


@pytest.fixture
async def first(stack: AsyncExitStack, second: Neighbour) -> Neighbour:
    """It delegates 88.100.1 to the second, which it may refer to."""
    made = await stack.enter_async_context(neighbour("first"))
    await made.delegate(second.url, site=second.handle)
    return made


async def write(node: Neighbour, text: str, ttl: int = 60) -> None:
    values = [
        {"index": 1, "type": "URL", "data": "http://h/1", "ttl": ttl},
        {"index": 2, "type": "DESC", "data": text, "ttl": ttl},
    ]
    path = "/v1/identifiers/88.100.1/P1"
    if (await node.town.ask("PUT", path, ADMIN, {"values": values})).status_code == 404:
        answer = await node.town.ask("POST", "/v1/identifiers", ADMIN, {"handle": "88.100.1/P1", "values": values})
        assert answer.status_code == 201, answer.text


async def desc(node: Neighbour) -> tuple[int, str]:
    answer = await node.get(HANDLE)
    told = answer.json()
    values = {value["type"]: value["data"]["value"] for value in told.get("values", ())}
    return answer.status_code, values.get("DESC", "")


def later(node: Neighbour, seconds: float) -> None:
    node.steady[0] += int(seconds * 1000)


async def asked_on(node: Neighbour) -> int:
    return sum(node.upstream.counts.asked.values())


# Through the first


@pytest.mark.parametrize("wire", [False, True], ids=["by-json", "by-wire"])
async def test_it_resolves_through_the_first_in_every_face(first: Neighbour, second: Neighbour, *, wire: bool) -> None:
    if wire:
        await first.delegate(f"handle://{second.handle}")
    answer = await first.get(HANDLE)
    assert (answer.status_code, answer.json()["handle"], answer.json()["responseCode"]) == (200, "88.100.1/P1", 1)
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["age"] == "0"
    assert answer.json()["values"] == (await second.get(HANDLE)).json()["values"]
    ours = (await first.get(PAGE, **JSON)).json()
    assert ours["delegate"] == {
        "prefix": "88.100.1", "address": f"handle://{second.handle}" if wire else second.url, "age": 0, "stale": False,
    }  # fmt: skip
    assert [value["data"]["value"] for value in ours["values"]] == ["http://h/1", "from the second"]
    assert (await first.get(OURS)).json() == ours
    snms = await first.get("/identityv2/data/detail?handle=88.100.1/P1")
    assert [value["data"]["value"] for value in snms.json()["data"]["value"]] == ["http://h/1", "from the second"]
    assert (snms.headers["cache-control"], snms.headers["age"]) == ("public, max-age=60", "0")
    page = await first.get(PAGE, Accept="text/html")
    assert (page.status_code, "from the second" in page.text, ours["delegate"]["address"] in page.text) == (200, True, True)
    (reply,) = await first.ask(RECURSIVE)
    assert [(each.type, each.data, each.ttl) for each in reply.values()] == [
        ("URL", b"http://h/1", 60),
        ("DESC", b"from the second", 60),
    ]
    assert await asked_on(first) == 1


async def test_who_doesnt_ask_for_recursion_is_referred_to_the_site(first: Neighbour, second: Neighbour) -> None:
    (reply,) = await first.ask(ASK)
    assert (reply.code, reply.handle()) == (302, b"88.100.1/P1")
    fields = Fields(reply.body)
    fields.counted()
    assert fields.number() == 1
    site = read_value(fields)
    fields.end()
    (server,) = read_site(site.data)[1]
    place = f"{'.'.join(map(str, server.address[12:]))}:{server.ports[1]}"
    assert (site.type, place) == ("HS_SITE", second.handle)
    (direct,) = await second.ask(ASK)
    assert direct.values() == (await first.ask(RECURSIVE))[0].values()
    assert (await first.ask(Request(asking("88.100.1/P1"), flags=PUBL | RECU | AUTH)))[0].code == 302
    assert (await first.ask(Request(asking("88.100.1/P1"), flags=PUBL | DNRF)))[0].code == 1


async def test_the_prefix_tells_the_site_of_its_delegate_and_refers_those_below_it(first: Neighbour) -> None:
    (named,) = await first.ask(Request(asking("0.NA/88.100.1")))
    (site,) = named.values()
    assert f"127.0.0.1:{read_site(site.data)[1][0].ports[1]}" == first.handle or site.type == "HS_SITE"
    port = read_site(site.data)[1][0].ports[1]
    told = (await first.get("/api/handles/0.NA/88.100.1")).json()["values"][0]["data"]["value"]
    assert told["servers"][0]["interfaces"][1]["port"] == port
    for handle in ("0.NA/88.100.1.7", "88.100.1.7/X"):
        (below,) = await first.ask(Request(asking(handle)))
        fields = Fields(below.body)
        fields.counted()
        assert (below.code, fields.number(), read_value(fields).type) == (303, 1, "HS_SITE.PREFIX")
    assert (await first.ask(Request(asking("88.100.2.7/X"))))[0].code == 100
    assert (await first.ask(Request(asking("88.100.1.7/X"), flags=PUBL | RECU)))[0].code == 100


async def test_a_delegation_in_mode_referral_is_never_asked_for_others(first: Neighbour, second: Neighbour) -> None:
    await first.delegate(second.url, "referral", site=second.handle)
    for request in (ASK, RECURSIVE):
        assert (await first.ask(request))[0].code == 302
    told = await first.get(f"{HANDLE}?type=DESC")
    assert (told.status_code, told.headers["location"]) == (307, f"{second.url}{HANDLE}?type=DESC")
    assert (told.json()["responseCode"], told.json()["values"][0]["type"]) == (302, "HS_SITE")
    for headers in (JSON, {"Accept": "text/html"}):
        page = await first.get(f"{PAGE}?lang=en", **headers)
        assert (page.status_code, page.headers["location"]) == (307, f"{second.url}{PAGE}?lang=en")
    assert (await first.get(OURS)).headers["location"] == f"{second.url}{PAGE}"
    await first.delegate(f"handle://{second.handle}", "referral")
    told = await first.get(HANDLE)
    assert (told.status_code, told.json()["responseCode"]) == (421, 302)
    assert (await first.get(PAGE, **JSON)).status_code == (await first.get(PAGE, Accept="text/html")).status_code == 421
    assert await asked_on(first) == 0


async def test_a_site_that_isnt_known_cannot_be_referred_to(first: Neighbour) -> None:
    await first.delegate("https://node.example", "referral")
    (reply,) = await first.ask(ASK)
    assert (reply.code, reply.text()) == (301, "it lives at https://node.example")
    assert read_site((await first.ask(Request(asking("0.NA/88.100.1"))))[0].values()[0].data)[1][0].ports == {1: 2641}


async def test_a_digital_link_leads_to_the_resolver_that_handles_it(first: Neighbour, second: Neighbour) -> None:
    granted = await first.town.ask("POST", "/v1/enterprises/pumpworks/prefixes", ADMIN, {"prefix": "gs1:9506000"})
    assert granted.status_code == 201, granted.text
    path = "/v1/prefixes/gs1:9506000/delegation"
    assert (await first.town.ask("PUT", path, ADMIN, {"mode": "proxy", "address": second.url})).status_code == 200
    for query in ("", "?linkType=gs1:pip&x=1", "?linkType=linkset"):
        answer = await first.get(f"/01/09506000134352/21/1{query}")
        assert (answer.status_code, answer.headers["location"]) == (307, f"{second.url}/01/09506000134352/21/1{query}")
        assert f'<{second.url}>; rel="https://ref.gs1.org/voc/handledBy"' in answer.headers["link"]
    order = {"handle": "gs1:01/09506000134352/21/1", "values": [{"index": 1, "type": "DESC", "data": "seal"}]}
    await second.town.ask("POST", "/v1/enterprises/pumpworks/prefixes", ADMIN, {"prefix": "gs1:9506000"})
    assert (await second.town.ask("POST", "/v1/identifiers", ADMIN, order)).status_code == 201
    told = await first.get("/gs1:01/09506000134352/21/1", **JSON)
    assert [value["data"]["value"] for value in told.json()["values"]][-1] == "seal"


# Kept


async def test_it_is_kept_survives_the_seconds_death_and_is_renewed_after_its_return(first: Neighbour, second: Neighbour) -> None:
    places = [int(each.rpartition(":")[2]) for each in (second.url, second.handle)]
    assert await desc(first) == (200, "from the second")
    later(first, 20)
    answer = await first.get(HANDLE)
    assert (answer.headers["age"], answer.headers["cache-control"]) == ("20", "public, max-age=60")
    assert {value["ttl"] for value in answer.json()["values"]} == {40}
    assert await asked_on(first) == 1
    await second.die()
    later(first, 39)
    assert await desc(first) == (200, "from the second")
    assert await asked_on(first) == 1
    later(first, 3600)
    answer = await first.get(PAGE, **JSON)
    assert (answer.status_code, answer.json()["delegate"]["stale"], answer.headers["cache-control"]) == (200, True, "no-cache")
    assert answer.headers["age"] == "3659"
    assert {value["ttl"] for value in answer.json()["values"]} == {30}
    assert "先前的数据" in (await first.get(PAGE, Accept="text/html")).text
    assert (await first.ask(RECURSIVE))[0].code == 1
    await second.listen(*places)
    await write(second, "newer")
    later(first, 60)
    assert await desc(first) == (200, "newer")
    assert (await first.get(PAGE, **JSON)).json()["delegate"]["stale"] is False
    await second.die()
    later(first, 60 + 86_400)
    answer = await first.get(HANDLE)
    assert (answer.status_code, answer.json()["responseCode"]) == (504, 3)
    assert (await first.get(PAGE, Accept="text/html")).status_code == 504


async def test_a_young_one_is_told_while_a_newer_is_asked_for(first: Neighbour, second: Neighbour) -> None:
    assert await desc(first) == (200, "from the second")
    await write(second, "newer")
    later(first, 61)
    assert await desc(first) == (200, "from the second")
    await asyncio.gather(*first.upstream._flights.values())
    assert await desc(first) == (200, "newer")
    assert first.upstream.counts.answered == {"asked": 1, "stale": 1, "fresh": 1}


async def test_a_hundred_at_once_are_one_question(first: Neighbour, second: Neighbour) -> None:
    answers = await asyncio.gather(*(desc(first) for _ in range(50)), first.ask(*[RECURSIVE] * 25), first.ask(*[RECURSIVE] * 25))
    assert answers[:50] == [(200, "from the second")] * 50
    assert {reply.code for replies in answers[50:] for reply in replies} == {1}  # type: ignore[union-attr]
    assert first.upstream.counts.asked == {("88.100.1", "found"): 1}


async def test_what_isnt_there_is_kept_for_a_short_time(first: Neighbour, second: Neighbour) -> None:
    path = "/api/handles/88.100.1/late"
    for _ in range(3):
        answer = await first.get(path)
        assert (answer.status_code, answer.json()["responseCode"]) == (404, 100)
    assert (await first.ask(Request(asking("88.100.1/late"), flags=PUBL | RECU)))[0].code == 100
    assert (await first.get("/88.100.1/late", Accept="text/html")).status_code == 404
    assert await asked_on(first) == 1
    await second.town.register("late", ADMIN)
    later(first, 29)
    assert (await first.get(path)).status_code == 404
    later(first, 1)
    assert (await first.get(path)).status_code == 200


async def test_a_changed_or_ended_delegation_forgets(stack: AsyncExitStack, first: Neighbour) -> None:
    third = await stack.enter_async_context(neighbour("third"))
    await write(third, "from the third")
    assert await desc(first) == (200, "from the second")
    assert (await first.ask(RECURSIVE))[0].values()[1].data == b"from the second"
    await first.delegate(third.url)
    assert await desc(first) == (200, "from the third")
    assert (await first.ask(RECURSIVE))[0].values()[1].data == b"from the third"
    assert (await first.town.ask("DELETE", PATH)).status_code == 204
    assert (await desc(first))[0] == 404
    assert (await first.ask(ASK))[0].code == 100
    await write(first, "here")
    assert await desc(first) == (200, "here")
    await first.delegate(third.url)
    assert await desc(first) == (200, "from the third")
    assert (await first.ask(RECURSIVE))[0].values()[1].data == b"from the third"


async def test_what_is_registered_here_under_a_delegated_prefix_is_answered_but_not_resolved(first: Neighbour) -> None:
    order = {"handle": "88.100.1/own", "values": [{"index": 1, "type": "DESC", "data": "own"}]}
    made = await first.town.ask("POST", "/v1/identifiers", ADMIN, order)
    assert (made.status_code, made.json()["version"]) == (201, 1)
    assert (await first.get("/api/handles/88.100.1/own")).status_code == 404


async def test_only_what_everyone_may_read_is_fetched(first: Neighbour, second: Neighbour) -> None:
    values = [{"index": 2, "type": "PRICE", "data": "7", "permissions": "1100"}, {"index": 3, "type": "DESC", "data": "pump"}]
    assert (await second.town.ask("PUT", OURS, ADMIN, {"values": values})).status_code == 200
    told = await first.town.ask("GET", PAGE, ADMIN, **JSON)
    assert [value["type"] for value in told.json()["values"]] == ["URL", "DESC"]
    assert told.headers["cache-control"] == "private, no-cache"
    await first.delegate(f"handle://{second.handle}")
    told = await first.get(HANDLE)
    assert [value["type"] for value in told.json()["values"]] == ["URL", "DESC"]


async def test_a_moment_is_asked_for_where_it_lives(first: Neighbour, second: Neighbour) -> None:
    answer = await first.get(f"{HANDLE}?as-of=2026-09-22T00:00:00Z")
    assert (answer.status_code, answer.headers["location"]) == (307, f"{second.url}{HANDLE}?as-of=2026-09-22T00:00:00Z")


# Circles


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("wire", [False, True], ids=["by-json", "by-wire"])
async def test_a_circle_of_nodes_is_refused(stack: AsyncExitStack, count: int, *, wire: bool) -> None:
    nodes = [await stack.enter_async_context(neighbour(f"node-{number}")) for number in range(count)]
    for place, node in enumerate(nodes):
        to = nodes[(place + 1) % count]
        await node.delegate(f"handle://{to.handle}" if wire else to.url, site=to.handle)
    (reply,) = await nodes[0].ask(RECURSIVE)
    assert reply.code == 6
    answer = await nodes[0].get(HANDLE)
    assert (answer.status_code, answer.json()["responseCode"]) == (508, 6)
    assert (await nodes[0].get(PAGE, **JSON)).status_code == 508
    assert (await nodes[0].get(PAGE, Accept="text/html")).status_code == 508
    assert sum([await asked_on(node) for node in nodes]) <= (10 if wire else count)
    assert not any(node.upstream._flights for node in nodes)


async def test_a_circle_that_changes_protocols_is_refused(stack: AsyncExitStack) -> None:
    one, other = [await stack.enter_async_context(neighbour(name)) for name in ("one", "other")]
    await one.delegate(f"handle://{other.handle}")
    await other.delegate(one.url, site=one.handle)
    assert (await one.ask(RECURSIVE))[0].code == 6
    assert (await one.get(HANDLE)).status_code == 508


async def test_who_says_that_he_has_come_far_spoils_nobody_elses_answer(first: Neighbour) -> None:
    far = Request(asking("88.100.1/P1"), flags=PUBL | RECU, recursion=10)
    assert (await first.ask(far))[0].code == 6
    name = first.upstream._name
    assert (await first.get(HANDLE, **{"CDN-Loop": f"cdn.example, {name}; hops=1"})).status_code == 508
    assert (await first.get(HANDLE, **{"CDN-Loop": "mumian-x; hops=99"})).status_code == 508
    assert await desc(first) == (200, "from the second")
    assert (await first.ask(far))[0].code == 1, "what is known ends the way"


async def test_nothing_is_asked_of_an_address_of_our_own_house(stack: AsyncExitStack, second: Neighbour) -> None:
    careful = await stack.enter_async_context(neighbour("careful", DelegationSettings()))
    for address in (
        second.url,
        "https://127.0.0.1",
        f"handle://{second.handle}",
        "handle://10.0.0.1",
        "handle://host.example:2641",
    ):
        answer = await careful.town.ask("PUT", PATH, ADMIN, {"mode": "proxy", "address": address})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/address"), address
    refused = await careful.town.ask("PUT", PATH, ADMIN, {"mode": "proxy", "address": "https://n.example", "site": "127.0.0.1:1"})
    assert refused.status_code == 422
    assert ALLOWED.allowed_hosts == ("127.0.0.1",)
