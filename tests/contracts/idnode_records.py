"""What every store of the idnode keeps to with records, jobs and their watchers. A part of idnode_store_contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from idnode import job as jobs
from idnode.identifier import Identifier, parse_identifier
from idnode.job import IS_DIFFERENT, BadRow, Finding, Outcomes, Row, RowOutcome
from idnode.record import (
    MOVES,
    Change,
    HandleValue,
    Link,
    Reference,
    Registered,
    Registration,
    State,
    TemplateUse,
    text_value,
)
from idnode.store.base import AlreadyThere, NotThere, Outdated, OutOfStep, Retired, Store, WrongMove

PART = parse_identifier("88.100.1/P00000001")
OTHER = parse_identifier("88.100.1/P00000002")
PAGE = Link("gs1:pip", "https://example.org/泵", "A pump", ("zh-CN", "en"), "text/html", ("service",))
CREATED, REPEATED, DIFFERENT = Registered.CREATED, Registered.REPEATED, Registered.DIFFERENT


def registration(identifier: Identifier = PART, text: str = "first") -> Registration:
    return Registration(identifier, (text_value(1, "DESC", text),))


def part(number: int) -> Identifier:
    return parse_identifier(f"88.100.1/S{number:05d}")


def told(text: str) -> Change:
    return Change((text_value(1, "DESC", text),))


class RecordsContract:
    """Records, jobs and watchers."""

    def open(self, folder: Path) -> Store:
        """Open the store that is in that folder."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        opened = self.open(tmp_path)
        yield opened
        await opened.close()

    # Registration

    async def test_what_is_registered_is_read_back_with_who_and_when(self, store: Store) -> None:
        values = (text_value(7, "URL", "https://example.org/泵"), text_value(2, "DESC", "😀"))
        assert await store.register([Registration(PART, values)], "pumpworks:line", 42) == [CREATED]
        record = await store.record(PART)
        assert record is not None
        assert [(each.index, each.data.value, each.timestamp_ms) for each in record.values] == [
            (2, "😀", 42),
            (7, "https://example.org/泵", 42),
        ]
        assert (record.identifier, record.version, record.author, record.since_ms) == (PART, 1, "pumpworks:line", 42)
        assert (record.event_id, record.state, record.links, record.template, record.reason) == (
            None, State.ACTIVE, (), None, None,
        )  # fmt: skip

    async def test_every_field_is_kept(self, store: Store) -> None:
        references = (Reference("0.NA/88.100", 300),)
        value = HandleValue(2_147_483_647, "HS_ADMIN", text_value(1, "", "").data, 60, 8, 0, references)
        links = (PAGE, Link("gs1:sqp", "https://example.org/b", "B"), PAGE)
        await store.register([Registration(PART, (value,), links, TemplateUse("pump", 3), State.RESERVED)], "a", 5)
        record = await store.record(PART)
        assert record is not None
        assert record.values == (HandleValue(2_147_483_647, "HS_ADMIN", value.data, 60, 8, 5, references),)
        assert (record.links, record.template, record.state) == (links, TemplateUse("pump", 3), State.RESERVED)

    async def test_each_registration_stands_by_itself(self, store: Store) -> None:
        await store.register([registration()], "a", 1)
        assert await store.register([registration(PART, "again"), registration(OTHER)], "b", 2) == [DIFFERENT, CREATED]
        first, second = await store.record(PART), await store.record(OTHER)
        assert first is not None
        assert second is not None
        assert (first.values[0].data.value, first.author) == ("first", "a")
        assert second.author == "b"

    async def test_the_same_registration_again_is_repeated_and_changes_nothing(self, store: Store) -> None:
        full = Registration(PART, (text_value(2, "B", "b"), text_value(1, "A", "a")), (PAGE,), TemplateUse("pump", 1))
        await store.register([full], "a", 1)
        before = await store.record(PART)
        turned = Registration(PART, full.values[::-1], full.links, full.template)
        assert await store.register([full, turned], "b", 2) == [REPEATED, REPEATED]
        assert await store.record(PART) == before

    @pytest.mark.parametrize(
        "other",
        [
            Registration(PART, ()),
            Registration(PART, (text_value(1, "DESC", "x"),), (PAGE,)),
            Registration(PART, registration().values, ()),
            Registration(PART, registration().values, (PAGE,), TemplateUse("pump", 1)),
            Registration(PART, registration().values, (PAGE,), state=State.RESERVED),
            Registration(PART, (*registration().values, text_value(2, "MORE", "")), (PAGE,)),
        ],
    )
    async def test_any_difference_is_told(self, store: Store, other: Registration) -> None:
        await store.register([Registration(PART, registration().values, (PAGE,))], "a", 1)
        assert await store.register([other], "a", 1) == [DIFFERENT]

    async def test_it_is_the_current_version_that_a_repetition_repeats(self, store: Store) -> None:
        both = (text_value(1, "DESC", "first"), text_value(2, "KEPT", "k"))
        await store.register([Registration(PART, both)], "a", 1)
        changed = (text_value(1, "DESC", "second"), text_value(2, "KEPT", "k"))
        await store.change(PART, Change(changed), "a", 2)
        assert await store.register([Registration(PART, both), Registration(PART, changed)], "a", 3) == [DIFFERENT, REPEATED]
        await store.change(PART, Change(state=State.SUSPENDED), "a", 4)
        assert await store.register([Registration(PART, changed)], "a", 5) == [DIFFERENT]

    async def test_one_identifier_twice_in_a_batch_is_created_once(self, store: Store) -> None:
        twice = [registration(), registration(PART, "again"), registration()]
        assert await store.register(twice, "a", 1) == [CREATED, DIFFERENT, REPEATED]

    async def test_suffixes_that_differ_by_case_are_two_identifiers(self, store: Store) -> None:
        lower = parse_identifier("88.100.1/p00000001")
        assert await store.register([registration(), registration(lower)], "a", 1) == [CREATED, CREATED]

    async def test_of_two_who_register_at_once_one_creates(self, store: Store) -> None:
        outcomes = await asyncio.gather(*(store.register([registration(PART, str(n % 2))], "a", n) for n in range(10)))
        assert sorted(each for (each,) in outcomes) == [CREATED] + [DIFFERENT] * 5 + [REPEATED] * 4

    async def test_nothing_is_registered_by_an_empty_batch(self, store: Store) -> None:
        assert await store.register([], "a", 1) == []

    # Versions

    async def test_a_changed_record_keeps_every_version(self, store: Store) -> None:
        await store.register([registration()], "a", 10)
        changed = await store.change(PART, told("second"), "b", 20)
        assert (changed.version, changed.author) == (2, "b")
        assert await store.record(PART) == changed
        assert [(each.version, each.author, each.since_ms) for each in await store.versions(PART)] == [(1, "a", 10), (2, "b", 20)]
        assert [each.values[0].data.value for each in await store.versions(PART)] == ["first", "second"]

    async def test_a_change_touches_only_what_it_names(self, store: Store) -> None:
        await store.register([Registration(PART, registration().values, (PAGE,), TemplateUse("pump", 1))], "a", 10)
        await store.change(PART, Change(links=()), "a", 20)
        await store.change(PART, Change(template=None), "a", 30)
        await store.change(PART, Change(reason="a note"), "a", 40)
        record = await store.change(PART, told("x"), "a", 50)
        assert (record.version, record.links, record.template, record.reason) == (5, (), None, "a note")
        assert [(len(each.links), each.template is None) for each in await store.versions(PART)] == [
            (1, False), (0, False), (0, True), (0, True), (0, True),
        ]  # fmt: skip

    async def test_what_changes_nothing_makes_no_version(self, store: Store) -> None:
        await store.register([registration()], "a", 10)
        before = await store.record(PART)
        for change in (Change(), told("first"), Change(state=State.ACTIVE), Change(links=(), template=None, reason=None)):
            assert await store.change(PART, change, "b", 20) == before
        assert await store.versions(PART) == [before]

    async def test_a_record_is_read_as_it_was_at_a_moment(self, store: Store) -> None:
        await store.register([registration()], "a", 10)
        for at_ms in (20, 30):
            await store.change(PART, told(f"since {at_ms}"), "a", at_ms)
        found = {at_ms: await store.record(PART, at_ms) for at_ms in (9, 10, 19, 20, 29, 30, 99)}
        assert {at_ms: each and each.version for at_ms, each in found.items()} == {
            9: None, 10: 1, 19: 1, 20: 2, 29: 2, 30: 3, 99: 3,
        }  # fmt: skip

    async def test_a_clock_that_was_set_back_brings_no_version_out_of_order(self, store: Store) -> None:
        await store.register([registration()], "a", 100)
        changed = await store.change(PART, told("second"), "a", 50)
        assert (changed.since_ms, changed.values[0].timestamp_ms) == (100, 100)
        assert await store.record(PART, 100) == changed
        assert await store.record(PART, 99) is None

    async def test_versions_are_read_page_by_page(self, store: Store) -> None:
        await store.register([registration()], "a", 1)
        for number in range(2, 8):
            await store.change(PART, told(str(number)), "a", number)
        for limit in (1, 2, 3, 7, 9):
            read: list[int] = []
            while page := await store.versions(PART, read[-1] if read else 0, limit):
                assert len(page) <= limit
                read += [each.version for each in page]
            assert read == [1, 2, 3, 4, 5, 6, 7]

    async def test_a_value_that_does_not_change_keeps_its_timestamp(self, store: Store) -> None:
        kept, changed = text_value(1, "DESC", "same"), text_value(2, "URL", "old")
        await store.register([Registration(PART, (kept, changed))], "a", 10)
        new = (text_value(2, "URL", "new"), kept, text_value(3, "EMAIL", "x"))
        record = await store.change(PART, Change(new), "a", 20)
        assert [(each.index, each.timestamp_ms) for each in record.values] == [(1, 10), (2, 20), (3, 20)]
        assert await store.record(PART) == record
        await store.change(PART, Change(links=(PAGE,)), "a", 30)
        found = await store.record(PART)
        assert found is not None
        assert [(each.index, each.timestamp_ms) for each in found.values] == [(1, 10), (2, 20), (3, 20)]

    async def test_only_what_is_registered_is_changed(self, store: Store) -> None:
        with pytest.raises(NotThere):
            await store.change(PART, Change(values=()), "a", 1)
        assert await store.record(PART) is None
        assert await store.versions(PART) == []

    async def test_of_two_who_change_one_version_the_second_is_told(self, store: Store) -> None:
        await store.register([registration()], "a", 1)
        await store.change(PART, told("second"), "a", 2, if_version=1)
        with pytest.raises(Outdated) as refusal:
            await store.change(PART, told("another"), "b", 3, if_version=1)
        assert refusal.value.version == 2
        changes = [store.change(PART, told(f"by {who}"), who, 4, if_version=2) for who in "abc"]
        answers = await asyncio.gather(*changes, return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["Outdated", "Outdated", "Record"]

    # Lifecycle

    async def test_the_moves_are_those_of_the_table(self, store: Store) -> None:
        for number, (before, after) in enumerate((a, b) for a in State for b in State if a is not b):
            identifier = part(number)
            born = State.RESERVED if before is State.RESERVED else State.ACTIVE
            await store.register([Registration(identifier, (), state=born)], "a", 1)
            if born is not before:
                await store.change(identifier, Change(state=before, reason="so"), "a", 2)
            if after in MOVES[before]:
                assert (await store.change(identifier, Change(state=after), "a", 3)).state is after
            else:
                with pytest.raises(Retired if before is State.RETIRED else WrongMove):
                    await store.change(identifier, Change(state=after), "a", 3)
                found = await store.record(identifier)
                assert found is not None
                assert found.state is before

    async def test_a_reason_holds_as_long_as_its_state(self, store: Store) -> None:
        await store.register([registration()], "a", 1)
        await store.change(PART, Change(state=State.SUSPENDED, reason="recall"), "a", 2)
        assert (await store.change(PART, told("x"), "a", 3)).reason == "recall"
        assert (await store.change(PART, Change(state=State.ACTIVE), "a", 4)).reason is None
        assert [each.reason for each in await store.versions(PART)] == [None, "recall", "recall", None]

    async def test_a_retired_identifier_is_for_ever_what_it_is(self, store: Store) -> None:
        await store.register([registration()], "a", 1)
        retired = await store.change(PART, Change(state=State.RETIRED, reason="scrapped"), "a", 2)
        for change in (told("x"), Change(links=(PAGE,)), Change(reason="else"), Change(state=State.ACTIVE)):
            with pytest.raises(Retired):
                await store.change(PART, change, "a", 3)
        assert await store.change(PART, Change(state=State.RETIRED, reason="scrapped"), "a", 3) == retired
        assert await store.register([registration()], "a", 4) == [DIFFERENT]
        assert await store.record(PART) == retired

    # Records under a prefix

    async def test_records_are_read_page_by_page_in_the_order_of_their_keys(self, store: Store) -> None:
        made = [f"88.100.1/{suffix}" for suffix in ("b", "A", "a/b", "a", "泵", "é", "😀", "a0", "~", "0")]
        neighbours = ["88.100.10/a", "88.100.2/a", "88.100/a", "88.100.1.1/a", "88.100.0/z"]
        await store.register([registration(parse_identifier(each)) for each in (*made, *neighbours)], "a", 1)
        for limit in (1, 3, 10, 50):
            read: list[str] = []
            while page := await store.records("88.100.1", read[-1] if read else "", limit):
                assert len(page) <= limit
                read += [each.identifier.key for each in page]
            assert read == sorted(made)

    async def test_records_are_read_by_their_states(self, store: Store) -> None:
        await store.register([registration(part(number)) for number in range(6)], "a", 1)
        await store.register([Registration(part(6), (), state=State.RESERVED)], "a", 1)
        for number in (1, 4):
            await store.change(part(number), Change(state=State.RETIRED, reason="x"), "a", 2)
        await store.change(part(2), Change(state=State.SUSPENDED), "a", 2)

        async def found(*states: State, after: str = "", limit: int = 100) -> list[str]:
            return [each.identifier.suffix for each in await store.records("88.100.1", after, limit, states)]

        assert await found(State.RETIRED) == ["S00001", "S00004"]
        assert await found(State.RETIRED, after=part(1).key) == ["S00004"]
        assert await found(State.ACTIVE) == ["S00000", "S00003", "S00005"]
        assert await found(State.RESERVED, State.SUSPENDED) == ["S00002", "S00006"]
        assert await found(*State, limit=3) == ["S00000", "S00001", "S00002"]
        assert await found() == []

    async def test_a_listed_record_is_the_one_that_is_found(self, store: Store) -> None:
        await store.register([Registration(PART, registration().values, (PAGE,), TemplateUse("pump", 1))], "a", 1)
        await store.change(PART, Change(state=State.SUSPENDED, reason="recall"), "b", 2)
        assert await store.records("88.100.1") == [await store.record(PART)]

    async def test_identifiers_of_every_scheme_are_kept_each_by_its_normal_form(self, store: Store) -> None:
        texts = ("88.100.1/x", "gs1:01/09506000134352/21/1", "gs1:01/09506000134352", "oid:1.2.156.3088.1", "vaa:VAA1234")
        made = [parse_identifier(text) for text in texts]
        assert await store.register([registration(each, each.key) for each in made], "a", 1) == [CREATED] * len(made)
        for each in made:
            found = await store.record(parse_identifier(each.key))
            assert found is not None
            assert (found.identifier, found.values[0].data.value) == (each, each.key)
        # Nobody owns them, so that they stand under the shortest prefix that may.
        assert [each.identifier.key for each in await store.records("gs1:9506")] == [texts[2], texts[1]]
        assert [each.identifier.key for each in await store.records("gs1:9506", texts[2])] == [texts[1]]
        assert [each.identifier.key for each in await store.records("oid:1.2")] == [texts[3]]
        assert [each.identifier.key for each in await store.records("88.100.1")] == [texts[0]]

    async def test_hundreds_at_once_are_each_by_themselves(self, store: Store) -> None:
        others = [parse_identifier(f"oid:1.2.{number}") for number in range(1, 4)]
        await store.register([registration(part(7)), registration(part(200), "other"), registration(others[0])], "a", 1)
        new = [registration(part(number)) for number in range(300)]
        new[50] = registration(part(49))
        new[51] = registration(part(48), "other")
        new[130:133] = [registration(each) for each in others]
        expected = [CREATED] * 300
        expected[7] = expected[50] = expected[130] = REPEATED
        expected[51] = expected[200] = DIFFERENT
        assert await store.register(new, "b", 2) == expected
        assert len(await store.records("88.100.1", limit=1000)) == 295
        record = await store.record(part(299))
        assert record is not None
        assert (record.author, record.since_ms) == ("b", 2)
        assert await store.register(new[:128], "c", 3) == [REPEATED] * 51 + [DIFFERENT] + [REPEATED] * 76

    # Jobs

    async def test_a_job_counts_what_became_of_its_rows(self, store: Store) -> None:
        await store.register([registration(part(0)), registration(part(1), "other")], "a", 1)
        job = await store.begin_job("j1", "pumpworks", "pumpworks:line", 10)
        assert (job.rows, job.finished_ms, job.author) == (0, None, "pumpworks:line")
        rows: list[Row] = [
            registration(part(0)),
            BadRow("/values/0/type", "is empty"),
            registration(part(1)),
            registration(part(2)),
        ]
        advance = await store.advance_job("j1", 0, rows, 11)
        assert advance.outcomes == "riec"
        again = await store.advance_job("j1", 4, [BadRow("", "is no JSON")], 12)
        job = await store.finish_job("j1", 13)
        assert (job.rows, job.created, job.repeated, job.different, job.invalid, job.finished_ms) == (5, 1, 1, 1, 2, 13)
        assert again.job.rows == 5
        assert await store.job("j1") == await store.finish_job("j1", 14) == job
        assert await store.findings("j1") == [
            Finding(1, None, "/values/0/type", "is empty"),
            Finding(2, part(1).key, "", IS_DIFFERENT),
            Finding(4, None, "", "is no JSON"),
        ]
        assert [each.row for each in await store.findings("j1", 1, 1)] == [2]
        record = await store.record(part(2))
        assert record is not None
        assert (record.author, record.since_ms) == ("pumpworks:line", 11)

    async def test_a_piece_that_is_sent_again_is_not_done_again(self, store: Store) -> None:
        await store.begin_job("j1", "pumpworks", "a", 1)
        rows = [registration(part(number)) for number in range(4)]
        await store.advance_job("j1", 0, rows[:3], 2)
        again = await store.advance_job("j1", 0, rows[:2], 3)
        assert (again.job.rows, again.outcomes) == (3, "")
        more = await store.advance_job("j1", 1, rows[1:], 4)
        assert (more.job.rows, more.job.created, more.job.repeated, more.outcomes) == (4, 4, 0, "c")

    async def test_a_piece_that_leaves_rows_out_is_refused(self, store: Store) -> None:
        await store.begin_job("j1", "pumpworks", "a", 1)
        with pytest.raises(OutOfStep) as refusal:
            await store.advance_job("j1", 1, [registration()], 2)
        assert refusal.value.rows == 0
        assert await store.record(PART) is None

    async def test_a_finished_job_takes_no_more_rows(self, store: Store) -> None:
        await store.begin_job("j1", "pumpworks", "a", 1)
        await store.advance_job("j1", 0, [registration()], 2)
        done = await store.finish_job("j1", 3)
        assert (await store.advance_job("j1", 0, [registration()], 4)).job == done
        with pytest.raises(OutOfStep):
            await store.advance_job("j1", 1, [registration(OTHER)], 4)

    async def test_what_became_of_each_row_is_kept(self, store: Store) -> None:
        await store.begin_job("j1", "pumpworks", "a", 1)
        forbidden = BadRow("/handle", "is another's", OTHER.key, RowOutcome.FORBIDDEN)
        pieces: list[list[Row]] = [[registration(part(0)), BadRow("", "bad")], [registration(part(1))], [forbidden] * 3]
        for first, rows in zip((0, 2, 3), pieces, strict=True):
            await store.advance_job("j1", first, rows, 2)
        assert await store.outcomes("j1") == [Outcomes(0, "ci"), Outcomes(2, "c"), Outcomes(3, "fff")]
        assert await store.outcomes("j1", 1, 1) == [Outcomes(0, "ci")]
        assert await store.outcomes("j1", 2, 1) == [Outcomes(2, "c")]
        assert await store.outcomes("j1", 5) == [Outcomes(3, "fff")]
        assert await store.outcomes("j1", 6) == await store.outcomes("j2") == []
        assert (await store.findings("j1"))[1] == Finding(3, OTHER.key, "/handle", "is another's")

    async def test_jobs_are_listed_by_owner(self, store: Store) -> None:
        made = [await store.begin_job(key, owner, "a", 1, 7) for key, owner in (("b", "forge"), ("a", "forge"), ("c", ""))]
        assert await store.jobs("forge") == [made[1], made[0]]
        assert await store.jobs(None, "a", 2) == [made[0], made[2]]
        assert await store.jobs("forge", "a") == [made[0]]
        assert made[0].total == 7

    async def test_a_cancelled_job_takes_no_more_rows(self, store: Store) -> None:
        await store.begin_job("j1", "pumpworks", "a", 1)
        job = await store.finish_job("j1", 3, cancelled=True)
        assert (job.finished_ms, job.cancelled) == (3, True)
        assert await store.finish_job("j1", 4) == await store.job("j1") == job
        with pytest.raises(OutOfStep):
            await store.advance_job("j1", 0, [registration()], 2)

    async def test_a_jobs_key_is_bound_to_its_owner(self, store: Store) -> None:
        first = await store.begin_job("j1", "pumpworks", "a", 1)
        assert await store.begin_job("j1", "pumpworks", "b", 2) == first
        with pytest.raises(AlreadyThere):
            await store.begin_job("j1", "forge", "a", 2)

    async def test_an_unknown_job_is_none_and_takes_nothing(self, store: Store) -> None:
        assert await store.job("j1") is None
        assert await store.findings("j1") == []
        with pytest.raises(NotThere):
            await store.advance_job("j1", 0, [registration()], 1)
        with pytest.raises(NotThere):
            await store.finish_job("j1", 1)

    async def test_findings_are_kept_up_to_a_bound_and_counted_beyond(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "MOST_FINDINGS", 3)
        await store.begin_job("j1", "pumpworks", "a", 1)
        for first in (0, 2, 4):
            await store.advance_job("j1", first, [BadRow("", "bad")] * 2, 2)
        job = await store.job("j1")
        assert job is not None
        assert (job.rows, job.invalid) == (6, 6)
        assert [each.row for each in await store.findings("j1")] == [0, 1, 2]

    # Watchers

    async def test_a_watcher_has_been_told_when_the_change_returns(self, store: Store) -> None:
        heard: list[str] = []

        def forget(keys: Collection[str] | None) -> None:
            heard.extend(["anything"] if keys is None else sorted(keys))

        await store.register([registration(OTHER)], "a", 1)
        store.watch(forget)
        store.refresh()
        assert heard == []
        await store.register([registration(), registration(part(1))], "a", 1)
        assert heard == [PART.key, part(1).key]
        await store.change(PART, told("x"), "a", 2)
        assert heard[2:] == [PART.key]
        await store.begin_job("j1", "pumpworks", "a", 1)
        await store.advance_job("j1", 0, [registration(part(2)), BadRow("", "bad")], 2)
        assert heard[3:] == [part(2).key]
        store.refresh()
        assert len(heard) == 4
