"""A primary and a hot standby for real: one dies, the other goes on, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from benchmarks.postgres import Postgres
from idnode.enterprise import Name, Standing, Visibility
from idnode.identifier import parse_identifier
from idnode.record import Registered
from idnode.store.base import Store
from idnode.store.business import SUBSCRIPTION, Put
from idnode.store.postgres.store import Place, PostgresStore
from idnode.store.registry import put_enterprise
from tests.contracts.idnode_records import PART, part, registration, told
from tests.services import require_service

pytestmark = [pytest.mark.services, pytest.mark.long]
PATIENCE_S = 60


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    require_service("postgres")
    with Postgres() as primary, Postgres() as standby:
        primary.make()
        standby.make_standby_of(primary)
        yield primary, standby


@asynccontextmanager
async def opened(primary: Postgres, standby: Postgres) -> AsyncIterator[PostgresStore]:
    host, _, port = standby.address.rpartition(":")
    store = PostgresStore(Place(primary.url("idnode", standby), read_only=((host, int(port)),)))
    await store.start()
    yield store
    await store.close()


async def until(holds: Callable[[], bool]) -> None:
    """Let others work until it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.to_thread(lambda: None)


def asked(server: Postgres) -> int:
    """How many transactions its database has seen, which reads are too."""
    return int(server.sql("SELECT xact_commit FROM pg_stat_database WHERE datname = 'idnode'", "postgres"))


class Life:
    """Somebody who registers one after the other, and somebody who reads what was registered, until they are stopped."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_over = False
        self.acknowledged: list[int] = []
        self.reads = 0
        self.longest_read_s = 0.0

    async def write(self) -> None:
        number = 0
        while not self._is_over:
            assert await self._store.register([registration(part(number))], "a", 1) == [Registered.CREATED]
            self.acknowledged.append(number)
            number += 1

    async def read(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_over:
            if not self.acknowledged:
                await asyncio.sleep(0)
                continue
            began = loop.time()
            newest = self.acknowledged[-1]
            assert await self._store.record(part(newest)) is not None, f"{newest} was acknowledged"
            self.reads += 1
            self.longest_read_s = max(self.longest_read_s, loop.time() - began)

    async def more(self) -> None:
        """Return when both have gone on for a while."""
        written, read = len(self.acknowledged), self.reads
        await until(lambda: len(self.acknowledged) > written + 30 and self.reads > read + 30)

    @asynccontextmanager
    async def led(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.write())
            group.create_task(self.read())
            await self.more()
            yield
            self._is_over = True


async def test_a_standby_answers_what_it_has_and_the_primary_what_is_newer(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    async with opened(primary, standby) as store:
        await store.register([registration(PART, "first"), registration(part(1))], "a", 1)
        await until(lambda: not store._standbys.is_behind)
        before = await asyncio.to_thread(asked, primary)
        for _ in range(50):
            await store.record(PART)
        assert await asyncio.to_thread(asked, primary) - before < 40  # the listener's heartbeat, and psql's own

        await asyncio.to_thread(standby.sql, "SELECT pg_wal_replay_pause()", "postgres")
        await store.change(PART, told("second"), "a", 2)
        for _ in range(50):  # a standby that is behind isn't asked
            found = await store.record(PART)
            assert found is not None
            assert found.version == 2
        assert await store.record(part(1)) is not None
        assert store._standbys.is_behind
        async with opened(primary, standby) as newcomer:  # knows of no change
            found = await newcomer.record(PART)
            assert found is not None
            assert found.version == 2
        await asyncio.to_thread(standby.sql, "SELECT pg_wal_replay_resume()", "postgres")
        await until(lambda: not store._standbys.is_behind)
        found = await store.record(PART)
        assert found is not None
        assert found.version == 2


async def test_what_another_process_has_changed_is_not_read_from_a_standby_that_lacks_it(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    async with opened(primary, standby) as here, opened(primary, standby) as there:
        await here.register([registration(PART, "first")], "a", 1)
        await until(lambda: not here._standbys.is_behind)
        await asyncio.to_thread(standby.sql, "SELECT pg_wal_replay_pause()", "postgres")
        heard: list[object] = []
        here.watch(heard.append)
        await there.change(PART, told("second"), "b", 2)
        await until(lambda: bool(heard))
        found = await here.record(PART)
        assert found is not None
        assert found.version == 2


async def test_a_suspension_is_not_missed_because_a_standby_lacks_it(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    async with opened(primary, standby) as here, opened(primary, standby) as there:
        made = await here.add_enterprise("pumpworks", Name("x", "x"), Visibility.PUBLIC, "88.100", "admin", 1)
        await until(lambda: not here._standbys.is_behind)
        await asyncio.to_thread(standby.sql, "SELECT pg_wal_replay_pause()", "postgres")
        heard: list[object] = []
        here.watch(heard.append)
        suspended = msgspec.structs.replace(made, standing=Standing.SUSPENDED)
        await there.write([put_enterprise(suspended)], "admin", 2)
        assert await there.enterprise_of("88.100.1") == suspended
        await until(lambda: None in heard)
        for _ in range(20):
            assert await here.enterprise_of("88.100.1") == await here.enterprise("pumpworks") == suspended
            assert await here.enterprises() == [suspended]


async def test_reads_go_on_when_a_standby_is_killed(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    async with opened(primary, standby) as store:
        life = Life(store)
        async with life.led():
            await asyncio.to_thread(standby.kill)
            await life.more()
            await asyncio.to_thread(standby.start)
            await life.more()
        await until(lambda: not store._standbys.is_behind)


async def test_a_standby_that_is_promoted_has_all_that_the_killed_primary_acknowledged(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    primary.set("synchronous_standby_names", "*")
    async with opened(primary, standby) as store:
        made = await store.add_enterprise("pumpworks", Name("x", "x"), Visibility.PUBLIC, "88.100", "admin", 1)
        limited = put_enterprise(msgspec.structs.replace(made, quota=1_000_000))
        await store.write([limited, Put(SUBSCRIPTION, "s", b"{}", "pumpworks")], "admin", 2)
        life = Life(store)
        async with life.led():
            await asyncio.to_thread(primary.kill)
            read = life.reads
            await until(lambda: life.reads > read + 30)  # though nobody can write
            await asyncio.to_thread(standby.promote)
            await life.more()
            # One who was the primary and doesn't know better comes back, and stands first in the list.
            await asyncio.to_thread(primary.start)
            await life.more()
            store._writers.forget()
            await life.more()
        assert life.longest_read_s < PATIENCE_S
        # What is there was counted and is to be announced, each once.
        (count,) = await store.registered(["88.100.1"])
        announced = [key for each in await store.announcements("pumpworks", 0, 1_000_000) for key in each.keys]
    held = await asyncio.to_thread(standby.sql, "SELECT key FROM identifiers ORDER BY key")
    keys = held.splitlines()
    assert len(keys) == len(set(keys)) == count
    assert sorted(announced) == keys
    assert {part(number).key for number in life.acknowledged} <= set(keys)
    lonely = await asyncio.to_thread(primary.sql, "SELECT count(*) FROM identifiers")
    assert int(lonely) < len(keys)


async def test_while_the_primary_hangs_its_standby_answers(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    async with opened(primary, standby) as store:
        await store.register([registration(PART)], "a", 1)
        await until(lambda: not store._standbys.is_behind)
        await asyncio.to_thread(primary.pause)
        try:
            for _ in range(100):
                assert await store.record(PART) is not None
            # The primary is asked first, but not by each of them.
            async with asyncio.timeout(PATIENCE_S):
                assert [] not in await asyncio.gather(*(store.records("88.100.1") for _ in range(400)))
            heard: list[object] = []
            store.watch(heard.append)
            await until(lambda: None in heard)  # it is no longer told of changes
        finally:
            await asyncio.to_thread(primary.resume)
        await store.register([registration(parse_identifier("88.100.1/after"))], "a", 1)
