"""The store of a worker: the same contract, over a channel to the process that owns the file."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from idnode.record import Change
from idnode.store.base import Store, StoreFailed
from idnode.store.calls import CALLS
from idnode.store.commit_count import CommitCount
from idnode.store.movable import Movable
from idnode.store.remote import RemoteStore, answer_call
from idnode.store.schema import open_reader
from idnode.store.sqlite import SqliteStore, open_store
from idnode.workers.channel import Channel, ChannelLost
from tests.contracts.idnode_business import BusinessContract
from tests.contracts.idnode_records import PART, registration, told
from tests.contracts.idnode_store_contract import DurableStoreContract


class Pair(RemoteStore):
    """A remote store that owns its owner, so that closing it closes both."""

    def __init__(self, path: Path) -> None:
        self.store: SqliteStore = open_store(path)
        self.mine, self.owners = Channel(self._nothing), Channel(self._answer)
        self._opening = asyncio.get_running_loop().create_task(self._open())
        super().__init__(open_reader(path), self.mine, CommitCount(os.dup(self.store.count.descriptor)))

    async def _open(self) -> None:
        one, other = socket.socketpair()
        await self.mine.open(one)
        await self.owners.open(other)

    async def _answer(self, name: str, content: msgspec.Raw) -> msgspec.Raw:
        return await answer_call(self.store, name, content)

    async def _nothing(self, name: str, content: msgspec.Raw) -> msgspec.Raw:
        raise AssertionError(name)

    async def _change(self, *args: object, **kwargs: object) -> object:
        await self._opening
        return await super()._change(*args, **kwargs)  # type: ignore[arg-type]

    async def close(self) -> None:
        await self._opening
        await super().close()
        await self.store.close()
        self.mine.close()
        self.owners.close()


class TestRemoteStore(DurableStoreContract):
    def open(self, folder: Path) -> Store:
        return cast(Store, Pair(folder / "idnode.db"))


class TestRemoteBusiness(BusinessContract):
    def open(self, folder: Path) -> Store:
        return cast(Store, Pair(folder / "idnode.db"))


def test_every_method_of_the_contract_is_a_read_or_goes_to_the_owner() -> None:
    methods = {name for contract in (Store, Movable) for name in dir(contract) if not name.startswith("_")}
    moves = {name for name in dir(Movable) if not name.startswith("_")}
    assert methods == {name for name in dir(RemoteStore) if not name.startswith("_")} | set(CALLS)
    assert moves <= set(CALLS)
    assert (set(CALLS) - moves).isdisjoint(dir(RemoteStore))


async def test_many_calls_wait_at_once_and_share_commits(tmp_path: Path) -> None:
    pair = Pair(tmp_path / "idnode.db")
    store = cast(Store, pair)
    commits: list[str] = []
    connection = pair.store._writer._connection
    connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    await asyncio.gather(*(store.register([registration(text=str(n))], "a", n) for n in range(100)))
    connection.set_trace_callback(None)
    assert 1 <= len(commits) <= 20
    await store.close()


async def test_who_watches_is_told_before_the_change_returns_here_and_before_refresh_returns_there(tmp_path: Path) -> None:
    pair = Pair(tmp_path / "idnode.db")
    store, heard = cast(Store, pair), list[object]()
    store.watch(heard.append)
    await store.register([registration()], "a", 1)
    assert heard == [[PART.key]]
    await pair.store.change(PART, told("by another process"), "a", 2)
    store.refresh()
    assert heard == [[PART.key], [PART.key]]
    await store.close()


async def test_sqlite_is_not_asked_for_changes_while_nobody_has_committed(tmp_path: Path) -> None:
    pair = Pair(tmp_path / "idnode.db")
    store, asked = cast(Store, pair), list[str]()
    store.watch(lambda _: None)
    await store.register([registration()], "a", 1)
    for connection in (pair._reader, pair.store._reader):
        connection.set_trace_callback(asked.append)
    for _ in range(3):
        store.refresh()
        pair.store.refresh()
    assert asked == []
    await pair.store.change(PART, told("x"), "a", 2)
    store.refresh()
    assert asked
    await store.close()


async def test_records_that_are_read_in_one_turn_of_the_loop_share_a_transaction(tmp_path: Path) -> None:
    pair = Pair(tmp_path / "idnode.db")
    store, asked = cast(Store, pair), list[str]()
    await store.register([registration()], "a", 1)
    await asyncio.sleep(0)
    pair._reader.set_trace_callback(lambda sql: asked.append(sql.split()[0]))
    for _ in range(3):
        assert await store.record(PART) is not None
    assert asked == ["BEGIN", "SELECT", "SELECT", "SELECT"]
    await asyncio.sleep(0)
    assert asked[4:] == ["COMMIT"]
    assert not pair._reader.in_transaction
    await store.record(PART)
    assert asked[5:] == ["BEGIN", "SELECT"]
    await store.close()  # with one that hasn't ended


class Failing:
    """A connection of which one statement fails once."""

    def __init__(self, connection: sqlite3.Connection, statement: str) -> None:
        self._connection, self._statement = connection, statement
        self.failed = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql.startswith(self._statement) and not self.failed:
            self.failed = True
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(sql, *arguments)


@pytest.mark.parametrize("statement", ["BEGIN", "SELECT", "COMMIT"])
async def test_after_an_error_of_the_disk_records_are_read_again(tmp_path: Path, statement: str) -> None:
    pair = Pair(tmp_path / "idnode.db")
    store = cast(Store, pair)
    await store.register([registration()], "a", 1)
    failing = Failing(pair._reader, statement)
    pair._reader = cast(sqlite3.Connection, failing)
    for turn in range(3):
        try:
            assert await store.record(PART) is not None
        except StoreFailed:
            assert turn == 0
        await asyncio.sleep(0)
        assert not pair._reader.in_transaction
    assert failing.failed
    await store.close()


@pytest.mark.parametrize("told_by", ["refresh", "commit", "another read"])
async def test_a_change_is_seen_in_the_turn_in_which_it_is_told(tmp_path: Path, told_by: str) -> None:
    pair = Pair(tmp_path / "idnode.db")
    store = pair.store if told_by == "commit" else cast(Store, pair)
    await pair.store.register([registration()], "a", 1)
    store.refresh()

    async def version() -> int:
        found = await store.record(PART)
        assert found is not None
        return found.version

    assert await version() == 1
    writer = sqlite3.connect(tmp_path / "idnode.db")
    writer.execute("UPDATE identifiers SET version = 2")
    writer.commit()
    writer.close()
    assert await version() == 1  # nobody was told of it
    if told_by == "refresh":
        pair.store.count.add()
        store.refresh()
    elif told_by == "commit":
        pair.store._committed()
    else:
        await store.entry("nothing", "of interest")
    assert await version() == 2
    await pair.close()


async def test_a_refresh_that_failed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path / "idnode.db")
    store, heard = cast(Store, pair), list[object]()
    store.watch(heard.append)
    await pair.store.register([registration()], "a", 1)

    def fail() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(pair._feed, "refresh", fail)
        with pytest.raises(StoreFailed):
            store.refresh()
    assert heard == [None]
    store.refresh()
    assert heard == [None, [PART.key]]
    await store.close()


async def test_when_the_owner_goes_what_waits_fails_and_so_does_the_store(tmp_path: Path) -> None:
    pair = Pair(tmp_path / "idnode.db")
    store = cast(Store, pair)
    await store.register([registration()], "a", 1)
    asked = asyncio.Event()

    async def never(name: str, content: msgspec.Raw) -> msgspec.Raw:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    pair.owners._handler = never
    waiting = asyncio.create_task(store.change(PART, Change(), "a", 2))
    failure = asyncio.create_task(store.wait_failure())
    await asked.wait()
    pair.owners.close()
    with pytest.raises(StoreFailed, match="has gone"):
        await waiting
    assert isinstance(await failure, StoreFailed)
    with pytest.raises(StoreFailed):
        await store.change(PART, Change(), "a", 3)
    assert await store.record(PART) is not None
    for task in pair.owners._tasks:
        task.cancel()
    await store.close()


async def test_a_mistake_of_the_owner_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path / "idnode.db")

    async def fail(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(pair.store, "register", fail)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: oh"):
        await cast(Store, pair).register([registration()], "a", 1)
    await pair.close()


async def test_frames_of_any_size_and_cut_anywhere_arrive_whole() -> None:
    async def echo(name: str, content: msgspec.Raw) -> msgspec.Raw:
        return content

    here, there = Channel(echo), Channel(echo)
    one, other = socket.socketpair()
    await here.open(one)
    await there.open(other)
    sizes = [0, 1, 65_535, 3_000_000, 17]
    texts = await asyncio.gather(*(here.call("echo", msgspec.Raw(msgspec.msgpack.encode("x" * size))) for size in sizes))
    assert [len(msgspec.msgpack.decode(text)) for text in texts] == sizes
    back = await there.call("echo", msgspec.Raw(msgspec.msgpack.encode("back")))
    assert msgspec.msgpack.decode(back) == "back"
    here.close()
    await there.lost.wait()
    with pytest.raises(ChannelLost):
        await there.call("echo", msgspec.Raw(b"\xc0"))
