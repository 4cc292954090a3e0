"""Files of schema 1 are brought to the newest one in steps, of which each is done or not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from idnode.identifier import Identifier
from idnode.record import State
from idnode.store import carrying
from idnode.store.base import StoreFailed
from idnode.store.schema import migrations, open_writer
from idnode.store.sqlite import open_store

from .old_files import PREFIX, make_schema_1, texts

COUNT = 23


async def _check(path: Path, count: int = COUNT) -> None:
    store = open_store(path)
    records = await store.records(PREFIX)
    assert [each.identifier for each in records] == [Identifier(PREFIX, f"I{number:05d}") for number in range(count)]
    for number, record in enumerate(records):
        versions = await store.versions(record.identifier)
        assert [each.values[1].data.value for each in versions] == texts(number)
        assert versions[-1] == record == await store.record(record.identifier)
        for version, each in enumerate(versions, 1):
            assert (each.version, each.since_ms, each.author) == (version, 1000 * version, f"author-{version}")
            assert (each.state, each.links, each.template, each.reason) == (State.ACTIVE, (), None, None)
            assert each.event_id == (None if number % 5 else f"ni:{number}")
            assert [value.timestamp_ms for value in each.values] == [1000, 1000 * version]
            assert each.values[0].data.value == {"handle": "0.NA/88", "size": 10**30}
            assert each.values[0].ttl_s == 60
        assert await store.record(record.identifier, 1999) == versions[0]
    assert [each.id for each in await store.enterprises()] == ["pumpworks"]
    await store.close()


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


@pytest.mark.parametrize("step", [1, 7, 22, 23, 24, 2000])
async def test_an_old_file_is_carried_over_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(carrying, "STEP", step)
    make_schema_1(tmp_path / "idnode.db", COUNT)
    await _check(tmp_path / "idnode.db")
    assert not {"identifiers_1", "versions_1"} & _tables(tmp_path / "idnode.db")


async def test_an_old_file_without_identifiers_is_carried_over(tmp_path: Path) -> None:
    make_schema_1(tmp_path / "idnode.db", 0)
    await _check(tmp_path / "idnode.db", 0)
    assert "identifiers_1" not in _tables(tmp_path / "idnode.db")


async def test_what_was_interrupted_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "idnode.db"
    make_schema_1(path, COUNT)
    monkeypatch.setattr(carrying, "STEP", 4)
    carry = carrying._carry
    left = [0]

    def interrupted(connection: sqlite3.Connection, row: carrying._Row) -> None:
        if left[0] == 0:
            raise sqlite3.OperationalError("interrupted")
        left[0] -= 1
        carry(connection, row)

    monkeypatch.setattr(carrying, "_carry", interrupted)
    for rows in (0, 3, 4, 9, 1):
        left[0] = rows
        with pytest.raises(StoreFailed, match="interrupted"):
            open_writer(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM identifiers").fetchone() == (12,)
        assert connection.execute("SELECT count(*) FROM identifiers_1").fetchone() == (COUNT - 12,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
    monkeypatch.setattr(carrying, "_carry", carry)
    await _check(path)


async def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "idnode.db"
    make_schema_1(path, COUNT)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE identifiers SET content = x'5b7b5d' WHERE suffix = 'I00007'")
    with pytest.raises(StoreFailed, match=r"idnode\.db.*88\.100\.1/I00007"):
        open_store(path)
