"""The store in PostgreSQL against the contract of the business, and what only a server with several nodes can show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from idnode.enterprise import Enterprise, LeaseOrder, Role, Standing, Token, Visibility
from idnode.event import ErrorBehaviour
from idnode.identifier import Identifier, parse_identifier
from idnode.job import RowOutcome
from idnode.record import Registered, Registration
from idnode.store.base import OverQuota, Store
from idnode.store.business import PREFIX, SUBSCRIPTION, Count, Put, Trim, Usage
from idnode.store.postgres import record_rows
from idnode.store.postgres.connection import Target, connect
from idnode.store.postgres.record_rows import New
from idnode.store.postgres.store import Place, PostgresStore
from idnode.store.postgres.tally import Owners
from idnode.store.registry import KEY, put_enterprise
from tests.contracts.idnode_business import NAME, BusinessContract, capture, part
from tests.contracts.idnode_records import registration, told
from tests.idnode.postgres import emptied, shared_server
from tests.idnode.test_store_postgres import Cut, Ears

pytestmark = pytest.mark.services
CREATED, OVER_QUOTA = Registered.CREATED, Registered.OVER_QUOTA
EVERY_USAGE = (None, 0, 9, (-1, ""), 100)


class TestPostgresBusiness(BusinessContract):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = emptied(shared_server())

    def open(self, folder: Path) -> Store:
        return PostgresStore(Place(self.url))


@pytest.fixture
async def nodes() -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two on one database."""
    url = emptied(shared_server())
    one, other = PostgresStore(Place(url)), PostgresStore(Place(url))
    await asyncio.gather(one.start(), other.start())
    yield one, other
    await asyncio.gather(one.close(), other.close())


@pytest.fixture
async def store(nodes: tuple[PostgresStore, PostgresStore]) -> PostgresStore:
    return nodes[0]


async def enterprise(store: Store, key: str = "pumpworks", quota: int | None = None) -> Enterprise:
    made = await store.add_enterprise(key, NAME, Visibility.PUBLIC, "88.100", "admin", 1)
    made = msgspec.structs.replace(made, quota=quota)
    await store.write([put_enterprise(made)], "admin", 2)
    return made


def parts(first: int, count: int) -> list[Registration]:
    return [registration(part(number)) for number in range(first, first + count)]


async def job(store: Store, key: str, rows: Sequence[Registration]) -> int:
    """How many were created."""
    await store.begin_job(key, "pumpworks", "a", 1)
    return (await store.advance_job(key, 0, rows, 2)).job.created


async def captured(store: Store, number: int) -> int:
    """How many an event brought into the world."""
    try:
        await store.capture(capture(f"c{number}", part(number), part(number + 1)))
    except OverQuota:
        return 0
    return 2


# Quotas


@pytest.mark.parametrize("many", [8, 500], ids=["copied", "inserted"])
async def test_two_nodes_never_exceed_a_quota(
    nodes: tuple[PostgresStore, PostgresStore], monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(record_rows, "MANY", many)
    await enterprise(nodes[0], quota=100)
    made = [
        *(each.register(parts(100 + 20 * number + place, 10), "a", 1) for number in range(6) for place, each in enumerate(nodes)),
        *(each.register(parts(400, 5), "a", 1) for each in nodes),
    ]  # fmt: skip
    others = [
        *(job(each, f"j{place}", parts(500 + 20 * place, 20)) for place, each in enumerate(nodes)),
        *(captured(each, 600 + 10 * number + 2 * place) for number in range(3) for place, each in enumerate(nodes)),
    ]
    outcomes, counts = await asyncio.gather(asyncio.gather(*made), asyncio.gather(*others))
    assert sum(each.count(CREATED) for each in outcomes) + sum(counts) == 100
    assert await nodes[0].registered(["88.100.1"]) == [100]
    assert len(await nodes[1].records("88.100.1", limit=1000)) == 100
    assert sum(each.registrations for each in await nodes[1].usage(*EVERY_USAGE)) == 100


async def test_a_quota_that_is_set_while_others_register_holds_from_then_on(nodes: tuple[PostgresStore, PostgresStore]) -> None:
    one, other = nodes
    made = await enterprise(one)
    is_over = False

    async def work(store: PostgresStore, first: int) -> None:
        number = first
        while not is_over:
            await store.register(parts(number, 3), "a", 1)
            number += 3

    async with asyncio.TaskGroup() as group:
        for each in ((one, 0), (one, 10_000), (other, 20_000), (other, 30_000)):
            group.create_task(work(*each))
        for turn in range(5):
            (before,) = await other.registered(["88.100.1"])
            await one.write([put_enterprise(msgspec.structs.replace(made, quota=before + 20))], "admin", 3)
            (then,) = await other.registered(["88.100.1"])
            for store in (one, other):
                assert set(await store.register(parts(50_000 + 100 * turn, 90), "a", 1)) >= {OVER_QUOTA}
            assert await one.registered(["88.100.1"]) == [max(then, before + 20)]
            await one.write([put_enterprise(msgspec.structs.replace(made, quota=None))], "admin", 4)
        is_over = True
    (count,) = await one.registered(["88.100.1"])
    assert count == len(await one.records("88.100.1", limit=1_000_000))


async def test_what_is_done_when_the_connection_breaks_is_counted_and_announced_once(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enterprise(store, quota=6)
    await store.write([Put(SUBSCRIPTION, "s", b"{}", "pumpworks")], "ann", 1)
    cut = Cut(monkeypatch)
    cut.arm()
    assert await store.register(parts(0, 4), "a", 1) == [CREATED] * 4
    cut.arm()
    await store.begin_job("j", "pumpworks", "a", 1)
    cut.arm()
    advance = await store.advance_job("j", 0, parts(3, 4), 2)
    wanted = (RowOutcome.REPEATED, RowOutcome.CREATED, RowOutcome.CREATED, RowOutcome.OVER_QUOTA)
    assert advance.outcomes == "".join(each.letter for each in wanted)
    cut.arm()
    await store.write([Count("pumpworks", 0, 5), Put("note", "a", b"x"), Put("note", "a", b"y", if_version=1)], "ann", 1)
    cut.arm()
    await store.write([Put("note", "b", b"x", if_version=0)], "ann", 1)
    cut.arm()
    await store.capture(capture("c", part(1)))
    assert await store.registered(["88.100.1"]) == [6]
    assert await store.usage(*EVERY_USAGE) == [Usage("pumpworks", 0, 6, 5)]
    assert len(await store.announcements("pumpworks", 0, 10)) == 2
    assert [each.version for each in await store.entry_versions("note", "a")] == [1, 2]
    assert [each.version for each in await store.entry_versions("note", "b")] == [1]
    cut.arm()
    lease, is_new = await store.lease(LeaseOrder("88.100.1", 4, "g", b"t" * 32, "k"), 1)
    assert is_new is False  # it was made before it was asked again
    cut.arm()
    pool = await store.give_back(lease.id, lease.suffixes[:2], 2)
    assert (pool.returned, pool.outstanding) == (lease.suffixes[:2], lease.suffixes[2:])


async def test_a_prefix_that_another_node_has_just_given_away_is_counted_for_its_new_owner(
    nodes: tuple[PostgresStore, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    await enterprise(one)
    await enterprise(one, "forge", quota=2)
    await one.register(parts(0, 1), "a", 1)
    monkeypatch.setattr(one._owners, "watch", lambda _: None)
    one._feed._watchers.clear()  # it isn't told
    await other.write([Put(PREFIX, "88.100.1", b"{}", "forge")], "admin", 3)
    assert await one.register(parts(1, 2), "a", 1) == [CREATED, OVER_QUOTA]
    monkeypatch.setattr(record_rows, "MANY", 1)
    await other.write([Put(PREFIX, "88.100.1", b"", "forge")], "admin", 4)
    assert await one.register(parts(3, 2), "a", 1) == [CREATED, CREATED]  # nobody's
    assert await one.usage(*EVERY_USAGE) == [Usage("forge", 0, 1, 0), Usage("pumpworks", 0, 1, 0)]
    assert await one.registered(["88.100.1"]) == [2]


async def test_many_prefixes_at_once_need_few_locks(store: PostgresStore) -> None:
    made = [parse_identifier(f"88.100.{number}/A") for number in range(3, 3000)]
    assert await store.register([registration(each) for each in made], "a", 1) == [CREATED] * len(made)


# Usage and announcements


async def test_what_several_nodes_count_adds_up(nodes: tuple[PostgresStore, PostgresStore]) -> None:
    counts = (each.write([Count("pumpworks", 1, 2), Count("forge", 1, 1)], "node", 1) for each in nodes for _ in range(20))
    await asyncio.gather(*counts)
    assert await nodes[0].usage(*EVERY_USAGE) == [Usage("forge", 1, 0, 40), Usage("pumpworks", 1, 0, 80)]


@asynccontextmanager
async def held(url: str, *new: New) -> AsyncIterator[None]:
    """While another has registered these, and not committed yet."""
    session = await connect(Target(url))
    async with session.transaction():
        await record_rows.register(session, new, again=False, owners=Owners())
        yield
    await session.close()


async def is_waiting(task: asyncio.Task[object]) -> bool:
    """Whether somebody comes to wait for a lock before a task is done."""
    # Mostly for the lock that they take; of two sessions that count in the same row, for the row, which comes before it.
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while not task.done():
        if await asyncio.to_thread(shared_server().sql, waiting) != "0":
            return True
    return False


async def test_an_announcement_waits_for_the_one_before_so_that_who_follows_misses_none(
    nodes: tuple[PostgresStore, PostgresStore],
) -> None:
    one, other = nodes
    await enterprise(one)
    await one.write([Put(SUBSCRIPTION, "s", b"{}", "pumpworks")], "ann", 1)
    await one.register(parts(0, 1), "a", 1)
    (first,) = await one.announcements("pumpworks", 0, 10)
    for act in (other.register(parts(2, 1), "a", 1), other.change(part(0), told("second"), "a", 2)):
        async with held(shared_server().url(), New(registration(part(9)), "b", 1)):
            task: asyncio.Task[object] = asyncio.create_task(act)
            assert await is_waiting(task)
            assert await one.announcements("pumpworks", first.sequence, 10) == []
        await task
        before, first = await one.announcements("pumpworks", first.sequence, 10)
        assert (before.author, before.keys, first.author) == ("b", (part(9).key,), "a")
        shared_server().sql(f"DELETE FROM identifiers WHERE key = '{part(9).key}'")
    await one.write([Trim("pumpworks", first.sequence)], "node", 1)
    await one.register(parts(3, 1), "a", 1)
    (last,) = await one.announcements("pumpworks", 0, 10)
    assert last.sequence > first.sequence


async def test_a_quota_and_a_new_owner_wait_for_those_who_register(nodes: tuple[PostgresStore, PostgresStore]) -> None:
    made = await enterprise(nodes[0])
    await enterprise(nodes[0], "forge")
    limited = put_enterprise(msgspec.structs.replace(made, quota=3))
    for put in (limited, Put(PREFIX, "88.100.1", b"{}", "forge"), Put(SUBSCRIPTION, "s", b"{}", "forge")):
        async with held(shared_server().url(), New(registration(part(9)), "b", 1)):
            task: asyncio.Task[object] = asyncio.create_task(nodes[0].write([put], "admin", 3))
            assert await is_waiting(task)
        await task
        shared_server().sql(f"DELETE FROM identifiers WHERE key = '{part(9).key}'")


async def test_who_leases_waits_for_those_who_register(nodes: tuple[PostgresStore, PostgresStore]) -> None:
    for prefix in ("88.100.1", "88.100.7"):  # somebody's, and nobody's
        if prefix == "88.100.1":
            await enterprise(nodes[0])
        first = parse_identifier(f"{prefix}/P00000001")
        async with held(shared_server().url(), New(registration(first), "b", 1)):
            leasing = nodes[0].lease(LeaseOrder(prefix, 2, "g", b"t" * 32, prefix), 1)
            task: asyncio.Task[object] = asyncio.create_task(leasing)
            assert await is_waiting(task)
        lease, _ = await nodes[1].lease(LeaseOrder(prefix, 2, "g", b"t" * 32, prefix), 1)
        assert lease.suffixes == ("P00000002", "P00000003")
        await task


# Pools


async def test_a_suffix_is_never_in_two_hands(nodes: tuple[PostgresStore, PostgresStore]) -> None:
    await enterprise(nodes[0])
    leased: set[str] = set()
    registered: set[str] = set()

    async def live(store: PostgresStore, name: str) -> None:
        for number in range(6):
            lease, _ = await store.lease(LeaseOrder("88.100.1", 6, name, name.encode(), str(number)), 1)
            assert not (leased | registered) & {*lease.suffixes}
            leased.update(lease.suffixes)
            used, left = lease.suffixes[:2], lease.suffixes[2:]
            leased.difference_update(left)  # they come free before whoever gives them back is told
            made = [registration(Identifier("88.100.1", each)) for each in used]
            outcomes, pool = await asyncio.gather(store.register(made, name, 1), store.give_back(lease.id, left, 2))
            assert (outcomes, pool.returned) == ([CREATED, CREATED], left)
            registered.update(used)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            for place, store in enumerate(nodes):
                group.create_task(live(store, f"{place}-{number}"))
    assert len(registered) == 72
    assert max(int(each[1:]) for each in registered) < 140  # what came back was leased again
    assert len(await nodes[1].records("88.100.1", limit=1000)) == 72


# Caches and entries


async def test_another_node_hears_of_a_suspension(nodes: tuple[PostgresStore, PostgresStore]) -> None:
    one, other = nodes
    made = await enterprise(one)
    ears = Ears()
    other.watch(ears)
    await one.write([Put("note", "a", b"x")], "ann", 3)
    await one.write([put_enterprise(msgspec.structs.replace(made, standing=Standing.SUSPENDED))], "ann", 3)
    await ears.until(lambda: bool(ears.forgot))
    found = await other.enterprise_of("88.100.1")
    assert found is not None
    assert found.standing is Standing.SUSPENDED


async def test_writes_that_meet_do_not_wait_for_each_other_for_ever(nodes: tuple[PostgresStore, PostgresStore]) -> None:
    def steps(number: int) -> list[Put]:
        return [Put("note", each, b"%d" % number, "g") for each in ("abc", "cba")[number % 2]]

    await asyncio.gather(*(nodes[number // 2 % 2].write(steps(number), "ann", 1) for number in range(20)))
    assert [each.version for each in await nodes[0].entries("note", "g")] == [20, 20, 20]


async def test_a_key_is_found_until_its_digest_is_anothers(store: PostgresStore) -> None:
    await enterprise(store)
    await store.add_token(Token(b"d" * 32, "pumpworks", "g", Role.GATEWAY), "ann", 1)
    await store.revoke_token("pumpworks", "g", 2)
    await store.add_token(Token(b"e" * 32, "pumpworks", "g", Role.GATEWAY), "ann", 3)
    assert await store.token(b"d" * 32) is None
    found = await store.token(b"e" * 32)
    assert found is not None
    assert found.key == "pumpworks/g"
    assert len(await store.entry_versions(KEY, "pumpworks/g")) == 3


async def test_what_tells_a_write_that_was_done_is_kept_for_an_hour(store: PostgresStore) -> None:
    def requests() -> list[str]:
        return shared_server().sql("SELECT encode(id, 'escape') FROM requests WHERE length(id) < 16 ORDER BY id").split()

    await store.write([Count("pumpworks", 1, 1)], "node", 1)
    old = ", ".join(f"('{age}', now() - interval '{age} minutes')" for age in (59, 61, 600))
    shared_server().sql(f"INSERT INTO requests VALUES {old}")
    await store.write([Count("pumpworks", 1, 1)], "node", 1)
    assert requests() == ["59"]


@pytest.mark.parametrize("behaviour", ErrorBehaviour)
async def test_an_event_that_has_no_room_leaves_the_room_to_the_next(store: PostgresStore, behaviour: ErrorBehaviour) -> None:
    await enterprise(store, quota=2)
    (large,), (small,) = (capture(f"c{made}", *map(part, made)).events for made in ((1, 2, 3), (4, 5)))
    document = replace(capture("c", behaviour=behaviour), events=(large, small))
    if behaviour is ErrorBehaviour.ROLLBACK:
        with pytest.raises(OverQuota):
            await store.capture(document)
        assert await store.registered(["88.100.1"]) == [0]
    else:
        report = await store.capture(document)
        assert (report.stored, len(report.errors)) == (1, 1)
        assert [each.identifier for each in await store.records("88.100.1")] == [part(4), part(5)]
