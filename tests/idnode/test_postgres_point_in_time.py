"""A database that is taken back to a moment (docs/idnode.md): what was acknowledged before is there, what came after isn't."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.postgres import Postgres
from idnode.record import Registered
from idnode.store.postgres.store import Place, PostgresStore
from tests.contracts.idnode_records import PART, part, registration, told
from tests.services import require_service

pytestmark = [pytest.mark.services, pytest.mark.long]


async def opened(server: Postgres) -> PostgresStore:
    store = PostgresStore(Place(server.url()))
    await store.start()
    return store


async def test_a_base_backup_and_the_archive_give_the_database_as_it_was() -> None:
    require_service("postgres")
    with Postgres() as server, Postgres() as restored:
        archive = server.make().archive()
        store = await opened(server)
        await store.register([registration(PART, "first")], "a", 1)
        base = await asyncio.to_thread(server.back_up)
        await store.change(PART, told("second"), "a", 2)
        await store.register([registration(part(number)) for number in range(1000)], "a", 3)
        moment = await asyncio.to_thread(server.sql, "SELECT clock_timestamp()")
        await store.change(PART, told("by mistake"), "a", 4)
        await store.register([registration(part(1000))], "a", 4)
        await store.close()
        await asyncio.to_thread(server.stop)  # what is under way is archived, as a switch of the log's file would see to

        await asyncio.to_thread(restored.make_as_of, base, archive, moment)
        store = await opened(restored)
        versions = await store.versions(PART)
        assert [version.version for version in versions] == [1, 2]
        assert len(await store.records("88.100.1", limit=2000)) == 1001
        assert await store.record(part(1000)) is None
        assert await store.register([registration(part(1000))], "a", 5) == [Registered.CREATED]
        await store.close()
