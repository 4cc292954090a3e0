"""The schema in PostgreSQL, brought up to date while others are at it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from idnode.store.base import StoreFailed
from idnode.store.postgres import schema
from idnode.store.postgres.connection import Target, connect
from idnode.store.postgres.store import Place, PostgresStore
from tests.contracts.idnode_records import CREATED, registration
from tests.idnode.postgres import shared_server

pytestmark = pytest.mark.services


@pytest.fixture
def database() -> Iterator[str]:
    """An empty one."""
    server = shared_server()
    server.sql("CREATE DATABASE empty", "postgres")
    yield server.url("empty")
    server.sql("DROP DATABASE empty WITH (FORCE)", "postgres")


async def test_many_who_start_at_once_make_one_schema(database: str) -> None:
    stores = [PostgresStore(Place(database)) for _ in range(4)]
    await asyncio.gather(*(store.start() for store in stores))
    assert await stores[0].register([registration()], "a", 1) == [CREATED]
    await asyncio.gather(*(store.close() for store in stores))
    applied = await asyncio.to_thread(shared_server().sql, "SELECT number, name FROM idnode_schema ORDER BY number", "empty")
    assert applied.splitlines() == [f"{number}|{name}" for number, (name, _) in enumerate(schema.migrations(), 1)]


async def test_a_step_is_done_or_not_and_the_next_one_goes_on(database: str) -> None:
    steps = [
        ("0001", "CREATE TABLE a (key text PRIMARY KEY, number bigint)"),
        ("0002", "-- concurrently\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_by_number ON a (number);\nSELECT 1 / 0;\n"),
    ]
    session = await connect(Target(database), None)
    with pytest.raises(Exception, match="division by zero"):
        await schema.migrate(session, steps)
    # As one finds it who was killed while the index was being built.
    await session.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a_by_number'::regclass")
    mended = [steps[0], ("0002", steps[1][1].replace("1 / 0", "1")), ("0003", "ALTER TABLE a ADD COLUMN more text")]
    assert await schema.migrate(session, mended)
    assert await session.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_by_number'::regclass")
    assert not await schema.migrate(session, mended)
    with pytest.raises(StoreFailed, match="newer version"):
        await schema.migrate(session, steps)
    await session.close()


async def test_a_step_waits_for_no_lock_so_that_nobody_waits_for_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "ATTEMPTS", 1)
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "10ms")
    steps = [("0001", "CREATE TABLE a (key text)"), ("0002", "ALTER TABLE a ADD COLUMN more text")]
    session, reader = await connect(Target(database), None), await connect(Target(database))
    await schema.migrate(session, steps[:1])
    async with reader.transaction():
        await reader.rows("SELECT * FROM a")
        with pytest.raises(StoreFailed, match="0002 can't be applied"):
            await schema.migrate(session, steps)
    assert await schema.migrate(session, steps)
    await reader.close()
    await session.close()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [int(name[:4]) for name, _ in schema.migrations()] == list(range(1, len(schema.migrations()) + 1))
