"""How answers of other nodes are kept and asked for, with a delegate that says what the test tells it, in virtual time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from idnode.access import ANYBODY
from idnode.affairs import Delegation, Mode, put_affair
from idnode.announcing.address import BadAddress
from idnode.enterprise import Name, Visibility
from idnode.identifier import Identifier, parse_identifier
from idnode.record import HandleValue, text_value
from idnode.resolver import Home, Resolver, Verdict
from idnode.store.base import Forget, Store
from idnode.store.business import DELEGATION
from idnode.store.memory import MemoryStore
from idnode.upstream import upstream as room
from idnode.upstream.delegate import Delegate, place_of
from idnode.upstream.gate import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, MOST_FAILURES
from idnode.upstream.names import KEPT_S, Names
from idnode.upstream.recursion import FIRST, Recursion, node_name, read_recursion
from idnode.upstream.settings import DelegationSettings
from idnode.upstream.shelf import LONGEST_S, Kept, Shelf, lifetimes
from idnode.upstream.told import Outcome, Told
from idnode.upstream.upstream import Found, Upstream

DELEGATE = Delegate("88.100.1", 1, Mode.PROXY, "https://n.example", 3600)
OTHER = Delegate("88.100.2", 1, Mode.PROXY, "https://slow.example", 3600)
P1 = parse_identifier("88.100.1/P1")
MISSING, SILENT, WRONG = Told(Outcome.MISSING), Told(Outcome.SILENT), Told(Outcome.WRONG)


def value(ttl_s: int = 60, text: str = "x", index: int = 1) -> HandleValue:
    made = text_value(index, "DESC", text)
    return HandleValue(made.index, made.type, made.data, ttl_s)


def found(ttl_s: int = 60, text: str = "x", keep_s: int | None = None) -> Told:
    return Told(Outcome.FOUND, (value(ttl_s, text),), keep_s)


@dataclass
class Scripted:
    """A delegate."""

    says: Told = field(default_factory=found)
    asked: list[tuple[str, Recursion]] = field(default_factory=list)
    may_answer: asyncio.Event | None = None
    """Waited for, where there is one."""
    closed: bool = False

    async def ask(self, _: Delegate, identifier: Identifier, recursion: Recursion) -> Told:
        self.asked.append((identifier.key, recursion))
        if self.may_answer is not None:
            await self.may_answer.wait()
        return self.says

    async def close(self) -> None:
        self.closed = True


@dataclass
class Bench:
    upstream: Upstream
    node: Scripted
    clock: list[int]

    async def find(self, identifier: Identifier = P1, delegate: Delegate = DELEGATE, recursion: Recursion = FIRST) -> Found:
        return await self.upstream.find(delegate, identifier, recursion)

    def later(self, seconds: float) -> None:
        self.clock[0] += int(seconds * 1000)

    async def turn(self) -> None:
        """Let all who may ask do so."""
        for _ in range(3):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        if self.upstream._flights:
            await asyncio.wait(self.upstream._flights.values())


def bench(patience_s: float = 0.01, **settings: float) -> Bench:
    node, clock = Scripted(), [5_000]
    made = DelegationSettings.model_validate({"in_flight": 4, "timeout_s": 30, **settings})
    return Bench(Upstream(made, "mumian-test", lambda: clock[0], patience_s=patience_s, web=node, wire=node), node, clock)


@pytest.fixture
async def made() -> AsyncIterator[Bench]:
    one = bench()
    yield one
    await one.upstream.close()
    assert one.node.closed


# Fresh


@pytest.mark.parametrize(
    ("told", "ttl_s", "expected"),
    [
        (found(60), 3600, (60, 9)),
        (Told(Outcome.FOUND, (value(60), value(20, index=2))), 3600, (20, 9)),
        (found(60), 30, (30, 9)),
        (found(10**9), 10**9, (LONGEST_S, 9)),
        (found(60, keep_s=5), 3600, (5, 9)),
        (found(60, keep_s=0), 3600, (0, 0)),
        (found(0), 3600, (0, 0)),
        (Told(Outcome.FOUND), 3600, (30, 0)),
        (MISSING, 3600, (30, 0)),
        (MISSING, 7, (7, 0)),
        (Told(Outcome.CLOSED), 3600, (30, 0)),
    ],
)
def test_the_shortest_bound_says_how_long_an_answer_is_fresh(told: Told, ttl_s: int, expected: tuple[int, int]) -> None:
    delegate = Delegate("88.100.1", 1, Mode.PROXY, "https://n.example", ttl_s)
    assert lifetimes(told, delegate, 30, 9) == expected


async def test_while_it_is_fresh_nothing_is_asked_and_its_ttl_shrinks(made: Bench) -> None:
    assert (await made.find()).values == (value(60),)
    made.later(59.9)
    told = await made.find()
    assert (told.age_s, told.is_stale, told.values) == (59, False, (value(0),))
    assert len(made.node.asked) == 1


async def test_what_may_not_be_kept_is_asked_for_each_time(made: Bench) -> None:
    made.node.says = found(0)
    for _ in range(3):
        assert (await made.find()).outcome is Outcome.FOUND
    assert (len(made.node.asked), len(made.upstream.shelf)) == (3, 0)


async def test_a_changed_delegation_knows_nothing_of_the_one_before(made: Bench) -> None:
    await made.find()
    later = Delegate("88.100.1", 2, Mode.PROXY, "https://n.example", 3600)
    made.node.says = found(text="new")
    assert (await made.find(delegate=later)).values == (value(text="new"),)
    made.node.says, made.node.may_answer = found(text="late"), asyncio.Event()
    made.later(61 + 11)
    waiting = asyncio.create_task(made.find(delegate=later))
    await made.turn()
    made.node.may_answer.set()
    await made.find(delegate=Delegate("88.100.1", 3, Mode.PROXY, "https://m.example", 3600))
    assert len(made.node.asked) == 4, "a question under an earlier delegation is nobody else's"
    await waiting


# Stale


async def test_a_stale_one_stands_in_while_the_node_is_down_and_not_for_ever(made: Bench) -> None:
    await made.find()
    for says in (SILENT, WRONG, Told(Outcome.BUSY), Told(Outcome.LOOP)):
        made.node.says = says
        made.later(75)
        told = await made.find()
        assert (told.outcome, told.is_stale, told.values[0].ttl_s) == (Outcome.FOUND, True, 30)
    made.node.says = SILENT
    made.later(86_400)
    assert (await made.find()).outcome is Outcome.SILENT


async def test_it_stands_in_when_the_node_takes_longer_than_the_patience() -> None:
    slow = bench()
    await slow.find()
    slow.node.may_answer, slow.node.says = asyncio.Event(), found(text="newer")
    slow.later(75)
    assert (await slow.find()).is_stale
    slow.node.may_answer.set()
    await slow.settle()
    assert (await slow.find()).values == (value(text="newer"),)
    await slow.upstream.close()


async def test_what_the_node_says_is_gone_is_gone(made: Bench) -> None:
    await made.find()
    made.node.says = MISSING
    made.later(75)
    assert (await made.find()).outcome is Outcome.MISSING
    made.node.says = SILENT
    made.later(31)
    assert (await made.find()).outcome is Outcome.SILENT


async def test_a_young_stale_one_is_told_at_once_and_renewed(made: Bench) -> None:
    await made.find()
    made.node.may_answer, made.node.says = asyncio.Event(), found(text="newer")
    made.later(65)
    for _ in range(20):
        assert (await made.find()).is_stale
    made.node.may_answer.set()
    await made.settle()
    assert (await made.find()).values == (value(text="newer"),)
    assert len(made.node.asked) == 2


# At once


async def test_a_thousand_who_ask_at_once_are_one_question_and_the_most_may_wait(made: Bench) -> None:
    made.node.may_answer = asyncio.Event()
    asking = [asyncio.create_task(made.find()) for _ in range(1000)]
    await asyncio.sleep(0)
    made.node.may_answer.set()
    outcomes = [(await each).outcome for each in asking]
    assert len(made.node.asked) == 1
    assert outcomes.count(Outcome.FOUND) == room.MOST_WAITING_OF_ONE
    assert outcomes.count(Outcome.BUSY) == 1000 - room.MOST_WAITING_OF_ONE
    assert not made.upstream._waiting


async def test_a_slow_node_delays_nobody_who_asks_for_another() -> None:
    made = bench(timeout_s=0.2)
    made.node.may_answer = asyncio.Event()
    slow = [asyncio.create_task(made.find(parse_identifier(f"88.100.2/{number}"), OTHER)) for number in range(300)]
    await made.turn()
    assert len(made.node.asked) == 4, "no more than in_flight"
    made.node.may_answer = None
    assert (await made.find()).outcome is Outcome.FOUND
    outcomes = [(await each).outcome for each in slow]
    assert outcomes.count(Outcome.SILENT) == 4, "they wait for no longer than the timeout"
    assert outcomes.count(Outcome.BUSY) == 296
    await made.upstream.close()


async def test_a_question_that_has_come_farther_doesnt_wait_for_one_that_may_wait_for_it(made: Bench) -> None:
    made.node.may_answer = asyncio.Event()
    asking = [asyncio.create_task(made.find(recursion=Recursion(hops))) for hops in (0, 0, 2, 2, 10)]
    await made.turn()
    assert [recursion.hops for _, recursion in made.node.asked] == [0, 2]
    made.node.may_answer.set()
    assert [(await each).outcome for each in asking] == [Outcome.FOUND] * 4 + [Outcome.LOOP]


async def test_who_is_left_waiting_leaves_the_question_under_way(made: Bench) -> None:
    """As the hot route does: it steps the resolution and leaves it where it suspends."""
    made.node.may_answer = asyncio.Event()
    stepped = made.find()
    stepped.send(None)
    stepped.close()
    assert not made.upstream._waiting
    made.node.may_answer.set()
    assert (await made.find()).outcome is Outcome.FOUND
    assert len(made.node.asked) == 1
    again = made.find()
    with pytest.raises(StopIteration):
        again.send(None)


# Failures


async def test_what_went_wrong_with_one_identifier_is_not_asked_again_at_once(made: Bench) -> None:
    made.node.says = WRONG
    for _ in range(3):
        assert (await made.find()).outcome is Outcome.WRONG
    assert len(made.node.asked) == 1
    made.later(2)
    made.node.says = found()
    assert (await made.find()).outcome is Outcome.FOUND


async def test_a_circle_is_told_again_but_not_to_those_who_havent_come_so_far(made: Bench) -> None:
    made.node.says = Told(Outcome.LOOP)
    assert (await made.find(recursion=Recursion(9))).outcome is Outcome.LOOP
    made.node.says = found()
    assert (await made.find(parse_identifier("88.100.1/P2"))).outcome is Outcome.FOUND
    assert (await made.find()).outcome is Outcome.FOUND
    made.node.says = Told(Outcome.LOOP)
    for _ in range(3):
        assert (await made.find(parse_identifier("88.100.1/round"))).outcome is Outcome.LOOP
    assert len(made.node.asked) == 4


async def test_those_that_fail_together_close_the_gate_once() -> None:
    many = bench(in_flight=50)
    many.node.says, many.node.may_answer = SILENT, asyncio.Event()
    asking = [asyncio.create_task(many.find(parse_identifier(f"88.100.1/{number}"))) for number in range(50)]
    await many.turn()
    many.node.may_answer.set()
    await asyncio.wait(asking)
    many.later(FIRST_PAUSE_MS / 1000)
    many.node.says = found()
    assert (await many.find()).outcome is Outcome.FOUND
    await many.upstream.close()


async def test_what_another_process_has_delegated_is_asked_for_at_once() -> None:
    """As the store of a worker: it hears of the others' changes by refresh() alone."""
    store = MemoryStore()

    class Worker:
        def __init__(self) -> None:
            self.watchers: list[Forget] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def watch(self, forget: Forget) -> None:
            self.watchers.append(forget)

        def refresh(self) -> None:
            for forget in self.watchers:
                forget(None)

    await store.add_enterprise("pumpworks", Name("泵", "Pump"), Visibility.PUBLIC, "88.100", "admin", 0)
    resolver = Resolver(cast(Store, Worker()), "http://h", Home("88.100", value()))
    below = parse_identifier("88.100.1.7/X")
    for identifier in (P1, below):
        assert (await resolver.resolve(identifier, ANYBODY)).verdict is Verdict.UNKNOWN
    delegation = Delegation(Mode.REFERRAL, "https://n.example")
    await store.write([put_affair(DELEGATION, "88.100.1", delegation, "pumpworks")], "admin", 0)
    for identifier in (P1, below):
        assert (await resolver.resolve(identifier, ANYBODY)).verdict is Verdict.ELSEWHERE
        assert (await resolver.resolve(identifier, ANYBODY, recursion=None)).verdict is Verdict.UNKNOWN


async def test_a_node_that_fails_again_and_again_is_left_alone_and_tried_by_one_question(made: Bench) -> None:
    made.node.says = SILENT
    for number in range(20):
        assert (await made.find(parse_identifier(f"88.100.1/{number}"))).outcome is Outcome.SILENT
    assert len(made.node.asked) == MOST_FAILURES
    assert (await made.find(parse_identifier("88.100.2/1"), OTHER)).outcome is Outcome.SILENT
    assert len(made.node.asked) == MOST_FAILURES + 1, "another node isn't left alone for it"
    pause_s = FIRST_PAUSE_MS / 1000
    for _ in range(8):
        before = len(made.node.asked)
        made.later(pause_s - 0.001)
        await made.find()
        assert len(made.node.asked) == before
        made.later(0.001)
        made.node.may_answer = asyncio.Event()
        trying = [asyncio.create_task(made.find(parse_identifier(f"88.100.1/t{number}"))) for number in range(5)]
        await asyncio.sleep(0)
        made.node.may_answer.set()
        await asyncio.wait(trying)
        assert len(made.node.asked) == before + 1, "one tries"
        pause_s = min(pause_s * 2, LONGEST_PAUSE_MS / 1000)
    made.later(60)
    made.node.says, made.node.may_answer = found(), None
    assert (await made.find()).outcome is Outcome.FOUND
    assert (await made.find(parse_identifier("88.100.1/again"))).outcome is Outcome.FOUND


async def test_a_stale_one_is_told_at_once_of_a_node_that_is_left_alone(made: Bench) -> None:
    await made.find()
    made.node.says = SILENT
    for number in range(MOST_FAILURES):
        await made.find(parse_identifier(f"88.100.1/{number}"))
    made.later(75)
    await made.find(parse_identifier("88.100.1/closes"))
    asked = len(made.node.asked)
    told = await made.find()
    assert (told.is_stale, len(made.node.asked)) == (True, asked)


async def test_counts_tell_what_was_asked_and_from_what_was_answered(made: Bench) -> None:
    await made.find()
    await made.find()
    made.later(65)
    await made.find()
    await made.settle()
    made.node.says = MISSING
    await made.find(parse_identifier("88.100.1/no"))
    await made.find(recursion=Recursion(10), identifier=parse_identifier("88.100.1/far"))
    assert made.upstream.counts.asked == {("88.100.1", "found"): 2, ("88.100.1", "missing"): 1}
    assert made.upstream.counts.answered == {"asked": 2, "fresh": 1, "stale": 1, "failed": 1}


# Names


async def test_a_name_is_looked_up_once_for_all_who_wait_and_kept_for_a_minute() -> None:
    asked: list[str] = []
    may_answer = threading.Event()
    clock = [0.0]

    def ask(host: str, _: int) -> list[str]:
        asked.append(host)
        if host == "slow.example":
            may_answer.wait(30)
        if host == "nowhere.example":
            raise OSError("no address")
        return ["192.0.2.7"]

    names = Names(ask, lambda: clock[0])
    slow = [asyncio.create_task(names("slow.example", 443)) for _ in range(100)]
    await asyncio.sleep(0)
    for _ in range(3):
        assert await names("quick.example", 443) == ["192.0.2.7"], "nobody waits for another's name"
        with pytest.raises(OSError, match="no address"):
            await names("nowhere.example", 443)
    slow[0].cancel()
    may_answer.set()
    assert await asyncio.gather(*slow[1:]) == [["192.0.2.7"]] * 99
    assert sorted(asked) == ["nowhere.example"] * 3 + ["quick.example", "slow.example"]
    clock[0] = KEPT_S
    await names("quick.example", 443)
    assert asked.count("quick.example") == 2


# Bounds


def kept(text: str, *, there: bool = True) -> Kept:
    return Kept(found(text=text) if there else MISSING, 1, 0, 10, 20)


def test_a_shelf_has_its_bytes_and_no_more_and_keeps_what_is_used() -> None:
    shelf = Shelf(100_000)
    shelf.keep(DELEGATE, "used", kept("x" * 100))
    for number in range(10_000):
        shelf.keep(DELEGATE, f"88.100.1/{number}", kept("x" * 100))
        assert shelf.find(DELEGATE, "used") is not None
        assert shelf.bytes <= 100_000
    assert 20 < len(shelf) < 200
    assert shelf.find(DELEGATE, "88.100.1/9999") is not None
    assert shelf.find(DELEGATE, "88.100.1/1") is None
    shelf.keep(DELEGATE, "large", kept("x" * 90_000))
    assert shelf.find(DELEGATE, "large") is None


def test_names_that_somebody_makes_up_drive_out_nothing_that_is_there() -> None:
    shelf = Shelf(100_000)
    shelf.keep(DELEGATE, "there", kept("x"))
    for number in range(10_000):
        shelf.keep(DELEGATE, f"88.100.1/{number}", kept("", there=False))
    assert shelf.find(DELEGATE, "there") is not None
    assert shelf.bytes <= 100_000
    shelf.keep(DELEGATE, "there", kept("", there=False))
    gone = shelf.find(DELEGATE, "there")
    assert gone is not None
    assert gone.told is MISSING


def test_a_shelf_without_room_keeps_nothing() -> None:
    shelf = Shelf(0)
    shelf.keep(DELEGATE, "a", kept("x"))
    assert (len(shelf), shelf.bytes) == (0, 0)


# Ways and addresses


def test_the_way_of_a_question_is_read_and_told_on() -> None:
    assert read_recursion(None) == read_recursion("") == FIRST
    way = read_recursion("cdn.example; v=1, mumian-a; hops=3 , mumian-b;hops=4")
    assert way.hops == 4
    assert way.field("mumian-c") == "cdn.example; v=1, mumian-a; hops=3 , mumian-b;hops=4, mumian-c; hops=5"
    assert way.is_over("mumian-a")
    assert not way.is_over("mumian-c")
    assert not way.is_over("cdn.example; v=1")
    assert read_recursion(", ".join(["mumian-x"] * 10)).is_over("mumian-c")
    assert read_recursion("x" * 5000).is_over("mumian-c")
    assert read_recursion("mumian-a; hops=999").hops == 255
    assert FIRST.field("mumian-c") == "mumian-c; hops=1"
    assert node_name("88.100", "https://a") == node_name("88.100", "https://a") != node_name("88.100", "https://b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", ("192.0.2.7", 2641)),
        ("192.0.2.7:1", ("192.0.2.7", 1)),
        ("[2001:db8::7]", ("2001:db8::7", 2641)),
        ("[2001:db8::7]:65535", ("2001:db8::7", 65535)),
    ],
)
def test_a_place_is_an_ip_address_and_a_port(text: str, expected: tuple[str, int]) -> None:
    assert place_of(text) == expected


@pytest.mark.parametrize("text", ["", "host:1", "192.0.2.7:", "192.0.2.7:0", "192.0.2.7:65536", "192.0.2.7:x", "1:2:3", "[::1"])
def test_anything_else_is_no_place(text: str) -> None:
    with pytest.raises(BadAddress):
        place_of(text)


def test_a_node_without_an_ip_address_has_no_site() -> None:
    assert DELEGATE.site_value() is None
    with_address = Delegate("88.100.1", 70_000, Mode.PROXY, "https://[2001:db8::7]:8443/base/", 60)
    told = with_address.site_value()
    assert told is not None
    assert isinstance(told.data.value, dict)
    assert told.data.value["servers"][0]["address"] == "2001:db8::7"
    assert told.data.value["servers"][0]["interfaces"][0] == {"query": True, "admin": False, "protocol": "HTTPS", "port": 8443}
    assert with_address.base == "https://[2001:db8::7]:8443/base"
