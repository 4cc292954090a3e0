"""Both stores against the contract of the business, and what only a file can show."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from idnode.enterprise import Role, Standing, Visibility
from idnode.event import ErrorBehaviour
from idnode.record import Registered
from idnode.store.base import Store, StoreFull
from idnode.store.memory import MemoryStore
from idnode.store.registry import KEY
from idnode.store.schema import migrations
from idnode.store.sqlite import open_store
from tests.contracts.idnode_business import NAME, BusinessContract, capture, part
from tests.contracts.idnode_records import registration

from .old_files import make_schema_1


class TestMemoryBusiness(BusinessContract):
    def open(self, folder: Path) -> Store:
        return MemoryStore()


class TestSqliteBusiness(BusinessContract):
    def open(self, folder: Path) -> Store:
        return open_store(folder / "idnode.db")


def _make_old(path: Path) -> None:
    """A file of schema 1 with 30 identifiers, and a key that was made anew, one that stands and one that was revoked."""
    make_schema_1(path, 30)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for digest, label, at_ms, revoked in ((b"\xff", "g", 5, 6), (b"\xfe", "g", 7, None), (b"\xfd", "r", 5, 9)):
            row = (digest * 32, "pumpworks", label, "gateway", "admin", at_ms, revoked)
            connection.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)", row)


async def test_an_old_file_keeps_its_enterprises_and_keys(tmp_path: Path) -> None:
    _make_old(tmp_path / "idnode.db")
    store = open_store(tmp_path / "idnode.db")
    (enterprise,) = await store.enterprises()
    assert (enterprise.id, enterprise.name.zh, enterprise.prefix) == ("pumpworks", "木棉泵业", "88.100.1")
    assert enterprise.standing is Standing.ACTIVE
    assert await store.enterprise_of("88.100.1") == enterprise
    token = await store.token(b"\xfe" * 32)
    assert token is not None
    assert (token.enterprise, token.label, token.role) == ("pumpworks", "g", Role.GATEWAY)
    assert await store.token(b"\xff" * 32) is await store.token(b"\xfd" * 32) is None
    assert [each.version for each in await store.entry_versions(KEY, "pumpworks/g")] == [1, 2]
    later = await store.add_enterprise("forge", enterprise.name, enterprise.visibility, "88.100", "admin", 9)
    assert later.prefix == "88.100.2"
    await store.close()


async def test_what_an_old_file_holds_is_counted(tmp_path: Path) -> None:
    _make_old(tmp_path / "idnode.db")
    store = open_store(tmp_path / "idnode.db")
    assert await store.registered(["88.100.1"]) == [30]
    assert await store.register([registration(part(1))], "a", 1) == [Registered.CREATED]
    assert await store.registered(["88.100.1"]) == [31]
    await store.close()


def test_identifiers_of_schema_2_are_counted(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "idnode.db", isolation_level=None)) as connection:
        connection.executescript(migrations()[0] + migrations()[1])
        row = "'zh', 'en', 'public', 'admin', 1"
        connection.execute(f"INSERT INTO enterprises VALUES ('a', 1, '88.100.1', {row}), ('b', 10, '88.100.10', {row})")
        for key in ("88.100.1/A", "88.100.1/B", "88.100.10/A"):
            connection.execute("INSERT INTO identifiers VALUES (NULL, ?, NULL, 1, 1, 1, 'a', NULL, NULL, x'00')", (key,))
        connection.executescript(migrations()[2])
        assert connection.execute("SELECT * FROM counts ORDER BY prefix").fetchall() == [("88.100.1", 2), ("88.100.10", 1)]
        assert connection.execute("SELECT key, content FROM entries WHERE kind = 'series'").fetchall() == [("88.100", b"10")]


@pytest.mark.parametrize("behaviour", ErrorBehaviour)
async def test_a_disk_that_is_full_amid_a_document_is_told_as_that_and_nothing_is_kept(
    tmp_path: Path, behaviour: ErrorBehaviour
) -> None:
    store = open_store(tmp_path / "idnode.db")
    await store.add_enterprise("pumpworks", NAME, Visibility.PUBLIC, "88.100", "admin", 1)

    def fill(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    await store._writer.run(fill)
    many = [part(number) for number in range(999)]
    with pytest.raises(StoreFull):
        await store.capture(capture("c1", *many, behaviour=behaviour))
    assert await store.records("88.100.1") == []
    assert await store.registered(["88.100.1"]) == [0]
    await store._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
    assert (await store.capture(capture("c2", *many, behaviour=behaviour))).stored == 1
    await store.close()
