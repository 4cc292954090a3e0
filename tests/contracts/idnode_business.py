"""What every store of the idnode keeps to with entries, counts, quotas, announcements and pools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from idnode.enterprise import Enterprise, LeaseOrder, Name, Role, Standing, Token, Visibility
from idnode.event import Capture, ErrorBehaviour, NewEvent
from idnode.identifier import Identifier, parse_identifier
from idnode.job import IS_OVER_QUOTA
from idnode.record import Change, Registered, State, text_value
from idnode.store.base import AlreadyThere, NotThere, OverQuota, Retired, Stale, Store
from idnode.store.business import PREFIX, SUBSCRIPTION, Add, Count, Put, Sums, Trim, Usage
from idnode.store.registry import KEY, put_enterprise
from tests.contracts.idnode_records import registration

DAY_MS = 86_400_000
NAME = Name("木棉泵业", "Mumian Pump Works")
CREATED, OVER_QUOTA = Registered.CREATED, Registered.OVER_QUOTA


def part(number: int, prefix: str = "88.100.1") -> Identifier:
    return parse_identifier(f"{prefix}/S{number:03d}")


def capture(key: str, *made: Identifier, behaviour: ErrorBehaviour = ErrorBehaviour.ROLLBACK) -> Capture:
    digest = sha256(key.encode()).digest()
    event = NewEvent(f"ni:{digest.hex()}", digest, key.encode(), 5, (), tuple(registration(each) for each in made), 0)
    return Capture(key, "pumpworks", "pumpworks:gateway", behaviour, (event,), (), 1000)


class BusinessContract:
    """The contract. An implementation's test class needs only `open`."""

    def open(self, folder: Path) -> Store:
        """Open the store that is in that folder."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        opened = self.open(tmp_path)
        yield opened
        await opened.close()

    async def enterprise(self, store: Store, key: str = "pumpworks", quota: int | None = None) -> Enterprise:
        made = await store.add_enterprise(key, NAME, Visibility.PUBLIC, "88.100", "admin", 1)
        if quota is not None:
            made = msgspec.structs.replace(made, quota=quota)
            await store.write([put_enterprise(made)], "admin", 2)
        return made

    # Entries

    async def test_an_entry_is_there_with_who_and_when(self, store: Store) -> None:
        await store.write([Put("note", "a", b"first", "red")], "ann", 10)
        entry = await store.entry("note", "a")
        assert entry is not None
        assert (entry.group, entry.version, entry.since_ms, entry.author, entry.content) == ("red", 1, 10, "ann", b"first")
        assert await store.entry("note", "b") is None
        assert await store.entry("other", "a") is None

    async def test_every_version_of_an_entry_is_kept(self, store: Store) -> None:
        for number, author in enumerate(("ann", "ben", "cy"), 1):
            await store.write([Put("note", "a", f"text {number}".encode(), f"g{number}")], author, number)
        versions = await store.entry_versions("note", "a")
        assert [(each.version, each.author, each.since_ms, each.content, each.group) for each in versions] == [
            (1, "ann", 1, b"text 1", "g1"),
            (2, "ben", 2, b"text 2", "g2"),
            (3, "cy", 3, b"text 3", "g3"),
        ]
        assert await store.entry("note", "a") == versions[2]
        assert await store.entry_versions("note", "a", 1, 1) == versions[1:2]
        assert await store.entry_versions("note", "b") == []

    async def test_an_entry_that_stays_as_it_is_gets_no_version_and_has_to_have_the_one_given(self, store: Store) -> None:
        await store.write([Put("note", "a", b"x", "red")], "ann", 1)
        await store.write([Put("note", "a", b"x", "red", if_version=1)], "ben", 2)
        assert [(each.version, each.author) for each in await store.entry_versions("note", "a")] == [(1, "ann")]
        await store.write([Put("note", "a", b"x", "blue"), Put("note", "a", b"x", "blue", if_version=2)], "cy", 3)
        assert [(each.version, each.author) for each in await store.entry_versions("note", "a")] == [(1, "ann"), (2, "cy")]
        with pytest.raises(Stale):
            await store.write([Put("note", "a", b"x", "blue", if_version=1)], "ben", 4)

    async def test_a_clock_that_was_set_back_brings_no_version_before_the_one_before(self, store: Store) -> None:
        await store.write([Put("note", "a", b"x")], "ann", 100)
        await store.write([Put("note", "a", b"y")], "ann", 50)
        assert [each.since_ms for each in await store.entry_versions("note", "a")] == [100, 100]

    async def test_what_is_taken_away_is_not_there_and_its_versions_are(self, store: Store) -> None:
        await store.write([Put("note", "a", b"x", "g")], "ann", 1)
        await store.write([Put("note", "a", b"", "g", if_version=1)], "ben", 2)
        assert await store.entry("note", "a") is None
        assert await store.entries("note") == await store.entries("note", "g") == []
        assert [(each.author, each.content) for each in await store.entry_versions("note", "a")] == [("ann", b"x"), ("ben", b"")]
        await store.write([Put("note", "a", b"again", "g", if_version=0)], "cy", 3)
        entry = await store.entry("note", "a")
        assert entry is not None
        assert entry.version == 3

    async def test_a_mark_leaves_nothing_behind(self, store: Store) -> None:
        for content in (b"1", b"2"):
            await store.write([Put("mark", "a", content, kept=False)], "ann", 1)
        assert [each.content for each in await store.entry_versions("mark", "a")] == [b"2"]
        await store.write([Put("mark", "a", b"", kept=False)], "ann", 1)
        assert await store.entry_versions("mark", "a") == []

    async def test_entries_are_listed_by_kind_and_group_page_by_page(self, store: Store) -> None:
        await store.write([Put("note", key, b"x", group) for key, group in zip("dbca", "1211", strict=True)], "ann", 1)
        await store.write([Put("other", "b", b"x", "1")], "ann", 1)
        assert [each.key for each in await store.entries("note")] == ["a", "b", "c", "d"]
        assert [each.key for each in await store.entries("note", "1")] == ["a", "c", "d"]
        assert [each.key for each in await store.entries("note", "1", "a", 1)] == ["c"]
        await store.write([Put("note", "c", b"x", "2")], "ann", 1)
        assert [each.key for each in await store.entries("note", "2")] == ["b", "c"]

    async def test_all_steps_are_done_or_none(self, store: Store) -> None:
        await store.write([Put("note", "a", b"x")], "ann", 1)
        steps = [Put("note", "a", b"y"), Put("note", "b", b"y"), Put("note", "a", b"z", if_version=1)]
        with pytest.raises(Stale):
            await store.write(steps, "ann", 2)
        assert [each.content for each in await store.entries("note")] == [b"x"]
        assert len(await store.entry_versions("note", "a")) == 1
        with pytest.raises(AlreadyThere):
            await store.write([Put("note", "c", b"y"), Put("note", "a", b"y", if_version=0)], "ann", 2)
        assert await store.entry("note", "c") is None

    async def test_of_two_who_change_the_same_version_one_is_told(self, store: Store) -> None:
        await store.write([Put("note", "a", b"x")], "ann", 1)
        both = (store.write([Put("note", "a", each, if_version=1)], "ann", 2) for each in (b"y", b"z"))
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(map(type, outcomes), key=str) == [type(None), Stale]

    # Enterprises and keys

    async def test_enterprises_that_come_at_once_get_different_prefixes(self, store: Store) -> None:
        made = await asyncio.gather(*(self.enterprise(store, f"e{number}") for number in range(5)))
        assert {each.prefix for each in made} == {f"88.100.{number}" for number in range(1, 6)}

    async def test_a_key_of_the_node_belongs_to_no_enterprise(self, store: Store) -> None:
        token = Token(b"d" * 32, "", "audit", Role.AUDITOR, expires_ms=5)
        await store.add_token(token, "admin", 1)
        assert await store.token(b"d" * 32) == token

    async def test_a_label_is_free_again_and_its_history_tells_who_ended_it(self, store: Store) -> None:
        await self.enterprise(store)
        await store.add_token(Token(b"d" * 32, "pumpworks", "g", Role.GATEWAY), "ann", 1)
        await store.revoke_token("pumpworks", "g", 2, "ben")
        await store.add_token(Token(b"e" * 32, "pumpworks", "g", Role.READER), "cy", 3)
        assert await store.token(b"d" * 32) is None
        assert await store.token(b"e" * 32) is not None
        assert [each.author for each in await store.entry_versions(KEY, "pumpworks/g")] == ["ann", "ben", "cy"]

    async def test_a_transferred_prefix_is_anothers(self, store: Store) -> None:
        for key in ("pumpworks", "forge"):
            await self.enterprise(store, key)
        await store.write([Put(PREFIX, "88.100.1", b"{}", "forge", if_version=1)], "admin", 9)
        owner = await store.enterprise_of("88.100.1")
        assert owner is not None
        assert owner.id == "forge"
        assert [each.group for each in await store.entry_versions(PREFIX, "88.100.1")] == ["pumpworks", "forge"]

    async def test_who_keeps_answers_is_told_of_what_they_depend_on(self, store: Store) -> None:
        told: list[Collection[str] | None] = []
        made = await self.enterprise(store)
        store.watch(told.append)
        await store.write([Put("note", "a", b"x")], "ann", 1)
        assert told == []
        await store.write([put_enterprise(msgspec.structs.replace(made, standing=Standing.SUSPENDED))], "ann", 1)
        assert told == [None]

    async def test_an_identifier_stands_under_the_longest_prefix_that_is_owned(self, store: Store) -> None:
        await store.write([Put(PREFIX, each, b"{}", "e") for each in ("gs1:9506000", "gs1:95060")], "admin", 1)
        made = [parse_identifier(f"gs1:01/{gtin}") for gtin in ("09506000134352", "09506001000007")]
        await store.register([registration(each) for each in made], "a", 1)
        assert [each.identifier for each in await store.records("gs1:9506000")] == made[:1]
        assert [each.identifier for each in await store.records("gs1:95060")] == made[1:]
        assert await store.registered(["gs1:9506000", "gs1:95060", "gs1:950"]) == [1, 1, 0]

    # Quotas

    async def test_what_is_beyond_the_quota_is_left_out(self, store: Store) -> None:
        await self.enterprise(store, quota=3)
        outcomes = await store.register([registration(part(number)) for number in range(5)], "a", 1)
        assert outcomes == [CREATED] * 3 + [OVER_QUOTA] * 2
        assert await store.record(part(3)) is None
        again = await store.register([registration(part(0)), registration(part(1), "other"), registration(part(4))], "a", 2)
        assert again == [Registered.REPEATED, Registered.DIFFERENT, OVER_QUOTA]
        assert await store.registered(["88.100.1"]) == [3]

    async def test_the_quota_is_exact_among_hundreds_at_once(self, store: Store) -> None:
        await self.enterprise(store, quota=200)
        outcomes = await store.register([registration(part(number)) for number in range(384)], "a", 3)
        assert outcomes == [Registered.CREATED] * 200 + [Registered.OVER_QUOTA] * 184
        assert len(await store.records("88.100.1", limit=1000)) == 200

    async def test_the_quota_is_exact_when_many_register_at_once(self, store: Store) -> None:
        await self.enterprise(store, quota=20)
        batches = ([registration(part(10 * batch + row)) for row in range(10)] for batch in range(6))
        outcomes = await asyncio.gather(*(store.register(batch, "a", 1) for batch in batches))
        assert sum(each.count(CREATED) for each in outcomes) == 20
        assert len(await store.records("88.100.1", limit=100)) == 20

    async def test_all_prefixes_of_an_enterprise_share_its_quota(self, store: Store) -> None:
        await self.enterprise(store, quota=2)
        await store.write([Put(PREFIX, "gs1:9506000", b"{}", "pumpworks")], "admin", 1)
        made = [part(1), parse_identifier("gs1:01/09506000134352"), part(2)]
        assert await store.register([registration(each) for each in made], "a", 1) == [CREATED, CREATED, OVER_QUOTA]
        assert await store.register([registration(made[2])], "a", 1) == [OVER_QUOTA]

    async def test_a_raised_quota_lets_more_in_and_a_retired_identifier_makes_no_room(self, store: Store) -> None:
        made = await self.enterprise(store, quota=1)
        await store.register([registration(part(1))], "a", 1)
        await store.change(part(1), Change(state=State.RETIRED), "a", 2)
        assert await store.register([registration(part(2))], "a", 3) == [OVER_QUOTA]
        await store.write([put_enterprise(msgspec.structs.replace(made, quota=2))], "admin", 4)
        assert await store.register([registration(part(2))], "a", 5) == [CREATED]

    async def test_a_job_names_the_rows_beyond_the_quota(self, store: Store) -> None:
        await self.enterprise(store, quota=1)
        await store.begin_job("j", "pumpworks", "a", 1)
        job = (await store.advance_job("j", 0, [registration(part(number)) for number in range(2)], 2)).job
        assert (job.rows, job.created, job.invalid) == (2, 1, 1)
        assert [(each.row, each.reason) for each in await store.findings("j")] == [(1, IS_OVER_QUOTA)]

    async def test_an_event_beyond_the_quota_is_refused_whole(self, store: Store) -> None:
        await self.enterprise(store, quota=2)
        await store.register([registration(part(1))], "a", 1)
        with pytest.raises(OverQuota):
            await store.capture(capture("c1", part(2), part(3)))
        assert await store.record(part(2)) is None
        await store.capture(capture("c2", part(1), part(2)))
        report = await store.capture(capture("c3", part(3), behaviour=ErrorBehaviour.PROCEED))
        assert [each.type for each in report.errors] == ["urn:mumian:problem:quota-exceeded"]
        assert report.stored == 0
        assert await store.registered(["88.100.1"]) == [2]

    # Usage

    async def test_registrations_and_resolutions_are_counted_by_day(self, store: Store) -> None:
        for key in ("pumpworks", "forge"):
            await self.enterprise(store, key)
        await store.register([registration(part(1)), registration(part(2))], "a", DAY_MS)
        await store.register([registration(part(1))], "a", DAY_MS)
        await store.capture(capture("c1", part(3)))
        await store.write([Count("pumpworks", 1, 5), Count("forge", 1, 1), Count("pumpworks", 1, 2)], "node", 1)
        every = [Usage("pumpworks", 0, 1, 0), Usage("forge", 1, 0, 1), Usage("pumpworks", 1, 2, 7)]
        assert await store.usage(None, 0, 9, (-1, ""), 10) == every
        assert await store.usage("pumpworks", 1, 9, (-1, ""), 10) == every[2:]
        assert await store.usage(None, 0, 9, (0, "pumpworks"), 1) == every[1:2]

    async def test_an_identifier_that_an_event_names_twice_is_counted_once(self, store: Store) -> None:
        await self.enterprise(store, quota=2)
        await store.write([Put(SUBSCRIPTION, "s", b"{}", "pumpworks")], "ann", 1)
        await store.capture(capture("c1", part(1), part(2), part(1)))
        assert await store.registered(["88.100.1"]) == [2]
        assert await store.usage("pumpworks", 0, 9, (-1, ""), 9) == [Usage("pumpworks", 0, 2, 0)]
        (told,) = await store.announcements("pumpworks", 0, 9)
        assert told.keys == (part(1).key, part(2).key)

    async def test_what_nobody_owns_is_not_counted(self, store: Store) -> None:
        assert await store.register([registration(part(1, "88.200.1"))], "a", 1) == [CREATED]
        assert await store.registered(["88.200.1"]) == [0]
        assert await store.usage(None, 0, 9, (-1, ""), 10) == []

    # Sums

    async def test_what_happens_under_a_prefix_is_summed_up_by_what_it_is(self, store: Store) -> None:
        for key in ("pumpworks", "forge"):
            await self.enterprise(store, key)
        await store.register([registration(part(1)), registration(part(2)), registration(part(1, "88.200.1"))], "a", 1)
        await store.register([registration(part(1))], "a", 2)
        await store.capture(capture("c1", part(3)))
        links = Change(values=(text_value(1, "DESC", "changed"),))
        await store.change(part(1), links, "a", 3)
        await store.change(part(1), links, "a", 4)  # changes nothing
        await store.change(part(1), Change(state=State.SUSPENDED), "a", 5)
        await store.change(part(2), Change(state=State.RETIRED), "a", 6)
        await store.change(part(1, "88.200.1"), Change(state=State.RETIRED), "a", 7)  # nobody's
        with pytest.raises(Retired):
            await store.change(part(2), Change(state=State.ACTIVE), "a", 8)
        assert await store.sums() == [Sums("88.100.1", {"registered": 3, "changed": 1, "suspended": 1, "retired": 1})]

    async def test_sums_are_added_to_and_listed_page_by_page(self, store: Store) -> None:
        await self.enterprise(store)
        await store.register([registration(part(1))], "a", 1)
        await store.write([Add("88.100.1", "asked", 2), Add("-", "asked", 1), Add("88.100.1", "asked", 3)], "node", 1)
        with pytest.raises(Stale):
            await store.write([Add("-", "asked", 100), Put("note", "a", b"x", if_version=7)], "node", 1)
        first, second = Sums("-", {"asked": 1}), Sums("88.100.1", {"registered": 1, "asked": 5})
        assert await store.sums() == [first, second]
        assert await store.sums(limit=1) == [first]
        assert await store.sums("-", 1) == [second]
        assert await store.sums("88.100.1") == []

    # Announcements

    async def subscribed(self, store: Store) -> None:
        for key in ("pumpworks", "forge"):
            await self.enterprise(store, key)
        await store.write([Put(SUBSCRIPTION, "s", b"{}", "pumpworks")], "ann", 1)

    async def test_what_changes_under_a_subscribed_enterprise_is_to_be_announced(self, store: Store) -> None:
        await self.subscribed(store)
        await store.register([registration(part(1)), registration(part(2)), registration(part(1, "88.100.2"))], "ben", 5)
        await store.register([registration(part(1))], "ben", 6)
        await store.change(part(1), Change((text_value(1, "DESC", "second"),)), "ben", 7)
        await store.change(part(1), Change(), "ben", 7)
        await store.change(part(1), Change(state=State.SUSPENDED), "ben", 8)
        await store.capture(capture("c1", part(2), part(3)))
        told = await store.announcements("pumpworks", 0, 10)
        assert [(each.event, each.keys, each.at_ms, each.author) for each in told] == [
            ("registered", (part(1).key, part(2).key), 5, "ben"),
            ("changed", (part(1).key,), 7, "ben"),
            ("suspended", (part(1).key,), 8, "ben"),
            ("registered", (part(3).key,), 1000, "pumpworks:gateway"),
        ]
        assert await store.announcements("pumpworks", told[1].sequence, 1) == told[2:3]
        assert await store.announcements("forge", 0, 10) == []

    async def test_without_a_subscription_nothing_is_kept(self, store: Store) -> None:
        await self.subscribed(store)
        await store.write([Put(SUBSCRIPTION, "s", b"", "pumpworks")], "ann", 1)
        await store.register([registration(part(1))], "ben", 5)
        assert await store.announcements("pumpworks", 0, 10) == []

    async def test_trimming_never_brings_a_sequence_twice(self, store: Store) -> None:
        await self.subscribed(store)
        await store.register([registration(part(1))], "ben", 5)
        (first,) = await store.announcements("pumpworks", 0, 10)
        await store.write([Trim("pumpworks", first.sequence)], "node", 6)
        await store.register([registration(part(2))], "ben", 7)
        (second,) = await store.announcements("pumpworks", first.sequence, 10)
        assert second.sequence > first.sequence
        await store.write([Trim("pumpworks", first.sequence)], "node", 8)
        assert await store.announcements("pumpworks", 0, 10) == [second]

    # Pools

    async def lease(self, store: Store, key: str = "k1", count: int = 4) -> str:
        order = LeaseOrder("88.100.1", count, "gateway-1", b"t" * 32, key, expires_ms=99)
        return (await store.lease(order, 1))[0].id

    async def test_a_pool_tells_what_has_become_of_each_suffix(self, store: Store) -> None:
        key = await self.lease(store)
        await store.register([registration(parse_identifier("88.100.1/P00000002"))], "a", 1)
        pool = await store.give_back(key, ["P00000003", "P00000002"], 5)
        assert (pool.registered, pool.returned) == (("P00000002",), ("P00000003",))
        assert pool.outstanding == ("P00000001", "P00000004")
        assert pool.lease.expires_ms == 99
        assert await store.pool(key) == pool == await store.give_back(key, ["P00000003"], 6)
        assert await store.pool("none") is None

    async def test_returned_suffixes_are_leased_again_and_once(self, store: Store) -> None:
        key = await self.lease(store)
        await store.give_back(key, None, 5)
        await store.register([registration(parse_identifier("88.100.1/P00000001"))], "a", 6)
        second = await store.pool(await self.lease(store, "k2", 3))
        third = await store.pool(await self.lease(store, "k3", 2))
        assert second is not None
        assert third is not None
        assert second.lease.suffixes == ("P00000002", "P00000003", "P00000004")
        assert third.lease.suffixes == ("P00000005", "P00000006")
        await store.give_back(key, None, 7)
        fourth = await store.pool(await self.lease(store, "k4", 1))
        assert fourth is not None
        assert fourth.lease.suffixes == ("P00000007",)

    async def test_a_suffix_of_another_lease_is_not_taken_back(self, store: Store) -> None:
        key = await self.lease(store)
        with pytest.raises(NotThere):
            await store.give_back(key, ["P00000001", "P00000099"], 5)
        with pytest.raises(NotThere):
            await store.give_back("none", None, 5)
        pool = await store.pool(key)
        assert pool is not None
        assert pool.returned == ()
