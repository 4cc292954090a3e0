"""Reports upward from a database that several nodes share."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from idnode.record import State
from idnode.store.postgres.store import Place, PostgresStore

from .postgres import emptied, shared_server
from .upward import below, live

pytestmark = pytest.mark.services


async def test_from_a_database_none_is_lost_and_none_told_twice() -> None:
    async with below(PostgresStore(Place(emptied(shared_server())))) as node:
        await live(node, Random(3), 30, ["none", "down", "lose_answer", "strange"])
        node.top.fault = None
        await node.pass_time(4000)
        node.check()


async def test_what_two_nodes_register_and_change_at_once_is_told_by_one_of_them_once() -> None:
    url = emptied(shared_server())
    other_store = PostgresStore(Place(url))
    async with below(PostgresStore(Place(url))) as node:
        mine, reporters = node.store, [node.reporting(shared=True)]
        node.store = other_store
        reporters.append(node.reporting(shared=True))
        for number in range(3):
            for store in (mine, other_store):
                node.store = store
                await node.register(f"{number}-{id(store)}")
                await asyncio.gather(node.change(f"{number}-{id(store)}"), *(each.step() for each in reporters))
                await node.change(f"{number}-{id(store)}", State.RETIRED)
            node.clock[0] += 61_000
        for reporter in reporters:
            await reporter.step()
        node.check()
        assert node.epoch.repeats == 0
        node.store = mine
    await other_store.close()
