"""Streams of rows that end before their time, meet each other, or aren't welcome; and what is told of a job's rows."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from idnode.bulk import inflating
from idnode.job import Advance
from idnode.store.base import StoreFull
from idnode.store.memory import MemoryStore
from idnode.web import row_stream
from idnode.web.app import make_app

from .conftest import House, housed
from .streams import CSV, bad_rows, job, line, lines, outcomes, stream


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """In memory: what streams do is the same, whatever the store."""
    async with housed(MemoryStore()) as made:
        yield made


class TestEndings:
    @pytest.mark.parametrize("beyond", [b"", b'{"handle":"88.100.1/P', "88.100.1/泵".encode()[:-1]])
    async def test_a_cut_stream_leaves_its_whole_rows_done_and_goes_on_behind_them(self, house: House, beyond: bytes) -> None:
        status, told = await stream(house, query="total=20").send([lines(0, 7), lines(7, 9) + beyond], cut=True)
        assert (status, told["detail"], told["rows"]) == (400, "the body ended early", 9)
        standing = await job(house)
        assert (standing["state"], standing["rows"], standing["created"]) == ("running", 9, 9)
        status, told = await stream(house, query=f"from={standing['rows']}").send([lines(9, 20)])
        assert (status, told["rows"], told["created"], told["state"]) == (200, 20, 20, "finished")

    async def test_a_stream_that_ends_within_a_row_is_not_whole(self, house: House) -> None:
        status, told = await stream(house).send([lines(0, 3)[:-5]])
        assert (status, told["detail"], told["rows"]) == (400, "row 2: the stream ends within it", 2)
        assert (await job(house))["state"] == "running"
        status, told = await stream(house, job="summer", media_type=CSV).send([b"handle,3:DESC\n88.100.1/A,x\n88.100.1/B"])
        assert (status, told["rows"]) == (400, 1)
        status, told = await stream(house, job="autumn", media_type=CSV).send([b'handle,3:DESC\n88.100.1/A,"x'])
        assert (status, told["detail"]) == (400, "row 0: the stream ends within its quotes")

    async def test_fewer_rows_than_were_announced_finish_nothing(self, house: House) -> None:
        status, told = await stream(house, query="total=4").send([lines(0, 3)])
        assert (status, told["rows"]) == (400, 3)
        assert told["detail"] == "4 rows were announced, 3 have come"
        assert (await job(house))["state"] == "running"

    async def test_a_job_may_come_in_several_streams(self, house: House) -> None:
        status, told = await stream(house, query="finish=false").send([lines(0, 3)])
        assert (status, told["state"]) == (200, "running")
        status, told = await stream(house, query="from=2").send([lines(2, 5)])
        assert (status, told["rows"], told["created"], told["state"]) == (200, 5, 5, "finished")
        status, told = await stream(house, query="from=5").send([lines(5, 6)])
        assert (status, told["type"], told["rows"]) == (409, row_stream.OUT_OF_STEP, 5)

    async def test_rows_that_leave_some_out_are_refused(self, house: House) -> None:
        await stream(house, query="finish=false").send([lines(0, 3)])
        status, told = await stream(house, query="from=4").send([lines(4, 6)])
        assert (status, told["type"], told["rows"]) == (409, row_stream.OUT_OF_STEP, 3)
        assert told["detail"] == "row 4 was sent, 3 is next"
        status, told = await stream(house, job="summer", query="from=1").send([lines(1, 6)])
        assert (status, told["type"], told["rows"]) == (409, row_stream.OUT_OF_STEP, 0)
        assert (await house.client.get("/v1/jobs/summer", headers=house.bearer("registrar"))).status_code == 404

    async def test_two_who_send_the_same_job_at_once_register_each_row_once(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(row_stream, "PIECE_ROWS", 10)
        pieces = [lines(first, first + 25) for first in range(0, 200, 25)]
        others = [lines(first, first + 40) for first in range(0, 200, 40)]
        made = await asyncio.gather(stream(house).send(pieces), stream(house, "gateway").send(others))
        assert {status for status, _ in made} == {200}
        standing = await job(house)
        assert (standing["rows"], standing["created"], standing["repeated"], standing["invalid"]) == (200, 200, 0, 0)
        told = await outcomes(house, "?limit=1000")
        assert [each["row"] for each in told] == list(range(200))

    async def test_the_disk_may_be_full_for_a_while(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_stream, "PIECE_ROWS", 10)
        advance_job = house.node.store.advance_job

        async def full(key: str, first: int, rows: Any, at_ms: int) -> Advance:
            if first >= 20:
                raise StoreFull("the disk is full")
            return await advance_job(key, first, rows, at_ms)

        monkeypatch.setattr(house.node.store, "advance_job", full)
        status, told = await stream(house).send([lines(0, 45)])
        assert (status, told["rows"]) == (507, 20)
        monkeypatch.setattr(house.node.store, "advance_job", advance_job)
        status, told = await stream(house, query="from=20").send([lines(20, 45)])
        assert (status, told["rows"], told["created"]) == (200, 45, 45)

    async def test_what_has_come_is_done_while_nothing_comes(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_stream, "FLUSH_S", 0.001)
        seen: list[int] = []

        async def wait(number: int) -> None:
            while number and (await job(house))["rows"] < 5 * number:  # noqa: ASYNC110 as a client would
                await asyncio.sleep(0)
            seen.append(number)

        sending = stream(house)
        sending.before = wait
        status, told = await sending.send([lines(0, 5), lines(5, 10), lines(10, 12)])
        assert (status, told["rows"], seen) == (200, 12, [0, 1, 2])

    async def test_a_client_that_sends_nothing_is_not_waited_for(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_stream, "FLUSH_S", 0.001)
        capture = house.node.settings.capture.model_copy(update={"body_timeout_s": 0.005})
        settings = house.node.settings.model_copy(update={"capture": capture})
        sending = replace(stream(house), application=make_app(replace(house.node, settings=settings)))
        sending.before = lambda number: asyncio.Event().wait() if number else None
        status, told = await sending.send([lines(0, 5), lines(5, 10)])
        assert (status, told["detail"], told["rows"]) == (408, "nothing has come for 0.005 s", 5)

    async def test_a_node_that_is_being_stopped_says_where_it_stands(self, house: House) -> None:
        sending = stream(house)
        sending.before = lambda number: setattr(house.node.panel, "is_leaving", lambda: number == 1)
        status, told = await sending.send([lines(0, 5), lines(5, 10), lines(10, 15)])
        assert (status, told["rows"]) == (503, 10)

    async def test_a_cancelled_job_takes_no_more(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_stream, "PIECE_ROWS", 5)

        async def cancel(number: int) -> None:
            if number == 1:
                answer = await house.client.post("/v1/jobs/spring/cancel", headers=house.bearer("registrar"))
                assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")

        sending = stream(house)
        sending.before = cancel
        status, told = await sending.send([lines(0, 10), lines(10, 20)])
        assert (status, told["type"]) == (409, row_stream.OUT_OF_STEP)
        standing = await job(house)
        assert (standing["state"], standing["rows"], standing["created"]) == ("cancelled", told["rows"], told["rows"])
        assert told["rows"] in (5, 10)

    async def test_a_token_that_is_revoked_ends_its_stream(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_stream, "PIECE_ROWS", 5)

        async def revoke(number: int) -> None:
            if number == 1:
                await house.client.delete("/v1/enterprises/pumpworks/tokens/gateway", headers=house.bearer("admin"))

        sending = stream(house, "gateway")
        sending.before = revoke
        status, told = await sending.send([lines(0, 10), lines(10, 20)])
        assert (status, told["rows"]) == (401, 10)

    async def test_an_enterprise_that_is_suspended_meanwhile_goes_on_when_it_is_resumed(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(row_stream, "PIECE_ROWS", 5)

        async def suspend(number: int) -> None:
            if number == 1:
                await house.post("/v1/enterprises/pumpworks/suspend", "admin", {"reason": "unpaid"})

        sending = stream(house)
        sending.before = suspend
        status, told = await sending.send([lines(0, 10), lines(10, 20)])
        assert (status, told["rows"]) == (403, 10)
        await house.post("/v1/enterprises/pumpworks/resume", "admin", {})
        status, told = await stream(house).send([lines(0, 20)])
        assert (status, told["created"], told["invalid"]) == (200, 20, 0)

    async def test_rows_beyond_the_quota_are_named_and_stop_nothing(self, house: House) -> None:
        answer = await house.client.patch("/v1/enterprises/pumpworks", json={"quota": 3}, headers=house.bearer("admin"))
        assert answer.status_code == 200, answer.text
        status, told = await stream(house).send([lines(0, 3) + lines(0, 6)])
        assert (status, told["created"], told["repeated"], told["invalid"]) == (200, 3, 3, 3)
        assert await bad_rows(house) == [(row, "over-quota", "", "is one more than its enterprise may have") for row in (6, 7, 8)]

    async def test_a_stream_may_stop_at_the_first_bad_row_and_go_on_at_it(self, house: House) -> None:
        rows = lines(0, 5) + b"{}\n" + lines(6, 9)
        status, told = await stream(house, query="stop=true").send([rows])
        assert (status, told["type"], told["rows"]) == (422, row_stream.BAD_ROW, 5)
        assert told["errors"] == [{"pointer": "row 5/values", "detail": "Field required (and 1 more)"}]
        status, told = await stream(house, query="stop=true&from=5").send([lines(5, 9)])
        assert (status, told["rows"], told["created"]) == (200, 9, 9)

    async def test_a_stream_stops_behind_what_is_registered_otherwise(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(row_stream, "PIECE_ROWS", 4)
        await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/P5", "values": []})
        status, told = await stream(house, query="stop=true").send([lines(0, 20)])
        assert (status, told["type"], told["rows"]) == (422, row_stream.BAD_ROW, 8)
        assert told["detail"] == "row 5: exists"


GZIP = {"content-encoding": "gzip"}


class TestGzip:
    async def test_gzip_is_taken_also_in_several_members(self, house: House) -> None:
        body = gzip.compress(lines(0, 500)) + gzip.compress(lines(500, 1000))
        pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
        status, told = await stream(house, fields=GZIP).send(pieces)
        assert (status, told["created"]) == (200, 1000)

    async def test_gzip_that_ends_early_leaves_its_whole_rows_done(self, house: House) -> None:
        body = gzip.compress(lines(0, 5000), 1)
        status, told = await stream(house, fields=GZIP).send([body[: len(body) // 2]])
        assert (status, told["detail"]) == (400, "the gzip body ends early")
        assert 1000 < told["rows"] < 5000
        status, told = await stream(house, fields=GZIP, query=f"from={told['rows']}").send(
            [gzip.compress(lines(told["rows"], 5000))]
        )
        assert (status, told["created"]) == (200, 5000)

    async def test_what_is_no_gzip_is_refused(self, house: House) -> None:
        status, told = await stream(house, fields=GZIP).send([lines(0, 5)])
        assert (status, told["rows"]) == (400, 0)
        assert "is no gzip" in told["detail"]

    @pytest.mark.parametrize("byte", [b"\n", b"x"])
    async def test_a_bomb_is_refused_before_it_is_big(self, house: House, byte: bytes) -> None:
        bomb = zlib.compressobj(9, wbits=31)
        body = bomb.compress(byte * 30_000_000) + bomb.flush()
        status, told = await stream(house, fields=GZIP).send([body])
        assert (status, told["rows"]) == (400, 0)
        assert "more than 200 times" in told["detail"]

    def test_steps_are_small_whatever_comes(self) -> None:
        plain = b"".join(b"%d\n" % number for number in range(100_000))
        steps = list(inflating.Inflater().feed(gzip.compress(plain)))
        assert b"".join(steps) == plain
        assert max(map(len, steps)) <= inflating.STEP_BYTES


class TestRights:
    async def test_who_may_not_register_may_send_no_rows(self, house: House) -> None:
        assert (await stream(house, "reader").send([lines(0, 2)]))[0] == 403
        assert (await house.client.put("/v1/jobs/spring/rows", content=lines(0, 2))).status_code == 401
        await stream(house).send([lines(0, 2)])
        assert (await house.client.post("/v1/jobs/spring/cancel", headers=house.bearer("reader"))).status_code == 403
        assert (await job(house, "reader"))["rows"] == 2

    async def test_each_enterprise_has_its_own_jobs(self, house: House) -> None:
        await stream(house).send([lines(0, 2)])
        theirs = house.bearer("forge_registrar")
        for method, path in (("GET", ""), ("GET", "/outcomes"), ("POST", "/cancel")):
            assert (await house.client.request(method, f"/v1/jobs/spring{path}", headers=theirs)).status_code == 404
            answer = await house.client.request(method, f"/v1/jobs/spring{path}?enterprise=pumpworks", headers=theirs)
            assert answer.status_code == 403
        status, told = await stream(house, "forge_registrar").send([line(0, "88.100.2"), line(1)])
        assert (status, told["enterprise"], told["created"], told["invalid"]) == (200, "forge", 1, 1)
        assert (await job(house))["created"] == 2
        assert (await stream(house, "forge_registrar", query="enterprise=pumpworks").send([line(9)]))[0] == 403

    async def test_the_administrator_registers_for_anyone_and_sees_all(self, house: House) -> None:
        await stream(house).send([lines(0, 2)])
        status, told = await stream(house, "admin").send([line(5), line(6, "88.100.2")])
        assert (status, told["enterprise"], told["created"]) == (200, "", 2)
        answer = await house.client.get("/v1/jobs/spring?enterprise=pumpworks", headers=house.bearer("admin"))
        assert (answer.json()["enterprise"], answer.json()["rows"]) == ("pumpworks", 2)
        status, _ = await stream(house, "admin", query="enterprise=pumpworks&from=2").send([line(7)])
        assert status == 409
        assert (await stream(house, "admin", query="enterprise=nobody").send([line(7)]))[0] == 404

    async def test_jobs_are_listed_by_pages(self, house: House) -> None:
        for name in ("a", "b", "c"):
            await stream(house, job=name).send([])
        await stream(house, "forge_registrar", job="z").send([])
        first = await house.client.get("/v1/jobs?limit=2", headers=house.bearer("reader"))
        second = await house.client.get(first.links["next"]["url"], headers=house.bearer("reader"))
        assert [each["job"] for each in first.json() + second.json()] == ["a", "b", "c"]
        assert "next" not in second.links
        every = await house.client.get("/v1/jobs", headers=house.bearer("admin"))
        assert [each["job"] for each in every.json()] == ["z", "a", "b", "c"]

    @pytest.mark.parametrize(
        ("media_type", "fields", "status"),
        [
            ("application/json", {}, 415),
            ("text/csv; charset=latin-1", {}, 415),
            ("application/x-ndjson; charset=gbk", {}, 415),
            ("application/x-ndjson", {"content-encoding": "br"}, 415),
            ("application/jsonl; charset=UTF-8", {}, 200),
        ],
    )
    async def test_other_forms_are_refused(self, house: House, media_type: str, fields: dict[str, str], status: int) -> None:
        assert (await stream(house, media_type=media_type, fields=fields).send([lines(0, 1)]))[0] == status

    @pytest.mark.parametrize("query", ["from=-1", "from=x", "total=-1", "finish=perhaps"])
    async def test_parameters_that_are_none_are_refused(self, house: House, query: str) -> None:
        assert (await stream(house, query=query).send([lines(0, 1)]))[0] == 422

    @pytest.mark.parametrize("name", [".x", "a b", "a" * 101])
    async def test_a_job_has_a_plain_name(self, house: House, name: str) -> None:
        answer = await house.client.get(f"/v1/jobs/{name}", headers=house.bearer("admin"))
        assert answer.status_code == 422


class TestOutcomes:
    @pytest.fixture(autouse=True)
    async def _sent(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_stream, "PIECE_ROWS", 3)
        await house.post("/v1/identifiers", "registrar", json.loads(line(1)))
        await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/=2", "values": []})
        odd = line(4).replace(b"P4", b"=2")
        await stream(house).send([lines(0, 4) + odd + b"{}\n" + line(6, "88.100.2") + line(7)])

    async def test_each_row_has_its_outcome(self, house: House) -> None:
        told = await outcomes(house)
        assert [(each["row"], each["outcome"]) for each in told] == [
            *((0, "created"), (1, "repeated"), (2, "created"), (3, "created")),
            *((4, "exists"), (5, "invalid"), (6, "forbidden"), (7, "created")),
        ]
        assert told[6]["identifier"] == "88.100.2/P6"
        assert set(told[0]) == {"row", "outcome"}

    @pytest.mark.parametrize(
        ("query", "rows"),
        [
            ("outcome=refused", [4, 5, 6]),
            ("outcome=created", [0, 2, 3, 7]),
            ("outcome=repeated", [1]),
            ("outcome=exists", [4]),
            ("outcome=invalid&after=4", [5]),
            ("outcome=forbidden&after=6", []),
            ("after=5", [6, 7]),
            ("after=100", []),
        ],
    )
    async def test_rows_are_chosen_by_outcome_and_place(self, house: House, query: str, rows: list[int]) -> None:
        assert [each["row"] for each in await outcomes(house, f"?{query}")] == rows
        told = await outcomes(house, f"?{query}", "application/x-ndjson")
        assert [json.loads(each)["row"] for each in told.splitlines()] == rows

    async def test_pages_follow_each_other(self, house: House) -> None:
        path: str | None = "/v1/jobs/spring/outcomes?limit=3&outcome=created"
        pages = []
        while path is not None:
            answer = await house.client.get(path, headers=house.bearer("reader"))
            pages.append([each["row"] for each in answer.json()])
            path = answer.links.get("next", {}).get("url")
        assert pages == [[0, 2, 3], [7]]

    async def test_a_spreadsheet_opens_them_and_runs_nothing(self, house: House) -> None:
        content = await outcomes(house, "?outcome=refused", "text/csv")
        assert content.startswith(b"\xef\xbb\xbfrow,outcome,identifier,field,reason\r\n")
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        assert [row[0] for row in rows[1:]] == ["4", "5", "6"]
        assert rows[3][2] == "88.100.2/P6"
        assert not any(cell[:1] in ("=", "+", "-", "@") for row in rows for cell in row)

    async def test_an_unknown_outcome_is_refused(self, house: House) -> None:
        answer = await house.client.get("/v1/jobs/spring/outcomes?outcome=good", headers=house.bearer("reader"))
        assert answer.status_code == 422

    async def test_bad_rows_beyond_the_bound_are_still_told(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("idnode.job.MOST_FINDINGS", 2)
        await stream(house, job="summer").send([b"{}\n" * 4])
        found = await outcomes(house, key="summer")
        assert [(each["row"], each["outcome"], "reason" in each) for each in found] == [
            (0, "invalid", True), (1, "invalid", True), (2, "invalid", False), (3, "invalid", False)
        ]  # fmt: skip
        assert len(await bad_rows(house)) == 3
