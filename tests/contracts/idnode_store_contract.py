"""What every store of the idnode keeps to. An implementation's test class needs only `open`."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest

from idnode.enterprise import Enterprise, LeaseOrder, Name, Role, Token, Visibility
from idnode.event import Capture, CaptureError, ErrorBehaviour, EventQuery, Link, NewEvent
from idnode.event import Role as LinkRole
from idnode.identifier import Identifier, parse_identifier
from idnode.record import Change, Registered, State, text_value
from idnode.store.base import AlreadyThere, CommissionedTwice, NotThere, Retired, Store
from tests.contracts.idnode_records import OTHER, PART, RecordsContract, registration
from tests.contracts.idnode_templates import TemplatesContract, template


def order(key: str = "k1", prefix: str = "88.100.1", count: int = 3, token: bytes = b"t" * 32) -> LeaseOrder:
    return LeaseOrder(prefix, count, "pumpworks-1", token, key)


def event(name: str = "one", *made: Identifier, links: tuple[Link, ...] | None = None, place: int = 0, key: str = "") -> NewEvent:
    """An event whose content is its name."""
    digest = sha256(name.encode()).digest()
    named = tuple(Link(identifier.uri, LinkRole.EPC) for identifier in made) if links is None else links
    registrations = tuple(registration(identifier, f"by {name}") for identifier in made)
    return NewEvent(key or f"ni:{digest.hex()}", digest, name.encode(), 5, named, registrations, place)


def capture(*events: NewEvent, behaviour: ErrorBehaviour = ErrorBehaviour.ROLLBACK, key: str = "c1", by: str = "a") -> Capture:
    return Capture(key, by, f"{by}:gateway", behaviour, events, (), 1000)


class StoreContract(RecordsContract, TemplatesContract):
    """The contract."""

    async def enterprise(self, store: Store, key: str = "pumpworks", visibility: Visibility = Visibility.PUBLIC) -> Enterprise:
        return await store.add_enterprise(key, Name("木棉泵业", "Mumian Pump Works"), visibility, "88.100", "admin", 1)

    # Enterprises and tokens

    async def test_each_enterprise_gets_a_prefix_of_its_own_below_the_nodes(self, store: Store) -> None:
        made = [await self.enterprise(store, key) for key in ("pumpworks", "forge", "foundry")]
        assert [each.prefix for each in made] == ["88.100.1", "88.100.2", "88.100.3"]
        assert await store.enterprises() == made
        assert await store.enterprise_of("88.100.2") == await store.enterprise("forge") == made[1]
        assert made[0].name.in_language("zh") == "木棉泵业"

    async def test_an_enterprise_is_made_once(self, store: Store) -> None:
        made = await self.enterprise(store)
        with pytest.raises(AlreadyThere):
            await self.enterprise(store)
        assert await store.enterprises() == [made]

    async def test_an_unknown_enterprise_or_prefix_is_none(self, store: Store) -> None:
        await self.enterprise(store)
        assert await store.enterprise("forge") is None
        assert await store.enterprise_of("88.100.2") is None
        assert await store.enterprise_of("88.100.1.1") is None

    async def test_a_token_is_found_by_its_digest_until_it_is_revoked(self, store: Store) -> None:
        await self.enterprise(store)
        token = Token(b"d" * 32, "pumpworks", "gateway", Role.GATEWAY)
        await store.add_token(token, "admin", 1)
        assert await store.token(b"d" * 32) == token
        assert await store.token(b"e" * 32) is None
        await store.revoke_token("pumpworks", "gateway", 2)
        assert await store.token(b"d" * 32) is None

    async def test_a_label_is_free_again_when_its_token_is_revoked(self, store: Store) -> None:
        await self.enterprise(store)
        await store.add_token(Token(b"d" * 32, "pumpworks", "gateway", Role.GATEWAY), "admin", 1)
        with pytest.raises(AlreadyThere):
            await store.add_token(Token(b"e" * 32, "pumpworks", "gateway", Role.READER), "admin", 1)
        await store.revoke_token("pumpworks", "gateway", 2)
        await store.add_token(Token(b"e" * 32, "pumpworks", "gateway", Role.READER), "admin", 3)
        assert await store.token(b"e" * 32) is not None

    async def test_a_token_needs_its_enterprise_and_a_revocation_its_token(self, store: Store) -> None:
        with pytest.raises(NotThere):
            await store.add_token(Token(b"d" * 32, "nobody", "gateway", Role.GATEWAY), "admin", 1)
        with pytest.raises(NotThere):
            await store.revoke_token("nobody", "gateway", 1)

    # Leases

    async def test_no_suffix_is_leased_twice(self, store: Store) -> None:
        leases = [await store.lease(order(key, count=5), 1) for key in ("k1", "k2", "k3")]
        suffixes = [suffix for lease, _ in leases for suffix in lease.suffixes]
        assert len(set(suffixes)) == len(suffixes) == 15
        assert all(new for _, new in leases)

    async def test_concurrent_leases_share_nothing(self, store: Store) -> None:
        leases = await asyncio.gather(*(store.lease(order(f"k{number}", count=7), 1) for number in range(20)))
        assert len({suffix for lease, _ in leases for suffix in lease.suffixes}) == 140

    async def test_the_same_key_of_the_same_token_is_the_same_lease(self, store: Store) -> None:
        first, new = await store.lease(order(), 1)
        again, new_again = await store.lease(order(count=99), 2)
        assert first == again
        assert (new, new_again) == (True, False)
        other, other_new = await store.lease(order(token=b"u" * 32), 3)
        assert other_new
        assert not {*other.suffixes} & {*first.suffixes}

    async def test_a_key_is_bound_to_its_prefix(self, store: Store) -> None:
        await store.lease(order(), 1)
        with pytest.raises(AlreadyThere):
            await store.lease(order(prefix="88.100.2"), 2)

    async def test_a_registered_suffix_is_never_leased(self, store: Store) -> None:
        await store.register([registration(OTHER)], "a", 1)
        lease, _ = await store.lease(order(count=3), 2)
        assert lease.suffixes == ("P00000001", "P00000003", "P00000004")

    async def test_prefixes_count_by_themselves(self, store: Store) -> None:
        first, _ = await store.lease(order("k1"), 1)
        second, _ = await store.lease(order("k2", prefix="88.100.2"), 1)
        assert first.suffixes == second.suffixes

    # Events

    async def test_a_captured_event_is_there_with_its_links_identifier_and_report(self, store: Store) -> None:
        new = event("one", PART)
        report = await store.capture(capture(new))
        assert (report.stored, report.repeated, report.errors) == (1, 0, ())
        assert await store.capture_report("c1") == report
        stored = await store.event(new.id)
        assert stored is not None
        assert (stored.content, stored.enterprise, stored.recorded_ms) == (b"one", "a", 1000)
        assert await store.events(EventQuery(epc=PART.uri)) == [stored]
        record = await store.record(PART)
        assert record is not None
        assert (record.event_id, record.author, record.values[0].data.value) == (new.id, "a:gateway", "by one")

    async def test_the_same_event_again_changes_nothing(self, store: Store) -> None:
        await store.capture(capture(event("one", PART)))
        report = await store.capture(capture(event("one", PART), event("one", PART), key="c2"))
        assert (report.stored, report.repeated) == (0, 2)
        assert len(await store.events(EventQuery())) == 1
        assert len(await store.versions(PART)) == 1

    async def test_one_event_twice_in_a_document_is_stored_once(self, store: Store) -> None:
        report = await store.capture(capture(event("one", PART), event("one", PART)))
        assert (report.stored, report.repeated) == (1, 1)

    async def test_a_second_commissioning_undoes_its_whole_document(self, store: Store) -> None:
        await store.capture(capture(event("one", PART)))
        with pytest.raises(CommissionedTwice) as refusal:
            await store.capture(capture(event("two", OTHER), event("three", PART, place=1), key="c2"))
        assert (refusal.value.identifier, refusal.value.place) == (PART, 1)
        assert await store.record(OTHER) is None
        assert await store.capture_report("c2") is None
        assert len(await store.events(EventQuery())) == 1

    async def test_two_commissionings_in_one_document_are_one_too_many(self, store: Store) -> None:
        with pytest.raises(CommissionedTwice):
            await store.capture(capture(event("one", PART), event("two", PART, place=1)))
        assert await store.record(PART) is None

    async def test_proceed_leaves_out_what_cannot_be_stored_and_says_so(self, store: Store) -> None:
        await store.capture(capture(event("one", PART)))
        malformed = CaptureError("/epcisBody/eventList/0", "x", "malformed")
        report = await store.capture(
            Capture(
                "c2", "a", "a:gateway", ErrorBehaviour.PROCEED, (event("two", PART, place=1), event("three", OTHER, place=2)),
                (malformed,), 2000,
            )
        )  # fmt: skip
        assert (report.stored, report.repeated) == (1, 0)
        assert [error.pointer for error in report.errors] == ["/epcisBody/eventList/0", "/epcisBody/eventList/1"]
        assert await store.capture_report("c2") == report
        record, other = await store.record(PART), await store.record(OTHER)
        assert record is not None
        assert other is not None
        assert record.values[0].data.value == "by one"

    async def test_an_identifier_registered_before_its_event_keeps_its_values(self, store: Store) -> None:
        await store.register([registration(PART, "by hand")], "a", 1)
        new = event("one", PART)
        await store.capture(capture(new))
        record = await store.record(PART)
        assert record is not None
        assert (record.values[0].data.value, record.event_id, record.version) == ("by hand", new.id, 1)
        with pytest.raises(CommissionedTwice):
            await store.capture(capture(event("two", PART), key="c2"))

    async def test_the_event_of_an_identifier_is_that_of_all_its_versions(self, store: Store) -> None:
        await store.register([registration(PART, "by hand")], "a", 1)
        await store.change(PART, Change(values=()), "a", 2)
        new = event("one", PART)
        await store.capture(capture(new))
        assert [each.event_id for each in await store.versions(PART)] == [new.id, new.id]
        before = await store.record(PART, 1)
        assert before is not None
        assert before.event_id == new.id

    async def test_no_event_brings_a_retired_identifier_into_the_world(self, store: Store) -> None:
        await store.register([registration()], "a", 1)
        await store.change(PART, Change(state=State.RETIRED, reason="scrapped"), "a", 2)
        with pytest.raises(Retired):
            await store.capture(capture(event("one", PART)))
        report = await store.capture(capture(event("one", PART), behaviour=ErrorBehaviour.PROCEED))
        assert [error.type for error in report.errors] == ["urn:mumian:problem:retired"]

    async def test_a_later_version_keeps_the_event(self, store: Store) -> None:
        new = event("one", PART)
        await store.capture(capture(new))
        assert (await store.change(PART, Change(values=()), "a", 2000)).event_id == new.id

    async def test_an_id_names_one_event(self, store: Store) -> None:
        await store.capture(capture(event("one", key="urn:uuid:1")))
        with pytest.raises(AlreadyThere):
            await store.capture(capture(event("two", key="urn:uuid:1"), key="c2"))
        report = await store.capture(capture(event("one", key="urn:uuid:1"), key="c3"))
        assert report.repeated == 1

    async def test_events_are_found_by_what_they_name_and_as_what(self, store: Store) -> None:
        parent, child = Link("hdl:88.100.1/BOX", LinkRole.PARENT), Link(PART.uri, LinkRole.CHILD)
        made = Link(PART.uri, LinkRole.EPC)
        await store.capture(capture(event("make", links=(made,)), event("pack", links=(parent, child)), event("other")))

        async def found(epc: str, *roles: LinkRole) -> list[bytes]:
            return [each.content for each in await store.events(EventQuery(epc=epc, roles=frozenset(roles or LinkRole)))]

        assert await found(PART.uri) == [b"make", b"pack"]
        assert await found(PART.uri, LinkRole.EPC) == [b"make"]
        assert await found(PART.uri, LinkRole.PARENT) == []
        assert await found("hdl:88.100.1/BOX", LinkRole.PARENT) == [b"pack"]
        assert await found("hdl:88.100.1/NONE") == []

    async def test_an_object_named_twice_by_an_event_finds_it_once(self, store: Store) -> None:
        both = (Link(PART.uri, LinkRole.INPUT), Link(PART.uri, LinkRole.OUTPUT), Link(PART.uri, LinkRole.INPUT))
        await store.capture(capture(event("rework", links=both)))
        assert len(await store.events(EventQuery(epc=PART.uri))) == 1

    async def test_events_are_read_page_by_page_without_gap_or_repeat(self, store: Store) -> None:
        for number in range(7):
            await store.capture(capture(event(f"e{number}", links=(Link(PART.uri, LinkRole.EPC),)), key=f"c{number}"))
        for epc in (None, PART.uri):
            read: list[bytes] = []
            after = 0
            while page := await store.events(EventQuery(epc=epc, after=after, limit=3)):
                read += [each.content for each in page]
                after = page[-1].sequence
            assert read == [f"e{number}".encode() for number in range(7)]

    async def test_events_of_hidden_enterprises_are_left_out(self, store: Store) -> None:
        for by in ("a", "b"):
            await store.capture(capture(event(by, links=(Link(PART.uri, LinkRole.EPC),)), key=by, by=by))
        for epc in (None, PART.uri):
            assert [each.content for each in await store.events(EventQuery(epc=epc, hidden=frozenset("a")))] == [b"b"]

    async def test_unknown_events_and_captures_are_none(self, store: Store) -> None:
        assert await store.event("ni:none") is None
        assert await store.capture_report("none") is None

    async def test_concurrent_writes_all_come_through(self, store: Store) -> None:
        made = [parse_identifier(f"88.100.1/S{number}") for number in range(50)]
        reports = await asyncio.gather(
            *(store.capture(capture(event(f"e{number}", each), key=f"c{number}")) for number, each in enumerate(made)),
            *(store.register([registration(each, "late")], "b", 1) for each in made),
        )
        assert len(reports) == 100
        assert None not in [await store.record(each) for each in made]
        assert len(await store.events(EventQuery(limit=100))) == 50

    async def test_a_refusal_does_not_touch_its_neighbours(self, store: Store) -> None:
        await store.capture(capture(event("one", PART)))
        answers = await asyncio.gather(
            store.capture(capture(event("two", PART), key="c2")),
            store.register([registration(OTHER)], "a", 1),
            store.change(parse_identifier("88.100.1/none"), Change(values=()), "a", 1),
            return_exceptions=True,
        )
        assert isinstance(answers[0], CommissionedTwice)
        assert answers[1] == [Registered.CREATED]
        assert isinstance(answers[2], NotThere)
        assert await store.record(OTHER) is not None

    async def test_closing_twice_is_safe(self, tmp_path: Path) -> None:
        opened = self.open(tmp_path)
        await opened.close()
        await opened.close()


class DurableStoreContract(StoreContract):
    """What a store that outlives its process keeps to besides."""

    async def test_everything_is_there_after_opening_again(self, tmp_path: Path) -> None:
        first = self.open(tmp_path)
        made = await self.enterprise(first)
        token = Token(b"d" * 32, "pumpworks", "gateway", Role.GATEWAY)
        await first.add_token(token, "admin", 1)
        await first.register([registration(OTHER)], "a", 1)
        await first.change(OTHER, Change((text_value(1, "DESC", "second"),), state=State.SUSPENDED, reason="recall"), "a", 2)
        await first.begin_job("j", "pumpworks", "a", 1)
        await first.put_template(template(), "a", 1)
        published = await first.publish_template("88.100.1", "pump", 1, "a", 2)
        job = (await first.advance_job("j", 0, [registration(OTHER)], 2)).job
        lease, _ = await first.lease(order(), 3)
        new = event("one", PART)
        report = await first.capture(capture(new))
        seen = (await first.record(PART), await first.versions(OTHER), await first.event(new.id))
        await first.close()

        second = self.open(tmp_path)
        assert await second.enterprises() == [made]
        assert await second.token(b"d" * 32) == token
        assert (await second.record(PART), await second.versions(OTHER), await second.event(new.id)) == seen
        assert await second.capture_report("c1") == report
        assert await second.lease(order(), 4) == (lease, False)
        assert await second.job("j") == job
        assert await second.templates("88.100.1") == [published]
        assert len(await second.findings("j")) == 1
        later, _ = await second.lease(order("k2"), 4)
        assert not {*later.suffixes} & {*lease.suffixes}
        await second.close()
