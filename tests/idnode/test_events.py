"""Which events a caller is told: those of enterprises that he may resolve, and of no others is anything read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from hashlib import sha256

import msgspec
import pytest

from idnode.enterprise import Enterprise, Name, Role, Standing, Visibility
from idnode.event import Capture, ErrorBehaviour, Link, NewEvent
from idnode.event import Role as EpcRole
from idnode.store.registry import put_enterprise

from .town import ADMIN, Town, founded, secret_of

EPC = "https://id.gs1.org/01/09506000134352"
HOUSES = [f"house-{number}" for number in range(12)]
CALLERS = {"anybody": "", "admin": ADMIN, "auditor": secret_of(Role.AUDITOR), "member": secret_of(Role.READER, "pumpworks")}
EVENTS = 120


def _event(number: int) -> NewEvent:
    digest = sha256(str(number).encode()).digest()
    links = (Link(EPC, EpcRole.EPC),) if number % 3 == 0 else ()
    return NewEvent(f"e{number}", digest, b'{"eventID":"e%d"}' % number, 5, links, (), 0)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    """Enterprises of which some are restricted, suspended, closed; and events of all, mixed."""
    dice = random.Random(3)
    async with founded() as made:
        store = made.node.store
        for number, key in enumerate(HOUSES):
            visibility = Visibility.RESTRICTED if number % 3 == 0 else Visibility.PUBLIC
            one = await store.add_enterprise(key, Name(key, key), visibility, "88.100", "admin", 1)
            standing = (Standing.SUSPENDED, Standing.ACTIVE, Standing.ACTIVE, Standing.CLOSED)[number % 4]
            await store.write([put_enterprise(msgspec.structs.replace(one, standing=standing))], "admin", 2)
        for number in range(EVENTS):
            owner = dice.choice([*HOUSES, "pumpworks"])
            new = Capture(f"c{number}", owner, "a", ErrorBehaviour.ROLLBACK, (_event(number),), (), 5)
            await store.capture(new)
        yield made


async def _pages(town: Town, who: str, query: str) -> list[list[str]]:
    pages, path = [], f"/events?{query}"
    while path:
        answer = await town.ask("GET", path, who)
        assert answer.status_code == 200, answer.text
        listed = answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        pages.append([each["eventID"] for each in listed])
        path = answer.headers.get("link", "").partition(">")[0][1:]
    return pages


@pytest.mark.parametrize("query", ["perPage=1", "perPage=7", "perPage=500", f"perPage=4&MATCH_epc={EPC}"])
@pytest.mark.parametrize("who", CALLERS)
async def test_pages_are_full_of_what_the_caller_may_know_and_of_nothing_else(town: Town, who: str, query: str) -> None:
    store = town.node.store
    houses = {each.id: each for each in await store.enterprises()}

    def may_know(enterprise: Enterprise) -> bool:
        is_open = enterprise.visibility is Visibility.PUBLIC and enterprise.standing is not Standing.SUSPENDED
        return who in ("admin", "auditor") or is_open or (who == "member" and enterprise.id == "pumpworks")

    expected = [f"e{number}" for number in range(EVENTS) if "MATCH" not in query or number % 3 == 0]
    owners = {key: await store.event(key) for key in expected}
    expected = [key for key in expected if (found := owners[key]) is not None and may_know(houses[found.enterprise])]
    size = int(query.partition("&")[0].removeprefix("perPage="))
    wanted = [expected[first : first + size] for first in range(0, len(expected), size)]
    assert len(expected) >= 10
    assert await _pages(town, CALLERS[who], query) == wanted


async def test_only_enterprises_that_are_met_are_asked_for_and_each_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = town.node.store, Counter[str]()
    look_up = store.enterprise

    async def counted(key: str) -> Enterprise | None:
        asked[key] += 1
        return await look_up(key)

    async def refuse() -> list[Enterprise]:
        raise AssertionError("all enterprises are read")

    monkeypatch.setattr(store, "enterprise", counted)
    monkeypatch.setattr(store, "enterprises", refuse)
    assert (await town.ask("GET", "/events?perPage=1", "")).status_code == 200
    assert asked.total() < 6
    asked.clear()
    assert (await town.ask("GET", "/events?perPage=500", "")).status_code == 200
    assert asked == Counter([*HOUSES, "pumpworks"])
