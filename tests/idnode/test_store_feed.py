"""What other processes learn of changes: the feed on a connection that only reads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from idnode.enterprise import Name, Visibility
from idnode.record import Change, Registration
from idnode.store import feed
from idnode.store.base import StoreFailed
from idnode.store.reads import SqliteReads
from idnode.store.schema import open_reader
from idnode.store.sqlite import SqliteStore, open_store
from tests.contracts.idnode_records import OTHER, PART, part, registration, told


@dataclass
class Pair:
    """The owner of a file, and one who only reads it."""

    store: SqliteStore
    other: SqliteReads
    connection: sqlite3.Connection
    path: Path
    heard: list[Collection[str] | None] = field(default_factory=list)
    """By the one who reads."""


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    path = tmp_path / "idnode.db"
    store = open_store(path)
    with closing(open_reader(path)) as connection:
        made = Pair(store, SqliteReads(connection), connection, path)
        await store.register([registration(OTHER)], "a", 1)
        made.other.watch(made.heard.append)
        yield made
    await store.close()


async def test_nothing_is_told_before_refresh_and_nothing_twice(pair: Pair) -> None:
    await pair.store.register([registration()], "a", 1)
    await pair.store.change(PART, told("x"), "a", 2)
    assert pair.heard == []
    pair.other.refresh()
    assert pair.heard == [[PART.key], [PART.key]]
    pair.other.refresh()
    assert len(pair.heard) == 2
    record = await pair.other.record(PART)
    assert record is not None
    assert record.version == 2


async def test_all_of_a_commit_is_told_and_nothing_of_what_was_refused(pair: Pair) -> None:
    await asyncio.gather(
        pair.store.register([registration(part(1)), registration(part(2))], "a", 1),
        pair.store.change(PART, Change(values=()), "a", 1),
        pair.store.change(OTHER, told("x"), "a", 1),
        return_exceptions=True,
    )
    pair.other.refresh()
    assert pair.heard == [[part(1).key, part(2).key, OTHER.key]]


async def test_a_new_enterprise_may_change_any_answer(pair: Pair) -> None:
    await pair.store.add_enterprise("forge", Name("锻造厂", "Forge"), Visibility.RESTRICTED, "88.100", "admin", 1)
    pair.other.refresh()
    assert pair.heard == [None]


async def test_what_is_no_record_tells_nothing(pair: Pair) -> None:
    await pair.store.begin_job("j1", "pumpworks", "a", 1)
    pair.other.refresh()
    assert pair.heard == []


async def test_who_was_away_too_long_must_take_anything_for_changed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_ROWS", 5)
    for number in range(5):
        await pair.store.register([registration(part(number))], "a", 1)
    pair.other.refresh()
    assert len(pair.heard) == 5
    for number in range(5, 20):
        await pair.store.register([registration(part(number))], "a", 1)
    pair.other.refresh()
    assert pair.heard[5:] == [None]
    await pair.store.register([registration(part(20))], "a", 1)
    pair.other.refresh()
    assert pair.heard[6:] == [[part(20).key]]


async def test_the_feed_is_trimmed_by_rows_and_by_bytes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_ROWS", 30)
    monkeypatch.setattr(feed, "MOST_BYTES", 1000)
    for number in range(40):
        await pair.store.register([Registration(part(number), ())], "a", 1)
    count, size = pair.connection.execute("SELECT count(*), sum(length(keys)) FROM changes").fetchone()
    assert count == 30
    await pair.store.register([Registration(part(number), ()) for number in range(100, 600)], "a", 1)
    await pair.store.register([Registration(part(number), ()) for number in range(1000, 1020)], "a", 1)
    count, size = pair.connection.execute("SELECT count(*), sum(length(keys)) FROM changes").fetchone()
    assert (count, size < 1000) == (1, True)
    pair.other.refresh()
    assert pair.heard == [None]


async def test_an_owner_who_watches_is_told_once(pair: Pair) -> None:
    heard: list[Collection[str] | None] = []
    pair.store.watch(heard.append)
    for number in range(3):
        await pair.store.register([registration(part(number))], "a", 1)
        pair.store.refresh()
    assert heard == [[part(number).key] for number in range(3)]


async def test_who_opens_the_file_later_hears_of_what_comes(pair: Pair) -> None:
    heard: list[Collection[str] | None] = []
    with closing(open_reader(pair.path)) as connection:
        late = SqliteReads(connection)
        late.watch(heard.append)
        late.refresh()
        await pair.store.register([registration()], "a", 1)
        late.refresh()
    assert heard == [[PART.key]]


async def test_a_feed_that_cannot_be_read_tells_anything_and_says_so(pair: Pair) -> None:
    with closing(sqlite3.connect(pair.path)) as vandal, vandal:
        vandal.execute("INSERT INTO changes SELECT max(sequence) + 1, 1, x'ff' FROM changes")
    with pytest.raises(StoreFailed, match="can't be read"):
        pair.other.refresh()
    assert pair.heard == [None]
