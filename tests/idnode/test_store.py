"""Both stores against the one contract, and what only a file can show."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from idnode.event import EventQuery
from idnode.record import Registered
from idnode.store import schema
from idnode.store import writer as writer_room
from idnode.store.base import Store, StoreBusy, StoreFailed, StoreFull
from idnode.store.memory import MemoryStore
from idnode.store.sqlite import open_store
from idnode.store.writer import Writer
from tests.contracts.idnode_records import OTHER, PART, registration
from tests.contracts.idnode_store_contract import DurableStoreContract, StoreContract, capture, event


class TestMemoryStore(StoreContract):
    def open(self, folder: Path) -> Store:
        return MemoryStore()


class TestSqliteStore(DurableStoreContract):
    def open(self, folder: Path) -> Store:
        return open_store(folder / "idnode.db")


async def test_a_second_owner_is_turned_away_and_told_who_has_the_file(tmp_path: Path) -> None:
    store = open_store(tmp_path / "idnode.db")
    with pytest.raises(StoreBusy, match=f"in use by process {os.getpid()}"):
        open_store(tmp_path / "idnode.db")
    await store.close()
    await open_store(tmp_path / "idnode.db").close()


async def test_its_files_are_for_their_owner_only(tmp_path: Path) -> None:
    store = open_store(tmp_path / "idnode.db")
    await store.register([registration()], "a", 1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    await store.close()
    assert modes == dict.fromkeys(["idnode.db", "idnode.db-wal", "idnode.db-shm", "idnode.db.lock"], 0o600)


async def test_the_writer_syncs_every_commit(tmp_path: Path) -> None:
    connection = schema.open_writer(tmp_path / "idnode.db")
    settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")]
    connection.close()
    assert settings == ["wal", 2, 1]


async def test_the_reader_cannot_write(tmp_path: Path) -> None:
    schema.open_writer(tmp_path / "idnode.db").close()
    reader = schema.open_reader(tmp_path / "idnode.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM events")
    reader.close()


async def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "idnode.db"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 40)
    with pytest.raises(StoreFailed, match=r"idnode\.db.*not a database"):
        open_store(path)
    assert path.read_bytes().startswith(b"not a database")


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "idnode.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE things (id)")
    other.close()
    with pytest.raises(StoreFailed, match="another program"):
        open_store(path)


async def test_a_file_from_the_future_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "idnode.db"
    connection = schema.open_writer(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(StoreFailed, match="newer version"):
        open_store(path)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreFailed, match="file"):
        open_store(tmp_path / "file" / "idnode.db")


@pytest.mark.parametrize("call", ["ftruncate", "pwrite"])
async def test_a_disk_that_is_full_at_the_lock_is_told_and_leaves_it_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StoreFailed, match=r"idnode\.db\.lock: No space left"):
            open_store(tmp_path / "idnode.db")
    await open_store(tmp_path / "idnode.db").close()


async def test_requests_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    connection = schema.open_writer(tmp_path / "idnode.db")
    commits: list[str] = []
    connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    writer = Writer(connection)
    await asyncio.gather(*(writer.run(lambda each: each.execute("SELECT 1").fetchone()) for _ in range(100)))
    await writer.close()
    assert 1 <= len(commits) <= 3


async def test_bulk_and_those_who_wait_for_one_do_not_all_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_room, "LARGEST_KEYS", 10)
    connection = schema.open_writer(tmp_path / "idnode.db")
    commits: list[str] = []
    connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    writer = Writer(connection)
    await asyncio.gather(*(writer.run(lambda each: each.execute("SELECT 1").fetchone(), ["key"] * 12) for _ in range(5)))
    assert len(commits) == 5
    await asyncio.gather(*(writer.run(lambda each: each.execute("SELECT 1").fetchone(), ["key"] * 5) for _ in range(6)))
    await writer.close()
    assert len(commits) == 8


async def test_whoever_waits_is_answered_even_if_a_watcher_fails(tmp_path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    writer = Writer(schema.open_writer(tmp_path / "idnode.db"), fail)
    for _ in range(2):
        async with asyncio.timeout(5):
            assert await writer.run(lambda each: each.execute("SELECT 1").fetchone()) == (1,)
        with pytest.raises(ZeroDivisionError):
            await writer.finish()
    with pytest.raises(ZeroDivisionError):
        await writer.close()
    writer._thread.shutdown()
    writer._connection.close()


async def test_a_full_disk_changes_nothing_and_is_survived(tmp_path: Path) -> None:
    connection = schema.open_writer(tmp_path / "idnode.db")
    writer = Writer(connection)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    big = "INSERT INTO serials VALUES (?, 1)"

    def fill(each: sqlite3.Connection) -> None:
        each.executemany(big, [(f"{number}" * 200,) for number in range(1000)])  # more than what is free in the file

    with pytest.raises(StoreFull):
        await writer.run(fill)
    connection.execute("PRAGMA max_page_count = 100000")
    await writer.run(fill)
    (rows,) = await writer.run(lambda each: each.execute("SELECT count(*) FROM serials").fetchone())
    await writer.close()
    assert rows == 1000


async def test_after_a_failed_disk_nothing_more_is_accepted(tmp_path: Path) -> None:
    writer = Writer(schema.open_writer(tmp_path / "idnode.db"))

    def fail(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(StoreFailed, match="disk I/O error"):
        await writer.run(fail)
    async with asyncio.timeout(5):
        assert "disk I/O error" in str(await writer.wait_failure())
    with pytest.raises(StoreFailed):
        await writer.run(lambda each: each.execute("SELECT 1"))
    await writer.close()


async def test_a_fault_in_an_operation_is_told_to_all_who_shared_its_commit(tmp_path: Path) -> None:
    writer = Writer(schema.open_writer(tmp_path / "idnode.db"))

    def insert(each: sqlite3.Connection) -> None:
        each.execute("INSERT INTO serials VALUES ('x', 1)")

    answers = await asyncio.gather(writer.run(insert), writer.run(lambda _: 1 // 0), return_exceptions=True)
    assert all(isinstance(answer, ZeroDivisionError) for answer in answers)
    (rows,) = await writer.run(lambda each: each.execute("SELECT count(*) FROM serials").fetchone())
    await writer.close()
    assert rows == 0


async def test_whoever_asked_may_leave_before_the_answer(tmp_path: Path) -> None:
    store = open_store(tmp_path / "idnode.db")
    impatient = asyncio.create_task(store.register([registration()], "a", 1))
    patient = asyncio.create_task(store.register([registration(OTHER)], "a", 1))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == [Registered.CREATED]
    assert await store.record(PART) is not None
    await store.close()


async def test_what_waits_is_committed_before_closing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "idnode.db")
    waiting = asyncio.create_task(store.capture(capture(event("one", PART))))
    await asyncio.sleep(0)
    await store.close()
    assert (await waiting).stored == 1
    again = open_store(tmp_path / "idnode.db")
    assert len(await again.events(EventQuery())) == 1
    await again.close()


def test_migrations_are_numbered_without_gaps() -> None:
    folder = Path(schema.__file__).parent / "migrations"
    numbers = sorted(int(path.name[:4]) for path in folder.glob("*.sql"))
    assert numbers == list(range(1, len(schema.migrations()) + 1))
