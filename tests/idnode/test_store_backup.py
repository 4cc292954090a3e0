"""Copies of a store that is in use, and stores put back from them."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from idnode.store import backup
from idnode.store.backup import InTheWay, NotABackup, check_backup, restore, take_backup
from idnode.store.base import StoreBusy, StoreFailed
from idnode.store.schema import PAGE_BYTES, open_reader
from idnode.store.sqlite import open_store
from tests.contracts.idnode_records import PART, part, registration, told

from .old_files import make_schema_1


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "idnode.db"


async def test_a_copy_is_the_store_of_one_moment_while_writers_go_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "SLICE", 1)
    store = open_store(place)
    await store.register([registration(part(number)) for number in range(100)], "a", 1)
    loop = asyncio.get_running_loop()
    written = 0

    def write(done: int, whole: int) -> None:
        nonlocal written
        if done < whole:
            new = [registration(part(1000 + written))]
            assert asyncio.run_coroutine_threadsafe(store.register(new, "a", 2), loop).result(10)
            written += 1

    size = await asyncio.to_thread(take_backup, place, tmp_path / "copy", write)
    await store.close()
    assert written > 5
    assert (tmp_path / "copy").stat().st_size == size
    copied = open_store(tmp_path / "copy")
    assert [each.identifier for each in await copied.records("88.100.1", limit=200)] == [part(number) for number in range(100)]
    await copied.close()


async def test_a_copy_is_one_file_for_its_owner_and_nothing_is_left_beside_it(place: Path, tmp_path: Path) -> None:
    await open_store(place).close()
    folder = tmp_path / "copies"
    folder.mkdir()
    take_backup(place, folder / "copy")
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {"copy": 0o600}


async def test_no_file_is_overwritten_by_a_copy(place: Path, tmp_path: Path) -> None:
    await open_store(place).close()
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(InTheWay, match="copy is there already"):
        take_backup(place, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"


def test_a_store_that_is_not_there_is_not_made_by_copying_it(place: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=r"idnode\.db isn't there"):
        take_backup(place, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


async def test_a_restored_store_is_that_of_the_copy_and_the_one_before_is_kept(place: Path, tmp_path: Path) -> None:
    store = open_store(place)
    await store.register([registration()], "a", 1)
    await store.change(PART, told("second"), "b", 2)
    take_backup(place, tmp_path / "copy")
    await store.change(PART, told("third"), "b", 3)
    versions = await store.versions(PART)
    await store.close()
    kept = restore(tmp_path / "copy", place)
    assert kept is not None
    again, before = open_store(place), open_store(kept)
    assert await again.versions(PART) == versions[:2]
    assert await before.versions(PART) == versions
    await again.close()
    await before.close()
    assert restore(tmp_path / "copy", place) == tmp_path / "idnode.db.before-restore-2"


async def test_what_a_killed_node_left_in_its_log_is_kept_too(place: Path, tmp_path: Path) -> None:
    await open_store(tmp_path / "other").close()
    take_backup(tmp_path / "other", tmp_path / "copy")
    store = open_store(place)
    with closing(open_reader(place)) as reader:  # so that closing leaves the log
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM identifiers").fetchall()
        await store.register([registration()], "a", 1)
        await store.close()
        with pytest.raises(StoreFailed, match="another process reads it"):
            restore(tmp_path / "copy", place)
    kept = restore(tmp_path / "copy", place)
    assert kept is not None
    before, again = open_store(kept), open_store(place)
    assert await before.record(PART) is not None
    assert await again.record(PART) is None
    await before.close()
    await again.close()


async def test_a_store_that_a_node_has_is_not_replaced(place: Path, tmp_path: Path) -> None:
    store = open_store(place)
    take_backup(place, tmp_path / "copy")
    with pytest.raises(StoreBusy):
        restore(tmp_path / "copy", place)
    await store.close()


async def test_a_copy_of_an_older_schema_is_brought_to_the_newest_when_it_is_opened(place: Path, tmp_path: Path) -> None:
    make_schema_1(tmp_path / "old", 5)
    take_backup(tmp_path / "old", tmp_path / "copy")
    assert restore(tmp_path / "copy", place) is None
    store = open_store(place)
    assert len(await store.records("88.100.1")) == 5
    await store.close()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -PAGE_BYTES - 1])


def _overwrite(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-PAGE_BYTES:] = b"\xaa" * PAGE_BYTES
    path.write_bytes(content)


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (id)")


def _future(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_cut, "copy"),
        (_overwrite, "copy"),
        (_foreign, "is no copy of an identifier node's store"),
        (_future, "newer version"),
        (Path.unlink, "isn't there"),
    ],
)
async def test_what_is_no_good_copy_replaces_nothing(
    place: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    store = open_store(place)
    await store.register([registration(part(number)) for number in range(200)], "a", 1)
    take_backup(place, tmp_path / "copy")
    await store.close()
    check_backup(tmp_path / "copy")
    before = place.read_bytes()
    spoil(tmp_path / "copy")
    with pytest.raises(NotABackup, match=reason):
        restore(tmp_path / "copy", place)
    assert place.read_bytes() == before
