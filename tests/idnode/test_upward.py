"""Reports upward: each change in one report, each report taken once, whatever happens between."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from idnode.affairs import Delegation, Mode, put_affair
from idnode.announcing.turn import LASTS_MS
from idnode.record import State
from idnode.store.base import StoreFailed, StoreFull
from idnode.store.business import DELEGATION, PREFIX, Put, Step, Sums
from idnode.store.memory import MemoryStore
from idnode.store.sqlite import open_store
from idnode.upward.books import WAITING, Books
from simulators.tree.ledger import Route
from simulators.tree.top import Fault, FaultKind

from .upward import NODE, START_MS, below, live

FAULTS = ["none", "none", "down", "unavailable", "slow", "strange", "lose_answer", "lose_answer"]


# None lost, none twice


async def test_what_happens_is_told_once_in_the_period_in_which_it_happens() -> None:
    async with below() as node:
        await node.register("A", "B")
        await node.pass_time(1)
        await node.register("B", "C")
        await node.change("A")
        await node.change("B", State.RETIRED)
        await node.resolve(3)
        await node.resolve(2, "", "page", 404)
        await node.pass_time(120)
        await node.pass_time(600)  # nothing happens, nothing is told
        first, second = sorted(node.way.bodies)
        node.check()
    told = [json.loads(*node.way.bodies[each]) for each in (first, second)]
    assert [each["sequence"] for each in told] == [1, 2]
    assert (told[0]["begin"], told[1]["begin"]) == (None, told[0]["end"])
    assert told[0]["summaries"] == [{"prefix": "88.100.1", "counted": {"registered": 2}, "totals": {"registered": 2}}]
    assert told[1]["summaries"] == [
        {"prefix": "-", "answers": [{"face": "page", "status": 404, "count": 2}]},
        {
            "prefix": "88.100.1",
            "counted": {"changed": 1, "registered": 1, "retired": 1},
            "totals": {"registered": 3, "changed": 1, "retired": 1},
            "answers": [{"face": "handle", "status": 200, "count": 3}],
        },
    ]


async def lived(random: Random, steps: int) -> None:
    async with below(most_waiting=random.choice([1, 3, 100])) as node:
        await live(node, random, steps, FAULTS)
        node.top.fault = None
        await node.pass_time(4000)
        assert await node.status() == {"waiting": 0, "aside": 0}
        node.check()


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_the_top_node_does_and_whoever_restarts_none_is_lost_and_none_twice(seed: int) -> None:
    await lived(Random(seed), 60)


@pytest.mark.long
async def test_nor_in_a_thousand_lives() -> None:
    for seed in range(100, 1100):
        await lived(Random(seed), 100)


@pytest.mark.parametrize("seed", range(2))
async def test_nor_from_a_file_that_is_opened_again(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    async with below(open_store(tmp_path / "idnode.db")) as node:
        for _ in range(3):
            await live(node, random, 15, FAULTS)
            await node.store.close()
            node.store = open_store(tmp_path / "idnode.db")
            node.reporter = node.reporting()
            node.said.append("opened again")
        node.top.fault = None
        await node.pass_time(4000)
        node.check()
        await node.store.close()


class Failing(MemoryStore):
    """Ends in the middle: a write fails, as one does of a process that is killed before it."""

    fails: type[Exception] | None = None
    attempts = 0

    async def write(self, steps: Any, author: str, at_ms: int) -> None:
        if self.fails is not None and any(isinstance(step, Put) and step.kind == WAITING for step in steps):
            self.attempts += 1
            raise self.fails("no")
        await super().write(steps, author, at_ms)


@pytest.mark.parametrize("taken", [False, True])
async def test_a_report_whose_end_could_not_be_noted_is_sent_again_with_the_same_bytes(taken: bool) -> None:
    async with below(store := Failing()) as node:
        await node.register("A")
        if taken:
            node.top.fault = Fault(FaultKind.UNAVAILABLE)
            await node.pass_time(1)
            node.top.fault = None
        store.fails = StoreFailed
        node.clock[0] += 10_000
        with pytest.raises(StoreFailed):
            await node.pass_time(1)
        store.fails = None
        node.reporter = node.reporting()
        await node.pass_time(1)
        node.check()
        assert node.epoch.repeats == int(taken)
        assert len(node.way.times_ms) == (3 if taken else 1)


async def test_while_the_disk_is_full_nothing_is_sent_twice_and_heartbeats_say_so() -> None:
    async with below(store := Failing()) as node:
        await node.register("A")
        store.fails = StoreFull
        await node.pass_time(100)
        assert node.top.ledger.nodes[NODE].heartbeat["storage"] == "full"
        assert not node.way.bodies
        assert store.attempts < 30
        store.fails = None
        await node.pass_time(100)
        assert node.top.ledger.nodes[NODE].heartbeat["storage"] == "ok"
        node.check()


# Several processes


async def test_of_two_nodes_on_one_store_one_reports_and_the_other_takes_over() -> None:
    async with below() as node:
        one, other = node.reporting(shared=True), node.reporting(shared=True)
        await node.register("A")
        for _ in range(3):
            await asyncio.gather(one.step(), other.step())
            node.clock[0] += 30_000
        assert node.top.ledger.nodes[NODE].heartbeats == 3
        node.check()
        assert node.epoch.repeats == 0
        await node.register("B")
        node.clock[0] += LASTS_MS  # one of them died
        await other.step()
        node.check()


async def test_two_who_report_by_mistake_tell_nothing_twice() -> None:
    async with below() as node:
        one, other = node.reporting(), node.reporting()
        for number in range(5):
            await node.register(str(number))
            await asyncio.gather(one.step(), other.step())
            node.clock[0] += 61_000
        await one.step()
        node.check()


class Racing(MemoryStore):
    """Somebody else acts when all sums have been read."""

    between: Callable[[], Awaitable[object]] | None = None

    async def sums(self, after: str = "", limit: int = 100) -> list[Sums]:
        found = await super().sums(after, limit)
        if not found and self.between is not None:
            act, self.between = self.between, None
            await act()
        return found


async def test_what_another_has_told_meanwhile_is_not_told_again() -> None:
    async with below(store := Racing()) as node:
        other = node.reporting()

        async def meanwhile() -> None:
            await node.register("B")
            await other.step()

        await node.register("A")
        store.between = meanwhile
        await node.pass_time(61)
        await node.register("C")
        await node.pass_time(61)
        node.check()
        assert node.epoch.last == 2


# An outage


async def test_the_backlog_is_bounded_and_what_comes_is_in_the_next_report_there_is_room_for() -> None:
    async with below(most_waiting=3) as node:
        node.top.fault = Fault(FaultKind.DOWN)
        for number in range(10):
            await node.register(str(number))
            await node.pass_time(100)
        assert await node.status() == {"waiting": 3, "aside": 0}
        assert [line for line in node.said if "as many as may be" in line] == [
            "3 reports wait for the top-level node and 0 were refused, as many as may be:"
            " what comes now is in the next one that there is room for"
        ]
        node.top.fault = None
        await node.pass_time(1000)
        node.check()
        assert node.epoch.last == 4
        told = [json.loads(*node.way.bodies[each]) for each in sorted(node.way.bodies)]
        assert [each["summaries"][0]["counted"]["registered"] for each in told] == [1, 1, 1, 7]
        assert told[3]["begin"] == told[2]["end"]


async def test_attempts_come_after_pauses_that_double_of_which_half_is_chance_and_losing_it_is_told_once() -> None:
    async with below(longest_pause_s=60, heartbeat_s=3600) as node:
        node.top.fault = Fault(FaultKind.UNAVAILABLE)
        await node.register("A")
        await node.pass_time(200)
        pauses = [(later - earlier) / 1000 for earlier, later in zip(node.way.times_ms, node.way.times_ms[1:], strict=False)]
        assert pauses == pytest.approx([3, 6, 12, 24, 45, 45, 45], abs=0.1)  # the draw is 0.5: three quarters
        assert node.said == ["the top-level node isn't reached: answered with 503"]
        node.top.fault = None
        await node.pass_time(60)
        assert node.said[1:] == ["the top-level node is reached again"]
        node.check()


async def test_a_pause_that_the_top_node_asks_for_is_kept() -> None:
    async with below() as node:
        node.way.answer = httpx.Response(429, headers={"Retry-After": "120"})
        await node.register("A")
        await node.pass_time(119)
        assert len(node.way.times_ms) == 1
        node.way.answer = None
        await node.pass_time(2)
        node.check()


async def test_it_is_tried_at_once_when_heartbeats_are_taken_again() -> None:
    async with below(first_pause_s=600) as node:
        node.top.fault = Fault(FaultKind.DOWN)
        await node.register("A")
        await node.pass_time(60)
        node.top.fault = None
        await node.pass_time(60)
        node.check()


async def test_heartbeats_are_not_queued_and_say_what_is_still_to_come() -> None:
    async with below() as node:
        node.top.fault = Fault(FaultKind.DOWN)
        await node.register("A")
        await node.pass_time(500)
        node.top.fault = None
        node.way.answer = httpx.Response(503)
        await node.pass_time(30)
        ledger = node.top.ledger.nodes[NODE]
        assert ledger.heartbeats == 1
        assert (ledger.heartbeat["last_sequence"], ledger.heartbeat["waiting"]) == (1, 1)
        assert ledger.now.missing() == [1]


# What isn't acknowledged, and what is refused

NO_ACKNOWLEDGEMENTS = {
    "a page": httpx.Response(200, text="<p>Please log in</p>"),
    "another's": httpx.Response(200, json={"epoch": "other", "sequence": 1}),
    "nothing": httpx.Response(204),
    "too much": httpx.Response(200, content=b" " * 5000),
    "a redirect": httpx.Response(302, headers={"Location": "https://elsewhere.example"}),
    "an unknown key": httpx.Response(401),
    "a forbidden one": httpx.Response(403),
    "no such place": httpx.Response(404),
    "too many": httpx.Response(429),
    "a fault": httpx.Response(500),
}


@pytest.mark.parametrize("answer", NO_ACKNOWLEDGEMENTS.values(), ids=NO_ACKNOWLEDGEMENTS)
async def test_what_does_not_acknowledge_leaves_the_report_where_it_is(answer: httpx.Response) -> None:
    async with below() as node:
        node.way.answer = answer
        await node.register("A")
        await node.pass_time(20)
        assert await node.status() == {"waiting": 1, "aside": 0}
        node.way.answer = None
        await node.pass_time(100)
        node.check()


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
async def test_a_refused_report_is_put_aside_visible_and_goes_again_when_told_to(status: int) -> None:
    async with below() as node:
        node.way.answer = httpx.Response(status, json={"reason": "not by us"})
        await node.register("A")
        await node.pass_time(1)
        node.way.answer = None
        assert await node.status() == {"waiting": 0, "aside": 1}
        assert node.said == [f"the top-level node refused report 1, which is put aside: answered with {status}: not by us"]
        await node.register("B")
        await node.pass_time(100)
        assert node.epoch.missing() == [1]  # the next went on
        books = Books(node.store, node.now_ms)
        (aside,) = await books.aside("", 10)
        assert (aside.report.sequence, aside.reason) == (1, f"answered with {status}: not by us")
        assert await books.aside("1", 10) == []
        assert await books.retry(7) == 0
        assert await books.retry() == 1
        await node.pass_time(10)
        assert await node.status() == {"waiting": 0, "aside": 0}
        node.check()


async def test_what_is_put_aside_takes_room_of_what_waits_so_that_no_refusal_grows_without_end() -> None:
    async with below(most_waiting=2) as node:
        node.top.fault = Fault(FaultKind.REFUSE)
        for number in range(5):
            await node.register(str(number))
            await node.pass_time(100)
        assert await node.status() == {"waiting": 0, "aside": 2}
        node.top.fault = None
        await Books(node.store, node.now_ms).retry()
        await node.pass_time(200)
        node.check()


# Epochs


async def test_a_store_that_was_put_back_begins_anew_and_the_sums_of_its_epoch_are_whole(tmp_path: Path) -> None:
    async with below(open_store(tmp_path / "idnode.db")) as node:
        await node.register("A")
        await node.pass_time(100)
        await node.store.close()
        shutil.copy(tmp_path / "idnode.db", tmp_path / "copy.db")
        node.store = open_store(tmp_path / "idnode.db")
        node.reporter = node.reporting()
        await node.register("B", "C")
        await node.pass_time(100)
        await node.store.close()
        node.store = open_store(tmp_path / "copy.db")
        node.reporter = node.reporting()
        node.counted["88.100.1"]["registered"] = 1
        await node.register("D")
        await node.pass_time(100)
        assert any("this store was put back: all is reported anew" in line for line in node.said)
        assert len(node.top.ledger.nodes[NODE].epochs) == 2
        assert (node.epoch.missing(), node.epoch.unequal()) == ([], [])
        assert node.epoch.counted == {"88.100.1": {"registered": 2}}
        await node.store.close()


async def test_a_new_epoch_that_a_person_begins_tells_all_and_keeps_nothing_of_the_one_before() -> None:
    async with below(period_s=10) as node:
        node.top.fault = Fault(FaultKind.REFUSE, 1)
        await node.register("A")
        await node.pass_time(5)
        node.top.fault = Fault(FaultKind.DOWN)
        for suffix in "BCD":
            await node.register(suffix)
            await node.pass_time(10)
        await Books(node.store, node.now_ms).begin_anew()
        node.top.fault = None
        await node.pass_time(100)
        assert await node.status() == {"waiting": 0, "aside": 0}
        assert await Books(node.store, node.now_ms).aside("", 9) == []
        assert await node.store.entries(WAITING) == []
        assert node.epoch.last == 1
        node.check()


async def test_a_top_node_that_finds_every_place_taken_does_not_make_epochs_without_end() -> None:
    async with below() as node:
        node.way.answer = httpx.Response(409, json={"code": "other-content"})
        await node.register("A")
        await node.pass_time(1000)
        assert await node.status() == {"waiting": 0, "aside": 1}
        assert len({epoch for epoch, _ in node.way.bodies}) == 1


# What is told


async def test_enterprises_and_prefixes_that_were_given_out_are_a_register() -> None:
    async with below() as node:
        await node.pass_time(61)
        ledger = node.top.ledger
        assert sorted(node.epoch.members) == ["forge", "pumpworks"]
        here = "http://127.0.0.1:8080"
        assert ledger.route("88.100.2") == Route("88.100.2", NODE, here)
        assert ledger.route("88.100.77") == Route("88.100", NODE, here)
        assert ledger.route("88.200.1") is None
        there = Delegation(Mode.REFERRAL, "http://127.0.0.1:8081")
        steps: list[Step] = [Put(PREFIX, "88.100.1", b"{}", "forge"), put_affair(DELEGATION, "88.100.2", there, "forge")]
        await node.store.write(steps, "admin", node.now_ms())
        await node.pass_time(61)
        assert ledger.route("88.100.2") == Route("88.100.2", NODE, there.address)
        assert node.epoch.holdings["88.100.1"][1]["enterprise"] == "forge"
        await node.store.write([Put(PREFIX, "88.100.1", b"", "forge")], "admin", node.now_ms())
        await node.pass_time(61)
        assert node.epoch.holdings["88.100.1"][1]["enterprise"] == ""
        await node.pass_time(200)
        assert node.epoch.last == 3
        node.check()


async def test_a_period_with_many_prefixes_has_several_reports() -> None:
    async with below() as node:
        prefixes = [f"88.100.{number}" for number in range(10, 460)]
        await node.store.write([Put(PREFIX, each, b"{}", "forge") for each in prefixes], "admin", START_MS)
        for prefix in prefixes:
            await node.register("A", prefix=prefix)
        await node.pass_time(30)
        node.check()
        told = [json.loads(*node.way.bodies[each]) for each in sorted(node.way.bodies)]
        assert [len(each["summaries"]) + len(each["members"]) + len(each["holdings"]) for each in told] == [
            200,
            200,
            200,
            200,
            104,
        ]
        assert {(each["begin"], each["end"]) for each in told} == {(None, told[0]["end"])}


async def test_no_identifier_and_no_value_and_no_contact_leaves_the_node() -> None:
    async with below() as node:
        await node.register("SECRET-SUFFIX")
        await node.change("SECRET-SUFFIX")
        await node.pass_time(61)
        for bodies in node.way.bodies.values():
            assert b"SECRET" not in b"".join(bodies).upper()


@pytest.mark.parametrize("back_ms", [10_000, 100_000_000])
@pytest.mark.parametrize("is_down", [False, True])
async def test_a_clock_that_is_set_back_stops_nothing(back_ms: int, is_down: bool) -> None:
    async with below(longest_pause_s=60, heartbeat_s=3000) as node:
        await node.register("A")
        node.top.fault = Fault(FaultKind.DOWN) if is_down else None
        await node.pass_time(100)
        node.clock[0] -= back_ms
        node.top.fault = None
        await node.register("B")
        await node.pass_time(130)
        node.check()
        ends = [json.loads(*node.way.bodies[each])["end"] for each in sorted(node.way.bodies)]
        assert ends == sorted(ends)
