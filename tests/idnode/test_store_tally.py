"""Operations that share a commit of the SQLite file share one tally, and each counts as if it were alone."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from idnode.enterprise import Enterprise, Visibility
from idnode.event import Capture, ErrorBehaviour
from idnode.record import Change, Registered, State, text_value
from idnode.store.base import OverQuota
from idnode.store.business import DAY_MS, PREFIX, SUBSCRIPTION, Put, Usage
from idnode.store.registry import put_enterprise
from idnode.store.sqlite import SqliteStore, open_store
from tests.contracts.idnode_business import CREATED, NAME, OVER_QUOTA, capture, part
from tests.contracts.idnode_records import registration


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = open_store(tmp_path / "idnode.db")
    yield opened
    await opened.close()


async def _enterprise(store: SqliteStore, quota: int | None = None, key: str = "pumpworks") -> Enterprise:
    made = msgspec.structs.replace(
        await store.add_enterprise(key, NAME, Visibility.PUBLIC, "88.100", "admin", 1), quota=quota
    )  # fmt: skip
    await store.write([put_enterprise(made), Put(SUBSCRIPTION, f"of-{key}", b"{}", key)], "admin", 1)
    return made


async def _register(store: SqliteStore, *numbers: int, author: str = "a", at_ms: int = 1) -> list[Registered]:
    return await store.register([registration(part(number)) for number in numbers], author, at_ms)


def _two_events(key: str, *numbers: int) -> Capture:
    """A capture whose events commission one part each."""
    parts = [capture(f"{key}-{number}", part(number)) for number in numbers]
    return dataclasses.replace(parts[0], id=key, events=tuple(each.events[0] for each in parts))


async def test_who_shares_a_commit_reads_and_writes_the_counts_once(store: SqliteStore) -> None:
    await _enterprise(store, quota=100)
    said: list[str] = []
    store._writer._connection.set_trace_callback(said.append)
    await asyncio.gather(*(_register(store, number) for number in range(50)))
    store._writer._connection.set_trace_callback(None)
    for once in (
        "BEGIN IMMEDIATE",
        "SELECT ifnull(sum(counts",
        "INSERT INTO counts",
        "INSERT INTO usage",
        "SELECT 1 FROM entries",
    ):
        assert sum(each.strip().startswith(once) for each in said) == 1, once
    assert await store.registered(["88.100.1"]) == [50]
    assert await store.usage(None, 0, 9, (-1, ""), 10) == [Usage("pumpworks", 0, 50, 0)]


async def test_within_one_commit_those_beyond_the_quota_are_refused_and_no_others(store: SqliteStore) -> None:
    await _enterprise(store, quota=3)
    outcomes = await asyncio.gather(
        _register(store, 1, 2), _register(store, 1), _register(store, 3, 4), _register(store, 3), _register(store, 5)
    )
    repeated = Registered.REPEATED
    assert [*outcomes] == [[CREATED, CREATED], [repeated], [CREATED, OVER_QUOTA], [repeated], [OVER_QUOTA]]
    assert await store.registered(["88.100.1"]) == [3]


async def test_an_operation_that_is_refused_takes_its_counts_back_and_leaves_the_others(store: SqliteStore) -> None:
    await _enterprise(store, quota=4)
    first, refused, second, third = await asyncio.gather(
        _register(store, 1),
        store.capture(_two_events("c1", 2, 3, 4, 5)),
        _register(store, 6, 7),
        _register(store, 8, 9),
        return_exceptions=True,
    )
    assert isinstance(refused, OverQuota)
    assert (first, second, third) == ([CREATED], [CREATED] * 2, [CREATED, OVER_QUOTA])
    assert await store.registered(["88.100.1"]) == [4]
    assert await store.usage(None, 0, 9, (-1, ""), 10) == [Usage("pumpworks", 0, 4, 0)]
    told = await store.announcements("pumpworks", 0, 10)
    assert [each.keys for each in told] == [(part(1).key,), (part(6).key, part(7).key), (part(8).key,)]


async def test_an_event_that_is_left_out_takes_its_counts_back_and_leaves_those_of_its_document(store: SqliteStore) -> None:
    await _enterprise(store, quota=3)
    several = capture("several", part(2), part(3), part(4)).events[0]
    document = _two_events("c1", 1, 5)
    document = dataclasses.replace(
        document, behaviour=ErrorBehaviour.PROCEED, events=(document.events[0], several, document.events[1])
    )
    report, after = await asyncio.gather(store.capture(document), _register(store, 6, 7))
    assert (report.stored, len(report.errors), after) == (2, 1, [CREATED, OVER_QUOTA])
    assert await store.registered(["88.100.1"]) == [3]
    told = await store.announcements("pumpworks", 0, 10)
    assert [each.keys for each in told] == [(part(1).key,), (part(5).key,), (part(6).key,)]


async def test_what_is_said_of_an_enterprise_amid_a_commit_holds_from_there_on(store: SqliteStore) -> None:
    made = await _enterprise(store, quota=1)
    await _enterprise(store, key="forge")
    raised = put_enterprise(msgspec.structs.replace(made, quota=2))
    transferred = Put(PREFIX, "88.100.1", b"{}", "forge")
    outcomes = await asyncio.gather(
        _register(store, 1, 2),
        store.write([raised], "admin", 2),
        _register(store, 3, 4),
        store.write([transferred], "admin", 3),
        _register(store, 5, 6),
    )
    assert [*outcomes[::2]] == [[CREATED, OVER_QUOTA], [CREATED, OVER_QUOTA], [CREATED, CREATED]]
    assert await store.registered(["88.100.1"]) == [4]
    assert await store.usage(None, 0, 9, (-1, ""), 10) == [Usage("forge", 0, 2, 0), Usage("pumpworks", 0, 2, 0)]


async def test_whoever_subscribes_amid_a_commit_is_told_of_what_comes_after(store: SqliteStore) -> None:
    made = await store.add_enterprise("pumpworks", NAME, Visibility.PUBLIC, "88.100", "admin", 1)
    subscription = Put(SUBSCRIPTION, "s", b"{}", made.id)
    await asyncio.gather(_register(store, 1), store.write([subscription], "ann", 2), _register(store, 2))
    assert [each.keys for each in await store.announcements("pumpworks", 0, 10)] == [(part(2).key,)]


async def test_days_authors_and_the_order_of_what_is_announced_stay_apart_in_one_commit(store: SqliteStore) -> None:
    await _enterprise(store)
    await asyncio.gather(
        _register(store, 1, author="ann", at_ms=DAY_MS - 1),
        _register(store, 2, 3, author="ben", at_ms=DAY_MS),
        store.change(part(1), Change((text_value(1, "DESC", "second"),)), "cy", DAY_MS + 1),
        _register(store, 4, author="ann", at_ms=DAY_MS + 2),
        store.change(part(1), Change(state=State.RETIRED), "cy", DAY_MS + 3),
    )
    told = await store.announcements("pumpworks", 0, 10)
    assert [(each.event, each.keys, each.at_ms, each.author) for each in told] == [
        ("registered", (part(1).key,), DAY_MS - 1, "ann"),
        ("registered", (part(2).key, part(3).key), DAY_MS, "ben"),
        ("changed", (part(1).key,), DAY_MS + 1, "cy"),
        ("registered", (part(4).key,), DAY_MS + 2, "ann"),
        ("retired", (part(1).key,), DAY_MS + 3, "cy"),
    ]
    assert await store.usage(None, 0, 9, (-1, ""), 10) == [Usage("pumpworks", 0, 1, 0), Usage("pumpworks", 1, 3, 0)]
